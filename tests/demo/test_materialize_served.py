"""The demo's configuration over the fake Materialize: it is served, and consistent over its sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.real.harness import following, serving
from tycostream.config.load import load
from tycostream.demo import materialize
from tycostream.testing.materialize import Contents, FakeMaterialize, Row

TEXT = (Path(materialize.__file__).parent / "materialize.yaml").read_text()


def positions(contents: Contents) -> list[Row]:
    """What the materialized view says, of the columns that are asked for."""
    held: dict[str, list[Row]] = {}
    for row in contents["trades"]:
        held.setdefault(str(row[1]), []).append(row)
    made: list[Row] = []
    for instrument, rows in held.items():
        last = max(rows, key=lambda row: int(str(row[0])))
        signed = [(int(str(r[5])) if r[3] == "buy" else -int(str(r[5])), Decimal(str(r[4]))) for r in rows]
        quantity = sum(count for count, _ in signed)
        profit = sum((-count * price for count, price in signed), quantity * Decimal(str(last[4])))
        made.append((instrument, last[2], str(len(rows)), str(quantity), last[4], str(profit), last[6]))
    return made


def sides(contents: Contents) -> list[Row]:
    held: dict[tuple[str | None, str | None], list[int]] = {}
    for row in contents["trades"]:
        held.setdefault((row[2], row[3]), []).append(int(str(row[5])))
    return [(symbol, side, str(len(all_)), str(sum(all_))) for (symbol, side), all_ in held.items()]


@pytest.fixture
async def fake() -> AsyncIterator[FakeMaterialize]:
    made = FakeMaterialize(progress_s=0.05, retain_ms=600_000)
    instruments = {"id": "integer", "symbol": "text", "name": "text", "tick": "numeric", "base": "numeric"}
    trades = {
        "id": "bigint", "instrument_id": "integer", "symbol": "text", "side": "text", "price": "numeric",
        "quantity": "integer", "executed_at": "timestamp with time zone",
    }  # fmt: skip
    view = {
        "instrument_id": "integer", "symbol": "text", "trades": "bigint", "quantity": "bigint", "last_price": "numeric",
        "profit": "numeric", "updated_at": "timestamp with time zone",
    }  # fmt: skip
    made.create_table("instruments", instruments)
    made.create_table("trades", trades)
    made.create_view("positions", view, positions, kind="materialized-view")
    query = load(Path(materialize.__file__).parent / "materialize.yaml", {}).sources["sides"].query
    assert query is not None
    made.register_query(
        query, {"symbol": "text", "side": "text", "trades": "bigint", "quantity": "bigint"}, sides
    )
    made.register_expression(
        "price * quantity", "numeric", lambda row: str(Decimal(str(row["price"])) * int(str(row["quantity"])))
    )
    made.insert("instruments", ("1", "ALDR", "Alder Timber", "0.01", "41.20"))
    await made.start()
    yield made
    await made.stop()


def trade(number: int, side: str, quantity: int) -> Row:
    return (str(number), "1", "ALDR", side, "41.20", str(quantity), "2024-01-31 12:00:00+00")


async def test_a_trade_and_its_position_are_one_moment(fake: FakeMaterialize) -> None:
    async with serving(TEXT, {"DATABASE_URL": fake.url}) as server:
        await server.live()
        async with following(server, "positions", "instrument_id quantity", key=("instrument_id",)) as client:
            for number in range(1, 21):
                fake.insert("trades", trade(number, "buy" if number % 3 else "sell", number * 10))
                data = await server.query(
                    "{ trades { side quantity notional } positions { quantity trades } sides { trades } }"
                )
                signed = [t["quantity"] if t["side"] == "buy" else -t["quantity"] for t in data["trades"]]
                assert [int(p["quantity"]) for p in data["positions"]] == ([sum(signed)] if signed else [])
                assert sum(int(s["trades"]) for s in data["sides"]) == len(signed)
                assert all(Decimal(t["notional"]) == Decimal("41.20") * t["quantity"] for t in data["trades"])
                await asyncio.sleep(0)
            total = sum(n * 10 if n % 3 else -n * 10 for n in range(1, 21))
            await client.until(lambda feed: [r["quantity"] for r in feed.rows.values()] == [str(total)], 20)
            assert set(client.feed.operations) <= {"insert", "update"}

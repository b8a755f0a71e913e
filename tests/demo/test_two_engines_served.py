"""The demo's configuration of two engines over the fakes of both: the markets stand side by side in one schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.real.harness import serving
from tycostream.demo import materialize
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.risingwave import FakeRisingWave

TEXT = (Path(materialize.__file__).parent / "two_engines.yaml").read_text()
TRADES = {
    "id": "bigint", "instrument_id": "integer", "symbol": "{text}", "side": "{text}", "price": "numeric",
    "quantity": "integer", "executed_at": "timestamp with time zone",
}  # fmt: skip
POSITIONS = {"instrument_id": "integer", "symbol": "{text}", "quantity": "bigint"}
MATERIALIZE_TRADE = ("1", "1", "ALDR", "buy", "41.20", "10", "2024-01-31 12:00:00+00")
RISINGWAVE_TRADE = ("1", "1", "BRCH", "sell", "9.5", "20", "2024-01-31 12:00:00+00:00")


def typed(columns: dict[str, str], text: str) -> dict[str, str]:
    return {name: kind.format(text=text) for name, kind in columns.items()}


@pytest.fixture
async def environ() -> AsyncIterator[dict[str, str]]:
    mz, rw = FakeMaterialize(progress_s=0.05), FakeRisingWave(second_s=0.2)
    await mz.start()
    await rw.start()
    try:
        mz.create_table("trades", typed(TRADES, "text"))
        mz.create_table("positions", typed(POSITIONS, "text"))
        mz.insert("trades", MATERIALIZE_TRADE)
        rw.create_table("trades", typed(TRADES, "character varying"), key=("id",))
        rw.create_table("positions", typed(POSITIONS, "character varying"), key=("instrument_id",))
        rw.insert("trades", RISINGWAVE_TRADE)
        rw.checkpoint()
        yield {"DATABASE_URL": mz.url, "RISINGWAVE_URL": rw.url}
    finally:
        await mz.stop()
        await rw.stop()


async def test_two_markets_in_one_schema(environ: dict[str, str]) -> None:
    async with serving(TEXT, environ) as server:
        await server.live()
        fields = "symbol side price quantity"
        async with asyncio.timeout(10):
            while not (
                data := await server.query(f"{{ trades {{ {fields} }} risingwave_trades {{ {fields} }} }}")
            )["risingwave_trades"]:
                await asyncio.sleep(0.02)
        assert data == {
            "trades": [{"symbol": "ALDR", "side": "buy", "price": "41.20", "quantity": 10}],
            "risingwave_trades": [{"symbol": "BRCH", "side": "sell", "price": "9.5", "quantity": 20}],
        }
        by_side = "{ trades(where: {side: {_eq: sell}}) { id } risingwave_trades(where: {side: {_eq: sell}}) { id } }"
        assert await server.query(by_side) == {"trades": [], "risingwave_trades": [{"id": "1"}]}

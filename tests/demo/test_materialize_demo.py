"""The seeder's SQL and its writing, against a real PostgreSQL: what it says is common to both databases.

PostgreSQL refreshes a materialized view only when told to; what Materialize makes of the same statements is for
tests/real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tycostream.clock import SystemClock
from tycostream.config.load import load
from tycostream.config.model import Consistency, EngineName
from tycostream.demo import materialize
from tycostream.demo.materialize import Seeder, connect, create_schema, make, statements


class Eager(SystemClock):
    """Never waits, and tells after each batch: the seeder sleeps once for each."""

    def __init__(self, slept: Callable[[], None]) -> None:
        self._slept = slept

    async def sleep(self, delay_s: float) -> None:
        self._slept()
        await asyncio.sleep(0)


async def run_until(url: str, enough: Callable[[Seeder], bool], rate: float = 40) -> Seeder:
    done = asyncio.Event()
    seeder = Seeder(url, rate, Eager(lambda: done.set() if enough(seeder) else None), seed=1)
    task = asyncio.create_task(seeder.run())
    await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return seeder


@pytest.mark.parametrize("file", ["materialize.sql", "risingwave.sql"])
async def test_the_view_is_what_the_trades_add_up_to(database, file):
    for _ in range(2):  # what exists is left as it is
        async with await connect(database) as writer:
            await make(writer, file)
    seeder = await run_until(database, lambda seeder: seeder.trades >= 300)
    with psycopg.connect(database) as connection:
        connection.execute("REFRESH MATERIALIZED VIEW positions")
        assert connection.execute("SELECT count(*) FROM instruments").fetchone() == (20,)
        rows = connection.execute("SELECT id FROM trades ORDER BY id").fetchall()
        assert [number for (number,) in rows] == list(range(1, seeder.trades + 1))
        kept = connection.execute(
            "SELECT instrument_id, quantity, last_price, profit, trades FROM positions ORDER BY 1"
        ).fetchall()
        # the market's own exact arithmetic agrees with the database's
        expected = [
            (instrument, position.quantity, position.last_price, position.profit)
            for instrument, position in sorted(seeder._positions.items())
        ]
        assert [row[:4] for row in kept] == expected
        assert sum(row[4] for row in kept) == seeder.trades


async def test_a_batch_is_one_transaction(database):
    await create_schema(database)
    await run_until(database, lambda seeder: seeder.trades >= 50)
    with psycopg.connect(database) as connection:
        sizes = connection.execute("SELECT count(*) FROM trades GROUP BY xmin::text").fetchall()
        assert set(sizes) == {(10,)}  # 40 a second, four times a second


async def test_a_slow_market_writes_whole_trades(database):
    await create_schema(database)
    seeder = await run_until(database, lambda seeder: seeder.trades >= 3, rate=0.5)
    assert seeder.trades == 3


async def test_old_trades_are_deleted_and_numbers_go_on(database, monkeypatch):
    monkeypatch.setattr(materialize, "TRADES_KEPT", 50)
    monkeypatch.setattr(materialize, "TRADES_SLACK", 20)
    await create_schema(database)
    await run_until(database, lambda seeder: seeder.trades >= 200)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("REFRESH MATERIALIZED VIEW positions")
        row = connection.execute("SELECT count(*), max(id) - min(id) + 1, max(id) FROM trades").fetchone()
        assert row
        assert row[0] == row[1], "the oldest are gone, and only they"
        assert 50 <= row[0] <= 70
    await run_until(
        database, lambda seeder: seeder.trades >= 10
    )  # another process goes on where that one stopped
    with psycopg.connect(database) as connection:
        after = connection.execute("SELECT count(*), max(id) - min(id) + 1, max(id) FROM trades").fetchone()
        assert after
        assert after[0] == after[1]
        assert after[2] == row[2] + 10


async def test_a_connection_that_is_ended_is_made_again(database, capsys):
    await create_schema(database)
    ended_at: list[int] = []

    def enough(seeder: Seeder) -> bool:
        if seeder.trades == 20 and not ended_at:
            ended_at.append(20)
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE application_name = 'tycostream demo' AND datname = current_database()"
                )
        return seeder.trades >= 60

    await run_until(database, enough)
    assert "trying again" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["materialize.sql", "risingwave.sql"])
def test_the_statements_stand_alone(file: str) -> None:
    found = statements(file)
    assert [statement.split("EXISTS ")[1].split()[0] for statement in found] == [
        "instruments",
        "trades",
        "positions",
    ]
    assert all(";" not in statement and "--" not in statement for statement in found)


def test_a_rate_must_be_a_rate() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Seeder("", 0, SystemClock())


def test_the_configuration_of_two_engines_loads() -> None:
    config = load(Path(materialize.__file__).parent / "two_engines.yaml", {})
    engines = {name: database.engine for name, database in config.databases.items()}
    assert engines == {"materialize": EngineName.MATERIALIZE, "risingwave": EngineName.RISINGWAVE}
    assert {name: (source.database, source.table) for name, source in config.sources.items()} == {
        "trades": ("materialize", "trades"),
        "positions": ("materialize", "positions"),
        "risingwave_trades": ("risingwave", "trades"),
        "risingwave_positions": ("risingwave", "positions"),
    }


def test_the_configuration_loads() -> None:
    config = load(Path(materialize.__file__).parent / "materialize.yaml", {"DATABASE_URL": "host=mz"})
    main = config.databases["main"]
    assert (main.engine, main.consistency) == (EngineName.MATERIALIZE, Consistency.DATABASE)
    assert {name: source.primary_key for name, source in config.sources.items()} == {
        "instruments": ("id",),
        "trades": ("id",),
        "positions": ("instrument_id",),
        "sides": ("symbol", "side"),
    }

"""The simulator against a real PostgreSQL: what it commits adds up, stays bounded, and outlives a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from tycostream.clock import SystemClock
from tycostream.demo import market
from tycostream.demo.market import Simulator, create_schema


class Eager(SystemClock):
    """Never waits, and tells after each transaction: the simulator sleeps once for each."""

    def __init__(self, slept: Callable[[], None]) -> None:
        self._slept = slept

    async def sleep(self, delay_s: float) -> None:
        self._slept()
        await asyncio.sleep(0)


async def run_until(url: str, enough: Callable[[Simulator], bool]) -> Simulator:
    done = asyncio.Event()
    simulator = Simulator(url, 100, Eager(lambda: done.set() if enough(simulator) else None), seed=1)
    task = asyncio.create_task(simulator.run())
    await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return simulator


async def test_every_position_is_the_sum_of_its_trades(database):
    await create_schema(database)
    await create_schema(database)  # what exists is left as it is
    simulator = await run_until(database, lambda simulator: simulator.transactions >= 200)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM instruments").fetchone() == (20,)
        assert connection.execute("SELECT count(*) FROM trades").fetchone() == (simulator.transactions,)
        wrong = connection.execute(
            """SELECT p.symbol FROM positions p LEFT JOIN (
                 SELECT instrument_id, sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS held,
                        sum(CASE side WHEN 'buy' THEN -quantity ELSE quantity END * price) AS cash
                 FROM trades GROUP BY instrument_id) t USING (instrument_id)
               WHERE p.quantity <> coalesce(t.held, 0)
                  OR p.profit <> coalesce(t.cash, 0) + p.quantity * p.last_price"""
        ).fetchall()
        assert wrong == []
        wrong = connection.execute(
            "SELECT v.symbol FROM live_pnl v JOIN positions p USING (instrument_id)"
            " WHERE (v.net_position, v.pnl) <> (p.quantity, p.profit) OR v.latest_price <> p.last_price"
        ).fetchall()
        assert wrong == []
        row = connection.execute("SELECT count(*), sum(trades) FROM live_pnl").fetchone()
        assert row == (20, simulator.transactions)


async def test_old_trades_are_deleted(database, monkeypatch):
    monkeypatch.setattr(market, "TRADES_KEPT", 30)
    monkeypatch.setattr(market, "TRADES_DELETED_AT_ONCE", 20)
    await create_schema(database)
    await run_until(database, lambda simulator: simulator.transactions >= 150)
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*), max(id) - min(id) + 1 FROM trades").fetchone()
        assert row
        assert row[0] == row[1], "the oldest are gone, and only they"
        assert 30 <= row[0] <= 40


async def test_a_symbol_edited_by_hand_is_kept(database):
    await create_schema(database)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE positions SET symbol = 'HELLO-' || instrument_id")
    await run_until(database, lambda simulator: simulator.transactions >= 60)
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM positions WHERE symbol LIKE 'HELLO-%'").fetchone()
        assert row == (20,)


async def test_a_connection_that_is_ended_is_made_again(database):
    await create_schema(database)
    ended_at: list[int] = []

    def enough(simulator: Simulator) -> bool:
        if simulator.transactions == 20 and not ended_at:
            ended_at.append(20)
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE application_name = 'tycostream demo' AND datname = current_database()"
                )
        return simulator.transactions >= 40

    simulator = await run_until(database, enough)
    assert simulator.transactions >= 40

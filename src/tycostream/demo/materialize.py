"""The demo's market written to a Materialize: ``python -m tycostream.demo.materialize`` (docker-compose.yml runs it).

Materialize is no place for a transaction per trade: a transaction may only insert, into one table, and takes part in a
commit of all tables about once a second at most. So trades are written in batches of one INSERT, which is one
transaction; positions are not written at all, for they are a view. Old trades are deleted by a statement of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection

from tycostream.clock import Clock, SystemClock
from tycostream.demo.market import INSTRUMENTS, Market, Position, Trade

TRADES_KEPT: Final = 5_000
TRADES_SLACK: Final = 500  # how many more may pile up before they are deleted
BATCH_S: Final = 0.25
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 10.0
HISTORY: Final = "10m"

_Connection = AsyncConnection[tuple[Any, ...]]


async def connect(url: str) -> _Connection:
    """A connection that puts values into the text of a statement: Materialize need not guess at types. psycopg.Error."""
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        cursor_factory=AsyncClientCursor,
        connect_timeout=10,
        application_name="tycostream demo",
    )


async def create_schema(url: str, system_url: str | None = None) -> None:
    """Create tables and view, and list the instruments; what exists is left as it is. psycopg.Error.

    ``system_url``: as ``mz_system``, who alone may switch on the retention of history; with it clients and server
    resume over ten minutes, and without it over a second.
    """
    if system_url is not None:
        async with await connect(system_url) as system:
            await system.execute("ALTER SYSTEM SET enable_logical_compaction_window = true")
    async with await connect(url) as connection:
        await make(connection, "materialize.sql")
        if system_url is not None:
            for kind, name in (
                ("TABLE", "instruments"),
                ("TABLE", "trades"),
                ("MATERIALIZED VIEW", "positions"),
            ):
                await connection.execute(f"ALTER {kind} {name} SET (RETAIN HISTORY FOR '{HISTORY}')".encode())


async def make(connection: _Connection, file: str) -> None:
    """Run the statements of a file of this package, and list the instruments if none are. psycopg.Error."""
    for statement in statements(file):
        await connection.execute(statement.encode())
    listed = await (await connection.execute("SELECT count(*) FROM instruments")).fetchone()
    if listed == (0,):
        rows = [(item.id, item.symbol, item.name, item.tick, item.base) for item in INSTRUMENTS]
        await _insert(connection, "INSERT INTO instruments (id, symbol, name, tick, base)", rows)


def statements(file: str) -> list[str]:
    """The statements of a file of this package, in order, comments left out."""
    text = resources.files("tycostream.demo").joinpath(file).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


async def _insert(connection: _Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    marks = ", ".join("(" + ", ".join(["%s"] * len(row)) + ")" for row in rows)
    await connection.execute(f"{into} VALUES {marks}".encode(), [cell for row in rows for cell in row])


class Seeder:
    """Writes ``rate`` trades a second until cancelled; a lost database is waited for, not given up.

    It must be the only writer: it numbers the trades itself. With a ``seed`` the sequence of trades is the same each
    time, given the same trades to start from.
    """

    def __init__(self, url: str, rate: float, clock: Clock, seed: int | None = None) -> None:
        if rate <= 0:
            raise ValueError("rate is trades per second, more than 0")
        self._url = url
        self._rate = rate
        self._clock = clock
        self.market = Market(clock.random if seed is None else random.Random(seed).random)
        self.trades = 0
        """How many were written so far."""
        self._next_id = 1
        self._oldest_id = 1
        self._positions: dict[int, Position] = {}

    async def run(self) -> None:
        """Trade for ever. Ends only by cancellation, and then closes its connection."""
        failures = 0
        while True:
            before = self.trades
            try:
                async with await connect(self._url) as connection:
                    await self._resume(connection)
                    await self._trade_on(connection)
            except psycopg.Error as error:
                failures = 1 if self.trades > before else failures + 1
                limit = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(failures, 10))
                print(f"seeder: {str(error).strip()}; trying again", file=sys.stderr)  # noqa: T201
                await self._clock.sleep(RETRY_FIRST_S + limit * self._clock.random())

    async def _resume(self, connection: _Connection) -> None:
        """Go on where the trades stop: whether our last INSERT was committed is known only to the database."""
        row = await (await connection.execute("SELECT min(id), max(id) FROM trades")).fetchone()
        if row and row[1] is not None:
            self._oldest_id, self._next_id = int(row[0]), int(row[1]) + 1
        cursor = await connection.execute(
            "SELECT instrument_id, quantity, last_price, profit FROM positions ORDER BY instrument_id"
        )
        self._positions = {
            instrument: Position(int(quantity), last_price, last_price, profit)
            for instrument, quantity, last_price, profit in await cursor.fetchall()
        }

    async def _trade_on(self, connection: _Connection) -> None:
        interval = max(BATCH_S, 1 / self._rate)
        due, owed = self._clock.monotonic(), 0.0
        while True:
            owed += self._rate * interval
            await self.write(connection, int(owed))
            owed -= int(owed)
            now = self._clock.monotonic()
            # A second behind is forgiven: after a pause there is no burst to catch up.
            due = max(due + interval, now - 1)
            if due > now:
                await self._clock.sleep(due - now)

    async def write(self, connection: _Connection, count: int) -> list[Trade]:
        """Write so many trades as one transaction, then delete what is too old."""
        made = [self._next_trade() for _ in range(count)]
        if made:
            now = datetime.fromtimestamp(self._clock.time(), UTC)
            rows = [
                (self._next_id + i, t.instrument_id, t.symbol, t.side, t.price, t.quantity, now)
                for i, t in enumerate(made)
            ]
            into = "INSERT INTO trades (id, instrument_id, symbol, side, price, quantity, executed_at)"
            await _insert(connection, into, rows)
            self._next_id += count
            self.trades += count
        if self._next_id - self._oldest_id > TRADES_KEPT + TRADES_SLACK:
            oldest = self._next_id - TRADES_KEPT
            await connection.execute("DELETE FROM trades WHERE id < %s", (oldest,))
            self._oldest_id = oldest
        return made

    def _next_trade(self) -> Trade:
        instrument = self.market.pick()
        position = self._positions.get(instrument.id) or Position(last_price=instrument.base)
        trade = self.market.trade(instrument, position)
        self._positions[instrument.id] = position.after(trade.side, trade.quantity, trade.price)
        return trade


def main() -> None:
    """The seeder's command line; runs until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tycostream.demo.materialize", description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="trades per second")
    parser.add_argument("--schema-only", action="store_true", help="create tables and view, and leave")
    parser.add_argument("--system-url", help="as mz_system: switches on the retention of history")
    wanted = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "postgresql://materialize@localhost:6875/materialize")
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(create_schema(url, wanted.system_url))
            if not wanted.schema_only:
                asyncio.run(Seeder(url, wanted.rate, SystemClock()).run())
        except psycopg.Error as error:
            raise SystemExit(f"error: {str(error).strip()}") from None


if __name__ == "__main__":
    main()

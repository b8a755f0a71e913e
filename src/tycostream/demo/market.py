"""The demo's market: its tables, its rules (``Market``, pure) and the simulator that writes them (``Simulator``).

One transaction inserts one trade and updates the instrument's position and profit, so a reader who sees the
trade without the position, or the other way round, has found a bug. All money is Decimal and exact.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from typing import Any, Final, Literal

import psycopg
from psycopg import AsyncConnection

from tycostream.clock import Clock

Side = Literal["buy", "sell"]

TRADES_KEPT: Final = 5_000
TRADES_DELETED_AT_ONCE: Final = 500
RETRY_FIRST_S: Final = 0.2
RETRY_MAX_S: Final = 5.0

_EXACT: Final = Context(prec=60, traps=[Inexact])
_CENT_OF_A_CENT: Final = Decimal("0.0001")
_PRICE_MAX: Final = Decimal("1000000")  # far inside numeric(12,4)
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded; ``base`` is the price it starts at and is pulled back to."""

    id: int
    symbol: str
    name: str
    tick: Decimal
    base: Decimal


def _listing(*lines: tuple[str, str, str]) -> tuple[Instrument, ...]:
    return tuple(
        Instrument(number, symbol, name, Decimal("0.01"), Decimal(base))
        for number, (symbol, name, base) in enumerate(lines, start=1)
    )


# Invented companies: nothing here is anybody's quote.
INSTRUMENTS: Final = _listing(
    ("ALDR", "Alder Timber", "41.20"),
    ("BRCK", "Brickworks United", "18.75"),
    ("CNDL", "Candle & Wick", "7.90"),
    ("DLTA", "Delta Dredging", "96.40"),
    ("EMBR", "Ember Energy", "132.10"),
    ("FJRD", "Fjord Shipping", "58.05"),
    ("GRVL", "Gravel Roads", "23.60"),
    ("HLIO", "Helio Solar", "210.30"),
    ("INKW", "Inkwell Press", "12.45"),
    ("JNPR", "Juniper Foods", "67.80"),
    ("KELP", "Kelp Farms", "4.15"),
    ("LNTN", "Lantern Light", "88.00"),
    ("MOSS", "Moss Gardens", "31.55"),
    ("NOVA", "Nova Optics", "455.25"),
    ("ORCH", "Orchard Juice", "15.30"),
    ("PRSM", "Prism Glass", "142.70"),
    ("QRTZ", "Quartz Watches", "77.10"),
    ("RVLT", "Rivulet Water", "26.90"),
    ("SPRK", "Spark Motors", "318.60"),
    ("TRFL", "Truffle Kitchens", "109.45"),
)


@dataclass(frozen=True, slots=True)
class Position:
    """What the market holds of one instrument.

    ``quantity`` is signed (negative: sold more than bought), ``average_price`` the price at which the open
    quantity was entered (0 when flat), ``profit`` all that was ever earned at ``last_price``: cash received,
    less cash paid, plus the worth of what is held.
    """

    quantity: int = 0
    average_price: Decimal = _ZERO
    last_price: Decimal = _ZERO
    profit: Decimal = _ZERO

    def after(self, side: Side, quantity: int, price: Decimal) -> Position:
        """The position after one more trade. ``quantity`` is positive; a price is in units of 0.0001 at most."""
        signed = quantity if side == "buy" else -quantity
        held, total = self.quantity, self.quantity + signed
        # The trade itself earns nothing at its own price: only what was held before it gains or loses.
        gain = _EXACT.multiply(Decimal(held), _EXACT.subtract(price, self.last_price))
        if total == 0:
            average = _ZERO
        elif held == 0 or (held > 0) != (total > 0):  # opened, or turned from long to short or back
            average = price
        elif abs(total) < abs(held):  # reduced: what is left was entered at the same price
            average = self.average_price
        else:
            paid = abs(held) * self.average_price + quantity * price
            average = (paid / abs(total)).quantize(_CENT_OF_A_CENT, ROUND_HALF_EVEN)
        return Position(total, average, price, _EXACT.add(self.profit, gain))


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade, before the database gives it an id and a time."""

    instrument_id: int
    symbol: str
    side: Side
    price: Decimal
    quantity: int


class Market:
    """Decides the next trade. Pure: chance is passed in, as a function giving numbers in [0, 1)."""

    def __init__(
        self, chance: Callable[[], float], instruments: tuple[Instrument, ...] = INSTRUMENTS
    ) -> None:
        self._chance = chance
        self.instruments = instruments

    def pick(self) -> Instrument:
        """The instrument that trades next."""
        return self.instruments[int(self._chance() * len(self.instruments))]

    def trade(self, instrument: Instrument, position: Position) -> Trade:
        """A trade near the last price; large positions tend to be reduced, far prices to come back."""
        last = position.last_price or instrument.base
        # Millionths as integers, so that the walk is exact and the same on every machine: ±0.2 %.
        step = last * Decimal(int((self._chance() - 0.5) * 4_000)).scaleb(-6)
        pull = (instrument.base - last) / 500
        ticks = ((last + step + pull) / instrument.tick).quantize(Decimal(1), ROUND_HALF_EVEN)
        price = min(max(ticks, Decimal(1)) * instrument.tick, _PRICE_MAX)
        lean = max(-0.4, min(0.4, position.quantity / 10_000))
        side: Side = "buy" if self._chance() < 0.5 - lean else "sell"
        return Trade(instrument.id, instrument.symbol, side, price, 10 * (1 + int(self._chance() * 50)))


_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS instruments (
         id int PRIMARY KEY, symbol text NOT NULL UNIQUE, name text, tick numeric)""",
    """CREATE TABLE IF NOT EXISTS trades (
         id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
         instrument_id int NOT NULL REFERENCES instruments (id), symbol text NOT NULL,
         side text NOT NULL CHECK (side IN ('buy', 'sell')), price numeric(12, 4) NOT NULL,
         quantity int NOT NULL CHECK (quantity > 0), executed_at timestamptz NOT NULL DEFAULT clock_timestamp())""",
    """CREATE TABLE IF NOT EXISTS positions (
         instrument_id int PRIMARY KEY REFERENCES instruments (id), symbol text NOT NULL,
         quantity bigint NOT NULL, average_price numeric NOT NULL, last_price numeric NOT NULL,
         profit numeric NOT NULL, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())""",
    # What the kept trades come to, computed by PostgreSQL: of every instrument, traded or not.
    """CREATE OR REPLACE VIEW live_pnl AS
         SELECT i.id AS instrument_id, i.symbol, coalesce(t.trades, 0) AS trades, coalesce(t.net_position, 0) AS net_position,
           t.latest_price, coalesce(t.cash + t.net_position * t.latest_price, 0) AS pnl, t.traded_at
         FROM instruments i LEFT JOIN (
           SELECT instrument_id, count(*) AS trades, sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS net_position,
             sum(CASE side WHEN 'buy' THEN -quantity ELSE quantity END * price) AS cash,
             (array_agg(price ORDER BY id DESC))[1] AS latest_price, max(executed_at) AS traded_at
           FROM trades GROUP BY instrument_id) t ON t.instrument_id = i.id""",
)
_READ: Final = (
    "SELECT quantity, average_price, last_price, profit FROM positions WHERE instrument_id = %s FOR UPDATE"
)
_INSERT: Final = (
    "INSERT INTO trades (instrument_id, symbol, side, price, quantity, executed_at)"
    " VALUES (%s, %s, %s, %s, %s, clock_timestamp())"
)
# The symbol is written once only: someone who edits it by hand, to see it change on the page, keeps the edit.
_UPSERT: Final = (
    "INSERT INTO positions (instrument_id, symbol, quantity, average_price, last_price, profit, updated_at)"
    " VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp()) ON CONFLICT (instrument_id) DO UPDATE SET"
    " quantity = excluded.quantity, average_price = excluded.average_price, last_price = excluded.last_price,"
    " profit = excluded.profit, updated_at = excluded.updated_at"
)
_TRIM: Final = (
    "DELETE FROM trades WHERE id IN (SELECT id FROM trades WHERE id <="
    " (SELECT id FROM trades ORDER BY id DESC OFFSET %s LIMIT 1) ORDER BY id LIMIT %s)"
)
_SETTINGS: Final[Mapping[str, Any]] = {
    "connect_timeout": 10,
    "application_name": "tycostream demo",
    # Losing the last half second of invented trades in a crash is no loss; a disk flush per trade is.
    "options": "-c statement_timeout=10s -c lock_timeout=10s -c synchronous_commit=off -c timezone=UTC",
}


async def create_schema(url: str) -> None:
    """Create the demo's tables and its view, and fill instruments and flat positions; what exists is left as it is.

    ``url`` is a libpq connection string. Raises ``psycopg.Error``.
    """
    async with await AsyncConnection.connect(url, **_SETTINGS) as connection, connection.cursor() as cursor:
        for statement in _SCHEMA:
            await cursor.execute(statement)
        for item in INSTRUMENTS:
            await cursor.execute(
                "INSERT INTO instruments (id, symbol, name, tick) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (item.id, item.symbol, item.name, item.tick),
            )
            await cursor.execute(
                "INSERT INTO positions (instrument_id, symbol, quantity, average_price, last_price, profit)"
                " VALUES (%s, %s, 0, 0, %s, 0) ON CONFLICT DO NOTHING",
                (item.id, item.symbol, item.base),
            )


class Simulator:
    """Writes ``rate`` transactions per second until cancelled; a lost database is waited for, not given up.

    ``rate`` 0 writes nothing: the tables are then only the user's to change. With a ``seed`` the sequence of
    trades is the same each time, given the same positions to start from.
    """

    def __init__(self, url: str, rate: float, clock: Clock, seed: int | None = None) -> None:
        if rate < 0:
            raise ValueError("rate is transactions per second, 0 or more")
        self._url = url
        self._rate = rate
        self._clock = clock
        self.market = Market(clock.random if seed is None else random.Random(seed).random)
        self.transactions = 0
        """How many were committed so far."""

    async def run(self) -> None:
        """Trade for ever. Ends only by cancellation, and then closes its connection."""
        if self._rate == 0:
            await asyncio.Event().wait()
        failures = 0
        while True:
            before = self.transactions
            try:
                async with await AsyncConnection.connect(
                    self._url, autocommit=True, **_SETTINGS
                ) as connection:
                    await self._trade_on(connection)
            except psycopg.Error:
                failures = 1 if self.transactions > before else failures + 1
                limit = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(failures, 10))
                await self._clock.sleep(RETRY_FIRST_S + limit * self._clock.random())

    async def _trade_on(self, connection: AsyncConnection[tuple[Any, ...]]) -> None:
        interval = 1 / self._rate
        due = self._clock.monotonic()
        while True:
            await self.transact(connection)
            if self.transactions % (TRADES_DELETED_AT_ONCE // 2) == 1:
                await connection.execute(_TRIM, (TRADES_KEPT, TRADES_DELETED_AT_ONCE))
            now = self._clock.monotonic()
            # A second behind is forgiven: after a pause there is no burst to catch up.
            due = max(due + interval, now - 1)
            if due > now:
                await self._clock.sleep(due - now)

    async def transact(self, connection: AsyncConnection[tuple[Any, ...]]) -> Trade:
        """One transaction on ``connection``, which is in autocommit mode: a trade and its position."""
        instrument = self.market.pick()
        async with connection.transaction():
            row = await (await connection.execute(_READ, (instrument.id,))).fetchone()
            position = Position(*row) if row else Position(last_price=instrument.base)
            trade = self.market.trade(instrument, position)
            after = position.after(trade.side, trade.quantity, trade.price)
            # Both in one round trip. The position's own statement last: it is the row that others watch.
            async with connection.pipeline():
                await connection.execute(
                    _INSERT, (trade.instrument_id, trade.symbol, trade.side, trade.price, trade.quantity)
                )
                await connection.execute(
                    _UPSERT,
                    (
                        trade.instrument_id,
                        trade.symbol,
                        after.quantity,
                        after.average_price,
                        after.last_price,
                        after.profit,
                    ),
                )
        self.transactions += 1
        return trade

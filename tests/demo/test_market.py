"""The market's rules: what positions and profits must always add up to."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from fractions import Fraction

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.clock import SystemClock
from tycostream.demo import market as rules
from tycostream.demo.market import INSTRUMENTS, Instrument, Market, Position, Side, Simulator

PRICES = st.decimals(min_value="0.01", max_value="1000000", places=4)
TRADES = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 10**6), PRICES), max_size=40)


def fold(trades: list[tuple[Side, int, Decimal]], start: Decimal) -> Position:
    position = Position(last_price=start)
    for side, quantity, price in trades:
        position = position.after(side, quantity, price)
    return position


@given(TRADES, PRICES)
def test_profit_is_cash_plus_the_worth_of_what_is_held_exactly(trades, start):
    position = fold(trades, start)
    sign = {"buy": -1, "sell": 1}
    cash = sum((sign[side] * quantity * Fraction(price) for side, quantity, price in trades), Fraction(0))
    assert Fraction(position.profit) == cash + position.quantity * Fraction(position.last_price)


@given(TRADES, PRICES)
def test_quantity_is_bought_less_sold_and_last_price_the_last(trades, start):
    position = fold(trades, start)
    assert position.quantity == sum(q if side == "buy" else -q for side, q, _ in trades)
    assert position.last_price == (trades[-1][2] if trades else start)


@given(TRADES, PRICES)
def test_average_price_is_zero_when_flat_and_else_between_the_prices_paid(trades, start):
    position = fold(trades, start)
    if position.quantity == 0:
        assert position.average_price == 0
    else:
        prices = [price for _, _, price in trades]
        assert min(prices) <= position.average_price <= max(prices)


@given(TRADES, PRICES, PRICES)
def test_reducing_a_position_keeps_its_average_price(trades, start, price):
    position = fold(trades, start)
    if abs(position.quantity) > 1:
        side: Side = "sell" if position.quantity > 0 else "buy"
        assert position.after(side, 1, price).average_price == position.average_price


def test_a_position_that_turns_is_entered_at_the_turning_price():
    position = Position().after("buy", 10, Decimal("5")).after("sell", 30, Decimal("7"))
    assert position == Position(-20, Decimal("7"), Decimal("7"), Decimal("20"))


@given(st.integers(), st.sampled_from(INSTRUMENTS))
def test_a_walk_stays_on_ticks_above_zero_and_near_its_base(seed, instrument):
    market = Market(random.Random(seed).random)
    position = Position()
    for _ in range(50):
        trade = market.trade(instrument, position)
        assert trade.price >= instrument.tick
        assert trade.price % instrument.tick == 0
        assert abs(trade.price - instrument.base) < instrument.base / 2
        assert 10 <= trade.quantity <= 500
        position = position.after(trade.side, trade.quantity, trade.price)


def test_a_price_never_falls_below_one_tick():
    instrument = Instrument(1, "LOW", "Low", Decimal("0.01"), Decimal("0.01"))
    trade = Market(lambda: 0.0).trade(instrument, Position(last_price=Decimal("0.01")))
    assert trade.price == Decimal("0.01")


def test_the_same_seed_gives_the_same_trades():
    def trades(seed: int) -> list[object]:
        market = Market(random.Random(seed).random)
        return [market.trade(market.pick(), Position()) for _ in range(20)]

    assert trades(7) == trades(7)
    assert trades(7) != trades(8)


def test_symbols_and_ids_are_unique():
    assert len({item.symbol for item in INSTRUMENTS}) == len({item.id for item in INSTRUMENTS}) == 20


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="transactions per second"):
        Simulator("", -1, SystemClock())


async def test_a_database_that_is_away_is_waited_for(monkeypatch):
    attempts = 0
    enough = asyncio.Event()

    class Connection:
        @staticmethod
        async def connect(*_args, **_settings):
            nonlocal attempts
            attempts += 1
            if attempts == 5:
                enough.set()
            raise psycopg.OperationalError("the database is away")

    delays: list[float] = []

    class Hasty(SystemClock):
        async def sleep(self, delay_s: float) -> None:
            delays.append(delay_s)
            await asyncio.sleep(0)

    monkeypatch.setattr(rules, "AsyncConnection", Connection)
    task = asyncio.create_task(Simulator("", 10, Hasty()).run())
    await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(0 < delay <= rules.RETRY_FIRST_S + rules.RETRY_MAX_S for delay in delays)

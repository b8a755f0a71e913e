"""What joins lead to is found once for each value, and never shown of stores that have changed."""

from __future__ import annotations

import cProfile
from typing import Any

import pytest

from tycostream.dataflow.predicate import Aggregated, Compare, Exists, Predicate, compile_predicate, evaluate
from tycostream.dataflow.related import Related
from tycostream.dataflow.relation import Aggregate, Join, Via
from tycostream.dataflow.remembered import Remembered
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Column, RowType
from tycostream.scalars import SCALARS

INT = SCALARS["int4"]
GROUPS, EACH = 10, 50


def store_of(source: str, *columns: str) -> Store:
    return Store(RowType(source, tuple(Column(name, INT) for name in columns), key=(0,)))


class Market:
    """Instruments, and trades of them: each leads to the other."""

    def __init__(self) -> None:
        self.instruments, self.trades = store_of("instruments", "id"), store_of("trades", "id", "of", "price")
        self.instruments.fill([(n,) for n in range(GROUPS)])
        self.trades.fill([(n, n % GROUPS, n) for n in range(GROUPS * EACH)])
        index = self.trades.add_index((1,))
        while not index.ready:
            index.step()
        self.related = Related(lambda name: self.trades if name == "trades" else self.instruments)

    def function(self, predicate: Predicate) -> Any:
        return compile_predicate(predicate, self.related.bind)


DOWN, UP = Join("trades", (0,), (1,)), Join("instruments", (1,), (0,))


def tower(levels: int, innermost: Predicate) -> Predicate:
    """There is a trade of an instrument that has a trade of …"""
    for _ in range(levels):
        innermost = Exists(DOWN, Exists(UP, innermost))
    return Exists(DOWN, innermost) if levels == 0 else innermost


def calls(work: Any) -> int:
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("kind", ["exists", "aggregated"])
def test_levels_add_up_and_do_not_multiply(kind: str) -> None:
    market = Market()
    leaf: Predicate = Exists(DOWN, Compare(2, "lt", 0))
    if kind == "aggregated":
        leaf = Aggregated(DOWN, Compare(2, "lt", 0), Aggregate("count"), Compare(0, "gt", 0))
    asked = market.function(tower(6, leaf))
    found: list[bool] = []
    count = calls(lambda: found.extend(map(asked, market.instruments.rows.values())))
    assert found == [False] * GROUPS
    assert count < 100 * GROUPS * EACH, "otherwise 50 to the power of seven"


def test_a_total_is_added_up_once_for_each_value() -> None:
    market = Market()
    cell, _ = market.related.cell_of(Via(Join("trades", (1,), (1,)), Aggregate("sum", (2,))))
    rows = list(market.trades.rows.values())
    count = calls(lambda: [cell(row) for row in rows])
    assert count < 40 * len(rows), "otherwise fifty additions for each row"
    assert cell(rows[3]) == sum(row[2] for row in rows if row[1] == 3)


def test_a_change_anywhere_is_seen_at_once() -> None:
    market = Market()
    predicate = tower(2, Exists(DOWN, Compare(2, "eq", 777)))
    asked, instrument = market.function(predicate), (3,)
    assert asked(instrument) is False
    market.trades.apply([Change(3, None, (3, 3, 777))])
    assert asked(instrument) is True
    net = market.trades.apply([Change(3, None, (3, 3, 3))])
    assert asked(instrument) is False
    market.trades.revert(net)
    assert asked(instrument) is True
    market.instruments.apply([Change(3, (3,), None)])
    assert asked(instrument) is False, "what is in between is gone"
    assert evaluate(predicate, instrument, market.related.bind) is False


def test_null_leads_nowhere_and_is_not_remembered() -> None:
    market = Market()
    asked = market.function(Exists(UP, Compare(0, "eq", 1), negated=True))
    assert asked((1, None, 0)) is True
    assert asked((1, 1, 0)) is False
    count = market.function(Aggregated(DOWN, Compare(2, "gt", 0), Aggregate("count"), Compare(0, "eq", 0)))
    assert count((None,)) is True


def test_what_is_remembered_is_bounded_over_all() -> None:
    store = store_of("s", "id")
    asked: list[int] = []

    def find(value: Any) -> int:
        asked.append(value)
        return int(value) + 1

    remembered = Remembered(entries_max=10)
    one, two = remembered(find, [store]), remembered(find, [store])
    assert [one(n) for n in (1, 1, 2)] == [2, 2, 3]
    assert asked == [1, 2]
    for n in range(100):
        assert two(n) == n + 1
    assert len(asked) == 102
    assert one(1) == 2
    assert asked[-1] == 1, "the others forget as well"
    store.apply([Change(1, None, (1,))])
    assert one(1) == 2
    assert asked[-2:] == [1, 1]

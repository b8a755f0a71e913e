"""A step of rows is so much work, whatever is asked of a row."""

from __future__ import annotations

import pytest

from tycostream.dataflow.aggregation import Aggregation
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.hydration import ROWS_PER_STEP
from tycostream.dataflow.like import Like
from tycostream.dataflow.predicate import (
    TRUE,
    Aggregated,
    Compare,
    Exists,
    Matches,
    Predicate,
    disjunction,
    negate,
)
from tycostream.dataflow.price import price
from tycostream.dataflow.relation import Aggregate, Join
from tycostream.dataflow.store import Store
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS

ONE, JOIN = Compare(0, "eq", -1), Join("s", (0,), (0,))
MANY = disjunction(Compare(0, "eq", -n) for n in range(1, 201))
ROWS = 3 * ROWS_PER_STEP


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (TRUE, 1),
        (ONE, 1),
        (MANY, 11),
        (negate(MANY), 11),
        (Matches(0, Like("a")), 2),
        (Exists(JOIN, MANY), 11),
        (disjunction([Exists(JOIN, ONE), Aggregated(JOIN, MANY, Aggregate("count"), ONE)]), 12),
    ],
)
def test_price(predicate: Predicate, expected: int) -> None:
    assert price(predicate) == expected


@pytest.mark.parametrize(("predicate", "steps"), [(Compare(0, "lt", 0), 3), (MANY, 34)])
def test_of_dear_rows_a_step_asks_fewer(predicate: Predicate, steps: int) -> None:
    store = Store(RowType("s", (Column("id", SCALARS["int4"]),), key=(0,)))
    store.fill([(n,) for n in range(ROWS)])
    for made in (Arrangement(store, predicate), Aggregation(store, predicate, (Aggregate("count"),))):
        assert made.work == ROWS * price(predicate)
        hydration, taken = made.hydration(), 1
        while not hydration.step():
            taken += 1
        assert taken == steps

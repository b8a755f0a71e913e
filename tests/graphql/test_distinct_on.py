"""``distinct_on``: which columns it may name, and the order that it takes."""

from __future__ import annotations

import pytest

from tests.graphql.graphql_tables import TRADES, root
from tycostream.auth.session import Session
from tycostream.dataflow.order import OrderBy, Term
from tycostream.errors import RequestError
from tycostream.graphql import inputs
from tycostream.graphql.rights import Permits, Rights
from tycostream.graphql.source import Source
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS

PATH = "$.selectionSet.trades.args"
ID, SYMBOL, QTY = OrderBy(0), OrderBy(1), OrderBy(3)


def distinct_on(
    row_type: RowType, columns: list[str] | None, order: tuple[Term, ...], path: str
) -> tuple[tuple[int, ...], tuple[Term, ...]]:
    """As admin, who sees everything, says it."""
    source = Source(row_type, stringify_numbers=False)
    rights = Rights(Permits(None, {row_type.source: source}), Session())
    return inputs.distinct_on(source, columns, order, path, rights)


@pytest.mark.parametrize(
    ("columns", "order", "expected"),
    [
        (None, (), ((), ())),
        ([], (QTY,), ((), (QTY,))),
        (["symbol", "qty"], (), ((1, 3), (SYMBOL, QTY))),
        (["symbol"], (SYMBOL, QTY), ((1,), (SYMBOL, QTY))),
        (["symbol", "qty"], (QTY, SYMBOL, ID), ((1, 3), (QTY, SYMBOL, ID))),
        (["symbol", "symbol"], (SYMBOL, ID), ((1,), (SYMBOL, ID))),
    ],
)
def test_distinct_columns_are_the_first_of_the_order(
    columns: list[str] | None, order: tuple[OrderBy, ...], expected: object
) -> None:
    assert distinct_on(TRADES, columns, order, PATH) == expected


@pytest.mark.parametrize(
    ("columns", "order"), [(["symbol"], (QTY, SYMBOL)), (["symbol", "qty"], (SYMBOL,)), (["qty"], (ID,))]
)
def test_other_orders_are_refused_in_hasuras_words(columns: list[str], order: tuple[OrderBy, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        distinct_on(TRADES, columns, order, PATH)
    assert caught.value.message == '"distinct_on" columns must match initial "order_by" columns'
    assert caught.value.path == PATH


def test_a_column_without_equality_is_refused() -> None:
    with pytest.raises(RequestError, match="the column 'pos' of type 'point' cannot be in \"distinct_on\""):
        distinct_on(RowType("t", (Column("pos", SCALARS["point"]),)), ["pos"], (), PATH)


def test_a_plan_without_it_has_none() -> None:
    assert root("{trades(order_by: {qty: asc}) {id}}").distinct_on == ()

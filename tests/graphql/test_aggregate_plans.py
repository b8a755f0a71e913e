"""Aggregates over related rows in an operation: what nested selections, conditions and orders become."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graphql.related_tables import FILLS, TRADES, refusal, root
from tycostream.auth.session import Session
from tycostream.config.load import loads
from tycostream.dataflow.order import OrderBy, OrderVia
from tycostream.dataflow.predicate import TRUE, Aggregated, Compare, Exists, Predicate, conjunction, negate
from tycostream.dataflow.relation import Aggregate, Join, Via
from tycostream.graphql.encode import Rows
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Mode, Nested, rows_of, totals_of
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS

OF_INSTRUMENT = Join("trades", (0,), (1,))
OF_TRADE = Join("fills", (0,), (1,))
TRADE = Join("trades", (1,), (0,))  # of a fill
COUNT = Aggregate("count")


def nested(query: str) -> tuple[Nested, ...]:
    encoder = root(query).encoder
    assert isinstance(encoder, Rows)
    return tuple(each for each in encoder.nested if isinstance(each, Nested))


def where(condition: str, variables: dict[str, object] | None = None) -> Predicate:
    declared = "query($n: Int) " if variables else ""
    return root(f"{declared}{{trades(where: {{{condition}}}) {{id}}}}", variables).predicate


def test_aggregates_are_selected_on_a_row() -> None:
    query = """{trades {
      id
      fills_aggregate(where: {qty: {_gt: 3}}) {aggregate {count sum {qty}}}
      some: fills_aggregate(limit: 2, order_by: {qty: desc}) {nodes {id} aggregate {count}}
    }}"""
    total, some = nested(query)
    assert (total.join, total.mode, total.predicate) == (OF_TRADE, Mode.AGGREGATE, Compare(2, "gt", 3))
    assert totals_of(total).aggregates == (COUNT, Aggregate("sum", (2,)))
    assert rows_of(total) is None
    assert (some.order, some.limit) == ((OrderBy(2, True, True),), 2)
    assert rows_of(some) is not None
    assert total.key != some.key
    assert root(query).reads == (FILLS,)
    assert totals_of(total).value((2, 9), ()) == b'{"aggregate":{"count":2,"sum":{"qty":9}}}'


def test_an_order_that_nothing_depends_on_is_dropped_here_too() -> None:
    plain, ordered = nested(
        "{trades {a: fills_aggregate {aggregate {count}} b: fills_aggregate(order_by: {qty: asc}) {aggregate {count}}}}"
    )
    assert ordered.order == ()
    assert plain.key == ordered.key


def test_rows_of_aggregates_lead_on() -> None:
    query = (
        "{instruments_aggregate {aggregate {count} nodes {trades_aggregate {nodes {fills {trade {id}}}}}}}"
    )
    found = root(query)
    rows = rows_of(found)
    assert rows is not None
    (trades,) = rows.nested
    assert isinstance(trades, Nested)
    assert (trades.join, trades.mode) == (OF_INSTRUMENT, Mode.AGGREGATE)
    assert found.reads == (FILLS, TRADES)


def test_conditions_on_aggregates() -> None:
    assert where("fills_aggregate: {count: {predicate: {_gte: $n, _lt: 9}}}", {"n": 2}) == Aggregated(
        OF_TRADE, TRUE, COUNT, conjunction([Compare(0, "ge", 2), Compare(0, "lt", 9)])
    )
    assert where(
        "fills_aggregate: {count: {arguments: [id, qty], distinct: true, filter: {qty: {_gt: 1}, trade: {}}, predicate: {_eq: 0}}}"
    ) == Aggregated(
        OF_TRADE,
        conjunction([Compare(2, "gt", 1), Exists(TRADE, TRUE)]),
        Aggregate("count", (0, 2), True),
        Compare(0, "eq", 0),
    )
    inner = Aggregated(OF_TRADE, TRUE, Aggregate("count", (2,)), Compare(0, "gt", 1))
    condition = "fills_aggregate: {count: {arguments: qty, predicate: {_gt: 1}}}"
    assert where(f"_not: {{{condition}}}") == negate(inner)
    found = root(f"{{instruments_aggregate(where: {{trades: {{{condition}}}}}) {{aggregate {{count}}}}}}")
    assert found.predicate == Exists(OF_INSTRUMENT, inner)
    assert found.reads == (FILLS, TRADES)


def test_conditions_on_truths() -> None:
    text = """
databases: {main: {url: 'host=db'}}
sources: {owners: {relationships: {flags: {array: flags, on: {id: owner}}}}, flags: {}}
"""
    keys = (Column("id", SCALARS["int4"], nullable=False),)
    owners = RowType("owners", keys, (0,))
    flags = RowType("flags", (*keys, Column("owner", SCALARS["int4"]), Column("up", SCALARS["bool"])), (0,))
    planner = Planner([owners, flags], sources=loads(text, environ={}).sources)
    condition = "bool_and: {arguments: up, filter: {id: {_gt: 1}}, predicate: {_eq: true}}"
    query = f"{{owners(where: {{flags_aggregate: {{{condition}}}}}) {{id}}}}"
    found: Any = planner.plan(query, None, None, Session()).roots[0]
    assert found.predicate == Aggregated(
        Join("flags", (0,), (1,)), Compare(0, "gt", 1), Aggregate("bool_and", (2,)), Compare(0, "eq", True)
    )


def test_conditions_on_double_precision() -> None:
    text = """
databases: {main: {url: 'host=db'}}
sources: {owners: {relationships: {marks: {array: marks, on: {id: owner}}}}, marks: {}}
"""
    keys = (Column("id", SCALARS["int4"], nullable=False),)
    owners = RowType("owners", keys, (0,))
    marks = RowType("marks", (*keys, Column("owner", SCALARS["int4"]), Column("x", SCALARS["float8"])), (0,))
    planner = Planner([owners, marks], sources=loads(text, environ={}).sources)
    for function, given, distinct in (
        ("avg", "", False),
        ("var_samp", ", distinct: true", True),
        ("sum", ", distinct: false", False),
        ("max", ", distinct: true", False),  # it changes nothing, so it is the same plan
    ):
        condition = f"{function}: {{arguments: x{given}, predicate: {{_gt: 0.5}}}}"
        query = f"{{owners(where: {{marks_aggregate: {{{condition}}}}}) {{id}}}}"
        found: Any = planner.plan(query, None, None, Session()).roots[0]
        assert found.predicate == Aggregated(
            Join("marks", (0,), (1,)), TRUE, Aggregate(function, (2,), distinct), Compare(0, "gt", 0.5)
        )


def test_orders_by_aggregates() -> None:
    query = """query($up: order_by) {trades(order_by: [
      {fills_aggregate: {max: {qty: desc}, count: asc, min: {qty: $up, id: null}}},
      {parent: {fills_aggregate: {count: desc}}}, {id: asc}
    ]) {id}}"""
    assert root(query).order == (
        OrderVia(Via(OF_TRADE, Aggregate("max", (2,))), True, True),
        OrderVia(Via(OF_TRADE, COUNT)),
        OrderVia(Via(Join("trades", (3,), (0,)), Via(OF_TRADE, COUNT)), True, True),
        OrderBy(0),
    )
    assert root(query).reads == (FILLS,)
    by = OrderVia(Via(OF_TRADE, Aggregate("min", (2,))))
    assert root(query, {"up": "asc"}).order[2] == by


@pytest.mark.parametrize(
    ("condition", "message", "path"),
    [
        (
            "fills_aggregate: {}",
            "exactly one function is expected in 'fills_aggregate_bool_exp', but found 0",
            "fills_aggregate",
        ),
        (
            "fills_aggregate: null",
            "unexpected null value for type 'fills_aggregate_bool_exp'",
            "fills_aggregate",
        ),
        (
            "fills_aggregate: {count: null}",
            "unexpected null value for type 'fills_aggregate_bool_exp_count'",
            "fills_aggregate.count",
        ),
        (
            "fills_aggregate: {count: {predicate: {_eq: 1}, filter: null}}",
            "unexpected null value for type 'fills_bool_exp'",
            "fills_aggregate.count.filter",
        ),
        (
            "fills_aggregate: {count: {predicate: {_eq: null}}}",
            "unexpected null value for type 'Int'",
            "fills_aggregate.count.predicate._eq",
        ),
    ],
)
def test_what_is_refused(condition: str, message: str, path: str) -> None:
    refused = refusal(f"{{trades(where: {{{condition}}}) {{id}}}}")
    assert (refused["message"], refused["path"]) == (message, f"$.selectionSet.trades.args.where.{path}")

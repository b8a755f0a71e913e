"""Selections on T_aggregate: what they ask to be computed, and the JSON that is made of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.graphql.graphql_tables import TRADES, refusals, root
from tests.graphql.test_documents import PLANNER as PEOPLE_PLANNER
from tycostream.dataflow.aggregate import aggregated
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.relation import Aggregate
from tycostream.graphql.documents import Flawed
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Mode, rows_of
from tycostream.rows import Column, Row, RowType
from tycostream.scalars import NAN, SCALARS

NOTES = RowType("notes", (Column("id", SCALARS["int4"]), Column("at", SCALARS["point"])), key=(0,))
NOTES_PLANNER = Planner([NOTES])
ROWS: list[Row] = [
    (2**53 + 1, "b", Decimal("1.50"), 3, 0, 0.5, None),
    (1, "a", Decimal("2"), None, 1, 0.25, '{"x": 1}'),
]


def written(query: str, rows: list[Row] = ROWS, planner: Planner | None = None) -> str:
    """The value of the only root over ``rows``, as text."""
    found = root(query, planner=planner) if planner else root(query)
    encoder = found.encoder
    nodes = rows_of(found)
    fragments = [nodes.row(row) for row in rows] if nodes is not None else []
    value = encoder.value(aggregated(encoder.aggregates, found.row_type, rows), fragments)
    return bytes(value).decode()


def test_results_are_written_as_their_types_are() -> None:
    assert written(
        "{trades_aggregate {aggregate {"
        " count symbols: count(columns: symbol, distinct: true) both: count(columns: [symbol, qty])"
        " sum {id price qty ratio} avg {id price qty ratio} max {symbol side price} min {symbol side}"
        " stddev {qty} var_pop {price} variance {ratio} __typename"
        "}}}"
    ) == (
        '{"aggregate":{"count":2,"symbols":2,"both":1,'
        '"sum":{"id":9007199254740994,"price":3.50,"qty":3,"ratio":0.75},'
        '"avg":{"id":4503599627370497.0000,"price":1.7500000000000000,"qty":3.0000000000000000,"ratio":0.375},'
        '"max":{"symbol":"b","side":"sell","price":2},"min":{"symbol":"a","side":"buy"},'
        '"stddev":{"qty":null},"var_pop":{"price":0.06250000000000000000},"variance":{"ratio":0.03125},'
        '"__typename":"trades_aggregate_fields"}}'
    )


def test_of_no_rows_all_is_null_but_the_count() -> None:
    query = "{trades_aggregate {aggregate {count sum {qty} max {symbol}} nodes {id} more: nodes {qty}}}"
    assert written(query, []) == (
        '{"aggregate":{"count":0,"sum":{"qty":null},"max":{"symbol":null}},"nodes":[],"more":[]}'
    )


def test_each_may_be_selected_again_under_another_name() -> None:
    query = """query ($no: Boolean = false) {
      trades_aggregate {
        kind: __typename
        first: aggregate { count ...more }
        nodes { id }
        second: aggregate { count sum { quantity: qty __typename } }
        others: nodes { symbol again: symbol }
        nodes { side }
        hidden: nodes @include(if: $no) { id }
      }
    }
    fragment more on trades_aggregate_fields { max { qty } ... on trades_aggregate_fields { max { symbol } } }"""
    found = root(query)
    assert found.encoder.aggregates == (
        Aggregate("count"),
        Aggregate("max", (3,)),
        Aggregate("max", (1,)),
        Aggregate("sum", (3,)),
    )
    assert written(query) == (
        '{"kind":"trades_aggregate","first":{"count":2,"max":{"qty":3,"symbol":"b"}},'
        '"nodes":[{"id":9007199254740993,"side":"buy"},{"id":1,"side":"sell"}],'
        '"second":{"count":2,"sum":{"quantity":3,"__typename":"trades_sum_fields"}},'
        '"others":[{"symbol":"b","again":"b"},{"symbol":"a","again":"a"}]}'
    )


def test_what_nothing_is_selected_on_is_an_empty_object() -> None:
    query = """{trades_aggregate {
      aggregate {count @skip(if: true)}
      second: aggregate {sum {qty @include(if: false)} max {qty}}
      nodes {id @skip(if: true)}
    }}"""
    assert written(query, []) == '{"aggregate":{},"second":{"sum":{},"max":{"qty":null}},"nodes":[]}'
    assert written("{trades_aggregate {aggregate @skip(if: true) {count}}}", []) == "{}"


def test_what_is_no_number_in_json_is_a_string() -> None:
    rows: list[Row] = [(1, None, NAN, None, None, float("inf"), None)]
    assert written("{trades_aggregate {aggregate {sum {price ratio} avg {price ratio}}}}", rows) == (
        '{"aggregate":{"sum":{"price":"NaN","ratio":"Infinity"},"avg":{"price":"NaN","ratio":"Infinity"}}}'
    )


def test_numbers_are_strings_where_columns_are() -> None:
    planner = Planner([TRADES], stringify_numbers=True)
    query = "{trades_aggregate {aggregate {count sum {id price qty ratio} avg {qty ratio}} nodes {id qty}}}"
    assert written(query, planner=planner) == (
        '{"aggregate":{"count":2,"sum":{"id":"9007199254740994","price":"3.50","qty":3,"ratio":0.75},'
        '"avg":{"qty":"3.0000000000000000","ratio":"0.375"}},'
        '"nodes":[{"id":"9007199254740993","qty":3},{"id":"1","qty":null}]}'
    )
    plain = root(query)
    assert root(query, planner=planner).encoder.key != plain.encoder.key


def test_what_does_not_fit_is_told_at_its_place() -> None:
    rows: list[Row] = [(1, None, None), (2, '{"age": "old"}', None), (3, "7", None)]
    single = "{people_aggregate {aggregate {count} rows: nodes {id one {age}}}}"
    several = "{people_aggregate {ids: nodes {id} rows: nodes {one {age}} again: nodes {x: one {name}}}}"
    for query, places in (
        (single, [("rows", 1, "one", "age"), ("rows", 2, "one")]),
        (several, [("rows", 1, "one", "age"), ("rows", 2, "one"), ("again", 2, "x")]),
    ):
        found = root(query, planner=PEOPLE_PLANNER)
        nodes = rows_of(found)
        assert nodes is not None
        value = found.encoder.value((3,), [nodes.row(row) for row in rows])
        assert isinstance(value, Flawed)
        assert [path for path, _ in value.flaws] == places
        assert value.total == len(places)
        assert json.loads(value)["rows"][2]["one"] is None


def test_an_order_that_nothing_depends_on_makes_no_other_plan() -> None:
    def planned(arguments: str, selection: str) -> Any:
        return root(f"{{trades_aggregate{arguments} {{{selection}}}}}")

    plain, ordered = (planned(each, "aggregate {count}") for each in ("", "(order_by: {qty: desc})"))
    assert (ordered.order, ordered.key) == ((), plain.key)
    for arguments, selection in (
        ("(order_by: {qty: desc})", "nodes {id}"),
        ("(order_by: {qty: desc}, limit: 3)", "aggregate {count}"),
        ("(order_by: {qty: desc}, offset: 3)", "aggregate {count}"),
        ("(order_by: {qty: desc}, distinct_on: qty)", "aggregate {count}"),
    ):
        found = planned(arguments, selection)
        assert (found.mode, found.order) == (Mode.AGGREGATE, (OrderBy(3, True, True),))


@pytest.mark.parametrize(
    ("query", "message", "path"),
    [
        (
            "{trades_aggregate {aggregate {sum {symbol}}}}",
            "field 'symbol' not found in type: 'trades_sum_fields'",
            "$.selectionSet.trades_aggregate.selectionSet.aggregate.selectionSet.sum.selectionSet.symbol",
        ),
        (
            "{trades_aggregate {aggregate {max {info}}}}",
            "field 'info' not found in type: 'trades_max_fields'",
            "$.selectionSet.trades_aggregate.selectionSet.aggregate.selectionSet.max.selectionSet.info",
        ),
        (
            '{trades_aggregate(where: {symbol: {_eq: "a"}}, limit: -1) {aggregate {count}}}',
            "expected a non-negative 32-bit integer for type 'Int', but found -1",
            "$.selectionSet.trades_aggregate.args.limit",
        ),
    ],
)
def test_what_is_refused(query: str, message: str, path: str) -> None:
    (refusal,) = refusals(query)
    assert (refusal["message"], refusal["extensions"]["path"]) == (message, path)


def test_what_has_no_equality_is_not_counted_once_each() -> None:
    (refusal,) = refusals(
        "{notes_aggregate {aggregate {a: count(columns: at, distinct: true)}}}", planner=NOTES_PLANNER
    )
    assert refusal["message"] == "different values of the column 'at' of type 'point' cannot be counted"
    assert refusal["extensions"]["path"] == (
        "$.selectionSet.notes_aggregate.selectionSet.aggregate.selectionSet.count.args"
    )
    assert root("{notes_aggregate {aggregate {count(columns: at)}}}", planner=NOTES_PLANNER)

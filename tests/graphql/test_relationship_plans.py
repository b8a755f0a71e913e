"""Relationships in an operation: what nested selections, conditions and orders become."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graphql.related_tables import FILLS, INSTRUMENTS, PLANNER, TRADES, refusal, root
from tycostream.auth.session import Session
from tycostream.dataflow.order import OrderBy, OrderVia
from tycostream.dataflow.predicate import (
    FALSE,
    TRUE,
    Compare,
    Exists,
    In,
    IsNull,
    Predicate,
    conjunction,
    disjunction,
)
from tycostream.dataflow.relation import Join, Via
from tycostream.graphql.encode import Rows
from tycostream.graphql.plan import Mode, Nested

INSTRUMENT = Join("instruments", (1,), (0,))  # of a trade
OF_INSTRUMENT = Join("trades", (0,), (1,))
OF_TRADE = Join("fills", (0,), (1,))
TRADE = Join("trades", (1,), (0,))  # of a fill
PARENT = Join("trades", (3,), (0,))


def relationships_of(encoder: Rows) -> tuple[Nested, ...]:
    return tuple(each for each in encoder.nested if isinstance(each, Nested))


def nested(query: str, variables: dict[str, object] | None = None) -> tuple[Nested, ...]:
    encoder = root(query, variables).encoder
    assert isinstance(encoder, Rows)
    return relationships_of(encoder)


# selections


def test_an_object_relationship_is_one_row_of_the_other_source() -> None:
    (found,) = nested("{trades {id instrument {symbol id}}}")
    assert (found.join, found.mode, found.predicate) == (INSTRUMENT, Mode.BY_PK, TRUE)
    assert isinstance(found.encoder, Rows)
    fragment = found.encoder.row((7, "XAU", None, None))
    assert found.encoder.result([fragment]) == b'{"symbol":"XAU","id":7}'
    assert found.encoder.result([]) == b"null"


def test_an_array_relationship_takes_what_a_list_takes() -> None:
    (found,) = nested(
        "{trades {fills(where: {qty: {_gt: 3}}, order_by: [{qty: desc}], limit: 5, offset: 1) {id}}}"
    )
    assert (found.join, found.mode) == (OF_TRADE, Mode.LIST)
    assert found.predicate == Compare(2, "gt", 3)
    assert (found.order, found.limit, found.offset) == ((OrderBy(2, True, True),), 5, 1)
    (found,) = nested("{trades {fills(distinct_on: qty) {id}}}")
    assert (found.distinct_on, found.order) == ((2,), (OrderBy(2),))


def test_a_row_is_written_around_its_related_rows() -> None:
    encoder = root("{trades {id one: instrument {symbol} fills {id} __typename}}").encoder
    assert isinstance(encoder, Rows)
    written = encoder.row((1, 2, None, None), b'{"symbol":"A"}', b"[]")
    assert written == b'{"id":1,"one":{"symbol":"A"},"fills":[],"__typename":"trades"}'


def test_relationships_nest_at_any_depth() -> None:
    query = "{instruments {trades {fills {trade {instrument {symbol}}}}}}"
    joins, found = [], nested(query)
    while found:
        (one,) = found
        joins.append((one.join, one.mode))
        assert isinstance(one.encoder, Rows)
        found = relationships_of(one.encoder)
    assert joins == [
        (OF_INSTRUMENT, Mode.LIST),
        (OF_TRADE, Mode.LIST),
        (TRADE, Mode.BY_PK),
        (INSTRUMENT, Mode.BY_PK),
    ]
    assert root(query).reads == (FILLS, TRADES)


def test_aliases_tell_apart_what_is_selected_twice() -> None:
    few, all_of_them = nested("{trades {few: fills(limit: 1) {id} all: fills {id qty}}}")
    assert (few.limit, all_of_them.limit) == (1, None)
    assert few.key != all_of_them.key


def test_fragments_and_directives_are_resolved_inside() -> None:
    query = """query($with: Boolean!, $min: Int) {
      trades {...a ...b fills(where: {qty: {_gte: $min}}) @skip(if: $with) {id}}
    }
    fragment a on trades {instrument {symbol} fills(where: {qty: {_gte: $min}}) @include(if: $with) {id}}
    fragment b on trades {instrument {sector @include(if: $with)} fills(where: {qty: {_gte: $min}}) {...f @skip(if: $with) id}}
    fragment f on fills {note}"""
    instrument, fills = nested(query, {"with": True, "min": 4})
    assert isinstance(instrument.encoder, Rows)
    assert isinstance(fills.encoder, Rows)
    assert instrument.encoder.row((1, "A", "x", None)) == b'{"symbol":"A","sector":"x"}'
    assert fills.encoder.row((5, 1, None, None)) == b'{"id":5}'
    assert fills.predicate == Compare(2, "ge", 4)


def test_a_json_path_is_taken_on_a_related_row_too() -> None:
    (found,) = nested('{trades {fills {note(path: "$.a")}}}')
    assert isinstance(found.encoder, Rows)
    assert found.encoder.row((1, 1, None, '{"a":[1]}')) == b'{"note":[1]}'


def test_a_row_by_key_and_a_subscription_nest_alike() -> None:
    query = "{trades_by_pk(id: 1) {fills(limit: 2) {id}}}"
    assert nested(query) == nested(f"subscription {query}")
    assert root(query).reads == (FILLS,)


# conditions

EXISTS: list[tuple[str, str, Predicate]] = [
    ("trades", "{instrument: {}}", Exists(INSTRUMENT, TRUE)),
    ("trades", '{instrument: {symbol: {_eq: "A"}}}', Exists(INSTRUMENT, Compare(1, "eq", "A"))),
    ("trades", '{_not: {instrument: {symbol: {_eq: "A"}}}}', Exists(INSTRUMENT, Compare(1, "eq", "A"), True)),
    ("instruments", "{trades: {price: {_is_null: true}}}", Exists(OF_INSTRUMENT, IsNull(2))),
    (
        "trades",
        "{instrumentId: {_gt: 3}, fills: {qty: {_gt: 1}, id: {_lt: 9}}}",
        conjunction([Compare(1, "gt", 3), Exists(OF_TRADE, conjunction([Compare(2, "gt", 1), Compare(0, "lt", 9)]))]),
    ),
    (
        "fills",
        '{trade: {_or: [{instrument: {sector: {_eq: "x"}}}, {parent: {}}]}}',
        Exists(TRADE, disjunction([Exists(INSTRUMENT, Compare(2, "eq", "x")), Exists(PARENT, TRUE)])),
    ),
    ("trades", "{instrument: {id: {_in: []}}}", Exists(INSTRUMENT, In(0, frozenset()))),
    ("trades", "{fills: {_or: []}}", FALSE),
    ("trades", "{_not: {fills: {_or: []}}}", TRUE),
]  # fmt: skip


@pytest.mark.parametrize(("source", "where", "expected"), EXISTS)
def test_a_condition_on_related_rows_is_that_there_is_such_a_row(
    source: str, where: str, expected: Predicate
) -> None:
    assert root(f"{{{source}(where: {where}) {{id}}}}").predicate == expected
    feed = root(f"subscription {{{source}_changes(where: {where}) {{phase}}}}")
    assert (feed.mode, feed.predicate) == (Mode.CHANGES, expected)


def test_what_a_condition_reads_is_told() -> None:
    assert root("{trades(where: {instrument: {}}) {id}}").reads == (INSTRUMENTS,)
    deep = '{fills(where: {trade: {instrument: {symbol: {_eq: "A"}}}}) {id}}'
    assert root(deep).reads == (INSTRUMENTS, TRADES)
    assert root("{trades(where: {parent: {}}) {id}}").reads == (), "only other sources are"
    feed = root("subscription {trades_changes(where: {fills: {}}) {phase}}")
    assert feed.reads == (FILLS,)
    inner = root("{instruments {trades(where: {fills: {}}, order_by: {parent: {price: asc}}) {id}}}")
    assert inner.reads == (FILLS, TRADES)


# orders


@pytest.mark.parametrize(
    ("source", "order_by", "expected"),
    [
        ("trades", "{instrument: {symbol: asc}}", (OrderVia(Via(INSTRUMENT, 1)),)),
        (
            "trades",
            "[{price: desc}, {instrument: {sector: desc, symbol: asc_nulls_first}}, {id: asc}]",
            (
                OrderBy(2, True, True),
                OrderVia(Via(INSTRUMENT, 2), True, True),
                OrderVia(Via(INSTRUMENT, 1), False, True),
                OrderBy(0),
            ),
        ),
        (
            "fills",
            "{trade: {instrument: {symbol: asc}, id: desc_nulls_last}, id: asc}",
            (OrderVia(Via(TRADE, Via(INSTRUMENT, 1))), OrderVia(Via(TRADE, 0), True), OrderBy(0)),
        ),
        (
            "trades",
            "[{instrument: {symbol: asc}}, {instrument: {symbol: desc}}]",
            (OrderVia(Via(INSTRUMENT, 1)),),
        ),
        ("trades", "{instrument: {symbol: null}, id: asc}", (OrderBy(0),)),
    ],
)
def test_orders_follow_object_relationships_as_they_are_written(
    source: str, order_by: str, expected: Any
) -> None:
    found = root(f"{{{source}(order_by: {order_by}) {{id}}}}")
    assert found.order == expected


def test_an_order_may_come_in_variables_and_in_a_nested_list() -> None:
    query = "query($o: [fills_order_by!]) {trades {fills(order_by: $o) {id}}}"
    (found,) = nested(query, {"o": [{"trade": {"price": "desc", "id": "asc"}}]})
    assert found.order == (OrderVia(Via(TRADE, 2), True, True), OrderVia(Via(TRADE, 0)))

    # by default too, and whatever way the type has its fields
    for text in (
        "query($o: [trades_order_by!] = {price: asc, instrument: {symbol: desc, id: asc}}) {trades(order_by: $o) {id}}",
        "query($i: instruments_order_by = {symbol: desc, id: asc}) {trades(order_by: {price: asc, instrument: $i}) {id}}",
    ):
        assert root(text).order == (
            OrderBy(2),
            OrderVia(Via(INSTRUMENT, 1), True, True),
            OrderVia(Via(INSTRUMENT, 0)),
        )


# sharing


def test_plans_are_equal_only_if_what_is_nested_is() -> None:
    def key(text: str) -> object:
        return PLANNER.plan(text, None, None, Session()).cohort_key

    first = key("{trades {fills(limit: 1) {id}}}")
    assert first == key("query x {trades {fills(limit: 1) {...f}}} fragment f on fills {id}")
    others = [
        "{trades {fills(limit: 2) {id}}}",
        "{trades {fills(limit: 1) {qty}}}",
        "{trades {fills(limit: 1, where: {id: {_eq: 1}}) {id}}}",
        "{trades {fills(limit: 1, order_by: {qty: asc}) {id}}}",
        "{trades {fills(limit: 1, offset: 1) {id}}}",
        "{trades {x: fills(limit: 1) {id}}}",
        "{trades {fills(limit: 1) {id trade {id}}}}",
        "{trades {parent {id}}}",
        "{trades {instrument {id}}}",
    ]
    assert len({first, *map(key, others)}) == len(others) + 1


# refusals


@pytest.mark.parametrize(
    ("query", "message", "path"),
    [
        (
            "{trades {fills(limit: -1) {id}}}",
            "expected a non-negative 32-bit integer for type 'Int', but found -1",
            "$.selectionSet.trades.selectionSet.fills.args.limit",
        ),
        (
            "{instruments {x: trades {y: fills(where: {id: {_eq: null}}) {id}}}}",
            "unexpected null value for type 'bigint'",
            "$.selectionSet.instruments.selectionSet.trades.selectionSet.fills.args.where.id._eq",
        ),
        (
            "{trades {fills(distinct_on: id, order_by: {qty: asc}) {id}}}",
            '"distinct_on" columns must match initial "order_by" columns',
            "$.selectionSet.trades.selectionSet.fills.args",
        ),
        (
            "{trades(distinct_on: price, order_by: {instrument: {symbol: asc}}) {id}}",
            '"distinct_on" columns must match initial "order_by" columns',
            "$.selectionSet.trades.args",
        ),
        (
            "{trades(where: {instrument: null}) {id}}",
            "unexpected null value for type 'instruments_bool_exp'",
            "$.selectionSet.trades.args.where.instrument",
        ),
        (
            "{trades(where: {instrument: {symbol: {_eq: 5}}}) {id}}",
            "String cannot represent a non string value: 5",
            "$.selectionSet.trades.args.where.instrument.symbol._eq",
        ),
        (
            "{trades {fills(where: {x: 1}) {id}}}",
            "field 'x' not found in type: 'fills_bool_exp'",
            "$.selectionSet.trades.selectionSet.fills.args.where.x",
        ),
        (
            "{trades {instrument(limit: 1) {id}}}",
            "'instrument' has no argument named 'limit'",
            "$.selectionSet.trades.selectionSet.instrument.args.limit",
        ),
        (
            "{trades(order_by: {fills: {id: asc}}) {id}}",
            "field 'fills' not found in type: 'trades_order_by'",
            "$.selectionSet.trades.args.order_by.fills",
        ),
    ],
)  # fmt: skip
def test_refusals_name_their_place(query: str, message: str, path: str) -> None:
    found = refusal(query)
    assert (found["message"], found["path"], found["code"]) == (message, path, "validation-failed")


@pytest.mark.parametrize("query", [
    "subscription {trades_changes {changes {row {id fills {id}}}}}",
    "subscription {trades_changes {s: changes {r: row {...a}}}} fragment a on trades {x: fills {id}}",
])  # fmt: skip
def test_a_change_feed_has_columns_only(query: str) -> None:
    assert refusal(query) == {
        "message": "a row of a change feed has columns only, and 'fills' is a relationship",
        "path": "$.selectionSet.trades_changes.selectionSet.changes.selectionSet.row.selectionSet.fills",
        "code": "validation-failed",
        "hint": "subscribe to the rows of trades for it, or to the changes of fills besides",
    }


def test_a_change_feed_has_no_aggregates_over_related_rows() -> None:
    found = refusal("subscription {trades_changes {changes {row {n: fills_aggregate {aggregate {count}}}}}}")
    assert found["message"] == (
        "a row of a change feed has columns only, and 'fills_aggregate' is a relationship"
    )
    assert found["path"] == (
        "$.selectionSet.trades_changes.selectionSet.changes.selectionSet.row.selectionSet.fills_aggregate"
    )
    assert found["hint"] == "subscribe to the rows of trades for it, or to the changes of fills besides"


def test_the_row_before_a_change_has_no_relationships_in_the_schema() -> None:
    found = refusal("subscription {trades_changes {changes {old {fills {id}}}}}")
    assert found["message"] == "field 'fills' not found in type: 'trades_old'"


def test_conditions_inside_relationships_count_like_others() -> None:
    where: dict[str, object] = {"fills": {"_or": [{"qty": {"_eq": n}} for n in range(2_000)]}}
    query = "query($w: trades_bool_exp) {trades(where: $w) {id}}"
    found = refusal(query, {"w": where})
    assert found["message"] == "more than 2000 comparisons in the conditions of an operation"


def test_conditions_and_orders_have_a_depth() -> None:
    where: dict[str, object] = {"id": {"_eq": 1}}
    order: dict[str, object] = {"id": "asc"}
    for _ in range(11):
        where, order = {"parent": where}, {"parent": order}
    for _ in range(20):
        where = {"parent": where}
    found = refusal("query($w: trades_bool_exp) {trades(where: $w) {id}}", {"w": where})
    assert found["message"] == "a condition nested deeper than 30 levels"
    found = refusal("query($o: [trades_order_by!]) {trades(order_by: $o) {id}}", {"o": [order]})
    assert (found["message"], found["path"]) == (
        "an order through more than 10 relationships",
        "$.selectionSet.trades.args.order_by",
    )


def test_an_order_has_a_bound() -> None:
    item = {"parent": {"id": "asc", "price": "asc"}}
    query = "query($o: [trades_order_by!]) {trades(order_by: $o) {id}}"
    assert len(root(query, {"o": [item] * 50}).order) == 2
    found = refusal(query, {"o": [*[item] * 50, item]})
    assert found["message"] == "an order by more than 100 columns of related rows"


def test_a_plan_says_which_relationships_it_follows() -> None:
    found = root(
        "{fills(where: {trade: {parent: {}}}, order_by: {trade: {instrument: {symbol: asc}}}) {trade {fills {id}}}}"
    )
    assert found.steps == {
        ("fills", TRADE, None),
        ("trades", PARENT, None),
        ("fills", TRADE, False),
        ("trades", INSTRUMENT, False),
        ("trades", OF_TRADE, True),
    }
    feed = root("subscription {trades_changes(where: {_not: {parent: {}}}) {changes {row {id}}}}")
    assert feed.steps == {("trades", PARENT, None)}
    assert root("{trades {id}}").steps == frozenset()

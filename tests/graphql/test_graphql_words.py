"""Refusals: Hasura's words, the path of the place, and no document that costs more than it may."""

from __future__ import annotations

import pytest

from tests.graphql.graphql_tables import PLANNER, POSITIONS, TRADES, refusals, root
from tycostream.auth.session import Session
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Coalesce


@pytest.mark.parametrize(
    ("query", "message", "path"),
    [
        ("{x: trades {y: nope}}", "field 'nope' not found in type: 'trades'", "$.selectionSet.trades.selectionSet.nope"),
        ("subscription {trades_changes {changes {old {nope}}}}", "field 'nope' not found in type: 'trades_old'", "$.selectionSet.trades_changes.selectionSet.changes.selectionSet.old.selectionSet.nope"),
        ("{trades {...f}} fragment f on trades {... on trades {nope}}", "field 'nope' not found in type: 'trades'", "$.selectionSet.trades.selectionSet.nope"),
        ("{trades(where: {qty: {_like: 1}}) {id}}", "field '_like' not found in type: 'Int_comparison_exp'", "$.selectionSet.trades.args.where.qty._like"),
        ("{trades(where: {_or: [{}, {nope: {}}]}) {id}}", "field 'nope' not found in type: 'trades_bool_exp'", "$.selectionSet.trades.args.where._or[1].nope"),
        ("{trades(distinct: id) {id}}", "'trades' has no argument named 'distinct'", "$.selectionSet.trades.args.distinct"),
        ("{trades(distinct_on: [id], order_by: {qty: asc}) {id}}", '"distinct_on" columns must match initial "order_by" columns', "$.selectionSet.trades.args"),
        ('{trades(limit: "a") {id}}', "expected a non-negative 32-bit integer for type 'Int', but found a string", "$.selectionSet.trades.args.limit"),
        ("{trades(offset: -2) {id}}", "expected a non-negative 32-bit integer for type 'Int', but found -2", "$.selectionSet.trades.args.offset"),
        ("{trades(where: {qty: {_gt: 2147483648}}) {id}}", "expected a 32-bit integer for type 'Int', but found 2147483648", "$.selectionSet.trades.args.where.qty._gt"),
        ("{x: trades(where: {id: {_eq: 9223372036854775808}}) {id}}", "value 9223372036854775808 is out of range for type 'bigint'", "$.selectionSet.trades.args.where.id._eq"),
        ("{trades(where: {id: {_in: [1, true]}}) {id}}", "expected an integer for type 'bigint', but found a boolean", "$.selectionSet.trades.args.where.id._in[1]"),
        ("{trades(where: {price: {_eq: 1e99999999999999999999}}) {id}}", "the number is out of every range", "$.selectionSet.trades.args.where.price._eq"),
        ("{trades(where: {qty: null}) {id}}", "unexpected null value for type 'Int_comparison_exp'", "$.selectionSet.trades.args.where.qty"),
        ("{trades(where: {_not: null}) {id}}", "unexpected null value for type 'trades_bool_exp'", "$.selectionSet.trades.args.where._not"),
        ("{trades(where: {qty: {_is_null: null}}) {id}}", "unexpected null value for type 'Boolean'", "$.selectionSet.trades.args.where.qty._is_null"),
        ("{trades(where: {qty: {_in: null}}) {id}}", "unexpected null value for type '[Int!]'", "$.selectionSet.trades.args.where.qty._in"),
        ("{trades_by_pk(id: \"x\") {id}}", "expected an integer for type 'bigint', but found a string", "$.selectionSet.trades_by_pk.args.id"),
        ("mutation {insert_trades {id}}", "no mutations exist", "$"),
        ("subscription {__typename}", "subscriptions must select a field of a source", "$"),
        ("subscription {trades @skip(if: true) {id}}", "subscriptions must select one top level field", "$"),
        ("subscription {trades {id} __typename}", "subscriptions must select one top level field", "$"),
        ("subscription @_multiple_top_level_fields {trades_changes {phase} trades {id}}", "a change feed stands alone", "$"),
        ("fragment f on trades {id}", "the document holds no operation", "$.query"),
    ],
)  # fmt: skip
def test_refusals(query: str, message: str, path: str) -> None:
    errors = refusals(query)
    assert errors[0]["message"] == message
    assert errors[0]["extensions"]["path"] == path
    assert errors[0]["extensions"]["code"] == "validation-failed"


def test_all_mistakes_at_once() -> None:
    assert [error["message"] for error in refusals("{trades {a b}}")] == [
        "field 'a' not found in type: 'trades'",
        "field 'b' not found in type: 'trades'",
    ]


def test_operation_names() -> None:
    with pytest.raises(Exception, match="no such operation found in the document: 'nope'"):
        PLANNER.plan("query a {trades {id}}", "nope", None, Session())
    two = "query a {trades {id}} query b {x: trades {id}}"
    assert PLANNER.plan(two, "b", None, Session()).roots[0].response_key == "x"


@pytest.mark.parametrize("given", [None, {"n": None}, {"n": "x"}, {"n": 1.5}, {"n": 2**31}])
def test_variables_that_do_not_fit(given: dict[str, object] | None) -> None:
    (error,) = refusals("query($n: Int!) {trades(limit: $n) {id}}", given)
    assert "$n" in error["message"]
    assert error["extensions"]["path"] == "$.variables"


@pytest.mark.parametrize("type_name", ["Int", "Float", "String", "bigint", "side", "trades_bool_exp"])
def test_numbers_too_long_for_python_to_print(type_name: str) -> None:
    argument = {
        "Int": "limit: $n",
        "Float": "where: {ratio: {_eq: $n}}",
        "String": "where: {symbol: {_eq: $n}}",
        "bigint": "where: {id: {_eq: $n}}",
        "side": "where: {side: {_eq: $n}}",
        "trades_bool_exp": "where: $n",
    }[type_name]
    query = f"query($n: {type_name}) {{__schema {{queryType {{name}}}} trades({argument}) {{id}}}}"
    (error,) = refusals(query, {"n": 10**5000})
    assert len(error["message"]) < 200


def test_several_roots_where_they_are_allowed() -> None:
    query = "subscription {trades {id} positions {book}}"
    allowed = "subscription @_multiple_top_level_fields {trades {id} positions {book}}"
    assert len(PLANNER.plan(allowed, None, None, Session()).roots) == 2
    everywhere = Planner([TRADES, POSITIONS], multi_root_subscriptions=True)
    assert len(everywhere.plan(query, None, None, Session()).roots) == 2


def test_coalesce_with_an_explicit_null_is_throttle() -> None:
    found = PLANNER.plan("subscription @coalesce(ms: 5, strategy: null) {trades {id}}", None, None, Session())
    assert found.coalesce == Coalesce(5)
    (error,) = refusals("subscription @coalesce(ms: 3600001) {trades {id}}")
    assert error["message"] == "@coalesce(ms:) must be from 0 to 3600000, but is 3600001"


def test_cached_documents_are_bounded_in_number_and_size() -> None:
    planner = Planner([TRADES], cache_size=3)
    for n in range(10):
        root(f"{{trades {{a{n}: id}}}}", planner=planner)
    assert len(planner._documents) == 3
    large = Planner([TRADES])
    for n in range(20):
        root(f"{{trades {{a{n}: id}}}} #" + "x" * 250_000, planner=large)
    assert len(large._documents) < 20
    assert large._cached_characters == sum(map(len, large._documents))

"""Hasura v2's rules, one by one, as far as they are the same for every source."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphql import build_client_schema, get_introspection_query

from tests.graphql.graphql_tables import PLANNER, POSITIONS, TRADES, refusals, root
from tycostream.auth.session import Session
from tycostream.config.model import SourceConfig
from tycostream.dataflow.predicate import FALSE, TRUE, evaluate
from tycostream.graphql.execute import Planner

RELATED = {
    "positions": SourceConfig.model_validate(
        {"name": "positions", "relationships": {"trades": {"array": "trades", "on": {"book": "symbol"}}}}
    )
}
ROW = (1, "x", None, 7, 0, None, None)


def introspected(planner: Planner) -> dict[str, Any]:
    plan = planner.plan(get_introspection_query(), None, None, Session())
    return json.loads(plan.payload([each.value for each in plan.roots]))["data"]  # type: ignore[no-any-return, union-attr]


def test_everything_is_introspected_in_the_order_of_its_name() -> None:
    schema = introspected(Planner([TRADES, POSITIONS], sources=RELATED))["__schema"]
    assert len(schema["types"]) > 30
    for each in schema["types"]:
        if each["name"].startswith("__"):
            continue  # graphql-core's own, in the order of the specification
        for kind in ("fields", "inputFields", "enumValues"):
            names = [entry["name"] for entry in each[kind] or ()]
            assert names == sorted(names), f"{kind} of {each['name']}"
            for entry in each[kind] or ():
                arguments = [argument["name"] for argument in entry.get("args", ())]
                assert arguments == sorted(arguments), f"{each['name']}.{entry['name']}"
    assert [each["name"] for each in schema["types"]] == sorted(each["name"] for each in schema["types"])
    assert build_client_schema({"__schema": schema}).query_type is not None


def test_the_directive_that_caches() -> None:
    schema = introspected(PLANNER)["__schema"]
    (cached,) = [each for each in schema["directives"] if each["name"] == "cached"]
    assert cached["locations"] == ["QUERY"]
    assert {argument["name"]: argument["defaultValue"] for argument in cached["args"]} == {
        "refresh": "false",
        "ttl": "60",
    }
    plain = root("{trades {id}}")
    for written in ("@cached", "@cached(ttl: 5)", "@cached(refresh: true, ttl: 0)"):
        assert root(f"query q {written} {{trades {{id}}}}").key == plain.key
    given = root("query q($t: Int! = 9) @cached(ttl: $t) {trades {id}}", {"t": 1})
    assert given.key == plain.key
    (error,) = refusals("subscription @cached {trades {id}}")
    assert "'@cached' may not be used on subscription" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("limit: 0", (0, 0)),
        ("limit: null, offset: null", (None, 0)),
        ("limit: 2147483647, offset: 2147483647", (2147483647, 2147483647)),
        ("offset: 3", (None, 3)),
    ],
)
def test_windows(arguments: str, expected: tuple[int | None, int]) -> None:
    found = root(f"{{trades({arguments}) {{id}}}}")
    assert (found.limit, found.offset) == expected


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("limit: -1", "-1"),
        ('limit: "1"', "a string"),
        ("limit: 1.5", "a float"),
        ("limit: true", "a boolean"),
        ("limit: [1, 2]", "a list"),
        ("limit: {a: [1]}", "an object"),
        ("limit: 2147483648", "2147483648"),
        ("offset: -1", "-1"),
        ('offset: "1"', "a string"),
    ],
)
def test_a_window_that_is_none(argument: str, found: str) -> None:
    name = argument.partition(":")[0]
    (error,) = refusals(f"{{trades({argument}) {{id}}}}")
    assert error == {
        "message": f"expected a non-negative 32-bit integer for type 'Int', but found {found}",
        "extensions": {"path": f"$.selectionSet.trades.args.{name}", "code": "validation-failed"},
    }


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("where: null", TRUE),
        ("where: {}", TRUE),
        ("where: {_and: []}", TRUE),
        ("where: {_and: {}}", TRUE),
        ("where: {_or: []}", FALSE),
        ("where: {_or: {}}", TRUE),
        ("where: {_not: {}}", FALSE),
        ("where: {qty: {}}", TRUE),
        ("where: {qty: {_nin: []}}", TRUE),
    ],
)
def test_conditions_that_decide_themselves(where: str, expected: Any) -> None:
    predicate = root(f"{{trades({where}) {{id}}}}").predicate
    assert evaluate(predicate, ROW) == evaluate(expected, ROW)


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("where: {_and: {qty: {_eq: 7}}}", "where: {_and: [{qty: {_eq: 7}}]}"),
        ("where: {_or: {qty: {_eq: 7}, id: {_eq: 1}}}", "where: {_or: [{qty: {_eq: 7}, id: {_eq: 1}}]}"),
        ("where: {qty: {_in: 7}}", "where: {qty: {_in: [7]}}"),
        ('where: {info: {_has_keys_any: "a"}}', 'where: {info: {_has_keys_any: ["a"]}}'),
        ("order_by: {qty: asc}", "order_by: [{qty: asc}]"),
        ("distinct_on: qty", "distinct_on: [qty]"),
    ],
)
def test_one_value_is_a_list_of_one(one: str, several: str) -> None:
    assert root(f"{{trades({one}) {{id}}}}").key == root(f"{{trades({several}) {{id}}}}").key
    name, _, value = one.partition(": ")
    types = {
        "where": "trades_bool_exp",
        "order_by": "[trades_order_by!]",
        "distinct_on": "[trades_select_column!]",
    }
    variables = {
        "where": {"_and": {"qty": {"_in": 7}}},
        "order_by": {"qty": "asc"},
        "distinct_on": "qty",
    }
    assert value
    given = root(f"query($v: {types[name]}) {{trades({name}: $v) {{id}}}}", {"v": variables[name]})
    assert given.source == "trades"


def test_no_value_is_in_an_empty_list_and_none_is_not() -> None:
    assert evaluate(root("{trades(where: {qty: {_in: []}}) {id}}").predicate, ROW) is False
    null = (1, "x", None, None, 0, None, None)
    for where in (
        "{qty: {_neq: 1}}",
        "{qty: {_nin: [1]}}",
        "{_not: {qty: {_eq: 1}}}",
        "{qty: {_nin: [null]}}",
    ):
        if "null" in where:
            (error,) = refusals(f"{{trades(where: {where}) {{id}}}}")
            assert error["message"] == "unexpected null value for type 'Int'"
        else:
            assert evaluate(root(f"{{trades(where: {where}) {{id}}}}").predicate, null) is False


@pytest.mark.parametrize(
    ("query", "type_name", "path"),
    [
        ("{trades(where: {qty: {_eq: null}}) {id}}", "Int", "trades.args.where.qty._eq"),
        ("{trades(where: {_and: null}) {id}}", "[trades_bool_exp!]", "trades.args.where._and"),
        ("{trades(where: {_or: [null]}) {id}}", "trades_bool_exp", "trades.args.where._or[0]"),
        ("{trades(where: {qty: {_in: [1, null]}}) {id}}", "Int", "trades.args.where.qty._in[1]"),
        ("{trades_by_pk(id: null) {id}}", "bigint", "trades_by_pk.args.id"),
        ("{trades(order_by: [null]) {id}}", "trades_order_by", "trades.args.order_by[0]"),
    ],
)
def test_an_explicit_null_is_refused(query: str, type_name: str, path: str) -> None:
    (error,) = refusals(query)
    assert error["message"] == f"unexpected null value for type '{type_name}'"
    assert error["extensions"] == {"path": f"$.selectionSet.{path}", "code": "validation-failed"}


def test_a_null_in_a_variable_is_refused_too() -> None:
    query = "query($v: trades_bool_exp) {trades(where: $v) {id}}"
    (error,) = refusals(query, {"v": {"qty": {"_eq": None}}})
    assert error["message"] == "unexpected null value for type 'Int'"
    assert error["extensions"]["path"] == "$.selectionSet.trades.args.where.qty._eq"
    assert root("query($n: Int) {trades(limit: $n) {id}}", {"n": None}).limit is None


@pytest.mark.parametrize(
    "arguments", ["order_by: {qty: null}", "order_by: null", "order_by: []", "order_by: {}"]
)
def test_an_order_by_nothing(arguments: str) -> None:
    assert root(f"{{trades({arguments}) {{id}}}}").order == ()


def test_the_columns_of_a_key_are_described() -> None:
    query: Any = PLANNER.schema.query_type
    described = {name: each.description for name, each in query.fields["positions_by_pk"].args.items()}
    assert described == {"Isin": "who", "book": None}


@pytest.mark.parametrize(
    ("query", "message", "path"),
    [
        ("{trades {x}}", "field 'x' not found in type: 'trades'", "$.selectionSet.trades.selectionSet.x"),
        ("{x}", "field 'x' not found in type: 'query_root'", "$.selectionSet.x"),
        ("subscription {x}", "field 'x' not found in type: 'subscription_root'", "$.selectionSet.x"),
        ("{trades(x: 1) {id}}", "'trades' has no argument named 'x'", "$.selectionSet.trades.args.x"),
        ("{trades(where: {x: {_eq: 1}}) {id}}", "field 'x' not found in type: 'trades_bool_exp'", "$.selectionSet.trades.args.where.x"),
        ("{trades(order_by: {x: asc}) {id}}", "field 'x' not found in type: 'trades_order_by'", "$.selectionSet.trades.args.order_by.x"),
        ("subscription {a: trades {id} b: trades {id}}", "subscriptions must select one top level field", "$"),
    ],
)  # fmt: skip
def test_messages(query: str, message: str, path: str) -> None:
    (error,) = refusals(query)
    assert error["message"] == message
    assert error["extensions"]["path"] == path
    assert error["extensions"]["code"] == "validation-failed"

"""Requests made to cost much: each is answered or refused within a bound that is counted in calls, not in seconds.

A million calls are about a quarter of a second. What graphql-core validates at most costs five million.
"""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.graphql.graphql_tables import POSITIONS, TRADES
from tests.graphql.limit_cases import WHERE
from tests.graphql.related_tables import CONFIG, FILLS, INSTRUMENTS
from tests.graphql.related_tables import TRADES as RELATED_TRADES
from tycostream.auth.session import Session
from tycostream.graphql.execute import InvalidRequest, Planner

CALLS_MAX: Final = 7_000_000
LAYERS: Final = " ".join(f"fragment f{n} on trades {{...f{n + 1} ...f{n + 1}}}" for n in range(40))
ALIASES: Final = range(499)  # as many as are allowed


def many(field: str, variables: str) -> str:
    """As many roots as aliases are allowed, each with the same arguments."""
    return f"query({variables}) {{" + " ".join(f"a{n}: {field} {{id}}" for n in ALIASES) + "}"


def chain(length: int) -> str:
    """Fragments that spread each other."""
    links = " ".join(f"fragment f{n} on trades {{id ...f{n + 1}}}" for n in range(length))
    return f"{{trades {{...f0}}}} {links} fragment f{length} on trades {{id}}"


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"_not": value}
    return value


DOCUMENTS: Final = {
    "a bomb of fragments": ("{trades {...f0}}" + LAYERS + "fragment f40 on trades {id}", "more than 5000 fields"),
    "a bomb that nothing lights": ("{trades {id}}" + LAYERS + "fragment f40 on trades {id}", "never used"),
    "a cycle that doubles": ("{trades {...f0}}" + LAYERS + "fragment f40 on trades {...f0}", "within itself"),
    "a chain of fragments": (chain(1200), "nested too deeply"),
    "a thousand fragments": ("{trades {" + " ".join(f"...f{n}" for n in range(1000)) + "}}" + " ".join(f"fragment f{n} on trades {{id symbol}}" for n in range(1000)), "too often to be validated"),
    "one field 4,990 times": ("{trades {" + "id " * 4990 + "}}", "too often to be validated"),
    "one root 990 times": ("{" + "trades {id} " * 990 + "}", "too often to be validated"),
    "a flood of aliases": ("{" + " ".join(f"a{n}: trades {{id symbol qty}}" for n in ALIASES) + "}", ""),
    "one alias more": ("{" + " ".join(f"a{n}: trades {{id}}" for n in range(501)) + "}", "more than 500 aliases"),
    "many operations": (" ".join(f"query q{n} {{trades {{id}}}}" for n in range(950)), "exactly one operation"),
    "a tower": ("{trades {" * 3000, "not a valid graphql query"),
    "a tower of values": ("{trades(where: " + "{_not: " * 900 + "{}" + "}" * 900 + ") {id}}", "nested"),
    "lists where none belong": ("{" + " ".join(f"a{n}: trades(limit: {'[' * 180}1{']' * 180}) {{id}}" for n in range(30)) + "}", "found a list"),
    "fields that do not exist": ("{trades {" + " ".join(f"x{n}" for n in range(4900)) + "}}", "not found in type"),
    "inputs that do not exist": ("{trades(where: {" + " ".join(f"symbo{n}: {{}}" for n in range(3000)) + "}) {id}}", "not found in type"),
    "variables that nobody uses": ("query(" + " ".join(f"$v{n}: Int" for n in range(3500)) + ") {trades {id}}", "never used"),
    "many introspections": ("{" + " ".join(f"a{n}: __schema {{types {{name}}}}" for n in range(200)) + "}", "too much introspection"),
    "many lists of types": ("{__schema {" + " ".join(f"a{n}: types {{name}}" for n in range(200)) + "}}", "too much introspection"),
    "types of types": ("{__schema {types {fields {type {fields {name}}}}}}", "too much introspection"),
    "spread introspection": ("{__schema {" + "...f0 " * 3 + "}}" + " ".join(f"fragment f{n} on __Schema {{a{n}: types {{name}} ...f{n + 1} ...f{n + 1}}}" for n in range(30)) + "fragment f30 on __Schema {types {name}}", "too much introspection"),
    "a flood of introspection": ("{__schema {" + " ".join(f"a{n}: queryType {{name}}" for n in range(1500)) + "}}", "too much introspection"),
    "a long number": ("{trades(where: {id: {_eq: " + "1" * 100_000 + "}}) {id}}", "out of range"),
    "a long document": ("{trades {id}}" + " " * 300_000, "more than 262144 characters"),
    "comments": ("{trades {id}}" + "#\n" * 100_000, "more than 15000 tokens"),
}  # fmt: skip

VARIABLES: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "a deep variable": (WHERE, {"w": nested(900)}, "nested"),
    "a deeper variable": (WHERE, {"w": nested(40_000)}, "nested too deeply"),
    "a wide variable": (WHERE, {"w": {"_or": [{"qty": {"_eq": 1}}] * 16_000}}, "more than 2000 comparisons"),
    "a million values": (WHERE, {"w": {"id": {"_in": [0] * 1_000_000}}}, "the variables hold more than 50000 values"),
    "a list that is too long": (WHERE, {"w": {"id": {"_in": [0] * 30_000}}}, "a list of more than 20000 values"),
    "values that are wrong": (WHERE, {"w": {"id": {"_in": ["x"] * 15_000}}}, "expected an integer"),
    "values that nobody asked for": ("{trades {id}}", {f"v{n}": n for n in range(49_000)}, ""),
    "one condition everywhere": (many("trades(where: $w)", "$w: trades_bool_exp"), {"w": {"_or": [{"qty": {"_eq": n}} for n in range(4999)]}}, "more than 2000 comparisons"),
    "nothing at all everywhere": (many("trades(where: {_and: $w})", "$w: [trades_bool_exp!]"), {"w": [{}] * 40_000}, "more than 50000 values"),
    "one list everywhere": (many("trades(where: {id: {_in: $w}})", "$w: [bigint!]"), {"w": list(range(20_000))}, "more than 50000 values"),
    "one order everywhere": (many("trades(order_by: $o)", "$o: [trades_order_by!]"), {"o": [{"qty": "asc"}] * 20_000}, "more than 50000 values"),
    "one distinct everywhere": (many("trades(distinct_on: $o)", "$o: [trades_select_column!]"), {"o": ["qty"] * 20_000}, "more than 50000 values"),
    "one text everywhere": ("query($w: String) {trades(where: {_or: [" + "{symbol: {_eq: $w}} " * 1200 + "]}) {id}}", {"w": "x" * 1_000_000}, "more than 50000 values"),
    "one name everywhere": ("query($w: jsonb) {trades(where: {_or: [" + "{info: {_contains: $w}} " * 1200 + "]}) {id}}", {"w": {"x" * 500_000: 1}}, "more than 50000 values"),
    "patterns": (WHERE, {"w": {"_or": [{"symbol": {"_regex": f"(a|b{n}){{200}}" * 5}} for n in range(5000)]}}, "more than 50000 values"),
    "patterns of a document": (WHERE, {"w": {"_or": [{"info": {"_cast": {"String": {"_ilike": f"%{n}_"}}}} for n in range(3000)]}}, "more than 50000 values"),
}  # fmt: skip


def within(levels: int, wrap: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = wrap(value)
    return value


def counted(filtered: dict[str, Any]) -> dict[str, Any]:
    return {"fills_aggregate": {"count": {"filter": {"trade": filtered}, "predicate": {"_gt": 0}}}}


SPREADS: Final = " ".join(f"p{n}: parent {{...f}}" for n in range(9))
NESTED: Final = (
    "query($w: fills_bool_exp) {trades {" + " ".join(f"a{n}: fills(where: $w) {{id}}" for n in ALIASES) + "}}"
)
ORDER: Final = "query($o: [trades_order_by!]) {trades(order_by: $o) {id}}"
RELATED: Final[dict[str, tuple[str, dict[str, Any] | None, str]]] = {
    "a tower of rows": ("{trades {" + "parent {id " * 60 + "}" * 60 + "}}", None, "more than 50 levels deep"),
    "rows of fragments of rows": ("{trades {" + SPREADS.replace("f}", "f0}") + "}}" + " ".join(f"fragment f{n} on trades {{{SPREADS.replace('f}', f'f{n + 1}}}')}}}" for n in range(9)) + "fragment f9 on trades {id}", None, "more than 1000 nodes"),
    "as many rows as allowed": ("{trades {" + " ".join(f"a{n}: fills(limit: {n}) {{id qty}}" for n in ALIASES) + "}}", None, ""),
    "as many aggregates": ("{trades_aggregate {aggregate {" + " ".join(f"a{n}: count(columns: [id, price], distinct: true)" for n in ALIASES) + "}}}", None, ""),
    "a tower of conditions": (WHERE, {"w": within(29, lambda w: {"parent": w})}, ""),
    "a higher one": (WHERE, {"w": within(200, lambda w: {"parent": w})}, "nested deeper than 30 levels"),
    "a tower of counts": (WHERE, {"w": within(14, counted)}, ""),
    "counts of nothing": (WHERE, {"w": {"_or": [counted({})] * 3000}}, "more than 2000 comparisons"),
    "one condition on all rows": (NESTED, {"w": {"_or": [{"qty": {"_eq": n}} for n in range(1000)]}}, "more than 2000 comparisons"),
    "orders": (ORDER, {"o": [within(3, lambda o: {"parent": o or {"id": "asc"}})] * 9000}, "more than 100 columns"),
}  # fmt: skip


def calls(query: str, variables: dict[str, Any] | None, planner: Planner) -> tuple[int, list[str]]:
    """How many functions are called to plan an operation, and what is said of it."""
    said: list[str] = []
    profile = cProfile.Profile()
    profile.enable()
    try:
        planner.plan(query, None, variables, Session())
    except InvalidRequest as refused:
        said = [error.message for error in refused.errors]
    finally:
        profile.disable()
    return sum(entry.callcount for entry in profile.getstats()), said


def check(
    query: str, variables: dict[str, Any] | None, expected: str, planner: Planner | None = None
) -> None:
    count, said = calls(query, variables, planner or Planner([TRADES, POSITIONS]))
    assert count < CALLS_MAX
    assert [message for message in said if expected in message] if expected else not said
    assert all(len(message) < 1100 for message in said)
    assert len(said) <= 11


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_hostile_document_costs_little(name: str) -> None:
    query, expected = DOCUMENTS[name]
    check(query, None, expected)


@pytest.mark.parametrize("name", VARIABLES)
def test_hostile_variables_cost_little(name: str) -> None:
    check(*VARIABLES[name])


@pytest.mark.parametrize("name", RELATED)
def test_relationships_multiply_nothing_before_they_are_followed(name: str) -> None:
    check(*RELATED[name], Planner([INSTRUMENTS, RELATED_TRADES, FILLS], sources=CONFIG.sources))


def test_the_largest_honest_operation_costs_little() -> None:
    wide = {"w": {"_or": [{"qty": {"_eq": n}} for n in range(2000)]}}
    check(WHERE, wide, "")
    check(WHERE, {"w": {"id": {"_in": list(range(20_000))}}}, "")

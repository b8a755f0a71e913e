"""Each limit refuses one more than it allows, and says so in words that the page has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphql import get_introspection_query, parse

from tests.graphql.graphql_tables import POSITIONS, TRADES
from tests.graphql.limit_cases import LIMITS, WHERE
from tycostream.auth.session import Session
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import SourceConfig
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.limits import Weight, too_many_rows, weigh
from tycostream.graphql.plan import RootPlan

CASES = [(setting, message) for setting, (_, messages) in LIMITS.items() for message in messages]


def planner(**limits: Any) -> Planner:
    return planner_of("admin", limits)


def planner_of(role: str, limits: dict[str, Any]) -> Planner:
    seen = {"name": "trades", "permissions": {"guest": {"columns": "*"}}}
    return Planner(
        [TRADES, POSITIONS],
        sources={"trades": SourceConfig.model_validate(seen)},
        limits=LimitsConfig.model_validate(limits),
        role=role,
    )


def refusal(made: Planner, query: str, variables: dict[str, Any], role: str = "admin") -> dict[str, Any]:
    with pytest.raises(InvalidRequest) as caught:
        made.plan(query, None, variables, Session(role=role))
    (error,) = caught.value.errors
    return json.loads(json.dumps(error.to_graphql()))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("setting", "message"), CASES)
def test_one_more_than_the_limit_is_refused(setting: str, message: str) -> None:
    limit, messages = LIMITS[setting]
    case = messages[message]
    made = planner(**{setting: limit})
    made.plan(*case.at[:1], None, case.at[1], Session())
    error = refusal(made, *case.over)
    assert error["message"] == message.replace("N", str(limit), 1)
    assert error["extensions"]["code"] == "validation-failed"
    assert error["extensions"]["path"] == case.path
    assert f"limits.{setting} is the limit" in error["extensions"]["hint"]
    with pytest.raises(InvalidRequest) as caught:
        made.plan(*case.over[:1], None, case.over[1], Session())
    assert [each.limit for each in caught.value.errors] == [setting]
    planner().plan(*case.over[:1], None, case.over[1], Session())  # and by default it is allowed


def test_a_role_may_have_limits_of_its_own() -> None:
    per_role: Any = {"guest": {"depth_limit": 1, "live_rows_limit": 5}}
    query = "subscription {trades {id}}"
    planner(depth_limit=9, per_role=per_role).plan(query, None, None, Session())
    made = planner_of("guest", {"depth_limit": 9, "per_role": per_role})
    assert "more than 1 levels" in refusal(made, query, {}, "guest")["message"]
    per_role = {"guest": {"live_rows_limit": 20}}
    found = [
        planner_of(role, {"live_rows_limit": 10, "per_role": per_role})
        .plan(query, None, None, Session(role=role))
        .roots[0]
        for role in ("admin", "guest")
    ]
    assert [root.rows_max for root in found if isinstance(root, RootPlan)] == [10, 20]


def test_the_rows_of_a_query_and_of_a_live_query_are_limited_apart() -> None:
    made = planner(rows_limit=7, live_rows_limit=3)
    queries = ("{trades {id}}", "{trades_by_pk(id: 1) {id}}", "subscription {trades {id}}")
    roots: list[Any] = [made.plan(query, None, None, Session()).roots[0] for query in queries]
    assert [root.rows_max for root in roots] == [7, 7, 3]
    assert roots[0].key == roots[2].key, "what they show is the same"


def test_what_too_many_rows_are_told_as() -> None:
    error = too_many_rows(3, "$.selectionSet.trades", live=True)
    assert error.to_graphql() == {
        "message": "the result has more than 3 rows, with those nested in it",
        "extensions": {
            "path": "$.selectionSet.trades",
            "code": "result-too-large",
            "hint": "ask for fewer with where: or limit:; limits.live_rows_limit is the limit",
        },
    }
    assert "limits.rows_limit" in too_many_rows(3, "$", live=False).hint


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{a {b {c}}}", Weight(3, 2, 3, 0, 0)),
        ("{x: a {...f}} fragment f on t {y: b {...g} ...g} fragment g on t {c}", Weight(3, 2, 4, 2, 0)),
        ("{a {... on t {... {b}}}}", Weight(2, 1, 2, 0, 0)),
        ("{a {...f}} fragment f on t {...f b}", Weight(2, 1, 2, 0, 0)),
        ("{...nothing a}", Weight(1, 0, 1, 0, 0)),
        ("query x {a} query y {b {c}}", Weight(2, 1, 3, 0, 0)),
        ("{a __schema {types {name}}}", Weight(1, 0, 1, 0, 3)),
        ("{a {...f}} " + "".join(f"fragment {'fgh'[n]} on t {{...{'ghi'[n]} ...{'ghi'[n]}}}" for n in range(3)) + " fragment i on t {b}", Weight(2, 1, 9, 0, 0)),
    ],
)  # fmt: skip
def test_weigh(document: str, expected: Weight) -> None:
    assert weigh(parse(document)) == expected


def test_fragments_are_as_deep_as_where_they_are_spread() -> None:
    shallow = "subscription {trades_changes {...f}} fragment f on trades_change_set {changes {...g}}"
    before = "fragment g on trades_change {row {id}}"
    for text in (f"{shallow} {before}", f"{before} {shallow}"):
        assert "more than 3 levels" in refusal(planner(depth_limit=3), text, {})["message"]


def test_introspection_is_not_in_the_way_of_small_limits() -> None:
    small = planner(depth_limit=1, node_limit=1, field_limit=1, alias_limit=0)
    small.plan(get_introspection_query(), None, None, Session())


def test_what_a_variable_holds_counts_wherever_it_is_used() -> None:
    made = planner(value_limit=100, condition_limit=20)
    ids = {"w": {"id": {"_in": list(range(40))}}}
    made.plan(WHERE, None, ids, Session())
    thrice = (
        "query($w: trades_bool_exp) {" + " ".join(f"a{n}: trades(where: $w) {{id}}" for n in range(3)) + "}"
    )
    assert "more than 100 values in the arguments" in refusal(made, thrice, ids)["message"]
    few = {"w": {"_or": [{"qty": {"_eq": n}} for n in range(8)]}}
    assert "more than 20 comparisons" in refusal(made, thrice, few)["message"]
    order = (
        "query($o: [trades_order_by!]) {"
        + " ".join(f"a{n}: trades(order_by: $o) {{id}}" for n in range(3))
        + "}"
    )
    refused = refusal(made, order, {"o": [{"qty": "asc"}] * 30})
    assert refused["extensions"]["path"] == "$.variables"


def test_long_texts_count_as_several_values() -> None:
    made = planner(value_limit=10)
    text = "x" * 256 * 4
    made.plan("query($t: String) {trades(where: {symbol: {_eq: $t}}) {id}}", None, {"t": text}, Session())
    twice = "query($t: String) {trades(where: {symbol: {_eq: $t, _neq: $t}}) {id}}"
    assert "more than 10 values" in refusal(made, twice, {"t": text})["message"]

"""What a role may see: its schema, the predicates of its plans, and what its session's variables mean."""

from __future__ import annotations

import re
from typing import Any

import pytest
from graphql import GraphQLObjectType

from tests.graphql.permitted_tables import TRADES, planner, refusal, root
from tycostream.auth.session import Session
from tycostream.dataflow.order import OrderVia
from tycostream.dataflow.predicate import (
    TRUE,
    Aggregated,
    Compare,
    Exists,
    In,
    IsNull,
    Predicate,
    conjunction,
    evaluate,
)
from tycostream.dataflow.relation import Join, Via
from tycostream.graphql.plan import Mode, Nested, RootPlan, StaticRoot
from tycostream.graphql.schema import print_sdl

MINE = {"owner": {"_eq": "X-Hasura-User-Id"}}
OWNED = Compare(1, "eq", 7)
TO_DESK, TO_TRADES = Join("desks", (2,), (0,)), Join("trades", (0,), (2,))
SEEN: dict[str, Any] = {"columns": ["id", "desk", "qty"], "where": {"of": MINE}, "aggregate": True}
OF_MINE = Exists(TO_DESK, OWNED)


def fields(made: Any, type_name: str) -> set[str]:
    return set(made.schema.type_map[type_name].fields)


# the schema


def test_what_is_hidden_does_not_exist() -> None:
    made = planner(
        trades={"columns": ["id", "qty", "flag"], "aggregate": True},
        desks={"columns": ["id", "name"], "aggregate": True},
    )
    sdl = print_sdl(made.schema)
    for word in ("hidden", "secret", "owner", "audit", "verdict", "doc", "tags", "jsonb"):
        assert not re.search(word, sdl, re.IGNORECASE), word
    assert fields(made, "trades") == {"id", "qty", "flagSeen", "of"}
    assert fields(made, "trades_bool_exp") == {"id", "qty", "flagSeen", "of", "_and", "_or", "_not"}
    assert fields(made, "trades_order_by") == {"id", "qty", "flagSeen", "of"}
    assert fields(made, "trades_max_fields") == {"id", "qty"}
    assert fields(made, "trades_stream_cursor_value_input") == {"id", "qty", "flagSeen"}
    assert set(made.schema.type_map["trades_select_column"].values) == {"id", "qty", "flagSeen"}  # type: ignore[attr-defined]
    assert fields(made, "trades_old") == {"id", "qty", "flagSeen"}
    assert refusal(made, "{trades {hidden}}")["message"] == "field 'hidden' not found in type: 'trades'"
    assert refusal(made, "{audits {id}}")["message"] == "field 'audits' not found in type: 'query_root'"


def test_aggregates_are_there_for_who_may_ask_for_them() -> None:
    made = planner(trades={"columns": "*"}, desks={"columns": "*", "aggregate": True})
    assert "desks_aggregate" in fields(made, "query_root")
    assert "trades_aggregate" not in fields(made, "query_root") | fields(made, "subscription_root")
    for type_name in ("desks", "desks_bool_exp", "desks_order_by"):
        assert "trades_aggregate" not in fields(made, type_name)
    assert "trades_aggregate" not in made.schema.type_map


def test_root_fields_are_those_that_the_permission_names() -> None:
    made = planner(
        trades={
            "columns": "*",
            "aggregate": True,
            "query_root_fields": ["select_by_pk"],
            "subscription_root_fields": ["select", "select_changes"],
        },
        desks={"columns": "*", "query_root_fields": [], "subscription_root_fields": []},
    )
    assert fields(made, "query_root") == {"trades_by_pk"}
    assert fields(made, "subscription_root") == {"trades", "trades_changes"}
    assert "of" in fields(made, "trades"), "its rows are seen through relationships"


def test_a_key_that_is_not_seen_is_no_argument() -> None:
    made = planner(trades={"columns": ["qty"]})
    assert fields(made, "query_root") == {"trades"}
    assert fields(made, "subscription_root") == {"trades", "trades_changes", "trades_stream"}


def test_a_row_that_must_be_there_may_be_out_of_sight() -> None:
    for where, nullable in (({}, False), (MINE, True)):
        made = planner(trades={"columns": "*"}, desks={"columns": "*", "where": where})
        of = made.schema.type_map["trades"].fields["of"].type  # type: ignore[attr-defined]
        assert isinstance(of, GraphQLObjectType) is nullable


def test_without_a_permission_there_is_nothing() -> None:
    made = planner()
    assert fields(made, "query_root") == {"no_queries_available"}
    assert made.schema.subscription_type is None
    assert refusal(made, "subscription {trades {id}}")["code"] == "validation-failed"


def test_a_planner_plans_for_its_role_only() -> None:
    with pytest.raises(ValueError, match="a planner of 'user' was asked by 'admin'"):
        planner().plan("{__typename}", None, None, Session())
    with pytest.raises(ValueError, match="a planner of 'admin' was asked by 'user'"):
        planner("admin").plan("{__typename}", None, None, Session("user"))


# what rows


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("{trades {id}}", TRUE),
        ("{trades(where: {qty: {_gt: 1}}) {id}}", Compare(3, "gt", 1)),
        ("{trades_by_pk(id: 4) {id}}", Compare(0, "eq", 4)),
        ("{trades_aggregate {aggregate {count}}}", TRUE),
        ("subscription {trades_changes {changes {row {id}}}}", TRUE),
        ("subscription {trades_changes(where: {qty: {_gt: 1}}) {phase}}", Compare(3, "gt", 1)),
        ("subscription {trades_stream(cursor: {initial_value: {id: 1}}, batch_size: 2) {id}}", TRUE),
    ],
)
def test_every_root_is_filtered(query: str, asked: Predicate) -> None:
    found = root(planner(trades=SEEN), query, user_id="7")
    assert found.predicate == conjunction([OF_MINE, asked])
    assert [each.source for each in found.reads] == ["desks"], "which the role does not see"


def test_related_rows_are_filtered_where_they_are_shown_compared_and_sorted_by() -> None:
    made = planner(trades=SEEN, desks={"columns": ["id", "name"], "where": MINE})
    query = """{trades(where: {of: {name: {_eq: "x"}}}, order_by: {of: {name: asc}}) {of {name}}}"""
    found = root(made, query, user_id="7")
    named = conjunction([OWNED, Compare(2, "eq", "x")])
    assert found.predicate == conjunction([OF_MINE, Exists(TO_DESK, named)])
    assert found.order == (OrderVia(Via(TO_DESK, 2, OWNED)),)
    (nested,) = found.encoder.nested  # type: ignore[union-attr]
    assert isinstance(nested, Nested)
    assert (nested.mode, nested.predicate) == (Mode.BY_PK, OWNED)

    made = planner(trades=SEEN, desks={"columns": "*"})
    query = """{desks(where: {trades_aggregate: {count: {predicate: {_gt: 1}}}}, order_by: {trades_aggregate: {count: asc}}) {
        trades {id} trades_aggregate {aggregate {count}}}}"""
    found = root(made, query, user_id="7")
    assert isinstance(found.predicate, Aggregated)
    assert found.predicate.predicate == OF_MINE
    assert [
        term.via.predicate for term in found.order if isinstance(term, OrderVia) and isinstance(term.via, Via)
    ] == [OF_MINE]
    assert [each.predicate for each in found.encoder.nested] == [OF_MINE, OF_MINE]  # type: ignore[union-attr]


def test_a_permission_says_what_it_says_of_related_rows() -> None:
    seen = {"columns": ["id"], "where": {"_not": {"of": {"secret": {"_eq": "x"}}}}}
    found = root(planner(trades=seen, desks={"columns": ["id"], "where": MINE}), "{trades {id}}")
    assert found.predicate == Exists(TO_DESK, Compare(3, "eq", "x"), negated=True), "no variable is read"


def test_columns_keep_their_places() -> None:
    found = root(planner(trades={"columns": ["qty", "id"]}), "{trades {id qty}}")
    assert found.encoder.row((1, "no", 2, 3, None, None, None)) == b'{"id":1,"qty":3}'  # type: ignore[union-attr]


def test_the_limit_of_a_role_is_for_what_is_shown() -> None:
    made = planner(trades={"columns": "*", "limit": 5, "aggregate": True}, desks={"columns": "*", "limit": 0})
    assert [root(made, f"{{trades{given} {{id}}}}").limit for given in ("", "(limit: 3)", "(limit: 9)")] == [
        5, 3, 5,
    ]  # fmt: skip
    (nested,) = root(made, "{desks {trades(limit: 8) {id}}}").encoder.nested  # type: ignore[union-attr]
    assert isinstance(nested, Nested)
    assert nested.limit == 5
    assert root(made, "{trades_by_pk(id: 1) {id}}").limit is None
    assert root(made, "subscription {trades_changes {phase}}").limit is None
    found = root(made, "{trades_aggregate {aggregate {count} nodes {id}}}")
    assert found.limit is None, "what is computed is over all"
    encoder: Any = found.encoder
    assert encoder.value((9,), [b"1"] * 9) == b'{"aggregate":{"count":9},"nodes":[1,1,1,1,1]}'


def test_changes_tell_of_columns_in_sight_only() -> None:
    found = root(
        planner(trades={"columns": ["id", "qty"]}),
        "subscription {trades_changes {changes {operation changed}}}",
    )
    encoder: Any = found.encoder
    before, after = (1, "a", 2, 3, None, None, None), (1, "b", 9, 3, None, None, None)
    assert not encoder.differs(before, after), "nothing that is seen"
    after = (1, "b", 9, 4, None, None, None)
    assert encoder.differs(before, after)
    assert encoder.change(before, after) == b'{"operation":"update","changed":["qty"]}'
    wider = planner(trades={"columns": ["id", "qty", "hidden"]})
    other = root(wider, "subscription {trades_changes {changes {operation changed}}}")
    assert other.key != found.key, "a cohort, and a cursor, is of what is seen"


# who is asking


def predicate_of(where: dict[str, Any], **variables: str) -> Predicate:
    made = planner(trades={"columns": "*", "where": where})
    assert not made.misfits
    return root(made, "{trades {id}}", **variables).predicate


@pytest.mark.parametrize(
    ("where", "variables", "expected"),
    [
        ({"qty": {"_eq": "X-Hasura-N"}}, {"n": "7"}, Compare(3, "eq", 7)),
        ({"qty": {"_gt": "x-HASURA-my-n"}}, {"my_n": "7"}, Compare(3, "gt", 7)),
        ({"hidden": {"_eq": "X-Hasura-N"}}, {"n": "7"}, Compare(1, "eq", "7")),
        ({"hidden": {"_eq": "X-Hasura-Role"}}, {}, Compare(1, "eq", "user")),
        ({"qty": {"_in": "X-Hasura-Ns"}}, {"ns": "{1, 2}"}, In(3, frozenset({1, 2}))),
        ({"qty": {"_nin": "X-Hasura-Ns"}}, {"ns": "{}"}, In(3, frozenset(), negated=True)),
        ({"qty": {"_in": ["X-Hasura-N", 3]}}, {"n": "2"}, In(3, frozenset({2, 3}))),
        ({"hidden": {"_in": "X-Hasura-Ns"}}, {"ns": '{"a b",c}'}, In(1, frozenset({"a b", "c"}))),
        ({"flag": {"_eq": "X-Hasura-N"}}, {"n": "t"}, Compare(4, "eq", True)),
        ({"flag": {"_in": "X-Hasura-N"}}, {"n": "{t,false}"}, In(4, frozenset({True, False}))),
        ({"qty": {"_is_null": "X-Hasura-N"}}, {"n": "false"}, IsNull(3, negated=True)),
        ({"_or": {"qty": {"_eq": 1}}, "_and": [{"desk": {"_eq": 2}}]}, {}, None),
    ],
)
def test_variables_are_read_as_their_column_is(
    where: dict[str, Any], variables: dict[str, str], expected: Predicate | None
) -> None:
    if expected is None:
        expected = conjunction([Compare(3, "eq", 1), Compare(2, "eq", 2)])
    assert predicate_of(where, **variables) == expected


@pytest.mark.parametrize(
    ("where", "variable", "place", "yes", "no"),
    [
        ({"doc": {"_contains": "X-Hasura-N"}}, '{"a": 1}', 5, '{"a": 1, "b": 2}', '{"a": 2}'),
        ({"doc": {"_eq": "X-Hasura-N"}}, '"text"', 5, '"text"', "1"),
        ({"doc": {"_has_key": "X-Hasura-N"}}, "a", 5, '{"a": 1}', "{}"),
        ({"doc": {"_has_keys_any": "X-Hasura-N"}}, "{a,b}", 5, '{"b": 1}', "{}"),
        ({"doc": {"_cast": {"String": {"_like": "X-Hasura-N"}}}}, "%1%", 5, "[1]", "[2]"),
        ({"tags": {"_contains": "X-Hasura-N"}}, "{x}", 6, "{y,x}", "{y}"),
        ({"hidden": {"_like": "X-Hasura-N"}}, "a%", 1, "abc", "b"),
    ],
)
def test_documents_arrays_and_patterns_of_variables(
    where: dict[str, Any], variable: str, place: int, yes: str, no: str
) -> None:
    found = predicate_of(where, n=variable)
    parse = TRADES.columns[place].scalar.parse
    for text, holds in ((yes, True), (no, False)):
        row = [None] * 7
        row[place] = parse(text)
        assert evaluate(found, tuple(row)) is holds


@pytest.mark.parametrize(
    ("where", "variables", "code", "message"),
    [
        (
            {"qty": {"_eq": "X-Hasura-Critic-Id"}},
            {},
            "not-found",
            'missing session variable: "x-hasura-critic-id"',
        ),
        (
            {"qty": {"_in": "X-Hasura-N"}},
            {"n": "1,2"},
            "data-exception",
            'the session variable "x-hasura-n" does not fit: not an array',
        ),
        (
            {"qty": {"_nin": "X-Hasura-N"}},
            {"n": "{1,NULL}"},
            "data-exception",
            'the session variable "x-hasura-n" does not fit: an item of the array is NULL',
        ),
        (
            {"qty": {"_eq": "X-Hasura-N"}},
            {"n": "x"},
            "data-exception",
            'the session variable "x-hasura-n" does not fit: ',
        ),
        (
            {"doc": {"_eq": "X-Hasura-N"}},
            {"n": "{"},
            "data-exception",
            'the session variable "x-hasura-n" does not fit: ',
        ),
        (
            {"flag": {"_eq": "X-Hasura-N"}},
            {"n": "x"},
            "data-exception",
            'the session variable "x-hasura-n" does not fit: expected a boolean',
        ),
    ],
)
def test_a_variable_that_is_missing_or_does_not_fit_shows_nothing(
    where: dict[str, Any], variables: dict[str, str], code: str, message: str
) -> None:
    for query in ("{trades {id}}", "subscription {trades_changes {phase}}", "{trades_by_pk(id: 1) {id}}"):
        error = refusal(planner(trades={"columns": "*", "where": where}), query, **variables)
        assert (error["code"], error["path"]) == (code, "$")
        assert error["message"].startswith(message)


def test_who_may_see_the_same_shares_a_cohort() -> None:
    made = planner(trades=SEEN, desks={"columns": "*", "where": {"name": {"_eq": "X-Hasura-Name"}}})
    alone = "subscription {trades {id}}"

    def key(**variables: str) -> Any:
        return made.plan(alone, None, None, Session("user", variables)).key

    assert key(**{"user-id": "7"}) == key(**{"user-id": "7", "name": "x", "other": "y"})
    assert key(**{"user-id": "7"}) == key(**{"user-id": "07"}), "they are one number"
    assert key(**{"user-id": "7"}) != key(**{"user-id": "8"})


def test_who_sees_nothing_can_ask_for_that() -> None:
    (found,) = planner().plan("{no_queries_available}", None, None, Session("user")).roots
    assert isinstance(found, StaticRoot)
    assert found.value == b'"there is no source that this role may query"'


@pytest.mark.parametrize(
    ("permission", "reason"),
    [
        ({"columns": ["id", "qyt"]}, "`columns` has 'qyt', which is no column of it; did you mean qty?"),
        ({"columns": []}, "`columns` names none: a type of GraphQL has one field at least"),
        (
            {"columns": "*", "where": {"qyt": {"_eq": 1}}},
            "`where` has 'qyt', which is no column or relationship of trades; did you mean qty?",
        ),
        (
            {"columns": "*", "where": {"flagSeen": {"_eq": True}}},
            "`where` has 'flagSeen', which is no column or relationship of trades; did you mean flag?",
        ),
        (
            {"columns": "*", "where": {"qty": {"_like": "x"}}},
            "`where` compares 'qty' by _like, which its type int4 has not",
        ),
        (
            {"columns": "*", "where": {"of": {"owner": {"_ceq": "id"}}}},
            "`where` compares 'owner' by _ceq, which its type int4 has not",
        ),
        (
            {"columns": "*", "where": {"_exists": {"_table": "desks", "_where": {}}}},
            "`where` has _exists, which this version does not know",
        ),
        (
            {"columns": "*", "where": {"_not": {"doc": {"_contains": {"of": "X-Hasura-User-Id"}}}}},
            "`where` compares 'doc' by _contains with a value that has a variable inside it",
        ),
        (
            {"columns": "*", "where": {"_not": {"tags": {"_contains": ["a", "X-Hasura-Tag"]}}}},
            "`where` compares 'tags' by _contains with a value that has a variable inside it",
        ),
        ({"columns": "*", "where": {"qty": {"_eq": "x"}}}, "`where` compares 'qty' by _eq with 'x': "),
        ({"columns": "*", "where": {"qty": {"_eq": None}}}, "`where` compares 'qty' by _eq with None: "),
        ({"columns": "*", "where": {"qty": {"_in": 3}}}, "`where` compares 'qty' by _in with 3: "),
    ],
)
def test_a_permission_that_does_not_fit_shows_nothing(permission: dict[str, Any], reason: str) -> None:
    made = planner(trades=permission, desks={"columns": ["id"]})
    (misfit,) = made.misfits
    assert (misfit.source, misfit.role) == ("trades", "user")
    assert misfit.message.startswith(reason)
    assert fields(made, "query_root") == {"desks", "desks_by_pk"}
    assert "trades" not in made.schema.type_map


def test_admin_sees_everything() -> None:
    made = planner("admin", trades={"columns": ["id"], "where": MINE})
    (found,) = made.plan("{trades(limit: 9) {hidden}}", None, None, Session()).roots
    assert isinstance(found, RootPlan)
    assert (found.predicate, found.limit, found.reads) == (TRUE, 9, ())

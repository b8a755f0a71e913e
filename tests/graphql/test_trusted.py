"""Allow-lists and documents by their hash: the same tree is the same document, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graphql import get_introspection_query, parse, print_ast
from hypothesis import given
from hypothesis import strategies as st

from tests.graphql.permitted_tables import TYPES
from tycostream.auth.session import Session
from tycostream.config.access import AllowConfig
from tycostream.config.model import SourceConfig
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.trusted import DocumentId, TrustedDocuments, document_hash

Lists = dict[str, list[str] | None]
TRADES = "query trades($q: Int = 3) { trades(where: {qty: {_gt: $q}}, limit: 5) { id ...f } } fragment f on trades { qty }"
BOTH = "query a { trades { id } } query b { trades { qty } }"
COLLECTIONS = {
    "app": {"trades": TRADES, "both": BOTH},
    "ops": {"ids": "{trades {id}}"},
    "spare": {"q": "{trades {qty}}"},
}
NOT_ALLOWED = {
    "message": "query is not allowed",
    "extensions": {
        "path": "$",
        "code": "validation-failed",
        "detail": "query is not in any of the allowlists",
    },
}


def planner(role: str = "user", *, introspection: bool = True, lists: Lists | None = None) -> Planner:
    permission = {"columns": ["id", "qty"]}
    sources = {
        row_type.source: SourceConfig.model_validate(
            {"name": row_type.source, "permissions": {"user": permission, "ops": permission}}
        )
        for row_type in TYPES
    }
    allowed = {name: AllowConfig.model_validate({"roles": roles}) for name, roles in (lists or {}).items()}
    trusted = TrustedDocuments(COLLECTIONS, allowed or None, role)
    return Planner(TYPES, sources=sources, role=role, trusted=trusted, introspection=introspection)


def plan(made: Planner, query: str | DocumentId, role: str = "user", name: str | None = None) -> None:
    made.plan(query, name, None, Session(role))


def refusal(made: Planner, query: str | DocumentId, role: str = "user") -> dict[str, Any]:
    with pytest.raises(InvalidRequest) as caught:
        plan(made, query, role)
    (error,) = caught.value.errors
    return json.loads(json.dumps(error.to_graphql()))  # type: ignore[no-any-return]


SAME = [
    TRADES,
    TRADES.replace(" ", "\n  ").replace("5)", "5, # five\n)"),
    print_ast(parse(TRADES)),
    TRADES.replace("{ id", "{ __typename id x: __typename").replace(
        "{ qty", "{ __typename @include(if: true) qty"
    ),
    '"""for people""" ' + TRADES,
]
OTHERS = [
    TRADES.replace("id ...f", "...f id"),
    TRADES.replace("5", "6"),
    TRADES.replace("= 3", "= 4"),
    TRADES.replace("query trades", "query other"),
    TRADES.replace("query trades", "subscription trades"),
    TRADES.replace("{ id", "{ id qty"),
    TRADES.replace("{ id", "{ x: id"),
    TRADES.replace("{ id", "{ id @include(if: true)"),
    TRADES.replace("_gt", "_lt"),
    TRADES + " query other { trades { id } }",
    "query a { trades { id } }",
    " ".join(reversed(["query a { trades { id } }", "query b { trades { qty } }"])),
    "{__typename}",
    get_introspection_query(),
]


@pytest.mark.parametrize("query", SAME)
def test_the_same_tree_is_allowed_however_it_is_written(query: str) -> None:
    plan(planner(lists={"app": None}), query)


@pytest.mark.parametrize("query", OTHERS)
def test_anything_else_is_not(query: str) -> None:
    assert refusal(planner(lists={"app": None}), query) == NOT_ALLOWED


@pytest.mark.parametrize("quoted", ['"a\\nb"', '"""a\nb"""', '"""\n  a\n  b\n"""'])
def test_a_text_is_its_value_however_it_is_quoted(quoted: str) -> None:
    trusted = TrustedDocuments({"app": {"q": '{a(b: "a\\nb")}'}}, {"app": AllowConfig()}, "user")
    trusted.check(parse(f"{{a(b: {quoted})}}"))


NAMES = st.sampled_from(["a", "b", "__typename"])
TREES = st.recursive(
    NAMES,
    lambda inner: st.tuples(
        NAMES.filter(lambda n: n != "__typename"), st.lists(inner, min_size=1, max_size=3)
    ),
)


def written(tree: Any) -> str:
    return tree if isinstance(tree, str) else f"{tree[0]} {{ {' '.join(map(written, tree[1]))} }}"


def stripped(tree: Any) -> Any:
    return (
        tree
        if isinstance(tree, str)
        else (tree[0], [stripped(each) for each in tree[1] if each != "__typename"])
    )


@given(st.lists(TREES, min_size=1, max_size=3), st.lists(TREES, min_size=1, max_size=3))
def test_documents_are_equal_exactly_if_their_trees_without_typenames_are(
    one: list[Any], other: list[Any]
) -> None:
    texts = [f"{{ {' '.join(map(written, trees))} }}" for trees in (one, other)]
    trusted = TrustedDocuments({"app": {"q": texts[0]}}, {"app": AllowConfig()}, "user")
    equal = stripped(("", one)) == stripped(("", other))
    try:
        trusted.check(parse(texts[1]))
    except Exception:
        assert not equal
    else:
        assert equal


def test_one_of_several_operations_of_an_allowed_document_may_be_run() -> None:
    plan(planner(lists={"app": None}), BOTH, name="b")


def test_collections_are_for_all_roles_or_for_those_named() -> None:
    lists: Lists = {"app": None, "ops": ["ops"]}
    for role in ("user", "ops"):
        plan(planner(role, lists=lists), TRADES, role)
    plan(planner("ops", lists=lists), "{trades{id}}", "ops")
    assert refusal(planner(lists=lists), "{trades {id}}") == NOT_ALLOWED
    assert refusal(planner("ops", lists=lists), "{trades {qty}}", "ops") == NOT_ALLOWED, (
        "in a collection, and not listed"
    )


def test_who_is_in_no_scope_may_run_nothing_and_the_admin_everything() -> None:
    assert refusal(planner(lists={"ops": ["ops"]}), "{trades {id}}") == NOT_ALLOWED
    made = planner("admin", lists={"ops": ["ops"]})
    plan(made, "{trades {hidden}}", "admin")
    plan(made, DocumentId(document_hash(TRADES)), "admin")


def test_what_is_allowed_must_still_be_right() -> None:
    trusted = TrustedDocuments({"app": {"q": "{trades {hidden}}"}}, {"app": AllowConfig()}, "user")
    sources = {
        "trades": SourceConfig.model_validate(
            {"name": "trades", "permissions": {"user": {"columns": ["id"]}}}
        )
    }
    made = Planner(TYPES, sources=sources, role="user", trusted=trusted)
    assert refusal(made, "{trades {hidden}}")["message"] == "field 'hidden' not found in type: 'trades'"


def test_documents_by_their_hash() -> None:
    anything = planner()
    plan(anything, DocumentId(document_hash(TRADES)))
    plan(anything, "{trades {id qty}}")
    listed = planner(lists={"app": None})
    plan(listed, DocumentId(document_hash(TRADES)))
    for unknown in (document_hash("{trades {qty}}"), document_hash(TRADES + " "), "", "../x"):
        error = refusal(listed, DocumentId(unknown))
        assert error["message"] == "PersistedQueryNotFound"
        assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


def test_introspection_can_be_off_for_a_role() -> None:
    made = planner(introspection=False)
    for query in (
        get_introspection_query(),
        '{__type(name: "trades") {name}}',
        "{trades {id} ...f} fragment f on query_root {x: __schema {queryType {name}}}",
        "query a {trades {id}} query b {... {__schema {queryType {name}}}}",
        "subscription {__schema {queryType {name}}}",
    ):
        assert refusal(made, query) == {
            "message": 'introspection is disabled for role: "user"',
            "extensions": {
                "path": "$",
                "code": "not-supported",
                "hint": "introspection.disabled_for_roles says for whom",
            },
        }
    plan(made, "{__typename trades {__typename id}}")
    plan(planner(), get_introspection_query())

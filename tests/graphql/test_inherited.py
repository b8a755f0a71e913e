"""Roles that inherit: what others see together, and what is masked of it, in the schema and in plans."""

from __future__ import annotations

from typing import Any

from tests.graphql.permitted_tables import LINKS, TYPES
from tycostream.auth.session import Session
from tycostream.config.model import SourceConfig
from tycostream.dataflow.order import OrderBy, OrderVia
from tycostream.dataflow.predicate import Compare, IsNull, conjunction, disjunction
from tycostream.dataflow.relation import Masked
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import RootPlan, totals_of

TRADER = {"columns": ["id", "desk", "qty"], "where": {"desk": {"_eq": 1}}, "limit": 5}
AUDITOR = {"columns": ["id", "desk", "hidden"], "where": {"qty": {"_gt": 9}}, "limit": 7, "aggregate": True}
MINE, LARGE = Compare(2, "eq", 1), Compare(3, "gt", 9)


def planner(**more: Any) -> Planner:
    roles: dict[str, Any] = {"trader": TRADER, "auditor": AUDITOR} | more
    sources = {
        name: SourceConfig.model_validate(
            {"name": name, "relationships": links} | ({"permissions": roles} if name == "trades" else {})
        )
        for name, links in LINKS.items()
    }
    return Planner(
        TYPES, sources=sources, role="head", inherited={"head": ("a", "auditor"), "a": ("trader",)}
    )


def root(query: str, **more: Any) -> RootPlan:
    (found,) = planner(**more).plan(query, None, None, Session("head")).roots
    assert isinstance(found, RootPlan)
    return found


def test_the_schema_has_what_one_of_them_sees() -> None:
    fields: Any = planner().schema.type_map["trades"]
    shown = {name: str(field.type) for name, field in fields.fields.items()}
    assert shown == {"id": "Int!", "desk": "Int!", "qty": "Int", "hidden": "String"}, "masked is nullable"
    assert "trades_aggregate" in planner().schema.type_map


def test_a_masked_cell_is_null_in_what_is_written_and_asked() -> None:
    found = root(
        '{trades(where: {_not: {hidden: {_eq: "x"}}, qty: {_is_null: true}}, order_by: {qty: asc}) {id qty hidden}}'
    )
    sight = disjunction([MINE, LARGE])
    no_qty = disjunction([IsNull(3), disjunction([Compare(2, "ne", 1), IsNull(2)])])
    assert found.predicate == conjunction([sight, LARGE, Compare(1, "ne", "x"), no_qty])
    assert found.order == (OrderVia(Masked(3, MINE)),)
    row = found.encoder.row  # type: ignore[union-attr]
    assert row((1, "x", 1, 5)) == b'{"id":1,"qty":5,"hidden":null}'
    assert row((1, "x", 2, 10)) == b'{"id":1,"qty":null,"hidden":"x"}'
    assert row((1, "x", 1, 10)) == b'{"id":1,"qty":10,"hidden":"x"}'


def test_aggregates_limits_and_feeds() -> None:
    found = root("{trades_aggregate {aggregate {count sum {qty}}}}")
    assert [spec.veil for spec in totals_of(found).aggregates] == [(), ((3, MINE),)]
    assert root("{trades(order_by: {desk: asc}) {id}}").limit == 7, "the largest"
    assert root("{trades(order_by: {desk: asc}) {id}}").order == (OrderBy(2),)
    feed = root("subscription {trades_changes {phase}}")
    assert feed.veil == ((1, LARGE), (3, MINE))
    assert feed.alike is None, "the key is seen"


def test_a_permission_of_its_own_holds_alone() -> None:
    found = root("{trades {id}}", head={"columns": ["id"], "limit": 1})
    assert (found.limit, found.predicate) == (1, conjunction([]))

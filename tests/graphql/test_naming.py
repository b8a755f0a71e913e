"""Custom root fields: whatever they are called, they ask for what they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graphql.graphql_tables import POSITIONS, TRADES, root
from tycostream.config.model import SourceConfig
from tycostream.graphql.execute import Planner
from tycostream.graphql.naming import table_of
from tycostream.graphql.plan import Mode

CONFIG = SourceConfig.model_validate(
    {
        "name": "trades",
        "table": "desk.deals",
        "custom_root_fields": {
            "select": "positions_changes_of_old",
            "select_by_pk": {"name": "positions_by_pk_", "comment": "one deal"},
            "select_changes": {"comment": ""},
        },
    }
)
PLANNER = Planner([TRADES, POSITIONS], sources={"trades": CONFIG})


def fields(kind: str) -> dict[str, Any]:
    found: Any = getattr(PLANNER.schema, f"{kind}_type")
    return dict(found.fields)


def test_root_fields_have_the_names_of_the_configuration() -> None:
    query = {"positions_changes_of_old", "positions_by_pk_", "positions", "positions_by_pk"}
    assert query <= set(fields("query"))
    assert query | {"trades_changes", "positions_changes"} <= set(fields("subscription"))
    assert not {"trades", "trades_by_pk", "trades_changes"} & set(fields("query"))
    assert list(fields("subscription")) == sorted(fields("subscription"))


@pytest.mark.parametrize(
    ("query", "source", "mode"),
    [
        ("{positions_changes_of_old {id}}", "trades", Mode.LIST),
        ("{positions_by_pk_(id: 1) {id}}", "trades", Mode.BY_PK),
        ("subscription {trades_changes {phase}}", "trades", Mode.CHANGES),
        ("{positions {book}}", "positions", Mode.LIST),
        ('{positions_by_pk(book: "b", Isin: "i") {book}}', "positions", Mode.BY_PK),
    ],
)
def test_a_root_field_is_not_known_by_its_name(query: str, source: str, mode: Mode) -> None:
    found = root(query, planner=PLANNER)
    assert (found.source, found.mode) == (source, mode)


def test_types_keep_the_source_s_name() -> None:
    assert {"trades", "trades_bool_exp", "trades_change_set"} <= set(PLANNER.schema.type_map)


def test_comments_take_the_place_of_descriptions() -> None:
    subscription = fields("subscription")
    assert subscription["positions_by_pk_"].description == "one deal"
    assert subscription["trades_changes"].description is None
    assert subscription["positions_changes_of_old"].description == 'fetch data from the table: "desk.deals"'
    assert subscription["positions"].description == 'fetch data from the table: "positions"'


def test_descriptions_name_the_table_as_sql_does() -> None:
    described = {name: PLANNER.schema.type_map[name].description for name in ("trades", "trades_order_by")}
    assert described == {
        "trades": 'columns and relationships of "desk.deals"',
        "trades_order_by": 'Ordering options when selecting data from "desk.deals".',
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "s"),
        ({"table": "public.x"}, "x"),
        ({"table": "x"}, "x"),
        ({"table": 'sales."a.b"'}, "sales.a.b"),
        ({"table": "db.public.x"}, "db.public.x"),
        ({"query": "SELECT 1", "table": ""}, "s"),
    ],
)
def test_table_of(config: dict[str, str], expected: str) -> None:
    assert table_of(SourceConfig.model_validate({"name": "s", **config})) == expected

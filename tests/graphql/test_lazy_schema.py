"""A schema whose types are made when they are asked for, against graphql-core's own, which walks over all of them."""

from __future__ import annotations

import gc
import hashlib

import pytest
from graphql import GraphQLError, GraphQLNamedType, GraphQLSchema, validate_schema

from tests.graphql.schema_worlds import world
from tycostream.auth.session import Session
from tycostream.config.model import SourceConfig
from tycostream.graphql.execute import Planner
from tycostream.graphql.lazy_schema import LazySchema
from tycostream.graphql.schema import build_schema, presentable, print_sdl
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, enum_scalar

# SHA-256 of the SDL of the worlds 0 to 119, one after the other, as it was when all types were made at once.
AS_EVER = "beb57f68ff2e6f2b2afbf15ba66cd891320793702980540aa6eec898baa1953e"


def schema_of(seed: int) -> LazySchema:
    given = world(seed)
    return build_schema(given.row_types, sources=given.sources, permissions=given.permissions)


def walked(schema: LazySchema) -> GraphQLSchema:
    """What graphql-core finds by walking from the root types, and from what relationships can lead to."""
    linked = [
        each
        for name, source in schema.sources.items()
        for each in (source.row, source.bool_exp, source.get(f"{name}_order_by"))
        if each is not None
    ]
    return GraphQLSchema(
        schema.query_type,
        subscription=schema.subscription_type,
        types=linked,
        directives=schema.directives,
    )


def test_the_schema_says_what_it_always_said() -> None:
    found = hashlib.sha256()
    for seed in range(120):
        found.update(print_sdl(schema_of(seed)).encode())
    assert found.hexdigest() == AS_EVER


@pytest.mark.parametrize("seed", range(120))
def test_it_has_the_types_that_can_be_reached_and_no_others(seed: int) -> None:
    schema = schema_of(seed)
    reached = walked(schema)
    assert list(schema.type_map) == sorted(reached.type_map)
    assert len(schema.type_map) == len(reached.type_map)
    assert all(schema.type_map[name] is each for name, each in reached.type_map.items())
    assert list(schema.type_map.values()) == [reached.type_map[name] for name in schema.type_map]
    assert validate_schema(reached) == []


def test_types_are_found_by_name_alone() -> None:
    for seed in range(0, 120, 5):
        schema = schema_of(seed)
        names = list(schema_of(seed).type_map)  # of another, so that nothing is known of this one
        assert all(name in schema.type_map for name in names)
        assert [schema.type_map[name].name for name in names] == names
        for name in ("nothing", "", "_bool_exp", "s0_bool_exp_bool_exp", "__Nothing"):
            assert schema.get_type(name) is None
            assert name not in schema.type_map


def test_a_document_has_the_types_made_that_it_is_about() -> None:
    columns = (Column("id", SCALARS["int8"], nullable=False), Column("x", SCALARS["float8"]))
    row_types = [RowType(f"lazy{n}", columns, (0,)) for n in range(100)]
    links = {f"lazy{n}": {"next": {"array": f"lazy{n - 1}", "on": {"id": "id"}}} for n in range(1, 100)}
    sources = {
        each.source: SourceConfig.model_validate(
            {"name": each.source, "relationships": links.get(each.source, {})}
        )
        for each in row_types
    }
    planner = Planner(row_types, sources=sources)
    document = "{ lazy7(where: {next: {x: {_gt: 1}}}) { id next_aggregate { aggregate { count } } } }"
    planner.plan(document, None, None, Session())
    names = {each.name for each in gc.get_objects() if isinstance(each, GraphQLNamedType)}
    made = {name for name in names & set(planner.schema.type_map) if name.startswith("lazy")}
    assert {"lazy7", "lazy6", "lazy6_aggregate_fields"} <= made
    assert {name.partition("_")[0] for name in made} <= {
        "lazy7",
        "lazy6",
        "lazy5",
    }  # what they lead to is named too
    assert len(planner.schema.type_map) > 4000


def test_an_enum_without_labels_is_a_scalar() -> None:
    none = enum_scalar("nothing", [], lambda label: None)
    schema = build_schema([RowType("jobs", (Column("id", SCALARS["int8"]), Column("x", none)))])
    assert validate_schema(walked(schema)) == []
    assert "scalar nothing" in print_sdl(schema)


def test_a_source_is_looked_at_in_all_its_parts() -> None:
    assert list(presentable(RowType("jobs", (Column("id", SCALARS["int8"]),))).sources) == ["jobs"]
    with pytest.raises(GraphQLError, match="Enum values cannot be named: true"):
        presentable(RowType("jobs", (Column("true", SCALARS["int8"]),)))
    with pytest.raises(GraphQLError, match="Names must only contain"):
        presentable(RowType("jobs", (Column("a-b", SCALARS["int8"]),)))

"""The types of aggregates against what a real Hasura answers, and no type that the configuration does not know of."""

from __future__ import annotations

import re

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, print_type

from tests.graphql.schema_worlds import world
from tests.graphql.test_relationship_schema import ALBUM, ARTIST, MUSIC
from tycostream.config.model import SourceConfig
from tycostream.config.schema_names import owners, types_of
from tycostream.graphql.aggregate_types import columns_of
from tycostream.graphql.schema import build_schema
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS

# introspected from a Hasura over two tables
HASURA = """
type Album_aggregate { aggregate: Album_aggregate_fields nodes: [Album!]! }
input Album_aggregate_bool_exp { count: Album_aggregate_bool_exp_count }
input Album_aggregate_bool_exp_count { arguments: [Album_select_column!] distinct: Boolean filter: Album_bool_exp predicate: Int_comparison_exp! }
type Album_aggregate_fields { avg: Album_avg_fields count(columns: [Album_select_column!], distinct: Boolean): Int! max: Album_max_fields min: Album_min_fields stddev: Album_stddev_fields stddev_pop: Album_stddev_pop_fields stddev_samp: Album_stddev_samp_fields sum: Album_sum_fields var_pop: Album_var_pop_fields var_samp: Album_var_samp_fields variance: Album_variance_fields }
input Album_aggregate_order_by { avg: Album_avg_order_by count: order_by max: Album_max_order_by min: Album_min_order_by stddev: Album_stddev_order_by stddev_pop: Album_stddev_pop_order_by stddev_samp: Album_stddev_samp_order_by sum: Album_sum_order_by var_pop: Album_var_pop_order_by var_samp: Album_var_samp_order_by variance: Album_variance_order_by }
type Album_avg_fields { AlbumId: Float ArtistId: Float }
input Album_avg_order_by { AlbumId: order_by ArtistId: order_by }
type Album_max_fields { AlbumId: Int ArtistId: Int Title: String }
input Album_max_order_by { AlbumId: order_by ArtistId: order_by Title: order_by }
type Album_min_fields { AlbumId: Int ArtistId: Int Title: String }
input Album_min_order_by { AlbumId: order_by ArtistId: order_by Title: order_by }
type Album_stddev_fields { AlbumId: Float ArtistId: Float }
input Album_stddev_order_by { AlbumId: order_by ArtistId: order_by }
type Album_stddev_pop_fields { AlbumId: Float ArtistId: Float }
input Album_stddev_pop_order_by { AlbumId: order_by ArtistId: order_by }
type Album_stddev_samp_fields { AlbumId: Float ArtistId: Float }
input Album_stddev_samp_order_by { AlbumId: order_by ArtistId: order_by }
type Album_sum_fields { AlbumId: Int ArtistId: Int }
input Album_sum_order_by { AlbumId: order_by ArtistId: order_by }
type Album_var_pop_fields { AlbumId: Float ArtistId: Float }
input Album_var_pop_order_by { AlbumId: order_by ArtistId: order_by }
type Album_var_samp_fields { AlbumId: Float ArtistId: Float }
input Album_var_samp_order_by { AlbumId: order_by ArtistId: order_by }
type Album_variance_fields { AlbumId: Float ArtistId: Float }
input Album_variance_order_by { AlbumId: order_by ArtistId: order_by }
"""


def tokens(sdl: str) -> list[str]:
    return re.findall(r"\w+|[^\s,\w]", re.sub(r'"""(.|\n)*?"""', "", sdl))


def inputs(row_type: RowType) -> list[GraphQLInputObjectType]:
    """The types of its orders and conditions by aggregates; an array leads to its rows."""
    name = row_type.source
    given = {"name": name, "relationships": {"same": {"array": name, "on": {"id": "id"}}}}
    types = build_schema([row_type], sources={name: SourceConfig.model_validate(given)}).type_map
    found = [types[f"{name}_aggregate_order_by"], types[f"{name}_aggregate_bool_exp"]]
    return [each for each in found if isinstance(each, GraphQLInputObjectType)]


def test_types_are_those_of_hasura() -> None:
    types = build_schema([ALBUM, ARTIST], sources=MUSIC.sources).type_map
    expected = {line.split()[1]: line for line in HASURA.strip().splitlines()}
    assert {name: tokens(print_type(types[name])) for name in expected} == {
        name: tokens(line) for name, line in expected.items()
    }
    # nothing leads to artists: there are no conditions on aggregates over them
    assert not {"Artist_aggregate_bool_exp", "Artist_aggregate_order_by"} & set(types)
    assert "Artist_aggregate" in types


def test_truths_are_conditions_where_there_are_booleans() -> None:
    flags = RowType("flags", (Column("id", SCALARS["int4"]), Column("up", SCALARS["bool"])), key=(0,))
    _, condition = inputs(flags)
    assert list(condition.fields) == ["bool_and", "bool_or", "count"]
    inner = condition.fields["bool_or"].type
    assert isinstance(inner, GraphQLInputObjectType)
    assert tokens(print_type(inner)) == tokens(
        "input flags_aggregate_bool_exp_bool_or { "
        "arguments: flags_select_column_flags_aggregate_bool_exp_bool_or_arguments_columns! "
        "distinct: Boolean filter: flags_bool_exp predicate: Boolean_comparison_exp! }"
    )
    argument = inner.fields["arguments"].type.of_type
    assert isinstance(argument, GraphQLEnumType)
    assert list(argument.values) == ["up"]
    assert [column.field for column in columns_of("sum", flags.columns)] == ["id"]


def test_conditions_compare_more_of_double_precision() -> None:
    columns = (Column("id", SCALARS["int4"]), Column("y", SCALARS["float8"]), Column("x", SCALARS["float8"]))
    _, condition = inputs(RowType("marks", columns, key=(0,)))
    assert list(condition.fields) == ["avg", "count", "max", "min", "stddev_samp", "sum", "var_samp"]
    inner = condition.fields["avg"].type
    assert isinstance(inner, GraphQLInputObjectType)
    assert tokens(print_type(inner)) == tokens(
        "input marks_aggregate_bool_exp_avg { "
        "arguments: marks_select_column_marks_aggregate_bool_exp_avg_arguments_columns! "
        "distinct: Boolean filter: marks_bool_exp predicate: float8_comparison_exp! }"
    )
    assert list(inner.fields["arguments"].type.of_type.values) == ["x", "y"]


@pytest.mark.parametrize("seed", range(60))
def test_every_type_of_a_source_is_one_that_names_are_checked_against(seed: int) -> None:
    given = world(seed)
    schema = build_schema(given.row_types, sources=given.sources, permissions=given.permissions)
    for source, types in schema.sources.items():
        assert set(types) <= set(types_of(source))
        assert all(source in owners(name) for name in types)

"""Relationships in the schema: what a real Hasura says of two tables and their foreign key (hasura.md, C.1)."""

from __future__ import annotations

import pytest
from graphql import GraphQLInputObjectType, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, print_type

from tests.graphql.related_tables import CONFIG, FILLS, PLANNER, TRADES
from tycostream.config.load import loads
from tycostream.graphql.schema import build_schema
from tycostream.rows import Column, RowType
from tycostream.scalars import scalar_for

ALBUM = RowType(
    "Album",
    (
        Column("AlbumId", scalar_for("int4"), nullable=False),
        Column("Title", scalar_for("text"), nullable=False),
        Column("ArtistId", scalar_for("int4"), nullable=False),
    ),
    (0,),
)
ARTIST = RowType(
    "Artist",
    (Column("ArtistId", scalar_for("int4"), nullable=False), Column("Name", scalar_for("text"))),
    (0,),
)
MUSIC = loads(
    """
databases: {main: {url: 'host=db'}}
sources:
  Album:
    relationships: {Artist: {object: Artist, on: {ArtistId: ArtistId}, required: true}}
  Artist:
    relationships: {Albums: {array: Album, on: {ArtistId: ArtistId}}}
""",
    environ={},
)


def printed(schema: GraphQLSchema, name: str) -> str:
    """A type in one line, without descriptions."""
    found = schema.type_map[name]
    lines = [line.strip() for line in print_type(found).splitlines()]
    kept: list[str] = []
    inside = False
    for line in lines:
        if line.startswith('"""'):
            inside = not (inside or line.count('"""') == 2)
        elif line and not inside:
            kept.append(line)
    return " ".join(kept).replace("( ", "(").replace(" )", ")")


ARGUMENTS = "distinct_on: [Album_select_column!] limit: Int offset: Int order_by: [Album_order_by!] where: Album_bool_exp"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Album", "type Album { AlbumId: Int! Artist: Artist! ArtistId: Int! Title: String! }"),
        (
            "Artist",
            f"type Artist {{ Albums({ARGUMENTS}): [Album!]! Albums_aggregate({ARGUMENTS}): Album_aggregate! "
            "ArtistId: Int! Name: String }",
        ),
        (
            "Album_bool_exp",
            "input Album_bool_exp { AlbumId: Int_comparison_exp Artist: Artist_bool_exp ArtistId: Int_comparison_exp "
            "Title: String_comparison_exp _and: [Album_bool_exp!] _not: Album_bool_exp _or: [Album_bool_exp!] }",
        ),
        (
            "Artist_bool_exp",
            "input Artist_bool_exp { Albums: Album_bool_exp Albums_aggregate: Album_aggregate_bool_exp ArtistId: Int_comparison_exp Name: String_comparison_exp "
            "_and: [Artist_bool_exp!] _not: Artist_bool_exp _or: [Artist_bool_exp!] }",
        ),
        (
            "Album_order_by",
            "input Album_order_by { AlbumId: order_by Artist: Artist_order_by ArtistId: order_by Title: order_by }",
        ),
        (
            "Artist_order_by",
            "input Artist_order_by { Albums_aggregate: Album_aggregate_order_by ArtistId: order_by Name: order_by }",
        ),
        ("Album_select_column", "enum Album_select_column { AlbumId ArtistId Title }"),
        ("Album_old", "type Album_old { AlbumId: Int ArtistId: Int Title: String }"),
    ],
)
def test_the_sample_of_two_tables(name: str, expected: str) -> None:
    schema = build_schema([ALBUM, ARTIST], sources=MUSIC.sources)
    assert printed(schema, name) == expected


def test_descriptions_are_hasuras_or_the_configurations() -> None:
    trades = PLANNER.schema.type_map["trades"]
    assert isinstance(trades, GraphQLObjectType)
    said = {
        name: trades.fields[name].description for name in ("instrument", "fills", "fills_aggregate", "parent")
    }
    assert said == {
        "instrument": "what was traded",
        "fills": "An array relationship",
        "fills_aggregate": "An aggregate relationship",
        "parent": "An object relationship",
    }


def test_only_a_row_that_must_be_there_is_not_null() -> None:
    fills, trades = PLANNER.schema.type_map["fills"], PLANNER.schema.type_map["trades"]
    assert isinstance(fills, GraphQLObjectType)
    assert isinstance(trades, GraphQLObjectType)
    assert isinstance(fills.fields["trade"].type, GraphQLNonNull)
    assert not isinstance(trades.fields["instrument"].type, GraphQLNonNull)


def test_a_relationship_is_there_once_both_ends_are() -> None:
    schema = build_schema([TRADES], sources=CONFIG.sources)
    trades = schema.type_map["trades"]
    assert isinstance(trades, GraphQLObjectType)
    assert "parent" in trades.fields
    assert not {"instrument", "fills"} & set(trades.fields)
    schema = build_schema([TRADES, FILLS], sources=CONFIG.sources)
    trades = schema.type_map["trades"]
    assert isinstance(trades, GraphQLObjectType)
    assert "fills" in trades.fields


def test_what_has_no_order_cannot_be_ordered_by() -> None:
    text = """
databases: {main: {url: 'host=db'}}
sources:
  trades: {relationships: {shape: {object: shapes, on: {id: id}}, place: {object: places, on: {id: id}}}}
  shapes: {columns: [id, doc]}
  places: {}
"""
    keys = Column("id", scalar_for("int8"))
    trades = RowType("trades", (keys,))
    shapes = RowType("shapes", (keys, Column("doc", scalar_for("json"))))
    schema = build_schema([trades, shapes], sources=loads(text, environ={}).sources)
    order_by = schema.type_map["trades_order_by"]
    assert isinstance(order_by, GraphQLInputObjectType)
    assert set(order_by.fields) == {"id", "shape"}
    assert set(order_by.fields["shape"].type.fields) == {"id"}

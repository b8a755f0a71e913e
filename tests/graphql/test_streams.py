"""``T_stream`` in the schema and in plans: Hasura's shape, its refusals, and the ways to say where to begin."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graphql.graphql_tables import TRADES, refusals, root
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE, Compare, IsNull, conjunction
from tycostream.errors import TycoError
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Mode, Stream
from tycostream.graphql.schema import build_schema
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, scalar_for

ALBUM = RowType(
    "Album",
    (
        Column("AlbumId", SCALARS["int4"], nullable=False),
        Column("ArtistId", SCALARS["int4"], nullable=False, comment="whose"),
        Column("Title", SCALARS["text"], nullable=False),
    ),
    key=(0,),
)
EVENTS = RowType(
    "events",
    (
        Column("id", SCALARS["int4"], nullable=False),
        Column("at", SCALARS["timestamptz"]),
        Column("ref", SCALARS["uuid"]),
        Column("note", SCALARS["bpchar"]),
        Column("big", SCALARS["int8"]),
    ),
    key=(0,),
)
EVENTS_PLANNER = Planner([EVENTS])


def test_the_shape_is_hasuras() -> None:
    schema = build_schema([ALBUM])
    assert schema.subscription_type is not None
    assert schema.query_type is not None
    field = schema.subscription_type.fields["Album_stream"]
    assert str(field.type) == "[Album!]!"
    assert {name: str(argument.type) for name, argument in field.args.items()} == {
        "batch_size": "Int!",
        "cursor": "[Album_stream_cursor_input]!",
        "where": "Album_bool_exp",
    }
    cursor: Any = schema.type_map["Album_stream_cursor_input"]
    assert {name: str(each.type) for name, each in cursor.fields.items()} == {
        "initial_value": "Album_stream_cursor_value_input!",
        "ordering": "cursor_ordering",
    }
    value: Any = schema.type_map["Album_stream_cursor_value_input"]
    assert {name: str(each.type) for name, each in value.fields.items()} == {
        "AlbumId": "Int",
        "ArtistId": "Int",
        "Title": "String",
    }
    ordering: Any = schema.type_map["cursor_ordering"]
    assert "Album_stream" not in schema.query_type.fields
    assert {
        "field": field.description,
        **{name: argument.description for name, argument in field.args.items() if name != "where"},
        **{each.name: each.description for each in (cursor, value, ordering)},
        **{name: each.description for name, each in (*cursor.fields.items(), *value.fields.items())},
        **{name: each.description for name, each in ordering.values.items()},
    } == {
        "field": 'fetch data from the table in a streaming manner: "Album"',
        "batch_size": "maximum number of rows returned in a single batch",
        "cursor": "cursor to stream the results returned by the query",
        "Album_stream_cursor_input": 'Streaming cursor of the table "Album"',
        "initial_value": "Stream column input with initial value",
        "ordering": "cursor ordering",
        "Album_stream_cursor_value_input": "Initial value of the column from where the streaming should start",
        "AlbumId": None,
        "ArtistId": "whose",
        "Title": None,
        "cursor_ordering": "ordering argument of a cursor",
        "ASC": "ascending ordering of the cursor",
        "DESC": "descending ordering of the cursor",
    }


def test_a_source_without_an_order_has_no_stream() -> None:
    points = RowType("points", (Column("at", SCALARS["point"]), Column("doc", SCALARS["json"])))
    schema = build_schema([points])
    assert schema.subscription_type is not None
    assert "points_stream" not in schema.subscription_type.fields
    assert not [name for name in schema.type_map if "cursor" in name]


def test_the_types_of_a_stream_are_the_sources_own() -> None:
    clashing = RowType(
        "orders", (Column("id", SCALARS["int4"]), Column("x", scalar_for("orders_stream_cursor_input")))
    )
    with pytest.raises(TycoError) as caught:
        build_schema([clashing])
    assert caught.value.code == "type-name-taken"
    assert str(caught.value).startswith(
        "the type 'orders_stream_cursor_input' of a column is also a type of source"
    )


def stream(arguments: str, variables: dict[str, object] | None = None, head: str = "subscription") -> Any:
    return root(f"{head} {{ trades_stream({arguments}) {{ id }} }}", variables)


def test_a_plan() -> None:
    found = stream(
        'batch_size: 5, cursor: {initial_value: {price: 1.50}, ordering: DESC}, where: {symbol: {_eq: "XAU"}}'
    )
    assert found.mode is Mode.STREAM
    assert found.order == (OrderBy(2, descending=True, nulls_first=True),)
    assert found.stream == Stream(5, SCALARS["numeric"].literal(1.5))
    assert found.predicate == conjunction([Compare(1, "eq", "XAU"), IsNull(2, negated=True)])
    by_key = stream("batch_size: 5, cursor: [{initial_value: {id: 7}, ordering: null}, null]")
    assert (by_key.order, by_key.predicate) == ((OrderBy(0),), TRUE)
    assert by_key.stream == Stream(5, 7)


def test_where_it_begins_is_not_part_of_the_key() -> None:
    begins = [
        stream(f"batch_size: 5, cursor: {{initial_value: {{id: {value}}}}}") for value in ("1", "2", "null")
    ]
    assert len({each.key for each in begins}) == 1
    others = [
        stream("batch_size: 6, cursor: {initial_value: {id: 1}}"),
        stream("batch_size: 5, cursor: {initial_value: {qty: 1}}"),
        stream("batch_size: 5, cursor: {initial_value: {id: 1}, ordering: DESC}"),
        stream("batch_size: 5, cursor: {initial_value: {id: 1}}, where: {id: {_gt: 1}}"),
        root("subscription { trades_stream(batch_size: 5, cursor: {initial_value: {id: 1}}) { qty } }"),
    ]
    assert len({each.key for each in (begins[0], *others)}) == 6


def test_null_is_before_all_values() -> None:
    assert stream("batch_size: 1, cursor: {initial_value: {id: null}}").stream == Stream(1)
    found = stream(
        "batch_size: 1, cursor: $c",
        {"c": [{"initial_value": {"id": None}}]},
        "subscription ($c: [trades_stream_cursor_input]!)",
    )
    assert found.stream == Stream(1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("at: now", Stream(1, None, now=True)),
        ('at: "now"', Stream(1, None, now=True)),
        ('at: " NOW() "', Stream(1, None, now=True)),
        ("big: now", Stream(1, None, now=True)),
        ("ref: now", Stream(1, None, now=True)),
        ('note: "now"', Stream(1, SCALARS["bpchar"].literal("now"))),
        ('at: "2020-01-01"', Stream(1, SCALARS["timestamptz"].literal("2020-01-01"))),
    ],
)
def test_now_is_said_where_it_is_no_value(value: str, expected: Stream) -> None:
    query = (
        f"subscription {{ events_stream(batch_size: 1, cursor: {{initial_value: {{{value}}}}}) {{ id }} }}"
    )
    assert root(query, planner=EVENTS_PLANNER).stream == expected


def test_now_can_be_said_of_any_column_by_a_directive() -> None:
    query = (
        "subscription {{ events_stream(batch_size: 1, cursor: {{initial_value: {{id: {}}}}}) @now {{ id }} }}"
    )
    assert root(query.format("null"), planner=EVENTS_PLANNER).stream == Stream(1, now=True)
    assert root(query.format("7"), planner=EVENTS_PLANNER).stream == Stream(1, 7, now=True)


@pytest.mark.parametrize(
    ("arguments", "message", "path"),
    [
        ("batch_size: 5, cursor: []", "one streaming column field is expected", "args"),
        ("batch_size: 5, cursor: [null]", "one streaming column field is expected", "args"),
        ("batch_size: 5, cursor: {initial_value: {}}", "one streaming column field is expected", "args"),
        (
            "batch_size: 5, cursor: {initial_value: {id: 1, qty: 2}}",
            "multiple column cursors are not supported yet",
            "args",
        ),
        (
            "batch_size: 5, cursor: [{initial_value: {id: 1}}, {initial_value: {qty: 1}}]",
            "multiple column cursors are not supported yet",
            "args",
        ),
        (
            "batch_size: -1, cursor: {initial_value: {id: 1}}",
            "expected a non-negative 32-bit integer for type 'Int', but found -1",
            "args.batch_size",
        ),
        (
            "batch_size: 0, cursor: {initial_value: {id: 1}}",
            "expected a positive 32-bit integer for type 'Int', but found 0",
            "args.batch_size",
        ),
        (
            'batch_size: "1", cursor: {initial_value: {id: 1}}',
            "expected a non-negative 32-bit integer for type 'Int', but found a string",
            "args.batch_size",
        ),
        (
            'batch_size: 1, cursor: {initial_value: {id: "x"}}',
            "expected an integer for type 'bigint', but found a string",
            "args.cursor.initial_value.id",
        ),
    ],
)
def test_what_is_refused(arguments: str, message: str, path: str) -> None:
    (refusal,) = refusals(f"subscription {{ trades_stream({arguments}) {{ id }} }}")
    assert refusal["message"] == message
    assert refusal["extensions"]["code"] == "validation-failed"
    assert refusal["extensions"]["path"] == f"$.selectionSet.trades_stream.{path}"


def test_a_stream_stands_alone() -> None:
    planner = Planner([TRADES], multi_root_subscriptions=True)
    one = "trades_stream(batch_size: 1, cursor: {initial_value: {id: 1}}) { id }"
    (refusal,) = refusals(f"subscription {{ a: {one} trades {{ id }} }}", planner=planner)
    assert refusal["message"] == "a stream stands alone"
    assert refusal["extensions"]["hint"].startswith("give each _stream field a subscription of its own")

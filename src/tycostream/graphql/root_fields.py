"""The root fields of a source, as Hasura has them, and its change feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphql import GraphQLArgument, GraphQLField

from tycostream.graphql.feed_types import feed_field
from tycostream.graphql.plan import Mode
from tycostream.graphql.stream_types import stream_field
from tycostream.rows import Column

if TYPE_CHECKING:
    from tycostream.graphql.source_types import SourceTypes


def root_field(of: SourceTypes, mode: Mode) -> GraphQLField:
    """A field of its own, which can be given a name and a description."""
    types = of.shared
    match mode:
        case Mode.LIST:
            rows = types.required(types.list_of(of.row))
            return GraphQLField(rows, of.arguments, description=f'fetch data from the table: "{of.table}"')
        case Mode.AGGREGATE:
            return GraphQLField(
                types.required(of.object_type("_aggregate")),
                of.arguments,
                description=f'fetch aggregated fields from the table: "{of.table}"',
            )
        case Mode.BY_PK:
            return GraphQLField(
                of.row,
                {column.field: _key_argument(of, column) for column in of.key},
                description=f'fetch data from the table: "{of.table}" using primary key columns',
            )
        case Mode.STREAM:
            return stream_field(of)
        case Mode.CHANGES:
            return feed_field(of)


def _key_argument(of: SourceTypes, column: Column) -> GraphQLArgument:
    return of.shared.argument(of.shared.required(of.shared.output(column.scalar)), column.comment)

"""``T_stream`` in the schema: the field, and the types of its cursor, as Hasura has them."""

from __future__ import annotations

from typing import Final

from graphql import (
    DirectiveLocation,
    GraphQLArgument,
    GraphQLDirective,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
)

from tycostream.graphql.shared_types import Types
from tycostream.rows import RowType

NOW: Final = GraphQLDirective(
    "now",
    [DirectiveLocation.FIELD],
    description="of a stream: leave out the rows as they are, and begin with what happens from now on",
)


def stream_field(
    row_type: RowType, row: GraphQLObjectType, where: GraphQLArgument, types: Types
) -> GraphQLField | None:
    """The field; None if the source has no column with an order to go by."""
    name = row_type.source
    columns = sorted(
        (column for column in row_type.columns if "_gt" in column.scalar.operators),
        key=lambda column: column.field,
    )
    if not columns:
        return None
    value = GraphQLInputObjectType(
        f"{name}_stream_cursor_value_input",
        {
            column.field: GraphQLInputField(types.output(column.scalar), description=column.comment)
            for column in columns
        },
        description="Initial value of the column from where the streaming should start",
    )
    cursor = GraphQLInputObjectType(
        f"{name}_stream_cursor_input",
        {
            "initial_value": GraphQLInputField(
                GraphQLNonNull(value), description="Stream column input with initial value"
            ),
            "ordering": GraphQLInputField(types.cursor_ordering, description="cursor ordering"),
        },
        description=f'Streaming cursor of the table "{name}"',
    )
    return GraphQLField(
        GraphQLNonNull(GraphQLList(GraphQLNonNull(row))),
        {
            "batch_size": GraphQLArgument(
                GraphQLNonNull(GraphQLInt), description="maximum number of rows returned in a single batch"
            ),
            "cursor": GraphQLArgument(
                GraphQLNonNull(GraphQLList(cursor)),
                description="cursor to stream the results returned by the query",
            ),
            "where": where,
        },
        description=f'fetch data from the table in a streaming manner: "{types.table(row_type)}"',
    )

"""``T_stream`` in the schema: the field, and the types of its cursor, as Hasura has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from graphql import DirectiveLocation, GraphQLDirective, GraphQLField, GraphQLInt, GraphQLNamedType

from tycostream.graphql.typed import InputType

if TYPE_CHECKING:
    from tycostream.graphql.source_types import SourceTypes

NOW: Final = GraphQLDirective(
    "now",
    [DirectiveLocation.FIELD],
    description="of a stream: leave out the rows as they are, and begin with what happens from now on",
)


def cursors(of: SourceTypes) -> dict[str, Callable[[], GraphQLNamedType]]:
    """What makes the types of a stream's cursor, by name."""
    return {
        f"{of.name}_stream_cursor_input": lambda: _cursor(of),
        f"{of.name}_stream_cursor_value_input": lambda: _value(of),
    }


def stream_field(of: SourceTypes) -> GraphQLField:
    """The root field, of a source with a column whose type has an order to go by."""
    types = of.shared
    cursor = types.required(types.optional_list(of.input_type("_stream_cursor_input")))
    return GraphQLField(
        types.required(types.list_of(of.row)),
        {
            "batch_size": types.argument(
                types.required(GraphQLInt), "maximum number of rows returned in a single batch"
            ),
            "cursor": types.argument(cursor, "cursor to stream the results returned by the query"),
            "where": of.where,
        },
        description=f'fetch data from the table in a streaming manner: "{of.table}"',
    )


def _value(of: SourceTypes) -> InputType:
    types = of.shared
    return InputType(
        f"{of.name}_stream_cursor_value_input",
        lambda: {
            column.field: types.input_field(types.output(column.scalar), column.comment)
            for column in of.ordered
        },
        "Initial value of the column from where the streaming should start",
    )


def _cursor(of: SourceTypes) -> InputType:
    types = of.shared
    return InputType(
        f"{of.name}_stream_cursor_input",
        lambda: {
            "initial_value": types.input_field(
                types.required(of.input_type("_stream_cursor_value_input")),
                "Stream column input with initial value",
            ),
            "ordering": types.input_field(types.cursor_ordering, "cursor ordering"),
        },
        f'Streaming cursor of the table "{of.name}"',
    )

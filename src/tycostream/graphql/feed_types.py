"""``T_changes`` in the schema: the field, and the types of its sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphql import GraphQLArgument, GraphQLBoolean, GraphQLField, GraphQLNamedType, GraphQLString

from tycostream.graphql.typed import ObjectType

if TYPE_CHECKING:
    from tycostream.graphql.source_types import SourceTypes


def sets(of: SourceTypes) -> dict[str, Callable[[], GraphQLNamedType]]:
    """What makes the types of a change feed, by name."""
    return {
        f"{of.name}_change": lambda: _change(of),
        f"{of.name}_change_set": lambda: _change_set(of),
        f"{of.name}_old": lambda: _old(of),
    }


def feed_field(of: SourceTypes) -> GraphQLField:
    """The root field."""
    return GraphQLField(
        of.shared.required(of.object_type("_change_set")),
        {
            "after": of.shared.argument(GraphQLString, "resume after this cursor"),
            "snapshot": GraphQLArgument(
                GraphQLBoolean, default_value=True, description="begin with the rows as they are"
            ),
            "where": of.where,
        },
        description=f'a snapshot of the table: "{of.table}", then every change',
    )


def _old(of: SourceTypes) -> ObjectType:
    return ObjectType(
        f"{of.name}_old",
        lambda: {
            column.field: of.column_field(column, of.shared.column(column), None) for column in of.columns
        },
        f'a row of "{of.table}" before a change; a type of its own, so that caches keep the present row',
    )


def _change(of: SourceTypes) -> ObjectType:
    types = of.shared

    def fields() -> dict[str, GraphQLField]:
        return {
            "changed": types.field(
                types.required(types.list_of(of.select_column)),
                "the columns that an update changed, selected or not",
            ),
            "old": types.field(of.object_type("_old"), "the row before the change; null for an insert"),
            "operation": types.field(
                types.required(types.operation), "what happened, as far as this client can see"
            ),
            "row": types.field(of.row, "the row after the change; null for a delete"),
        }

    return ObjectType(f"{of.name}_change", fields, f'what happened to one row of "{of.table}"')


def _change_set(of: SourceTypes) -> ObjectType:
    types = of.shared

    def fields() -> dict[str, GraphQLField]:
        truth = types.required(GraphQLBoolean)
        changes = types.required(types.list_of(of.object_type("_change")))
        return {
            "changes": types.field(changes, "each row once"),
            "complete": types.field(truth, "false on all but the last part of a large set"),
            "cursor": types.field(
                GraphQLString, "pass it as `after` to resume exactly here; null until ready"
            ),
            "phase": types.field(types.required(types.phase), "where this set stands in its feed"),
            "resync": types.field(truth, "true for the net of a gap in the upstream's history"),
        }

    return ObjectType(f"{of.name}_change_set", fields, "a whole transaction, or the net of several")

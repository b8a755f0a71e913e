"""The GraphQL schema of a configuration: Hasura v2's names and shapes, and one change feed per source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from graphql import (
    DirectiveLocation,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDirective,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    print_schema,
    specified_directives,
)

from tycostream.auth.permissions import Permission
from tycostream.config.model import SourceConfig
from tycostream.dataflow.aggregate import MEANS, offered
from tycostream.graphql.aggregate_types import COUNT
from tycostream.graphql.lazy_schema import LazySchema
from tycostream.graphql.plan import Mode
from tycostream.graphql.relationship_types import Related
from tycostream.graphql.relationships import Relationships, resolved
from tycostream.graphql.roles import permitted
from tycostream.graphql.shared_types import Types, described_enum
from tycostream.graphql.source_types import EVERYTHING, Shown, SourceTypes
from tycostream.graphql.stream_types import NOW
from tycostream.rows import RowType

_STRATEGIES: Final = {
    "debounce": "after so many quiet milliseconds, at the latest after ten times as many",
    "throttle": "the first change at once, then at most one set in so many milliseconds",
    "window": "at the end of every window of so many milliseconds; the cheapest",
}
NO_SOURCES: Final[Mapping[str, SourceConfig]] = MappingProxyType({})


def build_schema(
    row_types: Sequence[RowType],
    *,
    sources: Mapping[str, SourceConfig] = NO_SOURCES,
    stringify_numbers: bool = False,
    permissions: Mapping[str, Permission] | None = None,
    relationships: Relationships | None = None,
) -> LazySchema:
    """The schema of all sources, whose types are made when they are asked for.

    ``stringify_numbers`` changes values, not types: as in Hasura.
    ``sources``: what the configuration says of them, by name; a source that is not there has nothing said of it.
    ``permissions``: what a role sees, by source: the rest is not there. None: everything.
    ``relationships``: those of all sources, if somebody has resolved them already.
    """
    shared = Types(sources)
    if relationships is None:
        relationships, _ = resolved(sources, {row_type.source: row_type for row_type in row_types})
    if permissions is not None:
        row_types = [
            permissions[each.source].narrowed(each) for each in row_types if each.source in permissions
        ]
        relationships = permitted(relationships, permissions)
    made: dict[str, SourceTypes] = {}
    related = Related(relationships, made)
    for row_type in row_types:
        shown = EVERYTHING if permissions is None else _shown(permissions[row_type.source])
        made[row_type.source] = SourceTypes(row_type, shared, related, shown)
    share = _share(made.values(), shared)
    shared.refuse_clashes(made)
    return LazySchema(made, share, [*specified_directives, *_directives()])


def presentable(row_type: RowType) -> LazySchema:
    """The schema of a source alone, looked at in all its parts: what it shows it can show beside others too.

    TycoError, GraphQLError, TypeError or ValueError if GraphQL cannot have one of its columns as it is.
    """
    schema = build_schema([row_type])
    for each in schema.sources[row_type.source].values():
        if isinstance(each, GraphQLEnumType):
            _ = each.values  # made when they are asked for
        elif isinstance(each, GraphQLObjectType | GraphQLInputObjectType):
            _ = each.fields
    return schema


def _shown(permission: Permission) -> Shown:
    return Shown(permission.aggregate, permission.query_roots, permission.subscription_roots)


def _share(sources: Iterable[SourceTypes], shared: Types) -> dict[str, GraphQLNamedType]:
    """The types that the sources lead to and are none of theirs.

    At once: what is wrong with a column's type must not come out of graphql-core, in the midst of somebody's request.
    """
    enums: list[GraphQLNamedType] = []
    looked_at: set[tuple[int, int]] = set()  # a thousand sources have a dozen of them
    for source in sources:
        for column in source.row_type.columns:
            kind = id(column.scalar), id(column.document)
            if kind not in looked_at:
                looked_at.add(kind)
                shared.column(column)
                shared.comparison(column.scalar)
        if source.ordered or source.compared:
            enums.append(shared.order_by)
        if source.compared:
            shared.comparison(COUNT)
        if source.aggregated and any(offered(MEANS[0], column.scalar) for column in source.row_type.columns):
            shared.built_in("Float")
        if Mode.STREAM in source.roots:
            enums.append(shared.cursor_ordering)
        if Mode.CHANGES in source.roots:
            enums += (shared.phase, shared.operation)
    return shared.named | {enum.name: enum for enum in enums}


def _directives() -> list[GraphQLDirective]:
    strategy = described_enum("coalesce_strategy", "how @coalesce spends its milliseconds", _STRATEGIES)
    return [
        GraphQLDirective(
            "coalesce",
            [DirectiveLocation.SUBSCRIPTION, DirectiveLocation.FIELD],
            {
                "ms": GraphQLArgument(
                    GraphQLNonNull(GraphQLInt), description="the least time between two sets"
                ),
                "strategy": GraphQLArgument(strategy, default_value="throttle"),
            },
            description="send the net of what happened, not every change",
        ),
        # What is answered from memory needs no cache of answers; clients that ask for one are answered all the same.
        GraphQLDirective(
            "cached",
            [DirectiveLocation.QUERY],
            {
                "refresh": GraphQLArgument(
                    GraphQLNonNull(GraphQLBoolean),
                    default_value=False,
                    description="refresh the cache entry",
                ),
                "ttl": GraphQLArgument(
                    GraphQLNonNull(GraphQLInt), default_value=60, description="measured in seconds"
                ),
            },
            description="whether this query should be cached",
        ),
        NOW,
        GraphQLDirective(
            "_multiple_top_level_fields",
            [DirectiveLocation.SUBSCRIPTION],
            description="allow several root fields in this subscription",
        ),
    ]


def print_sdl(schema: GraphQLSchema) -> str:
    """The schema in GraphQL's own language."""
    return print_schema(schema)

"""The GraphQL schema of a configuration: Hasura v2's names and shapes, and one change feed per source."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from graphql import (
    DirectiveLocation,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDirective,
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    print_schema,
    specified_directives,
)

from tycostream.auth.permissions import Permission
from tycostream.config.model import SourceConfig
from tycostream.graphql.naming import SUBSCRIPTIONS_ONLY, named, root_key, root_of
from tycostream.graphql.plan import Mode
from tycostream.graphql.relationship_types import RelationshipTypes, SourceTypes
from tycostream.graphql.relationships import Relationships, resolved
from tycostream.graphql.roles import permitted
from tycostream.graphql.shared_types import Types, described_enum
from tycostream.graphql.source_types import column_arguments, source_types
from tycostream.graphql.stream_types import NOW, stream_field
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
) -> GraphQLSchema:
    """The schema of all sources. ``stringify_numbers`` changes values, not types: as in Hasura.

    ``sources``: what the configuration says of them, by name; a source that is not there has nothing said of it.
    ``permissions``: what a role sees, by source: the rest is not there. None: everything.
    """
    with _no_collection():
        return _built(row_types, sources, permissions)


@contextmanager
def _no_collection() -> Iterator[None]:
    """A thousand sources are forty thousand types: a collector that walks over them again and again costs as much."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _built(
    row_types: Sequence[RowType],
    sources: Mapping[str, SourceConfig],
    permissions: Mapping[str, Permission] | None,
) -> GraphQLSchema:
    types = Types(sources)
    relationships: Relationships
    relationships, _ = resolved(sources, {row_type.source: row_type for row_type in row_types})
    if permissions is not None:
        row_types = [
            permissions[each.source].narrowed(each) for each in row_types if each.source in permissions
        ]
        relationships = permitted(relationships, permissions)
    related = RelationshipTypes(relationships)
    subscription: dict[str, GraphQLField] = {}
    query: dict[str, GraphQLField] = {}
    for row_type in row_types:
        permission = None if permissions is None else permissions[row_type.source]
        aggregate = permission is None or permission.aggregate
        mine = source_types(row_type, types, related, aggregate=aggregate)
        related.sources[row_type.source] = mine
        for name, field in named(types.source(row_type), _root_fields(row_type, types, mine)).items():
            mode = root_of(field).mode
            if permission is None or root_key(mode) in permission.subscription_roots:
                subscription[name] = field
            if mode not in SUBSCRIPTIONS_ONLY and (
                permission is None or root_key(mode) in permission.query_roots
            ):
                query[name] = field
    for row_type in row_types:
        types.refuse_clash(row_type)
    if not query:
        query = {"no_queries_available": GraphQLField(GraphQLNonNull(GraphQLString))}
    directives = [*specified_directives, *_directives()]
    schema = GraphQLSchema(
        GraphQLObjectType("query_root", dict(sorted(query.items()))),
        subscription=GraphQLObjectType("subscription_root", dict(sorted(subscription.items())))
        if subscription
        else None,
        # named one by one, they are not found one within the other: a thousand tables in a row are no recursion
        types=[each for mine in related.sources.values() for each in mine.linked],
        directives=directives,
    )
    # Hasura introspects in the order of names; sorting the map costs nothing, lexicographic_sort_schema a second schema
    schema.type_map = dict(sorted(schema.type_map.items()))
    return schema


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


def _root_fields(row_type: RowType, types: Types, mine: SourceTypes) -> dict[Mode, GraphQLField]:
    """The root fields of a source."""
    table = types.table(row_type)
    fields = {
        Mode.LIST: GraphQLField(
            GraphQLNonNull(GraphQLList(GraphQLNonNull(mine.row))),
            mine.arguments,
            description=f'fetch data from the table: "{table}"',
        ),
    }
    if mine.aggregate is not None:
        fields[Mode.AGGREGATE] = GraphQLField(
            GraphQLNonNull(mine.aggregate),
            mine.arguments,
            description=f'fetch aggregated fields from the table: "{table}"',
        )
    # where equality is not ours to decide, a key cannot be looked up
    if row_type.keyed and all("_eq" in row_type.columns[i].scalar.operators for i in row_type.key):
        fields[Mode.BY_PK] = GraphQLField(
            mine.row,
            {
                row_type.columns[i].field: GraphQLArgument(
                    GraphQLNonNull(types.output(row_type.columns[i].scalar)),
                    description=row_type.columns[i].comment,
                )
                for i in sorted(row_type.key, key=lambda i: row_type.columns[i].field)
            },
            description=f'fetch data from the table: "{table}" using primary key columns',
        )
    stream = stream_field(row_type, mine.row, mine.arguments["where"], types)
    if stream is not None:
        fields[Mode.STREAM] = stream
    fields[Mode.CHANGES] = _feed_field(row_type, mine.row, mine.arguments["where"], types)
    return fields


def _feed_field(
    row_type: RowType, row: GraphQLObjectType, where: GraphQLArgument, types: Types
) -> GraphQLField:
    name, table = row_type.source, types.table(row_type)
    columns = sorted(row_type.columns, key=lambda column: column.field)
    old = GraphQLObjectType(
        f"{name}_old",
        {column.field: GraphQLField(types.column(column), column_arguments(column)) for column in columns},
        description=f'a row of "{table}" before a change; a type of its own, so that caches keep the present row',
    )
    select_column = types.select_column(row_type)
    boolean = GraphQLNonNull(GraphQLBoolean)
    change = GraphQLObjectType(
        f"{name}_change",
        {
            "changed": GraphQLField(
                GraphQLNonNull(GraphQLList(GraphQLNonNull(select_column))),
                description="the columns that an update changed, selected or not",
            ),
            "old": GraphQLField(old, description="the row before the change; null for an insert"),
            "operation": GraphQLField(
                GraphQLNonNull(types.operation), description="what happened, as far as this client can see"
            ),
            "row": GraphQLField(row, description="the row after the change; null for a delete"),
        },
        description=f'what happened to one row of "{table}"',
    )
    change_set = GraphQLObjectType(
        f"{name}_change_set",
        {
            "changes": GraphQLField(
                GraphQLNonNull(GraphQLList(GraphQLNonNull(change))), description="each row once"
            ),
            "complete": GraphQLField(boolean, description="false on all but the last part of a large set"),
            "cursor": GraphQLField(
                GraphQLString, description="pass it as `after` to resume exactly here; null until ready"
            ),
            "phase": GraphQLField(
                GraphQLNonNull(types.phase), description="where this set stands in its feed"
            ),
            "resync": GraphQLField(
                boolean, description="true for the net of a gap in the upstream's history"
            ),
        },
        description="a whole transaction, or the net of several",
    )
    return GraphQLField(
        GraphQLNonNull(change_set),
        {
            "after": GraphQLArgument(GraphQLString, description="resume after this cursor"),
            "snapshot": GraphQLArgument(
                GraphQLBoolean, default_value=True, description="begin with the rows as they are"
            ),
            "where": where,
        },
        description=f'a snapshot of the table: "{table}", then every change',
    )


def print_sdl(schema: GraphQLSchema) -> str:
    """The schema in GraphQL's own language."""
    return print_schema(schema)

"""A schema whose types are made when somebody asks for them.

A thousand sources have fifty thousand types, and a server's documents name a few dozen of them. graphql-core finds the
types of a schema by walking over all fields; here each source says which types it has, and a type is made when it is
looked up by its name or led to by a field. Whoever lists all types (introspection, the SDL) has all of them made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, cast

from graphql import (
    GraphQLDirective,
    GraphQLField,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
)

from tycostream.config.schema_names import owners
from tycostream.graphql.plan import Mode
from tycostream.graphql.source_types import SourceTypes

NO_QUERIES: Final = "no_queries_available"  # the only field of queries for who sees nothing


class LazySchema(GraphQLSchema):
    """The schema of ``sources`` and of the types that they ``share``.

    What graphql-core's constructor would find by walking is set afterwards: its root types and its map of types, public
    attributes both. There are no interfaces and unions, of which it would keep account. That all of it is valid is
    looked at source by source, when each is described: ``validate_schema`` over a thousand takes most of a second.
    """

    def __init__(
        self,
        sources: Mapping[str, SourceTypes],
        share: Mapping[str, GraphQLNamedType],
        directives: Collection[GraphQLDirective],
    ) -> None:
        super().__init__(directives=directives, assume_valid=True)
        self.sources = sources
        self.shared = share
        query = _RootFields(sources, SourceTypes.query_fields)
        subscription = _RootFields(sources, SourceTypes.subscription_fields)
        self.query_type = _RootType("query_root", query if query else {NO_QUERIES: _no_query()})
        self.subscription_type = _RootType("subscription_root", subscription) if subscription else None
        roots = [root for root in (self.query_type, self.subscription_type) if root is not None]
        fixed = {**self.type_map, **share, **{root.name: root for root in roots}}
        self._types = _TypeMap(fixed, sources)
        self.type_map = cast("dict[str, GraphQLNamedType]", self._types)

    def gathered(self) -> Iterator[None]:
        """Learn source by source which types and root fields there are, so that to list them is short."""
        for source in self._types.gathered():
            for mode in source.roots:
                source.root(mode)
            yield


def _no_query() -> GraphQLField:
    return GraphQLField(GraphQLNonNull(GraphQLString))


class _TypeMap(Mapping[str, GraphQLNamedType]):
    """All types by name, in the order of their names, as Hasura introspects."""

    def __init__(self, fixed: Mapping[str, GraphQLNamedType], sources: Mapping[str, SourceTypes]) -> None:
        self._fixed = fixed
        self._sources = sources
        self._owners: dict[
            str, Mapping[str, GraphQLNamedType]
        ] = {}  # of each type, of sources so far gathered
        self._names: list[str] | None = None

    def _owner(self, name: str) -> Mapping[str, GraphQLNamedType] | None:
        if name in self._fixed:
            return self._fixed
        for owner in owners(name):
            if owner in self._sources and name in self._sources[owner]:
                return self._sources[owner]
        return None

    def __getitem__(self, name: str) -> GraphQLNamedType:
        owner = self._owners.get(name) or self._owner(name)
        if owner is None:
            raise KeyError(name)
        return owner[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._owner(name) is not None

    def gathered(self) -> Iterator[SourceTypes]:
        """All names, source by source."""
        if self._names is None:
            self._owners |= dict.fromkeys(self._fixed, self._fixed)
            for source in self._sources.values():
                self._owners |= dict.fromkeys(source, source)
                yield source
            self._names = sorted(self._owners)

    def _all(self) -> list[str]:
        for _ in self.gathered():
            pass
        assert self._names is not None
        return self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _RootFields(Mapping[str, GraphQLField]):
    """The root fields of all sources, in the order of their names."""

    def __init__(
        self, sources: Mapping[str, SourceTypes], fields_of: Callable[[SourceTypes], dict[str, Mode]]
    ) -> None:
        found = [(name, each, mode) for each in sources.values() for name, mode in fields_of(each).items()]
        self._fields = {name: (each, mode) for name, each, mode in sorted(found, key=lambda field: field[0])}

    def __getitem__(self, name: str) -> GraphQLField:
        source, mode = self._fields[name]
        return source.root(mode)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class _RootType(GraphQLObjectType):
    """An object type of whose fields each is made when it is asked for."""

    fields: Any = None  # graphql-core asks it as a mapping, and for nothing that only a dict could do

    def __init__(self, name: str, fields: Mapping[str, GraphQLField]) -> None:
        super().__init__(name, fields)
        self.fields = fields

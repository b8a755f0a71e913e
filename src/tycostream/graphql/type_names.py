"""Which source brought which type names into the schema: databases name the types of columns, and may disagree.

Two databases, or two schemas of one, may each have an enum ``mood`` with labels of its own, and one may call a type as
the configuration calls a source of another. One schema cannot hold both. Found when the whole schema is built, it
would be the failure of everybody; here it is that of the source that was described later.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphql import GraphQLNamedType, GraphQLSchema

from tycostream.errors import TycoError
from tycostream.graphql.shared_types import LABELS

# What two types of one name must agree in. Inputs and objects are made of scalars, sources and `types:`, whose names
# the configuration has made sure of.
_Signature = tuple[str, tuple[str, ...]]


class TypeNames:
    """The types of the sources that are shown, by name."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, _Signature]] = {}  # source → its types
        self._owners: dict[str, dict[str, None]] = {}  # type → the sources that have it, in order

    def claim(self, source: str, schema: GraphQLSchema) -> None:
        """Take note of a source's types, in place of those that it had; ``schema`` is of it alone.

        TycoError if another source has a type of one of these names that is another one; nothing has changed then.
        """
        roots = (schema.query_type, schema.subscription_type)
        mine = {name: _signature(each) for name, each in schema.type_map.items() if each not in roots}
        for name, signature in mine.items():
            other = next((owner for owner in self._owners.get(name, ()) if owner != source), None)
            if other is not None and self._of[other][name] != signature:
                raise _clash(name, source, other, signature, self._of[other][name])
        self.release(source)
        self._of[source] = mine
        for name in mine:
            self._owners.setdefault(name, {})[source] = None

    def release(self, source: str) -> None:
        """The source is not shown any more."""
        for name in self._of.pop(source, ()):
            del self._owners[name][source]

    def release_types(self, names: Iterable[str]) -> None:
        """These types are others from now on; the sources that have them are about to claim them anew."""
        for name in names:
            for source in self._owners.pop(name, ()):
                del self._of[source][name]


def _signature(named: GraphQLNamedType) -> _Signature:
    return type(named).__name__, tuple(named.extensions.get(LABELS, ()))


def _clash(name: str, source: str, other: str, mine: _Signature, its: _Signature) -> TycoError:
    if mine[0] == its[0]:
        return TycoError(
            "enum-ambiguous",
            f"sources {other} and {source} have enums called {name!r} with different labels",
            detail=f"of {other}: {', '.join(its[1])}; of {source}: {', '.join(mine[1])}",
            hint=f"name the labels of one of them in `enums:`, under a name of its own, and give the column of {source} "
            f"that name in `columns:`",
        )
    return TycoError(
        "type-name-taken",
        f"the type {name!r} of source {source} is another one in source {other}",
        hint="give one of the columns another type in `columns:`, or rename the source that is called like the type",
    )

"""What one operation's session may see of the rows: the ONE place where permissions come into a plan.

Whatever reads rows of a source for a user asks here: roots, nested rows, conditions and orders through relationships,
aggregates. What is not asked for is not bound, so a plan's key holds the variables that its predicates read and no others:
users who may see the same share a cohort.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tycostream.auth.permissions import Permission
from tycostream.auth.session import Session
from tycostream.dataflow.order import OrderBy, OrderVia, Term, total
from tycostream.dataflow.predicate import TRUE, Predicate, conjunction, either
from tycostream.dataflow.relation import Aggregate, Masked, Veil
from tycostream.dataflow.veil import beyond_row, through, veil_of
from tycostream.graphql.conditions import condition
from tycostream.graphql.source import Source
from tycostream.rows import RowType


@dataclass(frozen=True, slots=True)
class Permits:
    """The permissions of a role by source (None: it is admin, who sees everything), and all sources.

    ``whole``: what conditions of permissions are about, whether the role sees it or not.
    """

    permissions: Mapping[str, Permission] | None
    whole: Mapping[str, Source]


class Rights:
    """The rights of one session, whose role ``permits`` are."""

    def __init__(self, permits: Permits, session: Session) -> None:
        self._permissions, self._whole = permits.permissions, permits.whole
        self._session = session
        self.variables: dict[str, str] = {}  # those of the session that were read, with their texts
        self._conditions: dict[str, tuple[Predicate, ...]] = {}
        self._veils: dict[str, dict[int, Predicate]] = {}

    def _granted(self, name: str, permission: Permission) -> tuple[Predicate, ...]:
        """The condition of each grant."""
        if name not in self._conditions:
            source = self._whole[name]
            self._conditions[name] = tuple(
                condition(source, grant.where, self._session, self.variables) for grant in permission.grants
            )
        return self._conditions[name]

    def filter(self, source: Source) -> Predicate | None:
        """What rows of ``source`` must satisfy to be seen; None: nothing. RequestError if a variable is missing."""
        if self._permissions is None:
            return None
        name = source.row_type.source
        found = either(self._granted(name, self._permissions[name]))
        return None if found == TRUE else found

    def _veil(self, source: Source) -> dict[int, Predicate]:
        """Of the columns whose cells are not seen in all rows in sight: in which rows they are."""
        if self._permissions is None:
            return {}
        name = source.row_type.source
        if name not in self._veils:
            permission = self._permissions[name]
            conditions = self._granted(name, permission) if permission.masked else ()
            in_sight = either(conditions)
            seen = {
                place: either(
                    each
                    for grant, each in zip(permission.grants, conditions, strict=True)
                    if place in grant.visible
                )
                for place in permission.masked
            }
            self._veils[name] = {place: each for place, each in seen.items() if each not in (in_sight, TRUE)}
        return self._veils[name]

    def veil(self, source: Source, places: Iterable[int]) -> Veil:
        """The veil over these columns."""
        veil = self._veil(source)
        return tuple((place, veil[place]) for place in sorted({*places} & veil.keys()))

    def rows(self, source: Source, asked: Predicate) -> Predicate:
        """Of the rows that are asked for, as they are seen, those that can be seen."""
        seen, veil = self.filter(source), self._veil(source)
        if veil:
            asked = through(asked, veil)
        return asked if seen is None else conjunction([seen, asked])

    def cell(self, source: Source, place: int) -> int | Masked:
        """A column's cell, as far as it is seen."""
        veil = self._veil(source)
        return Masked(place, veil[place]) if place in veil else place

    def aggregate(self, source: Source, aggregate: Aggregate) -> Aggregate:
        """An aggregate over rows, as far as their cells are seen."""
        veil = self.veil(source, aggregate.columns)
        return replace(aggregate, veil=veil) if veil else aggregate

    def at_most(self, source: Source, limit: int | None) -> int | None:
        """The limit of a list of which ``limit`` rows are asked for (None: all)."""
        most = None if self._permissions is None else self._permissions[source.row_type.source].limit
        return min((each for each in (limit, most) if each is not None), default=None)

    def alike(self, source: Source) -> tuple[int, ...] | None:
        """The places of all that may be told, where rows have no key that may be: equal ones are then the same row."""
        row_type = source.row_type
        if self._permissions is None:
            return None if row_type.keyed else source.visible
        return None if self._permissions[row_type.source].knows_key(row_type) else source.visible

    def settled(self, source: Source, order: tuple[Term, ...]) -> tuple[Term, ...]:
        """An order in which no two rows change places by what cannot be seen, unless they look alike.

        Where the key cannot be seen, whatever can be comes before it.
        """
        seen = None if self._permissions is None else self.alike(source)
        if seen is None:
            return order
        columns = source.row_type.columns
        places = [place for place in seen if "_gt" in columns[place].scalar.operators]
        return tuple(dict.fromkeys((*order, *(ordered(self.cell(source, place)) for place in places))))

    def noticed(
        self, source: Source, order: tuple[Term, ...], specs: Iterable[Aggregate]
    ) -> tuple[Term, ...]:
        """The order of rows, in which a row's place is another one whenever other cells of it are seen.

        For aggregates over a window of rows: who arranges them looks at nothing else. Only what other sources decide
        needs it, and it comes behind the key, so that it decides nothing.
        """
        veil = [item for item in veil_of(tuple(specs)) if beyond_row((item,))]
        if not veil:
            return order
        whole = total(order, source.row_type)
        return tuple(dict.fromkeys((*whole, *(ordered(Masked(place, seen)) for place, seen in veil))))

    def row_type(self, name: str) -> RowType:
        """Of a source that a plan reads: of one too that only the condition of a permission reads."""
        return self._whole[name].row_type


def ordered(cell: int | Masked) -> Term:
    """A row's own cell as a term of an order, upwards."""
    return OrderVia(cell) if isinstance(cell, Masked) else OrderBy(cell)

"""What one operation's session may see of the rows: the ONE place where permissions come into a plan.

Whatever reads rows of a source for a user asks here: roots, nested rows, conditions and orders through relationships,
aggregates. What is not asked for is not bound, so a plan's key holds the variables that its predicates read and no others:
users who may see the same share a cohort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tycostream.auth.permissions import Permission
from tycostream.auth.session import Session
from tycostream.dataflow.predicate import TRUE, Predicate, conjunction
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
        self._filters: dict[str, Predicate] = {}
        self.variables: dict[str, str] = {}  # those of the session that were read, with their texts

    def filter(self, source: Source) -> Predicate | None:
        """What rows of ``source`` must satisfy to be seen; None: nothing. RequestError if a variable is missing."""
        if self._permissions is None:
            return None
        name = source.row_type.source
        if name not in self._filters:
            where = self._permissions[name].where
            self._filters[name] = condition(self._whole[name], where, self._session, self.variables)
        found = self._filters[name]
        return None if found == TRUE else found

    def rows(self, source: Source, asked: Predicate) -> Predicate:
        """Of the rows that are asked for those that can be seen."""
        seen = self.filter(source)
        return asked if seen is None else conjunction([seen, asked])

    def at_most(self, source: Source, limit: int | None) -> int | None:
        """The limit of a list of which ``limit`` rows are asked for (None: all)."""
        most = None if self._permissions is None else self._permissions[source.row_type.source].limit
        return min((each for each in (limit, most) if each is not None), default=None)

    def row_type(self, name: str) -> RowType:
        """Of a source that a plan reads: of one too that only the condition of a permission reads."""
        return self._whole[name].row_type

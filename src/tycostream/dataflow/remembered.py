"""What joins lead to, found once for each value: what many rows ask of the same related rows is computed for the first.

Without it ``where: {trades: {instrument: {trades: {…}}}}`` multiplies the sizes of groups, level by level: four levels
of 250 rows are 60 million looks for each of the outermost rows. With it they add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from weakref import WeakSet

from tycostream.dataflow.relation import Value
from tycostream.dataflow.store import Store

_Found = TypeVar("_Found")
ENTRIES_MAX: Final = 2**20  # of all conditions and orders together: about 100 MB


class _Entries(dict[Value, Any]):
    """What was found, true of the stores at ``moment``."""

    __slots__ = ("__weakref__", "moment")

    def __init__(self) -> None:
        super().__init__()
        self.moment = -1

    __hash__ = object.__hash__  # type: ignore[assignment]


class Remembered:
    """Makes functions of a join's value remember, until a store that they read changes. ``entries_max`` bounds all of them."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._all: WeakSet[_Entries] = WeakSet()
        self._held = 0  # with those of functions that are gone: then all forget a little sooner
        self._entries_max = entries_max

    def __call__(self, find: Callable[[Value], _Found], stores: Sequence[Store]) -> Callable[[Value], _Found]:
        """``find``, which reads ``stores`` and nothing else."""
        entries = _Entries()
        self._all.add(entries)

        def remembered(value: Value) -> _Found:
            moment = 0
            for store in stores:
                moment += store.version  # each only grows: so does the sum, if any of them does
            if moment != entries.moment:
                self._held -= len(entries)
                entries.clear()
                entries.moment = moment
            if value in entries:
                found: _Found = entries[value]
                return found
            found = find(value)
            if self._held >= self._entries_max:
                self._forget()
            self._held += 1
            entries[value] = found
            return found

        return remembered

    def _forget(self) -> None:
        for entries in self._all:
            entries.clear()
        self._held = 0

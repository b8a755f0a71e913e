"""A window of a source's rows in a total order, kept current change by change."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from tycostream.dataflow.order import OrderBy, SortKey, compile_order
from tycostream.dataflow.predicate import Predicate, compile_predicate, equality
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Key, Row


class View:
    """The rows of ``store`` that satisfy ``predicate``, ordered, and a window [offset, offset + limit) of them.

    ``hydrate`` computes it from the store; ``push`` follows a batch. The two agree: that is the property test.
    """

    def __init__(
        self,
        store: Store,
        predicate: Predicate,
        order: tuple[OrderBy, ...] = (),
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> None:
        self._store = store
        self._predicate = predicate
        self._match = compile_predicate(predicate)
        self._sort_key = compile_order(order, store.row_type)
        self._start = offset
        self._end = None if limit is None else offset + limit
        self._sorts: list[SortKey] = []  # parallel to _keys: bisect then needs no key function
        self._keys: list[Key] = []

    def hydrate(self) -> None:
        """Compute the members from the store as it is."""
        sort_key = self._sort_key
        members = sorted(
            ((sort_key(key, row), key) for key, row in self._candidates()), key=lambda pair: pair[0]
        )
        self._sorts = [sort for sort, _ in members]
        self._keys = [key for _, key in members]

    def _candidates(self) -> list[tuple[Key, Row]]:
        rows, match = self._store.rows, self._match
        key = self._store.row_type.key
        if len(key) == 1 and (found := equality(self._predicate)) and found[0] == key[0]:
            # the key is given: look it up rather than scan the source
            return [(k, row) for k in found[1] if (row := rows.get(k)) is not None and match(row)]
        return [(k, row) for k, row in rows.items() if match(row)]

    def push(self, changes: Sequence[Change]) -> bool:
        """Follow changes as this view's predicate sees them; True if the window may look different now."""
        if len(changes) > 64 + len(self._keys) // 2:  # a new sort is cheaper than that many insertions
            self.hydrate()
            return True
        touched = False
        sort_key, sorts, keys = self._sort_key, self._sorts, self._keys
        for key, old, new in changes:
            was = None if old is None else sort_key(key, old)
            now = None if new is None else sort_key(key, new)
            place = None
            if was is not None:
                place = bisect_left(sorts, was)
                touched = touched or self._end is None or place < self._end
                if was == now:
                    continue
                del sorts[place], keys[place]
            if now is not None:
                place = bisect_left(sorts, now)
                sorts.insert(place, now)
                keys.insert(place, key)
                touched = touched or self._end is None or place < self._end
        return touched

    def window(self) -> list[tuple[Key, Row]]:
        """The keys and rows in the window, in order."""
        rows = self._store.rows
        return [(key, rows[key]) for key in self._keys[self._start : self._end]]

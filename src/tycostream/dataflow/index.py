"""Rows by what they have in some columns: what an equality or a join looks up instead of asking every row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from tycostream.dataflow.relation import Value, value_of
from tycostream.rows import Change, Key, Row

ROWS_PER_STEP = 10_000  # a few milliseconds
_NOTHING: Final = object()
_LONE_BYTES, _SHARED_BYTES, _ENTRY_BYTES = 110, 350, 60  # a cell of one row; of several; each row of those


class Index:
    """The keys of the rows by their values in ``columns``; NULL equals nothing and is left out.

    The value is the cell of one column, or the tuple of the cells of several.

    It is filled by ``step`` from the rows as they are *then*, and ``apply`` follows every batch meanwhile: to add what
    is there, or to remove what is not, does nothing, so the two may come in any order.
    """

    def __init__(self, columns: tuple[int, ...], rows: Mapping[Key, Row]) -> None:
        self.columns = columns
        self._value = value_of(columns)
        self.used_s = 0.0  # when it was last asked for
        self._rows = rows
        self._left = list(rows)  # keys that were not looked at
        # A cell of one row needs no container of its own: a unique column would cost a dictionary a row.
        self._lone: dict[Value, Key] = {}
        self._shared: dict[Value, dict[Key, None]] = {}
        self._entries = 0  # in the containers of _shared

    @property
    def ready(self) -> bool:
        """Whether every row is in it."""
        return not self._left

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return (
            _LONE_BYTES * len(self._lone) + _SHARED_BYTES * len(self._shared) + _ENTRY_BYTES * self._entries
        )

    def step(self) -> bool:
        """Look at some more rows; True when it is ready."""
        keys = self._left[-ROWS_PER_STEP:]
        del self._left[-ROWS_PER_STEP:]
        rows, value, add = self._rows, self._value, self._add
        for key in keys:
            row = rows.get(key)  # it may be gone by now
            if row is not None and (cell := value(row)) is not None:
                add(cell, key)
        return not self._left

    def apply(self, changes: Sequence[Change]) -> None:
        """Follow a batch: its net, one change a key."""
        value = self._value
        for key, old, new in changes:
            was = None if old is None else value(old)
            now = None if new is None else value(new)
            if was is not now and was != now:
                if was is not None:
                    self._discard(was, key)
                if now is not None:
                    self._add(now, key)

    def _add(self, cell: Value, key: Key) -> None:
        shared = self._shared.get(cell)
        if shared is not None:
            before = len(shared)
            shared[key] = None
            self._entries += len(shared) - before
            return
        there = self._lone.setdefault(cell, key)
        if there is not key and there != key:
            del self._lone[cell]
            self._shared[cell] = {there: None, key: None}
            self._entries += 2

    def _discard(self, cell: Value, key: Key) -> None:
        shared = self._shared.get(cell)
        if shared is None:
            if self._lone.get(cell, _NOTHING) == key:
                del self._lone[cell]
        elif shared.pop(key, _NOTHING) is None:
            self._entries -= 1
            if not shared:
                del self._shared[cell]

    def count(self, cells: Collection[Value]) -> int:
        """How many rows have one of these cells."""
        lone, shared = self._lone, self._shared
        return sum(len(shared[cell]) if cell in shared else cell in lone for cell in cells)

    def keys(self, cells: Collection[Value]) -> list[Key]:
        """The keys of the rows that have one of these cells."""
        found: list[Key] = []
        for cell in cells:
            if cell in self._shared:
                found += self._shared[cell]
            elif (key := self._lone.get(cell, _NOTHING)) is not _NOTHING:
                found.append(key)
        return found

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """Empty it; gives what it held, for the caller to free at leisure."""
        held: list[dict[Any, Any] | list[Any]] = [self._left, self._lone, self._shared]
        held += self._shared.values()
        self._left, self._lone, self._shared, self._entries = [], {}, {}, 0
        return held

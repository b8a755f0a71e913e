"""A source's recent batches, bounded in bytes and time: slow socket, coalescing and reconnect are one operation on it.

Sequence numbers count batches within this process; positions name them to the outside. ``net(seq)`` is what happened
since: per key, the first old row against the last new one.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast

from tycostream.rows import Cell, Change, Key, Position, Row, RowType

_SAMPLE = 8
_FIXED = "bool int2 int4 int8 uint2 uint4 uint8 mz_timestamp float4 float8 date time timestamp timestamptz"
_FLAT: Final = frozenset(_FIXED.split())  # types whose cells have one size


class Entry(NamedTuple):
    """One batch of the source, resolved."""

    seq: int
    position: Position
    changes: Sequence[Change]
    resync: bool
    at_s: float
    bytes: int


_entry: Final = cast("Callable[[tuple[Any, ...]], Entry]", partial(tuple.__new__, Entry))  # as make_change


class Log:
    """The entries in (floor, head]; older ones were dropped."""

    def __init__(self, row_type: RowType, position: Position, *, bytes_max: int, keep_s: float) -> None:
        self._size_of = _measure(row_type)
        self._entries: deque[Entry] = deque()
        self._bytes_max = bytes_max
        self._keep_s = keep_s
        self.bytes = 0
        self.head = 0
        self.floor = 0
        self.position = position  # everything up to here is in the store
        self._floor_position = position

    def append(self, position: Position, changes: Sequence[Change], *, resync: bool, now_s: float) -> Entry:
        """Add the batch at ``position`` and drop what is too old or too much."""
        self.head += 1
        size = self._bytes_of(changes)
        entry = _entry((self.head, position, changes, resync, now_s, size))
        self._entries.append(entry)
        self.bytes += size
        self.position = position
        self.evict(now_s)
        return entry

    def row_bytes(self, row: Row) -> int:
        """About how many bytes a row takes."""
        return self._size_of(row)

    def _bytes_of(self, changes: Sequence[Change]) -> int:
        """An estimate from a sample: to measure every row would cost more than applying the batch."""
        sample = changes if len(changes) <= _SAMPLE else changes[:: len(changes) // _SAMPLE]
        size_of, size = self._size_of, 0
        for _, old, new in sample:
            if old is not None:
                size += size_of(old)
            if new is not None:
                size += size_of(new)
        return len(changes) * (size // len(sample) + 120)

    def progress(self, position: Position) -> None:
        """The source did not change up to ``position``."""
        self.position = position

    def bound(self, bytes_max: int, keep_s: float, now_s: float) -> None:
        """Other bounds from now on."""
        self._bytes_max, self._keep_s = bytes_max, keep_s
        self.evict(now_s)

    def evict(self, now_s: float) -> None:
        """Drop entries over the bounds; the newest may go too, if it alone is over the bytes."""
        entries = self._entries
        while entries and (self.bytes > self._bytes_max or entries[0].at_s < now_s - self._keep_s):
            gone = entries.popleft()
            self.bytes -= gone.bytes
            self.floor = gone.seq
            self._floor_position = gone.position

    def seq_at(self, position: Position) -> int | None:
        """The sequence number that stands for ``position``; None if it is off the log or of another history."""
        if not position.comparable(self.position) or position.offset > self.position.offset:
            return None
        if position.offset < self._floor_position.offset:
            return None
        entries = self._entries
        place = bisect_right(entries, position.offset, key=lambda entry: entry.position.offset)
        return entries[place - 1].seq if place else self.floor

    def entry(self, seq: int) -> Entry:
        """The batch with this sequence number, of (floor, head]."""
        if not self.floor < seq <= self.head:
            raise LookupError(f"{seq} is not on the log: it has those after {self.floor} up to {self.head}")
        return self._entries[seq - self.head - 1]

    def net(self, seq: int) -> tuple[list[Change], bool]:
        """The net changes of (seq, head] and whether they bridge a gap. ``seq`` must not be below the floor."""
        if seq < self.floor:
            raise LookupError(f"{seq} is off the log: it starts after {self.floor}")
        count = self.head - seq
        recent = [self._entries[-i] for i in range(count, 0, -1)]
        resync = any(entry.resync for entry in recent)
        if count == 1:
            return list(recent[0].changes), resync
        first: dict[Key, Row | None] = {}
        last: dict[Key, Row | None] = {}
        for entry in recent:
            for key, old, new in entry.changes:
                if key not in first:
                    first[key] = old
                last[key] = new
        merged = [Change(key, old, last[key]) for key, old in first.items()]
        return [change for change in merged if change.old is not change.new], resync


def _measure(row_type: RowType) -> Callable[[Row], int]:
    """A function that says about how many bytes a row takes; only cells of no fixed size are looked at.

    The code holds places only, never a text of the catalogue's.
    """
    names = [column.scalar.name for column in row_type.columns]
    open_ended = [i for i, name in enumerate(names) if name not in _FLAT]
    terms = [str(56 + 40 * len(names))]
    for i in open_ended:
        # what getsizeof asks for too, but for the collector's 16 bytes, and takes three times as long to find
        array = row_type.columns[i].scalar.element is not None
        terms.append(f"array(row[{i}])" if array else f"row[{i}].__sizeof__()")
    source = f"lambda row: {'+'.join(terms)}"
    known = {"__builtins__": {}, "array": _array_bytes}
    function: Callable[[Row], int] = eval(source, known)  # noqa: S307 - our own text
    return function


def _array_bytes(cell: Cell) -> int:
    """An array's size with its elements, which getsizeof leaves out."""
    return 0 if cell is None else sum(map(sys.getsizeof, cell[0])) + 8 * len(cell[0]) + 150

"""Rows in a total order, in blocks: to add or remove one moves a block's entries, not half a million."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from tycostream.dataflow.order import SortKey
from tycostream.rows import Key, Row

BLOCK_ROWS = 1000
Entry = tuple[SortKey, Key, Row]
Spot = tuple[int, int]  # a block and a place in it; good for the blocks before it as they stand


class Members:
    """Keys and rows sorted by distinct sort keys.

    Each block is three parallel lists: bisect then needs no key function, and a window is cut out of lists. ``_lasts``
    holds the largest sort key of each block. There is always a block; only a lone one may be empty. ``_ends`` counts
    the rows up to the end of each block, once somebody asks for a place: one addition a block and batch, in C.
    """

    def __init__(self, blocks: Iterable[list[Entry]] = ()) -> None:
        """``blocks`` hold entries in order, no sort key twice, over all blocks."""
        self._sorts: list[list[SortKey]] = []
        self._keys: list[list[Key]] = []
        self._rows: list[list[Row]] = []
        self._lasts: list[SortKey] = []
        self._ends: list[int] | None = None
        for block in blocks:
            self.append_block(block)
        if not self._sorts:
            self._sorts, self._keys, self._rows, self._lasts = [[]], [[]], [[]], [()]

    def append_block(self, block: list[Entry]) -> None:
        """Add entries that come after all others."""
        if block:
            self._ends = None
            if self._sorts and not self._sorts[0]:
                self._sorts, self._keys, self._rows, self._lasts = [], [], [], []
            self._sorts.append([entry[0] for entry in block])
            self._keys.append([entry[1] for entry in block])
            self._rows.append([entry[2] for entry in block])
            self._lasts.append(block[-1][0])
            if len(block) > 2 * BLOCK_ROWS:
                self._split(len(self._sorts) - 1)

    def _counted(self) -> list[int]:
        if self._ends is None:
            self._ends = list(accumulate(map(len, self._sorts)))
        return self._ends

    def __len__(self) -> int:
        return self._counted()[-1]

    def _block(self, sort: SortKey) -> int:
        lasts = self._lasts
        if len(lasts) == 1:
            return 0
        return min(bisect_left(lasts, sort), len(lasts) - 1)

    def add(self, sort: SortKey, key: Key, row: Row) -> Spot:
        """Put a row where it belongs; gives the spot."""
        b = self._block(sort)
        sorts = self._sorts[b]
        i = bisect_left(sorts, sort)
        if i == len(sorts):
            self._lasts[b] = sort
        self._ends = None
        sorts.insert(i, sort)
        self._keys[b].insert(i, key)
        self._rows[b].insert(i, row)
        if len(sorts) > 2 * BLOCK_ROWS:
            self._split(b)
        return b, i

    def remove(self, sort: SortKey) -> Spot:
        """Take the row with this sort key out; gives where it was, LookupError if there is none."""
        b, i = self._find(sort)
        sorts = self._sorts[b]
        self._ends = None
        del sorts[i], self._keys[b][i], self._rows[b][i]
        if not sorts:
            if len(self._sorts) > 1:
                del self._sorts[b], self._keys[b], self._rows[b], self._lasts[b]
        elif i == len(sorts):
            self._lasts[b] = sorts[-1]
        return b, i

    def replace(self, sort: SortKey, row: Row) -> Spot:
        """The row with this sort key is another now, in the same spot; LookupError if there is none."""
        b, i = self._find(sort)
        self._rows[b][i] = row
        return b, i

    def row(self, sort: SortKey) -> Row:
        """The row with this sort key; LookupError if there is none."""
        b, i = self._find(sort)
        return self._rows[b][i]

    def place_of(self, spot: Spot, most: int) -> int:
        """A spot's place, counted from 0; only as far as ``most``: any number from there on means at least that."""
        b, place = spot
        for n in range(b):
            place += len(self._sorts[n])
            if place >= most:
                break
        return place

    def __contains__(self, sort: SortKey) -> bool:
        sorts = self._sorts[self._block(sort)]
        i = bisect_left(sorts, sort)
        return i < len(sorts) and sorts[i] == sort

    def _find(self, sort: SortKey) -> Spot:
        b = self._block(sort)
        sorts = self._sorts[b]
        i = bisect_left(sorts, sort)
        if i == len(sorts) or sorts[i] != sort:
            raise LookupError("a row that left a view was not in it")
        return b, i

    def near(self, spot: Spot, distance: int) -> Entry | None:
        """The entry at a spot that was just given (0), before it (-1) or after it (1); None if there is none.

        Of a row that was removed the spot is where the next one is now.
        """
        b, i = spot
        i += distance
        if i < 0:
            b -= 1
            if b < 0:
                return None
            i = len(self._sorts[b]) - 1
        while b < len(self._sorts) and i >= len(self._sorts[b]):  # the block's end, or it was split
            i -= len(self._sorts[b])
            b += 1
        return None if b == len(self._sorts) else (self._sorts[b][i], self._keys[b][i], self._rows[b][i])

    def _split(self, b: int) -> None:
        """Cut a block that has grown too long into blocks of ordinary length."""
        for lists in (self._sorts, self._keys, self._rows):
            block: list[Any] = lists[b]
            lists[b : b + 1] = [block[i : i + BLOCK_ROWS] for i in range(0, len(block), BLOCK_ROWS)]
        count = len(self._sorts) - len(self._lasts) + 1
        self._lasts[b : b + 1] = [sorts[-1] for sorts in self._sorts[b : b + count]]

    def sort_at(self, place: int) -> SortKey | None:
        """The sort key at ``place``, counted from 0; None if there are not that many rows."""
        ends = self._counted()
        b = bisect_right(ends, place)
        if b == len(ends):
            return None
        sorts = self._sorts[b]
        return sorts[place - ends[b] + len(sorts)]

    def place_from(self, prefix: SortKey, *, behind: bool) -> int:
        """How many rows come before all whose sort key begins with ``prefix``; ``behind``: these rows included."""
        if not self._sorts[0]:
            return 0
        b = place_from(self._lasts, prefix, behind=behind)
        if b == len(self._lasts):
            return len(self)
        before = self._counted()[b] - len(self._sorts[b])
        return before + place_from(self._sorts[b], prefix, behind=behind)

    def window(self, start: int, end: int | None) -> tuple[list[Key], list[Row]]:
        """The keys and the rows of the places [start, end), as lists of their own."""
        if len(self._sorts) == 1:
            return self._keys[0][start:end], self._rows[0][start:end]
        ends = self._counted()
        end = ends[-1] if end is None else min(end, ends[-1])
        keys: list[Key] = []
        rows: list[Row] = []
        b = bisect_right(ends, start)
        while start < end:
            before = ends[b] - len(self._sorts[b])
            keys += self._keys[b][start - before : end - before]
            rows += self._rows[b][start - before : end - before]
            start = ends[b]
            b += 1
        return keys, rows

    def lists(self) -> list[list[Any]]:
        """What the members consist of, for the caller to free at leisure."""
        return [*self._sorts, *self._keys, *self._rows]


def place_from(sorts: Sequence[SortKey], prefix: SortKey, *, behind: bool) -> int:
    """How many of ``sorts``, which are in order, come before all that begin with ``prefix``; ``behind``: these too."""
    low, high, length = 0, len(sorts), len(prefix)
    while low < high:
        middle = (low + high) // 2
        begin = sorts[middle][:length]
        if begin < prefix or (behind and begin == prefix):
            low = middle + 1
        else:
            high = middle
    return low

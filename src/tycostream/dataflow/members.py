"""Rows in a total order, in blocks: to add or remove one moves a block's entries, not half a million."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain
from typing import Any

from tycostream.dataflow.order import SortKey
from tycostream.rows import Key, Row

BLOCK_ROWS = 1000
Entry = tuple[SortKey, Key, Row]
Spot = tuple[int, int]  # a block and a place in it; good for the blocks before it as they stand


class Members:
    """Keys and rows sorted by distinct sort keys.

    Each block is three parallel lists: bisect then needs no key function, and a window is cut out of lists. ``_lasts``
    holds the largest sort key of each block. There is always a block; only a lone one may be empty.
    """

    def __init__(self, blocks: Iterable[list[Entry]] = ()) -> None:
        """``blocks`` hold entries in order, no sort key twice, over all blocks."""
        self._sorts: list[list[SortKey]] = []
        self._keys: list[list[Key]] = []
        self._rows: list[list[Row]] = []
        self._lasts: list[SortKey] = []
        for block in blocks:
            self.append_block(block)
        if not self._sorts:
            self._sorts, self._keys, self._rows, self._lasts = [[]], [[]], [[]], [()]

    def append_block(self, block: list[Entry]) -> None:
        """Add entries that come after all others."""
        if block:
            if self._sorts and not self._sorts[0]:
                self._sorts, self._keys, self._rows, self._lasts = [], [], [], []
            self._sorts.append([entry[0] for entry in block])
            self._keys.append([entry[1] for entry in block])
            self._rows.append([entry[2] for entry in block])
            self._lasts.append(block[-1][0])
            if len(block) > 2 * BLOCK_ROWS:
                self._split(len(self._sorts) - 1)

    def __len__(self) -> int:
        return sum(map(len, self._sorts))

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

    def place_of(self, spot: Spot, most: int) -> int:
        """A spot's place, counted from 0; only as far as ``most``: any number from there on means at least that."""
        b, place = spot
        for n in range(b):
            place += len(self._sorts[n])
            if place >= most:
                break
        return place

    def _find(self, sort: SortKey) -> Spot:
        b = self._block(sort)
        sorts = self._sorts[b]
        i = bisect_left(sorts, sort)
        if i == len(sorts) or sorts[i] != sort:
            raise LookupError("a row that left a view was not in it")
        return b, i

    def _split(self, b: int) -> None:
        """Cut a block that has grown too long into blocks of ordinary length."""
        for lists in (self._sorts, self._keys, self._rows):
            block: list[Any] = lists[b]
            lists[b : b + 1] = [block[i : i + BLOCK_ROWS] for i in range(0, len(block), BLOCK_ROWS)]
        count = len(self._sorts) - len(self._lasts) + 1
        self._lasts[b : b + 1] = [sorts[-1] for sorts in self._sorts[b : b + count]]

    def sort_at(self, place: int) -> SortKey | None:
        """The sort key at ``place``, counted from 0; None if there are not that many rows."""
        for sorts in self._sorts:
            if place < len(sorts):
                return sorts[place]
            place -= len(sorts)
        return None

    def window(self, start: int, end: int | None) -> tuple[list[Key], list[Row]]:
        """The keys and the rows of the places [start, end), as lists of their own."""
        if len(self._sorts) == 1:
            return self._keys[0][start:end], self._rows[0][start:end]
        first, lengths = 0, [len(sorts) for sorts in self._sorts]
        while first < len(lengths) and start >= lengths[first]:
            start -= lengths[first]
            if end is not None:
                end -= lengths[first]
            first += 1
        last, reach = first, 0
        while last < len(lengths) and (end is None or reach < end):
            reach += lengths[last]
            last += 1
        keys = list(chain.from_iterable(self._keys[first:last]))
        rows = list(chain.from_iterable(self._rows[first:last]))
        return (keys, rows) if start == 0 and end is None else (keys[start:end], rows[start:end])

    def lists(self) -> list[list[Any]]:
        """What the members consist of, for the caller to free at leisure."""
        return [*self._sorts, *self._keys, *self._rows]

"""What a batch means to a stream of rows by a cursor: which rows rose in its order, and what may have to be read again.

A row rises when it comes into sight, or when its cell in the cursor's column lies further on than before. Places in the
order are sort keys: of the cell, then of the row's key, so that no two rows are in one place.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from tycostream.dataflow.order import OrderBy, SortKey, compile_order, compile_prefix
from tycostream.dataflow.unkeyed import Same
from tycostream.rows import Cell, Change, Key, Row, RowType

_STRETCHES_MAX: Final = 128


class Move(NamedTuple):
    """A row in sight that is in another place than before. ``was``: where it was; None if it was not in sight."""

    now: SortKey
    was: SortKey | None
    key: Key
    row: Row

    @property
    def rose(self) -> bool:
        """Whether that is further on."""
        return self.was is None or self.was < self.now


class Moves:
    """Finds the moves of a batch, in the cursor's order."""

    def __init__(self, row_type: RowType, order: OrderBy, same: Same | None = None) -> None:
        """``same``: what rows have in common that are the same row to who asks; None: their key tells them apart."""
        self._same = same
        self._column = order.column
        self._width = len(row_type.columns)
        self.place = compile_order((order,), row_type)
        self._prefix = compile_prefix((order,), row_type)

    def of(self, changes: Sequence[Change]) -> list[Move]:
        """The moves among ``changes``, one change a key, as they are seen; in order. Rows in sight have a cell."""
        if self._same is not None:
            return self._unkeyed(changes, self._same)
        place, column = self.place, self._column
        moves = []
        for key, old, new in changes:
            if new is None or (old is not None and old[column] == new[column]):
                continue
            moves.append(Move(place(key, new), None if old is None else place(key, old), key, new))
        moves.sort(key=_now_of)
        return moves

    def _unkeyed(self, changes: Sequence[Change], same: Same) -> list[Move]:
        """As ``of``: a row that looks like one that went has only moved, and did not rise; any other one is new."""
        place = self.place
        gone: dict[Hashable, list[SortKey]] = {}
        for key, old, _ in changes:
            if old is not None:
                gone.setdefault(same(old), []).append(place(key, old))
        moves = []
        for key, _, new in changes:
            if new is None:
                continue
            now, was = place(key, new), None
            if alike := gone.get(same(new)):
                was = max(alike.pop(), now)
                if was == now:
                    # it lay before this place, and what is told of both is the same
                    continue
            moves.append(Move(now, was, key, new))
        moves.sort(key=_now_of)
        return moves

    def value(self, cell: Cell) -> SortKey:
        """How the places of all rows with this cell begin."""
        row = [None] * self._width
        row[self._column] = cell
        return self._prefix(None, tuple(row))


_now_of = itemgetter(0)


def beyond(place: SortKey, value: SortKey | None) -> bool:
    """Whether a place lies behind all that begin with ``value``; None: there is no such bound."""
    return value is None or value < place[: len(value)]


def after(place: SortKey) -> SortKey:
    """The place right behind this one, which no row has."""
    return (*place, 0)


def told(move: Move, ahead: SortKey | None, value: SortKey | None) -> bool:
    """Whether a reader is to be told of a move.

    It wants rows ``beyond`` its ``value``, and is about to read all rows as they are from the place ``ahead`` on (None:
    it has read them all). What it will come by there it is not told of. What was there, and is not any more, it
    is told of even if it did not rise: it would never come by.
    """
    now, was = move.now, move.was
    if ahead is not None:
        if not now < ahead:
            return False
        if was is not None and not was < ahead:
            return beyond(now, value)
    return beyond(now, value) and (was is None or was < now)


class Lows:
    """The first place that anything moved to, for any stretch of the recent batches: where to read again from.

    It takes a bounded number of places: of what is long ago only longer stretches are known, so that the answer may be
    a place before the first one.
    """

    def __init__(self) -> None:
        self._stretches: list[tuple[int, int, SortKey]] = []  # the first and the last batch, and the place

    def add(self, seq: int, low: SortKey) -> None:
        """Take note of the batch ``seq``, the newest: ``low`` is the first place that something moved to."""
        stretches = self._stretches
        stretches.append((seq, seq, low))
        if len(stretches) > _STRETCHES_MAX:
            halves = zip(stretches[::2], stretches[1::2], strict=False)
            merged = [(a[0], b[1], min(a[2], b[2])) for a, b in halves]
            self._stretches = merged + stretches[2 * len(merged) :]

    def between(self, seq: int, to_seq: int) -> SortKey | None:
        """The first place that something moved to in a batch of (seq, to_seq]; None if nothing moved."""
        lows = [low for first, last, low in self._stretches if last > seq and first <= to_seq]
        return min(lows) if lows else None

"""A window of an arrangement: its rows between two bounds, from an offset on, so many of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.bounds import EVERYTHING, Bounds
from tycostream.dataflow.edits import Edit, EditKind
from tycostream.dataflow.order import SortKey
from tycostream.rows import Key, Row

_EDITS_MAX: Final = 256  # more are not followed one by one
_PLACES_MAX: Final = 4000  # of windows without an end: a longer one is not followed


class View:
    """The places [offset, offset + limit) of the rows of ``arrangement`` that lie between ``bounds``.

    What it costs depends neither on where it begins nor on how many rows there are: it looks at its two ends, and at
    whether something that was touched lies between them.
    """

    def __init__(
        self,
        arrangement: Arrangement,
        *,
        limit: int | None = None,
        offset: int = 0,
        bounds: Bounds = EVERYTHING,
    ) -> None:
        self._arrangement = arrangement
        self._bounds = bounds
        self._offset = offset
        self._limit = limit
        self._followable = not offset and bounds is EVERYTHING
        self.end = None if limit is None else offset + limit  # the first place behind, counted from the bound
        self.followed = _PLACES_MAX if self.end is None else self.end
        self._ends: tuple[SortKey | None, SortKey | None] | None = (
            None  # of the first and the last row; None: unknown
        )
        self._full = False  # whether what comes behind the last row is none of ours
        self._edits: list[Edit] | None = None

    def attach(self) -> None:
        """Be told what is touched, until ``detach``."""
        self._arrangement.views[self] = None

    def detach(self) -> None:
        """Be told nothing any more."""
        self._arrangement.forget(self)
        self.reset()

    def reset(self) -> None:
        """The arrangement holds something else altogether."""
        self._ends = self._edits = None

    @property
    def tracked(self) -> bool:
        """Whether ``edits`` knows all that was done to the window."""
        return self._edits is not None

    def lose_track(self) -> None:
        """Something was done to the window that is not told as an edit."""
        self._edits = None

    def follow(self, touched: Sequence[SortKey], moved: Sequence[SortKey]) -> bool:
        """Whether the window may look different now.

        ``touched`` are the sort keys of all edits, in order, at least one; ``moved`` those of rows that came or went.
        Only rows that come or go between the bound and the last row of a full window can make its ends others.
        """
        if self.end is None and self._followable:
            return True
        known = self._ends
        if known is None:
            self._look()
            return True
        first, last = known
        if moved and (not self._full or last is None or not last < moved[0]):
            at = self._bounds.begin(moved) if self._bounds.lower else 0
            if at < len(moved) and (not self._full or last is None or not last < moved[at]):
                self._look()
                if known != self._ends:
                    return True
        if first is None or last is None:
            return False
        at = bisect_left(touched, first)
        return at < len(touched) and not last < touched[at]

    def _look(self) -> None:
        """Find the sort keys of the first and the last row."""
        start, end = self._places()
        members = self._arrangement.members
        self._full = end - start == self._limit
        self._ends = (None, None) if start >= end else (members.sort_at(start), members.sort_at(end - 1))

    def _places(self) -> tuple[int, int]:
        members = self._arrangement.members
        start, stop = (0, len(members)) if self._bounds is EVERYTHING else self._bounds.places(members)
        start += self._offset
        return start, stop if self._limit is None else min(stop, start + self._limit)

    def note(self, kind: EditKind, place: int, key: Key, row: Row) -> bool:
        """Keep an edit that was done at a place, which is exact below ``followed``; False: there were too many."""
        edits = self._edits
        if edits is None:
            return False
        if place < self.followed:
            edits.append((kind, place, key, row))
        if (place >= self.followed and self.end is None) or len(edits) > _EDITS_MAX:
            self._edits = None
        return self._edits is not None

    def edits(self) -> list[Edit] | None:
        """What was done to the window, in order, since this was last asked; None: unknown, look at all of it.

        With an end, rows that the end pushes out or lets in are not told: ``length`` and ``window`` say so.
        """
        edits = self._edits
        self._edits = [] if self._followable and self._arrangement.follow(self) else None
        return edits

    @property
    def length(self) -> int:
        """How many rows are in the window."""
        start, end = self._places()
        return max(0, end - start)

    def window(self, skipped: int = 0) -> tuple[list[Key], list[Row]]:
        """The keys and rows in the window but for the first ``skipped``, in order, as lists of their own."""
        start, end = self._places()
        if self._ends is None and self in self._arrangement.views:
            self._look()
        return self._arrangement.members.window(start + skipped, end)

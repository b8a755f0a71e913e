"""A window of a source's rows in a total order, kept current change by change."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

from tycostream.dataflow.hydration import Hydration
from tycostream.dataflow.members import Members, Spot
from tycostream.dataflow.order import OrderBy, compile_order
from tycostream.dataflow.predicate import Predicate, compile_predicate
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Key, Row

_EDITS_MAX: Final = 256  # more are not followed one by one
_PLACES_MAX: Final = 4000  # of windows without an end: a longer one is not followed


class EditKind(Enum):
    """What was done to a place of a window."""

    INSERT = "insert"
    REPLACE = "replace"
    REMOVE = "remove"


Edit = tuple[
    EditKind, int, Key, Row
]  # kind, place counted from 0 at that time, and the row that comes or goes


class View:
    """The rows of ``store`` that satisfy ``predicate``, ordered, and a window [offset, offset + limit) of them.

    ``hydrate`` computes it from the store; ``push`` follows a batch. The two agree: that is the property test. A
    large one is hydrated in steps: ``hydration``, its steps, ``adopt``, and then what was pushed meanwhile.
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
        self.end = None if limit is None else offset + limit  # the first place behind the window
        self._members = Members()
        self._edits: list[Edit] | None = None

    @property
    def candidates(self) -> int:
        """How many rows ``hydrate`` must look at."""
        given = self._store.given(self._predicate)
        return len(self._store.rows) if given is None else len(given)

    def hydrate(self) -> None:
        """Compute the members from the store as it is, in one go."""
        hydration = self.hydration()
        while not hydration.step():
            pass
        self.adopt(hydration)

    def hydration(self, effort: int = 1) -> Hydration:
        """Begin to compute the members from the store as it is now; ``adopt`` ends it."""
        rows, given = self._store.rows, self._store.given(self._predicate)
        if given is None:
            return Hydration(list(rows), list(rows.values()), self._match, self._sort_key, effort=effort)
        return Hydration(given, [rows[key] for key in given], self._match, self._sort_key, effort=effort)

    def adopt(self, hydration: Hydration) -> None:
        """Take over what a hydration found; what happened since it began must be pushed next."""
        self._members, self._edits = hydration.members, None

    def push(self, changes: Sequence[Change]) -> bool:
        """Follow changes as this view's predicate sees them; True if the window may look different now."""
        sort_key, members = self._sort_key, self._members
        end = self.end
        touched = end is None
        # As long as nothing in the window or before it changed, its last row is the same.
        edge = members.sort_at(end - 1) if end else None
        for key, old, new in changes:
            was = None if old is None else sort_key(key, old)
            now = None if new is None else sort_key(key, new)
            if was is not None:
                touched = touched or (bool(end) and (edge is None or not edge < was))
                if was == now:
                    spot = members.replace(was, new)  # type: ignore[arg-type]
                    if self._edits is not None:
                        self._note(EditKind.REPLACE, spot, key, new)  # type: ignore[arg-type]
                    continue
                spot = members.remove(was)
                if self._edits is not None:
                    self._note(EditKind.REMOVE, spot, key, old)  # type: ignore[arg-type]
            if now is not None:
                spot = members.add(now, key, new)  # type: ignore[arg-type]
                if self._edits is not None:
                    self._note(EditKind.INSERT, spot, key, new)  # type: ignore[arg-type]
                touched = touched or (bool(end) and (edge is None or now < edge))
        return touched

    def _note(self, kind: EditKind, spot: Spot, key: Key, row: Row) -> None:
        assert self._edits is not None
        most = _PLACES_MAX if self.end is None else self.end
        place = self._members.place_of(spot, most)
        if place < most:
            self._edits.append((kind, place, key, row))
        if (place >= most and self.end is None) or len(self._edits) > _EDITS_MAX:
            self._edits = None

    def edits(self) -> list[Edit] | None:
        """What was done to the window, in order, since this was last asked; None: unknown, look at all of it.

        With an end, rows that the end pushes out or lets in are not told: ``length`` and ``window`` say so.
        """
        edits, self._edits = self._edits, None if self._start else []
        return edits

    @property
    def length(self) -> int:
        """How many rows are in the window."""
        count = len(self._members)
        return max(0, (count if self.end is None else min(count, self.end)) - self._start)

    def window(self, skipped: int = 0) -> tuple[list[Key], list[Row]]:
        """The keys and rows in the window but for the first ``skipped``, in order, as lists of their own."""
        return self._members.window(self._start + skipped, self.end)

    def released(self) -> list[list[Any]]:
        """Empty the view; gives what it held, for the caller to free at leisure."""
        held, self._members, self._edits = self._members.lists(), Members(), None
        return held

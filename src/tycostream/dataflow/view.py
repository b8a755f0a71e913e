"""A window of a source's rows in a total order, kept current change by change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tycostream.dataflow.hydration import Hydration
from tycostream.dataflow.members import Members
from tycostream.dataflow.order import OrderBy, compile_order
from tycostream.dataflow.predicate import Predicate, compile_predicate
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Key, Row


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
        self._end = None if limit is None else offset + limit
        self._members = Members()

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
        self._members = hydration.members

    def push(self, changes: Sequence[Change]) -> bool:
        """Follow changes as this view's predicate sees them; True if the window may look different now."""
        sort_key, members = self._sort_key, self._members
        end = self._end
        touched = end is None
        # As long as nothing in the window or before it changed, its last row is the same.
        edge = members.sort_at(end - 1) if end else None
        for key, old, new in changes:
            was = None if old is None else sort_key(key, old)
            now = None if new is None else sort_key(key, new)
            if was is not None:
                touched = touched or (bool(end) and (edge is None or not edge < was))
                if was == now:
                    members.replace(was, new)  # type: ignore[arg-type]
                    continue
                members.remove(was)
            if now is not None:
                members.add(now, key, new)  # type: ignore[arg-type]
                touched = touched or (bool(end) and (edge is None or now < edge))
        return touched

    def window(self) -> tuple[list[Key], list[Row]]:
        """The keys and rows in the window, in order, as lists of their own."""
        return self._members.window(self._start, self._end)

    def released(self) -> list[list[Any]]:
        """Empty the view; gives what it held, for the caller to free at leisure."""
        held, self._members = self._members.lists(), Members()
        return held

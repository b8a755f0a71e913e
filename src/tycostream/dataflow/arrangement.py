"""The rows of a source that satisfy a predicate, in a total order, kept current change by change, for any number of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tycostream.dataflow.edits import EditKind
from tycostream.dataflow.hydration import Hydration
from tycostream.dataflow.members import Members, Spot
from tycostream.dataflow.order import SortKey, Term, compile_order, prefix_length
from tycostream.dataflow.predicate import Predicate, compile_predicate
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Key, Row

if TYPE_CHECKING:
    from tycostream.dataflow.view import View


class Arrangement:
    """``hydrate`` computes it from the store; ``push`` follows a batch. The two agree: that is the property test.

    A large one is hydrated in steps: ``hydration``, its steps, ``adopt``, and then what was pushed meanwhile.

    ``distinct`` shows only the first row of each group of rows that are equal in the first so many terms of the order.
    A group's rows lie side by side, so that a change looks at its two neighbours and at nothing else.
    """

    def __init__(
        self, store: Store, predicate: Predicate, order: tuple[Term, ...] = (), *, distinct: int = 0
    ) -> None:
        self.predicate = predicate
        self._store = store
        self._match = compile_predicate(predicate)
        self._sort_key = compile_order(order, store.row_type)
        self._group = prefix_length(order[:distinct], store.row_type)  # so much of a sort key names its group
        self._all = Members()
        self.members = self._all  # what is shown
        self.views: dict[View, None] = {}  # who is told what was touched
        self._following: list[View] = []  # of those, who wants to know each edit

    @property
    def candidates(self) -> int:
        """How many rows ``hydrate`` must look at."""
        given = self._store.given(self.predicate)
        return len(self._store.rows) if given is None else len(given)

    def hydrate(self) -> None:
        """Compute the members from the store as it is, in one go."""
        hydration = self.hydration()
        while not hydration.step():
            pass
        self.adopt(hydration)

    def hydration(self, effort: int = 1) -> Hydration:
        """Begin to compute the members from the store as it is now; ``adopt`` ends it."""
        rows, keys = self._store.rows, self._store.given(self.predicate)
        if keys is None:
            keys, images = list(rows), list(rows.values())
        else:
            images = [rows[key] for key in keys]
        return Hydration(keys, images, self._match, self._sort_key, effort=effort, group=self._group)

    def adopt(self, hydration: Hydration) -> None:
        """Take over what a hydration found; what happened since it began must be pushed next."""
        self._show(hydration.members, hydration.firsts)

    def _show(self, members: Members, firsts: Members | None) -> None:
        self._all = members
        self.members = members if firsts is None else firsts
        self._following.clear()
        for view in self.views:
            view.reset()

    def follow(self, view: View) -> bool:
        """Tell ``view`` each edit from now on; False if it is not told anything."""
        if view in self.views and view not in self._following:
            self._following.append(view)
        return view in self.views

    def forget(self, view: View) -> None:
        """Tell ``view`` nothing any more, and hold no reference to it."""
        self.views.pop(view, None)
        self._following = [each for each in self._following if each is not view]

    def push(self, changes: Sequence[Change]) -> list[View]:
        """Follow changes as the predicate sees them; gives the views that may show something else now."""
        sort_key = self._sort_key
        replaced: list[SortKey] = []
        moved: list[SortKey] = []
        for key, old, new in changes:
            was = None if old is None else sort_key(key, old)
            now = None if new is None else sort_key(key, new)
            if was is not None and was == now:
                self._replace(was, key, new, replaced)  # type: ignore[arg-type]
                continue
            if was is not None:
                self._remove(was, key, old, moved)  # type: ignore[arg-type]
            if now is not None:
                self._add(now, key, new, moved)  # type: ignore[arg-type]
        if not self.views or not (replaced or moved):
            return []
        moved.sort()
        touched = sorted(replaced + moved) if replaced else moved
        return [view for view in self.views if view.follow(touched, moved)]

    def _replace(self, sort: SortKey, key: Key, row: Row, replaced: list[SortKey]) -> None:
        spot = self._all.replace(sort, row)
        if self._group:
            if sort not in self.members:
                return
            spot = self.members.replace(sort, row)
        replaced.append(sort)
        self._tell(EditKind.REPLACE, spot, key, row)

    def _remove(self, sort: SortKey, key: Key, row: Row, moved: list[SortKey]) -> None:
        spot = self._all.remove(sort)
        if self._group:
            if sort in self.members:
                self._hide(sort, key, row, moved)
                heir = self._all.near(spot, 0)
                if heir is not None and self._together(heir[0], sort):
                    self._show_first(*heir, moved)
            return
        moved.append(sort)
        self._tell(EditKind.REMOVE, spot, key, row)

    def _add(self, sort: SortKey, key: Key, row: Row, moved: list[SortKey]) -> None:
        spot = self._all.add(sort, key, row)
        if self._group:
            before, after = self._all.near(spot, -1), self._all.near(spot, 1)
            if before is None or not self._together(before[0], sort):
                if after is not None and self._together(after[0], sort):
                    self._hide(*after, moved)
                self._show_first(sort, key, row, moved)
            return
        moved.append(sort)
        self._tell(EditKind.INSERT, spot, key, row)

    def _hide(self, sort: SortKey, key: Key, row: Row, moved: list[SortKey]) -> None:
        moved.append(sort)
        self._tell(EditKind.REMOVE, self.members.remove(sort), key, row)

    def _show_first(self, sort: SortKey, key: Key, row: Row, moved: list[SortKey]) -> None:
        moved.append(sort)
        self._tell(EditKind.INSERT, self.members.add(sort, key, row), key, row)

    def _together(self, one: SortKey, other: SortKey) -> bool:
        return one[: self._group] == other[: self._group]

    def _tell(self, kind: EditKind, spot: Spot, key: Key, row: Row) -> None:
        following = self._following
        if not following:
            return
        most = following[0].followed if len(following) == 1 else max([view.followed for view in following])
        place = self.members.place_of(spot, most)
        lost = [view for view in following if not view.note(kind, place, key, row)]
        for view in lost:
            following.remove(view)

    def released(self) -> list[list[Any]]:
        """Empty it; gives what it held, for the caller to free at leisure."""
        held = self._all.lists()
        if self._group:
            held += self.members.lists()
        self._show(Members(), Members() if self._group else None)
        return held

"""The rows of a source that satisfy a predicate, in a total order, kept current change by change, for any number of views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tycostream.dataflow.edits import EditKind
from tycostream.dataflow.hydration import Hydration
from tycostream.dataflow.members import Members, Spot
from tycostream.dataflow.order import SortKey, Term, compile_order, prefix_length, unrelated
from tycostream.dataflow.predicate import Predicate, compile_predicate, unbound
from tycostream.dataflow.price import price
from tycostream.dataflow.related import Related, reaches
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Key, Row

if TYPE_CHECKING:
    from tycostream.dataflow.view import View

_LOOKED_UP_MAX: Final = 1000  # rows that look different: of more, a view is asked for all that it shows


class Arrangement:
    """``hydrate`` computes it from the store; ``push`` follows a batch. The two agree: that is the property test.

    A large one is hydrated in steps: ``hydration``, its steps, ``adopt``, and then what was pushed meanwhile.

    ``distinct`` shows only the first row of each group of rows that are equal in the first so many terms of the order.
    A group's rows lie side by side, so that a change looks at its two neighbours and at nothing else.

    Where the condition or the order reads other sources (``reaches``), a row's place may be another one although the
    row is the same: ``review`` looks again, and what is remembered of each member is its sort key.
    """

    def __init__(
        self,
        store: Store,
        predicate: Predicate,
        order: tuple[Term, ...] = (),
        *,
        distinct: int = 0,
        related: Related | None = None,
    ) -> None:
        self.predicate = predicate
        self.reaches = reaches(predicate, order)
        self._store = store
        bind, cell_of = (related.bind, related.cell_of) if related else (unbound, unrelated)
        self._match = compile_predicate(predicate, bind)
        self._price = price(predicate)
        self._sort_key = compile_order(order, store.row_type, cell_of)
        self._sorts: dict[Key, SortKey] | None = {} if self.reaches else None
        self._group = prefix_length(order[:distinct], store.row_type)  # so much of a sort key names its group
        self._all = Members()
        self.members = self._all  # what is shown
        self.views: dict[View, None] = {}  # who is told what was touched
        self._following: list[View] = []  # of those, who wants to know each edit

    @property
    def candidates(self) -> int:
        """How many rows ``hydrate`` must look at."""
        return self._store.count(self.predicate)

    @property
    def work(self) -> int:
        """What ``hydrate`` costs, in rows of which little is asked."""
        return self.candidates * self._price

    @property
    def kept(self) -> int:
        """How many rows it holds on to."""
        return len(self._all)

    def hydrate(self) -> None:
        """Compute the members from the store as it is, in one go."""
        hydration = self.hydration()
        while not hydration.step():
            pass
        self.adopt(hydration)

    def hydration(self, effort: int = 1) -> Hydration:
        """Begin to compute the members from the store as it is now; ``adopt`` ends it."""
        return Hydration(
            *self._store.candidates(self.predicate),
            self._match,
            self._sort_key,
            effort=effort,
            price=self._price,
            group=self._group,
            sorts=None if self._sorts is None else {},
        )

    def adopt(self, hydration: Hydration) -> None:
        """Take over what a hydration found; what happened since it began must be pushed next."""
        self._sorts = hydration.sorts
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
        if self._sorts is not None:
            for key, _, _ in changes:
                self._review(key, self._sorts, replaced, moved)
            return self._touched(replaced, moved)
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
        return self._touched(replaced, moved)

    def _touched(self, replaced: list[SortKey], moved: list[SortKey]) -> list[View]:
        if not self.views or not (replaced or moved):
            return []
        moved.sort()
        touched = sorted(replaced + moved) if replaced else moved
        return [view for view in self.views if view.follow(touched, moved)]

    def _review(
        self, key: Key, sorts: dict[Key, SortKey], replaced: list[SortKey], moved: list[SortKey]
    ) -> None:
        """Put a row where it belongs now, by the stores as they are: its change, and that of others, is in them."""
        row, was = self._store.rows.get(key), sorts.get(key)
        now = self._sort_key(key, row) if row is not None and self._match(row) else None
        if was is not None and was == now:
            if self._all.row(was) is not row:  # else nobody can see that it was looked at
                self._replace(was, key, row, replaced)  # type: ignore[arg-type]
            return
        if was is not None:
            del sorts[key]
            self._remove(was, key, self._all.row(was), moved)
        if now is not None:
            sorts[key] = now
            self._add(now, key, row, moved)  # type: ignore[arg-type]

    def review(self, keys: Iterable[Key]) -> list[Change]:
        """What to ``push`` because something that rows with these keys lead to has changed."""
        return self._store.standing(keys)

    def touch(self, view: View, keys: Sequence[Key]) -> bool:
        """Rows with these keys look different to ``view``, although they are the same; whether it may show one of them."""
        if len(keys) > _LOOKED_UP_MAX:
            view.lose_track()
            return True
        touched: list[SortKey] = []
        for key in keys:
            row = self._store.rows.get(key)
            if row is None:
                continue
            sort = self._sort_key(key, row) if self._sorts is None else self._sorts.get(key)
            if sort is None or sort not in self.members:
                continue  # not a member, or about to be one at another place
            touched.append(sort)
            if view in self._following:
                place = self.members.place_of(self.members.replace(sort, row), view.followed)
                if not view.note(EditKind.REPLACE, place, key, row):
                    self._following.remove(view)
        touched.sort()
        return bool(touched) and view.follow(touched, ())

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

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """Empty it; gives what it held, for the caller to free at leisure."""
        held: list[dict[Any, Any] | list[Any]] = [*self._all.lists()]
        if self._sorts is not None:
            held.append(self._sorts)
            self._sorts = {}
        if self._group:
            held += self.members.lists()
        self._show(Members(), Members() if self._group else None)
        return held

"""The arrangements of one source: one for all views with the same condition and order, made on demand, dropped when idle."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from tycostream.clock import Clock
from tycostream.dataflow.aggregation import Aggregation, Totals
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.bounds import EVERYTHING, Bounds, split
from tycostream.dataflow.order import Term
from tycostream.dataflow.predicate import Predicate, row_local
from tycostream.dataflow.related import Reach, Related
from tycostream.dataflow.relation import Aggregate
from tycostream.dataflow.view import View
from tycostream.graphql.plan import Mode, RootPlan, totals_of
from tycostream.live.arranged import Arranged, Reader
from tycostream.live.backlinks import Backlink, Linked
from tycostream.live.following import Followed, RootView
from tycostream.live.slices import Slices

_IDLE_ROWS_MIN: Final = (
    4000  # of fewer candidates it is made again in one step: it is not kept for who may come
)
_IDLE_ROWS_MAX: Final = 1_000_000  # of all that nobody reads; some 300 bytes each
_ALONE_ROWS_MAX: Final = 5000  # a stretch of more rows than this is not copied twice


class _Name(NamedTuple):
    """What two roots that read one have in common."""

    predicate: Predicate
    order: tuple[Term, ...] = ()
    distinct: int = 0
    aggregates: tuple[Aggregate, ...] | None = None  # of rows that nobody asks for


class Arrangements:
    """Who asks ``view`` gets a view and what it is a view of, and gives it back with ``release``."""

    def __init__(
        self,
        source: Linked,
        sources: Mapping[str, Linked],
        related: Related,
        slices: Slices,
        clock: Clock,
        quarantine: Callable[[Reader, Exception], None],
    ) -> None:
        """``sources``: all there are, for conditions and orders that read others."""
        self._source = source
        self._sources = sources
        self._related = related
        self._store = source.store
        self._indexes = source.indexes
        self._router = source.router
        self._slices = slices
        self._clock = clock
        self._quarantine = quarantine
        self._known: dict[_Name, Arranged] = {}
        self._names: dict[Arranged, _Name] = {}
        self._stretches: dict[
            _Name, dict[Arranged, None]
        ] = {}  # of what could be one, what is filtered alone
        self._wholes: dict[Arranged, _Name] = {}  # and which one each of them could be

    def view(self, root: RootPlan, reader: Reader) -> tuple[RootView, Arranged]:
        """A view for a root field, which tells ``reader``. Its arrangement may have to be brought up first."""
        whole, bounds = self._whole(root)
        name = _name(root)
        if bounds is not EVERYTHING and (whole in self._known or self._crowded(whole)):
            name = whole
        else:
            bounds = EVERYTHING
        arranged = self._known.get(name)
        if arranged is None:
            arranged = self._make(name)
            if whole != name:
                self._stretches.setdefault(whole, {})[arranged] = None
                self._wholes[arranged] = whole
        if arranged.idle is not None:
            arranged.idle.cancel()
            arranged.idle = None
        view = root_view(arranged.arrangement, root, bounds)
        view.attach()
        arranged.readers[view] = reader
        return view, arranged

    def _whole(self, root: RootPlan) -> tuple[_Name, Bounds]:
        """The arrangement that holds all pages of an order, and which stretch of it is asked for."""
        name = _name(root)
        if (
            root.limit is None or root.distinct_on
        ):  # a group's first row is the first of those that are asked for
            return name, EVERYTHING
        residual, bounds = split(root.predicate, root.order, self._store.row_type)
        return (name, EVERYTHING) if bounds is EVERYTHING else (_Name(residual, root.order), bounds)

    def _crowded(self, whole: _Name) -> bool:
        """Whether a page of this order, filtered alone, turned out to be most of the source: the next one shares."""
        return any(
            each.arrangement.kept > _ALONE_ROWS_MAX or not each.current
            for each in self._stretches.get(whole, ())
        )

    def current(self, root: RootPlan) -> RootView | None:
        """A view for one look in this step, if an arrangement that has its rows is there."""
        whole, bounds = self._whole(root)
        for name, stretch in ((_name(root), EVERYTHING), (whole, bounds)):
            arranged = self._known.get(name)
            if arranged is not None and arranged.current:
                return root_view(arranged.arrangement, root, stretch)
        return None

    def alone(self, root: RootPlan) -> Followed:
        """One that nobody else sees and that follows nothing: for one look at few rows."""
        return self._arrangement(_name(root))

    def _arrangement(self, name: _Name) -> Followed:
        predicate, order, distinct, aggregates = name
        if aggregates is not None:
            return Aggregation(self._store, predicate, aggregates, self._related)
        return Arrangement(self._store, predicate, order, distinct=distinct, related=self._related)

    def _make(self, name: _Name) -> Arranged:
        arranged = Arranged(self._arrangement(name), self._indexes, self._slices, self._broken)
        self._known[name] = arranged
        self._names[arranged] = name
        self._router.add(row_local(name[0]), arranged.push)
        arranged.backlinks = [
            Backlink(self._source, reach, self._sources, arranged.review, arranged.failed)
            for reach in arranged.arrangement.reaches
        ]
        return arranged

    def _broken(self, arranged: Arranged, reader: Reader, error: Exception) -> None:
        self._forget(arranged)  # who comes next must find a new one
        self._quarantine(reader, error)

    def release(self, view: RootView, arranged: Arranged, linger_s: float) -> None:
        """A view is not needed any more. What nobody reads goes after ``linger_s``, at once if it is soon made again."""
        view.detach()
        del arranged.readers[view]
        if arranged.readers:
            return
        if (
            arranged not in self._names
            or not arranged.current
            or not linger_s
            or arranged.arrangement.candidates <= _IDLE_ROWS_MIN
        ):
            self._drop(arranged)
        else:
            arranged.idle_since_s = self._clock.monotonic()
            arranged.idle = self._clock.call_later(linger_s, functools.partial(self._drop, arranged))
            self._make_room()

    def _make_room(self) -> None:
        idle = sorted(
            (each for each in self._names if each.idle is not None), key=lambda each: each.idle_since_s
        )
        rows = sum(each.arrangement.kept for each in idle)
        for each in idle:
            if rows <= _IDLE_ROWS_MAX:
                break
            rows -= each.arrangement.kept
            self._drop(each)

    def _forget(self, arranged: Arranged) -> None:
        name = self._names.pop(arranged, None)
        if name is None:
            return
        self._router.remove(row_local(name[0]), arranged.push)
        arranged.unlink()
        del self._known[name]
        whole = self._wholes.pop(arranged, None)
        if whole is not None:
            del self._stretches[whole][arranged]
            if not self._stretches[whole]:
                del self._stretches[whole]

    def _drop(self, arranged: Arranged) -> None:
        self._forget(arranged)
        arranged.close()

    def clear(self, reading: str = "") -> None:
        """The source failed, or the one called ``reading``: what nobody reads would not be told what happens to it.

        Given a name, only what reads that source goes.
        """
        for arranged in list(self._names):
            if not arranged.readers and (not reading or _reads(arranged.arrangement.reaches, reading)):
                self._drop(arranged)


def _reads(reaches: tuple[Reach, ...], source: str) -> bool:
    return any(reach.join.source == source or _reads(reach.further, source) for reach in reaches)


def root_view(followed: Followed, root: RootPlan, bounds: Bounds = EVERYTHING) -> RootView:
    """What ``root`` sees of what was made for it."""
    if isinstance(followed, Aggregation):
        return Totals(followed)
    assert isinstance(followed, Arrangement)
    return View(followed, limit=root.limit, offset=root.offset, bounds=bounds)


def _name(root: RootPlan) -> _Name:
    if root.mode is Mode.AGGREGATE and not (root.limit is not None or root.offset or root.distinct_on):
        encoder = totals_of(root)
        if encoder.nodes is None:
            return _Name(root.predicate, aggregates=encoder.aggregates)
    return _Name(root.predicate, root.order, len(root.distinct_on))

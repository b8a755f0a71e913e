"""Aggregates over the rows of a source that satisfy a predicate, kept current change by change, for any number of readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tycostream.dataflow.aggregate import Accumulator
from tycostream.dataflow.hydration import ROWS_PER_STEP
from tycostream.dataflow.predicate import Predicate, compile_predicate, unbound
from tycostream.dataflow.price import price
from tycostream.dataflow.related import Related, reaches
from tycostream.dataflow.relation import Aggregate
from tycostream.dataflow.store import Store
from tycostream.dataflow.veil import lens, veil_of
from tycostream.rows import Cell, Change, Key, Row


class Aggregation:
    """What an ``Arrangement`` is to who reads rows, to who reads aggregates: made and followed in the same way.

    No row is kept: what is added and removed is what the changes hold. Only where the condition reads other sources,
    whether a row belongs, and what of it is seen, may change although the row does not: then the rows that were added
    are remembered as they were seen.
    """

    # There may be thousands, and a change touches one: its state shall lie together.
    __slots__ = (
        "_added",
        "_look",
        "_match",
        "_price",
        "_specs",
        "_store",
        "_totals",
        "predicate",
        "reaches",
        "views",
    )

    def __init__(
        self, store: Store, predicate: Predicate, specs: tuple[Aggregate, ...], related: Related | None = None
    ) -> None:
        bind = related.bind if related else unbound
        self.predicate = predicate
        self._specs, self._look = lens(specs, bind)
        self._store = store
        self.reaches = reaches(predicate, veil=veil_of(specs))
        self._match = compile_predicate(predicate, bind)
        self._price = price(predicate)
        self._totals = Accumulator(self._specs, store.row_type)
        self._added: dict[Key, Row] | None = {} if self.reaches else None
        self.views: tuple[Totals, ...] = ()  # made anew by who comes and goes, given out at every change

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
        """How many rows, and values of rows, it holds on to."""
        return len(self._added or ()) + self._totals.kept

    def hydrate(self) -> None:
        """Compute the aggregates from the store as it is, in one go."""
        tally = self.hydration()
        while not tally.step():
            pass
        self.adopt(tally)

    def hydration(self, effort: int = 1) -> Tally:
        """Begin to compute the aggregates from the store as it is now; ``adopt`` ends it."""
        return Tally(self, *self._store.candidates(self.predicate), effort)

    def adopt(self, tally: Tally) -> None:
        """Take over what was computed; what happened since it began must be pushed next."""
        self._totals, self._added = tally.totals, tally.added

    def push(self, changes: Sequence[Change]) -> Sequence[Totals]:
        """Follow changes as the predicate sees them; gives the views that may show something else now."""
        touched = False
        if self._added is not None:
            for key, _, _ in changes:
                touched |= self._review(key, self._added)
        else:
            totals, look = self._totals, self._look
            for _, old, new in changes:
                if look is not None:
                    old, new = old and look(old), new and look(new)  # a row has a cell at least
                touched |= totals.follow(old, new)
        return self.views if touched else ()

    def review(self, keys: Iterable[Key]) -> list[Change]:
        """What to ``push`` because something that rows with these keys lead to has changed."""
        return self._store.standing(keys)

    def _review(self, key: Key, added: dict[Key, Row]) -> bool:
        """Count a row or not, by the stores as they are: its change, and that of others, is in them."""
        row, was = self._store.rows.get(key), added.pop(key, None)
        now = row if row is not None and self._match(row) else None
        if now is not None:
            added[key] = now = now if self._look is None else self._look(now)
        return self._totals.follow(was, now)

    def cells(self) -> tuple[Cell, ...]:
        """The results, in the order of the specs."""
        return self._totals.cells()

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """Empty it; gives what it held, for the caller to free at leisure."""
        held = self._totals.containers()
        self._totals = Accumulator(self._specs, self._store.row_type)
        if self._added is not None:
            held.append(self._added)
            self._added = {}
        return held


class Tally:
    """The aggregates of rows as they were when it was made, computed by ``step``. ``effort`` multiplies what one does."""

    def __init__(self, aggregation: Aggregation, keys: list[Key], rows: list[Row], effort: int) -> None:
        self._keys, self._rows = keys, rows
        self._match, self._look = aggregation._match, aggregation._look
        self.totals = Accumulator(aggregation._specs, aggregation._store.row_type)
        self.added: dict[Key, Row] | None = None if aggregation._added is None else {}
        self._steps = self._work(max(1, ROWS_PER_STEP * effort // aggregation._price))

    def step(self) -> bool:
        """Do the next piece; True when it is complete."""
        return next(self._steps, True)

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """Give up; gives what it held, for the caller to free at leisure."""
        self._steps = iter(())
        added = [] if self.added is None else [self.added]
        return [self._keys, self._rows, *self.totals.containers(), *added]

    def _work(self, count: int) -> Iterator[bool]:
        match, add, look = self._match, self.totals.add, self._look
        for at in range(0, len(self._rows), count):
            if at:
                yield False
            keys, rows = self._keys[at : at + count], self._rows[at : at + count]
            found = [(key, row) for key, row in zip(keys, rows, strict=True) if match(row)]
            if look is not None:
                found = [(key, look(row)) for key, row in found]
            for _, row in found:
                add(row)
            if self.added is not None:
                self.added.update(found)
        self._keys, self._rows = [], []


class Totals:
    """An aggregation as one root field sees it. See View."""

    __slots__ = ("_aggregation",)

    def __init__(self, aggregation: Aggregation) -> None:
        self._aggregation = aggregation

    def attach(self) -> None:
        """Be told what is touched, until ``detach``."""
        if self not in self._aggregation.views:
            self._aggregation.views += (self,)

    def detach(self) -> None:
        """Be told nothing any more."""
        self._aggregation.views = tuple(view for view in self._aggregation.views if view is not self)

    @property
    def length(self) -> int:
        """One result, however many rows it is of."""
        return 1

    def cells(self) -> tuple[Cell, ...]:
        """The results, in the order of the specs."""
        return self._aggregation.cells()

"""An arrangement in the hub: made when somebody reads it, level with the store or on its way, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tycostream.clock import Timer
from tycostream.dataflow.aggregation import Totals
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.hydration import ROWS_PER_STEP
from tycostream.dataflow.log import Entry
from tycostream.live.arranging import Arranging
from tycostream.live.backlinks import Backlink
from tycostream.live.collector import keep_out
from tycostream.live.following import Followed, RootView
from tycostream.live.indexes import Indexes
from tycostream.live.slices import Discard, Slices
from tycostream.rows import Change, Key


class Reader(Protocol):
    """Who has a view of it: a cohort."""

    @property
    def lasting(self) -> bool:
        """Whether it will stay: it has members, rather than a passing query only."""

    def touch(self) -> None:
        """Its result may be another now."""

    def fell_behind(self) -> None:
        """The arrangement follows in slices and shows no moment until ``caught_up``."""

    def caught_up(self) -> None:
        """The arrangement is level with the store, from this step on."""


class Arranged:
    """Views of it may be looked at while it is ``current``. ``broken`` is told who must end, and why."""

    # as an Aggregation
    __slots__ = (
        "__weakref__",
        "_arranging",
        "_broken",
        "_indexes",
        "_kept_out",
        "_slices",
        "arrangement",
        "backlinks",
        "current",
        "idle",
        "idle_since_s",
        "readers",
    )

    def __init__(
        self,
        arrangement: Followed,
        indexes: Indexes,
        slices: Slices,
        broken: Callable[[Arranged, Reader, Exception], None],
    ) -> None:
        self.arrangement = arrangement
        self.current = False
        self.readers: dict[RootView, Reader] = {}
        self.idle: Timer | None = None  # until it goes, once nobody reads it
        self.idle_since_s = 0.0
        self._indexes = indexes
        self._slices = slices
        self._broken = broken
        self._arranging: Arranging | None = None
        self._kept_out = False
        self.backlinks: list[Backlink] = []  # from the other sources that its condition or order reads

    def bring(self, rows_max: int) -> int:
        """Begin to make it unless that was done; at once if that is no more work than ``rows_max`` rows. Gives how much."""
        if self.current or self._arranging is not None:
            return 0
        if self._ready() and (work := self.arrangement.work) <= rows_max:
            self.arrangement.hydrate()
            self._caught_up()
            return work
        self._begin()
        return 0

    def _ready(self) -> bool:
        # not a generator in all(): whatever is missing shall begin to be made now
        return all(
            [self._indexes.ready(self.arrangement.predicate), *[each.ready for each in self.backlinks]]
        )

    def _begin(self) -> Arranging:
        self._arranging = arranging = Arranging(
            self.arrangement, self._ready, self._slices, self._sliced, self.failed
        )
        self._slices.add(arranging)
        return arranging

    def push(self, changes: Sequence[Change], _: Entry | None = None) -> None:
        """Follow a batch of the source, as the predicate sees it."""
        try:
            if self.current and len(changes) <= ROWS_PER_STEP:
                for view in self.arrangement.push(changes):
                    self.readers[view].touch()
            elif self.current:
                self._take_slices(changes)
            elif self._arranging is not None:
                self._arranging.push(changes)
        except Exception as error:
            self.failed(error)

    def review(self, keys: Sequence[Key]) -> None:
        """Look again at rows with these keys: what they lead to has changed."""
        self.push(self.arrangement.review(keys))

    def touch(self, view: RootView, keys: Sequence[Key]) -> None:
        """Rows with these keys look different to ``view``, although they are the same."""
        try:
            if isinstance(view, Totals) or not isinstance(self.arrangement, Arrangement):
                return  # what rows look like is nothing to aggregates
            if not self.current:
                view.lose_track()
            elif self.arrangement.touch(view, keys):
                self.readers[view].touch()
        except Exception as error:
            self.failed(error)

    def _take_slices(self, changes: Sequence[Change]) -> None:
        """Follow more changes than one step may take; after a change of a quarter a new sort is cheaper.

        A new sort never begins in this step: the stores hold the whole batch already, and its other sources are still
        to be told of it. What is not begun takes no notice of that.
        """
        self.current = False
        arranging = self._begin()
        if len(changes) > self.arrangement.candidates // 4:
            self._release()
        else:
            arranging.follow(changes)
        for reader in list(self.readers.values()):
            reader.fell_behind()

    def _sliced(self) -> None:
        if not self._kept_out and any(reader.lasting for reader in self.readers.values()):
            self._kept_out = True  # a passing query's would be kept for ever
            keep_out(self.arrangement.candidates)
        self._caught_up()

    def _caught_up(self) -> None:
        self.current, self._arranging = True, None
        for reader in list(self.readers.values()):
            reader.caught_up()

    def failed(self, error: Exception) -> None:
        """Its state is worth nothing now: all who read it end, and whoever comes next has it made anew."""
        self.current = False
        if self._arranging is not None:
            self._arranging.cancel()
            self._arranging = None
        for reader in list(self.readers.values()):
            self._broken(self, reader, error)

    def unlink(self) -> None:
        """Follow other sources no more."""
        for each in self.backlinks:
            each.close()
        self.backlinks.clear()

    def _release(self) -> None:
        self._slices.add(Discard(*self.arrangement.released()))

    def close(self) -> None:
        """Stop what goes on, and free it without a pause."""
        self.current = False
        self.unlink()
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None
        if self._arranging is not None:
            self._arranging.cancel()
            self._arranging = None
        self._release()

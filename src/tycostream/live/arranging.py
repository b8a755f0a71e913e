"""Making an arrangement in slices, and having it follow large batches in slices, while others go on arriving."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tycostream.dataflow.hydration import Backlog
from tycostream.live.following import Filling, Followed
from tycostream.live.slices import Discard, Slices
from tycostream.rows import Change

_BACKLOG_BYTES_MAX = 16 * 2**20
_EFFORT_MAX = 16  # times the usual step: what falls behind hurries, and still lets others have their turns
_CHANGES_PER_STEP = 1000


class Arranging:
    """The arrangement is filled; what happens meanwhile is kept, and then applied. See Job.

    If too much happens, it starts again, with steps twice as large each time up to a bound, and so catches up with an
    upstream.
    """

    def __init__(
        self,
        arrangement: Followed,
        ready: Callable[[], bool],
        slices: Slices,
        done: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """``ready``: whether its rows can be looked for; asked until it says so."""
        self._arrangement = arrangement
        self._ready = ready
        self._slices = slices
        self._done = done
        self._on_error = failed
        self._effort = 1
        self._cancelled = False
        self._backlog: Backlog | None = None  # None: not begun; what happens now will be in the store
        self._current: Filling | None = None
        self._overran = False

    def follow(self, changes: Sequence[Change]) -> None:
        """It is filled: these, and what is pushed from now on, are to be applied. Before the first step."""
        self._backlog = Backlog(_BACKLOG_BYTES_MAX)
        self.push(changes)

    def _forget(self) -> None:
        if self._current is not None:
            self._slices.add(Discard(*self._current.released()))
            self._current = None
        self._slices.add(Discard(*self._arrangement.released()))
        self._backlog = None

    def push(self, changes: Sequence[Change]) -> None:
        """A batch of the source, as the predicate sees it."""
        backlog = self._backlog
        if backlog is None:
            return
        backlog.add(changes)
        if backlog.full:
            # once may be one bulk transaction, which no pace would have saved it from; more is an upstream's pace
            if self._overran or 2 * len(changes) < len(backlog):
                self._effort = min(2 * self._effort, _EFFORT_MAX)
            self._overran = True
            self._forget()

    def step(self) -> bool:
        """See Job."""
        if self._cancelled:
            return True
        if self._current is not None:
            if self._current.step():
                self._arrangement.adopt(self._current)
                self._current = None
        elif self._backlog is None:
            if self._ready():  # an index takes turns as well
                self._current = self._arrangement.hydration(self._effort)
                self._backlog = Backlog(_BACKLOG_BYTES_MAX)
        else:
            self._arrangement.push(self._backlog.taken(_CHANGES_PER_STEP * self._effort))
            if not len(self._backlog):
                self._done()
                return True
        return False

    def failed(self, error: Exception) -> None:
        """See Job."""
        self._on_error(error)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._cancelled = True
        if self._current is not None:
            self._slices.add(Discard(*self._current.released()))
            self._current = None

"""Hydrating the views of a live query in slices, while batches go on arriving."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tycostream.dataflow.hydration import Backlog, Hydration
from tycostream.live.rendering import LiveRoot
from tycostream.live.slices import Discard, Slices
from tycostream.rows import Change

_BACKLOG_BYTES_MAX = 16 * 2**20
_EFFORT_MAX = 16  # times the usual step: what falls behind hurries, and still lets others have their turns
_CHANGES_PER_STEP = 1000


class QueryHydration:
    """One view after the other is filled; what happens meanwhile is kept, and applied when all are there. See Job.

    The last of what was kept is applied to all views in one step, so that they come to stand at one moment. If too
    much happens, it starts again, with steps twice as large each time up to a bound, and so catches up with an upstream.
    """

    def __init__(
        self,
        roots: Sequence[LiveRoot],
        slices: Slices,
        done: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._roots = roots
        self._slices = slices
        self._done = done
        self._on_error = failed
        self._effort = 1
        self._cancelled = False
        self._backlogs: list[
            Backlog
        ] = []  # of the views that were begun; the others will see it in the store
        self._current: Hydration | None = None
        self._overran = False

    def follow(self) -> None:
        """The views are there: only what is pushed from now on is to be applied. Before the first step."""
        self._backlogs = [Backlog(_BACKLOG_BYTES_MAX) for _ in self._roots]

    def _forget(self) -> None:
        if self._current is not None:
            self._slices.add(Discard(*self._current.released()))
            self._current = None
        for root, _ in zip(self._roots, self._backlogs, strict=False):
            self._slices.add(Discard(*root.view.released()))
        self._backlogs = []

    def push(self, root: LiveRoot, changes: Sequence[Change]) -> None:
        """A batch of a root's source, as its predicate sees it."""
        place = next(i for i, each in enumerate(self._roots) if each is root)
        if place < len(self._backlogs):
            backlog = self._backlogs[place]
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
                self._roots[len(self._backlogs) - 1].view.adopt(self._current)
                self._current = None
        elif len(self._backlogs) < len(self._roots):
            if not self._roots[len(self._backlogs)].ready:
                return False  # its index takes turns as well
            self._current = self._roots[len(self._backlogs)].view.hydration(self._effort)
            self._backlogs.append(Backlog(_BACKLOG_BYTES_MAX))
        else:
            return self._catch_up()
        return False

    def _catch_up(self) -> bool:
        left = _CHANGES_PER_STEP * self._effort
        for root, backlog in zip(self._roots, self._backlogs, strict=True):
            count = min(left, len(backlog))
            left -= count
            root.view.push(backlog.taken(count))
        if any(len(backlog) for backlog in self._backlogs):
            return False
        self._done()
        return True

    def failed(self, error: Exception) -> None:
        """See Job."""
        self._on_error(error)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._cancelled = True
        self._forget()

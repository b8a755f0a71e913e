"""An end that comes from elsewhere: what is done in a block stops with an error that somebody gives it meanwhile."""

from __future__ import annotations

import asyncio
from types import TracebackType

from tycostream.clock import Clock, Timer
from tycostream.errors import RequestError


def too_slow(limit_s: float) -> RequestError:
    """The error of a query that takes longer than it may."""
    said = f"the query took longer than {limit_s:g} s"
    hint = "ask for less; limits.time_limit is the limit"
    return RequestError("time-limit-exceeded", said, hint=hint, limit="time_limit")


class Interruptible:
    """A context around what one task does. ``end`` has it raise an error wherever it awaits; a block that never awaits is
    not disturbed.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._over: RequestError | None = None

    def __enter__(self) -> Interruptible:
        if self._over is not None:
            raise self._over
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        mine = self._over is not None and task is not None and not task.uncancel()
        if mine and kind is asyncio.CancelledError:  # else somebody else cancelled it too: that goes on
            assert self._over is not None
            raise self._over from None

    def end(self, error: RequestError) -> None:
        """Have the block end with ``error``. Idempotent; nothing once it has ended."""
        if self._over is None:
            self._over = error
            if self._task is not None:
                self._task.cancel()


class Deadline(Interruptible):
    """One that ends by itself after a time, in seconds of the clock."""

    def __init__(self, clock: Clock, limit_s: float, error: RequestError) -> None:
        super().__init__()
        self._clock = clock
        self._limit_s = limit_s
        self._error = error
        self._timer: Timer | None = None

    def __enter__(self) -> Deadline:
        super().__enter__()
        self._timer = self._clock.call_later(self._limit_s, lambda: self.end(self._error))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()
        super().__exit__(kind, raised, where)

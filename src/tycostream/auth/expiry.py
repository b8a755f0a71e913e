"""When sessions end: one heap and one timer for all of them, however many there are."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from tycostream.clock import Clock, Timer

_LOOK_S: Final = 1.0  # the time of day may be set, and a machine may sleep: a longer timer would not notice
_SPARE: Final = 64  # so many that were called off may lie in the heap before it is made anew


class Expiry:
    """One session's end, until it comes or is called off."""

    __slots__ = ("_expiries", "told")

    def __init__(self, expiries: Expiries, told: Callable[[], None]) -> None:
        self._expiries = expiries
        self.told: Callable[[], None] | None = told

    def cancel(self) -> None:
        """Call it off. Idempotent, also after it came."""
        if self.told is not None:
            self.told = None
            self._expiries.dropped()


class Expiries:
    """Tells each session's end at its second, by the time of day, which may jump.

    A second late is the most that a jump costs. What is far away takes no timer of its own, so no delay is ever larger
    than a timer takes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Expiry]] = []
        self._count = 0  # of all that ever were: what ends at one moment ends in the order in which it came
        self._dropped = 0
        self._timer: Timer | None = None
        self._due_s = float("inf")  # when the timer looks, by the monotonic clock

    def __len__(self) -> int:
        return len(self._heap) - self._dropped

    def at(self, expires_at_s: float, told: Callable[[], None]) -> Expiry:
        """Call ``told`` at that second since 1970, never before this returns."""
        expiry = Expiry(self, told)
        self._count += 1
        heapq.heappush(self._heap, (expires_at_s, self._count, expiry))
        self._wait()
        return expiry

    def dropped(self) -> None:
        """One of the heap was called off."""
        self._dropped += 1
        if self._dropped == len(self._heap):
            self._heap.clear()
            self._dropped = 0
            self._stop()
        elif self._dropped > _SPARE + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].told is not None]
            heapq.heapify(self._heap)
            self._dropped = 0

    def _wait(self) -> None:
        left_s = min(max(self._heap[0][0] - self._clock.time(), 0.0), _LOOK_S)
        due_s = self._clock.monotonic() + left_s
        if self._timer is None or due_s < self._due_s:
            self._stop()
            self._due_s = due_s
            self._timer = self._clock.call_later(left_s, self._look)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now_s = self._clock.time()
        due: list[Callable[[], None]] = []
        while self._heap and self._heap[0][0] <= now_s:
            expiry = heapq.heappop(self._heap)[2]
            if expiry.told is None:
                self._dropped -= 1
            else:
                due.append(expiry.told)
                expiry.told = None
        if self._heap:
            self._wait()
        for told in due:
            self._clock.call_soon(told)  # apart, for one that raises must not keep others from their end

"""A clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable


class FakeTimer:
    """See Timer."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """See Timer."""
        self.callback = None


class FakeClock:
    """See Clock. Nothing runs until ``run`` or ``advance`` is called; chance comes from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.now_s = 1000.0
        self.ahead_s = 0.0  # by how much the time of day was set forward
        self._random = random.Random(seed)
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._count = 0

    def monotonic(self) -> float:
        """See Clock."""
        return self.now_s

    def time(self) -> float:
        """See Clock."""
        return self.now_s + self.ahead_s

    def random(self) -> float:
        """See Clock."""
        return self._random.random()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        """See Clock."""
        timer = FakeTimer(callback)
        self._count += 1
        heapq.heappush(self._timers, (self.now_s + delay_s, self._count, timer))
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See Clock."""
        self._soon.append(callback)

    async def sleep(self, delay_s: float) -> None:
        """See Clock: returns once the clock was advanced far enough (at once for 0)."""
        if delay_s <= 0:
            self.run()
            await asyncio.sleep(0)
            return
        done = asyncio.Event()
        self.call_later(delay_s, done.set)
        await done.wait()

    def run(self) -> None:
        """Run everything that is due now, and what that makes due."""
        while self._soon:
            self._soon.popleft()()

    def advance(self, seconds: float) -> None:
        """Let time pass, running timers in order."""
        end = self.now_s + seconds
        self.run()
        while self._timers and self._timers[0][0] <= end:
            self.now_s, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
            self.run()
        self.now_s = end

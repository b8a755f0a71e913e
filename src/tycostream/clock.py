"""Time and randomness. Nothing else calls ``time``, ``random`` or a timer: tests pass a clock they own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is due later and can be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it already ran."""


class Clock(Protocol):
    """Where time, timers and chance come from."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""

    def time(self) -> float:
        """Seconds since 1970, UTC, as the machine believes."""

    def random(self) -> float:
        """A number in [0, 1), for jitter; never for secrets."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` on the event loop once, ``delay_s`` seconds from now."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` on the event loop, once the present turn is over."""

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def time(self) -> float:
        """See Clock."""
        return time.time()

    def random(self) -> float:
        """See Clock."""
        return random.random()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """See Clock."""
        return asyncio.get_running_loop().call_later(delay_s, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See Clock."""
        asyncio.get_running_loop().call_soon(callback)

    async def sleep(self, delay_s: float) -> None:
        """See Clock."""
        await asyncio.sleep(delay_s)

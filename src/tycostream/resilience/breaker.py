"""A circuit breaker round something that may be down: what is tried next, and when. Pure; time and chance are passed in."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from tycostream.resilience.backoff import Backoff


class BreakerState(Enum):
    """What the next attempt is."""

    CLOSED = "closed"  # the real thing
    OPEN = "open"  # nothing, until the delay is over
    HALF_OPEN = "half_open"  # one cheap probe, and the real thing only if it succeeds


class Breaker:
    """Backoff for the first failures in a row; from ``threshold`` on the circuit is open between attempts.

    The delays are the backoff's in every state, so whatever comes back is found within one step of it. What the open
    state saves is the weight of an attempt: one probe by one caller instead of everything by everybody.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        threshold: int = 5,
        base_s: float = 0.2,
        cap_s: float = 10.0,
        healthy_s: float = 10.0,
    ) -> None:
        self._backoff = Backoff(random, base_s=base_s, cap_s=cap_s, healthy_s=healthy_s)
        self._threshold = threshold
        self.state = BreakerState.CLOSED

    @property
    def failures(self) -> int:
        """How many attempts failed in a row."""
        return self._backoff.failures

    def failed(self, lived_s: float) -> float:
        """An attempt failed after ``lived_s`` seconds of life; gives the wait before the next."""
        delay_s = self._backoff.delay_s(lived_s)
        self.state = BreakerState.OPEN if self.failures >= self._threshold else BreakerState.CLOSED
        return delay_s

    def try_again(self) -> bool:
        """The wait is over. Whether the next attempt is to be a probe."""
        if self.state is BreakerState.CLOSED:
            return False
        self.state = BreakerState.HALF_OPEN
        return True

    def answered(self) -> None:
        """The probe succeeded: the real thing may be tried. Failures count on until it has lived for a while."""
        self.state = BreakerState.CLOSED

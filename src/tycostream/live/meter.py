"""How much goes through, as totals that are added to once a batch or a tick, and what that was a second of late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

WINDOW_S: Final = 10.0
_SAMPLE_S: Final = 1.0


class Totals(NamedTuple):
    """What went through since the start: changes of rows applied, messages sent, and bytes of those messages."""

    changes: int
    messages: int
    bytes: int


class Rates(NamedTuple):
    """The same, a second, over the last ``WINDOW_S`` or since the start."""

    changes: float
    messages: float
    bytes: float


@dataclass(slots=True)
class _Sample:
    at_s: float
    totals: Totals


class Meter:
    """Whoever adds to a total calls ``look`` first, with the time that it has anyway: there is no timer.

    What is asked for is then exact to a second: between two samples nothing was added but in the second after the first.
    """

    def __init__(self, started_s: float) -> None:
        """Times are the monotonic clock's."""
        self._started_s = started_s
        self._samples: deque[_Sample] = deque()  # each what was there before what came with it
        self._next_s = started_s
        self.changes = 0
        self.messages = 0
        self.bytes = 0

    @property
    def totals(self) -> Totals:
        """Since the start."""
        return Totals(self.changes, self.messages, self.bytes)

    def look(self, now_s: float) -> None:
        """Something is about to be added."""
        if now_s >= self._next_s:
            self._next_s = now_s + _SAMPLE_S
            self._samples.append(_Sample(now_s, self.totals))
            while self._samples[0].at_s <= now_s - WINDOW_S:
                self._samples.popleft()

    def rates(self, now_s: float) -> Rates:
        """Of late."""
        since_s = now_s - WINDOW_S
        before = next((each.totals for each in self._samples if each.at_s > since_s), self.totals)
        over_s = max(min(WINDOW_S, now_s - self._started_s), _SAMPLE_S)
        changes, messages, size = (
            (now - then) / over_s for now, then in zip(self.totals, before, strict=True)
        )
        return Rates(changes, messages, size)

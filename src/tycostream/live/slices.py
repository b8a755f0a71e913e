"""Long work in slices: one slice in each turn of the event loop, whoever's turn it is.

A job that touched half a million rows at once would hold every socket up; ten jobs with a slice each in the same turn
would do so too. So all long work of a hub takes turns here.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from tycostream.clock import Clock

_DROPPED_PER_STEP = 10_000


class Job(Protocol):
    """Work that can be done piece by piece."""

    def step(self) -> bool:
        """Do the next piece, a few milliseconds' worth; True when there is nothing left to do."""

    def failed(self, error: Exception) -> None:
        """``step`` raised; the job is not called again."""


class Slices:
    """Jobs in turn, one step of one job per turn of the loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: deque[Job] = deque()
        self._due = False

    def add(self, job: Job) -> None:
        """Run ``job`` to its end, from the next turn on."""
        self._jobs.append(job)
        self._schedule()

    def _schedule(self) -> None:
        if not self._due and self._jobs:
            self._due = True
            self._clock.call_soon(self._run)

    def _run(self) -> None:
        self._due = False
        job = self._jobs.popleft()
        try:
            done = job.step()
        except Exception as error:
            job.failed(error)
            done = True
        if not done:
            self._jobs.append(job)
        self._schedule()


class Discard:
    """Lets go of large containers: to free half a million rows takes as long as to make them."""

    def __init__(self, *containers: dict[Any, Any] | list[Any]) -> None:
        self._left = [container for container in containers if container]

    def step(self) -> bool:
        """See Job."""
        while self._left:
            container = self._left[-1]
            if len(container) > _DROPPED_PER_STEP:
                if isinstance(container, list):
                    del container[-_DROPPED_PER_STEP:]
                else:
                    for _ in range(_DROPPED_PER_STEP):
                        container.popitem()
                return False
            self._left.pop()
        return True

    def failed(self, error: Exception) -> None:
        """See Job; nothing here raises."""

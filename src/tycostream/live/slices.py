"""Long work in slices: one slice in each turn of the event loop, whoever's turn it is.

A job that touched half a million rows at once would hold every socket up; ten jobs with a slice each in the same turn
would do so too. So all long work of a hub takes turns here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from tycostream.clock import Clock

_DROPPED_PER_STEP = 10_000
Container = dict[Any, Any] | list[Any]


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

    async def run(self, step: Callable[[], bool]) -> None:
        """Call ``step`` in turn with the others until it returns True; raises what it raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.add(_Awaited(step, done))
        await done

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
            done = True
            job.failed(error)
        finally:  # whatever a job does, the others have their turns
            if not done:
                self._jobs.append(job)
            self._schedule()


class _Awaited:
    """A job that somebody awaits, and that ends with their patience. See Job."""

    def __init__(self, step: Callable[[], bool], done: asyncio.Future[None]) -> None:
        self._step = step
        self._done = done

    def step(self) -> bool:
        if self._done.done():  # cancelled
            return True
        if not self._step():
            return False
        self._done.set_result(None)
        return True

    def failed(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)


class Discard:
    """Lets go of large containers: to free half a million rows takes as long as to make them."""

    def __init__(self, *containers: Container) -> None:
        self._left = [container for container in containers if container]

    def step(self) -> bool:
        """See Job."""
        budget = _DROPPED_PER_STEP
        while self._left and budget > 0:
            container = self._left[-1]
            count = min(budget, len(container))
            budget -= count
            if isinstance(container, list):
                del container[len(container) - count :]
            else:
                for _ in range(count):
                    container.popitem()
            if not container:
                self._left.pop()
        return not self._left

    def failed(self, error: Exception) -> None:
        """See Job; nothing here raises."""

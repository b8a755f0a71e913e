"""Sources that move together: what happened at a timestamp is released when all of them have closed it. Pure.

A source alone is a group of one. A member that lags leaves the group, so that it does not hold up the others; what it
brings later is released by itself until it has caught up, and then it is a member again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tycostream.rows import Change

_WAITING_CHANGES_MAX: Final = 500_000


@dataclass(frozen=True, slots=True)
class Release:
    """Everything of ``changes``' sources at ``timestamp``; no changes: only ``sources`` got so far."""

    timestamp: int
    changes: dict[str, Sequence[Change]]
    sources: tuple[str, ...]


@dataclass(slots=True)
class _Source:
    frontier: int  # what its stream has told
    member: bool
    told: int = -1  # what was released of it
    finished: bool = False
    closed: deque[tuple[int, Sequence[Change]]] = field(default_factory=deque)


class CommonFrontier:
    """The least frontier of its members, and what waits for it."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._released = -1  # the group's frontier as it was told
        self._waiting = 0

    def join(self, name: str, timestamp: int = -1) -> None:
        """A source that has told everything up to ``timestamp``; -1: its snapshot is still to come.

        Those that join before anything is released wait for each other; a later one is a member once it has caught up.
        """
        self.remove(name)
        self._sources[name] = _Source(timestamp, timestamp >= self._released, timestamp)

    def start(self, name: str, timestamp: int) -> None:
        """Its snapshot has told everything up to ``timestamp``; what the group tells below that is no news of it."""
        source = self._sources[name]
        source.frontier = source.told = timestamp

    def remove(self, name: str) -> None:
        """The source is gone."""
        gone = self._sources.pop(name, None)
        if gone is not None:
            self._waiting -= sum(len(changes) for _, changes in gone.closed)

    def closed(self, name: str, timestamp: int, changes: Sequence[Change]) -> None:
        """Everything of ``name`` at ``timestamp``, in order of timestamps."""
        self._sources[name].closed.append((timestamp, changes))
        self._waiting += len(changes)

    def advance(self, name: str, timestamp: int) -> None:
        """Everything of ``name`` up to ``timestamp`` was told."""
        self._sources[name].frontier = timestamp

    def laggards(self) -> list[str]:
        """The members that all others wait for; empty where nobody waits."""
        members = {name: source.frontier for name, source in self._sources.items() if source.member}
        if len(members) < 2:
            return []
        low, high = min(members.values()), max(members.values())
        return [name for name, frontier in members.items() if frontier == low] if low < high else []

    @property
    def overfull(self) -> bool:
        """Whether so much waits that the laggards must go at once."""
        return self._waiting > _WAITING_CHANGES_MAX

    def leave(self, name: str) -> None:
        """Stop waiting for a source."""
        self._sources[name].member = False

    def finish(self, name: str) -> None:
        """Nothing more will come of it: nobody waits for it."""
        self._sources[name].member, self._sources[name].finished = False, True

    @property
    def begun(self) -> bool:
        """Whether anything was released: those that started together have all started."""
        return self._released >= 0

    def release(self) -> Iterator[Release]:
        """What is due, in order of timestamps."""
        while True:
            members = [name for name, source in self._sources.items() if source.member]
            if members:
                common = min(self._sources[name].frontier for name in members)
                if common > self._released or any(self._due(name, common) for name in members):
                    yield from self._up_to(members, common)
                    self._released = max(self._released, common)
            back = False
            for name, source in self._sources.items():
                if source.member:
                    continue
                reach = min(source.frontier, self._released) if members else source.frontier
                yield from self._up_to([name], reach)
                if source.frontier >= max(self._released, 0) and not source.finished:
                    source.member = back = True
            if not back:
                return

    def _due(self, name: str, timestamp: int) -> bool:
        closed = self._sources[name].closed
        return bool(closed) and closed[0][0] <= timestamp

    def _up_to(self, names: Sequence[str], end: int) -> Iterator[Release]:
        while due := [name for name in names if self._due(name, end)]:
            timestamp = min(self._sources[name].closed[0][0] for name in due)
            changes = {}
            for name in due:
                closed = self._sources[name].closed
                if closed[0][0] == timestamp:
                    changes[name] = closed.popleft()[1]
                    self._waiting -= len(changes[name])
            yield Release(timestamp, changes, tuple(names))
        news = tuple(name for name in names if self._sources[name].told < end)
        for name in news:
            self._sources[name].told = end
        if news:
            yield Release(end, {}, news)

"""Sources that move together: what happened at a timestamp is released when all of them have closed it. Pure.

A source alone is a group of one. A member that lags leaves the group, so that it does not hold up the others; what it
brings later is released by itself until it has caught up, and then it is a member again. A snapshot counts like a
change: it is complete to the outside when the group has come to its timestamp, and not before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tycostream.rows import Change

_WAITING_BYTES_MAX: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Release:
    """Everything of ``sources`` at ``timestamp``; no changes: they only got so far. Those that changed are told that by their changes.

    ``started``: those whose snapshot is as of ``timestamp``; nothing else is told of them before.
    """

    timestamp: int
    changes: dict[str, Sequence[Change]]
    sources: tuple[str, ...]
    started: tuple[str, ...] = ()


@dataclass(slots=True)
class _Source:
    frontier: int  # what its stream has told; -1: its snapshot is not complete
    member: bool
    told: int = -1  # what was released of it
    start: int | None = None  # of its snapshot, until that is released
    finished: bool = False
    ended: bool = False  # that it is finished was told
    closed: deque[tuple[int, Sequence[Change], int]] = field(default_factory=deque)

    @property
    def next(self) -> int | None:
        """The timestamp of what is to be released next."""
        if self.start is not None:
            return self.start
        return self.closed[0][0] if self.closed else None


class CommonFrontier:
    """The least frontier of its members, and what waits for it."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._released = -1  # the group's frontier as it was told
        self._waiting = 0  # bytes

    def join(self, name: str, timestamp: int = -1) -> None:
        """A source that has told everything up to ``timestamp``; -1: its snapshot is still to come.

        Those that join before anything is released wait for each other; a later one is a member once it has caught up.
        """
        self.remove(name)
        self._sources[name] = _Source(timestamp, timestamp >= self._released, timestamp)

    def start(self, name: str, timestamp: int) -> None:
        """Its snapshot, which is of ``timestamp``, is complete."""
        source = self._sources[name]
        source.frontier = source.start = timestamp

    def remove(self, name: str) -> None:
        """The source is gone."""
        gone = self._sources.pop(name, None)
        if gone is not None:
            self._waiting -= sum(size for _, _, size in gone.closed)

    def closed(self, name: str, timestamp: int, changes: Sequence[Change], size: int = 0) -> None:
        """Everything of ``name`` at ``timestamp``, about ``size`` bytes, in order of timestamps."""
        self._sources[name].closed.append((timestamp, changes, size))
        self._waiting += size

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
        """Whether so much waits that there is no time to be patient with laggards."""
        return self._waiting > _WAITING_BYTES_MAX

    def starting(self, name: str) -> bool:
        """Whether the snapshot of a source is still to come."""
        source = self._sources.get(name)
        return source is not None and source.frontier < 0

    def leave(self, name: str) -> None:
        """Stop waiting for a source."""
        self._sources[name].member = False

    def finish(self, name: str) -> None:
        """Nothing more will come of it: nobody waits for it."""
        self._sources[name].member, self._sources[name].finished = False, True

    def ended(self) -> list[tuple[str, int]]:
        """Those that are finished and of which all was released, once, and up to where that was."""
        ended = [
            (name, source.told)
            for name, source in self._sources.items()
            if source.finished and not source.ended and source.next is None
        ]
        for name, _ in ended:
            self._sources[name].ended = True
        return ended

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
        first = self._sources[name].next
        return first is not None and first <= timestamp

    def _up_to(self, names: Sequence[str], end: int) -> Iterator[Release]:
        while due := [first for name in names if (first := self._sources[name].next) is not None]:
            timestamp = min(due)
            if timestamp > end:
                break
            yield from self._at(timestamp, names)
        news = tuple([name for name in self._begun(names) if self._sources[name].told < end])
        for name in news:
            self._sources[name].told = end
        if news:
            yield Release(end, {}, news)

    def _at(self, timestamp: int, names: Sequence[str]) -> Iterator[Release]:
        """What changed, then the snapshots that saw it: together they are one moment."""
        begun, changes = self._begun(names), {}
        for name in begun:
            source = self._sources[name]
            if source.next == timestamp:
                _, changes[name], size = source.closed.popleft()
                source.told = timestamp
                self._waiting -= size
        if changes:
            yield Release(timestamp, changes, begun)
        started = tuple([name for name in names if self._sources[name].start == timestamp])
        for name in started:
            self._sources[name].start, self._sources[name].told = None, timestamp
        if started:
            yield Release(timestamp, {}, (), started)

    def _begun(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those that are complete to the outside."""
        return tuple([name for name in names if self._sources[name].start is None])

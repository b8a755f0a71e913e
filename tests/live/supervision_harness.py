"""A world of feeds over scripted databases whose calls are counted and can be held, on a clock that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import pytest

from tests.live.live_harness import COPIES, ITEMS
from tycostream.config.model import DatabaseConfig, LiveConfig, SourceConfig
from tycostream.engines.base import Event
from tycostream.errors import Action, UpstreamError
from tycostream.live.cursor import CursorBox
from tycostream.live.feed import Feed
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.observe import events
from tycostream.observe.events import BreakerChanged
from tycostream.rows import Position, RowType
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import ScriptedEngine, ScriptedStream

STALL_S = 10.0
LOST = UpstreamError("connection-lost", "nobody there", action=Action.RETRY)
DENIED = UpstreamError("no-rights", "no right to read it", action=Action.FAIL, hint="GRANT SELECT")


async def run_feeds(feeds: Sequence[Feed]) -> None:
    async with asyncio.TaskGroup() as group:
        for feed in feeds:
            group.create_task(feed.run())


class WatchedStream(ScriptedStream):
    """Tells of additions, and lets a test hold them."""

    def __init__(self, engine: WatchedEngine) -> None:
        super().__init__(engine)
        self.watched = engine

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        await self.watched.held("add", source.name)
        self.watched.added.append((self.watched.clock.now_s, source.name, after))
        await super().add(row_type, source, after)

    async def read(self) -> Sequence[Event]:
        while True:
            found = [e for e in await super().read() if getattr(e, "source", None) not in self.watched.muted]
            if found:
                return found


class WatchedEngine(ScriptedEngine):
    """A scripted database whose ``describe``, ``add`` and ``probe`` are counted and can be held."""

    def __init__(self, row_types: Iterable[RowType], clock: FakeClock, *, shared: bool) -> None:
        super().__init__(list(row_types), share_positions=shared, history=1000)
        self.clock = clock
        self.added: list[tuple[float, str, Position | None]] = []
        self.described: list[tuple[float, str]] = []
        self.holds: dict[tuple[str, str], asyncio.Event] = {}
        self.bug: Exception | None = None
        self.muted: set[str] = set()  # sources of which nothing arrives

    def hold(self, what: str, source: str = "") -> asyncio.Event:
        """From now on that call waits for the event."""
        gate = self.holds[what, source] = asyncio.Event()
        return gate

    async def held(self, what: str, source: str = "") -> None:
        if (gate := self.holds.get((what, source))) is not None:
            await gate.wait()

    async def probe(self) -> None:
        await self.held("probe")
        await super().probe()

    async def describe(self, source: SourceConfig) -> RowType:
        self.described.append((self.clock.now_s, source.name))
        await self.held("describe", source.name)
        if self.bug is not None:
            raise self.bug
        return await super().describe(source)

    async def open(self) -> ScriptedStream:
        if self.refuse is not None:
            raise self.refuse
        self.opened += 1
        self.stream = WatchedStream(self)
        return self.stream

    def adds(self, source: str) -> list[tuple[float, Position | None]]:
        return [(at, after) for at, name, after in self.added if name == source]


class World:
    """Databases, a feed each, and one hub, on a clock that the test moves."""

    def __init__(self, *, shared: bool = False, databases: int = 1) -> None:
        self.clock = FakeClock()
        self.events: list[events.Event] = []
        self.described: list[RowType] = []
        self.renewed: list[float] = []
        self.renew_bug: Exception | None = None
        self.hub = Hub(self.clock, self.events.append, CursorBox(), outbox_bytes_max=1 << 20)
        tables = [(ITEMS, COPIES)] if databases == 1 else [(ITEMS,), (COPIES,)]
        self.engines = [WatchedEngine(row_types, self.clock, shared=shared) for row_types in tables]
        self.engine = self.engines[0]
        self.engine.tables["items"] = [(1, 1, "a"), (2, 2, "b")]
        self.feeds = [
            self._feed(f"db{i}", engine, {r.source: SourceConfig(name=r.source) for r in row_types})
            for i, (engine, row_types) in enumerate(zip(self.engines, tables, strict=True))
        ]
        self.feed = self.feeds[0]
        self.task: asyncio.Task[None] | None = None

    def _feed(self, name: str, engine: WatchedEngine, sources: dict[str, SourceConfig]) -> Feed:
        config = DatabaseConfig(url="postgresql://scripted")
        assert config.stall_after.total_seconds() == STALL_S
        return Feed(
            name,
            engine,
            sources,
            self.hub,
            self.clock,
            self.events.append,
            config,
            self._described,
            self._renew,
        )

    def _described(self, row_type: RowType) -> None:
        self.described.append(row_type)
        self.hub.add_source(row_type, LiveConfig())

    def _renew(self) -> None:
        self.renewed.append(self.clock.now_s)
        if self.renew_bug is not None:
            raise self.renew_bug

    def start(self) -> None:
        self.task = asyncio.create_task(run_feeds(self.feeds))

    async def stop(self) -> None:
        if self.task is not None:
            assert not self.task.done(), "a feed never ends by itself"
            self.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await self.task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def until(self, condition: Callable[[], bool], step_s: float = 0.0, limit: int = 20_000) -> None:
        """Let turns, and with ``step_s`` time, pass until a condition holds."""
        for _ in range(limit):
            if condition():
                return
            self.clock.advance(step_s)
            for _ in range(3):
                await asyncio.sleep(0)
        raise AssertionError(f"never came true; the feed is {self.feed.state} {self.feed.reason}")

    async def passes(
        self,
        seconds: float,
        *,
        step_s: float = 0.5,
        living: tuple[str, ...] = (),
        each: Callable[[], None] = lambda: None,
    ) -> None:
        """Time passes; the ``living`` sources make progress meanwhile."""
        end = self.clock.now_s + seconds

        def tick() -> bool:
            for name in living:
                for engine in self.engines:
                    if name in engine.tables:
                        engine.progress(name)
            each()
            return self.clock.now_s >= end

        await self.until(tick, step_s)

    def state(self, source: str) -> SourceState:
        known = self.hub.sources.get(source)
        return SourceState.STARTING if known is None else known.state

    async def live(self, *sources: str, step_s: float = 0.1) -> None:
        names = sources or ("items", "copies")
        await self.until(lambda: all(self.state(name) is SourceState.LIVE for name in names), step_s)

    def breaker(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, BreakerChanged)]


@pytest.fixture
async def made() -> AsyncIterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(*, start: bool = True, **options: bool | int) -> World:
        worlds.append(World(**options))  # type: ignore[arg-type]
        if start:
            worlds[-1].start()
        return worlds[-1]

    yield make
    for world in worlds:
        await world.stop()

"""A feed keeps one upstream stream alive: connect, snapshot, follow; on a loss wait, connect again, tell the difference.

States (design 4): STARTING until every source has its first snapshot, LIVE, STALE while the upstream is away (stores
stay readable, subscriptions stay open), RESYNCING while a fresh snapshot is compared with the stores, FAILED when only
a person can mend it; even then it tries again, slowly, since the mending is done elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum

from tycostream.clock import Clock
from tycostream.config.model import SourceConfig
from tycostream.engines.base import Engine, Event, Progress, SnapshotPart, SourceFailed, Stream
from tycostream.errors import Action, UpstreamError
from tycostream.live.hub import Hub, SourceState
from tycostream.observe.events import Emit, FeedStateChanged
from tycostream.resilience.backoff import Backoff
from tycostream.rows import Batch, Change, Position, Row, RowType

_FAILED_RETRY_S = 30.0


class FeedState(Enum):
    """Where a feed stands."""

    STARTING = "starting"
    LIVE = "live"
    STALE = "stale"
    RESYNCING = "resyncing"
    FAILED = "failed"


class Feed:
    """One database's feed: all its sources over one stream."""

    def __init__(
        self,
        database: str,
        engine: Engine,
        sources: Mapping[str, tuple[RowType, SourceConfig]],
        hub: Hub,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self.database = database
        self.state = FeedState.STARTING
        self.reason = ""
        self._engine = engine
        self._sources = dict(sources)
        self._hub = hub
        self._clock = clock
        self._emit = emit
        self._backoff = Backoff(clock.random)
        self._loaded: set[str] = set()  # sources whose store has held a snapshot before
        self._parts: dict[str, list[Row]] = {}  # snapshots that are still arriving
        self._resync: dict[str, Sequence[Change]] = {}
        self._together: set[str] = set()  # sources of the shared first snapshot, until it is released
        self._resync_position: Position | None = None
        self._heal_at_s: dict[str, float] = {}  # failed sources: when each is tried again

    async def run(self) -> None:
        """Keep the stream alive until cancelled."""
        while True:
            started = self._clock.monotonic()
            try:
                await self._follow()
            except UpstreamError as error:
                await self._wait_after(error, self._clock.monotonic() - started)

    async def _follow(self) -> None:
        self._parts = {name: [] for name in self._sources}
        self._resync = {}
        self._heal_at_s = {}
        self._together = set(self._sources)
        stream = await self._engine.open()
        try:
            for name in self._sources:
                await self._add(stream, name)
            if self._loaded:
                self._enter(FeedState.RESYNCING)
            while True:
                for event in await stream.read():
                    self._take(event)
                await self._heal(stream)
                # a busy upstream always has more: the sockets must have their turn of the loop
                await self._clock.sleep(0)
        finally:
            await stream.close()

    def _take(self, event: Event) -> None:
        match event:
            case Batch():
                if self._resync:
                    self._release_resync()
                self._hub.apply(event, self.database)
            case SnapshotPart(source, rows, position):
                self._parts[source].extend(rows)
                if position is not None:
                    self._snapshot_complete(source, position)
            case Progress(position):
                self._hub.progress(self._live_sources(), position)
            case SourceFailed(source, error):
                self._source_failed(source, error)
        if self._resync and not (self._together & self._parts.keys()):
            self._release_resync()
        if not self._parts and self.state is not FeedState.LIVE:
            self._enter(FeedState.LIVE)

    def _live_sources(self) -> list[str]:
        behind = self._parts.keys() | self._resync.keys() | self._heal_at_s.keys()
        return [name for name in self._sources if name not in behind]

    def _snapshot_complete(self, source: str, position: Position) -> None:
        rows = self._parts.pop(source)
        if source not in self._loaded:
            self._hub.load(source, rows, position)
            self._loaded.add(source)
            return
        changes = self._hub.sources[source].store.diff(rows)
        if source in self._together:
            # the tables of one database come back as one set, at the one position they share
            self._resync[source] = changes
            self._resync_position = position
        else:  # it came later, alone; held back, it would undo the batches applied meanwhile
            self._hub.apply(Batch(position, {source: changes}, resync=True), self.database)
            self._hub.mark(source, SourceState.LIVE)

    def _release_resync(self) -> None:
        changes, self._resync = self._resync, {}
        self._together = set()
        assert self._resync_position is not None
        self._hub.apply(Batch(self._resync_position, changes, resync=True), self.database)
        for name in changes:
            self._hub.mark(name, SourceState.LIVE)

    def _source_failed(self, source: str, error: UpstreamError) -> None:
        self._parts.pop(source, None)
        self._resync.pop(source, None)
        self._together.discard(source)
        self._hub.mark(source, SourceState.FAILED, error)
        self._emit(FeedStateChanged(self.database, "failed", source, error.message, error.hint))

        self._heal_at_s[source] = self._clock.monotonic() + _FAILED_RETRY_S

    async def _heal(self, stream: Stream) -> None:
        """Try failed sources again: whoever mends one does it in the database, and nobody tells us."""
        now = self._clock.monotonic()
        for name in [name for name, at_s in self._heal_at_s.items() if at_s <= now]:
            del self._heal_at_s[name]
            self._parts[name] = []
            await self._add(stream, name)

    async def _add(self, stream: Stream, name: str) -> None:
        row_type, source = self._sources[name]
        try:
            await stream.add(row_type, source)
        except UpstreamError as error:
            if error.action is not Action.FAIL:
                raise
            self._source_failed(name, error)

    def _enter(self, state: FeedState, reason: str = "", hint: str = "") -> None:
        self.state, self.reason = state, reason
        self._emit(FeedStateChanged(self.database, state.value, None, reason, hint))

    async def _wait_after(self, error: UpstreamError, lived_s: float) -> None:
        """Mark what is stale, and wait: a jittered moment, or longer where only a person can help."""
        failed = error.action is Action.FAIL
        for name in self._sources:
            source = self._hub.sources[name]
            if failed and source.state is SourceState.STARTING:
                self._hub.mark(name, SourceState.FAILED, error)
            elif source.state is SourceState.LIVE:
                self._hub.mark(name, SourceState.STALE, error)
        self._enter(FeedState.FAILED if failed else FeedState.STALE, str(error), error.hint)
        delay_s = _FAILED_RETRY_S if failed else self._backoff.delay_s(lived_s)
        await self._clock.sleep(delay_s)


async def run_feeds(feeds: Sequence[Feed]) -> None:
    """Run feeds side by side until cancelled; every task is owned here."""
    async with asyncio.TaskGroup() as group:
        for feed in feeds:
            group.create_task(feed.run(), name=f"feed {feed.database}")

"""A feed keeps one database's stream alive: describe, connect, snapshot, follow; on a loss wait, connect again, tell the difference.

States (design 4): STARTING until every source has its first snapshot, LIVE, STALE while the upstream is away (stores
stay readable, subscriptions stay open), RESYNCING while sources catch up after a loss, FAILED when only a person can
mend it; even then it tries again, since the mending is done elsewhere and nobody tells us.

Every source stands for itself: it is described, added, found stalled, failed and healed alone. The stream as a whole is
given up only when it ends itself or none of its sources is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from tycostream.clock import Clock, Timer
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.base import Engine, Event, Finished, Progress, SnapshotPart, SourceFailed, Stream
from tycostream.errors import Action, TycoError, UpstreamError
from tycostream.live.hub import Hub, SourceState
from tycostream.live.source_feed import SourceFeed
from tycostream.observe.events import BreakerChanged, Emit, FeedStateChanged
from tycostream.resilience.breaker import Breaker, BreakerState
from tycostream.rows import Batch, Change, Position, RowType

_FAILED_RETRY_S: Final = 30.0  # the longest a mended source waits to be tried again
_DESCRIBED_AT_ONCE: Final = 8
_OF_THE_DATABASE: Final = frozenset({"auth", "database-missing", "output-settings"})  # no source is to blame
_PATIENCE_S: Final = 600.0  # the longest silence of a database that answers before a source connects anew
_CHECKS_PER_STALL: Final = 4  # how often silence is looked for within `stall_after`


class FeedState(Enum):
    """Where a feed stands."""

    STARTING = "starting"
    LIVE = "live"
    STALE = "stale"
    RESYNCING = "resyncing"
    FAILED = "failed"


class Feed:
    """One database's feed: all its sources over one stream.

    ``described`` is told each source's row type when it is first known and whenever it is another one; ``renew`` is
    called before connecting again after a failure: credentials may have been rotated.
    """

    def __init__(
        self,
        database: str,
        engine: Engine,
        sources: Mapping[str, SourceConfig],
        hub: Hub,
        clock: Clock,
        emit: Emit,
        config: DatabaseConfig,
        described: Callable[[RowType], None],
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        self.database = database
        self.state = FeedState.STARTING
        self.reason = ""
        cap_s = config.reconnect_delay_max.total_seconds()
        self.breaker = Breaker(clock.random, cap_s=cap_s)
        self.sources = {
            name: SourceFeed(
                source, Breaker(clock.random, threshold=1, base_s=min(1.0, cap_s), cap_s=_FAILED_RETRY_S)
            )
            for name, source in sources.items()
        }
        self._engine = engine
        self._hub = hub
        self._clock = clock
        self._emit = emit
        self._described = described
        self._renew = renew
        self._stall_s = config.stall_after.total_seconds()
        self._tried = False  # an attempt has ended: whoever waits for the start need not wait for us
        self._live_since_s: float | None = None
        self._look_timer: Timer | None = None
        self._together: set[str] = set()  # sources that come back at one position, until all have
        self._resync: dict[str, Sequence[Change]] = {}
        self._resync_position: Position | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._broken: UpstreamError | None = None

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for: every source is there, or why it is not is known."""
        return self._tried or all(
            source.state is not SourceState.STARTING for source in self.sources.values()
        )

    # the life of a stream

    async def run(self) -> None:
        """Keep the stream alive until cancelled."""
        while True:
            try:
                if self.breaker.try_again():
                    self._tell_breaker()
                    await self._engine.probe()
                    self.breaker.answered()
                    self._tell_breaker()
                await self._follow()
            except UpstreamError as error:
                await self._pause(error)
            except Exception as error:  # a bug in one feed must not stop the others, nor itself for ever
                await self._pause(_unexpected(error))
            try:
                self._renew()
            except Exception as error:  # what we had may still be right
                self._enter(self.state, str(_unexpected(error)))

    async def _follow(self) -> None:
        self._begin()
        await self._describe_all()
        stream = await self._engine.open()
        reading: asyncio.Task[Sequence[Event]] | None = None
        self._look()
        try:
            async with asyncio.TaskGroup() as adding:
                for source in self.sources.values():
                    if source.wanted:
                        adding.create_task(self._add(stream, source))
            if any(source.loaded for source in self.sources.values()):
                self._enter(FeedState.RESYNCING)
            self._settle()
            while True:
                if reading is None:
                    reading = asyncio.ensure_future(stream.read())
                    reading.add_done_callback(lambda _: self._wake.set())
                await self._wake.wait()
                self._wake.clear()
                if reading.done():
                    events, reading = reading.result(), None
                    for event in events:
                        self._take(event)
                self._supervise(stream)
                # a busy upstream always has more: the sockets must have their turn of the loop
                await self._clock.sleep(0)
        finally:
            await self._stop(stream, reading)

    def _begin(self) -> None:
        now = self._clock.monotonic()
        for source in self.sources.values():
            source.begin(now, self._stall_s)
        self._resync = {}
        self._broken = self._live_since_s = None
        self._wake.clear()

    async def _stop(self, stream: Stream, reading: asyncio.Task[Sequence[Event]] | None) -> None:
        """Nothing of this stream may go on: neither its tasks nor half of a snapshot."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        ending = [*self._tasks, *([reading] if reading is not None else [])]
        for task in ending:
            task.cancel()
        await stream.close()
        if ending:
            await asyncio.wait(ending)  # not awaited each: that would take our own cancellation for theirs
        if reading is not None and not reading.cancelled():
            reading.exception()  # told already, or of no use any more
        for source in self.sources.values():
            self._drop_partial(source)

    async def _pause(self, error: UpstreamError) -> None:
        """Mark what is stale, and wait: a jittered moment, or longer where only a person can help."""
        failed = error.action is Action.FAIL
        for source in self.sources.values():
            if error.action is Action.RESYNC:
                source.position = None
            if failed and source.state is SourceState.STARTING:
                self._mark(source, SourceState.FAILED, error)
            elif source.state is SourceState.LIVE:
                self._mark(source, SourceState.STALE, error)
            elif source.state is SourceState.STARTING:
                source.error = error
        self._tried = True
        delay_s = self.breaker.failed(self._lived_s(self._live_since_s))
        self._enter(FeedState.FAILED if failed else FeedState.STALE, str(error), error.hint)
        if self.breaker.state is BreakerState.OPEN:
            self._tell_breaker()
        await self._clock.sleep(_FAILED_RETRY_S if failed else delay_s)

    def _lived_s(self, since_s: float | None) -> float:
        return 0.0 if since_s is None else self._clock.monotonic() - since_s

    # describing and adding

    async def _describe_all(self) -> None:
        """The row type of every source; one that cannot be had fails alone, unless nothing can be had."""
        gate = asyncio.Semaphore(_DESCRIBED_AT_ONCE)
        errors: list[UpstreamError] = []

        async def describe(source: SourceFeed) -> None:
            async with gate:
                if errors:
                    return  # the database is away: the others would say the same
                try:
                    await self._describe(source)
                except UpstreamError as error:
                    if error.action is Action.FAIL and error.code not in _OF_THE_DATABASE:
                        self._source_failed(source, error)
                    else:
                        errors.append(error)

        await asyncio.gather(*(describe(source) for source in self.sources.values()))
        if errors:
            raise errors[0]
        self._together = (
            {s.name for s in self.sources.values() if s.wanted} if self._engine.share_positions else set()
        )

    async def _describe(self, source: SourceFeed) -> None:
        try:
            row_type = await self._engine.describe(source.config)
            if source.row_type is not None and row_type.shape == source.row_type.shape:
                return
            self._described(row_type)
        except UpstreamError:
            raise
        except Exception as error:  # what one source brings to light is no matter of the others
            raise _unexpected(error, Action.FAIL) from error
        source.row_type, source.loaded, source.position = row_type, False, None
        source.state = SourceState.STARTING

    async def _add(self, stream: Stream, source: SourceFeed) -> None:
        assert source.row_type is not None
        source.added = source.awaiting = source.trying = True
        if source.state is SourceState.FAILED and not source.loaded:
            self._mark(source, SourceState.STARTING, source.error)  # operations may wait for it again
        try:
            await stream.add(source.row_type, source.config, source.position if source.loaded else None)
        except UpstreamError as error:
            self._source_failed(source, error)
        finally:
            source.trying = False
            source.heard_s = self._clock.monotonic()

    async def _again(self, stream: Stream, source: SourceFeed) -> None:
        """Validate a source anew and add it: its table may be another, its rights may be back."""
        try:
            await self._describe(source)
        except UpstreamError as error:
            source.trying = False
            if error.code in _OF_THE_DATABASE:
                self._renew()  # the other sources' old connections live on: nobody else would
            self._source_failed(source, error)
            return
        await self._add(stream, source)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that raised something else than it should ends the stream, not the process; the wake tells of it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error if isinstance(error, UpstreamError) else _unexpected(error)
        self._wake.set()

    # events

    def _take(self, event: Event) -> None:
        now = self._clock.monotonic()
        match event:
            case Batch(position, changes):
                if self._resync:
                    self._release_resync()
                self._hub.apply(event, self.database)
                for name in changes:
                    self._heard(self.sources[name], position, now)
            case SnapshotPart(name, rows, position):
                source = self.sources[name]
                if source.added:  # else it was removed meanwhile: half of its snapshot is no use
                    source.heard_s = now
                    self._part(source, rows)
                    if position is not None:
                        self._snapshot_complete(source, position, now)
            case Progress(position, only):
                told = [source for source in self.sources.values() if only in (None, source.name)]
                for source in told:
                    source.heard_s = now
                    if only is not None or (source.added and not source.awaiting):
                        self._heard(source, position, now)
                self._hub.progress([source.name for source in told if source.following], position)
            case Finished(name):
                self.sources[name].finished = True
            case SourceFailed(name, error):
                self._source_failed(self.sources[name], error)
        self._settle()

    def _heard(self, source: SourceFeed, position: Position, now: float) -> None:
        """Everything of ``source`` up to ``position`` is in its store: one that was resumed, or had stalled, is live."""
        source.heard_s = now
        if source.name in self._resync or not source.loaded:
            return
        if not source.added:  # removed meanwhile; what was applied need not come again
            source.position = source.position and position
            return
        self._together.discard(source.name)
        if source.state is SourceState.LIVE or self._behind(position):
            source.position = position
        else:
            self._live(source, position, now)

    def _behind(self, position: Position) -> bool:
        """Whether other sources are ahead: one that catches up is true to them only when it is level with them."""
        return self._engine.share_positions and any(
            other.state is SourceState.LIVE
            and other.position is not None
            and other.position.comparable(position)
            and other.position.offset > position.offset
            for other in self.sources.values()
        )

    def _part(self, source: SourceFeed, rows: Sequence[tuple[Any, ...]]) -> None:
        if not source.loaded:
            source.filling = True
            self._hub.fill(source.name, rows)
            return
        if source.difference is None:
            source.difference = self._hub.sources[source.name].store.difference()
        source.difference.take(rows)

    def _snapshot_complete(self, source: SourceFeed, position: Position, now: float) -> None:
        if not source.loaded:
            source.filling, source.loaded = False, True
            self._together.discard(source.name)
            self._hub.loaded(source.name, position)
            self._live(source, position, now)
            return
        assert source.difference is not None
        changes, source.difference = source.difference.changes(), None
        if source.name in self._together:
            # sources of one database come back as one set, at the one position they share
            self._together.discard(source.name)
            self._resync[source.name] = changes
            self._resync_position = position
        else:  # alone; held back, it would undo the batches applied meanwhile
            self._hub.apply(Batch(position, {source.name: changes}, resync=True), self.database)
            self._live(source, position, now)

    def _release_resync(self) -> None:
        changes, self._resync = self._resync, {}
        self._together = set()
        position, now = self._resync_position, self._clock.monotonic()
        assert position is not None, "a difference has its position"
        self._hub.apply(Batch(position, changes, resync=True), self.database)
        for name in changes:
            self._live(self.sources[name], position, now)

    def _live(self, source: SourceFeed, position: Position, now: float) -> None:
        source.position = position
        source.awaiting = False
        source.ask_after_s = self._stall_s
        source.live_since_s = now
        if self._live_since_s is None:
            self._live_since_s = now
        source.breaker.answered()
        if source.error is not None and self.state in (FeedState.STARTING, FeedState.LIVE):
            self._emit(FeedStateChanged(self.database, "live", source.name))  # it healed alone
        self._mark(source, SourceState.LIVE)

    def _settle(self) -> None:
        """Release what waited for all, and say so when everything is where it should be."""
        if self._resync and not self._together:
            self._release_resync()
        pending = any(s.state in (SourceState.STARTING, SourceState.STALE) for s in self.sources.values())
        if not pending and self.state is not FeedState.LIVE:
            self._enter(FeedState.LIVE)

    # failing and healing

    def _source_failed(self, source: SourceFeed, error: UpstreamError) -> None:
        self._drop_partial(source)
        self._together.discard(source.name)
        self._resync.pop(source.name, None)
        source.added = source.awaiting = source.finished = False
        if error.action is Action.RESYNC:
            source.position = None
        delay_s = source.breaker.failed(self._lived_s(source.live_since_s))
        source.live_since_s = None
        source.retry_at_s = self._clock.monotonic() + delay_s
        self._clock.call_later(delay_s, self._wake.set)
        if error.action is Action.FAIL:
            self._mark(source, SourceState.FAILED, error)
        elif source.state is SourceState.LIVE:
            self._mark(source, SourceState.STALE, error)
        else:
            source.error = error
        self._emit(FeedStateChanged(self.database, source.state.value, source.name, str(error), error.hint))
        self._wake.set()

    def _drop_partial(self, source: SourceFeed) -> None:
        """Forget half a snapshot."""
        source.difference = None
        if source.filling:
            source.filling = False
            self._hub.abandon(source.name)

    def _supervise(self, stream: Stream) -> None:
        """Add again what is due, ask after what is silent, give up what has nothing left."""
        if self._broken is not None:
            raise self._broken
        now = self._clock.monotonic()
        for source in self.sources.values():
            if source.retry_at_s is not None and source.retry_at_s <= now:
                source.retry_at_s = None
                source.breaker.try_again()
                source.added = source.trying = True  # from here on it counts as being tried
                self._spawn(self._again(stream, source))
            elif source.silent_s(now) > self._stall_s:
                self._stalled(stream, source, source.silent_s(now))
        down = [source.error for source in self.sources.values() if not source.added]
        gone = [
            error for error in down if isinstance(error, UpstreamError) and error.action is not Action.FAIL
        ]
        if gone and len(down) == len(self.sources):
            raise gone[0]  # nothing is left of the connection: the database is away

    def _stalled(self, stream: Stream, source: SourceFeed, silent_s: float) -> None:
        """No sign of life for too long: mark it, ask the database, and connect anew if that does not help."""
        error = UpstreamError(
            "stalled",
            f"source {source.name}: no sign of life for {silent_s:.0f} s",
            action=Action.RETRY,
            hint="is a replica restarting, or a network path broken? See `stall_after`",
        )
        if source.state is SourceState.LIVE:
            self._mark(source, SourceState.STALE, error)
            self._emit(FeedStateChanged(self.database, "stale", source.name, str(error), error.hint))
        if not source.asking and silent_s > source.ask_after_s:
            source.asking = True
            self._spawn(self._ask(stream, source, error))

    async def _ask(self, stream: Stream, source: SourceFeed, error: UpstreamError) -> None:
        """A database that answers may only be slow: be patient, longer each time. One that does not is lost."""
        first, heard_s = source.ask_after_s <= self._stall_s, source.heard_s
        source.ask_after_s = min(2 * source.ask_after_s, _PATIENCE_S)
        try:
            await self._engine.probe()
        except UpstreamError as lost:
            error = lost
        else:
            if first or not source.loaded:
                return  # a first snapshot may take as long as it takes
        finally:
            source.asking = False
        if source.heard_s != heard_s or not source.added:
            return  # it has spoken meanwhile, or is tried anew already
        if self._engine.share_positions and not any(
            s.heard_s > source.heard_s for s in self.sources.values()
        ):
            self._broken = error  # all sources come over one connection, and nothing does
            return
        await stream.remove(source.name)
        self._source_failed(source, error)

    def _look(self) -> None:
        """Look after silence a few times within ``stall_after``: it rings no bell."""
        self._wake.set()
        self._look_timer = self._clock.call_later(self._stall_s / _CHECKS_PER_STALL, self._look)

    # telling

    def _mark(self, source: SourceFeed, state: SourceState, error: TycoError | None = None) -> None:
        source.state, source.error = state, error
        if source.row_type is not None:
            self._hub.mark(source.name, state, error)

    def _enter(self, state: FeedState, reason: str = "", hint: str = "") -> None:
        self.state, self.reason = state, reason
        self._emit(FeedStateChanged(self.database, state.value, None, reason, hint))

    def _tell_breaker(self) -> None:
        self._emit(BreakerChanged(self.database, self.breaker.state.value, None, self.breaker.failures))


def _unexpected(error: BaseException, action: Action = Action.RESYNC) -> UpstreamError:
    """Nothing can be taken for granted after it: sources are read again."""
    return UpstreamError("unexpected", "internal error in a feed", action=action, detail=repr(error))


async def run_feeds(feeds: Sequence[Feed]) -> None:
    """Run feeds side by side until cancelled; every task is owned here."""
    async with asyncio.TaskGroup() as group:
        for feed in feeds:
            group.create_task(feed.run(), name=f"feed {feed.database}")

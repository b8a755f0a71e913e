"""A feed keeps one database's stream alive: describe, connect, snapshot, follow; on a loss wait, connect again, tell the difference.

States (design 4): STARTING until every source has its first snapshot, LIVE, STALE while the upstream is away (stores
stay readable, subscriptions stay open), RESYNCING while sources catch up after a loss, FAILED when only a person can
mend it; even then it tries again, since the mending is done elsewhere and nobody tells us.

Every source stands for itself: it is described, added, found stalled, failed and healed alone. The stream as a whole is
given up only when it ends itself or none of its sources is left.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from enum import Enum
from typing import Any, Final

from tycostream.clock import Clock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.base import Engine, Stream
from tycostream.errors import Action, UpstreamError
from tycostream.live.hub import Hub
from tycostream.live.intake import Intake, unexpected
from tycostream.live.live_source import SourceState
from tycostream.live.silence import Silence
from tycostream.live.source_feed import SourceFeed
from tycostream.observe.events import BreakerChanged, Emit, FeedStateChanged
from tycostream.resilience.breaker import Breaker, BreakerState
from tycostream.rows import RowType

_FAILED_RETRY_S: Final = 30.0  # the longest a mended source waits to be tried again
_AT_ONCE: Final = 8  # described or added side by side
_OF_THE_DATABASE: Final = frozenset(
    {"auth", "database-missing", "output-settings", "url-invalid"}
)  # no source is to blame


def _reconfigured(source: str) -> UpstreamError:
    return UpstreamError(
        "reconfigured",
        f"source {source}: the configuration was changed, it is read anew",
        action=Action.RETRY,
        hint="its rows are compared; operations go on and get the difference",
    )


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
        self._lost_retry_s = cap_s  # what was only lost does not wait as long as what a person must mend
        self.breaker = Breaker(clock.random, cap_s=cap_s)
        self._engine = engine
        self._hub = hub
        self._clock = clock
        self.sources = {name: self._source(source) for name, source in sources.items()}
        self._emit = emit
        self._described = described
        self._renew = renew
        self._stall_s = config.stall_after.total_seconds()
        self._tried = False  # an attempt has ended: whoever waits for the start need not wait for us
        self._tasks: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stream: Stream | None = None
        self._intake = Intake(
            database,
            self.sources,
            hub,
            clock,
            emit,
            share_positions=engine.share_positions,
            level_first=engine.level_first,
            stall_s=self._stall_s,
            catching_up=engine.catching_up,
            failed=self._source_failed,
            refused=self._refused,
        )
        self._wake = asyncio.Event()
        self._broken: UpstreamError | None = None
        self._silence = Silence(
            database, self.sources, self._intake, engine, clock, emit, self._stall_s, self._wake.set
        )

    def _source(self, config: SourceConfig) -> SourceFeed:
        base_s = min(1.0, self._lost_retry_s)
        breaker = Breaker(self._clock.random, threshold=1, base_s=base_s, cap_s=_FAILED_RETRY_S)
        return SourceFeed(config, breaker)

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for: every source is there, or why it is not is known."""
        return self._tried or not any(source.arriving for source in self.sources.values())

    # another configuration: it holds at once, and what it asks of the stream follows

    def put(self, config: SourceConfig, former: SourceFeed | None = None) -> None:
        """Follow a source, or one that is followed by another configuration.

        It is described; one that reads as before goes on without a gap, another starts anew. ``former`` is the source
        of that name in the feed that followed it until now: its store, and who reads it, are taken over.
        """
        source = self.sources.get(config.name)
        if source is None:
            source = self.sources[config.name] = self._source(config)
            source.skipping = True  # what the stream may still hold of a former one
            source.retry_at_s = self._clock.monotonic()
            if former is not None:
                self._inherit(source, former)
        else:
            source.config, source.revised = config, True
            if source.retry_at_s is not None:  # it has failed, and this may be what mends it
                source.retry_at_s = self._clock.monotonic()
        self._wake.set()

    def drop(self, name: str) -> SourceFeed:
        """Follow a source no more. Nothing of it reaches the hub from here on; gives where it stood."""
        source = self.sources.pop(name)
        self._intake.drop_partial(source)
        self._intake.resync.forget(name)
        source.gone = True
        self._spawn(self._leave(self._stream, name))
        return source

    def inherit(self, former: Mapping[str, SourceFeed]) -> None:
        """Before it runs: go on with the stores of a feed that this one replaces."""
        for name, source in self.sources.items():
            if (known := former.get(name)) is not None:
                self._inherit(source, known)

    def _inherit(self, source: SourceFeed, former: SourceFeed) -> None:
        source.succeed(former)
        if source.state is SourceState.LIVE:
            self._intake.mark(source, SourceState.STALE, _reconfigured(source.name))

    async def _leave(self, stream: Stream | None, name: str) -> None:
        async with self._turns[name]:
            if stream is not None:
                await stream.remove(name)
            self._engine.forget(name)

    # the life of a stream

    async def run(self) -> None:
        """Keep the stream alive until cancelled. A bug in one feed must not stop the others, nor itself for ever."""
        while True:
            try:
                await self._attempt()
            except Exception as error:
                self._enter(self.state, str(unexpected(error)))
                await self._clock.sleep(_FAILED_RETRY_S)

    async def _attempt(self) -> None:
        """Follow until the stream ends, and wait until it may be tried again."""
        try:
            if self.breaker.try_again():
                self._tell_breaker(self.breaker)
                await self._engine.probe()
                self.breaker.answered()
                self._tell_breaker(self.breaker)
            await self._follow()
        except UpstreamError as error:
            await self._pause(error)
        except Exception as error:
            await self._pause(unexpected(error))
        try:
            self._renew()
        except Exception as error:  # what we had may still be right
            self._enter(self.state, str(unexpected(error)))

    async def _follow(self) -> None:
        self._begin()
        await self._describe_all()
        stream = self._stream = await self._engine.open()
        taking: asyncio.Task[None] | None = None
        self._silence.look()
        try:
            async with asyncio.TaskGroup() as adding:
                for source in self.sources.values():
                    if source.wanted:
                        adding.create_task(self._add(stream, source))
            if any(source.loaded for source in self.sources.values()):
                self._enter(FeedState.RESYNCING)
            self._settle()
            taking = asyncio.ensure_future(self._take(stream))
            taking.add_done_callback(lambda _: self._wake.set())
            while not taking.done():
                self._supervise(stream)
                await self._wake.wait()
                self._wake.clear()
            taking.result()
        finally:
            await self._stop(stream, taking)

    async def _take(self, stream: Stream) -> None:
        """Take events as they come, in the step that reads them, until the stream ends with its error."""
        while True:
            for event in await stream.read():
                self._intake.take(event)
            self._settle()
            # a busy upstream always has more: the sockets must have their turn of the loop
            await self._clock.sleep(0)

    def _begin(self) -> None:
        self._tried = False
        now = self._clock.monotonic()
        for source in self.sources.values():
            source.begin(now, self._stall_s)
        self._intake.begin()
        self._broken = None
        self._wake.clear()

    async def _stop(self, stream: Stream, taking: asyncio.Task[None] | None) -> None:
        """Nothing of this stream may go on: neither its tasks nor half of a snapshot."""
        self._stream = None
        ending: list[asyncio.Task[Any]] = [*self._tasks, *self._silence.stop()]
        if taking is not None:
            ending.append(taking)
        for task in ending:
            task.cancel()
        await stream.close()
        if ending:
            await asyncio.wait(ending)  # not awaited each: that would take our own cancellation for theirs
        for last in ending:
            if not last.cancelled():
                last.exception()  # told already, or of no use any more
        for source in self.sources.values():
            self._intake.drop_partial(source)

    async def _pause(self, error: UpstreamError) -> None:
        """Mark what is stale, and wait: a jittered moment, or longer where only a person can help."""
        failed = error.action is Action.FAIL
        for source in self.sources.values():
            if error.action is Action.RESYNC:
                source.position = None
            if failed and source.state is SourceState.STARTING:
                self._intake.mark(source, SourceState.FAILED, error)
            elif source.state in (SourceState.LIVE, SourceState.STALE):
                self._intake.mark(source, SourceState.STALE, error)
            elif source.state is SourceState.STARTING:
                source.error = error
        self._tried = True
        delay_s = self.breaker.failed(self._lived_s(self._intake.live_since_s))
        self._enter(FeedState.FAILED if failed else FeedState.STALE, str(error), error.hint)
        if self.breaker.state is BreakerState.OPEN:
            self._tell_breaker(self.breaker)
        await self._clock.sleep(_FAILED_RETRY_S if failed else delay_s)

    def _lived_s(self, since_s: float | None) -> float:
        return 0.0 if since_s is None else self._clock.monotonic() - since_s

    # describing and adding

    async def _describe_all(self) -> None:
        """The row type of every source; one that cannot be had fails alone, unless the database is away."""
        errors: dict[SourceFeed, UpstreamError] = {}

        async def describe(source: SourceFeed) -> None:
            async with self._gate:
                away = next((error for error in errors.values() if error.action is not Action.FAIL), None)
                if away is not None:
                    errors[source] = away  # it would most likely say the same, after as long a wait
                    return
                try:
                    await self._describe(source)
                except UpstreamError as error:
                    errors[source] = error

        await asyncio.gather(*(describe(source) for source in self.sources.values()))
        for error in errors.values():
            if error.code in _OF_THE_DATABASE:
                raise error
        if any(error.action is not Action.FAIL for error in errors.values()):
            await self._engine.probe()  # is the database away, or only one source too slow to describe?
        for source, error in errors.items():
            self._source_failed(source, error)
        wanted = [source.name for source in self.sources.values() if source.wanted]
        self._intake.resync.expect(wanted if self._engine.share_positions else ())

    async def _describe(self, source: SourceFeed) -> None:
        """Find out what a source is by the configuration of now; of one that was dropped meanwhile, nothing."""
        config = None
        while source.config is not config and not source.gone:
            config = source.config
            try:
                async with self._turns[source.name]:
                    row_type = await self._engine.describe(config)
                if source.config is config and not source.gone:
                    self._known(source, config, row_type)
            except UpstreamError:
                if source.config is config:
                    raise
            except Exception as error:  # what one source brings to light is no matter of the others
                raise unexpected(error, Action.FAIL) from error

    def _known(self, source: SourceFeed, config: SourceConfig, row_type: RowType) -> None:
        """What a source is. A store of other columns starts anew; one that is read otherwise is compared later."""
        known, source.revised = source.row_type, False
        same = known is not None and known.layout == row_type.layout
        redefined = source.read is not None and source.read.asked != config.asked
        if not same or redefined:
            self._intake.drop_partial(source)
            self._intake.resync.forget(source.name)
            source.position, source.skipping = None, True
            if redefined and same and source.state is SourceState.LIVE:
                self._intake.mark(source, SourceState.STALE, _reconfigured(source.name))
        if known is None or known.shape != row_type.shape or redefined or source.refused:
            source.refused = True
            self._described(row_type)
            source.refused = False
        source.row_type, source.read = row_type, config
        if not same:
            source.loaded, source.state = False, SourceState.STARTING

    async def _add(self, stream: Stream, source: SourceFeed) -> None:
        source.added = source.awaiting = source.trying = True
        source.finished = False
        if source.state is SourceState.FAILED and not source.loaded:
            self._intake.mark(source, SourceState.STARTING, source.error)  # operations may wait for it again
        try:
            async with self._gate, self._turns[source.name]:
                if not source.gone:
                    assert source.row_type is not None
                    assert source.read is not None
                    source.skipping = False
                    await stream.add(source.row_type, source.read, source.position if source.loaded else None)
        except UpstreamError as error:
            self._source_failed(source, error)
        finally:
            source.trying = False
            source.heard_s = self._clock.monotonic()
            if source.revised:
                self._wake.set()

    async def _revise(self, stream: Stream, source: SourceFeed) -> None:
        """Follow a source as it is configured now; what reads as before is not disturbed."""
        try:
            await self._describe(source)
        except UpstreamError as error:
            await self._restart(stream, source, error)
            source.trying = False
            return
        if source.skipping:
            await self._add(stream, source)
        source.trying = False

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
        await self._add(stream, source)  # removes what may be left of it first

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that raised something else than it should ends the stream, not the process; the wake tells of it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error if isinstance(error, UpstreamError) else unexpected(error)
        self._wake.set()

    def _settle(self) -> None:
        """Say so when everything is where it should be."""
        pending = (SourceState.STARTING, SourceState.STALE)
        if self.state is not FeedState.LIVE and not any(s.state in pending for s in self.sources.values()):
            self._enter(FeedState.LIVE)

    # failing and healing

    def _refused(self, source: SourceFeed, error: UpstreamError) -> None:
        if self._stream is not None:
            self._spawn(self._restart(self._stream, source, error))

    async def _restart(self, stream: Stream, source: SourceFeed, error: UpstreamError) -> None:
        """Take a source off the stream; it is added again when its breaker lets it."""
        async with self._turns[source.name]:
            if not source.gone:
                await stream.remove(source.name)
        self._source_failed(source, error)

    def _source_failed(self, source: SourceFeed, error: UpstreamError) -> None:
        if source.gone:
            return
        self._intake.drop_partial(source)
        self._intake.resync.forget(source.name)
        source.added = source.finished = False
        source.awaiting = True  # until its own comes: tried again it counts as added before the stream has it
        if error.action is Action.RESYNC:
            source.position = None
        delay_s = source.breaker.failed(self._lived_s(source.live_since_s))
        if error.action is not Action.FAIL:
            delay_s = min(delay_s, self._lost_retry_s)
        source.live_since_s = None
        source.retry_at_s = self._clock.monotonic() + delay_s
        self._clock.call_later(delay_s, self._wake.set)
        self._tell_breaker(source.breaker, source.name)
        if error.action is Action.FAIL and error.code not in _OF_THE_DATABASE:
            self._intake.mark(source, SourceState.FAILED, error)
        elif source.state in (SourceState.LIVE, SourceState.STALE):
            self._intake.mark(source, SourceState.STALE, error)
        else:
            source.error = error
        self._emit(FeedStateChanged(self.database, source.state.value, source.name, error.told, error.hint))
        self._wake.set()

    def _supervise(self, stream: Stream) -> None:
        """Add again what is due, ask after what is silent, give up what has nothing left."""
        if self._broken is not None:
            raise self._broken
        now = self._clock.monotonic()
        for source in self.sources.values():
            if source.retry_at_s is not None and source.retry_at_s <= now:
                source.retry_at_s = None
                source.breaker.try_again()
                self._tell_breaker(source.breaker, source.name)
                source.added = source.trying = True  # from here on it counts as being tried
                self._spawn(self._again(stream, source))
            elif source.revised and source.added and not source.trying:
                source.trying = True
                self._spawn(self._revise(stream, source))
            elif source.silent_s(now) > self._stall_s and (error := self._silence.of(source, now)):
                self._spawn(self._ask(stream, source, error))
        missing = [self.sources[name] for name in self._intake.resync.missing]
        if missing and all(source.silent_s(now) > self._stall_s for source in missing):
            self._intake.release_resync()  # a snapshot that does not come must not keep the others stale
        self._give_up()

    def _give_up(self) -> None:
        """End a stream that has no source left, if it is the connection that is gone: the database is away."""
        moving = [source for source in self.sources.values() if not source.finished]
        if any(source.added for source in moving):
            return
        for source in moving:
            error = source.error
            if isinstance(error, UpstreamError) and (
                error.action is not Action.FAIL or error.code in _OF_THE_DATABASE
            ):
                raise error

    async def _ask(self, stream: Stream, source: SourceFeed, error: UpstreamError) -> None:
        lost = await self._silence.ask(source, error)
        if lost is None:
            return
        if self._engine.share_positions and not any(
            s.heard_s > source.heard_s for s in self.sources.values()
        ):
            self._broken = lost  # they move together, and none does
            return
        await self._restart(stream, source, lost)

    # telling

    def _enter(self, state: FeedState, reason: str = "", hint: str = "") -> None:
        self.state, self.reason = state, reason
        self._emit(FeedStateChanged(self.database, state.value, None, reason.partition("\nHint: ")[0], hint))

    def _tell_breaker(self, breaker: Breaker, source: str | None = None) -> None:
        self._emit(BreakerChanged(self.database, breaker.state.value, source, breaker.failures))

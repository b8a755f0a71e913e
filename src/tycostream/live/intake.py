"""What a stream's events do: rows and batches to the hub, and where each source stands after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tycostream.clock import Clock
from tycostream.engines.base import Event, Finished, Progress, SnapshotPart, SourceFailed
from tycostream.errors import Action, TycoError, UpstreamError
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.live.resync import Resync
from tycostream.live.source_feed import SourceFeed
from tycostream.observe.events import BreakerChanged, Emit, FeedStateChanged
from tycostream.resilience.breaker import BreakerState
from tycostream.rows import Batch, Position, Row

Told = Callable[[SourceFeed, UpstreamError], None]


def unexpected(error: BaseException, action: Action = Action.RESYNC) -> UpstreamError:
    """A bug of ours as an error of the upstream: nothing can be taken for granted after it, so sources are read again."""
    return UpstreamError("unexpected", "internal error in a feed", action=action, detail=repr(error))


def _catching_up(source: str) -> UpstreamError:
    return UpstreamError(
        "catching-up", f"source {source}: it reads what happened before it was asked for", action=Action.RETRY
    )


class Intake:
    """Takes one feed's events, in order and without waiting.

    ``failed`` is told of a source that the stream has given up, ``refused`` of one whose store did not take a batch: it
    must come off the stream. ``share_positions``, ``level_first``: see Engine.
    """

    def __init__(
        self,
        database: str,
        sources: Mapping[str, SourceFeed],
        hub: Hub,
        clock: Clock,
        emit: Emit,
        *,
        share_positions: bool,
        level_first: bool,
        stall_s: float,
        catching_up: Callable[[str, Position], bool],
        failed: Told,
        refused: Told,
    ) -> None:
        self._database = database
        self._sources = sources
        self._hub = hub
        self._clock = clock
        self._emit = emit
        self._share_positions, self._level_first = share_positions, level_first
        self._stall_s = stall_s
        self._catching_up = catching_up
        self._failed = failed
        self._refused = refused
        self.resync = Resync()
        self.live_since_s: float | None = None  # when the first source of this stream was live

    def begin(self) -> None:
        """A new stream."""
        self.resync.expect(())
        self.live_since_s = None

    def take(self, event: Event) -> None:
        """The stream's next event."""
        now = self._clock.monotonic()
        match event:
            case Batch(position, changes):
                self.release_resync()
                self._batch(event)
                for name in changes:
                    if (source := self._sources.get(name)) is not None:
                        self._heard(source, position, now)
            case SnapshotPart(name, rows, position):
                if (source := self._taken(name)) is not None and source.added:
                    source.heard_s = now
                    self._part(source, rows)
                    if position is not None:
                        self._snapshot_complete(source, position, now)
            case Progress(position, only):
                told = [source for source in self._sources.values() if only in (None, source.name)]
                for source in told:
                    source.heard_s = now
                    if only is not None or (source.added and not source.awaiting):
                        self._heard(source, position, now)
                self._hub.progress([source.name for source in told if source.following], position)
            case Finished(name):
                if (source := self._taken(name)) is not None:
                    source.finished = True
                    if source.position is not None:  # resumed, and nothing more to come
                        self._heard(source, source.position, now)
            case SourceFailed(name, error):
                if (source := self._taken(name)) is not None:
                    self._failed(source, error)
        if self.resync.due:
            self.release_resync()

    def _taken(self, name: str) -> SourceFeed | None:
        """The source that an event is of; None if it was dropped, or what comes of it does not fit any more."""
        source = self._sources.get(name)
        return None if source is None or source.skipping else source

    def _batch(self, batch: Batch) -> None:
        """Apply a batch. What a source's store refuses costs that source its place, and nobody else."""
        changes = batch.changes
        taken = {name: some for name, some in changes.items() if self._taken(name) is not None}
        if len(taken) < len(changes):
            changes = taken
            batch = Batch(batch.position, changes, batch.resync)
        try:
            self._hub.apply(batch, self._database)
        except Exception as error:
            wrong = error if isinstance(error, UpstreamError) else unexpected(error)
            for name in changes:
                self._sources[name].skipping = True  # its store misses something: what follows does not fit
                self._refused(self._sources[name], wrong)

    def _heard(self, source: SourceFeed, position: Position, now: float) -> None:
        """Everything of ``source`` up to ``position`` is in its store: one that was resumed, or had stalled, is live."""
        source.heard_s = now
        if source.name in self.resync or not source.loaded or source.skipping:
            return
        if not source.added:  # removed meanwhile; what was applied need not come again
            source.position = source.position and position
            return
        self.resync.forget(source.name)
        if source.state is SourceState.LIVE:
            source.position = position
        else:
            self._placed(source, position, now)

    def _behind(self, source: SourceFeed, position: Position) -> bool:
        """Whether a source still catches up: with the present, or with the others that it must be level with."""
        return self._catching_up(source.name, position) or (
            self._share_positions
            and any(
                other.state is SourceState.LIVE
                and other.position is not None
                and other.position.comparable(position)
                and other.position.offset > position.offset
                for other in self._sources.values()
            )
        )

    def _in_the_past(self, source: SourceFeed, position: Position) -> bool:
        return self._level_first and self._catching_up(source.name, position)

    def _placed(self, source: SourceFeed, position: Position, now: float) -> None:
        """Its store is true at ``position``. It is live by that, or readable and said to be old.

        Where sources must be level at once (``Engine.level_first``), one that is still in the past has not started.
        """
        source.position = position
        source.awaiting = False
        if not self._behind(source, position):
            self._live(source, now)
        elif source.state is SourceState.STARTING and not self._in_the_past(source, position):
            self.mark(source, SourceState.STALE, _catching_up(source.name))

    def _part(self, source: SourceFeed, rows: Sequence[Row]) -> None:
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
            self.resync.forget(source.name)
            self._hub.loaded(source.name, position, ready=not self._in_the_past(source, position))
            self._placed(source, position, now)
            return
        assert source.difference is not None
        changes, source.difference = source.difference.changes(), None
        together = source.name in self.resync.missing
        self.resync.arrived(source.name, position, changes)
        if not together:  # alone; held back, it would undo the batches applied meanwhile
            self.release_resync()

    def release_resync(self) -> None:
        """Tell the differences that are held, whatever is still missing."""
        if self.resync.idle:
            return
        for batch in self.resync.release():
            self._hub.apply(batch, self._database)
            for name in batch.changes:
                self._placed(self._sources[name], batch.position, self._clock.monotonic())

    def _live(self, source: SourceFeed, now: float) -> None:
        source.ask_after_s = self._stall_s
        source.live_since_s = now
        if self.live_since_s is None:
            self.live_since_s = now
        if source.breaker.state is not BreakerState.CLOSED:
            source.breaker.answered()
            self._tell_breaker(source)
        self.mark(source, SourceState.LIVE)
        self._emit(FeedStateChanged(self._database, source.state.value, source.name))

    def mark(self, source: SourceFeed, state: SourceState, error: TycoError | None = None) -> None:
        """A source's state, here and in the hub."""
        if source.gone:
            return
        source.state, source.error = state, error
        if source.row_type is not None:
            self._hub.mark(source.name, state, error)

    def drop_partial(self, source: SourceFeed) -> None:
        """Forget half a snapshot."""
        source.difference = None
        if source.filling:
            source.filling = False
            self._hub.abandon(source.name)

    def _tell_breaker(self, source: SourceFeed) -> None:
        breaker = source.breaker
        self._emit(BreakerChanged(self._database, breaker.state.value, source.name, breaker.failures))

"""The hub: batches in, cohorts out. ``apply`` and ``subscribe`` never await.

No batch can land inside a synchronous step, so going from snapshot to live needs no buffer and has no race: what a
subscriber reads in ``subscribe`` is the state before the next ``apply``, whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from tycostream.clock import Clock
from tycostream.config.model import LiveConfig
from tycostream.dataflow.log import Log
from tycostream.dataflow.router import Router
from tycostream.dataflow.store import Store, duplicate_key
from tycostream.errors import RequestError, TycoError
from tycostream.graphql.plan import Coalesce, Plan, RootPlan, Way, rows_of
from tycostream.live.arrangements import Arrangements, root_view
from tycostream.live.cohorts import Cohorts
from tycostream.live.collector import keep_out, keep_pages
from tycostream.live.cursor import CursorBox
from tycostream.live.feed_cohort import FeedCohort
from tycostream.live.fragments import FragmentCaches, TooMuch
from tycostream.live.framing import Framing, Sink
from tycostream.live.indexes import Indexes
from tycostream.live.joining import Joining
from tycostream.live.live_source import (
    LiveSource,
    SourceState,
    Subscriber,
    any_stale,
    as_told,
    changed,
    failed,
    permitted_no_more,
    related_otherwise,
    removed,
)
from tycostream.live.log_cohort import LogCohort
from tycostream.live.log_subscriber import LogSubscriber
from tycostream.live.meter import Meter
from tycostream.live.nested import Nesting
from tycostream.live.outbox import Outbox
from tycostream.live.query_cohort import ROWS_AT_ONCE, QueryCohort
from tycostream.live.query_subscriber import QuerySubscriber
from tycostream.live.reading import expect_snapshot, leads, read_by
from tycostream.live.rendering import LiveRoot, Rendering
from tycostream.live.slices import Discard, Slices
from tycostream.live.subscriber import uncounted
from tycostream.live.targets import Push
from tycostream.observe.events import BatchApplied, Emit, FeedStateChanged
from tycostream.rows import Batch, Change, Position, Row, RowType

_HEARTBEATS_PER_KEEP = 4


class Hub:
    """All sources, all cohorts. The engine side calls ``load``, ``apply`` and the states; clients come by ``subscribe``."""

    def __init__(self, clock: Clock, emit: Emit, cursors: CursorBox, *, outbox_bytes_max: int) -> None:
        keep_pages()
        self._clock = clock
        self._emit = emit
        self.outbox_bytes_max = outbox_bytes_max  # the largest of any connection from now on
        self._slices = Slices(clock)
        self.sources: dict[str, LiveSource] = {}
        self._ways: dict[str, frozenset[Way]] = {}  # where each source's rows lead
        self._nesting = Nesting(self.sources)
        self._cohorts = Cohorts(clock, emit, cursors, self._slices, self._nesting)

    @property
    def cohorts(self) -> Cohorts:
        """All that are there: to be looked at."""
        return self._cohorts

    @property
    def meter(self) -> Meter:
        """How much goes through."""
        return self._cohorts.ticker.meter

    # the engine side

    def add_source(self, row_type: RowType, config: LiveConfig, definition: Hashable = None) -> None:
        """Make a source known; it is STARTING until it is loaded.

        Known already with another row type: its operations end with ``source-changed``, and it starts anew. Cursors
        are good for one ``definition`` of its rows.
        """
        name = row_type.source
        known = self.sources.get(name)
        if known is not None:
            if known.row_type.layout == row_type.layout:
                known.definition = definition
                self.configure(name, config)
                return
            self._retire(known, changed(name))
        log = Log(
            row_type, Position("", 0, 0), bytes_max=config.log.bytes, keep_s=config.log.keep.total_seconds()
        )
        store, router = Store(row_type), Router[Push]()
        indexes = Indexes(store, self._slices, self._clock)
        fragments = FragmentCaches(functools.partial(self._nesting.kept, name))
        source = LiveSource(row_type, config, store, log, indexes, router, fragments, definition=definition)
        source.arrangements = Arrangements(
            source, self.sources, self._nesting.related, self._slices, self._clock, self._cohorts.quarantine
        )
        self.sources[name] = source
        self._heartbeat(source)

    def configure(self, name: str, config: LiveConfig) -> None:
        """Deliver a source by other settings. Its operations go on; a ``coalesce`` is for those that start now."""
        source = self.sources.get(name)
        if source is None or source.config == config:
            return
        source.config = config
        source.log.bound(config.log.bytes, config.log.keep.total_seconds(), self._clock.monotonic())
        self._cohorts.evict(source)
        for cohort in self._cohorts.reading(source):
            if isinstance(cohort, QueryCohort):
                cohort.floor_s = self._cohorts.floor_s(cohort)
        if source.heartbeat is not None:
            source.heartbeat.cancel()
        self._heartbeat(source)

    def remove_source(self, name: str) -> None:
        """Forget a source; its operations end with ``source-removed``."""
        source = self.sources.get(name)
        if source is not None:
            self._retire(source, removed(name))

    def relate(self, name: str, ways: frozenset[Way]) -> None:
        """Where a source's rows lead now: operations that follow another way end with ``source-changed``."""
        before = self._ways.get(name, ways)
        self._ways[name] = ways
        for cohort, steps in list(self._cohorts.steps.items()) if before - ways else ():
            if any(step.source == name and not leads(self._ways, step) for step in steps):
                self._cohorts.fail(cohort, related_otherwise(name))

    def operations(self, names: Collection[str], roles: Collection[str]) -> list[Subscriber]:
        """The running subscriptions of all but admin that read one of these sources; any at all if ``roles`` differ."""
        sources = {self.sources[name] for name in names if name in self.sources}
        return [
            member
            for cohort, read in self._cohorts.sources.items()
            if not cohort.plan.for_admin and (roles or not sources.isdisjoint(read))
            for member in cohort.members
        ]

    def move(self, subscriber: Subscriber, plan: Plan) -> None:
        """Go on by another plan of the same operation, which sees something else: the difference is told, and no more.

        A subscription whose result would be the same is not touched. It ends if it cannot go on by that plan.
        """
        if subscriber.ended or plan.cohort_key == subscriber.cohort.key:
            subscriber.plan = plan
            return
        roots = [root for root in plan.roots if isinstance(root, RootPlan)]
        before = [root for root in subscriber.plan.roots if isinstance(root, RootPlan)]
        try:
            if [(root.source, root.mode) for root in roots] != [(root.source, root.mode) for root in before]:
                raise permitted_no_more("its fields are others now")
            sources = read_by(self.sources, self._ways, roots)
            for source in self.sources.values():
                source.waiting.pop(subscriber, None)
            cohort = self._cohorts.of_plan(plan, roots, sources, bytes_max=self.outbox_bytes_max)
            self._cohorts.stop_linger(cohort)
            subscriber.plan = plan
            if isinstance(subscriber, QuerySubscriber):
                assert isinstance(cohort, QueryCohort)
                subscriber.move(cohort)
                self._start(subscriber, sources, subscriber.start)
            else:
                subscriber.move(cohort, roots[0])
                self._start(subscriber, sources, functools.partial(self._start_following, subscriber))
        except RequestError as error:
            subscriber.fail(as_told(error, plan))
        except Exception as error:
            self._cohorts.quarantine(subscriber, error)

    def _retire(self, source: LiveSource, error: RequestError) -> None:
        del self.sources[source.row_type.source]
        if source.heartbeat is not None:
            source.heartbeat.cancel()
        source.waiting.clear()
        for cohort in self._cohorts.reading(source):
            self._cohorts.fail(cohort, error)
        self._clear(source)
        self._free(source.store)

    def _clear(self, source: LiveSource) -> None:
        """Nobody is told any more what happens to a source: what is kept for who may come would go stale."""
        source.arrangements.clear()
        for other in self.sources.values():
            other.arrangements.clear(reading=source.row_type.source)

    def _free(self, store: Store) -> None:
        self._slices.add(Discard(*store.released()))

    def _heartbeat(self, source: LiveSource) -> None:
        period_s = source.config.log.keep.total_seconds() / _HEARTBEATS_PER_KEEP

        def beat() -> None:
            source.log.evict(self._clock.monotonic())
            self._cohorts.evict(source)
            source.indexes.expire(source.config.linger.total_seconds(), source.router.names)
            for cohort in self._cohorts.reading(source):
                # once: how many other sources its permission reads is nobody's business
                if isinstance(cohort, FeedCohort) and cohort.source_name == source.row_type.source:
                    cohort.heartbeat()
            source.heartbeat = self._clock.call_later(period_s, beat)

        source.heartbeat = self._clock.call_later(period_s, beat)

    def fill(self, name: str, rows: Sequence[Row]) -> None:
        """Add a part of the first snapshot of a source that is not loaded: nobody reads it yet."""
        self.sources[name].store.fill(rows)

    def loaded(self, name: str, position: Position, *, ready: bool = True) -> None:
        """The first snapshot is complete, true at ``position``: operations that waited start, if it is ``ready``.

        One that is not is marked LIVE or STALE later, when it has caught up.
        """
        source = self.sources[name]
        self._restart_log(source, position)
        keep_out(len(source.store.rows))
        if ready:
            self.mark(name, SourceState.LIVE)

    def abandon(self, name: str) -> None:
        """The first snapshot was cut off: forget its parts."""
        self._free(self.sources[name].store)

    def load(self, name: str, rows: Iterable[Row], position: Position) -> None:
        """The first snapshot in one part."""
        self.fill(name, list(rows))
        self.loaded(name, position)

    def apply(self, batch: Batch, database: str = "") -> None:
        """Apply a batch: whole, in one step. An exception inside one cohort ends that cohort only.

        What one source's store refuses is raised, and nothing of the batch was applied to any, nor told.
        """
        started = self._clock.monotonic()
        self.meter.look(started)
        count = reached = 0
        for source, resolved in self._stored(batch):
            if (source.store.surplus or source.crowded) and self._crowded(source, batch.position, database):
                continue
            if not batch.position.comparable(source.log.position):
                self._restart_log(source, batch.position)
            if not resolved:
                source.log.progress(batch.position)
                continue
            count += len(resolved)
            entry = source.log.append(batch.position, resolved, resync=batch.resync, now_s=started)
            for push, seen in source.router.route(resolved).items():
                reached += 1
                push(seen, entry)
        self._cohorts.settle(resync=batch.resync)
        self.meter.changes += count
        self._emit(BatchApplied(database, count, reached, self._clock.monotonic() - started))

    def _stored(self, batch: Batch) -> list[tuple[LiveSource, Sequence[Change]]]:
        """Every store's net of the batch, or none's."""
        stored: list[tuple[LiveSource, Sequence[Change]]] = []
        try:
            for name, changes in batch.changes.items():
                source = self.sources.get(name)
                if source is not None:
                    stored.append((source, source.store.apply(changes)))
        except BaseException:
            for source, net in stored:
                source.store.revert(net)
            raise
        return stored

    def _restart_log(self, source: LiveSource, position: Position) -> None:
        """Another incarnation: old positions mean nothing, but sequence numbers of this process go on."""
        old, keep = source.log, source.config.log
        source.log = Log(source.row_type, position, bytes_max=keep.bytes, keep_s=keep.keep.total_seconds())
        source.log.head = source.log.floor = old.head

    def progress(self, names: Iterable[str], position: Position) -> None:
        """Nothing happened to these sources up to ``position``."""
        for name in names:
            source = self.sources.get(name)
            if source is not None and position.comparable(source.log.position):
                source.log.progress(position)

    def _crowded(self, source: LiveSource, position: Position, database: str = "") -> bool:
        """A key that should be unique is not, or is again: the source fails, or heals. True while there is no net."""
        error = duplicate_key(source.store)
        if error is None and not source.crowded:
            return False
        name = source.row_type.source
        if error is None:
            source.crowded = False
            self._restart_log(source, position)
            self._enter(source, SourceState.LIVE, None)
            self._emit(FeedStateChanged(database, "live", name, "its key is unique again"))
        elif not source.crowded:
            source.crowded = True
            self._enter(source, SourceState.FAILED, error)
            self._emit(FeedStateChanged(database, "failed", name, str(error), error.hint))
        return True

    def mark(self, name: str, state: SourceState, error: TycoError | None = None) -> None:
        """Set a source's state; FAILED ends its operations with the error, LIVE starts those that waited.

        A source whose key is not unique stays FAILED, whatever its feed says.
        """
        source = self.sources[name]
        duplicate = duplicate_key(source.store)
        source.crowded = duplicate is not None
        if duplicate is not None and state is not SourceState.FAILED:
            state, error = SourceState.FAILED, duplicate
        self._enter(source, state, error)

    def _enter(self, source: LiveSource, state: SourceState, error: TycoError | None) -> None:
        source.state, source.error = state, error
        if state is SourceState.FAILED:
            source.waiting.clear()
            for cohort in self._cohorts.reading(source):
                self._cohorts.fail(cohort, failed(source))
            self._clear(source)
            return
        for cohort in self._cohorts.reading(source):
            cohort.tell_stale(any_stale(self._cohorts.sources[cohort]))
        if state is SourceState.LIVE:
            waiting, source.waiting = source.waiting, {}
            for subscriber, start in waiting.items():
                self._start_waiting(subscriber, start)

    # the client side

    def outbox(self, framing: Framing, sink: Sink, bytes_max: int | None = None) -> Outbox:
        """A connection's way out. ``bytes_max``: at most ``outbox_bytes_max``, which it is if it is not said."""
        return Outbox(framing, sink, self._cohorts.ticker, bytes_max=bytes_max or self.outbox_bytes_max)

    async def query(self, plan: Plan, count: Callable[[int], None] = uncounted) -> bytes:
        """Answer a one-shot query with all its roots as they are at one moment; a small one without awaiting.

        ``count`` is told how many rows it has.
        """
        for static in plan.statics.values():
            if not static.text.step():  # what a schema says of itself can be fifty megabytes
                await self._slices.run(static.text.step)
        roots = [root for root in plan.roots if isinstance(root, RootPlan)]
        try:
            sources = read_by(self.sources, self._ways, roots)
            for source in sources:
                expect_snapshot(source, roots[0])
        except RequestError as error:
            raise as_told(error, plan) from None
        cohort = self._cohorts.known.get(plan.cohort_key)
        rendering = None
        if not (isinstance(cohort, QueryCohort) and cohort.hydrated):
            rendering = self._at_once(plan, roots)
        if rendering is None:
            rendering = await self._captured(plan, roots, sources)
        stale = any_stale(sources) or None
        done = rendering.step()
        if rendering.refused is not None:
            raise rendering.refused
        if rendering.too_large:
            raise RequestError(
                "result-too-large",
                "the result is too large to be made at once",
                hint="ask for less with limit and where, in nested lists too",
            )
        count(rendering.rows)
        if done and not plan.lengthy:
            return rendering.payload(stale)
        if not done:
            await self._slices.run(rendering.step)
        joining = Joining(rendering.parts(stale))
        await self._slices.run(joining.step)
        return joining.payload()

    def _at_once(self, plan: Plan, roots: list[RootPlan]) -> Rendering | None:
        """The result, if all that is not arranged already can be in this step."""
        left = ROWS_AT_ONCE
        live: list[LiveRoot] = []
        for root in roots:
            source, encoder = self.sources[root.source], rows_of(root)
            if encoder is not None and encoder.nested and not self._nesting.ready(encoder):
                return None
            view = source.arrangements.current(root)
            if view is not None and encoder is not None and encoder.nested and view.length > left:
                return None  # rows with others in them are encoded in the step that captures them
            if view is None:
                alone = source.arrangements.alone(root)
                left -= alone.work
                if left < 0 or not self._nesting.finds(alone.reaches):
                    return None
                alone.hydrate()
                view = root_view(alone, root)
            passing = self._nesting.passing(encoder) if encoder is not None and encoder.nested else None
            live.append(
                LiveRoot(root, source, encoder, view, passing=passing, bind=self._nesting.related.bind)
            )
        try:
            return Rendering(plan, live, plan.statics, kept=False, passing=ROWS_AT_ONCE)
        except TooMuch:
            return None

    async def _captured(self, plan: Plan, roots: list[RootPlan], sources: list[LiveSource]) -> Rendering:
        """The result of a cohort that has to be hydrated first: one in the making, or one made for this."""
        cohort = self._cohorts.of_plan(plan, roots, sources, bytes_max=self.outbox_bytes_max)
        assert isinstance(cohort, QueryCohort)
        cohort.queries += 1
        try:
            while not cohort.hydrated:
                if cohort.closed:
                    raise cohort.error or RequestError(
                        "unexpected", "internal error: this operation was ended"
                    )
                cohort.hydrate()
                if not cohort.hydrated:
                    await cohort.hydration()
            rendering = cohort.rendering()
            if not rendering.capture():
                await self._slices.run(cohort.while_hydrated(rendering.capture))
            return rendering
        finally:
            cohort.queries -= 1
            if not (cohort.queries or cohort.members or cohort.linger or cohort.closed):
                self._cohorts.drop(cohort)

    def subscribe(
        self, plan: Plan, outbox: Outbox, operation_id: bytes, on_end: Callable[[], None]
    ) -> Subscriber:
        """Start a subscription. Its cohort is found or made; what it gets first is made when its socket can take it."""
        roots = [root for root in plan.roots if isinstance(root, RootPlan)]
        try:
            sources = read_by(self.sources, self._ways, roots)
        except RequestError as error:
            raise as_told(error, plan) from None
        cohort = self._cohorts.of_plan(plan, roots, sources, bytes_max=self.outbox_bytes_max)
        self._cohorts.stop_linger(cohort)
        start: Callable[[], None]
        subscriber: Subscriber
        if isinstance(cohort, QueryCohort):
            pace_ms = plan.coalesce.ms if plan.coalesce else 0  # the source's floor is the cohort's
            query = QuerySubscriber(cohort, outbox, operation_id, pace_ms, on_end)
            subscriber, start = query, query.start
        else:
            follower = cohort.follower(roots[0], outbox, operation_id, self._policy(plan, sources), on_end)
            subscriber, start = follower, functools.partial(self._start_following, follower)
        subscriber.plan = plan
        try:
            self._start(subscriber, sources, start)
        except BaseException:
            subscriber.cancel()
            raise
        return subscriber

    def _start(
        self, subscriber: Subscriber, sources: Sequence[LiveSource], start: Callable[[], None]
    ) -> None:
        """Start it now, or when the last of its sources is loaded."""
        unloaded = next((source for source in sources if source.state is SourceState.STARTING), None)
        if unloaded is None:
            start()
        else:
            unloaded.wait(subscriber, functools.partial(self._start, subscriber, sources, start))

    def _start_waiting(self, subscriber: Subscriber, start: Callable[[], None]) -> None:
        """A source was loaded; its subscriber starts now, unless it has ended meanwhile."""
        if not subscriber.ended:
            try:
                start()
            except RequestError as error:
                subscriber.fail(error)
            except Exception as error:
                self._cohorts.quarantine(subscriber, error)

    def _start_following(self, follower: LogSubscriber) -> None:
        """Start it, once the rows in its sight are known if that takes other sources."""
        sight = self._cohorts.sights.get(follower.cohort)
        if sight is None:
            follower.start()
        else:
            sight.begin(functools.partial(self._start_sighted, follower, follower.cohort))

    def _start_sighted(self, follower: LogSubscriber, cohort: LogCohort[Any]) -> None:
        if follower.cohort is cohort:  # else it has moved on to another one meanwhile
            self._start_waiting(follower, follower.start)

    def _policy(self, plan: Plan, sources: Sequence[LiveSource]) -> Coalesce | None:
        floor_ms = max((source.config.coalesce // timedelta(milliseconds=1) for source in sources), default=0)
        if plan.coalesce is None:
            return Coalesce(floor_ms) if floor_ms else None
        return Coalesce(max(plan.coalesce.ms, floor_ms), plan.coalesce.strategy)

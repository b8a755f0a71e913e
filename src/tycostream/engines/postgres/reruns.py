"""Views and queries kept true by running them again when what they read has changed, and telling the difference.

One run at a time for each source, in a snapshot that says which transactions it sees. Its result is told when the stream has
passed them all, so nothing is shown of a view that is not shown of its tables yet; a transaction that came too late for
it makes the source due once more. Between a change and what follows from it a source stands still: its position is
that of its last result, and other sources go on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import psycopg

from tycostream.clock import Timer
from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event, Progress, SnapshotPart
from tycostream.engines.libpq import Connection, retry, translate
from tycostream.engines.postgres.assembly import PART_ROWS
from tycostream.engines.postgres.computed import Computed, select
from tycostream.engines.postgres.inputs import altered
from tycostream.engines.postgres.reading import await_older
from tycostream.engines.postgres.result import result_of
from tycostream.engines.postgres.run import Ran, Runner, Source
from tycostream.engines.postgres.tables import Mapper
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import RerunsBehind, SourceRerun
from tycostream.rows import Batch, Change, Position, Row, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.engine import PostgresEngine

_QUICK_S: Final = 0.05  # sources whose last run took no longer share the next one's snapshot,
_TOGETHER_S: Final = 0.25  # as long as they take no longer than this together
_ATTEMPTS: Final = 3  # runs that lose their connection before the source is given up
_BREATH_S: Final = 0.005  # before the server is asked again to show what it has told
_PAUSE_S: Final = 0.05  # between such attempts, and while the server does not show what it has told
_BEHIND_RUNS: Final = 5  # one after the other without a pause, before we say that they cannot keep up
_TOUCHED_MAX: Final = 10_000


class Reruns:
    """The computed sources of one stream.

    ``push`` is given each event, in order; ``failed`` each source that cannot go on; ``wake`` is called when something
    waits for ``release``.
    """

    def __init__(
        self,
        engine: PostgresEngine,
        push: Callable[[Event], None],
        failed: Callable[[str, UpstreamError], None],
        wake: Callable[[], None],
    ) -> None:
        self._engine, self._push, self._failed, self._wake = engine, push, failed, wake
        self._clock = engine.clock
        self.sources: dict[str, Source] = {}
        self.watched: dict[int, set[str]] = {}
        self._stood: dict[str, int] = {}  # where sources were told last that are not here any more
        self._ready: list[Ran] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._runner = Runner(engine, self._failed_here)
        self._timer: Timer | None = None
        self._closed = False

    # --- sources

    def add(self, row_type: RowType, config: SourceConfig, computed: Computed, recent: Iterable[int]) -> None:
        """Follow a source from here on; its rows are then read by ``initial`` or by ``start``.

        ``recent``: transactions that the stream has passed, and a first result may not show yet.
        """
        statement, places = select(computed, row_type)
        mapper = Mapper(row_type, computed)
        self.sources[row_type.source] = Source(
            row_type, config, computed, statement, result_of(mapper, places), touched=set(recent)
        )
        self._watch()

    def start(self, name: str, *, fresh: bool) -> None:
        """Read a source that was added while the stream runs. ``fresh``: older transactions may write to it unseen."""
        source = self.sources[name]
        source.due, source.since_s = True, self._clock.monotonic()
        if fresh:
            source.running = True
            self._spawn(self._await_older(source))
        self._schedule()

    def initial(self, connection: Connection, name: str) -> AsyncIterator[list[Row]]:
        """The rows of a source in the connection's transaction, which stands where the stream begins. UpstreamError."""
        return self._runner.initial(connection, self.sources[name])

    def unread(self) -> dict[str, object]:
        """The sources whose rows are to be read where the stream begins."""
        return {n: source for n, source in self.sources.items() if source.told is None and not source.stale}

    def remove(self, name: str) -> None:
        """Follow it no more: nothing of it leaves from here on."""
        source = self.sources.pop(name, None)
        if source is None:
            return
        if source.told is not None:
            self._stood[name] = source.told
        if source.timer is not None:
            source.timer.cancel()
        if source.task is not None and source.task is not asyncio.current_task():
            source.task.cancel()  # a query that nobody waits for
        self._watch()

    def _watch(self) -> None:
        self.watched = {}
        for name, source in self.sources.items():
            for oid in source.computed.inputs.watched:
                self.watched.setdefault(oid, set()).add(name)

    async def close(self) -> None:
        """Stop; nothing of ours stays in the database."""
        self._closed = True
        for timer in (self._timer, *(source.timer for source in self.sources.values())):
            if timer is not None:
                timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._runner.close()

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _is_here(self, source: Source) -> bool:
        return self.sources.get(source.name) is source

    # --- what the stream tells

    def committed(self, xid: int, oids: Iterable[int]) -> None:
        """A transaction that changed these tables is complete."""
        now = self._clock.monotonic()
        for name in {name for oid in oids for name in self.watched.get(oid, ())}:
            source = self.sources[name]
            if len(source.touched) < _TOUCHED_MAX:
                source.touched.add(xid)
            else:
                source.due = True  # enough to know that it is behind
            if source.since_s is None:
                source.since_s = now
        self._schedule()

    @property
    def waiting(self) -> bool:
        """Whether a result waits for the stream to pass what it shows."""
        return bool(self._ready)

    def release(self, position: Position) -> None:
        """Tell the results whose transactions have all been streamed. Only between transactions."""
        ready = [ran for ran in self._ready if ran.lsn <= position.offset]
        if not ready:
            return
        self._ready = [ran for ran in self._ready if ran.lsn > position.offset]
        for ran in ready:
            self._tell(ran, position)
        self._schedule()

    def _tell(self, ran: Ran, position: Position) -> None:
        changes = {source: some for source, some in ran.changes.items() if self._is_here(source)}
        told = [source.told for source, some in changes.items() if some and source.told is not None]
        offset = max([position.offset, *(offset + 1 for offset in told)])
        if offset > position.offset:
            self._spawn(self._nudge())  # two results at one place of the log: let it move on
        batch: dict[str, Sequence[Change]] = {}
        for source, some in changes.items():
            if source.told is None:
                self._tell_first(source, position)
            elif some:
                batch[source.name] = some
                source.told = offset
            self._settled(source, ran, len(some))
        if batch:
            self._push(Batch(position._replace(offset=offset), batch))

    def _tell_first(self, source: Source, position: Position) -> None:
        rows, source.rows = source.rows, []
        last = max(0, (len(rows) - 1) // PART_ROWS * PART_ROWS)
        for start in range(0, last, PART_ROWS):
            self._push(SnapshotPart(source.name, rows[start : start + PART_ROWS]))
        self._push(SnapshotPart(source.name, rows[last:], position))
        self.began(source.name, position)

    def began(self, name: str, position: Position) -> None:
        """Its snapshot is told: it follows from here on. Of no meaning for a source that is not computed."""
        source = self.sources.get(name)
        if source is None:
            return
        source.told = position.offset
        if source.computed.refresh_s is not None:
            self._refresh_later(source, source.computed.refresh_s)

    def _settled(self, source: Source, ran: Ran, changes: int) -> None:
        now = self._clock.monotonic()
        lag_s = now - source.since_s if source.since_s is not None else 0.0
        source.running, source.failures = False, 0
        source.touched = {xid for xid in source.touched if not ran.seen.visible(xid)}
        again = source.due or bool(source.touched)
        source.since_s = now if again else None
        if source.touched:
            source.not_before_s = now + max(_BREATH_S, min(_PAUSE_S, source.interval_s))
        self._engine.count_rerun(
            SourceRerun(self._engine.name, source.name, source.result.rows, changes, source.took_s, lag_s)
        )
        source.busy = source.busy + 1 if again and source.took_s >= source.interval_s else 0
        if source.behind != (behind := source.busy >= _BEHIND_RUNS):
            source.behind = behind
            self._engine.emit(RerunsBehind(self._engine.name, source.name, behind, source.took_s))

    def progress(self, position: Position, others: Collection[str]) -> Sequence[Event]:
        """That all is told up to ``position``, but for sources whose next result is due: they stand where they stood.

        ``others``: the sources that are not computed, and follow.
        """
        started = [source for source in self.sources.values() if source.told is not None]
        held = {s for s in started if s.stale or (s.told or 0) > position.offset}
        for source in started:
            if source not in held:
                source.told = position.offset
        if not held:
            return [Progress(position)]
        events = [Progress(position, name) for name in others]
        return events + [Progress(position._replace(offset=s.told or 0), s.name) for s in started]

    def remark(self, name: str) -> str:
        """Whether the re-runs of a source keep up; nothing if they do."""
        source = self.sources.get(name)
        if source is None or not source.behind:
            return ""
        return f"its re-runs cannot keep up: the last took {source.took_s:.3f} s, more than `live.interval`, and more is due"

    # --- when to run

    def _refresh_later(self, source: Source, delay_s: float) -> None:
        def refresh() -> None:
            if self._is_here(source):
                source.due = True
                if source.since_s is None:
                    source.since_s = self._clock.monotonic()
                self._refresh_later(source, delay_s)
                self._schedule()

        source.timer = self._clock.call_later(delay_s, refresh)

    def _schedule(self) -> None:
        """Start what is due and may run; come back when more will be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        now, later, due = self._clock.monotonic(), list[float](), list[Source]()
        for source in self.sources.values():
            # what was only touched and has not been read yet is read where the stream begins
            if source.running or not (source.due or (source.touched and source.told is not None)):
                continue
            at = max(source.started_s + source.interval_s, source.not_before_s)
            if at > now:
                later.append(at)
            else:
                due.append(source)
        due.sort(
            key=lambda source: now if source.since_s is None else source.since_s
        )  # who waits longest first
        for source in due:
            if self._running >= self._engine.config.reruns_max:
                break
            if not source.running:
                self._start(self._together(source, due), now)
        if later:
            self._timer = self._clock.call_later(max(0.0, min(later) - now), self._schedule)

    def _together(self, first: Source, due: Iterable[Source]) -> list[Source]:
        """Those that are run in one snapshot with ``first``: what one transaction changed is then told at once."""
        group, takes_s = [first], first.took_s
        for source in due if self._quick(first) else ():
            if source is not first and not source.running and self._quick(source):
                takes_s += source.took_s
                if takes_s > _TOGETHER_S:
                    break
                group.append(source)
        return group

    @staticmethod
    def _quick(source: Source) -> bool:
        return source.told is not None and source.took_s <= _QUICK_S

    def _start(self, group: list[Source], now: float) -> None:
        self._running += 1
        task = self._spawn(self._run(group))
        for source in group:
            source.running, source.due, source.started_s = True, False, now
            source.task = task if len(group) == 1 else None

    # --- a run

    async def _run(self, group: list[Source]) -> None:
        try:
            ran = await self._runner.run(group)
            stood = [self._stood.get(source.name, 0) for source in group if source.told is None]
            ran = replace(ran, lsn=max([ran.lsn, *stood]))  # read anew, it does not go back
            self._ready.append(ran)  # not in one line: ``release`` may put another list there meanwhile
        except UpstreamError as error:
            self._lost(group, error)
        except Exception as error:  # a bug: it must not leave the sources waiting for ever
            for source in group:
                said = f"source {source.name}: its query could not be compared: {type(error).__name__}"
                self._failed_here(source, retry("rerun-failed", said, detail=str(error)))
        finally:
            self._running -= 1
            self._wake()
            self._schedule()

    def _failed_here(self, source: Source, error: UpstreamError) -> None:
        if self._is_here(source):
            self._failed(source.name, error)

    def _lost(self, group: Iterable[Source], error: UpstreamError) -> None:
        """The connection of a run is gone. If only that, another one will do."""
        now = self._clock.monotonic()
        for source in group:
            if not self._is_here(source):
                continue
            source.failures += 1
            source.running, source.due = False, True
            source.rows = []
            source.not_before_s = now + _PAUSE_S * source.failures
            if source.failures >= _ATTEMPTS or source.told is None or error.action is Action.FAIL:
                self._failed_here(source, error)

    # --- definitions, and what else is done beside the stream

    async def look(self, connected: Callable[[], Awaitable[Connection]]) -> None:
        """Whether what the sources read is still what it was: no replication tells of that. psycopg.Error."""
        held = dict(self.sources)
        if not held:
            return
        names = await altered(
            await connected(), {name: source.computed.inputs for name, source in held.items()}
        )
        for name in sorted(names):
            if self._is_here(held[name]):
                await self._altered(held[name])

    async def _altered(self, source: Source) -> None:
        self._engine.forget(source.name)
        try:
            await self._engine.computed(source.config, source.row_type)
        except UpstreamError as error:
            self._failed_here(source, error)
            return
        said = f"source {source.name}: what {source.computed.title} reads was altered"
        self._failed_here(source, retry("source-altered", said, hint="it is read anew"))

    async def _await_older(self, source: Source) -> None:
        try:
            async with self._runner.connection() as connection:
                await await_older(connection, self._clock)
            # what began before they were published has ended: nobody else need wait for that
            self._engine.publication.fresh -= source.computed.inputs.watched
            source.running = False
            self._schedule()
        except UpstreamError as error:
            self._failed_here(source, error)
        except psycopg.Error as error:
            self._failed_here(source, translate(error, self._engine.url, "waiting for older transactions"))

    async def _nudge(self) -> None:
        with contextlib.suppress(psycopg.Error, UpstreamError):
            async with self._runner.connection() as connection:
                await connection.execute(b"SELECT pg_current_xact_id()")

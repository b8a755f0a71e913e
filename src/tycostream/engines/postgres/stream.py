"""One replication connection's events.

Sources added before the first read are read in the snapshot that a new slot exported. A later source has no such
snapshot: its changes are held back while it is read, what that read saw is dropped by transaction number, the rest is
folded in, and it is released once the stream has passed everything the read can have seen (design 4).

A temporary slot leaves nothing behind, and a new stream starts afresh. A permanent one has kept the log: a source goes
on where it was, and one that is new to this process is read late and taken back as far as the log allows (rewind.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING

import psycopg

from tycostream.config.model import LogConfig, SourceConfig
from tycostream.engines.base import Event, Progress, SnapshotPart, SourceFailed, without
from tycostream.engines.libpq import Connection, retry, translate
from tycostream.engines.postgres.assembly import PART_ROWS, Assembly, Followed
from tycostream.engines.postgres.reading import copy_rows, exported, read_late, refused
from tycostream.engines.postgres.replication import STATUS_S, Replication
from tycostream.engines.postgres.reruns import Reruns
from tycostream.engines.postgres.slots import Confirmed
from tycostream.engines.postgres.watch import Difference, Mark, Watch
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Position, Row, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.engine import PostgresEngine

_KEEP_S = LogConfig().keep.total_seconds()
_HURRY_S = 0.05  # how often the server is asked where it is while a late source waits for that


class PostgresStream:
    """See Stream. Made by ``PostgresEngine.open``."""

    def __init__(
        self,
        engine: PostgresEngine,
        replication: Replication,
        slot: str,
        snapshot: str | None,  # that a new slot exported; None: the slot has a history, after ``position``
        position: Position,
    ) -> None:
        self._engine, self._replication, self._slot, self._snapshot = engine, replication, slot, snapshot
        self._confirmed = Confirmed(position.offset)
        engine.level = 0
        self._keep_s: dict[str, float] = {}  # how long clients of each source may be away
        self._floor = 0  # all sources have what is up to there: no progress may be told below
        sources: dict[str, Followed] = {}
        self._reruns = Reruns(engine, self._push, self._failed, replication.wake.set)
        self._watch = Watch(engine, sources, self._differs, self._reruns.look)
        self._assembly = Assembly(position, sources, self._push, self._failed, self._watch.soon)
        self._assembly.reruns = self._reruns
        self._watching: asyncio.Task[None] | None = None
        self._events: deque[Event] = deque()
        self._initial: AsyncGenerator[SnapshotPart] | None = None
        self._began = False
        self._error: UpstreamError | None = None
        self._step: asyncio.Task[None] | None = None
        self._unpublished: set[str] = set()  # sources whose table the publication did not tell all about

    @property
    def ended(self) -> bool:
        """Whether it will never yield again."""
        return self._error is not None

    def remark(self, source: str) -> str:
        """See Engine."""
        return self._reruns.remark(source)

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """See Stream. ``after`` is of use where the slot has a history, and the table is what it was."""
        name = row_type.source
        await self.remove(name)
        self._raise_if_ended()
        try:
            computed = await self._engine.computed(source, row_type)
            if computed is not None:
                altered = await self._engine.publish_inputs(computed)
            else:
                table, mark, altered, same, settled = await self._engine.publish(source, row_type)
        except UpstreamError as error:
            if error.action is not Action.FAIL:
                if after is not None and self._snapshot is None and not self._began:
                    # The others would go on where they were, and this one stay behind: all of them, or none.
                    self._error = self._error or error
                raise
            self._unpublished.add(name)
            self._forget(name, error)
            return
        self._raise_if_ended()
        # Mended by somebody else since then, its older transactions may be incomplete all the same.
        altered = altered or name in self._unpublished
        self._unpublished.discard(name)
        if computed is not None:
            self._reruns.add(row_type, source, computed, self._assembly.recent)
            if after is not None and after.comparable(self._assembly.position):
                self._floor = max(
                    self._floor, after.offset
                )  # it is read anew, and stood further than a slot may begin
            if self._began or altered or self._snapshot is None:
                self._reruns.start(name, fresh=altered)
            return
        mine = Followed(row_type, source, table, mark)
        self._keep_s[name] = source.live.log.keep.total_seconds()
        history = self._snapshot is None and not self._began and not altered
        start = self._assembly.position
        if history and same and after is not None and after.comparable(start) and after >= start:
            mine.after = after.offset
        mine.rewinds = history and settled and not mine.after and name not in self._engine.told
        self._assembly.add(name, mine)
        self._watch.soon()  # it may have been made anew since it was marked
        if not mine.after and (self._began or altered or self._snapshot is None):
            mine.held = []
            mine.task = asyncio.create_task(self._read_late(name, mine, altered))

    def _raise_if_ended(self) -> None:
        if self._error is not None:
            raise self._error

    async def remove(self, source: str) -> None:
        """See Stream."""
        self._reruns.remove(source)
        mine = self._assembly.remove(source)
        self._events = without(self._events, source)
        if mine is not None and mine.task is not None:
            mine.task.cancel()
            await asyncio.wait([mine.task])

    async def read(self) -> Sequence[Event]:
        """See Stream."""
        while self._error is None:
            if not self._began:
                self._began = True
                self._watching = asyncio.create_task(self._watch.run())
                self._initial = self._read_initial()
            if self._step is not None:  # of a read that was cancelled: it goes on where it was
                await self._finish_step()
            elif self._initial is not None:
                await self._guarded(self._advance_initial())
            elif not self._replication.started:
                await self._guarded(self._start())
            else:
                self._drain()
            if self._events:
                events = list(self._events)
                self._events.clear()
                return events
            if self._replication.started and self._error is None:
                if self._replication.more:
                    await asyncio.sleep(0)
                else:
                    await self._guarded(self._wait())
        raise self._error

    async def close(self) -> None:
        """See Stream."""
        if self._error is None:
            self._error = retry("closed", "the stream was closed")
        self._replication.wake.set()
        tasks = [mine.task for mine in self._assembly.sources.values() if mine.task is not None]
        tasks += [task for task in (self._step, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._initial is not None:  # it holds a connection, also while nobody reads
            await self._initial.aclose()
        await self._reruns.close()
        await self._replication.close()

    async def _guarded(self, step: Coroutine[object, object, None]) -> None:
        """Run one step of ``read`` so that only ``close`` can end it, and errors become UpstreamErrors."""
        self._step = asyncio.create_task(step)
        await self._finish_step()

    async def _finish_step(self) -> None:
        task = self._step
        assert task is not None
        await asyncio.wait([task])
        self._step = None
        try:
            task.result()
        except asyncio.CancelledError:
            if self._error is None:
                raise
        except UpstreamError as error:
            self._error = self._error or error
        except psycopg.Error as error:
            self._error = self._error or translate(error, self._engine.url, "reading")

    def _push(self, event: Event) -> None:
        if isinstance(event, SnapshotPart) and event.position is not None:
            self._engine.told.add(event.source)
            if self._snapshot is None:
                self._engine.level = max(self._engine.level, self._assembly.position.offset)
        self._events.append(event)
        self._replication.wake.set()

    def _failed(self, name: str, error: UpstreamError) -> None:
        mine = self._assembly.remove(name)
        if name in self._reruns.sources:
            self._reruns.remove(name)
            self._forget(name, error)
        elif mine is not None:
            if mine.task is not None and mine.task is not asyncio.current_task():
                mine.task.cancel()
            self._forget(name, error)

    def _forget(self, name: str, error: UpstreamError) -> None:
        """Tell that a source failed; whoever adds it again describes it anew."""
        self._engine.forget(name)
        self._push(SourceFailed(name, error))

    async def _differs(self, name: str, mine: Followed, now: Mark | None, difference: Difference) -> None:
        """The catalogue says that a table is not what it was: is it any use still, and are its rows those we have?"""
        try:
            table = await self._engine.judge(mine.config, mine.row_type, mine.table, mine.mark, now)
        except UpstreamError as error:
            if self._assembly.sources.get(name) is mine and error.action is Action.FAIL:
                self._failed(name, error)
            return
        if self._assembly.sources.get(name) is not mine:
            return
        if difference is Difference.REREAD or now is None:
            said = f"source {name}: {table.sql}, or its publication, was altered in a way that the stream does not tell"
            self._failed(
                name, retry("source-altered", said, hint="it is read anew, and the difference is told")
            )
        else:
            mine.table, mine.mark = table, now

    # --- snapshots

    async def _advance_initial(self) -> None:
        assert self._initial is not None
        try:
            self._push(await anext(self._initial))
        except StopAsyncIteration:
            self._initial = None

    async def _read_initial(self) -> AsyncGenerator[SnapshotPart]:
        position = self._assembly.position
        wanted: dict[str, object] = {
            n: mine for n, mine in self._assembly.sources.items() if mine.held is None
        }
        wanted.update(self._reruns.unread())
        if self._snapshot is None or not wanted:
            return
        last: tuple[object, SnapshotPart] | None = None
        async with exported(self._engine, self._snapshot) as connection:
            for name, mine in wanted.items():
                if not self._is_unread(name, mine):
                    continue  # removed meanwhile; or added anew, then it is read by itself
                rows: list[Row] = []
                await connection.execute(b"SAVEPOINT source")
                try:
                    async for some in self._rows(connection, name, mine):
                        rows += some
                        if len(rows) >= PART_ROWS:
                            if self._is_unread(name, mine):
                                yield SnapshotPart(name, rows)
                            rows = []
                    await connection.execute(b"RELEASE SAVEPOINT source")
                except (UpstreamError, psycopg.Error) as error:
                    if connection.closed:
                        raise
                    # A refused COPY aborts the transaction, and the others need its snapshot.
                    await connection.execute(b"ROLLBACK TO SAVEPOINT source")
                    if self._is_unread(name, mine):
                        title = mine.table.sql if isinstance(mine, Followed) else name
                        self._failed(name, refused(title, error, self._engine.url))
                    continue
                if last is not None and self._is_unread(last[1].source, last[0]):
                    yield last[1]
                    self._reruns.began(last[1].source, position)
                last = (mine, SnapshotPart(name, rows, position))
        # Told only now: a reader that pauses after the last part must not keep our transaction's locks.
        if last is not None and self._is_unread(last[1].source, last[0]):
            yield last[1]
            self._reruns.began(last[1].source, position)

    def _is_unread(self, name: str, mine: object) -> bool:
        if isinstance(mine, Followed):
            return mine.held is None and self._assembly.sources.get(name) is mine
        return self._reruns.unread().get(name) is mine

    def _rows(self, connection: Connection, name: str, mine: object) -> AsyncIterator[list[Row]]:
        if isinstance(mine, Followed):
            return copy_rows(connection, mine.row_type, mine.table)
        return self._reruns.initial(connection, name)

    async def _read_late(self, name: str, mine: Followed, altered: bool) -> None:
        try:
            mine.late = await read_late(self._engine, mine.row_type, mine.table, altered=altered)
        except UpstreamError as error:
            self._failed(name, error)
        except psycopg.Error as error:
            self._failed(name, translate(error, self._engine.url, f"reading {mine.table.sql}"))
        self._replication.wake.set()

    # --- replication

    async def _start(self) -> None:
        """Begin where the source is that is least far; what the others have already is left out."""
        resumed = {name: mine.after for name, mine in self._assembly.sources.items() if mine.after}
        if resumed:
            self._assembly.begin(min(resumed.values()))
            self._floor = self._engine.level = max(self._floor, *resumed.values())
        await self._replication.start(
            self._slot, self._engine.publication.name, self._assembly.position.offset if resumed else 0
        )
        for name, lsn in resumed.items():
            self._push(Progress(self._assembly.position._replace(offset=lsn), name))

    def _progress(self) -> None:
        position = self._assembly.position
        if not self._events and position.offset >= self._floor:
            following = [name for name, mine in self._assembly.sources.items() if mine.held is None]
            self._events.extend(self._reruns.progress(position, following))

    async def _wait(self) -> None:
        self._status(_HURRY_S if self._assembly.waiting else STATUS_S)
        await self._replication.wait()

    def _status(self, every_s: float) -> None:
        lsn = flushed = self._assembly.position.offset  # that of the last whole transaction
        if self._engine.slot:
            keep_s = max(self._keep_s.values(), default=_KEEP_S)
            flushed = self._confirmed.note(self._engine.clock.monotonic(), lsn, keep_s)
        if self._replication.status(lsn, flushed, every_s):
            self._progress()

    def _drain(self) -> None:
        start = self._assembly.position
        try:
            self._replication.drain(self._assembly.take)
        except UpstreamError as error:
            self._error = error
        else:
            self._status(STATUS_S)
        self._assembly.release()
        if self._assembly.position > start:
            self._progress()

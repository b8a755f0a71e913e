"""One replication connection's events. The slot is temporary: nothing is left behind, and a new stream starts afresh.

Sources added before the first read are read in the snapshot that the slot exported. A later source has no such
snapshot: its changes are held back while it is read, what that read saw is dropped by transaction number, the rest is
folded in, and it is released once the stream has passed everything the read can have seen (design 4).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq, sql

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event, Progress, SnapshotPart, SourceFailed
from tycostream.engines.decode import pgoutput
from tycostream.engines.postgres.catalogue import Table
from tycostream.engines.postgres.connect import Connection, retry, safe, translate
from tycostream.engines.postgres.reading import LateRead, copy_rows, read_late, refused
from tycostream.engines.postgres.tables import Mapper, fold, weight
from tycostream.errors import Action, UpstreamError
from tycostream.rows import TRUNCATE, Batch, Change, Position, Row, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.engine import PostgresEngine

_PART_ROWS = 5_000
_HELD_BYTES_MAX = 256 * 2**20  # of one source's changes while it is read
_TRANSACTION_BYTES_MAX = 256 * 2**20  # of one transaction, which is yielded whole
_STATUS_S = 1.0  # how often we tell the server where we are, and ask where it is
_HURRY_S = 0.05  # the same while a late source waits for the stream to pass its read
_READ_MESSAGES = 2_000  # after so many messages ``read`` returns, so that one task never hogs the loop
_EPOCH_2000 = 946_684_800


@dataclass(eq=False)
class _Source:
    """A source of the stream. While ``held`` is a list, its changes wait there with their transaction numbers."""

    mapper: Mapper
    table: Table
    held: list[tuple[int, Change | UpstreamError]] | None = None
    held_bytes: int = 0
    late: LateRead | None = None
    task: asyncio.Task[None] | None = None


class PostgresStream:
    """See Stream. Made by ``PostgresEngine.open``."""

    def __init__(
        self, engine: PostgresEngine, connection: Connection, slot: str, snapshot: str, position: Position
    ) -> None:
        self._engine, self._connection, self._slot, self._snapshot = engine, connection, slot, snapshot
        self._position = position
        self._clock = engine.clock
        self._sources: dict[str, _Source] = {}
        self._relations: dict[int, pgoutput.Relation] = {}
        self._events: deque[Event] = deque()
        self._initial: AsyncGenerator[SnapshotPart] | None = None
        self._began = self._streaming = False
        self._error: UpstreamError | None = None
        self._step: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._inside = False  # between Begin and Commit: neither positions nor releases may happen there
        self._xid, self._changes, self._bytes = 0, dict[str, list[Change]](), 0
        self._status_due = 0.0
        self._heard = False  # whether the server has said anything since the last status, which asks it to
        self._more = False
        self._unpublished: set[str] = set()  # sources whose table the publication did not tell all about

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """See Stream. ``after`` is of no use: a temporary slot has no history."""
        name = row_type.source
        await self.remove(name)
        self._raise_if_ended()
        try:
            table = await self._engine.table_of(source, row_type)
            altered = await self._engine.publish(table, [column.name for column in row_type.columns])
        except UpstreamError as error:
            if error.action is not Action.FAIL:
                raise
            self._unpublished.add(name)
            self._forget(name, error)
            return
        self._raise_if_ended()
        # Mended by somebody else since then, its older transactions may be incomplete all the same.
        altered = altered or name in self._unpublished
        self._unpublished.discard(name)
        mine = _Source(Mapper(row_type, table), table)
        self._sources[name] = mine
        if (relation := self._relations.get(table.oid)) is not None:
            with contextlib.suppress(
                UpstreamError
            ):  # from before a table was mended: its next change brings it anew
                mine.mapper.relation(relation)
        if (self._began or altered) and name in self._sources:
            mine.held = []
            mine.task = asyncio.create_task(self._read_late(name, mine, altered))

    def _raise_if_ended(self) -> None:
        if self._error is not None:
            raise self._error

    async def remove(self, source: str) -> None:
        """See Stream."""
        mine = self._sources.pop(source, None)
        self._changes.pop(source, None)
        if mine is not None and mine.task is not None:
            mine.task.cancel()
            await asyncio.wait([mine.task])

    async def read(self) -> Sequence[Event]:
        """See Stream."""
        while self._error is None:
            if not self._began:
                self._began = True
                self._initial = self._read_initial()
            if self._step is not None:  # of a read that was cancelled: it goes on where it was
                await self._finish_step()
            elif self._initial is not None:
                await self._guarded(self._advance_initial())
            elif not self._streaming:
                await self._guarded(self._start_replication())
            else:
                self._drain()
            if self._events:
                events = list(self._events)
                self._events.clear()
                return events
            if self._streaming and self._error is None:
                if self._more:  # libpq holds messages that the socket will not announce again
                    await asyncio.sleep(0)
                else:
                    await self._guarded(self._wait())
        raise self._error

    async def close(self) -> None:
        """See Stream."""
        if self._error is None:
            self._error = retry("closed", "the stream was closed")
        self._wake.set()
        tasks = [mine.task for mine in self._sources.values() if mine.task is not None]
        if self._step is not None:
            tasks.append(self._step)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._initial is not None:  # it holds a connection, also while nobody reads
            await self._initial.aclose()
        await self._connection.close()

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
        self._events.append(event)
        self._wake.set()

    def _failed(self, name: str, error: UpstreamError) -> None:
        mine = self._sources.pop(name, None)
        self._changes.pop(name, None)
        if mine is not None:
            if mine.task is not None and mine.task is not asyncio.current_task():
                mine.task.cancel()
            self._forget(name, error)

    def _forget(self, name: str, error: UpstreamError) -> None:
        """Tell that a source failed; whoever adds it again describes it anew."""
        self._engine.forget(name)
        self._push(SourceFailed(name, error))

    # --- snapshots

    async def _advance_initial(self) -> None:
        assert self._initial is not None
        try:
            self._push(await anext(self._initial))
        except StopAsyncIteration:
            self._initial = None

    async def _read_initial(self) -> AsyncGenerator[SnapshotPart]:
        names = [name for name, mine in self._sources.items() if mine.held is None]
        if not names:
            return
        last: tuple[_Source, SnapshotPart] | None = None
        connection = await self._engine.connect()
        try:
            await connection.execute(b"SET statement_timeout = 0")
            await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await connection.execute(
                sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self._snapshot))
            )
            for name in names:
                if (mine := self._sources.get(name)) is None or mine.held is not None:
                    continue  # removed meanwhile; or added anew, then it is read by itself
                rows: list[Row] = []
                await connection.execute(b"SAVEPOINT source")
                try:
                    async for row in copy_rows(connection, mine.mapper, mine.table):
                        rows.append(row)
                        if len(rows) >= _PART_ROWS:
                            if self._sources.get(name) is mine:
                                yield SnapshotPart(name, rows)
                            rows = []
                    await connection.execute(b"RELEASE SAVEPOINT source")
                except (UpstreamError, psycopg.Error) as error:
                    if connection.closed:
                        raise
                    # A refused COPY aborts the transaction, and the others need its snapshot.
                    await connection.execute(b"ROLLBACK TO SAVEPOINT source")
                    if self._sources.get(name) is mine:
                        self._failed(name, refused(mine.table, error, self._engine.url))
                    continue
                if last is not None and self._sources.get(last[1].source) is last[0]:
                    yield last[1]
                last = (mine, SnapshotPart(name, rows, self._position))
        finally:
            await connection.close()
        # Told only now: a reader that pauses after the last part must not keep our transaction's locks.
        if last is not None and self._sources.get(last[1].source) is last[0]:
            yield last[1]

    async def _read_late(self, name: str, mine: _Source, altered: bool) -> None:
        try:
            mine.late = await read_late(self._engine, mine.mapper, mine.table, altered=altered)
        except UpstreamError as error:
            self._failed(name, error)
        except psycopg.Error as error:
            self._failed(name, translate(error, self._engine.url, f"reading {mine.table.sql}"))
        self._wake.set()

    def _release(self) -> None:
        if self._inside:
            return
        for name, mine in list(self._sources.items()):
            late = mine.late
            if mine.held is None or late is None or self._position.offset < late.lsn:
                continue
            fresh = []
            for xid, change in mine.held:
                if late.seen.visible(xid):
                    continue
                if isinstance(change, UpstreamError):
                    self._failed(name, change)
                    break
                fresh.append(change)
            if name not in self._sources:
                continue
            rows = fold(mine.mapper.row_type, late.rows, fresh)
            mine.held, mine.late, mine.task = None, None, None
            last = max(0, (len(rows) - 1) // _PART_ROWS * _PART_ROWS)
            for start in range(0, last, _PART_ROWS):
                self._push(SnapshotPart(name, rows[start : start + _PART_ROWS]))
            self._push(SnapshotPart(name, rows[last:], self._position))

    # --- replication

    async def _start_replication(self) -> None:
        name = self._engine.publication.name.replace('"', '""').replace("'", "''")
        command = f"START_REPLICATION SLOT \"{self._slot}\" LOGICAL 0/0 (proto_version '1', publication_names '\"{name}\"')"
        pgconn = self._connection.pgconn
        pgconn.send_query(command.encode())
        while pgconn.flush():
            await self._readable(1.0)
        while pgconn.is_busy():
            await self._readable(1.0)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            text = safe(result.get_error_message() if result else "", self._engine.url)
            raise retry("replication", "the server did not start replication", detail=text)
        self._streaming = self._heard = True

    async def _readable(self, timeout_s: float) -> None:
        """Until the socket has something, ``_wake`` is set, or the time is over."""
        loop, socket = asyncio.get_running_loop(), self._connection.pgconn.socket
        self._wake.clear()
        loop.add_reader(socket, self._wake.set)
        timer = self._clock.call_later(timeout_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
            loop.remove_reader(socket)

    async def _wait(self) -> None:
        hurry = any(mine.late is not None for mine in self._sources.values())
        self._send_status(_HURRY_S if hurry else _STATUS_S)
        await self._readable(max(0.001, self._status_due - self._clock.monotonic()))

    def _send_status(self, every_s: float) -> None:
        now = self._clock.monotonic()
        self._status_due = min(self._status_due, now + every_s)
        if now < self._status_due:
            return
        self._status_due = now + every_s
        clock_us = int((self._clock.time() - _EPOCH_2000) * 1e6)
        with contextlib.suppress(psycopg.Error):  # a lost connection shows itself to the reader
            self._connection.pgconn.put_copy_data(
                pgoutput.status_update(self._position.offset, clock_us, reply=True)
            )
            self._connection.pgconn.flush()
        # A long transaction that is still arriving is a sign of life too; the position is that of the last whole one.
        if self._heard and not self._events:
            self._push(Progress(self._position))
        self._heard = False

    def _drain(self) -> None:
        pgconn = self._connection.pgconn
        start = self._position
        self._more = False
        try:
            pgconn.consume_input()
            for _ in range(_READ_MESSAGES):
                size, data = pgconn.get_copy_data(1)
                if size == 0:
                    break
                if size < 0:
                    result = pgconn.get_result()
                    text = result.get_error_message() if result is not None else ""
                    raise retry(
                        "connection-lost",
                        "the replication connection ended",
                        detail=safe(text or pgconn.get_error_message(), self._engine.url),
                    )
                self._heard = True
                self._take(bytes(data))
            else:
                self._more = True
        except UpstreamError as error:
            self._error = error
        except psycopg.Error as error:
            self._error = retry(
                "connection-lost",
                "the replication connection was lost",
                detail=safe(str(error), self._engine.url),
            )
        else:
            self._send_status(_STATUS_S)
        self._release()
        if self._position > start and not self._events:
            self._push(Progress(self._position))

    def _take(self, data: bytes) -> None:
        outer = pgoutput.decode_copy(data)
        if isinstance(outer, pgoutput.Keepalive):
            if not self._inside:
                self._advance(outer.end_lsn)
            if outer.reply_now:
                self._status_due = 0.0
            return
        message = pgoutput.decode(outer.payload)
        if isinstance(message, pgoutput.Begin):
            self._inside, self._xid, self._changes, self._bytes = True, message.xid, {}, 0
        elif isinstance(message, pgoutput.Commit):
            self._inside = False
            self._advance(message.end_lsn)
            if self._changes:
                self._push(Batch(self._position, self._changes))
            self._changes = {}
            # Released here, at a transaction's end, a source's snapshot stands between whole transactions.
            self._release()
        elif isinstance(message, pgoutput.Relation):
            self._relations[message.oid] = message
            self._replaced(message)
            for name, mine in self._of(message.oid):
                try:
                    mine.mapper.relation(message)
                except UpstreamError as error:
                    if mine.held is None:
                        self._failed(name, error)
        elif isinstance(message, pgoutput.Truncate):
            for oid in message.oids:
                for name, mine in self._of(oid):
                    self._change(name, mine, TRUNCATE, weight(0, 0))
        elif message is not None:
            for name, mine in self._of(message.oid):
                try:
                    change: Change | UpstreamError = mine.mapper.change(message)
                except UpstreamError as error:
                    change = error
                self._change(
                    name, mine, change, weight(len(outer.payload), len(mine.mapper.row_type.columns))
                )

    def _replaced(self, relation: pgoutput.Relation) -> None:
        """A table may be dropped and made again under its name: what it held is gone, and nobody says so."""
        for name, mine in list(self._sources.items()):
            same_name = (mine.table.schema, mine.table.name) == (relation.schema, relation.name)
            if same_name and mine.table.oid != relation.oid:
                self._failed(
                    name,
                    retry("source-replaced", f"source {name}: {mine.table.sql} is another table now"),
                )

    def _advance(self, lsn: int) -> None:
        if lsn > self._position.offset:
            self._position = self._position._replace(offset=lsn)

    def _of(self, oid: int) -> list[tuple[str, _Source]]:
        return [(name, mine) for name, mine in self._sources.items() if mine.table.oid == oid]

    def _change(self, name: str, mine: _Source, change: Change | UpstreamError, size: int) -> None:
        """Keep a change until its transaction is whole, or its source is read. ``size``: about how many bytes.

        A change that cannot be understood is an error: of no account if the read of the table turns out to be later.
        """
        if mine.held is None:
            if isinstance(change, UpstreamError):
                self._failed(name, change)
                return
            self._bytes += size
            if self._bytes > _TRANSACTION_BYTES_MAX:
                raise UpstreamError(
                    "transaction-too-large",
                    f"a transaction changed more than {_TRANSACTION_BYTES_MAX >> 20} MiB of the followed tables",
                    action=Action.RESYNC,
                    detail=f"transaction {self._xid}; the last change was of {mine.table.sql}",
                    hint="the tables are read anew, and the difference is told; write in smaller transactions",
                )
            self._changes.setdefault(name, []).append(change)
            return
        mine.held.append((self._xid, change))
        mine.held_bytes += size
        if mine.held_bytes > _HELD_BYTES_MAX:
            said = f"{mine.table.sql} changed by more than {_HELD_BYTES_MAX >> 20} MiB while it was read"
            self._failed(name, retry("held-back", said, hint="it is tried again"))

"""One replication connection's events. The slot is temporary: nothing is left behind, and a new stream starts afresh.

Sources added before the first read are read in the snapshot that the slot exported. A later source has no such
snapshot: its changes are held back while it is read, what that read saw is dropped by transaction number, the rest is
folded in, and it is released once the stream has passed everything the read can have seen (design 4).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq, sql

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event, Progress, SnapshotPart, SourceFailed
from tycostream.engines.decode import pgoutput
from tycostream.engines.decode.copytext import CopyLines, decode_line
from tycostream.engines.postgres.catalogue import Table, literal_sql
from tycostream.engines.postgres.connect import Connection, fail, retry, safe, translate
from tycostream.engines.postgres.tables import Mapper, Seen, fold
from tycostream.errors import Action, UpstreamError
from tycostream.rows import TRUNCATE, Batch, Change, Position, Row, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.engine import PostgresEngine

_PART_ROWS = 5_000
_HELD_CHANGES_MAX = 500_000
_STATUS_S = 1.0  # how often we tell the server where we are, and ask where it is
_SILENCE_S = 30.0
_HURRY_S = 0.05  # the same while a late source waits for the stream to pass its read
_READ_MESSAGES = 2_000  # after so many messages ``read`` returns, so that one task never hogs the loop
_EPOCH_2000 = 946_684_800


@dataclass(eq=False)
class _Source:
    """A source of the stream. While ``held`` is a list, its changes wait there with their transaction numbers."""

    mapper: Mapper
    table: Table
    held: list[tuple[int, Change]] | None = None
    rows: list[Row] = field(default_factory=list)
    seen: Seen | None = None
    release_lsn: int | None = None
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
        self._initial: AsyncIterator[SnapshotPart] | None = None
        self._began = self._streaming = False
        self._error: UpstreamError | None = None
        self._step: asyncio.Task[object] | None = None
        self._wake = asyncio.Event()
        self._inside = False  # between Begin and Commit: neither positions nor releases may happen there
        self._xid, self._changes = 0, dict[str, list[Change]]()
        self._status_due = 0.0
        self._heard_s = 0.0
        self._more = False

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """See Stream. ``after`` is of no use: a temporary slot has no history."""
        if self._error is not None:
            raise self._error
        await self.remove(row_type.source)
        table = await self._engine.table_of(source)
        try:
            altered = await self._engine.publish(table)
        except psycopg.Error as error:  # dropped since it was described, most likely
            text = safe(str(error), self._engine.url)
            failed = fail(
                "source-failed", f"cannot publish {table.sql}", detail=text, hint="tycostream check"
            )
            self._forget(row_type.source, failed)
            return
        except UpstreamError as error:
            if error.action is not Action.FAIL:
                raise
            self._forget(row_type.source, error)
            return
        mine = _Source(Mapper(row_type, table), table)
        self._sources[row_type.source] = mine
        if (relation := self._relations.get(table.oid)) is not None:
            self._guard(row_type.source, lambda: mine.mapper.relation(relation))
        if (self._began or altered) and row_type.source in self._sources:
            mine.held = []
            mine.task = asyncio.create_task(self._read_late(row_type.source, mine, altered))

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
            if self._initial is not None:
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
            tasks.append(self._step)  # type: ignore[arg-type]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._connection.close()

    async def _guarded(self, step: object) -> None:
        """Run one step of ``read`` so that ``close`` can end it, and errors become UpstreamErrors."""
        task: asyncio.Task[object] = asyncio.ensure_future(step)  # type: ignore[call-overload]
        self._step = task
        try:
            await task
        except asyncio.CancelledError:
            if self._error is None:
                raise
        except UpstreamError as error:
            self._error = self._error or error
        except psycopg.Error as error:
            self._error = self._error or translate(error, self._engine.url, "reading")
        finally:
            self._step = None

    def _push(self, event: Event) -> None:
        self._events.append(event)
        self._wake.set()

    def _guard(self, name: str, action: object) -> None:
        try:
            action()  # type: ignore[operator]
        except UpstreamError as error:
            self._failed(name, error)

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

    async def _read_initial(self) -> AsyncIterator[SnapshotPart]:
        names = [name for name, mine in self._sources.items() if mine.held is None]
        if not names:
            return
        last: SnapshotPart | None = None
        connection = await self._engine.connect()
        try:
            await connection.execute(b"SET statement_timeout = 0")
            await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await connection.execute(
                sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self._snapshot))
            )
            for name in names:
                if (mine := self._sources.get(name)) is None:
                    continue
                rows: list[Row] = []
                await connection.execute(b"SAVEPOINT source")
                try:
                    async for row in self._copy(connection, mine):
                        rows.append(row)
                        if len(rows) >= _PART_ROWS:
                            yield SnapshotPart(name, rows)
                            rows = []
                    await connection.execute(b"RELEASE SAVEPOINT source")
                except (UpstreamError, psycopg.Error) as error:
                    if connection.closed:
                        raise
                    # A refused COPY aborts the transaction, and the others need its snapshot.
                    await connection.execute(b"ROLLBACK TO SAVEPOINT source")
                    self._failed(name, self._refused(mine, error))
                    continue
                if last is not None:
                    yield last
                last = SnapshotPart(name, rows, self._position) if self._sources.get(name) is mine else None
        finally:
            await connection.close()
        # Told only now: a reader that pauses after the last part must not keep our transaction's locks.
        if last is not None:
            yield last

    def _refused(self, mine: _Source, error: UpstreamError | psycopg.Error) -> UpstreamError:
        if isinstance(error, UpstreamError):
            return error
        table, text = mine.table.sql, safe(str(error), self._engine.url)
        return fail(
            "source-failed", f"cannot read {table}", detail=text, hint=f"GRANT SELECT ON {table} or mend it"
        )

    async def _copy(self, connection: Connection, mine: _Source) -> AsyncIterator[Row]:
        row_type = mine.mapper.row_type
        width = len(row_type.columns)
        columns = sql.SQL(", ").join([sql.Identifier(column.name) for column in row_type.columns])
        query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
            columns, literal_sql(mine.table.schema, mine.table.name)
        )
        places, lines, problem = range(width), CopyLines(), None
        async with connection.cursor() as cursor, cursor.copy(query) as copy:
            async for chunk in copy:
                if problem is not None:
                    continue  # read to the end: the other sources need this transaction
                for line in lines.feed(bytes(chunk)):
                    try:
                        row = mine.mapper.row(decode_line(line, width), places)
                    except UpstreamError as error:
                        problem = error
                        break
                    yield row
        if problem is not None:
            raise problem

    async def _read_late(self, name: str, mine: _Source, altered: bool) -> None:
        try:
            connection = await self._engine.connect()
            try:
                await connection.execute(b"SET statement_timeout = 0")
                if altered:
                    await self._await_older(connection)
                await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor = await connection.execute(
                    b"SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::bigint"
                )
                row = await cursor.fetchone()
                assert row is not None
                rows = [r async for r in self._copy(connection, mine)]
                await connection.execute(b"COMMIT")
                # Read-only work writes no log, so an idle server may not flush up to our mark; this makes it.
                await connection.execute(b"SELECT pg_current_xact_id()")
            finally:
                await connection.close()
        except UpstreamError as error:
            self._failed(name, error)
        except psycopg.Error as error:
            self._failed(name, translate(error, self._engine.url, f"reading {mine.table.sql}"))
        else:
            mine.seen, mine.release_lsn, mine.rows = Seen.parse(row[0]), row[1], rows
        self._wake.set()

    async def _await_older(self, connection: Connection) -> None:
        """Transactions that began before the table was published may write to it unseen: wait for their end."""
        first = await (
            await connection.execute(b"SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        ).fetchone()
        assert first is not None
        deadline = self._clock.monotonic() + 30.0
        while True:
            query = b"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
            now = await (await connection.execute(query)).fetchone()
            assert now is not None
            if now[0] >= first[0]:
                return
            if self._clock.monotonic() > deadline:
                raise retry("publication-wait", "a long transaction keeps a new table from being followed")
            await self._clock.sleep(0.02)

    def _release(self) -> None:
        if self._inside:
            return
        for name, mine in list(self._sources.items()):
            seen = mine.seen
            if mine.held is None or seen is None or mine.release_lsn is None:
                continue
            if self._position.offset < mine.release_lsn:
                continue
            fresh = [change for xid, change in mine.held if not seen.visible(xid)]
            rows = fold(mine.mapper.row_type, mine.rows, fresh)
            mine.held, mine.rows, mine.seen, mine.task = None, [], None, None
            last = max(0, (len(rows) - 1) // _PART_ROWS * _PART_ROWS)
            for start in range(0, last, _PART_ROWS):
                self._push(SnapshotPart(name, rows[start : start + _PART_ROWS]))
            self._push(SnapshotPart(name, rows[last:], self._position))

    # --- replication

    async def _start_replication(self) -> None:
        name = self._engine.publication.replace('"', '""').replace("'", "''")
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
        self._streaming = True
        self._heard_s = self._clock.monotonic()

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
        hurry = any(m.release_lsn is not None and m.held is not None for m in self._sources.values())
        self._send_status(_HURRY_S if hurry else _STATUS_S)
        if self._clock.monotonic() - self._heard_s > _SILENCE_S:  # every status asks for an answer
            raise retry("silent", f"the server has not answered for {_SILENCE_S:.0f} s")
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
        if not self._inside and not self._events:
            self._push(Progress(self._position))  # a sign of life for whoever waits, once a status

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
                self._heard_s = self._clock.monotonic()
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
            self._inside, self._xid, self._changes = True, message.xid, {}
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
            for name, mine in self._of(message.oid):
                self._guard(name, lambda mine=mine: mine.mapper.relation(message))
        elif isinstance(message, pgoutput.Truncate):
            for oid in message.oids:
                for name, mine in self._of(oid):
                    self._change(name, mine, TRUNCATE)
        elif message is not None:
            for name, mine in self._of(message.oid):
                try:
                    self._change(name, mine, mine.mapper.change(message))
                except UpstreamError as error:
                    self._failed(name, error)

    def _advance(self, lsn: int) -> None:
        if lsn > self._position.offset:
            self._position = self._position._replace(offset=lsn)

    def _of(self, oid: int) -> list[tuple[str, _Source]]:
        return [(name, mine) for name, mine in self._sources.items() if mine.table.oid == oid]

    def _change(self, name: str, mine: _Source, change: Change) -> None:
        if mine.held is None:
            self._changes.setdefault(name, []).append(change)
            return
        mine.held.append((self._xid, change))
        if len(mine.held) > _HELD_CHANGES_MAX:
            self._failed(
                name,
                retry(
                    "held-back",
                    f"{mine.table.sql} changed too much while it was read",
                    hint="it is tried again",
                ),
            )

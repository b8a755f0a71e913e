"""Databases that the stream contract is run over: one small face for all, so that each promise has one test.

Every table has the columns ``id bigint, n bigint, tag text`` and, if keyed, the key ``id``.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import psycopg

from tycostream.clock import SystemClock
from tycostream.config.model import DatabaseConfig, LiveConfig, SourceConfig
from tycostream.engines.base import Engine
from tycostream.engines.postgres import PostgresEngine
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import silent
from tycostream.rows import Column, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.scripted import ScriptedEngine

COLUMNS = ("id", "n", "tag")


@dataclass(frozen=True)
class Write:
    """A row's life: ``old`` None inserts, ``new`` None deletes, both None: every row of the table goes."""

    table: str
    old: Row | None
    new: Row | None


class Upstream(Protocol):
    """A database with an engine over it.

    ``resumes``: a source added with ``after`` may go on without a snapshot. ``stalls``: ``stalled`` works. ``merges``:
    several transactions may come as one batch.
    """

    resumes: bool
    stalls: bool
    merges: bool

    @property
    def engine(self) -> Engine:
        """What is tested."""

    async def create(self, table: str, *, keyed: bool = True) -> SourceConfig:
        """Make an empty table; the source that reads it."""

    async def write(self, *writes: Write) -> None:
        """One transaction; a database whose transactions write to one table only makes one for each table."""

    async def rows(self, table: str) -> Counter[Row]:
        """What the database itself says the table holds."""

    async def cut(self) -> None:
        """Break the connections of the engine's streams, from the database's side."""

    def stalled(self) -> contextlib.AbstractAsyncContextManager[None]:
        """While in it the streams' connections are open and the database says nothing on them."""

    async def spoil(self, table: str) -> None:
        """Do to a table what only a person can mend: its source fails with FAIL, at once or at the next write."""

    async def mend(self, table: str) -> None:
        """Undo ``spoil``; the table may have lost its rows."""

    def unreachable(self) -> Engine:
        """An engine that cannot connect."""

    async def left_behind(self) -> list[str]:
        """What of the engine's there is in the database now: connections, slots, cursors."""


class ScriptedUpstream:
    """See Upstream: the fake of the feed's tests keeps the promises too."""

    stalls = True
    merges = False

    def __init__(self, *, share_positions: bool, history: int | None) -> None:
        self.engine: ScriptedEngine = ScriptedEngine([], share_positions=share_positions, history=history)
        self.resumes = history is not None

    async def create(self, table: str, *, keyed: bool = True) -> SourceConfig:
        scalars = (SCALARS["int8"], SCALARS["int8"], SCALARS["text"])
        columns = tuple(Column(name, scalar) for name, scalar in zip(COLUMNS, scalars, strict=True))
        self.engine.row_types[table] = RowType(table, columns, (0,) if keyed else ())
        self.engine.tables[table] = []
        return SourceConfig(name=table)

    async def write(self, *writes: Write) -> None:
        changes: dict[str, list[tuple[Row | None, Row | None]]] = {}
        for write in writes:
            changes.setdefault(write.table, []).append((write.old, write.new))
        self.engine.commit(changes)
        self.engine.progress()

    async def rows(self, table: str) -> Counter[Row]:
        return Counter(self.engine.tables[table])

    async def cut(self) -> None:
        self.engine.cut()

    @contextlib.asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        self.engine.stall()
        yield
        self.engine.resume()

    async def spoil(self, table: str) -> None:
        error = UpstreamError("spoilt", "the table is spoilt", action=Action.FAIL, hint="mend it")
        self.engine.unreadable[table] = error
        self.engine.fail(table, error)

    async def mend(self, table: str) -> None:
        del self.engine.unreadable[table]

    def unreachable(self) -> Engine:
        engine = ScriptedEngine([])
        engine.refuse = UpstreamError("connection-lost", "nobody is there", action=Action.RETRY)
        return engine

    async def left_behind(self) -> list[str]:
        return [] if self.engine.stream is None else ["a stream"]


class PostgresUpstream:
    """See Upstream. ``slot``: a permanent one, which keeps what a stream missed."""

    stalls = True
    merges = False

    def __init__(self, url: str, connection: psycopg.AsyncConnection[Any], slot: str | None = None) -> None:
        self.url, self._connection, self._slot = url, connection, slot
        self.resumes = slot is not None
        self.engine: PostgresEngine = self._engine(url)

    def _engine(self, url: str) -> PostgresEngine:
        config = DatabaseConfig(url=url, manage=True, slot=self._slot)
        return PostgresEngine("main", config, "contract", {}, silent, SystemClock())

    async def _execute(self, statement: str, values: Row | None = None) -> psycopg.AsyncCursor[Any]:
        return await self._connection.execute(statement.encode(), values)

    async def create(self, table: str, *, keyed: bool = True) -> SourceConfig:
        key = " PRIMARY KEY" if keyed else ""
        await self._execute(f"CREATE TABLE {table} (id bigint{key}, n bigint, tag text)")
        if not keyed:
            await self._execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        return SourceConfig(name=table)

    async def write(self, *writes: Write) -> None:
        async with self._connection.transaction():
            for write in writes:
                await self._write(write)

    async def _write(self, write: Write) -> None:
        table, old, new = write.table, write.old, write.new
        one = f"ctid = (SELECT ctid FROM {table} WHERE (id, n, tag) = (%s, %s, %s) LIMIT 1)"
        if old is None and new is None:
            await self._execute(f"TRUNCATE {table}")
        elif old is None:
            await self._execute(f"INSERT INTO {table} VALUES (%s, %s, %s)", new)
        elif new is None:
            assert (await self._execute(f"DELETE FROM {table} WHERE {one}", old)).rowcount == 1
        else:
            done = await self._execute(
                f"UPDATE {table} SET (id, n, tag) = (%s, %s, %s) WHERE {one}", new + old
            )
            assert done.rowcount == 1

    async def rows(self, table: str) -> Counter[Row]:
        return Counter(await (await self._execute(f"SELECT id, n, tag FROM {table}")).fetchall())

    async def _senders(self) -> list[int]:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'walsender'"
        return [row[0] for row in await (await self._execute(query)).fetchall()]

    async def drop_slot(self) -> None:
        """Remove the permanent slot, when the server has noticed that nobody reads it."""
        query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
        while found := await (await self._execute(query, (self._slot,))).fetchone():
            if not found[0]:
                await self._execute("SELECT pg_drop_replication_slot(%s)", (self._slot,))

    async def cut(self) -> None:
        for pid in await self._senders():
            await self._execute("SELECT pg_terminate_backend(%s)", (pid,))

    @contextlib.asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        senders = await self._senders()
        assert senders
        with _stopped(senders):
            yield

    async def spoil(self, table: str) -> None:
        await self._execute(f"ALTER TABLE {table} RENAME COLUMN n TO m")
        await self._execute(f"INSERT INTO {table} VALUES (-1, 0, 'spoilt')")

    async def mend(self, table: str) -> None:
        await self._execute(f"ALTER TABLE {table} RENAME COLUMN m TO n")

    def unreachable(self) -> Engine:
        return self._engine("postgresql://nobody:nothing@127.0.0.1:1/none")

    async def left_behind(self) -> list[str]:
        query = (
            "SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()"
            " AND (temporary OR active)"  # a permanent one stays, that is what it is for
            " UNION ALL SELECT 'connection ' || query FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'tycostream'"
        )
        return [row[0] for row in await (await self._execute(query)).fetchall()]


class PostgresViewUpstream(PostgresUpstream):
    """See Upstream: each source is a view over a table of its own."""

    merges = True

    def __init__(self, url: str, connection: psycopg.AsyncConnection[Any], slot: str | None = None) -> None:
        super().__init__(url, connection, slot)
        self.resumes = False  # what is computed is read anew, whatever history its tables have

    async def create(self, table: str, *, keyed: bool = True) -> SourceConfig:
        await super().create(f"{table}_base", keyed=keyed)
        await self._execute(
            f"CREATE VIEW {table} AS SELECT id, n, tag FROM {table}_base WHERE id IS NOT NULL"
        )
        live = LiveConfig(interval=timedelta(0))
        return SourceConfig(name=table, primary_key=("id",) if keyed else (), live=live)

    async def write(self, *writes: Write) -> None:
        await super().write(*(replace(write, table=f"{write.table}_base") for write in writes))

    async def spoil(self, table: str) -> None:
        await self._execute(f"ALTER VIEW {table} RENAME COLUMN n TO m")
        await self._execute(f"INSERT INTO {table}_base VALUES (-1, 0, 'spoilt')")

    async def mend(self, table: str) -> None:
        await self._execute(f"ALTER VIEW {table} RENAME COLUMN m TO n")


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

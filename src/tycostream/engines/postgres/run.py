"""One run of computed sources: their queries in one snapshot, and what is different from before.

A run says which transactions it saw, so that its result can be told when the stream has told those too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psycopg

from tycostream.clock import Timer
from tycostream.config.model import SourceConfig
from tycostream.engines.libpq import Connection, retry, translate
from tycostream.engines.postgres.computed import Computed
from tycostream.engines.postgres.copying import copy_lines
from tycostream.engines.postgres.result import Result
from tycostream.engines.postgres.tables import Seen
from tycostream.errors import UpstreamError
from tycostream.observe.events import SourceRerun
from tycostream.rows import Change, Row, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.engine import PostgresEngine

_TIMEOUT: Final = "57014"  # query_canceled: statement_timeout
_SNAPSHOT: Final = (
    b"SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::bigint,"
    b" (pg_current_wal_flush_lsn() - '0/0')::bigint"
)


@dataclass(eq=False)
class Source:
    """A computed source of the stream. ``touched``: transactions that it has to show, by number."""

    row_type: RowType
    config: SourceConfig
    computed: Computed
    statement: bytes
    result: Result
    told: int | None = None  # the offset of its last position; None: its snapshot has not been told
    touched: set[int] = field(default_factory=set)
    due: bool = False  # to be run whatever was touched
    since_s: float | None = None  # when it came to be behind
    started_s: float = float("-inf")
    not_before_s: float = float("-inf")
    took_s: float = 0.0
    running: bool = False  # from the start of a run until its result is told
    failures: int = 0
    busy: int = 0  # runs without a pause between
    behind: bool = False
    timer: Timer | None = None
    task: asyncio.Task[None] | None = None  # of a run for it alone
    rows: list[Row] = field(default_factory=list)  # of the first run

    @property
    def name(self) -> str:
        """The source's name."""
        return self.row_type.source

    @property
    def interval_s(self) -> float:
        """The least time from the start of one run to that of the next, in seconds."""
        return self.config.live.interval.total_seconds()

    @property
    def stale(self) -> bool:
        """Whether something has happened that its last result may not show."""
        return self.due or self.running or bool(self.touched)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run gave: the changes of each source, and the transactions that it saw, all in the log before ``lsn``."""

    changes: dict[Source, list[Change]]
    seen: Seen
    lsn: int


@dataclass(slots=True)
class RerunCounts:
    """What the runs of one computed source came to; for metrics."""

    runs: int = 0
    rows: int = 0
    changes: int = 0
    seconds: float = 0.0
    lag_s: float = 0.0  # of the last run

    def add(self, event: SourceRerun) -> None:
        """One more run."""
        self.runs += 1
        self.rows += event.rows
        self.changes += event.changes
        self.seconds += event.seconds
        self.lag_s = event.lag_s


class Runner:
    """Runs queries over connections of its own. ``failed`` is told each source that cannot go on."""

    def __init__(self, engine: PostgresEngine, failed: Callable[[Source, UpstreamError], None]) -> None:
        self._engine, self._failed, self._clock = engine, failed, engine.clock
        self._idle: list[Connection] = []
        self._closed = False

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, kept for the next who needs one unless this one leaves with an error. UpstreamError."""
        connection, whole = self._idle.pop() if self._idle else await self._engine.connect(), False
        try:
            yield connection
            whole = not connection.closed
        finally:
            if whole and not self._closed:
                self._idle.append(connection)
            else:
                await connection.close()

    async def close(self) -> None:
        """Close the connections; those in use close when they are given back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def run(self, group: Sequence[Source]) -> Ran:
        """Run the group's queries in one snapshot. Connection lost: UpstreamError, and nothing has been run.

        Sources whose result was found before the connection was lost have failed then, for it will not be told.
        """
        changes: dict[Source, list[Change]] = {}
        try:
            async with self.connection() as connection:
                await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                row = await (await connection.execute(_SNAPSHOT)).fetchone()
                assert row is not None
                for source in group:
                    await self._result(connection, source, changes)
                await connection.execute(b"COMMIT")
                if row[1] > row[2]:
                    # What we saw may not be flushed yet, and an idle server may not do so soon; this makes it.
                    await connection.execute(b"SELECT pg_current_xact_id()")
        except psycopg.Error as error:
            lost = translate(error, self._engine.url, "running a query again")
            for source in changes:
                self._failed(source, lost)
            raise lost from None
        return Ran(changes, Seen.parse(row[0]), row[1])

    async def _result(
        self, connection: Connection, source: Source, changes: dict[Source, list[Change]]
    ) -> None:
        """Run one source, in the connection's transaction; psycopg.Error if that is lost."""
        began_s, found = self._clock.monotonic(), list[Change]()
        await connection.execute(b"SAVEPOINT source")
        try:
            async for rows in self._lines(connection, source):
                source.rows += rows
            if source.told is not None:
                for _ in source.result.settle(found):
                    await asyncio.sleep(0)
            await connection.execute(b"RELEASE SAVEPOINT source")
        except UpstreamError as error:
            self._failed(source, error)
        except psycopg.Error as error:
            for _ in source.result.undo():
                await asyncio.sleep(0)
            if connection.closed:
                raise
            await connection.execute(b"ROLLBACK TO SAVEPOINT source")
            await self._refused(source, error)
            return
        source.took_s = self._clock.monotonic() - began_s
        changes[source] = found

    async def _lines(self, connection: Connection, source: Source) -> AsyncIterator[list[Row]]:
        """Give its lines to its result; the rows of the first run. An error of one comes at the end."""
        first, problem = source.told is None, None
        source.result.begin()
        async with contextlib.aclosing(copy_lines(connection, source.statement)) as copied:
            async for lines in copied:
                if problem is not None:
                    continue  # read to the end: other sources need this transaction
                try:
                    source.result.take(lines)
                    if first:
                        yield source.result.first()
                except UpstreamError as error:
                    problem = error
        if problem is not None:
            raise problem

    async def initial(self, connection: Connection, source: Source) -> AsyncIterator[list[Row]]:
        """The rows of a source in the connection's transaction, for the first time. UpstreamError if it is refused."""
        began_s = self._clock.monotonic()
        timeout_ms = int(self._engine.config.statement_timeout.total_seconds() * 1000)
        await connection.execute(f"SET LOCAL statement_timeout = {timeout_ms}".encode())
        try:
            async for rows in self._lines(connection, source):
                yield rows
            await connection.execute(b"SET LOCAL statement_timeout = 0")
            source.took_s = self._clock.monotonic() - began_s
        except psycopg.Error as error:
            if connection.closed:
                raise
            raise self._translated(source, error) from None

    async def _refused(self, source: Source, error: psycopg.Error) -> None:
        """The server does not run it. If it has been altered, that says more than the server does."""
        try:
            if error.sqlstate != _TIMEOUT:
                self._engine.forget(source.name)
                await self._engine.computed(source.config, source.row_type)
        except UpstreamError as altered_now:
            self._failed(source, altered_now)
            return
        self._failed(source, self._translated(source, error))

    def _translated(self, source: Source, error: psycopg.Error) -> UpstreamError:
        title = source.computed.title
        if error.sqlstate == _TIMEOUT:
            limit_s = self._engine.config.statement_timeout.total_seconds()
            return retry(
                "rerun-timeout",
                f"source {source.name}: reading {title} takes longer than {limit_s:g} s",
                hint="make it faster (an index, a materialized view with `live: {refresh: …}`), or raise `statement_timeout`",
            )
        return translate(error, self._engine.url, f"reading {title}")

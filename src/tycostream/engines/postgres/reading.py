"""Reading whole tables: by COPY, in a snapshot whose place in the stream is known."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from tycostream.clock import Clock
from tycostream.engines.decode.copytext import decode_line
from tycostream.engines.libpq import Connection, fail, retry, safe
from tycostream.engines.names import literal, quoted
from tycostream.engines.postgres.catalogue import Table
from tycostream.engines.postgres.copying import copy_lines
from tycostream.engines.postgres.tables import Mapper, Seen
from tycostream.errors import UpstreamError
from tycostream.rows import Row, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.engine import PostgresEngine

_OLDER_S = 30.0


class LateRead(NamedTuple):
    """A table read while the stream runs: its rows, the transactions they show, and where the log stood then."""

    rows: list[Row]
    seen: Seen
    lsn: int


def refused(title: str, error: UpstreamError | psycopg.Error, url: str) -> UpstreamError:
    """Why one table cannot be read, although its connection lives."""
    if isinstance(error, UpstreamError):
        return error
    return fail(
        "source-failed",
        f"cannot read {title}",
        detail=safe(str(error), url),
        hint=f"GRANT SELECT ON {title} or mend it",
    )


@contextlib.asynccontextmanager
async def exported(engine: PostgresEngine, snapshot: str) -> AsyncIterator[Connection]:
    """A connection inside a transaction that sees what the exported ``snapshot`` does."""
    connection = await engine.connect()
    try:
        await connection.execute(b"SET statement_timeout = 0")
        await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await connection.execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}".encode())
        yield connection
    finally:
        await connection.close()


async def copy_rows(connection: Connection, row_type: RowType, table: Table) -> AsyncIterator[list[Row]]:
    """The rows of a table, many at a time. An error of one value comes at the end, when the connection is free again."""
    width, mapper = len(row_type.columns), Mapper(row_type, table)
    columns = ", ".join(quoted(column.name) for column in row_type.columns)
    # What inherits from a table has changes of its own, under its own name; partitions are the table itself.
    only = "" if table.kind == "p" else "ONLY "
    query = f"COPY (SELECT {columns} FROM {only}{table.quoted}) TO STDOUT".encode()
    places, problem = range(width), None
    async with contextlib.aclosing(copy_lines(connection, query)) as copied:
        async for lines in copied:
            if problem is not None:
                continue  # read to the end: the other sources need this transaction
            try:
                yield [mapper.row(decode_line(line[:-1], width), places) for line in lines]
            except UpstreamError as error:
                problem = error
    if problem is not None:
        raise problem


async def read_late(engine: PostgresEngine, row_type: RowType, table: Table, *, altered: bool) -> LateRead:
    """Read a table whose changes are already held back. ``altered``: it was published only just now."""
    async with engine.readers:
        return await _read_late(engine, row_type, table, altered=altered)


async def _read_late(engine: PostgresEngine, row_type: RowType, table: Table, *, altered: bool) -> LateRead:
    connection = await engine.connect()
    try:
        await connection.execute(b"SET statement_timeout = 0")
        if altered:
            await await_older(connection, engine.clock)
            # what began before it was published has ended: nobody else need wait for that
            engine.publication.fresh.difference_update(table.oids)
        await connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor = await connection.execute(
            b"SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::bigint"
        )
        row = await cursor.fetchone()
        assert row is not None
        rows = [row async for some in copy_rows(connection, row_type, table) for row in some]
        await connection.execute(b"COMMIT")
        # Read-only work writes no log, so an idle server may not flush up to our mark; this makes it.
        await connection.execute(b"SELECT pg_current_xact_id()")
    finally:
        await connection.close()
    return LateRead(rows, Seen.parse(row[0]), row[1])


async def await_older(connection: Connection, clock: Clock) -> None:
    """Transactions that began before the table was published may write to it unseen: wait for their end."""
    first = await (
        await connection.execute(b"SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    ).fetchone()
    assert first is not None
    deadline = clock.monotonic() + _OLDER_S
    while True:
        query = b"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        now = await (await connection.execute(query)).fetchone()
        assert now is not None
        if now[0] >= first[0]:
            return
        if clock.monotonic() > deadline:
            raise retry(
                "publication-wait",
                f"a transaction that is open for more than {_OLDER_S:.0f} s keeps a new table from being followed",
                hint="SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY 2; and end the oldest; or SELECT * FROM pg_prepared_xacts;",
            )
        await clock.sleep(0.02)

"""Looking whether followed tables and their publication are still what they were: the stream does not tell all of it.

A table dropped and made anew, a rewritten column, an attached partition, a row filter: none of them is a message, and
after each of them the stream would go on as if nothing had happened. One query looks after all tables, every few
seconds and soon after a table's shape has come anew. Object and transaction numbers are part of what is compared, so a
change that was undone again is seen too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

import psycopg

from tycostream.engines.libpq import Connection
from tycostream.errors import UpstreamError

if TYPE_CHECKING:
    from tycostream.engines.postgres.assembly import Followed
    from tycostream.engines.postgres.catalogue import Table
    from tycostream.engines.postgres.engine import PostgresEngine

_EVERY_S: Final = 5.0
_SOON_S: Final = 0.2  # after a table's shape came anew; several come at once at a stream's start
_WITH_SCHEMAS: Final = 150000  # publications of whole schemas came with PostgreSQL 15

_MARKS = """
SELECT w.source, c.oid,
  (SELECT jsonb_object_agg(a.attname, ARRAY[a.attnum::text, a.atttypid::text, a.xmin::text]) FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT string_agg(r.oid || r.relreplident::text || coalesce((SELECT string_agg(i.indexrelid::text, '+' ORDER BY i.indexrelid)
       FROM pg_index i WHERE i.indrelid = r.oid AND (i.indisprimary OR i.indisreplident)), ''), ',' ORDER BY r.oid)
     FROM pg_class r WHERE r.oid = c.oid OR r.oid IN (SELECT relid FROM pg_partition_tree(c.oid))),
  pg_relation_filenode(c.oid)::text,
  CASE WHEN c.relkind = 'p' THEN (SELECT string_agg(t.relid::oid || ':' || coalesce(pg_relation_filenode(t.relid), 0), ','
     ORDER BY t.relid) FROM pg_partition_tree(c.oid) t) END,
  c.relrowsecurity::text || c.relforcerowsecurity::text,
  (SELECT concat_ws(' ', p.oid, p.xmin, (SELECT string_agg(r.oid || ':' || r.xmin, ',' ORDER BY r.oid)
       FROM pg_publication_rel r WHERE r.prpubid = p.oid AND (r.prrelid = c.oid
         OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))
         OR r.prrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))){schemas})
     FROM pg_publication p WHERE p.pubname = %s)
FROM unnest(%s::text[], %s::text[], %s::text[]) w(source, schema, name)
LEFT JOIN pg_namespace n ON n.nspname = w.schema LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
"""
_SCHEMAS = """, (SELECT string_agg(s.oid || ':' || s.xmin, ',' ORDER BY s.oid) FROM pg_publication_namespace s
       WHERE s.pnpubid = p.oid)"""


class Difference(Enum):
    """What a difference of two marks asks for."""

    NONE = "none"
    JUDGE = "judge"  # whether the table still serves its source; if so, nothing was missed
    REREAD = "reread"  # rows may have changed that no message tells of


@dataclass(frozen=True, slots=True)
class Mark:
    """A table at one moment, by the numbers that change when it does.

    ``columns``: name → number, type, and the transaction that wrote it last; ``files``: where the rows are;
    ``parts``: the same of each partition, None for an ordinary table.
    """

    oid: int
    columns: Mapping[str, tuple[str, ...]]
    identity: str
    files: str
    parts: str | None
    security: str
    publication: str | None

    def difference(self, now: Mark | None, columns: Collection[str]) -> Difference:
        """What has changed since, for a source that reads ``columns``; None: there is no such table any more."""
        if now is None:
            return Difference.JUDGE
        if (self.oid, self.parts, self.publication) != (now.oid, now.parts, now.publication):
            return Difference.REREAD
        before, after = ([mark.columns.get(name) for name in columns] for mark in (self, now))
        # Rewritten with other values, or dropped and added again. VACUUM FULL and TRUNCATE move the rows only.
        if [c and c[:2] for c in before] != [c and c[:2] for c in after]:
            return Difference.REREAD
        if before != after and self.files != now.files:
            return Difference.REREAD
        if (self.identity, self.security) != (now.identity, now.security):
            return Difference.JUDGE
        return Difference.NONE


async def marks(
    connection: Connection, publication: str, tables: Mapping[str, Table]
) -> dict[str, Mark | None]:
    """The marks of the tables that have these names now, by source; None: there is none. psycopg.Error."""
    schemas = _SCHEMAS if connection.info.server_version >= _WITH_SCHEMAS else ""
    names = [list(tables), [t.schema for t in tables.values()], [t.name for t in tables.values()]]
    cursor = await connection.execute(_MARKS.format(schemas=schemas).encode(), [publication, *names])
    return {
        row[0]: None
        if row[1] is None
        else Mark(
            row[1],
            {name: tuple(told) for name, told in (row[2] or {}).items()},
            row[3] or "",
            row[4] or "",
            *row[5:],
        )
        for row in await cursor.fetchall()
    }


class Watch:
    """Looks after the tables of one stream over a connection of its own; ``differs`` is told of each difference.

    ``also`` looks at whatever else the stream reads, over the same connection.
    A look that fails is no event: whether the database lives is asked elsewhere, and the next look tries again.
    """

    def __init__(
        self,
        engine: PostgresEngine,
        sources: Mapping[str, Followed],
        differs: Callable[[str, Followed, Mark | None, Difference], Awaitable[None]],
        also: Callable[[Callable[[], Awaitable[Connection]]], Awaitable[None]],
    ) -> None:
        self._engine, self._sources, self._differs, self._also = engine, sources, differs, also
        self._wake = asyncio.Event()
        self._connection: Connection | None = None
        self.looks = 0  # how often it has looked

    def soon(self) -> None:
        """Look soon, not only when it is time."""
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        clock = self._engine.clock
        try:
            while True:
                timer = clock.call_later(_EVERY_S, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()
                await clock.sleep(_SOON_S)
                self._wake.clear()
                try:
                    await self._look()
                except (UpstreamError, psycopg.Error):
                    await self._disconnect()
        finally:
            await self._disconnect()

    async def _look(self) -> None:
        await self._also(self._connected)
        if self._engine.slot:
            await self._engine.tell_slot(await self._connected())
        followed = dict(self._sources)
        if not followed:
            return
        connection = await self._connected()
        tables = {name: one.table for name, one in followed.items()}
        found = await marks(connection, self._engine.publication.name, tables)
        self.looks += 1
        for name, one in followed.items():
            columns = [column.name for column in one.row_type.columns]
            difference = one.mark.difference(found[name], columns)
            if difference is not Difference.NONE and self._sources.get(name) is one:
                await self._differs(name, one, found[name], difference)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._engine.connect()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()

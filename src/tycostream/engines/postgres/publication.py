"""The publication that our stream reads: made and extended when we may, else judged, with the SQL that mends it.

A publication that leaves something out (rows, columns, kinds of statements) gives a stream that looks right and is
not; such a source is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg

from tycostream.engines.libpq import Connection, fail
from tycostream.engines.names import quoted, shown
from tycostream.engines.postgres.catalogue import Part, Table
from tycostream.engines.postgres.inputs import Leaf
from tycostream.errors import UpstreamError

_OPTIONS = ("insert", "update", "delete", "truncate")
_ATTEMPTS = 5  # another process may alter the same publication at the same moment
# It is there already: seen at once, or only when the transaction that made it committed, which we waited for.
_THERE = (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation)
_WITH_LISTS = 150000  # row filters, column lists and whole schemas came with PostgreSQL 15

_PUBLICATION = (
    b"SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname = %s"
)
_LISTED = (
    b"SELECT c.oid, t.attnames::text[], t.rowfilter FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname"
    b" JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE t.pubname = %s AND c.oid = ANY(%s)"
)
_LISTED_BEFORE_15 = _LISTED.replace(b"t.attnames::text[], t.rowfilter", b"NULL::text[], NULL")
_ROOT = (
    b"SELECT n.nspname, c.relname FROM pg_partition_ancestors(%s::oid::regclass) a JOIN pg_class c ON c.oid = a.relid"
    b" JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_publication_tables t"
    b" ON t.schemaname = n.nspname AND t.tablename = c.relname AND t.pubname = %s WHERE c.relkind = 'p' LIMIT 1"
)


# Of tables, each by its number: whether the publication holds it, itself or by a partitioned ancestor, and all its rows.
_HELD = """
SELECT w.oid, t.found IS NOT NULL, t.rowfilter FROM unnest(%s::oid[]) w(oid) LEFT JOIN LATERAL (
  SELECT true AS found, {row_filter} AS rowfilter FROM pg_publication_tables t
  JOIN pg_namespace n ON n.nspname = t.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
  WHERE t.pubname = %s AND (c.oid = w.oid OR c.oid IN (SELECT relid FROM pg_partition_ancestors(w.oid))) LIMIT 1) t ON true
"""
# Whether a transaction is open that is older than what it says of these tables: somebody may have added one just now.
_YOUNG = """
SELECT EXISTS (SELECT FROM (SELECT xmin FROM pg_publication WHERE pubname = %(name)s
  UNION ALL SELECT r.xmin FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = %(name)s
    WHERE r.prrelid = ANY(%(oids)s) OR r.prrelid IN (SELECT a.relid FROM unnest(%(oids)s::oid[]) o, pg_partition_ancestors(o) a)
  {schemas}) x(at) WHERE age(x.at) <= age(pg_snapshot_xmin(pg_current_snapshot())::xid))
"""
_YOUNG_SCHEMAS = """UNION ALL SELECT s.xmin FROM pg_publication_namespace s JOIN pg_publication p ON p.oid = s.pnpubid
    AND p.pubname = %(name)s"""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a publication gets wrong, and the SQL that mends it.

    ``missing`` is "publication" or "table" where nothing but that is wrong: we may add it if we are told to.
    """

    message: str
    hint: str
    code: str = "publication-incomplete"
    missing: Literal["", "publication", "table"] = ""

    def error(self) -> UpstreamError:
        """The fault as the error that a source fails with."""
        manage = " -- or set `manage: true` and tycostream does it" if self.missing else ""
        return fail(self.code, self.message, hint=self.hint + manage)


def _covers(table: Table, listed: set[int]) -> bool:
    """Whether each relation that holds rows is listed: itself, or what it is a partition of."""
    parents = {part.oid: part.parent for part in table.parts}

    def reached(oid: int) -> bool:
        return oid in listed or (oid in parents and reached(parents[oid]))

    return all(reached(part.oid) for part in table.leaves) if table.leaves else table.oid in listed


class Publication:
    """One publication, by name. ``manage``: we may create it and add tables to it; nothing else is ever altered."""

    def __init__(self, name: str, manage: bool) -> None:
        self.name, self.manage = name, manage
        # tables added since the slot was made, until all older transactions have ended: of those it tells nothing
        self.fresh: set[int] = set()
        # Two ALTERs of one publication at a time: the server refuses the second.
        self._lock = asyncio.Lock()

    @property
    def sql(self) -> str:
        """Its name for a statement that a person runs."""
        return shown(self.name)

    async def exists(self, connection: Connection) -> bool:
        """Whether the database has it."""
        return await (await connection.execute(_PUBLICATION, [self.name])).fetchone() is not None

    async def faults(
        self, connection: Connection, table: Table | None = None, columns: Sequence[str] = ()
    ) -> list[Fault]:
        """What is wrong with it, for a table of which a source reads ``columns``; without one, in general."""
        row = await (await connection.execute(_PUBLICATION, [self.name])).fetchone()
        if row is None:
            of = f" FOR TABLE {table.sql}" if table is not None else ""
            said = f"there is no publication {self.name}"
            create = f"CREATE PUBLICATION {self.sql}{of};"
            return [Fault(said, create, "publication-missing", "publication")]
        faults = []
        if lacking := [option for option, has in zip(_OPTIONS, row[:4], strict=True) if not has]:
            faults.append(
                Fault(
                    f"publication {self.name} leaves out {', '.join(lacking)}",
                    f"ALTER PUBLICATION {self.sql} SET (publish = '{', '.join(_OPTIONS)}');",
                )
            )
        if table is not None:
            faults += await self._table_faults(connection, table, columns, via_root=bool(row[4]))
        return faults

    async def _table_faults(
        self, connection: Connection, table: Table, columns: Sequence[str], *, via_root: bool
    ) -> list[Fault]:
        query = _LISTED if connection.info.server_version >= _WITH_LISTS else _LISTED_BEFORE_15
        by_oid: dict[int, Part | Table] = {table.oid: table, **{part.oid: part for part in table.parts}}
        rows = await (await connection.execute(query, [self.name, list(by_oid)])).fetchall()
        if not _covers(table, {row[0] for row in rows}):
            return [await self._absent(connection, table, via_root=via_root)]
        alter = f"ALTER PUBLICATION {self.sql}"
        faults = []
        for oid, listed, row_filter in rows:
            name = by_oid[oid].sql
            whole = f"BEGIN; {alter} DROP TABLE {name}; {alter} ADD TABLE {name}; COMMIT;"
            if row_filter is not None:
                faults.append(
                    Fault(f"publication {self.name} holds only rows of {name} where {row_filter}", whole)
                )
            if listed is not None and (lacking := [column for column in columns if column not in listed]):
                faults.append(Fault(f"publication {self.name} leaves out {name}.{', '.join(lacking)}", whole))
        return faults

    async def _absent(self, connection: Connection, table: Table, *, via_root: bool) -> Fault:
        """Why the publication does not tell of the table under its name, or those of its partitions."""
        root = None
        if via_root:
            root = await (await connection.execute(_ROOT, [table.oid, self.name])).fetchone()
        if root is not None:
            said = f"publication {self.name} publishes changes of {table.sql} as those of {shown(*root)}"
            return Fault(said, f"ALTER PUBLICATION {self.sql} SET (publish_via_partition_root = false);")
        return Fault(
            f"publication {self.name} does not hold {table.sql}",
            f"ALTER PUBLICATION {self.sql} ADD TABLE {table.sql};",
            "publication-missing",
            "table",
        )

    async def create(self, connection: Connection, tables: Sequence[tuple[str, str]]) -> None:
        """Make it, holding ``tables``, if it is not there; UpstreamError with the statement if we may not."""
        names = ", ".join(shown(*table) for table in tables)
        create = f"CREATE PUBLICATION {self.sql}" + (f" FOR TABLE {names};" if names else ";")
        if not self.manage:
            raise Fault(
                f"there is no publication {self.name}", create, "publication-missing", "publication"
            ).error()
        statement = f"CREATE PUBLICATION {quoted(self.name)}"
        if tables:
            statement += f" FOR TABLE {', '.join(quoted(*table) for table in tables)}"
        try:
            await connection.execute(statement.encode())
        except _THERE:
            pass
        except psycopg.errors.InsufficientPrivilege as error:
            raise fail(
                "publication-missing", "we may not create our publication", detail=str(error), hint=create
            ) from None

    async def ensure(self, connection: Connection, table: Table, columns: Sequence[str]) -> bool:
        """Make sure that it tells everything about ``columns`` of the table; whether it did not, a moment ago.

        UpstreamError (FAIL) with the statement that mends it, where we may not or would alter somebody's choice.
        """
        async with self._lock:
            for attempt in range(_ATTEMPTS):
                faults = await self.faults(connection, table, columns)
                if not faults:
                    return await self._is_fresh(connection, table.oids)
                if not self.manage or not all(fault.missing for fault in faults):
                    # what nobody but an operator may mend comes first: adding the table would not help
                    raise min(faults, key=lambda fault: bool(fault.missing)).error()
                try:
                    if faults[0].missing == "publication":
                        await self.create(connection, [(table.schema, table.name)])
                    else:
                        await self._add(connection, table)
                except psycopg.errors.InternalError_:  # "tuple concurrently updated"
                    if attempt + 1 == _ATTEMPTS:
                        raise
                    continue
                except psycopg.errors.InsufficientPrivilege:
                    raise faults[0].error() from None
                self.fresh.update(table.oids)
                return True
        raise AssertionError("the last attempt returns or raises")

    async def input_faults(self, connection: Connection, leaves: Sequence[Leaf]) -> list[Fault]:
        """What keeps it from telling that one of ``leaves`` has changed. None of them needs its columns told."""
        if not leaves:
            return []
        faults = await self.faults(connection)
        held = dict.fromkeys((leaf.oid for leaf in leaves), (False, None))
        if there := not any(fault.missing for fault in faults):
            with_lists = connection.info.server_version >= _WITH_LISTS
            query = _HELD.format(row_filter="t.rowfilter" if with_lists else "NULL")
            cursor = await connection.execute(query.encode(), [list(held), self.name])
            held = {row[0]: row[1:] for row in await cursor.fetchall()}
        else:
            faults = []
        alter, lacking = f"ALTER PUBLICATION {self.sql}", [leaf for leaf in leaves if not held[leaf.oid][0]]
        for leaf in leaves:
            name = shown(*leaf.name)
            if held[leaf.oid][1] is not None:
                whole = f"BEGIN; {alter} DROP TABLE {name}; {alter} ADD TABLE {name}; COMMIT;"
                said = f"publication {self.name} holds only rows of {name} where {held[leaf.oid][1]}"
                faults.append(Fault(said, whole))
        for leaf in lacking:
            if not leaf.identity:
                name = shown(*leaf.name)
                or_key = (
                    ""
                    if leaf.has_key
                    else f" (or add a primary key: ALTER TABLE {name} ADD PRIMARY KEY (…);)"
                )
                said = f"{name} has no replica identity, so published, its UPDATE and DELETE would fail"
                hint = f"ALTER TABLE {name} REPLICA IDENTITY FULL;{or_key}"
                faults.append(Fault(said, hint, "replica-identity"))
        if lacking:
            add = ", ".join(dict.fromkeys(shown(*leaf.add) for leaf in lacking))
            said = f"publication {self.name} does not hold {', '.join(shown(*leaf.name) for leaf in lacking)}"
            fault = Fault(said, f"{alter} ADD TABLE {add};", "publication-missing", "table")
            if not there:
                create = f"CREATE PUBLICATION {self.sql} FOR TABLE {add};"
                fault = Fault(
                    f"there is no publication {self.name}", create, "publication-missing", "publication"
                )
            faults.append(fault)
        return faults

    async def ensure_inputs(self, connection: Connection, leaves: Sequence[Leaf]) -> bool:
        """Make sure that it tells of each change of ``leaves``; whether it did not, a moment ago. Errors as ``ensure``."""
        async with self._lock:
            for attempt in range(_ATTEMPTS):
                faults = await self.input_faults(connection, leaves)
                if not faults:
                    return await self._is_fresh(connection, [leaf.oid for leaf in leaves])
                if not self.manage or not all(fault.missing for fault in faults):
                    raise min(faults, key=lambda fault: bool(fault.missing)).error()
                try:
                    await self._add_inputs(connection, leaves, faults[0].missing)
                except psycopg.errors.InternalError_:  # "tuple concurrently updated"
                    if attempt + 1 == _ATTEMPTS:
                        raise
                    continue
                except psycopg.errors.InsufficientPrivilege:
                    raise faults[0].error() from None
                self.fresh.update(leaf.oid for leaf in leaves)
                return True
        raise AssertionError("the last attempt returns or raises")

    async def _is_fresh(self, connection: Connection, oids: Sequence[int]) -> bool:
        """Whether a transaction may be open that wrote to one of the tables while it was not published."""
        if not self.fresh.isdisjoint(oids):  # added by another source a moment ago
            return True
        schemas = _YOUNG_SCHEMAS if connection.info.server_version >= _WITH_LISTS else ""
        query = _YOUNG.format(schemas=schemas).encode()
        row = await (await connection.execute(query, {"name": self.name, "oids": list(oids)})).fetchone()
        return row is not None and bool(row[0])

    async def _add_inputs(self, connection: Connection, leaves: Sequence[Leaf], missing: str) -> None:
        if missing == "publication":
            with contextlib.suppress(*_THERE):
                await connection.execute(f"CREATE PUBLICATION {quoted(self.name)}".encode())
        for name in dict.fromkeys(leaf.add for leaf in leaves):
            with contextlib.suppress(*_THERE):
                await connection.execute(
                    f"ALTER PUBLICATION {quoted(self.name)} ADD TABLE {quoted(*name)}".encode()
                )

    async def _add(self, connection: Connection, table: Table) -> None:
        statement = f"ALTER PUBLICATION {quoted(self.name)} ADD TABLE {table.quoted}"
        with contextlib.suppress(*_THERE):
            await connection.execute(statement.encode())

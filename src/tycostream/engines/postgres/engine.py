"""PostgreSQL as an Engine: what must be true before a stream, said with the exact command that makes it true."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from tycostream.clock import Clock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.base import CatalogueTable, Finding
from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.engines.postgres import catalogue
from tycostream.engines.postgres.catalogue import Table, literal_sql, quoted
from tycostream.engines.postgres.connect import Connection, connect, fail, translate
from tycostream.engines.postgres.stream import PostgresStream
from tycostream.errors import UpstreamError
from tycostream.observe.events import Emit, EnumLabelUnlisted
from tycostream.rows import Position, RowType


class PostgresEngine:
    """See Engine."""

    def __init__(
        self,
        name: str,
        config: DatabaseConfig,
        config_name: str,
        enums: Mapping[str, tuple[str, ...]],
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.name, self.config, self.clock = name, config, clock
        self.publication = config.publication or f"tycostream_{config_name}"
        self.embedded = EmbeddedPostgres(Path(config.data), config.port) if config.embedded else None
        self._manage = config.manage or config.embedded
        self._config_name, self._enums, self._emit = config_name, enums, emit
        self._tables: dict[str, Table] = {}
        self._streams: set[PostgresStream] = set()

    @property
    def url(self) -> str:
        """Where we connect."""
        return self.embedded.url if self.embedded is not None else self.config.url or ""

    async def start(self) -> str:
        """Start the embedded server, if it is configured and not running; the URL."""
        if self.embedded is not None and not self.embedded.running:
            await self.embedded.start()
        return self.url

    async def connect(self, *, replication: bool = False) -> Connection:
        """A connection with our output settings."""
        return await connect(await self.start(), self.config, replication=replication)

    async def describe(self, source: SourceConfig) -> RowType:
        """See Engine."""
        async with await self.connect() as connection:
            try:
                table = await catalogue.load_table(connection, source)
            except psycopg.Error as error:
                raise translate(error, self.url, f"describing {source.name}") from None
        row_type = catalogue.row_type(table, source, self._enums, self._unlisted)
        self._tables[source.name] = table
        return row_type

    def _unlisted(self, enum: str, label: str) -> None:
        self._emit(EnumLabelUnlisted(enum, label))

    async def table_of(self, source: SourceConfig) -> Table:
        """The table of a source, as ``describe`` saw it."""
        if source.name not in self._tables:
            await self.describe(source)
        return self._tables[source.name]

    def forget(self, source: str) -> None:
        """Describe a source anew when it is next asked for: it failed, so its table may have changed."""
        self._tables.pop(source, None)

    async def open(self) -> PostgresStream:
        """See Engine."""
        async with await self.connect() as connection:
            try:
                await self._require(connection)
            except psycopg.Error as error:
                raise translate(error, self.url, "preparing replication") from None
        connection = await self.connect(replication=True)
        try:
            slot = f"tycostream_{self._config_name}"[:40] + f"_{os.getpid()}_{secrets.token_hex(4)}"
            identity = await (await connection.execute(b"IDENTIFY_SYSTEM")).fetchone()
            modern = connection.info.server_version >= 150000
            export = "(SNAPSHOT 'export')" if modern else "EXPORT_SNAPSHOT"
            command = f'CREATE_REPLICATION_SLOT "{slot}" TEMPORARY LOGICAL pgoutput {export}'
            made = await (await connection.execute(command.encode())).fetchone()
            assert identity is not None
            assert made is not None
            high, low = str(made[1]).split("/")
            offset = (int(high, 16) << 32) | int(low, 16)
            position = Position(f"{identity[0]}.{identity[3]}", int(identity[1]), offset)
        except psycopg.Error as error:
            await connection.close()
            if error.sqlstate == "53400":
                raise fail(
                    "no-free-slot",
                    "all replication slots of the server are in use",
                    hint="ALTER SYSTEM SET max_replication_slots = 20; then restart PostgreSQL",
                ) from None
            raise translate(error, self.url, "creating a replication slot") from None
        except BaseException:
            await connection.close()
            raise
        stream = PostgresStream(self, connection, slot, str(made[2]), position)
        self._streams = {s for s in self._streams if s._error is None} | {stream}
        return stream

    async def _require(self, connection: Connection) -> None:
        """What must be true before a slot is made. The publication too: decoding reads the catalogue as it was."""
        for finding in await self._server_findings(connection):
            if not finding.ok and finding.fatal:
                raise fail(finding.subject.rsplit(" ", 1)[-1], finding.message, hint=finding.hint)
        tables = list({table.sql: table for table in self._tables.values()}.values())
        try:
            for table in tables:
                self._require_select(table, connection.info.user)
        except UpstreamError:
            self._tables.clear()  # looked at anew next time: the right may have been given
            raise
        query = b"SELECT 1 FROM pg_publication WHERE pubname = %s"
        if await (await connection.execute(query, [self.publication])).fetchone() is not None:
            for table in tables if self._manage else []:
                # what cannot be added is reported when its source is added: one bad table never ends the others
                with contextlib.suppress(UpstreamError, psycopg.errors.UndefinedTable):
                    await self._add_to_publication(connection, table)
            return
        names = ", ".join(table.sql for table in tables)
        create = f"CREATE PUBLICATION {quoted(self.publication)}" + (f" FOR TABLE {names};" if names else ";")
        if not self._manage:
            raise fail(
                "publication-missing",
                f"there is no publication {self.publication}",
                hint=f"{create} -- or set `manage: true` and tycostream does it",
            )
        statement = sql.SQL("CREATE PUBLICATION {}").format(sql.Identifier(self.publication))
        if tables:
            listed = sql.SQL(", ").join([literal_sql(table.schema, table.name) for table in tables])
            statement = sql.SQL("{} FOR TABLE {}").format(statement, listed)
        try:
            await connection.execute(statement)
        except psycopg.errors.DuplicateObject:
            pass
        except psycopg.errors.InsufficientPrivilege as error:
            raise fail(
                "publication-missing", "we may not create our publication", detail=str(error), hint=create
            ) from None

    @staticmethod
    def _require_select(table: Table, user: str) -> None:
        if not table.readable:
            raise fail(
                "no-rights",
                f"no right to read {table.sql}",
                hint=f"GRANT SELECT ON {table.sql} TO {quoted(user)};",
            )

    async def publish(self, table: Table) -> bool:
        """Make sure that the publication holds the table; whether it had to be added just now."""
        async with await self.connect() as connection:
            self._require_select(table, connection.info.user)
            try:
                return await self._add_to_publication(connection, table)
            except psycopg.Error as error:
                raise translate(error, self.url, f"publishing {table.sql}") from None

    async def _published(self, connection: Connection, table: Table) -> bool:
        query = (
            b"SELECT 1 FROM pg_publication_tables WHERE pubname = %s AND schemaname = %s AND tablename = %s"
        )
        cursor = await connection.execute(query, [self.publication, table.schema, table.name])
        return await cursor.fetchone() is not None

    async def _add_to_publication(self, connection: Connection, table: Table) -> bool:
        if await self._published(connection, table):
            return False
        alter = f"ALTER PUBLICATION {quoted(self.publication)} ADD TABLE {table.sql};"
        missing = fail(
            "publication-missing",
            f"publication {self.publication} does not hold {table.sql}",
            hint=f"{alter} -- or set `manage: true` and tycostream does it",
        )
        if not self._manage:
            raise missing
        try:
            await connection.execute(
                sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(
                    sql.Identifier(self.publication), literal_sql(table.schema, table.name)
                )
            )
        except psycopg.errors.DuplicateObject:
            return True
        except psycopg.errors.InsufficientPrivilege:
            raise missing from None
        return True

    async def _server_findings(self, connection: Connection) -> list[Finding]:
        row = await (
            await connection.execute(
                b"SELECT current_setting('server_version_num')::int, current_setting('wal_level'),"
                b" pg_encoding_to_char(encoding), (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),"
                b" current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)::int,"
                b" current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)::int"
                b" FROM pg_database WHERE datname = current_database()"
            )
        ).fetchone()
        assert row is not None
        user = quoted(connection.info.user)
        rules = [
            ("server-version", row[0] >= 130000, f"PostgreSQL {row[0] // 10000}", "PostgreSQL 13 or later is needed"),
            ("wal-level", row[1] == "logical", f"wal_level is {row[1]}", "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL"),
            ("encoding", row[2] != "SQL_ASCII", f"the encoding is {row[2]}", "a database with encoding UTF8 is needed"),
            ("replication-right", bool(row[3]), f"role {user} {'has' if row[3] else 'lacks'} the REPLICATION right", f"ALTER ROLE {user} REPLICATION;"),
            ("no-free-slot", row[4] > 0, f"{row[4]} replication slots are free", "ALTER SYSTEM SET max_replication_slots = 20; then restart PostgreSQL"),
            ("no-free-sender", row[5] > 0, f"{row[5]} WAL senders are free", "ALTER SYSTEM SET max_wal_senders = 20; then restart PostgreSQL"),
        ]  # fmt: skip
        return [
            Finding(f"database {self.name} {code}", ok, said, "" if ok else hint)
            for code, ok, said, hint in rules
        ]

    async def check(self, sources: Sequence[SourceConfig]) -> Sequence[Finding]:
        """See Engine."""
        try:
            connection = await self.connect()
        except UpstreamError as error:
            return [Finding(f"database {self.name}", False, error.message, error.hint)]
        async with connection:
            findings = await self._server_findings(connection)
            for source in sources:
                findings += await self._check_source(connection, source)
        return findings

    async def _check_source(self, connection: Connection, source: SourceConfig) -> list[Finding]:
        subject = f"source {source.name}"
        try:
            table = await catalogue.load_table(connection, source)
            shape = catalogue.row_type(table, source, self._enums, self._unlisted)
            self._require_select(table, connection.info.user)
        except UpstreamError as error:
            return [Finding(subject, False, error.message, error.hint)]
        findings = [Finding(subject, True, f"{table.sql}, {len(shape.columns)} columns")]
        if not await self._published(connection, table):
            hint = f"ALTER PUBLICATION {quoted(self.publication)} ADD TABLE {table.sql};"
            query = b"SELECT 1 FROM pg_publication WHERE pubname = %s"
            if await (await connection.execute(query, [self.publication])).fetchone() is None:
                hint = f"CREATE PUBLICATION {quoted(self.publication)} FOR TABLE {table.sql};"
            said = f"publication {self.publication} does not hold {table.sql}"
            findings.append(
                Finding(
                    subject, False, said, "tycostream will add it" if self._manage else hint, not self._manage
                )
            )
        chosen = {column.name for column in shape.columns}
        if odd := [c.name for c in table.columns if c.name in chosen and not c.code_point_order]:
            said = (
                f"{', '.join(odd)}: tycostream orders text by code point; the database's own ORDER BY differs"
            )
            findings.append(Finding(subject, False, said, 'compare with ORDER BY … COLLATE "C"', fatal=False))
        return findings

    async def catalogue(self) -> Sequence[CatalogueTable]:
        """See Engine."""
        async with await self.connect() as connection:
            try:
                return await catalogue.load_all(connection)
            except psycopg.Error as error:
                raise translate(error, self.url, "reading the catalogue") from None

    async def close(self) -> None:
        """See Engine."""
        for stream in self._streams:
            await stream.close()
        self._streams.clear()
        if self.embedded is not None:
            await self.embedded.stop()

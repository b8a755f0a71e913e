"""Databases with the ledger's two tables, directly or through a proxy that fails on command."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg
from psycopg import conninfo

from tests.resilience.ledger import COLUMNS, TABLES, Account, Ledger, Write
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.proxy import FaultProxy

TYPES = dict.fromkeys(COLUMNS, "bigint")


class Upstream(Protocol):
    """``together``: a transaction over both tables is told as one. ``resumes``: a loss need not cost a snapshot."""

    together: bool
    resumes: bool
    proxy: FaultProxy | None

    @property
    def url(self) -> str:
        """Where the App is to connect now."""

    def database_yaml(self) -> str:
        """The database in the configuration, but for its url and bounds."""

    def source_yaml(self, table: str) -> str:
        """A source in the configuration."""

    async def start(self, ledger: Ledger) -> None:
        """Make the tables and fill them."""

    async def commit(self, writes: Sequence[Write]) -> bool:
        """One transaction; False: ask ``rows`` what became of it."""

    async def rows(self, table: str) -> list[Account]:
        """What the database itself says the table holds."""

    async def left(self) -> None:
        """Wait until nothing of the App is connected, and nothing of it stays."""

    async def stop(self) -> None:
        """End it."""


class MaterializeUpstream:
    """See Upstream."""

    resumes = True

    def __init__(self, consistency: str, *, proxied: bool = False, **options: Any) -> None:
        self.together = consistency == "database"
        self._consistency = consistency
        self.fake = FakeMaterialize(**{"progress_s": 0.02, "retain_ms": 60_000, **options})
        self.proxy: FaultProxy | None = None
        self._proxied = proxied
        self.added: dict[str, tuple[str, ...]] = dict.fromkeys(TABLES, ())  # cells of columns added later

    @property
    def url(self) -> str:
        url = self.fake.url
        return url if self.proxy is None else url.replace(f":{self.fake.port}/", f":{self.proxy.port}/")

    def database_yaml(self) -> str:
        return f"engine: materialize, consistency: {self._consistency}"

    def source_yaml(self, table: str) -> str:
        return "{primary_key: id}"  # the catalogue does not know it: its uniqueness is watched

    async def start(self, ledger: Ledger) -> None:
        await self.fake.start()
        if self._proxied:
            self.proxy = FaultProxy("127.0.0.1", self.fake.port)
            await self.proxy.start()
        for table in TABLES:
            self.fake.create_table(table, TYPES)
        self.fake.transaction(
            (table, self.cells(table, row), 1) for table in TABLES for row in ledger.tables[table].values()
        )

    def cells(self, table: str, row: Account) -> tuple[str, ...]:
        return (*map(str, row), *self.added[table])

    async def commit(self, writes: Sequence[Write]) -> bool:
        made = []
        for table, old, new in writes:
            if new is not None:
                made.append((table, self.cells(table, new), 1))
            if old is not None:
                made.append((table, self.cells(table, old), -1))
        self.fake.transaction(made)
        return True

    async def rows(self, table: str) -> list[Account]:
        rows = self.fake.rows(table)
        assert set(rows.values()) == {1}
        return [(int(row[0] or 0), int(row[1] or 0), int(row[2] or 0), int(row[3] or 0)) for row in rows]

    async def left(self) -> None:
        await self.fake.until(lambda: self.fake.connections == 0)
        if self.proxy is not None:
            async with asyncio.timeout(10):
                while self.proxy.connections:
                    await asyncio.sleep(0.01)

    async def stop(self) -> None:
        if self.proxy is not None:
            await self.proxy.stop()
        await self.fake.stop()


class PostgresUpstream:
    """See Upstream. The App logs in as a role of its own that may replicate and read; ``admin`` is ours."""

    together = True

    def __init__(self, url: str, *, proxied: bool = False, permanent: bool = False) -> None:
        self._direct = url
        self.resumes = permanent
        self.slot = f"resilience_{secrets.token_hex(4)}" if permanent else None
        self.role = f"reader_{secrets.token_hex(4)}"
        self.password = "first"
        self.proxy: FaultProxy | None = None
        self._proxied = proxied
        self.admin: psycopg.AsyncConnection[Any]

    @property
    def url(self) -> str:
        parts = conninfo.conninfo_to_dict(self._direct)
        port = parts["port"] if self.proxy is None else self.proxy.port
        return f"postgresql://{self.role}:{self.password}@{parts['host']}:{port}/{parts['dbname']}"

    def database_yaml(self) -> str:
        slot = f", slot: {self.slot}" if self.slot else ""
        return f"engine: postgres, publication: resilience{slot}"

    def source_yaml(self, table: str) -> str:
        return "{}"

    async def execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = await self.admin.execute(statement.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []

    async def start(self, ledger: Ledger) -> None:
        self.admin = await psycopg.AsyncConnection.connect(self._direct, autocommit=True)
        if self._proxied:
            parts = conninfo.conninfo_to_dict(self._direct)
            self.proxy = FaultProxy(str(parts["host"]), int(parts["port"] or 5432))
            await self.proxy.start()
        await self.execute(f"CREATE ROLE {self.role} LOGIN REPLICATION PASSWORD '{self.password}'")
        await self.execute("CREATE PUBLICATION resilience")
        if self.slot:
            await self.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (self.slot,))
        async with self.admin.transaction():
            for table in TABLES:
                await self.make(table, list(ledger.tables[table].values()))

    async def make(self, table: str, rows: Sequence[Account]) -> None:
        """The table, published and readable."""
        columns = ", ".join(f"{column} bigint" for column in COLUMNS)
        await self.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY (id))")
        await self.execute(f"ALTER PUBLICATION resilience ADD TABLE {table}")
        await self.execute(f"GRANT SELECT ON {table} TO {self.role}")
        for row in rows:
            await self._insert(table, row)

    async def _insert(self, table: str, row: Account) -> None:
        await self.execute(
            f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES (%s, %s, %s, %s)",
            row,
        )

    async def commit(self, writes: Sequence[Write]) -> bool:
        try:
            async with self.admin.transaction():
                for table, old, new in writes:
                    if old is None and new is not None:
                        await self._insert(table, new)
                    elif old is not None and new is None:
                        await self.execute(f"DELETE FROM {table} WHERE id = %s", (old[0],))
                    elif new is not None:
                        await self.execute(
                            f"UPDATE {table} SET amount = %s, held = %s, tx = %s WHERE id = %s",
                            (*new[1:], new[0]),
                        )
        except psycopg.OperationalError:
            await self._reconnect()
            return False
        return True

    async def _reconnect(self) -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.admin.close()
                    self.admin = await psycopg.AsyncConnection.connect(self._direct, autocommit=True)
                    return
                except psycopg.OperationalError:
                    await asyncio.sleep(0.05)

    async def rows(self, table: str) -> list[Account]:
        rows = await self.execute(f"SELECT {', '.join(COLUMNS)} FROM {table} ORDER BY id")
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    async def terminate(self) -> None:
        """An administrator ends every backend of the App."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
        await self.execute(query, (self.role,))

    async def left(self) -> None:
        query = (
            "SELECT pid::text FROM pg_stat_activity WHERE usename = %s"
            " UNION ALL SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
            " AND (temporary OR active)"
        )
        async with asyncio.timeout(10):
            while await self.execute(query, (self.role,)):
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self.proxy is not None:
            await self.proxy.stop()
        if self.slot:
            query = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
            while await self.execute(
                query, (self.slot,)
            ):  # the server notices a closed connection a moment later
                await asyncio.sleep(0.01)
            await self.execute("SELECT pg_drop_replication_slot(%s)", (self.slot,))
        await self.execute("DROP PUBLICATION IF EXISTS resilience")
        for table in TABLES:
            await self.execute(f"DROP TABLE IF EXISTS {table}")
        await self.execute(f"DROP ROLE {self.role}")
        await self.admin.close()

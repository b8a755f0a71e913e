"""A control connection: one for short statements, opened when first needed and again when it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import psycopg

from tycostream.config.model import DatabaseConfig
from tycostream.engines.libpq import Connection, retry

_IDLE_S: Final = 1.0  # a connection that was silent longer may be dead without our knowing


class Control:
    """One connection for catalogue queries, opened when first needed and again when it was lost.

    Every statement has the configured time; one that overruns costs the connection, for nothing else can be sure to
    end it. A connection that was idle is not used again: what is asked here is asked when something broke, and a network
    path that vanished silently would cost the statement's whole time, where a new connection costs a round trip.
    """

    def __init__(
        self, open_: Callable[[], Awaitable[Connection]], config: DatabaseConfig, product: str
    ) -> None:
        self._open, self._product = open_, product
        self._timeout_s = config.statement_timeout.total_seconds()
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._used_s = 0.0

    async def run(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement; psycopg.Error if it is refused, UpstreamError if there is no connection."""
        return (await self._execute(statement))[0]

    async def describe(self, statement: str) -> list[tuple[str, int]]:
        """The result columns of a statement: names and type OIDs."""
        return (await self._execute(statement))[1]

    async def table(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a statement by the names of their columns: for ``SELECT *``, whose columns differ by version."""
        rows, columns = await self._execute(statement)
        return [{name: cell for (name, _), cell in zip(columns, row, strict=True)} for row in rows]

    async def _execute(self, statement: str) -> tuple[list[tuple[Any, ...]], list[tuple[str, int]]]:
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._connection is not None and loop.time() - self._used_s > _IDLE_S:
                await self.close()
            self._used_s = loop.time()
            if self._connection is not None:
                try:
                    return await self._on(self._connection, statement)
                except psycopg.OperationalError:
                    if not self._connection.closed:
                        raise  # the server refused the statement; a lost connection is only an old one
            self._connection = await self._open()
            return await self._on(self._connection, statement)

    async def _on(
        self, connection: Connection, statement: str
    ) -> tuple[list[tuple[Any, ...]], list[tuple[str, int]]]:
        try:
            async with asyncio.timeout(self._timeout_s):
                cursor = await connection.execute(statement.encode())
                columns = [(column.name, column.type_code) for column in cursor.description or ()]
                return (await cursor.fetchall() if cursor.description else []), columns
        except TimeoutError:
            connection.pgconn.finish()
            raise retry(
                "statement-timeout",
                f"{self._product} did not answer in {self._timeout_s:g} s",
                detail=statement.strip()[:200],
                hint="see `statement_timeout`; is the database overloaded?",
            ) from None

    async def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

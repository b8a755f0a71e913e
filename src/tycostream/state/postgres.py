"""State in a PostgreSQL, for servers that share it. See StateStore."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

import psycopg

from tycostream.config.model import DatabaseConfig
from tycostream.engines.libpq import Connection, open_connection, translate
from tycostream.errors import Action, StateError, UpstreamError
from tycostream.state.base import Rows, Script
from tycostream.state.schema import NAMES, PRESENT, expect, make

T = TypeVar("T")
_TIMEOUT_S: Final = 5.0
_LIMITS: Final = DatabaseConfig(connect_timeout=timedelta(seconds=_TIMEOUT_S))
# One writer at a time: two servers that start together would both make the tables, and one would fail.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('tycostream_state'))"
_NO_RIGHT: Final = "42501"


class PostgresState:
    """One connection, and one script on it at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def read(self, script: Script[T]) -> T:
        """See StateStore."""
        return await self._in_turn(lambda connection: _run(connection, script))

    async def write(self, script: Script[T]) -> T:
        """See StateStore."""
        return await self._in_turn(lambda connection: _write(connection, script))

    async def close(self) -> None:
        """See StateStore."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _in_turn(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._turn:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await self._opened()
                async with asyncio.timeout(_TIMEOUT_S):
                    return await work(self._connection)
            except UpstreamError as error:
                raise _state_error(error) from None
            except TimeoutError:
                self._drop()
                raise StateError(
                    "state-unavailable", "the database of the state does not answer", hint="is it overloaded?"
                ) from None
            except psycopg.Error as error:
                self._drop()
                raise _state_error(translate(error, self._url, "reading or writing the state")) from None
            except asyncio.CancelledError:
                self._drop()  # it is in the middle of something
                raise

    async def _opened(self) -> Connection:
        connection = await open_connection(self._url, _LIMITS, options={}, shows={})
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await _make(connection)
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()


async def _make(connection: Connection) -> None:
    # asked first: who may use the tables need not be allowed to make them
    found = await (
        await connection.execute(
            b"SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS name", (list(NAMES),)
        )
    ).fetchone()
    if found is None or not found[0]:
        try:
            await _write(connection, make())
        except psycopg.Error as error:
            if error.sqlstate != _NO_RIGHT:
                raise
            raise StateError(
                "state-rights",
                "the user of `state` may not make our tables there",
                detail=str(error).strip(),
                hint="GRANT CREATE ON SCHEMA public TO that user, or name a schema of its own in the url:"
                " ?options=-csearch_path%3Dtycostream",
            ) from None
    row = await (await connection.execute(PRESENT.encode())).fetchone()
    if row is None:
        raise StateError(
            "state-broken",
            "the table tycostream_state is empty",
            hint=f"DROP TABLE {', '.join(NAMES)}: they are made anew, without tokens",
        )
    expect(row[0])


async def _write(connection: Connection, script: Script[T]) -> T:
    async with connection.transaction():
        await connection.execute(_LOCK.encode())
        return await _run(connection, script)


async def _run(connection: Connection, script: Script[T]) -> T:
    rows: Rows | None = None
    try:
        while True:
            text, values = script.send(rows) if rows is not None else next(script)
            cursor = await connection.execute(text.replace("?", "%s").encode(), values)
            rows = await cursor.fetchall() if cursor.description is not None else []
    except StopIteration as end:
        result: T = end.value
        return result


def _state_error(error: UpstreamError) -> StateError:
    code = "state-unavailable" if error.action is Action.RETRY else "state-refused"
    return StateError(code, f"the state cannot be had: {error.message}", detail=error.detail, hint=error.hint)

"""Connections to RisingWave: its session settings, and statements whose results are read as text."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
from psycopg import pq

from tycostream.config.model import DatabaseConfig
from tycostream.engines.libpq import Connection, fail, open_connection, retry
from tycostream.engines.meanings import ServerError, error_of
from tycostream.engines.risingwave.errors import PRODUCT, Refused, translate

_DONE: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)


async def connect(url: str, config: DatabaseConfig) -> Connection:
    """An autocommit connection in UTC; UpstreamError otherwise.

    The time zone is all of RisingWave's output that a setting changes. It is set by a statement: whether start-up options
    are heeded depends on its version.
    """
    connection = await open_connection(url, config, options={}, shows={}, product=PRODUCT)
    try:
        async with asyncio.timeout(config.connect_timeout.total_seconds()):
            await connection.execute(b"SET TimeZone = 'UTC'")
            row = await (await connection.execute(b"SHOW TimeZone")).fetchone()
    except TimeoutError:
        connection.pgconn.finish()
        raise retry("connect-timeout", "RisingWave stopped answering", hint="is it overloaded?") from None
    except psycopg.Error as error:
        await connection.close()
        raise translate(error, url, "setting the time zone") from None
    except BaseException:
        await connection.close()
        raise
    if row is None or str(row[0]) != "UTC":
        await connection.close()
        raise fail(
            "output-settings",
            f"the server does not honour TimeZone=UTC: it shows {row[0] if row else None}",
            hint="connect to RisingWave itself: a pooler must not drop session settings",
        )
    return connection


async def ask(connection: Connection, statement: str, timeout_s: float) -> pq.abc.PGresult:
    """The result of one statement over the simple protocol; Refused if there is none, or none in time.

    Not psycopg's own ``execute``: cancelled, that waits for the server to confirm, which one that stalls never does. After a
    cancellation, or an answer that is late, the connection is good for nothing but being closed.
    """
    pgconn, loop, ready = connection.pgconn, asyncio.get_running_loop(), asyncio.Event()
    try:
        descriptor = pgconn.socket
        pgconn.send_query(statement.encode())
        loop.add_reader(descriptor, ready.set)
        try:
            async with asyncio.timeout(timeout_s):
                return await _result(pgconn, ready)
        finally:
            loop.remove_reader(descriptor)
    except TimeoutError:
        said = f"no answer in {timeout_s:g} s to {statement[:80]}"
        raise Refused(ServerError("", said)) from None
    except psycopg.Error as error:
        raise Refused(ServerError("", str(error))) from None


async def _result(pgconn: pq.abc.PGconn, ready: asyncio.Event) -> pq.abc.PGresult:
    last: pq.abc.PGresult | None = None
    unsent = pgconn.flush()
    while True:
        while pgconn.is_busy():
            await ready.wait()
            ready.clear()
            pgconn.consume_input()
            if unsent:
                unsent = pgconn.flush()
        result = pgconn.get_result()
        if result is None:
            break
        if last is None or last.status in _DONE:
            last = result
    if last is None or last.status not in _DONE:
        raise Refused(error_of(last))
    return last

"""The lines of a COPY, as libpq has them: many at a time, and never so many that the loop is held up.

psycopg hands each row out through a task's switch, which costs more than all else that is done with a row that has not
changed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from tycostream.engines.libpq import Connection

_LINES: Final = 500  # at once: a millisecond or two of work for whoever takes them
_BYTES: Final = 2**20
_CANCEL_S: Final = 2.0


async def copy_lines(connection: Connection, statement: bytes) -> AsyncGenerator[list[bytes]]:
    """The lines that COPY … TO STDOUT gives, each with its newline. psycopg.Error if it is refused.

    Not read to its end, it is called off, and the connection is closed.
    """
    pgconn, done = connection.pgconn, False
    try:
        pgconn.send_query(statement)
        while pgconn.flush():
            await _until(pgconn, writable=True)
        await _result(pgconn, pq.ExecStatus.COPY_OUT)
        while not done:
            lines, size, read = list[bytes](), 0, False
            while len(lines) < _LINES and size < _BYTES:
                length, data = pgconn.get_copy_data(1)
                if length > 0:
                    lines.append(bytes(data))
                    size += length
                    read = False
                elif length < 0 or read:
                    done = length < 0
                    break
                else:  # libpq takes 16 KiB from the socket at a time; more may be there
                    pgconn.consume_input()
                    read = True
            if lines:
                yield lines
                await asyncio.sleep(0)
            elif not done:
                await _until(pgconn)
        await _result(pgconn, pq.ExecStatus.COMMAND_OK)
        await _end(pgconn)
    except psycopg.Error:
        done = True
        if pgconn.status == pq.ConnStatus.OK:
            await _end(pgconn)
        raise
    finally:
        if not done:
            with contextlib.suppress(psycopg.Error):
                await connection.cancel_safe(timeout=_CANCEL_S)
            pgconn.finish()


async def _until(pgconn: Any, *, writable: bool = False) -> None:
    """Until the socket has something for us, or room."""
    loop, ready, socket = asyncio.get_running_loop(), asyncio.Event(), pgconn.socket
    (loop.add_writer if writable else loop.add_reader)(socket, ready.set)
    try:
        await ready.wait()
    finally:
        (loop.remove_writer if writable else loop.remove_reader)(socket)


async def _result(pgconn: Any, wanted: pq.ExecStatus) -> None:
    while pgconn.is_busy():
        await _until(pgconn)
        pgconn.consume_input()
    result = pgconn.get_result()
    if result is None or result.status != wanted:
        if result is None or result.status != pq.ExecStatus.FATAL_ERROR:
            raise psycopg.OperationalError("the server ended a COPY in its middle")
        raise error_from_result(result)


async def _end(pgconn: Any) -> None:
    """Read on until the connection is ready for the next statement."""
    while True:
        while pgconn.is_busy():
            await _until(pgconn)
            pgconn.consume_input()
        if pgconn.get_result() is None:
            return

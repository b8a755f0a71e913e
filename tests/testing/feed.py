"""A COPY (SUBSCRIBE …) read through libpq itself, a row at a time, and other ways to ask a fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import pq

from tycostream.engines.decode.copytext import decode_line
from tycostream.testing.materialize import FakeMaterialize

Cells = list[str | None]
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class MovedClock:
    """Milliseconds that a test moves."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


async def readable(pgconn: pq.abc.PGconn) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    number = pgconn.socket
    loop.add_reader(number, lambda: None if ready.done() else ready.set_result(None))
    try:
        await asyncio.wait_for(ready, 10)
    finally:
        loop.remove_reader(number)
    pgconn.consume_input()


async def result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    while pgconn.is_busy():
        await readable(pgconn)
    return pgconn.get_result()


def sqlstate(answer: pq.abc.PGresult | None) -> tuple[str, str]:
    """An error result's code and message."""
    assert answer is not None
    assert answer.status == pq.ExecStatus.FATAL_ERROR
    fields = (pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY)
    code, text = (answer.error_field(field) or b"" for field in fields)
    return code.decode(), text.decode()


class Feed:
    """A running COPY. ``row`` gives cells; None at its end, whose command tag is then in ``tag``."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self.pgconn = pgconn
        self.tag = ""
        self.error: tuple[str, str] | None = None
        self.detail = ""
        self.notices: list[str] = []
        self.width = 0

    def _notice(self, notice: pq.abc.PGresult) -> None:
        self.notices.append((notice.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode())

    async def start(self, subscribe: str) -> Feed:
        self.pgconn.notice_handler = self._notice
        self.pgconn.nonblocking = 1
        self.pgconn.send_query(f"COPY ({subscribe}) TO STDOUT".encode())
        answer = await result(self.pgconn)
        assert answer is not None
        if answer.status == pq.ExecStatus.FATAL_ERROR:
            self._fail(answer)
            return self
        assert answer.status == pq.ExecStatus.COPY_OUT
        self.width = answer.nfields
        return self

    def _fail(self, answer: pq.abc.PGresult) -> None:
        self.error = sqlstate(answer)
        self.detail = (answer.error_field(pq.DiagnosticField.MESSAGE_DETAIL) or b"").decode()

    async def row(self) -> Cells | None:
        while True:
            size, data = self.pgconn.get_copy_data(1)
            if size > 0:
                line = bytes(data)
                assert line.endswith(b"\n")
                assert line.count(b"\n") == 1, "one row a message"
                return decode_line(line[:-1], self.width)
            if size == -1:
                answer = await result(self.pgconn)
                assert answer is not None
                if answer.status == pq.ExecStatus.FATAL_ERROR:
                    self._fail(answer)
                else:
                    self.tag = (answer.command_status or b"").decode()
                return None
            await readable(self.pgconn)

    async def silence(self) -> None:
        """Until a notice comes, and nothing may come before it."""
        while True:
            assert self.pgconn.get_copy_data(1)[0] == 0, "neither rows nor progress were due"
            if self.notices:
                return
            await readable(self.pgconn)

    async def rows(self, count: int) -> list[Cells]:
        found = [await self.row() for _ in range(count)]
        assert None not in found, (found, self.error)
        return [row for row in found if row is not None]

    async def rest(self) -> list[Cells]:
        found = []
        while (row := await self.row()) is not None:
            found.append(row)
        return found

    async def data(self, count: int) -> list[Cells]:
        """The next ``count`` rows that are not progress, of a feed WITH (PROGRESS)."""
        found: list[Cells] = []
        while len(found) < count:
            row = await self.row()
            assert row is not None, self.error
            if row[1] == "f":
                found.append(row)
        return found


@asynccontextmanager
async def connected(url: str, **extra: Any) -> AsyncIterator[Connection]:
    made = await psycopg.AsyncConnection.connect(url, autocommit=True, **extra)
    try:
        yield made
    finally:
        made.pgconn.finish()
        await made.close()


@asynccontextmanager
async def feed(fake: FakeMaterialize, subscribe: str, url: str | None = None) -> AsyncIterator[Feed]:
    async with connected(url or fake.url) as connection:
        yield await Feed(connection.pgconn).start(subscribe)


async def ask(connection: Connection, sql: str, arguments: Sequence[Any] | None = None) -> list[Any]:
    cursor = await connection.execute(sql.encode(), arguments)
    return await cursor.fetchall() if cursor.description else []


async def refused(connection: Connection, sql: str) -> tuple[str | None, str]:
    """The code and message of the error that a statement must give."""
    try:
        await connection.execute(sql.encode())
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary or str(error)
    raise AssertionError(f"{sql} was not refused")

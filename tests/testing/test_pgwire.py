"""Start-up, TLS, passwords and the extended protocol, by libpq and by raw bytes."""

from __future__ import annotations

import asyncio
import ssl
import struct
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from tests.testing.feed import MovedClock, ask, connected, feed, refused, result, sqlstate
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.pgwire_messages import copy_line, data_row


async def test_tls_is_verified_and_may_be_required(tls: tuple[ssl.SSLContext, Path]):
    context, certificate = tls
    fake = FakeMaterialize(
        now_ms=MovedClock(), progress_s=None, ssl_context=context, require_tls=True, password="app-password"
    )
    fake.create_table("t", {"id": "integer", "name": "text"})
    await fake.start()
    try:
        url = f"postgresql://materialize:app-password@localhost:{fake.port}/materialize"
        async with connected(f"{url}?sslmode=verify-full&sslrootcert={certificate}") as connection:
            assert connection.pgconn.ssl_in_use
            assert await ask(connection, "SELECT 1") == [(1,)]
        async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as subscribed:  # a large one, too
            fake.insert("t", *((str(i), "x" * 1000) for i in range(2000)))
            assert len(await subscribed.data(2000)) == 2000
        with pytest.raises(psycopg.OperationalError, match="TLS encryption is required"):
            await psycopg.AsyncConnection.connect(f"{url}?sslmode=disable")
        with pytest.raises(psycopg.OperationalError, match="certificate"):
            await psycopg.AsyncConnection.connect(f"{url}?sslmode=verify-full&sslrootcert=system")
    finally:
        await fake.stop()


async def test_without_tls_it_says_so(fake: FakeMaterialize):
    with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
        await psycopg.AsyncConnection.connect(fake.url.replace("disable", "require"))
    async with connected(fake.url.replace("disable", "prefer")) as connection:
        assert not connection.pgconn.ssl_in_use


async def test_passwords():
    fake = FakeMaterialize(progress_s=None, password="right")
    await fake.start()
    try:
        async with connected(fake.url) as connection:
            assert await ask(connection, "SELECT 1") == [(1,)]
        wrong = fake.url.replace(":right@", ":wrong@")
        with pytest.raises(psycopg.OperationalError, match="invalid password"):
            await psycopg.AsyncConnection.connect(wrong)
    finally:
        await fake.stop()


async def test_what_a_connection_learns(fake: FakeMaterialize):
    async with connected(fake.url) as connection:
        info = connection.info
        assert info.parameter_status("client_encoding") == "UTF8"
        assert info.parameter_status("IntervalStyle") == "postgres"
        assert info.parameter_status("server_version") == "9.5.0"
        assert (info.parameter_status("mz_version") or "").startswith("v26")
        seen = [info.transaction_status]
        for sql in ("BEGIN", "SELECT nope FROM t", "ROLLBACK"):
            await (refused(connection, sql) if "nope" in sql else ask(connection, sql))
            seen.append(info.transaction_status)
        status = pq.TransactionStatus
        assert seen == [status.IDLE, status.INTRANS, status.INERROR, status.IDLE]


async def test_prepared_statements_and_parameters(fake: FakeMaterialize):
    async with connected(fake.url) as connection:
        for value in ("a'b\\", "", None, "$1 ü"):
            for _ in range(2):
                cursor = await connection.execute("SELECT %s::text AS x", [value], prepare=True)
                assert await cursor.fetchall() == [(value,)]
        cursor = await connection.execute("SELECT %s::int", [41], binary=False)
        assert cursor.description is not None
        assert await ask(connection, "SELECT name FROM mz_types WHERE oid = %s", [16]) == [("bool",)]
        async with connection.pipeline():
            first = await connection.execute("SELECT 1", prepare=False)
            second = await connection.execute("SHOW timezone")
            assert await first.fetchall() == [(1,)]
            assert await second.fetchall() == [("UTC",)]
        connection.pgconn.nonblocking = 1
        connection.pgconn.send_query_prepared(b"nope", [])
        assert sqlstate(await result(connection.pgconn)) == (
            "26000",
            'prepared statement "nope" does not exist',
        )


async def test_an_error_in_the_extended_protocol_skips_to_sync(fake: FakeMaterialize):
    async with connected(fake.url) as connection:
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await connection.execute("SELECT nope, %s FROM t", [1])
        assert await ask(connection, "SELECT %s::text", ["on"]) == [("on",)]
        cursor = await connection.execute("")
        assert cursor.pgresult is not None
        assert cursor.pgresult.status == pq.ExecStatus.EMPTY_QUERY


async def test_hostile_bytes_end_the_connection_and_nothing_else(fake: FakeMaterialize):
    for data in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        struct.pack(">ii", 8, 2 << 16),
        struct.pack(">ii", 4, 0),
        struct.pack(">ii", 9, 3 << 16) + b"\0" + b"Q" + struct.pack(">i", -1),
        struct.pack(">ii", 9, 3 << 16) + b"\0" + b"?" + struct.pack(">i", 4),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        writer.write(data)
        await asyncio.wait_for(reader.read(-1), 10)
        writer.close()
    await fake.until(lambda: fake.connections == 0)
    async with connected(fake.url) as connection:
        assert await ask(connection, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ((), b"\n"),
        ((None, "", "NULL"), b"\\N\t\tNULL\n"),
        (("a\tb\nc\\d\re",), b"a\\tb\\nc\\\\d\\re\n"),
        (("\\N", "\b\f\v"), b"\\\\N\t\\b\\f\\v\n"),
        (("ü€",), "ü€\n".encode()),
    ],
)
def test_copy_escapes(cells: tuple[str | None, ...], line: bytes):
    assert copy_line(cells) == line


def test_a_data_row_tells_null_from_empty():
    assert data_row((None, "", "ü")) == b"D\0\0\0\x14\0\3\xff\xff\xff\xff\0\0\0\0\0\0\0\2\xc3\xbc"


async def test_cells_arrive_as_they_are(fake: FakeMaterialize):
    hard = "tab\there, line\nfeed, back\\slash, \\N, quote', \r, \x7f, 🎈"
    fake.insert("t", ("1", hard), ("2", ""), ("3", None))
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as subscribed:
        assert [row[4] for row in await subscribed.data(3)] == [hard, "", None]
    async with connected(fake.url) as connection:
        assert await ask(connection, "SELECT id, name FROM t") == [(1, hard), (2, ""), (3, None)]

"""Start-up, passwords, TLS, and statements as psycopg sends them."""

from __future__ import annotations

import ssl
from pathlib import Path

import psycopg
import pytest

from tests.testing.feed import ask, connected, refused
from tests.testing.rw import INTERNAL, fails, report
from tycostream.testing.risingwave import FakeRisingWave


async def test_what_the_server_says_of_itself(rw: FakeRisingWave):
    async with connected(rw.url, application_name="mine") as connection:
        told = {name: connection.info.parameter_status(name) for name in (
            "application_name", "client_encoding", "server_version", "standard_conforming_strings", "TimeZone",
        )}  # fmt: skip
        assert told == {
            "application_name": "mine",
            "client_encoding": "UTF8",
            "server_version": "13.14.0",
            "standard_conforming_strings": "on",
            "TimeZone": None,
        }
        assert connection.info.server_version == 131_400
        assert await ask(connection, "SELECT version()") == [("PostgreSQL 13.14.0-RisingWave-3.2.0",)]
        cursor = await connection.execute(b"SELECT version() AS v, 1 AS one")
        assert cursor.description is not None
        assert [(column.name, column.type_code) for column in cursor.description] == [
            ("v", 1043),
            ("one", 23),
        ]


async def test_another_database_is_refused(rw: FakeRisingWave):
    with pytest.raises(psycopg.OperationalError, match='database "other" does not exist'):
        async with connected(rw.url.replace("/dev", "/other")):
            pass


async def test_a_password_and_tls(tls: tuple[ssl.SSLContext, Path]):
    context, certificate = tls
    rw = FakeRisingWave(checkpoint_s=None, ssl_context=context, require_tls=True, password="secret word")
    await rw.start()
    try:
        login = {"sslrootcert": str(certificate), "host": "localhost", "hostaddr": "127.0.0.1"}
        url = rw.url.replace("sslmode=require", "sslmode=verify-full").replace(":secret word", "")
        async with connected(url, password="secret word", **login) as connection:
            assert connection.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="invalid password"):
            async with connected(url, password="another", **login):
                pass
        with pytest.raises(psycopg.OperationalError, match="TLS encryption is required"):
            async with connected(url.replace("verify-full", "disable"), password="secret word"):
                pass
    finally:
        await rw.stop()


async def test_the_extended_protocol(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"))
    rw.checkpoint()
    async with connected(rw.url) as connection:
        found = await ask(connection, "SELECT name FROM rw_tables WHERE name = %s", ("t",))
        assert found == [("t",)]
        await connection.execute(b"DECLARE c SUBSCRIPTION CURSOR FOR s FULL", prepare=True)
        cursor = await connection.execute(b"FETCH NEXT FROM c", prepare=True)
        assert await cursor.fetchall() == [(1, "a", "Insert", None)]
        cursor = await connection.execute(b"FETCH NEXT FROM c", prepare=True)
        assert await cursor.fetchall() == []
        with pytest.raises(psycopg.Error) as error:
            await connection.execute(b"FETCH NEXT FROM d", prepare=True)
        cause = "internal error: Cannot find cursor `d`"
        head = "Failed to prepare the statement"
        assert error.value.diag.message_primary == report(cause, head=head)
        with pytest.raises(psycopg.Error) as error:
            await connection.execute(b"CLOSE d", prepare=True)
        causes, head = ("Catalog error", "cursor `d` don't exists"), "Failed to execute the statement"
        assert error.value.diag.message_primary == report(*causes, head=head)


async def test_several_statements_in_one_message(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(
            connection, "DECLARE c SUBSCRIPTION CURSOR FOR s; DECLARE d SUBSCRIPTION CURSOR FOR s; CLOSE c;"
        )
        assert rw.cursors("s") == 1
        code, text = await refused(connection, "INSERT INTO t VALUES (1, 'a')")
        assert code == INTERNAL
        assert 'sql parser error: the fake cannot read this SQL near "INSERT INTO t' in text


async def test_transactions(rw: FakeRisingWave):
    async with await psycopg.AsyncConnection.connect(rw.url) as connection:  # not in autocommit
        await connection.execute(b"DECLARE c SUBSCRIPTION CURSOR FOR s")
        assert connection.info.transaction_status.name == "INTRANS"
        await fails(connection, "FETCH NEXT FROM x", INTERNAL, "internal error: Cannot find cursor `x`")
        assert connection.info.transaction_status.name == "INERROR"
        await connection.rollback()
        assert rw.cursors() == 1, "subscription cursors are not part of it"


async def test_new_connections_are_refused_and_taken_again(rw: FakeRisingWave):
    rw.refuse()
    with pytest.raises(psycopg.OperationalError):
        async with connected(rw.url):
            pass
    rw.refuse(False)
    async with connected(rw.url) as connection:
        assert await ask(connection, "SELECT 1") == [(1,)]

"""DECLARE and FETCH, transactions, and SUBSCRIBE without COPY."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.testing.feed import ask, connected, feed, refused
from tycostream.testing.materialize import FakeMaterialize


async def test_fetch_takes_what_is_ready_and_waits_for_the_first(fake: FakeMaterialize):
    at = fake.insert("t", ("1", "a"), ("2", "b"))
    async with connected(fake.url) as connection:
        await ask(connection, "BEGIN")
        await ask(connection, "DECLARE c CURSOR FOR SUBSCRIBE t WITH (PROGRESS)")
        assert fake.subscriptions() == 0, "DECLARE only stores the statement"
        assert await ask(connection, "FETCH 0 c") == []
        assert fake.subscriptions("t") == 1
        locked = fake.insert("t", ("3", "c"))
        assert await ask(connection, "FETCH c") == [(at, True, None, None, None)], "FETCH 0 fixed its time"
        assert await ask(connection, "FETCH FORWARD 2 FROM c") == [
            (at, False, 1, 1, "a"),  # a FETCH may cut a batch anywhere
            (at, False, 1, 2, "b"),
        ]
        assert await ask(connection, "FETCH ALL c") == [
            (at + 1, True, None, None, None),
            (locked, False, 1, 3, "c"),
            (locked + 1, True, None, None, None),
        ]
        waiting = asyncio.create_task(ask(connection, "FETCH ALL c"))
        await fake.until(lambda: fake.statements.count("FETCH ALL c") == 2)
        assert not waiting.done()
        upper = fake.advance()
        assert await waiting == [(upper, True, None, None, None)]
        await ask(connection, "COMMIT")
        assert fake.subscriptions() == 0


async def test_a_timeout_waits_until_it_is_over_or_enough_rows_are_there(fake: FakeMaterialize):
    at = fake.insert("t", ("1", "a"))
    loop = asyncio.get_running_loop()
    async with connected(fake.url) as connection:
        await ask(connection, "BEGIN")
        await ask(connection, "DECLARE c CURSOR FOR SUBSCRIBE t")
        began = loop.time()
        assert await ask(connection, "FETCH ALL c WITH (TIMEOUT='200ms')") == [(at, 1, 1, "a")]
        assert loop.time() - began >= 0.199, "the whole time, though the row was there at once"
        assert await ask(connection, "FETCH ALL c WITH (timeout = '0s')") == []
        fetch = asyncio.create_task(ask(connection, "FETCH 2 c WITH (TIMEOUT='30 s')"))
        await fake.until(lambda: "30 s" in fake.statements[-1])
        fake.insert("t", ("2", "b"))
        fake.insert("t", ("3", "c"))
        assert [row[2] for row in await fetch] == [2, 3], "long before the timeout"


async def test_timeouts_that_cannot_be(fake: FakeMaterialize):
    async with connected(fake.url) as connection:
        for text, expected in [
            ("90000s", "timeout out of range: 90000s"),
            ("-1s", "invalid TIMEOUT: cannot convert negative interval to duration"),
        ]:
            await ask(connection, "BEGIN")
            await ask(connection, "DECLARE c CURSOR FOR SUBSCRIBE t")
            assert (await refused(connection, f"FETCH ALL c WITH (TIMEOUT='{text}')"))[1] == expected
            await ask(connection, "ROLLBACK")


async def test_after_the_end_fetch_returns_at_once(fake: FakeMaterialize):
    fake.create_constant_view("k", {"x": "integer"}, [("1",)])
    async with connected(fake.url) as connection:
        await ask(connection, "BEGIN")
        await ask(connection, "DECLARE c CURSOR FOR SUBSCRIBE k")
        assert len(await ask(connection, "FETCH ALL c WITH (TIMEOUT='60s')")) == 1
        assert await ask(connection, "FETCH ALL c") == []


async def test_errors_come_with_the_first_fetch(fake: FakeMaterialize):
    fake.insert("t", ("1", "a"))
    async with connected(fake.url) as connection:
        await ask(connection, "BEGIN")
        await ask(connection, "DECLARE c CURSOR FOR SUBSCRIBE t AS OF 1")
        gone = ("22000", "could not find a valid timestamp for the query")
        assert await refused(connection, "FETCH 0 c") == gone
        aborted = "current transaction is aborted, commands ignored until end of transaction block"
        for _ in range(2):  # for ever, until ROLLBACK
            assert await refused(connection, "FETCH ALL c") == ("25P02", aborted)
        cursor = await connection.execute(b"COMMIT")
        assert cursor.statusmessage == "ROLLBACK"
        assert await ask(connection, "SELECT 1") == [(1,)]


async def test_outside_a_transaction_a_cursor_is_gone_at_once(fake: FakeMaterialize):
    async with connected(fake.url) as connection:
        await ask(connection, "DECLARE c CURSOR FOR SUBSCRIBE t")
        assert await refused(connection, "FETCH c") == ("34000", 'cursor "c" does not exist')


async def test_a_subscribe_is_the_only_read_of_its_transaction(fake: FakeMaterialize):
    only = ("25000", "SUBSCRIBE in transactions must be the only read statement")
    async with connected(fake.url) as connection:
        for first in ("SUBSCRIBE t", "SELECT * FROM t"):
            await ask(connection, "BEGIN")
            await ask(connection, f"DECLARE a CURSOR FOR {first}")
            await ask(connection, "FETCH 0 a" if "SUBSCRIBE" in first else "FETCH ALL a")
            await ask(connection, "DECLARE b CURSOR FOR SUBSCRIBE t")
            assert await refused(connection, "FETCH 0 b") == only
            await ask(connection, "ROLLBACK")
        await ask(connection, "BEGIN")
        for name in ("a", "b"):  # with AS OF several are allowed
            await ask(connection, f"DECLARE {name} CURSOR FOR SUBSCRIBE t AS OF AT LEAST 1")
            await ask(connection, f"FETCH 0 {name}")
        assert fake.subscriptions() == 2
        await ask(connection, "CLOSE a")
        assert fake.subscriptions() == 1
        await ask(connection, "CLOSE ALL")
        assert fake.subscriptions() == 0


async def test_an_idle_transaction_is_ended(fake: FakeMaterialize):
    async with connected(fake.url) as connection:
        assert await ask(connection, "SHOW idle_in_transaction_session_timeout") == [("120 s",)]
        await ask(connection, "SET idle_in_transaction_session_timeout = '50ms'")
        await ask(connection, "BEGIN")
        await ask(connection, "DECLARE c CURSOR FOR SUBSCRIBE t")
        await ask(connection, "FETCH 0 c")
        await fake.until(lambda: fake.connections == 0)
        assert fake.subscriptions() == 0
        text = "terminating connection due to idle-in-transaction timeout"
        assert await refused(connection, "FETCH ALL c") == ("25P03", text)
        assert connection.closed


async def exhaust(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


async def test_streams_without_copy(fake: FakeMaterialize):
    at = fake.insert("t", ("1", "a"))
    notices: list[tuple[str | None, str | None]] = []
    async with connected(fake.url) as connection:
        connection.add_notice_handler(lambda d: notices.append((d.sqlstate, d.message_primary)))
        stream = connection.cursor().stream("SUBSCRIBE t WITH (PROGRESS)")
        assert await anext(stream) == (at, True, None, None, None)
        assert await anext(stream) == (at, False, 1, 1, "a")
        assert await anext(stream) == (at + 1, True, None, None, None)
        later = fake.insert("t", ("2", "b"))
        assert await anext(stream) == (later, False, 1, 2, "b")
        assert notices == [
            ("01000", "streaming SUBSCRIBE rows directly requires a client that does not buffer output")
        ]
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled, match="canceling statement due to user request"):
            await exhaust(stream)
        assert await ask(connection, "SELECT 1") == [(1,)], "the connection lives on"
    async with connected(fake.url) as connection:
        cursor = await connection.execute(f"SUBSCRIBE t AS OF {at} UP TO {at + 1}".encode())
        assert await cursor.fetchall() == [(at, 1, 1, "a")]
        assert cursor.statusmessage == "SUBSCRIBE"


async def test_a_client_that_leaves_ends_its_subscribe(fake: FakeMaterialize):
    async with feed(fake, "SUBSCRIBE t") as subscribed:
        await fake.subscribed("t")
        subscribed.pgconn.finish()
        await fake.until(lambda: fake.subscriptions() == 0 and fake.connections == 0)


def use_synchronously(url: str) -> list[object]:
    """psycopg's blocking API, in a thread."""
    found: list[object] = []
    with psycopg.connect(url) as connection:
        cursor = connection.execute("SELECT id, name FROM t")
        found.append(cursor.fetchall())
        connection.rollback()
        with connection.cursor(name="served") as named:
            named.execute("SELECT name FROM t")
            found.append(named.fetchall())
        connection.rollback()
        connection.execute("DECLARE c CURSOR FOR SUBSCRIBE t WITH (PROGRESS)")
        found.append(len(connection.execute("FETCH ALL c").fetchall()))
        connection.commit()
        connection.autocommit = True
        with connection.cursor().copy("COPY (SELECT id, name FROM t) TO STDOUT") as copy:
            found.append([bytes(line) for line in copy])
    return found


async def test_the_blocking_client(fake: FakeMaterialize):
    fake.insert("t", ("1", "a"), ("1", "a"))
    found = await asyncio.to_thread(use_synchronously, fake.url)
    assert found == [[(1, "a"), (1, "a")], [("a",), ("a",)], 3, [b"1\ta\n", b"1\ta\n"]]

"""How a fake Materialize fails, as a client sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import pq

from tests.testing.feed import Feed, ask, connected, feed, refused
from tycostream.testing.materialize import FakeMaterialize


@pytest.fixture
async def small(clock) -> AsyncIterator[FakeMaterialize]:
    """One whose clients may leave little unread."""
    made = FakeMaterialize(now_ms=clock, progress_s=None, buffer_bytes=256 * 1024)
    made.create_table("t", {"id": "integer", "name": "text"}, key=("id",))
    await made.start()
    yield made
    await made.stop()


async def test_a_restart_says_nothing_and_keeps_the_data(fake: FakeMaterialize):
    at = fake.insert("t", ("1", "a"))
    async with feed(fake, "SUBSCRIBE t") as subscribed:
        await subscribed.row()
        fake.restart()
        with pytest.raises(psycopg.OperationalError, match="server closed the connection unexpectedly"):
            await subscribed.row()
    await fake.until(lambda: fake.connections == 0)
    async with feed(fake, f"SUBSCRIBE t AS OF {at}") as subscribed:
        assert await subscribed.row() == [str(at), "1", "1", "a"]


async def test_refused_connections_and_then_none(fake: FakeMaterialize):
    url = fake.url
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as subscribed:
        fake.refuse()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            await psycopg.AsyncConnection.connect(url)
        fake.insert("t", ("1", "a"))
        assert (await subscribed.data(1))[0][3:] == ["1", "a"], "what is connected stays so"
        fake.refuse(False)
        async with connected(url) as connection:
            assert await ask(connection, "SELECT 1") == [(1,)]


async def test_a_stall_is_silence_and_then_one_batch(fake: FakeMaterialize):
    fake.create_table("u", {"id": "integer"})
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as stalled, feed(fake, "SUBSCRIBE u") as other:
        await stalled.rows(2)
        fake.stall("t", notice=True)
        first = fake.insert("t", ("1", "a"))
        fake.advance()
        second = fake.insert("t", ("2", "b"))
        fake.insert("u", ("1",))
        assert (await other.row() or [])[1:] == ["1", "1"], "only t stalls"
        await stalled.silence()
        assert stalled.notices == ['cluster replica quickstart.r1 changed status to "offline"']
        fake.resume("t")
        assert [row[:3] for row in await stalled.rows(3)] == [
            [str(first), "f", "1"],
            [str(second), "f", "1"],
            [str(fake.upper), "t", None],
        ]


async def test_a_stall_of_everything(fake: FakeMaterialize):
    fake.insert("t", ("1", "a"))
    fake.stall()
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as subscribed:
        assert (await subscribed.row() or [])[1] == "t"
        fake.advance()
        fake.notice("are you there?")
        await subscribed.silence()
        assert subscribed.notices == ["are you there?"]
        fake.resume()
        assert (await subscribed.data(1))[0][3:] == ["1", "a"]


async def test_what_is_dropped_ends_its_streams(fake: FakeMaterialize):
    fake.create_view("v", {"n": "bigint"}, lambda tables: [(str(len(tables["t"])),)])
    gone = ("42704", "relation 'materialize.public.t' was dropped")
    async with (
        feed(fake, "SUBSCRIBE t") as copied,
        feed(fake, "SUBSCRIBE v") as view,
        connected(fake.url) as cursor,
        connected(fake.url) as direct,
    ):
        await ask(cursor, "BEGIN")
        await ask(cursor, "DECLARE c CURSOR FOR SUBSCRIBE t")
        await ask(cursor, "FETCH 0 c")
        streaming = asyncio.create_task(refused(direct, "SUBSCRIBE t"))
        await fake.subscribed("t", 4)
        fake.insert("t", ("1", "a"))
        fake.drop("t")
        assert await copied.row() is not None, "what happened before is still delivered"
        assert await copied.row() is None
        assert copied.error == gone
        await view.rest()
        assert view.error == gone
        assert len(await ask(cursor, "FETCH c")) == 1
        assert await refused(cursor, "FETCH c") == gone
        assert await streaming == gone
        assert await refused(direct, "SUBSCRIBE t") == ("42704", "unknown catalog item 't'")


async def test_a_poisoned_relation_until_it_heals(fake: FakeMaterialize):
    fake.create_view("v", {"n": "bigint"}, lambda tables: [("1",)] if tables["t"] else [])
    division = ("XX000", "Evaluation error: division by zero")
    fake.insert("t", ("1", "a"))
    async with feed(fake, "SUBSCRIBE t") as subscribed, feed(fake, "SUBSCRIBE v") as view:
        await subscribed.row()
        await view.row()
        fake.fail("t")
        assert await subscribed.row() is None
        assert await view.row() is None
        assert subscribed.error == view.error == division
    async with feed(fake, "SUBSCRIBE v WITH (PROGRESS)") as again:
        assert [row[1] for row in await again.rest()] == ["t"]
        assert again.error == division
    fake.heal("t")
    async with feed(fake, "SUBSCRIBE v") as healed:
        assert await healed.row() is not None


async def test_a_view_that_divides_by_zero(fake: FakeMaterialize):
    fake.create_view("v", {"n": "bigint"}, lambda tables: [(str(10 // len(tables["t"])),)])
    fake.insert("t", ("1", "a"))
    async with feed(fake, "SUBSCRIBE v") as subscribed:
        await subscribed.row()
        fake.delete("t", ("1", "a"))
        assert await subscribed.row() is None
        assert subscribed.error == ("XX000", "Evaluation error: division by zero")


@pytest.mark.parametrize("framed", [False, True])
async def test_a_stream_cut_in_the_middle_of_a_row(fake: FakeMaterialize, framed: bool):
    fake.insert("t", ("1", "a long name that is cut"))
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    try:
        start = b"\0\3\0\0user\0somebody\0\0"
        writer.write((len(start) + 4).to_bytes(4, "big") + start)
        query = b"COPY (SUBSCRIBE t) TO STDOUT\0"
        writer.write(b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
        await fake.subscribed("t")
        fake.cut_mid_row("t", framed=framed)
        data = await asyncio.wait_for(reader.read(-1), 10)
    finally:
        writer.close()
    whole = f"{fake.upper - 1}\t1\t1\ta long name that is cut\n".encode()
    first = data.index(b"d" + (len(whole) + 4).to_bytes(4, "big") + whole) + 5 + len(whole)
    last = data[first:]
    assert last.startswith(b"d")
    promised, got = int.from_bytes(last[1:5], "big") + 1, len(last)
    assert (got == promised) is framed
    assert f"{fake.upper}\t1\t1\ta long name that is cut\n".encode().startswith(last[5:])
    assert not last.endswith(b"\n")


async def test_a_client_that_does_not_read_falls_behind(small: FakeMaterialize):
    async with connected(small.url) as connection:
        subscribed = await Feed(connection.pgconn).start("SUBSCRIBE t")
        big = "x" * 100_000
        for i in range(200):  # more than sockets and budget hold together
            small.insert("t", (str(i), big))
            await asyncio.sleep(0)
            if not small.subscriptions():
                break
        else:
            pytest.fail("20 MB fit into a budget of 256 KiB")
        rows = len(await subscribed.rest())
        assert 0 < rows < 200
        assert subscribed.error is not None
        code, text = subscribed.error
        assert code == "XX000"
        assert text.startswith(
            "SUBSCRIBE fell behind: the client did not read results fast enough, so its backlog"
        )
        assert text.endswith("exceeding the 256.0 KiB budget")


async def test_a_client_is_told_that_it_fell_behind(fake: FakeMaterialize):
    async with feed(fake, "SUBSCRIBE t") as subscribed:
        fake.fell_behind("t")
        await subscribed.rest()
        assert subscribed.error == (
            "XX000",
            "SUBSCRIBE fell behind: the client did not read results fast enough, so its backlog reached 128.0 MiB, "
            "exceeding the 128.0 MiB budget",
        )


async def test_a_snapshot_may_be_too_large(fake: FakeMaterialize):
    for i in range(11):
        fake.insert("t", (str(i), "x" * 100_000))
    async with connected(fake.url) as connection:
        await ask(connection, "SET max_result_size = '1MB'")
        subscribed = await Feed(connection.pgconn).start("SUBSCRIBE t")
        assert await subscribed.rest() == []
        assert subscribed.error == ("XX000", "total result exceeds max size of 1.0 MiB")


async def test_limits_of_the_system(clock):
    fake = FakeMaterialize(now_ms=clock, progress_s=None, settings={"max_result_size": "1kB"})
    fake.create_table("t", {"id": "integer", "name": "text"})
    await fake.start()
    try:
        async with feed(fake, "SUBSCRIBE t") as subscribed:
            fake.insert("t", ("1", "x" * 2000))
            await subscribed.rest()
            assert subscribed.error == ("XX000", "total result exceeds max size of 1.0 KiB")
    finally:
        await fake.stop()


async def test_clusters(fake: FakeMaterialize):
    async with connected(fake.url) as connection, feed(fake, "SUBSCRIBE t") as subscribed:
        await ask(connection, "SET cluster = other")
        assert await refused(connection, "SUBSCRIBE t") == ("42704", "unknown cluster 'other'")
        fake.create_cluster("other", replicas=0)
        text = 'CLUSTER "other" has no replicas available to service request'
        assert await refused(connection, "SUBSCRIBE t") == ("0A000", text)
        fake.drop_cluster("quickstart")
        await subscribed.rest()
        assert subscribed.error == ("42704", "cluster 'quickstart' was dropped")


async def test_cancellation(fake: FakeMaterialize):
    cancelled = ("57014", "canceling statement due to user request")
    async with feed(fake, "SUBSCRIBE t") as subscribed, connected(fake.url) as other:
        pid = subscribed.pgconn.backend_pid
        assert await ask(other, f"SELECT pg_cancel_backend({pid})") == [(True,)]
        await subscribed.rest()
        assert subscribed.error == cancelled
        await fake.until(lambda: fake.subscriptions() == 0)
        assert await ask(other, "SELECT 1") == [(1,)]
        fetch = asyncio.create_task(refused(other, "SUBSCRIBE t"))
        await fake.subscribed("t")
        fake.cancel_all()
        assert await fetch == cancelled


async def test_a_wrong_cancel_key_changes_nothing(fake: FakeMaterialize):
    async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as subscribed:
        pid = subscribed.pgconn.backend_pid
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        parts = (16, 80877102, pid, 2**31 - 1)
        writer.write(b"".join(part.to_bytes(4, "big") for part in parts))
        assert await reader.read() == b""
        writer.close()
        fake.insert("t", ("1", "a"))
        assert len(await subscribed.data(1)) == 1
        assert subscribed.pgconn.transaction_status == pq.TransactionStatus.ACTIVE


async def test_time_passes_by_itself():
    fake = FakeMaterialize(progress_s=0.01)
    await fake.start()
    try:
        fake.create_table("t", {"id": "integer"})
        async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)") as subscribed:
            times = [int(row[0] or 0) for row in await subscribed.rows(6)]
            assert times == sorted(set(times))
    finally:
        await fake.stop()

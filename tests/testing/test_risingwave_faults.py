"""Restarts, recoveries, stalls and cancellations."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.testing.feed import ask, connected, refused
from tests.testing.rw import INTERNAL, fails, fetched, report
from tycostream.testing.proxy import FaultProxy
from tycostream.testing.risingwave import FakeRisingWave

UNREADABLE = "Barrier read is unavailable for now. Likely the cluster is recovering"
RECOVERING = "Service unavailable: The cluster is starting or recovering"
INVALID = "internal error: Cursor is in invalid state. Please close and re-create the cursor."


async def test_a_frontend_restarts_and_cursors_are_gone(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        fetch = asyncio.create_task(ask(connection, "FETCH 5 FROM c WITH (timeout = '600s')"))
        await rw.until(lambda: rw.statements[-1].startswith("FETCH"))
        rw.insert("t", ("1", "a"))
        rw.restart()
        with pytest.raises(psycopg.OperationalError):
            await fetch
    await rw.until(lambda: rw.connections == rw.cursors() == 0)
    at = rw.checkpoint()
    async with connected(rw.url) as connection:
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, "internal error: Cannot find cursor `c`")
        await ask(connection, f"DECLARE c SUBSCRIPTION CURSOR FOR s SINCE {at}")
        assert await fetched(connection) == [(1, "a", "Insert", at)]


async def test_nothing_is_read_and_nothing_made_while_the_cluster_recovers(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"))
    rw.checkpoint()
    rw.insert("t", ("2", "lost"))
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        rw.begin_recovery()
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, UNREADABLE)
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, INVALID)
        await fails(connection, "SELECT * FROM t", INTERNAL, UNREADABLE)
        await fails(connection, "DECLARE d SUBSCRIPTION CURSOR FOR s FULL", INTERNAL, UNREADABLE)
        await fails(connection, "FLUSH", INTERNAL, RECOVERING)
        await fails(connection, "CREATE SUBSCRIPTION x FROM t WITH (retention = '1D')", INTERNAL, RECOVERING)
        assert await ask(connection, "SELECT name FROM rw_catalog.rw_tables") == [("t",)], (
            "the catalogue is there"
        )
        rw.checkpoint()
        rw.end_recovery()
        assert await ask(connection, "SELECT * FROM t") == [(1, "a")], "the open epoch never was"
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, INVALID)


async def test_a_recovery_ends_cursors_that_wait_or_are_half_read(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"), ("2", "b"))
    rw.checkpoint()
    async with connected(rw.url) as one, connected(rw.url) as other, connected(rw.url) as third:
        await ask(one, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        await ask(other, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL")
        await ask(third, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        assert len(await fetched(other, 1)) == 1
        assert await fetched(third) == []
        waiting = asyncio.create_task(refused(one, "FETCH 5 FROM c WITH (timeout = '600s')"))
        await rw.until(lambda: rw.statements[-1].endswith("'600s')"))
        rw.recover()
        assert await waiting == (INTERNAL, report(UNREADABLE))
        await fails(one, "FETCH 5 FROM c", INTERNAL, INVALID)
        await fails(other, "FETCH 5 FROM c", INTERNAL, UNREADABLE)
        await fails(other, "FETCH 5 FROM c", INTERNAL, INVALID)
        rw.insert("t", ("3", "c"))
        at = rw.checkpoint()
        assert await fetched(third) == [(3, "c", "Insert", at)], "it was at the end: nothing to lose"


async def test_stalled_barriers_make_nothing_visible(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        rw.stall()
        rw.insert("t", ("1", "a"))
        assert rw.checkpoint() == rw.checkpoint()
        assert await ask(connection, "FETCH 5 FROM c WITH (timeout = '1s')") == []
        rw.resume()
        assert len(await fetched(connection)) == 1


async def test_a_silent_server_answers_nothing(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        rw.stall(silent=True)
        fetch = asyncio.create_task(ask(connection, "FETCH 5 FROM c"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(fetch), 0.3)
        rw.insert("t", ("1", "a"))
        rw.resume()
        assert len(await fetch) == 1


async def test_a_waiting_fetch_is_cancelled_and_loses_nothing(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        fetch = asyncio.create_task(refused(connection, "FETCH 5 FROM c WITH (timeout = '600s')"))
        await rw.until(lambda: rw.statements[-1].startswith("FETCH"))
        await connection.cancel_safe()
        assert await fetch == (INTERNAL, report("internal error: Cancelled by user"))
        rw.insert("t", ("1", "a"))
        rw.checkpoint()
        assert len(await fetched(connection)) == 1


async def test_checkpoints_come_by_themselves():
    rw = FakeRisingWave(checkpoint_s=0.02)
    rw.create_table("t", {"id": "integer"}, key=("id",))
    rw.create_subscription("s", "t")
    await rw.start()
    try:
        async with connected(rw.url) as connection:
            await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL")
            rw.insert("t", ("1",))
            rows = await ask(connection, "FETCH 5 FROM c WITH (timeout = '60s')")
            assert [row[:2] for row in rows] == [(1, "Insert")]
    finally:
        await rw.stop()


async def test_through_a_proxy_that_cuts(rw: FakeRisingWave):
    proxy = FaultProxy("127.0.0.1", rw.port)
    await proxy.start()
    try:
        async with connected(rw.url.replace(f":{rw.port}/", f":{proxy.port}/")) as connection:
            await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
            fetch = asyncio.create_task(ask(connection, "FETCH 5 FROM c WITH (timeout = '600s')"))
            await rw.until(lambda: rw.statements[-1].startswith("FETCH"))
            proxy.cut()
            with pytest.raises(psycopg.OperationalError):
                await fetch
        await rw.until(lambda: rw.connections == rw.cursors() == 0)
    finally:
        await proxy.stop()


async def test_an_answer_that_ends_in_the_middle_of_a_row(rw: FakeRisingWave):
    rw.create_table("other", {"id": "integer"})
    rw.create_subscription("so", "other")
    async with connected(rw.url) as one, connected(rw.url) as other:
        await ask(one, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        await ask(other, "DECLARE c SUBSCRIPTION CURSOR FOR so")
        waiting = asyncio.create_task(ask(one, "FETCH 5 FROM c WITH (timeout = '600s')"))
        await rw.until(lambda: rw.statements[-1].startswith("FETCH"))
        rw.cut_mid_row("t")
        with pytest.raises(psycopg.OperationalError):
            await waiting
        assert await fetched(other) == []
        rw.insert("other", ("1",))
        rw.checkpoint()
        rw.cut_mid_row()
        with pytest.raises(psycopg.OperationalError):
            await fetched(other)
    await rw.until(lambda: rw.connections == 0)


async def test_a_relation_that_cannot_be_read(rw: FakeRisingWave):
    error = "Storage error: Hummock error: ObjectStore failed with IO error"
    async with connected(rw.url) as connection:
        await ask(connection, "CREATE MATERIALIZED VIEW m AS SELECT id FROM t")
        await ask(connection, "CREATE SUBSCRIPTION ms FROM m WITH (retention = '1D')")
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        await ask(connection, "DECLARE d SUBSCRIPTION CURSOR FOR ms")
        assert (rw.cursors("t"), rw.cursors("m"), rw.cursors("s"), rw.cursors()) == (2, 1, 1, 2)
        rw.fail("t")
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, error)
        await fails(connection, "SELECT id FROM t", INTERNAL, error)
        assert await fetched(connection, cursor="d") == []
        rw.heal("t")
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, INVALID)
        assert await ask(connection, "SELECT id FROM t") == []

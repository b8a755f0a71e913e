"""How long a log and a cursor live, and what they do when the table changes its shape."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.testing.feed import MovedClock, ask, connected, refused
from tests.testing.rw import INTERNAL, fails, fetched
from tycostream.testing.risingwave import FakeRisingWave

EXPIRED = "internal error: The cursor has exceeded its maximum lifetime, please recreate it (close then declare cursor)."
INVALID = "internal error: Cursor is in invalid state. Please close and re-create the cursor."


def recycled(epoch: int) -> tuple[str, str]:
    text = f" No data found for rw_timestamp {epoch}, data may have been recycled, please recreate cursor"
    return "Catalog error", text


async def test_a_cursor_on_a_quiet_table_expires_after_the_retention(rw: FakeRisingWave, clock: MovedClock):
    retention_s = 60
    rw.create_subscription("short", "t", retention_s=retention_s)
    clock.now += 1000  # past the epochs that have begun
    rw.checkpoint()
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR short FULL")
        clock.now += retention_s * 1000
        rw.checkpoint()
        assert await fetched(connection) == [], "to the last moment"
        clock.now += 1
        rw.checkpoint()
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, EXPIRED)
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, EXPIRED)
        await ask(connection, "CLOSE c")
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR short FULL")
        clock.now += 50_000
        rw.checkpoint()
        rw.insert("t", ("1", "a"))
        rw.checkpoint()
        assert len(await fetched(connection)) == 1
        clock.now += 50_000  # counted from when the last epoch was opened
        rw.checkpoint()
        assert await fetched(connection) == []
        rw.expire_cursors("s")
        assert await fetched(connection) == []
        rw.expire_cursors("short")
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, EXPIRED)


async def test_a_log_that_is_recycled_under_a_cursor(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        rw.insert("t", ("1", "a"), ("2", "b"))
        first = rw.checkpoint()
        rw.insert("t", ("3", "c"))
        second = rw.checkpoint()
        assert await fetched(connection, 1) == [(1, "a", "Insert", first)]
        rw.trim("s")
        assert await fetched(connection, 1) == [(2, "b", "Insert", first)], (
            "what was opened is read to its end"
        )
        await fails(connection, "FETCH 5 FROM c", INTERNAL, *recycled(second))
        await fails(connection, "FETCH 5 FROM c", INTERNAL, INVALID)
        since = f"DECLARE d SUBSCRIPTION CURSOR FOR s SINCE {first}"
        small = "rw_timestamp is too small, need to be large than the current unix_millis - subscription's retention time"
        await fails(connection, since, INTERNAL, "Catalog error", small)
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")  # an invalid one makes room for another
        assert rw.cursors() == 1


async def test_rows_of_a_fetch_that_fails_are_lost(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        rw.insert("t", ("1", "a"), ("2", "b"))
        rw.checkpoint()
        rw.insert("t", ("3", "c"))
        second = rw.checkpoint()
        assert len(await fetched(connection, 1)) == 1
        rw.trim("s")
        await fails(connection, "FETCH 5 FROM c", INTERNAL, *recycled(second))  # (2, b) among them


async def test_at_the_end_of_the_log_trimming_is_a_silent_gap(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        assert await fetched(connection) == []
        rw.insert("t", ("1", "a"))
        rw.checkpoint()
        rw.trim("s")
        rw.insert("t", ("2", "b"))
        at = rw.checkpoint()
        assert await fetched(connection) == [(2, "b", "Insert", at)], "it knew of no next epoch"


async def test_the_log_is_kept_as_long_as_the_longest_retention(rw: FakeRisingWave, clock: MovedClock):
    rw.create_subscription("short", "t", retention_s=10)
    rw.insert("t", ("1", "a"))
    at = rw.checkpoint()
    clock.now += 20_000
    rw.checkpoint()
    async with connected(rw.url) as connection:
        await ask(connection, f"DECLARE c SUBSCRIPTION CURSOR FOR s SINCE {at}")
        assert len(await fetched(connection)) == 1
        await ask(connection, "DECLARE d SUBSCRIPTION CURSOR FOR short SINCE begin()")
        assert await fetched(connection, cursor="d") == []
        await ask(connection, "DROP SUBSCRIPTION s")
        rw.checkpoint()
        await ask(connection, "CREATE SUBSCRIPTION s FROM t WITH (retention = '1D')")
        await ask(connection, f"DECLARE e SUBSCRIPTION CURSOR FOR s SINCE {at}")
        assert await fetched(connection, cursor="e") == [], (
            "a moment before the subscription is taken, in silence"
        )


async def test_begin_is_not_before_the_subscription(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"))
    rw.create_subscription("late", "t")  # a barrier: the row is committed before it
    rw.insert("t", ("2", "b"))
    at = rw.checkpoint()
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR late SINCE begin()")
        assert await fetched(connection) == [(2, "b", "Insert", at)]
        await ask(connection, "DECLARE d SUBSCRIPTION CURSOR FOR s SINCE begin()")
        assert [row[0] for row in await fetched(connection, cursor="d")] == [1, 2]


async def test_other_columns_end_a_fetch_and_come_with_the_next(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"))
    rw.checkpoint()
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL")
        rw.alter_add_column("t", "n", "bigint", default="7")
        rw.insert("t", ("2", "b", "8"))
        second = rw.checkpoint()
        cursor = await connection.execute(b"FETCH 10 FROM c")
        assert await cursor.fetchall() == [(1, "a", "Insert", None)], "the snapshot as it was"
        assert await fetched(connection) == [(2, "b", 8, "Insert", second)]
        rw.update("t", ("1", "a", "7"), ("1", "z", "7"))
        third = rw.checkpoint()
        rw.alter_drop_column("t", "name")
        rw.insert("t", ("3", "9"))
        fourth = rw.checkpoint()
        assert await ask(connection, "FETCH 10 FROM c WITH (timeout = '600s')") == [], "drained it is not"
        cursor = await connection.execute(b"FETCH 10 FROM c")
        assert cursor.description is not None
        assert [column.name for column in cursor.description] == ["id", "n", "op", "rw_timestamp"]
        assert await cursor.fetchall() == [
            (1, 7, "UpdateDelete", third), (1, 7, "UpdateInsert", third), (3, 9, "Insert", fourth),
        ]  # fmt: skip


async def test_a_prepared_fetch_is_described_as_it_was(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        fetch = b"FETCH 10 FROM c"
        rw.insert("t", ("1", "a"))
        rw.checkpoint()
        cursor = await connection.execute(fetch, prepare=True)
        assert len(await cursor.fetchall()) == 1
        rw.alter_add_column("t", "n", "bigint")
        rw.insert("t", ("2", "b", "3"))
        rw.checkpoint()
        assert await (await connection.execute(fetch, prepare=True)).fetchall() == []
        with pytest.raises(psycopg.Error, match="unexpected field count"):
            await connection.execute(fetch, prepare=True)


async def test_what_is_dropped_under_a_cursor(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        fetch = asyncio.create_task(refused(connection, "FETCH 5 FROM c WITH (timeout = '600s')"))
        await rw.until(lambda: rw.statements[-1].startswith("FETCH"))
        rw.drop_subscription("s")
        code, text = await fetch
        assert (code, text.splitlines()[-1]) == ("42704", '  2: subscription "s" does not exist')
        rw.create_subscription("s2", "t")
        await ask(connection, "DECLARE d SUBSCRIPTION CURSOR FOR s2")
        rw.drop("t")
        assert rw.subscriptions() == 0
        code, text = await refused(connection, "FETCH 5 FROM d")
        assert code == INTERNAL
        assert text.endswith("has been dropped")
        await fails(connection, "FETCH 5 FROM d", INTERNAL, INVALID)

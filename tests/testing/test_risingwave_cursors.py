"""DECLARE, FETCH and CLOSE of subscription cursors, row by row."""

from __future__ import annotations

import asyncio

import pytest

from tests.testing.feed import MovedClock, ask, connected
from tests.testing.rw import INTERNAL, fails, fetched
from tycostream.testing.risingwave import FakeRisingWave


async def test_a_snapshot_then_the_log(rw: FakeRisingWave):
    rw.insert("t", ("2", "b"), ("1", "a"))
    rw.checkpoint()
    async with connected(rw.url) as connection:
        cursor = await connection.execute(b"DECLARE c SUBSCRIPTION CURSOR FOR s FULL")
        assert cursor.statusmessage == "DECLARE_CURSOR"
        rw.insert("t", ("3", "c"))
        at = rw.checkpoint()
        cursor = await connection.execute(b"FETCH NEXT FROM c")
        assert cursor.description is not None
        assert [(column.name, column.type_code) for column in cursor.description] == [
            ("id", 23), ("name", 1043), ("op", 1043), ("rw_timestamp", 20),
        ]  # fmt: skip
        assert await cursor.fetchall() == [(1, "a", "Insert", None)], "by key, and of the moment of DECLARE"
        assert await fetched(connection) == [(2, "b", "Insert", None), (3, "c", "Insert", at)]
        assert await fetched(connection) == [], "nothing tells the end but this"


async def test_an_update_is_two_rows_that_a_fetch_may_part(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"))
    rw.checkpoint()
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        rw.update("t", ("1", "a"), ("1", "b"))
        first = rw.checkpoint()
        rw.delete("t", ("1", "b"))
        second = rw.checkpoint()
        assert await ask(connection, "FETCH NEXT FROM c") == [(1, "a", "UpdateDelete", first)]
        assert await ask(connection, "FETCH NEXT FROM c") == [(1, "b", "UpdateInsert", first)]
        assert await ask(connection, "FETCH NEXT FROM c") == [(1, "b", "Delete", second)]
        assert await ask(connection, "FETCH 0 FROM c") == []


async def test_an_epoch_is_in_the_order_of_keys_and_several_come_in_one_fetch(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s SINCE begin()")
        rw.insert("t", ("10", "x"), ("9", "y"))
        rw.update("t", ("10", "x"), ("10", "z"))
        rw.transaction([("t", ("9", "y"), -1), ("t", ("8", "y"), 1)])  # another key: no update
        first = rw.checkpoint()
        rw.insert("t", ("1", "a"))
        second = rw.checkpoint()
        assert second == first + 1, "the clock stands, epochs do not"
        assert await fetched(connection, 3) == [
            (8, "y", "Insert", first), (9, "y", "Insert", first), (9, "y", "Delete", first),
        ]  # fmt: skip
        assert await fetched(connection) == [
            (10, "x", "Insert", first),
            (10, "x", "UpdateDelete", first),
            (10, "z", "UpdateInsert", first),
            (1, "a", "Insert", second),
        ]


async def test_only_a_checkpoint_makes_changes_visible(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        rw.insert("t", ("1", "a"))
        assert await ask(connection, "SELECT * FROM t") == []
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL")
        assert await fetched(connection) == []
        await ask(connection, "FLUSH")
        assert await ask(connection, "SELECT * FROM t") == [(1, "a")]
        assert [row[:3] for row in await fetched(connection)] == [(1, "a", "Insert")]


async def test_what_changes_nothing_is_not_in_the_log(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        rw.insert("t", ("1", "a"))
        rw.checkpoint()
        assert len(await fetched(connection)) == 1
        rw.update("t", ("1", "a"), ("1", "a"))
        rw.insert("t", ("1", "a"))  # the key is there: an insert overwrites, here with the same
        rw.checkpoint()
        assert await fetched(connection) == []
        rw.insert("t", ("1", "over"))
        at = rw.checkpoint()
        assert await fetched(connection) == [(1, "a", "UpdateDelete", at), (1, "over", "UpdateInsert", at)]


async def test_a_row_that_is_not_there_stops_a_transaction(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"))
    with pytest.raises(ValueError, match=r"public.t has no row \('2', 'b'\)"):
        rw.transaction([("t", ("1", "a"), -1), ("t", ("2", "b"), -1), ("t", ("3", "c"), 1)])
    with pytest.raises(ValueError, match=r"a row of 1 cells for public\.t of 2 columns"):
        rw.insert("t", ("1",))
    with pytest.raises(KeyError, match=r"the fake has no relation x; it has public\.t"):
        rw.insert("x", ("1",))
    assert rw.rows("t") == {("1", "a"): 1}


async def test_without_a_key_a_hidden_one_orders_and_is_not_shown(rw: FakeRisingWave):
    rw.create_table("bag", {"a": "integer"})
    rw.create_subscription("sb", "bag")
    async with connected(rw.url) as connection:
        rw.insert("bag", ("5",), ("5",), ("4",))
        rw.checkpoint()
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR sb FULL")
        assert await fetched(connection) == [(5, "Insert", None), (5, "Insert", None), (4, "Insert", None)]
        rw.update("bag", ("5",), ("6",))
        rw.delete("bag", ("5",))
        at = rw.checkpoint()
        assert await fetched(connection) == [
            (5, "UpdateDelete", at), (6, "UpdateInsert", at), (5, "Delete", at),
        ]  # fmt: skip
        assert rw.rows("bag") == {("6",): 1, ("4",): 1}


async def test_a_fetch_waits_for_the_first_row_and_never_for_more(rw: FakeRisingWave):
    loop = asyncio.get_running_loop()
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        fetch = asyncio.create_task(ask(connection, "FETCH 10 FROM c WITH (timeout = '600s')"))
        await rw.until(lambda: rw.statements[-1].startswith("FETCH"))
        assert not fetch.done()
        rw.insert("t", ("1", "a"))
        rw.insert("t", ("2", "b"))
        at = rw.checkpoint()
        assert await fetch == [(1, "a", "Insert", at), (2, "b", "Insert", at)]
        began = loop.time()
        assert await ask(connection, "FETCH 10 FROM c WITH (timeout = '2s')") == []
        assert loop.time() - began >= 0.199, "it waits to the end of its time"


async def test_timeouts_are_whole_seconds(rw: FakeRisingWave):
    rw.second_s = 1e6
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        async with asyncio.timeout(5):
            for text in ("500ms", "0s", "999 ms"):  # a waiting one would wait for days
                assert await ask(connection, f"FETCH NEXT FROM c WITH (timeout = '{text}')") == []
        text = 'Convert interval to u64 error, please check format, error: "invalid input syntax for type interval: soon"'
        await fails(
            connection, "FETCH NEXT FROM c WITH (timeout = 'soon')", INTERNAL, f"internal error: {text}"
        )


@pytest.mark.parametrize(
    "sql",
    [
        "FETCH ALL FROM c",
        "FETCH c",
        "FETCH NEXT c",
        "FETCH FORWARD 2 FROM c",
        "FETCH 1 FROM c WITH (x = '1s')",
    ],
)
async def test_what_fetch_does_not_know(rw: FakeRisingWave, sql: str):
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        with pytest.raises(Exception, match="sql parser error: the fake cannot read this SQL near"):
            await ask(connection, sql)
        assert await fetched(connection) == []


async def test_names_of_cursors(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await fails(connection, "FETCH NEXT FROM c", INTERNAL, "internal error: Cannot find cursor `c`")
        await fails(connection, "CLOSE c", INTERNAL, "Catalog error", "cursor `c` don't exists")
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR public.s")
        again = "DECLARE c SUBSCRIPTION CURSOR FOR s FULL"
        await fails(connection, again, INTERNAL, "Catalog error", "cursor `c` already exists")
        missing = "DECLARE d SUBSCRIPTION CURSOR FOR x"
        await fails(connection, missing, "42704", "Catalog error", 'subscription "x" does not exist')
        cursor = await connection.execute(b"CLOSE c")
        assert cursor.statusmessage == "CLOSE_CURSOR"
        assert rw.cursors() == 0
        await ask(connection, again)
        await ask(connection, "CLOSE ALL")
        assert rw.cursors() == 0


async def test_cursors_live_as_long_as_the_connection(rw: FakeRisingWave):
    async with connected(rw.url) as one, connected(rw.url, user="another") as other:
        await ask(one, "BEGIN")
        await ask(one, "DECLARE c SUBSCRIPTION CURSOR FOR s")
        await ask(one, "DECLARE q CURSOR FOR SELECT * FROM t")
        assert [row[-1] for row in await ask(one, "SHOW CURSORS")] == ["q"]
        await ask(one, "COMMIT")
        assert await ask(one, "SHOW CURSORS") == []
        await fails(one, "FETCH NEXT FROM q", INTERNAL, "internal error: Cannot find cursor `q`")
        assert await fetched(one) == []
        await fails(other, "FETCH NEXT FROM c", INTERNAL, "internal error: Cannot find cursor `c`")
        ((_, session, user, _, database, cursor, subscription, state, idle),) = await ask(
            other, "SHOW SUBSCRIPTION CURSORS"
        )
        assert (user, database, cursor, subscription, state, idle) == (
            "root", "dev", "c", "s", "InitLogStoreQuery", "0",
        )  # fmt: skip
        assert int(session) > 0
    await rw.until(lambda: rw.cursors() == 0)


async def test_a_cursor_of_a_query(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"), ("2", "b"), ("3", "c"))
    rw.checkpoint()
    async with connected(rw.url) as connection:
        await ask(connection, "BEGIN")
        await ask(connection, "DECLARE q CURSOR FOR SELECT id FROM t")
        assert await ask(connection, "FETCH 2 FROM q") == [(1,), (2,)]
        assert await ask(connection, "FETCH 2 FROM q") == [(3,)]
        assert await ask(connection, "FETCH NEXT FROM q") == []
        await ask(connection, "CLOSE q")
        await ask(connection, "COMMIT")


async def test_a_snapshot_needs_normal_visibility(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        await ask(connection, "SET query_epoch = 5")
        text = "internal error: Fetch Cursor can't start from specified query epoch. May run `set query_epoch = 0;`"
        await fails(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL", INTERNAL, text)
        await ask(connection, "SET query_epoch = 0")
        await ask(connection, "SET visibility_mode = 'all'")
        text = "internal error: Fetch Cursor don't support read uncommitted"
        await fails(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL", INTERNAL, text)
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")


async def test_since_a_timestamp_is_inclusive(rw: FakeRisingWave, clock: MovedClock):
    rw.insert("t", ("1", "a"))
    first = rw.checkpoint()
    clock.now += 10
    rw.checkpoint()
    rw.insert("t", ("2", "b"))
    second = rw.checkpoint()
    async with connected(rw.url) as connection:
        for since, expected in ((first, 2), (first + 1, 1), (second, 1), (second + 1, 0)):
            await ask(connection, f"DECLARE c SUBSCRIPTION CURSOR FOR s SINCE {since}")
            assert len(await fetched(connection)) == expected
            await ask(connection, "CLOSE c")


async def test_since_now_misses_what_the_open_epoch_holds(rw: FakeRisingWave, clock: MovedClock):
    async with connected(rw.url) as connection:
        clock.now += 500  # in the middle of the epoch
        for since in ("", " SINCE now()", " SINCE proctime()"):
            await ask(connection, f"DECLARE c SUBSCRIPTION CURSOR FOR s{since}")
            rw.insert("t", (str(len(rw.statements)), "missed"))
            assert rw.checkpoint() < clock.now
            rw.insert("t", (str(len(rw.statements) + 100), "seen"))
            rw.checkpoint()
            assert [row[1] for row in await fetched(connection)] == ["seen"]
            clock.now += 500
            await ask(connection, "CLOSE c")


async def test_timestamps_that_cannot_be(rw: FakeRisingWave, clock: MovedClock):
    declare = "DECLARE c SUBSCRIPTION CURSOR FOR s SINCE "
    small = "rw_timestamp is too small, need to be large than the current unix_millis - subscription's retention time"
    large = "rw_timestamp is too large, need to be less than the current unix_millis"
    async with connected(rw.url) as connection:
        clock.now += 1000
        await fails(connection, f"{declare}{clock.now + 1}", INTERNAL, "Catalog error", large)
        await fails(connection, f"{declare}{clock.now - 86_400_001}", INTERNAL, "Catalog error", small)
        await ask(connection, f"{declare}{clock.now - 86_400_000}")
        for wrong in ("asd", "18446744073709551615", "1.5", "'now'"):
            with pytest.raises(Exception, match="sql parser error"):
                await ask(connection, declare + wrong)

"""An operator's publication that leaves something out, and what a configuration leaves behind."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.engines.stream_contract import Follower
from tests.engines.test_postgres import db, engine, engine_of, follow, source
from tycostream.config.model import SourceConfig
from tycostream.engines.postgres import reading
from tycostream.errors import Action

__all__ = ["db", "engine"]  # fixtures

PARTS = (
    "CREATE TABLE whole (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); "
    "CREATE TABLE a PARTITION OF whole FOR VALUES FROM (0) TO (100)"
)
PLAIN = "CREATE TABLE a (id int PRIMARY KEY, v int)"
MEND_TABLE = (
    "BEGIN; ALTER PUBLICATION tycostream_test DROP TABLE public.a; "
    "ALTER PUBLICATION tycostream_test ADD TABLE public.a; COMMIT;"
)
ALL = "insert, update, delete, truncate"


@pytest.mark.parametrize(
    ("version", "table", "publication", "said", "hint"),
    [
        (150000, PLAIN, "FOR TABLE a WHERE (id > 5)", "only rows of public.a where (id > 5)", MEND_TABLE),
        (150000, PLAIN, "FOR TABLE a (id)", "leaves out public.a.v", MEND_TABLE),
        *(
            (
                130000,
                PLAIN,
                f"FOR TABLE a WITH (publish = '{ALL.replace(option, '').replace(', ,', ',').strip(', ')}')",
                f"leaves out {option}",
                f"ALTER PUBLICATION tycostream_test SET (publish = '{ALL}');",
            )
            for option in ALL.split(", ")
        ),
        (
            130000,
            PARTS,
            "FOR TABLE whole WITH (publish_via_partition_root = true)",
            "publishes changes of public.a as those of public.whole",
            "ALTER PUBLICATION tycostream_test SET (publish_via_partition_root = false);",
        ),
    ],
    ids=["row filter", "column list", *(f"no {option}" for option in ALL.split(", ")), "via root"],
)
@pytest.mark.parametrize("manage", [True, False], ids=["managed", "operators"])
async def test_a_publication_that_leaves_something_out(
    db, database, manage, version, table, publication, said, hint
) -> None:
    if db.info.server_version < version:
        pytest.skip("came with a later PostgreSQL")
    await db.execute(f"{table}; CREATE TABLE b (id int PRIMARY KEY)")
    await db.execute(f"CREATE PUBLICATION tycostream_test {publication}")
    engine = engine_of(database, manage=manage)
    findings = [f for f in await engine.check([source("a")]) if not f.ok and f.fatal]
    assert [(said in f.message, f.hint) for f in findings] == [(True, hint)]
    row_type = await engine.describe(source("a"))
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, source("a"))
    await f.until(lambda: "a" in f.failed)
    error = f.failed["a"].error
    assert (error.code, error.action, error.hint) == ("publication-incomplete", Action.FAIL, hint)
    assert said in error.message
    await db.execute(hint)
    assert [f for f in await engine.check([source("a")]) if not f.ok] == []
    f.expect(row_type)
    await f.stream.add(row_type, source("a"))
    await f.until(lambda: "a" in f.snapshots)
    await db.execute("INSERT INTO a VALUES (1, 1)")
    await f.until(lambda: f.rows["a"] == {1: (1, 1)})
    await engine.close()


async def test_a_column_list_with_all_that_a_source_reads_is_no_fault(db, database) -> None:
    if db.info.server_version < 150000:
        pytest.skip("column lists came with PostgreSQL 15")
    await db.execute(f"{PLAIN}; CREATE PUBLICATION tycostream_test FOR TABLE a (id)")
    engine = engine_of(database, manage=False)
    config = source("a", columns={"id": None})
    assert [f for f in await engine.check([config]) if not f.ok] == []
    row_type = await engine.describe(config)
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, config)
    await f.until(lambda: "a" in f.snapshots)
    await db.execute("INSERT INTO a VALUES (1, 1)")
    await f.until(lambda: f.rows["a"] == {1: (1,)})
    await engine.close()


async def test_a_partition_published_as_itself_is_followed(db, database) -> None:
    await db.execute(f"{PARTS}; CREATE PUBLICATION tycostream_test FOR TABLE whole")
    engine = engine_of(database, manage=False)
    assert [f for f in await engine.check([source("a")]) if not f.ok] == []
    f = await follow(engine, "a")
    await db.execute("INSERT INTO whole VALUES (1, 1)")
    await f.until(lambda: f.rows["a"] == {1: (1, 1)})
    await engine.close()


async def test_tables_are_added_to_the_publication_side_by_side(db, database) -> None:
    """Two processes of one configuration: the server refuses the second of two ALTERs at one moment."""
    names = [f"t{i}" for i in range(6)]
    await db.execute("; ".join(f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in ["first", *names]))
    engines = [engine_of(database), engine_of(database)]
    followers = [await follow(each, "first") for each in engines]
    for each, f in zip(engines, followers, strict=True):
        for name in names:
            f.expect(await each.describe(source(name)))
    await asyncio.gather(
        *(f.stream.add(f.row_types[name], source(name)) for f in followers for name in names)
    )
    for name in names:
        await db.execute(f"INSERT INTO {name} VALUES (1)")

    async def holds_all(follower: Follower) -> None:
        await follower.until(lambda: all(follower.rows[name] == {1: (1,)} for name in names))

    for f in followers:
        await holds_all(f)
    for each in engines:
        await each.close()


@pytest.mark.parametrize("began", [True, False], ids=["running", "not yet read"])
async def test_all_sources_of_a_table_that_one_of_them_published_wait_for_older_transactions(
    engine, db, database, began
) -> None:
    """What an open transaction wrote before the table was published is in no stream: it must be in each snapshot."""
    await db.execute(
        "CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t"
    )
    row_type = await engine.describe(source("first"))
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, source("first"))
    if began:
        await f.until(lambda: bool(f.progress))
    async with await psycopg.AsyncConnection.connect(database) as older:
        await older.execute("INSERT INTO t VALUES (1)")
        for one in (SourceConfig(name="v"), source("t"), SourceConfig(name="again", table="t")):
            f.expect(await engine.describe(one))
            await f.stream.add(f.row_types[one.name], one)
        count = len(f.progress)
        await f.until(lambda: {"t", "again"} <= set(f.snapshots) or len(f.progress) > count + 2)
    await f.until(lambda: {"v", "t", "again"} <= set(f.snapshots))
    await f.until(lambda: (+f.rows["v"], *f.rows["t"], *f.rows["again"]) == ({(1,): 1}, 1, 1))
    assert not engine.publication.fresh, "nobody need wait for those transactions again"
    await f.stream.close()


async def test_a_table_that_an_operator_published_just_now_is_read_after_older_transactions(
    db, database
) -> None:
    await db.execute(
        "CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t;"
        "CREATE PUBLICATION tycostream_test FOR TABLE first"
    )
    engine = engine_of(database, manage=False)
    f = await follow(engine, "first")
    async with await psycopg.AsyncConnection.connect(database) as older:
        await older.execute("INSERT INTO t VALUES (1)")
        await db.execute("ALTER PUBLICATION tycostream_test ADD TABLE t")
        for one in (SourceConfig(name="v"), source("t")):
            f.expect(await engine.describe(one))
            await f.stream.add(f.row_types[one.name], one)
        count = len(f.progress)
        await f.until(lambda: {"v", "t"} <= set(f.snapshots) or len(f.progress) > count + 2)
    await f.until(lambda: {"v", "t"} <= set(f.snapshots))
    await f.until(lambda: (+f.rows["v"], *f.rows["t"]) == ({(1,): 1}, 1))
    await engine.close()


async def test_a_transaction_that_stays_open_is_named_and_still_waited_for_at_the_next_attempt(
    engine, db, database, monkeypatch
) -> None:
    monkeypatch.setattr(reading, "_OLDER_S", 0.1)
    await db.execute("CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY)")
    f = await follow(engine, "first")
    async with await psycopg.AsyncConnection.connect(database) as older:
        await older.execute("INSERT INTO t VALUES (1)")
        for _ in range(2):
            f.expect(await engine.describe(source("t")))
            await f.stream.add(f.row_types["t"], source("t"))
            await f.until(lambda: "t" in f.failed or "t" in f.snapshots)
            error = f.failed["t"].error
            assert (error.code, error.action) == ("publication-wait", Action.RETRY)
            assert "pg_stat_activity" in error.hint
            assert "pg_prepared_xacts" in error.hint
    f.expect(await engine.describe(source("t")))
    await f.stream.add(f.row_types["t"], source("t"))
    await f.until(lambda: f.rows["t"] == {1: (1,)})
    await f.stream.close()


async def waiting_for_a_lock(db) -> None:
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while await (await db.execute(query)).fetchone() is None:
            await asyncio.sleep(0.01)


async def test_another_process_makes_and_alters_the_publication_at_the_same_moment(
    engine, db, database
) -> None:
    await db.execute("; ".join(f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in "abc"))
    row_types = {name: await engine.describe(source(name)) for name in "ab"}
    async with await psycopg.AsyncConnection.connect(database) as other:
        await other.execute("CREATE PUBLICATION tycostream_test")
        opening = asyncio.create_task(engine.open())
        await waiting_for_a_lock(db)
        await other.commit()
        f = Follower(await opening, *row_types.values())
        await db.execute("ALTER PUBLICATION tycostream_test DROP TABLE a, b")
        for name in "ab":  # the very table that we add, and another one
            await other.execute(f"ALTER PUBLICATION tycostream_test ADD TABLE {'a' if name == 'a' else 'c'}")
            adding = asyncio.create_task(f.stream.add(row_types[name], source(name)))
            if name == "a" or other.info.server_version >= 150000:
                await waiting_for_a_lock(db)
            await other.commit()
            await adding
    await f.until(lambda: len(f.snapshots) == 2)
    await db.execute("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")
    await f.until(lambda: bool(f.rows["a"]) and bool(f.rows["b"]))


async def test_what_a_configuration_leaves_is_found_and_removed_when_unused(engine, db, database) -> None:
    await db.execute(f"{PLAIN}; CREATE PUBLICATION tycostream_other; CREATE PUBLICATION mine")
    await db.execute("SELECT pg_create_logical_replication_slot('tycostream_test_12_0123abcd', 'pgoutput')")
    await db.execute("SELECT pg_create_logical_replication_slot('tycostream_test_x_12_0123abcd', 'pgoutput')")
    f = await follow(engine, "a")
    found = {(left.kind, left.in_use): left for left in await engine.leftovers()}
    assert set(found) == {("slot", True), ("slot", False), ("publication", True)}
    assert found["slot", False].name == "tycostream_test_12_0123abcd"
    assert [left.name for left in await engine.remove(await engine.leftovers())] == [
        "tycostream_test_12_0123abcd"
    ]
    await db.execute("INSERT INTO a VALUES (1, 1)")
    await f.until(lambda: bool(f.rows["a"]))  # what is in use was left alone
    await f.stream.close()
    async with asyncio.timeout(10):  # the server notices the closed socket a moment later
        while any(left.in_use for left in await engine.leftovers()):
            await asyncio.sleep(0.01)
    assert [(left.kind, left.sql) for left in await engine.remove(await engine.leftovers())] == [
        ("publication", "DROP PUBLICATION tycostream_test;")
    ]
    assert await engine.leftovers() == []
    names = await (await db.execute("SELECT pubname FROM pg_publication ORDER BY 1")).fetchall()
    assert names == [("mine",), ("tycostream_other",)]
    named = engine_of(database, publication="mine")  # an operator's: never ours to remove
    assert await named.leftovers() == []
    await db.execute("SELECT pg_drop_replication_slot('tycostream_test_x_12_0123abcd')")

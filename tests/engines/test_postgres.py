from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.conftest import PostgresServer
from tests.engines.stream_contract import Follower
from tycostream.clock import SystemClock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.postgres import PostgresEngine
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import silent
from tycostream.rows import TRUNCATE, UNCHANGED, Change


def source(name: str, **more) -> SourceConfig:
    return SourceConfig(name=name, **more)


def engine_of(url: str, **more) -> PostgresEngine:
    return PostgresEngine(
        "main", DatabaseConfig(url=url, **{"manage": True, **more}), "test", {}, silent, SystemClock()
    )


@pytest.fixture
async def engine(database: str) -> AsyncIterator[PostgresEngine]:
    engine = engine_of(database)
    yield engine
    await engine.close()


@pytest.fixture
async def db(database: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        yield connection


async def follow(engine: PostgresEngine, *names: str) -> Follower:
    row_types = [await engine.describe(source(name)) for name in names]
    follower = Follower(await engine.open(), *row_types)
    for row_type in row_types:
        await follower.stream.add(row_type, source(row_type.source))
    await follower.until(lambda: len(follower.snapshots) == len(names))
    return follower


async def test_a_transaction_over_two_tables_is_one_batch(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY)")
    await db.execute("INSERT INTO a SELECT i, E'x\\t\\\\' || i FROM generate_series(1, 12000) i")
    f = await follow(engine, "a", "b")
    assert len(f.rows["a"]) == 12000
    assert f.rows["a"][7] == (7, "x\t\\7")
    assert f.snapshots["a"] == f.snapshots["b"]
    async with db.transaction():
        await db.execute("INSERT INTO b VALUES (1)")
        await db.execute("UPDATE a SET v = NULL WHERE id = 1")
        await db.execute("UPDATE a SET id = 0 WHERE id = 2")
        await db.execute("DELETE FROM a WHERE id = 3")
    await f.until(lambda: bool(f.batches))
    assert f.batches[0].changes == {
        "b": [Change(1, None, (1,))],
        "a": [Change(1, None, (1, None)), Change(2, None, (0, "x\t\\2")), Change(3, None, None)],
    }
    await db.execute("TRUNCATE a")
    await f.until(lambda: len(f.batches) == 2)
    assert f.batches[1].changes == {"a": [TRUNCATE]}


async def test_unchanged_toast(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY, n int, v text)")
    await db.execute("ALTER TABLE a ALTER v SET STORAGE EXTERNAL")
    await db.execute("INSERT INTO a VALUES (1, 1, repeat('x', 20000))")
    f = await follow(engine, "a")
    await db.execute("UPDATE a SET n = 2")
    await f.until(lambda: bool(f.batches))
    assert f.batches[0].changes == {"a": [Change(1, None, (1, 2, UNCHANGED))]}
    assert f.rows["a"][1] == (1, 2, "x" * 20000)


async def test_a_table_without_key(engine, db) -> None:
    await db.execute("CREATE TABLE a (n int, v text); ALTER TABLE a REPLICA IDENTITY FULL")
    await db.execute("ALTER TABLE a ALTER v SET STORAGE EXTERNAL")
    await db.execute("INSERT INTO a VALUES (1, repeat('x', 20000)), (1, 'y'), (1, 'y')")
    f = await follow(engine, "a")
    assert not f.row_types["a"].keyed
    await db.execute("UPDATE a SET n = 2 WHERE v <> 'y'")
    await f.until(lambda: bool(f.batches))
    assert f.batches[0].changes == {"a": [Change(None, (1, "x" * 20000), (2, "x" * 20000))]}


async def test_a_late_source_has_no_gap_and_no_duplicate(engine, db, database) -> None:
    await db.execute(
        "CREATE TABLE a (id serial PRIMARY KEY, v int); CREATE TABLE b (id serial PRIMARY KEY, v int)"
    )
    f = await follow(engine, "a")
    stop = asyncio.Event()

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as mine:
            while not stop.is_set():
                async with mine.transaction():
                    await mine.execute("INSERT INTO b (v) SELECT 1 FROM generate_series(1, 3)")
                    await mine.execute("UPDATE b SET v = v + 1 WHERE id % 7 = 1")
                    await mine.execute("DELETE FROM b WHERE id % 5 = 0")

    writers = [asyncio.create_task(write()) for _ in range(2)]
    row_type = await engine.describe(source("b"))
    f.row_types["b"], f.rows["b"] = row_type, {}
    await f.stream.add(row_type, source("b"))
    await f.until(lambda: "b" in f.snapshots)
    await f.until(lambda: len(f.batches) > 20)
    stop.set()
    await asyncio.gather(*writers)
    await db.execute("INSERT INTO a (v) VALUES (0)")
    await f.until(lambda: bool(f.rows["a"]))
    rows = await (await db.execute("SELECT id, v FROM b")).fetchall()
    assert sorted(f.rows["b"].values()) == sorted(rows)
    await f.stream.remove("b")
    await db.execute("DELETE FROM b")
    await db.execute("INSERT INTO a (v) VALUES (1)")
    await f.until(lambda: len(f.rows["a"]) == 2)
    assert "b" not in f.batches[-1].changes


async def test_an_idle_database_makes_progress_and_a_late_source_arrives(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    f = await follow(engine, "a")
    row_type = await engine.describe(source("b"))
    f.row_types["b"], f.rows["b"] = row_type, {}
    await f.stream.add(row_type, source("b"))
    await f.until(lambda: "b" in f.snapshots)
    assert f.position is None or f.snapshots["b"] >= f.position


async def test_closing_and_losing_the_connection(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    f = await follow(engine, "a")
    pending = asyncio.create_task(f.until(lambda: False))
    await asyncio.sleep(0)
    await f.stream.close()
    await f.stream.close()
    with pytest.raises(UpstreamError) as caught:
        await pending
    assert (caught.value.code, caught.value.action) == ("closed", Action.RETRY)
    f = await follow(engine, "a")
    await db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    with pytest.raises(UpstreamError) as caught:
        await f.until(lambda: False)
    assert caught.value.action is Action.RETRY
    await f.stream.close()
    slots = "SELECT 1 FROM pg_replication_slots WHERE database = current_database()"
    async with asyncio.timeout(10):  # the server notices the closed socket a moment later
        while await (await db.execute(slots)).fetchone():
            await asyncio.sleep(0.01)


async def test_a_dropped_column_fails_its_source_only(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY)")
    f = await follow(engine, "a", "b")
    await db.execute("ALTER TABLE a DROP v; INSERT INTO a VALUES (1)")
    await db.execute("INSERT INTO b VALUES (1)")
    await f.until(lambda: bool(f.rows["b"]))
    assert f.failed["a"].error.code == "column-dropped"


async def test_what_describe_refuses(engine, db) -> None:
    await db.execute("CREATE TABLE trades (id int PRIMARY KEY, v int); CREATE TABLE bare (v int)")
    await db.execute("CREATE VIEW seen AS SELECT 1 AS id")
    for config, code, hint in [
        (source("trade"), "source-missing", "did you mean `table: public.trades`?"),
        (source("bare"), "replica-identity", "ALTER TABLE public.bare REPLICA IDENTITY FULL;"),
        (
            source("trades", primary_key=("v",)),
            "replica-identity",
            "ALTER TABLE public.trades REPLICA IDENTITY FULL;",
        ),
        (source("trades", columns={"v": None}), "key-column-left-out", "add id"),
        (source("trades", columns={"id": None, "w": None}), "column-missing", "correct"),
        (source("seen"), "source-kind", "ordinary"),
    ]:
        with pytest.raises(UpstreamError) as caught:
            await engine.describe(config)
        assert (caught.value.code, caught.value.action) == (code, Action.FAIL)
        assert hint in caught.value.hint
    assert [t.name for t in await engine.catalogue()] == ["bare", "trades"]


async def test_missing_publication_gives_the_exact_sql(db, database) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    engine = engine_of(database, manage=False)
    await engine.describe(source("a"))
    with pytest.raises(
        UpstreamError, match=r"CREATE PUBLICATION tycostream_test FOR TABLE public.a;"
    ) as caught:
        await engine.open()
    assert caught.value.code == "publication-missing"
    assert [f.hint for f in await engine.check([source("a")]) if not f.ok and f.fatal] == [
        "CREATE PUBLICATION tycostream_test FOR TABLE public.a;"
    ]


async def test_missing_rights(db, database, postgres: PostgresServer) -> None:
    role = f"role_{secrets.token_hex(4)}"
    await db.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    await db.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE PUBLICATION tycostream_test FOR TABLE a")
    engine = engine_of(postgres.url_of(str(psycopg.conninfo.conninfo_to_dict(database)["dbname"]), role))
    await engine.describe(source("a"))
    try:
        with pytest.raises(UpstreamError, match=f"ALTER ROLE {role} REPLICATION;"):
            await engine.open()
        await db.execute(f"ALTER ROLE {role} REPLICATION")
        with pytest.raises(UpstreamError, match=f"GRANT SELECT ON public.a TO {role};"):
            await engine.open()
        wrong = engine_of(postgres.url_of("postgres", role, "wrong-secret"))
        with pytest.raises(UpstreamError) as caught:
            await wrong.open()
        assert (caught.value.code, caught.value.action) == ("auth", Action.FAIL)
        assert "wrong-secret" not in str(caught.value)
    finally:
        await db.execute(f"DROP ROLE {role}")

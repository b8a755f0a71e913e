from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.conftest import PostgresServer
from tests.engines.stream_contract import Follower
from tycostream.clock import SystemClock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.names import quoted
from tycostream.engines.postgres import PostgresEngine, assembly, stream
from tycostream.engines.postgres import reading as reading_steps
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


async def test_a_reader_that_pauses_outlives_the_servers_limits_of_idle_transactions(engine, db) -> None:
    """The exported snapshot is a transaction of the replication connection, which waits as long as the tables are read."""
    await db.execute("CREATE TABLE a AS SELECT i FROM generate_series(1, 12000) i")
    await db.execute("ALTER TABLE a ADD PRIMARY KEY (i)")
    limits = [("idle_in_transaction_session_timeout", 90600), ("idle_session_timeout", 140000)]
    limits += [("transaction_timeout", 170000)]
    for name, since in limits:
        if db.info.server_version >= since:
            await db.execute(f"ALTER DATABASE {quoted(db.info.dbname)} SET {name} = '300ms'")
    row_type = await engine.describe(source("a"))
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, source("a"))
    await f.step()  # the first part
    query = (
        "SELECT FROM pg_stat_activity WHERE application_name = 'tycostream' AND datname = current_database()"
        " AND state LIKE 'idle%' AND clock_timestamp() - xact_start < interval '700ms'"
    )
    async with asyncio.timeout(10):
        while await (await db.execute(query)).fetchone() is not None:
            pass
    await f.until(lambda: bool(f.snapshots))
    await db.execute("INSERT INTO a VALUES (0)")
    await f.until(lambda: len(f.rows["a"]) == 12001)
    await f.stream.close()


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
                # two writers lock rows as they find them: one of them may be rolled back
                with contextlib.suppress(psycopg.errors.DeadlockDetected):
                    async with mine.transaction():
                        await mine.execute("INSERT INTO b (v) SELECT 1 FROM generate_series(1, 3)")
                        await mine.execute("UPDATE b SET v = v + 1 WHERE id % 7 = 1")
                        await mine.execute("DELETE FROM b WHERE id % 5 = 0")

    writers = [asyncio.create_task(write()) for _ in range(2)]
    row_type = await engine.describe(source("b"))
    f.expect(row_type)
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


async def test_an_idle_database_lets_a_late_source_arrive(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    f = await follow(engine, "a")
    row_type = await engine.describe(source("b"))
    f.expect(row_type)
    await f.stream.add(row_type, source("b"))
    await f.until(lambda: "b" in f.snapshots)


async def test_a_dropped_column_fails_its_source_only_and_a_changed_one_too(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY)")
    f = await follow(engine, "a", "b")
    await db.execute("ALTER TABLE a DROP v; INSERT INTO a VALUES (1)")
    await db.execute("INSERT INTO b VALUES (1)")
    await f.until(lambda: bool(f.rows["b"]))
    assert f.failed["a"].error.code == "column-dropped"
    for change, code in [
        ("ALTER TABLE a ADD v text", "column-type-changed"),  # a text would pass for any type
        (
            "ALTER TABLE a ALTER v TYPE int USING 1, DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (v)",
            "key-changed",
        ),
    ]:
        await db.execute(change)
        f.expect(f.row_types["a"])
        await f.stream.add(f.row_types["a"], source("a"))
        await f.until(lambda: "a" in f.failed)
        assert f.failed["a"].error.code == code
        assert "comes back with the new" in f.failed["a"].error.hint


async def test_what_describe_refuses(engine, db) -> None:
    await db.execute("CREATE TABLE trades (id int PRIMARY KEY, v int); CREATE TABLE bare (v int)")
    await db.execute("CREATE SEQUENCE counted")
    for config, code, hint in [
        (source("trade"), "source-missing", "did you mean public.trades?"),
        (source("bare"), "replica-identity", "ALTER TABLE public.bare REPLICA IDENTITY FULL;"),
        (
            source("trades", primary_key=("v",)),
            "replica-identity",
            "ALTER TABLE public.trades REPLICA IDENTITY FULL;",
        ),
        (source("trades", columns={"v": None}), "key-column-left-out", "add id"),
        (source("trades", columns={"id": None, "w": None}), "column-missing", "correct"),
        (source("counted"), "source-kind", "name a table or a view"),
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
    row_type = await engine.describe(source("a"))
    try:
        with pytest.raises(UpstreamError, match=f"ALTER ROLE {role} REPLICATION;"):
            await engine.open()
        await db.execute(f"CREATE ROLE rds_replication; GRANT rds_replication TO {role}")  # as Amazon has it
        assert all("replication-right" not in f.subject or f.ok for f in await engine.check([]))
        await db.execute("DROP ROLE rds_replication")
        await db.execute(f"ALTER ROLE {role} REPLICATION")
        f = Follower(await engine.open(), row_type)
        await f.stream.add(row_type, source("a"))
        await f.until(lambda: "a" in f.failed)  # and a source that may be read would go on
        assert f.failed["a"].error.hint == f"GRANT SELECT ON public.a TO {role};"
        await db.execute(f"GRANT SELECT ON a TO {role}; INSERT INTO a VALUES (1)")
        f.expect(row_type)
        await f.stream.add(row_type, source("a"))
        await f.until(lambda: bool(f.rows["a"]))
        await f.stream.close()
        wrong = engine_of(postgres.url_of("postgres", role, "wrong-secret"))
        with pytest.raises(UpstreamError) as caught:
            await wrong.open()
        assert (caught.value.code, caught.value.action) == ("auth", Action.FAIL)
        assert "wrong-secret" not in str(caught.value)
    finally:
        await engine.close()
        await db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_source_that_changes_too_much_while_it_is_read_fails_and_recovers(
    engine, db, monkeypatch
) -> None:
    await db.execute(
        "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text)"
    )
    f = await follow(engine, "a", "b")
    await f.stream.remove("b")
    monkeypatch.setattr(assembly, "_HELD_BYTES_MAX", 100_000)
    read_late, reading, go = reading_steps.read_late, asyncio.Event(), asyncio.Event()

    async def slowly(*args, **kwargs):
        reading.set()
        await go.wait()
        return await read_late(*args, **kwargs)

    monkeypatch.setattr(stream, "read_late", slowly)
    f.expect(f.row_types["b"])
    await f.stream.add(f.row_types["b"], source("b"))
    await db.execute("INSERT INTO b SELECT i, repeat('x', 1000) FROM generate_series(1, 50) i")
    await db.execute("INSERT INTO a VALUES (1)")
    await f.until(lambda: bool(f.rows["a"]))
    assert "b" not in f.failed, "50 KB may be held"
    await db.execute("INSERT INTO b SELECT i, repeat('x', 1000) FROM generate_series(51, 100) i")
    await f.until(lambda: "b" in f.failed)
    assert (f.failed["b"].error.code, f.failed["b"].error.action) == ("held-back", Action.RETRY)
    go.set()
    f.expect(f.row_types["b"])
    await f.stream.add(f.row_types["b"], source("b"))
    await f.until(lambda: "b" in f.snapshots)
    assert len(f.rows["b"]) == 100


async def test_a_transaction_over_the_bound_ends_the_stream_with_a_resync(engine, db, monkeypatch) -> None:
    await db.execute(
        "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, v text)"
    )
    f = await follow(engine, "a")
    monkeypatch.setattr(assembly, "_TRANSACTION_BYTES_MAX", 100_000)
    for table in ("a", "other"):  # what nobody follows is not kept, and counts for nothing
        await db.execute(f"INSERT INTO {table} SELECT i, repeat('x', 1000) FROM generate_series(1, 50) i")
    await db.execute("INSERT INTO other SELECT i, repeat('x', 1000) FROM generate_series(51, 500) i")
    await db.execute("INSERT INTO a VALUES (0)")
    await f.until(lambda: len(f.rows["a"]) == 51)
    await db.execute("INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(51, 200) i")
    with pytest.raises(UpstreamError) as caught:
        await f.until(lambda: False)
    assert (caught.value.code, caught.value.action) == ("transaction-too-large", Action.RESYNC)
    assert caught.value.hint
    assert len(f.rows["a"]) == 51, "nothing of it was told"
    await f.stream.close()
    f = await follow(engine, "a")
    assert len(f.rows["a"]) == 201


async def test_a_transaction_that_was_open_before_its_table_was_published(engine, db, database) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    f = await follow(engine, "a")
    async with await psycopg.AsyncConnection.connect(database) as writer:
        await writer.execute("INSERT INTO b VALUES (1)")  # decoded as it is published: not at all
        row_type = await engine.describe(source("b"))
        f.expect(row_type)
        await f.stream.add(row_type, source("b"))
        await db.execute("INSERT INTO a VALUES (1)")
        await f.until(lambda: bool(f.rows["a"]))
        assert "b" not in f.snapshots
        await writer.execute("INSERT INTO b VALUES (2)")
        await writer.commit()
    await f.until(lambda: "b" in f.snapshots)
    await db.execute("INSERT INTO b VALUES (3)")
    await f.until(lambda: 3 in f.rows["b"])
    assert set(f.rows["b"]) == {1, 2, 3}


async def test_renewed_credentials_are_used_for_the_next_connection(engine, db, database) -> None:
    engine.renew("postgresql://nobody:wrong@127.0.0.1:1/none")
    with pytest.raises(UpstreamError):
        await engine.probe()
    engine.renew(database)
    await engine.probe()

"""Views whose tables, definitions and connections change under them: what is told is always what a SELECT said."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.engines.postgres_sources import add, engine_of, follow, rows, source
from tycostream.engines.postgres import PostgresEngine, copying, reruns
from tycostream.engines.postgres.run import Runner
from tycostream.engines.postgres.stream import PostgresStream
from tycostream.errors import Action
from tycostream.observe.events import Event, RerunsBehind, SourceRerun

TABLES = """
CREATE TABLE a (id int PRIMARY KEY, n int NOT NULL); CREATE TABLE b (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO a SELECT i, 0 FROM generate_series(1, 200) i; INSERT INTO b SELECT i, 0 FROM generate_series(1, 200) i;
CREATE VIEW v AS SELECT a.id, a.n AS x, b.n AS y FROM a JOIN b USING (id);
"""
V = source("v", primary_key="id")


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def engine(database: str, events: list[Event]) -> AsyncIterator[PostgresEngine]:
    engine = engine_of(database, events.append, statement_timeout="2s")
    yield engine
    await engine.close()


@pytest.fixture
async def db(database: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        yield connection


async def test_concurrent_writers_and_every_result_in_between(engine, db, database) -> None:
    """Each transaction moves the same number in both tables: x = y in every row of every state that ever was."""
    await db.execute(
        TABLES
        + "CREATE VIEW sums AS SELECT 1 AS one, (SELECT sum(n) FROM a) AS x, (SELECT sum(n) FROM b) AS y"
    )
    f = await follow(engine, V, source("sums", primary_key="one"))

    def whole(batch) -> None:
        assert all(x == y for _, x, y in f.rows["v"].values())
        assert all(x == y for _, x, y in f.rows["sums"].values())
        if {"v", "sums"} <= set(batch.changes):  # in one snapshot
            assert sum(x for _, x, _ in f.rows["v"].values()) == f.rows["sums"][1][1]

    f.check = whole
    stop = asyncio.Event()

    async def write(k: int) -> None:  # each has rows of its own, so that neither waits for the other
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as mine:
            for i in itertools.count():
                if stop.is_set():
                    return
                async with mine.transaction():
                    for table in ("a", "b"):
                        await mine.execute(f"UPDATE {table} SET n = n + 1 WHERE id % 40 = {i * 14 % 40 + k}")
                        await mine.execute(f"DELETE FROM {table} WHERE id = {i * 2 % 200 + k}")
                        await mine.execute(
                            f"INSERT INTO {table} VALUES ({200 + i * 2 % 50 + k}, {i}) ON CONFLICT DO NOTHING"
                        )

    writers = [asyncio.create_task(write(k)) for k in (0, 1)]
    await f.until(lambda: len(f.batches) > 30)
    late = source("late", query="SELECT id, x - y AS difference FROM v", primary_key="id")
    await add(engine, f, late)
    await f.until(lambda: "late" in f.snapshots)
    count = len(f.batches)
    await f.until(lambda: len(f.batches) > count + 20)
    stop.set()
    await asyncio.gather(*writers)
    for name, config in (("v", "v"), ("sums", "sums"), ("late", "(SELECT id, x - y FROM v) q")):
        wanted = sorted(await rows(db, f"SELECT * FROM {config}"))
        await f.until(lambda name=name, wanted=wanted: sorted(f.rows[name].values()) == wanted)  # type: ignore[misc]
    await f.stream.close()


async def test_results_wait_for_the_transactions_that_they_show(engine, db, monkeypatch) -> None:
    """A run that sees a transaction which the stream has not told yet is held back; its table is told first."""
    await db.execute(TABLES)
    f = await follow(engine, V, source("a"))
    stream = f.stream
    assert isinstance(stream, PostgresStream)
    taken, drained = stream._replication.drain, asyncio.Event()
    held = True

    def drain(take) -> None:
        if not held:
            taken(take)
        drained.set()

    await db.execute("UPDATE a SET n = 1 WHERE id = 1")
    await f.until(lambda: f.rows["v"][1][1] == 1)
    count = len(f.batches)
    monkeypatch.setattr(stream._replication, "drain", drain)
    await db.execute("UPDATE a SET n = 2 WHERE id = 1")
    stream._reruns.committed(0, [next(iter(stream._reruns.watched))])  # as if it had been touched
    reading = asyncio.create_task(f.until(lambda: len(f.batches) >= count + 2))
    async with asyncio.timeout(10):
        while not stream._reruns.waiting:
            drained.clear()
            await drained.wait()
        drained.clear()
        await drained.wait()
    assert len(f.batches) == count
    held = False
    await reading
    first, second = f.batches[count:]
    assert (set(first.changes), set(second.changes)) == ({"a"}, {"v"})
    assert f.rows["v"][1][1] == 2
    await f.stream.close()


async def test_a_view_that_is_read_anew_does_not_go_back_behind_its_last_result(engine, db) -> None:
    """Several results at one place of the log stand a little beyond it."""
    await db.execute(TABLES)
    f = await follow(engine, V)
    assert isinstance(f.stream, PostgresStream)
    await f.until(lambda: bool(f.progress))
    view = f.stream._reruns.sources["v"]
    assert view.told is not None
    view.told += 50_000
    stood = view.told
    f.expect(view.row_type)
    await f.stream.add(view.row_type, V)
    count = len(f.progress)
    await f.until(lambda: "v" in f.snapshots or len(f.progress) > count + 2)
    await db.execute("INSERT INTO a SELECT i, i FROM generate_series(1000, 2000) i; UPDATE a SET n = 1")
    await f.until(lambda: "v" in f.snapshots)
    assert f.snapshots["v"].offset >= stood
    await f.until(lambda: f.rows["v"].get(1) == (1, 1, 0))
    await f.stream.close()


async def test_one_run_at_a_time_and_one_more_afterwards(engine, db, events) -> None:
    await db.execute(TABLES)
    f = await follow(engine, source("v", primary_key="id", interval="300ms"))
    await db.execute("UPDATE a SET n = 1 WHERE id = 1")
    await f.until(lambda: len(f.batches) == 1)  # the first change is told at once
    async with asyncio.timeout(10):
        loop = asyncio.get_running_loop()
        started = loop.time()
        for i in range(2, 12):
            await db.execute(f"UPDATE a SET n = 1 WHERE id = {i}")
        await f.until(lambda: f.rows["v"][11][1] == 1)
    assert loop.time() - started > 0.15
    assert len(f.batches) == 2, "ten transactions, one run"
    runs = [event for event in events if isinstance(event, SourceRerun)]
    assert [(run.source, run.rows, run.changes) for run in runs] == [("v", 200, 1), ("v", 200, 10)]
    assert all(0 <= run.seconds <= run.lag_s for run in runs)
    assert (engine.reruns["v"].runs, engine.reruns["v"].changes) == (2, 11)
    await f.stream.close()


async def test_a_view_made_anew(engine, db) -> None:
    await db.execute(TABLES)
    f = await follow(engine, V)
    # the same columns: read anew, and nothing ends
    await db.execute(
        "CREATE OR REPLACE VIEW v AS SELECT a.id, a.n + 100 AS x, b.n AS y FROM a JOIN b USING (id)"
    )
    await f.until(lambda: "v" in f.failed, 30)
    assert (f.failed["v"].error.code, f.failed["v"].error.action) == ("source-altered", Action.RETRY)
    await add(engine, f, V)
    await f.until(lambda: "v" in f.snapshots)
    assert f.rows["v"][1] == (1, 100, 0)
    # other columns: named, by whoever notices first
    row_type = f.row_types["v"]
    await db.execute(
        "DROP VIEW v; CREATE VIEW v AS SELECT id, n AS x FROM a; UPDATE a SET n = 5 WHERE id = 1"
    )
    await f.until(lambda: "v" in f.failed, 30)
    error = f.failed["v"].error
    assert (error.code, error.action) == ("column-dropped", Action.FAIL)
    assert "column y is gone" in error.message
    await f.stream.add(row_type, V)  # nobody has mended it
    f.expect(row_type)
    await f.until(lambda: "v" in f.failed)
    await add(engine, f, V)
    await f.until(lambda: "v" in f.snapshots)
    assert f.rows["v"][1] == (1, 5)
    await db.execute("DROP VIEW v")
    await db.execute("UPDATE a SET n = 6 WHERE id = 1")
    await f.until(lambda: "v" in f.failed, 30)
    assert (f.failed["v"].error.code, f.failed["v"].error.action) == ("source-missing", Action.FAIL)
    await db.execute("CREATE VIEW v AS SELECT id, n AS x FROM a")
    await add(engine, f, V)
    await f.until(lambda: "v" in f.snapshots)
    await f.stream.close()


async def test_a_table_made_anew_under_a_query(engine, db) -> None:
    await db.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
    config = source("q", query="SELECT id, n FROM t", primary_key="id")
    f = await follow(engine, config)
    await db.execute("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (2, 2)")
    await f.until(lambda: "q" in f.failed, 30)
    assert f.failed["q"].error.action is Action.RETRY
    await add(engine, f, config)
    await f.until(lambda: "q" in f.snapshots)
    await db.execute("INSERT INTO t VALUES (3, 3)")
    await f.until(lambda: set(f.rows["q"]) == {2, 3})
    await f.stream.close()


async def test_a_child_that_came_later(engine, db) -> None:
    await db.execute("CREATE TABLE parent (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM parent")
    f = await follow(engine, V)
    await db.execute("CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent); INSERT INTO child VALUES (1)")
    await f.until(lambda: "v" in f.failed, 30)
    await add(engine, f, V)
    await f.until(lambda: "v" in f.snapshots)
    await db.execute("INSERT INTO child VALUES (2)")
    await f.until(lambda: set(f.rows["v"]) == {1, 2})
    await f.stream.close()


async def test_a_run_whose_connection_is_killed_is_tried_again(engine, db, monkeypatch) -> None:
    await db.execute(TABLES)
    f = await follow(engine, V)
    kills = 0
    run = Runner.run

    async def killed(self, group):
        nonlocal kills
        if kills < 2:
            kills += 1
            async with self.connection() as connection:
                await db.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        return await run(self, group)

    monkeypatch.setattr(Runner, "run", killed)
    await db.execute("UPDATE a SET n = 1 WHERE id = 1")
    await f.until(lambda: f.rows["v"][1][1] == 1)
    assert kills == 2
    assert not f.failed
    await f.stream.close()


async def test_a_connection_killed_in_the_middle_of_a_run_takes_nothing_along(
    engine, db, monkeypatch
) -> None:
    await db.execute(TABLES)
    await db.execute(
        "INSERT INTO a SELECT i, 0 FROM generate_series(1000, 30000) i; INSERT INTO b SELECT i, 0 FROM generate_series(1000, 30000) i"
    )
    f = await follow(engine, V)
    lines, killed = copying.copy_lines, 0

    async def cut(connection, statement):
        nonlocal killed
        async for some in lines(connection, statement):
            yield some
            if not killed:
                killed += 1
                await db.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
                await db.execute("DELETE FROM a WHERE id < 100")

    monkeypatch.setattr("tycostream.engines.postgres.run.copy_lines", cut)
    await db.execute("UPDATE a SET n = 1 WHERE id % 2 = 0")
    await f.until(lambda: 99 not in f.rows["v"])
    assert killed == 1
    wanted = sorted(await rows(db, "SELECT * FROM v"))
    await f.until(lambda: sorted(f.rows["v"].values()) == wanted)
    assert not f.failed
    await f.stream.close()


async def test_a_view_that_takes_too_long_fails_alone_and_heals(engine, db) -> None:
    await db.execute(TABLES)
    await db.execute(
        "CREATE FUNCTION wait(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN IF $1 > 0 THEN PERFORM pg_sleep(30); END IF; RETURN $1; END'"
    )
    slow = source("slow", query="SELECT id, wait(n) AS n FROM a WHERE id < 3", primary_key="id")
    f = await follow(engine, V, slow)
    await db.execute("UPDATE a SET n = 1 WHERE id = 1")
    await f.until(lambda: "slow" in f.failed)
    error = f.failed["slow"].error
    assert (error.code, error.action) == ("rerun-timeout", Action.RETRY)
    assert "takes longer than 2 s" in error.message
    assert "statement_timeout" in error.hint
    await f.until(lambda: f.rows["v"][1][1] == 1)
    await db.execute("UPDATE a SET n = 0 WHERE id = 1")
    await add(engine, f, slow)
    await f.until(lambda: "slow" in f.snapshots)
    await f.stream.close()


async def test_a_query_that_nobody_waits_for_is_called_off(engine, db) -> None:
    await db.execute(TABLES)
    await db.execute(
        "CREATE FUNCTION wait(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN IF $1 > 0 THEN PERFORM pg_sleep(30); END IF; RETURN $1; END'"
    )
    slow = source("slow", query="SELECT id, wait(n) AS n FROM a WHERE id < 3", primary_key="id")
    f = await follow(engine, slow, source("b"))
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%wait%' AND state = 'active'"
    await db.execute("UPDATE a SET n = 1 WHERE id = 1")
    async with asyncio.timeout(10):
        reading = asyncio.create_task(f.until(lambda: bool(f.batches)))
        while await rows(db, running) != [(1,)]:
            await asyncio.sleep(0)
        await f.stream.remove("slow")
        f.removed.add("slow")
        while await rows(db, running) != [(0,)]:
            await asyncio.sleep(0)
        await db.execute("UPDATE b SET n = 1 WHERE id = 1")
        await reading
    await f.stream.close()


async def test_an_error_of_the_query_fails_its_source_only(engine, db) -> None:
    await db.execute(TABLES)
    ratio = source("ratio", query="SELECT id, 10 / (n - 7) AS r FROM a", primary_key="id")
    f = await follow(engine, V, ratio)
    await db.execute("UPDATE a SET n = 7 WHERE id = 1")
    await f.until(lambda: "ratio" in f.failed and f.rows["v"][1][1] == 7)
    error = f.failed["ratio"].error
    assert (error.code, error.action) == ("query-failed", Action.FAIL)
    assert "division by zero" in error.detail
    await db.execute("UPDATE a SET n = 6 WHERE id = 1")
    await add(engine, f, ratio)
    await f.until(lambda: "ratio" in f.snapshots)
    assert f.rows["ratio"][1] == (1, -10)
    await f.stream.close()


async def test_runs_that_cannot_keep_up_are_told_once_and_so_is_their_end(
    engine, db, events, database
) -> None:
    await db.execute(TABLES)
    f = await follow(engine, V)
    stop = asyncio.Event()

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as mine:
            while not stop.is_set():
                await mine.execute("UPDATE a SET n = n + 1 WHERE id = 1")

    def told() -> list[bool]:
        return [event.behind for event in events if isinstance(event, RerunsBehind)]

    writer = asyncio.create_task(write())
    assert engine.remark("v") == ""
    await f.until(lambda: bool(told()))
    assert "its re-runs cannot keep up: the last took 0." in engine.remark("v")
    count = len(f.batches)
    await f.until(lambda: len(f.batches) > count + 10)
    assert told()[0]
    stop.set()
    await writer
    await f.until(lambda: not told()[-1])
    assert told() == [i % 2 == 0 for i in range(len(told()))], "a change of state each"
    assert engine.remark("v") == ""
    await f.stream.close()


async def test_no_more_runs_at_once_than_configured(database, db, monkeypatch) -> None:
    engine = engine_of(database, reruns_max=1)
    await db.execute(TABLES)
    monkeypatch.setattr(reruns, "_QUICK_S", -1.0)  # each alone
    run, now, most = Runner.run, 0, 0

    async def counted(self, group):
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            return await run(self, group)
        finally:
            now -= 1

    monkeypatch.setattr(Runner, "run", counted)
    names = [f"v{i}" for i in range(4)]
    f = await follow(engine, *(source(name, table="v", primary_key="id") for name in names))
    await db.execute("UPDATE a SET n = 1 WHERE id = 1")
    await f.until(lambda: all(f.rows[name][1][1] == 1 for name in names))
    assert most == 1
    await engine.close()

"""What of a view or query cannot be watched, granted or published: said with the remedy, and run by the clock if asked to."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.conftest import PostgresServer
from tests.engines.postgres_sources import add, engine_of, follow, rows, source
from tycostream.engines.postgres import PostgresEngine
from tycostream.errors import Action, UpstreamError


@pytest.fixture
async def engine(database: str) -> AsyncIterator[PostgresEngine]:
    engine = engine_of(database)
    yield engine
    await engine.close()


@pytest.fixture
async def db(database: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        yield connection


THINGS = """
CREATE TABLE t (id int PRIMARY KEY, at timestamptz, day date, note text, doc jsonb, g int GENERATED ALWAYS AS (id * 2) STORED);
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM t;
CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY, v int);
CREATE SEQUENCE counter;
CREATE EXTENSION IF NOT EXISTS file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE far (line text) SERVER files OPTIONS (filename '/dev/null');
CREATE FUNCTION slow_change(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION pure(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION step(int, int) RETURNS int LANGUAGE sql STABLE AS 'SELECT coalesce($1, 0) + $2';
CREATE AGGREGATE odd_sum (int) (SFUNC = step, STYPE = int);
CREATE OPERATOR <~> (LEFTARG = int, RIGHTARG = int, FUNCTION = step);
CREATE VIEW clock AS SELECT id, now() AS seen FROM t;
"""


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT n FROM totals", "it reads public.totals, a materialized view"),
        ("SELECT id FROM scratch", "it reads public.scratch, an unlogged table"),
        ("SELECT line FROM far", "it reads public.far, a foreign table"),
        ("SELECT last_value FROM counter", "it reads public.counter, a sequence"),
        ("SELECT relname FROM pg_class", "it reads pg_catalog.pg_class, a system catalogue"),
        ("SELECT table_name FROM information_schema.tables", "information_schema.tables, a system catalogue"),
        ("SELECT id FROM t WHERE at > now()", "it calls now()"),
        ("SELECT id FROM clock", "it calls now()"),
        ("SELECT id FROM t WHERE day = current_date", "it reads CURRENT_DATE"),
        ("SELECT localtimestamp(0) AS x FROM t", "it reads LOCALTIMESTAMP"),
        ("SELECT id FROM t WHERE day >= 'today'", "it has a constant such as 'today'"),
        ("SELECT id FROM t WHERE day >= ' Today ' AND note = 'today'", "it has a constant such as 'today'"),
        ("SELECT id FROM t WHERE age(at) > '1 day'", "it calls age()"),
        ("SELECT id, random() AS r FROM t", "it calls random()"),
        ("SELECT id FROM t WHERE note = current_setting('x.y', true)", "it calls current_setting()"),
        ("SELECT nextval('counter') AS n FROM t", "it calls nextval()"),
        ("SELECT slow_change(id) AS x FROM t", "it calls public.slow_change(), which is not declared IMMUTABLE"),
        ("SELECT odd_sum(id) AS x FROM t", "it calls public.odd_sum(), which is not declared IMMUTABLE"),
        ("SELECT id <~> 2 AS x FROM t", "it calls public.step(), which is not declared IMMUTABLE"),
        ("SELECT id FROM t TABLESAMPLE SYSTEM (50)", "it reads a random sample"),
        ("WITH x AS (SELECT now() AS n) SELECT id FROM t WHERE EXISTS (SELECT FROM x WHERE n > at)", "it calls now()"),
        ("SELECT id FROM t WHERE false AND id IN (SELECT n FROM totals)", "it reads public.totals"),
        ("SELECT to_regclass('t') AS r FROM t", "it calls to_regclass()"),
    ],
)  # fmt: skip
async def test_what_cannot_be_watched_is_refused_by_name(engine, db, query, reason) -> None:
    await db.execute(THINGS)
    with pytest.raises(UpstreamError) as caught:
        await engine.describe(source("q", query=query))
    error = caught.value
    assert (error.code, error.action) == ("source-unwatched", Action.FAIL)
    assert reason in error.detail
    assert "live: {refresh: 10s}" in error.hint
    assert (await engine.describe(source("q", query=query, refresh="10s"))).columns


async def test_what_depends_on_its_arguments_only_is_watched(engine, db) -> None:
    await db.execute(THINGS)
    query = """
      SELECT id, date_trunc('hour', at) AS h, to_char(at, 'YYYY') AS y, at::date AS d, at + '1 day' AS n, pure(id) AS p,
        jsonb_build_object('a', note) AS j, concat(note, id) AS c, age(at, at) AS a, row_number() OVER (ORDER BY id) AS r,
        extract(epoch FROM at) AS e, note || 'x' AS x, doc -> 'k' AS k, 'now' AS word, current_user AS me
      FROM t, generate_series(1, 2) s WHERE at > '2020-01-01' AND (note LIKE 'a%' OR note IS NULL)
    """
    await engine.describe(source("q", query=query, primary_key=["id", "r"]))
    (finding,) = [
        f for f in await engine.check([source("q", query=query)]) if f.subject == "source q" and f.ok
    ]
    assert finding.message == "the query, 15 columns, a query, run again when public.t change"


async def test_a_view_of_what_cannot_be_watched_is_run_by_the_clock(engine, db) -> None:
    await db.execute(THINGS)
    config = source("totals", primary_key="n", refresh="100ms")
    f = await follow(engine, config)
    assert list(f.rows["totals"]) == [0]
    await db.execute("INSERT INTO t VALUES (1)")
    await db.execute("REFRESH MATERIALIZED VIEW totals")
    await f.until(lambda: list(f.rows["totals"]) == [1])
    await f.stream.close()
    (finding,) = [f for f in await engine.check([config]) if f.subject == "source totals"]
    assert finding.message == (
        "public.totals, 1 columns, a materialized view, run again every 0.1 s because"
        " it reads public.totals, a materialized view, which changes when somebody refreshes it"
    )


async def test_results_without_a_change_of_the_log_are_told_in_order(engine, db) -> None:
    config = source("r", query="SELECT 1 AS id, random() AS r", primary_key="id", refresh="100ms")
    f = await follow(engine, config)
    await f.until(lambda: len(f.batches) >= 5)  # the follower refuses positions that do not rise
    assert len({batch.changes["r"][0].new for batch in f.batches}) == len(f.batches)
    await f.stream.close()


async def test_an_unlogged_table_and_one_with_a_generated_column(engine, db) -> None:
    await db.execute(THINGS)
    with pytest.raises(UpstreamError, match="SET LOGGED; or read it every so often"):
        await engine.describe(source("scratch"))
    generated = source("t", columns={"id": None, "g": "Integer"})
    f = await follow(engine, source("scratch", refresh="100ms"), generated)
    assert f.row_types["t"].key == f.row_types["scratch"].key == (0,)
    await db.execute("INSERT INTO scratch VALUES (1, 1)")
    await db.execute("INSERT INTO t (id) VALUES (4)")
    await f.until(lambda: bool(f.rows["scratch"]) and bool(f.rows["t"]))
    assert f.rows["t"] == {4: (4, 8)}
    await db.execute("UPDATE t SET id = 5")
    await f.until(lambda: f.rows["t"] == {5: (5, 10)})
    await f.stream.close()


async def test_a_table_without_identity_is_never_published_for_a_view(engine, db) -> None:
    await db.execute("CREATE TABLE bare (id int); CREATE TABLE good (id int PRIMARY KEY)")
    await db.execute(
        "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT"
    )
    await db.execute(
        "CREATE VIEW v AS SELECT id FROM bare UNION ALL SELECT id FROM good; CREATE VIEW vp AS SELECT * FROM p"
    )
    row_types = {name: await engine.describe(source(name)) for name in ("v", "vp", "good")}
    f = await follow(engine, source("good"))
    for name, hint in [
        ("v", "ALTER TABLE public.bare REPLICA IDENTITY FULL; (or add a primary key"),
        ("vp", "ALTER TABLE public.p1 REPLICA IDENTITY FULL;"),
    ]:
        f.expect(row_types[name])
        await f.stream.add(row_types[name], source(name))
        await f.until(lambda name=name: name in f.failed)  # type: ignore[misc]
        assert f.failed[name].error.code == "replica-identity"
        assert hint in f.failed[name].error.hint
        assert hint in [x.hint[: len(hint)] for x in await engine.check([source(name)])]
    held = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'tycostream_test'"
    assert await rows(db, held) == [("good",)]
    await db.execute(
        "INSERT INTO bare VALUES (1); UPDATE bare SET id = 2; UPDATE p SET id = 3"
    )  # nobody was harmed
    await db.execute("ALTER TABLE bare REPLICA IDENTITY FULL")
    await add(engine, f, source("v"))
    await f.until(lambda: "v" in f.snapshots)
    assert +f.rows["v"] == {(2,): 1}
    await f.stream.close()


async def test_without_manage_the_statement_names_every_table(db, database) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    await db.execute("CREATE VIEW v AS SELECT a.id FROM a JOIN b USING (id)")
    engine = engine_of(database, manage=False)
    await engine.describe(source("v"))
    hint = "CREATE PUBLICATION tycostream_test FOR TABLE public.a, public.b;"
    with pytest.raises(UpstreamError) as caught:
        await engine.open()
    assert caught.value.hint.startswith(hint)
    assert hint in [f.hint for f in await engine.check([source("v")])]
    await db.execute("CREATE PUBLICATION tycostream_test FOR TABLE a (id)")
    assert "ALTER PUBLICATION tycostream_test ADD TABLE public.b;" in [
        f.hint for f in await engine.check([source("v")])
    ]
    await db.execute("ALTER PUBLICATION tycostream_test ADD TABLE b WHERE (id > 5)")
    (finding,) = [f for f in await engine.check([source("v")]) if not f.ok and f.fatal]
    assert "holds only rows of public.b where (id > 5)" in finding.message
    assert finding.hint.startswith("BEGIN; ALTER PUBLICATION tycostream_test DROP TABLE public.b;")
    await db.execute("DROP PUBLICATION tycostream_test; CREATE PUBLICATION tycostream_test FOR ALL TABLES")
    f = await follow(engine, source("v"))
    await db.execute("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")
    await f.until(lambda: +f.rows["v"] == {(1,): 1})
    await engine.close()


async def test_changes_told_under_a_partitioned_tables_name(db, database) -> None:
    await db.execute("CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    await db.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)")
    await db.execute("CREATE VIEW v AS SELECT * FROM p1")
    await db.execute("CREATE PUBLICATION tycostream_test FOR TABLE p WITH (publish_via_partition_root)")
    engine = engine_of(database, manage=False)
    f = await follow(engine, source("v", primary_key="id"))
    await db.execute("INSERT INTO p VALUES (1, 1)")
    await f.until(lambda: f.rows["v"] == {1: (1, 1)})
    await engine.close()


async def test_rights_are_asked_for_by_name(db, database, postgres: PostgresServer) -> None:
    role = f"role_{secrets.token_hex(4)}"
    place = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    await db.execute(
        f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{role}'; REVOKE TEMPORARY ON DATABASE {place} FROM PUBLIC"
    )
    await db.execute("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE VIEW shown AS SELECT id FROM t")
    engine = engine_of(postgres.url_of(place, role), manage=False)
    query = source("q", query="SELECT id FROM t", primary_key="id")
    try:
        for config, hint in [
            (query, f"GRANT TEMPORARY ON DATABASE {place} TO {role};"),
            (query, f"GRANT SELECT ON public.t TO {role};"),
            (source("shown"), f"GRANT SELECT ON public.shown TO {role};"),
        ]:
            with pytest.raises(UpstreamError) as caught:
                await engine.describe(config)
            assert (caught.value.code, caught.value.hint) == ("no-rights", hint)
            await db.execute(hint)
        await db.execute(f"REVOKE SELECT ON t FROM {role}; CREATE PUBLICATION tycostream_test FOR TABLE t")
        f = await follow(engine, source("shown", primary_key="id"))  # the view's owner reads the table for us
        await db.execute("INSERT INTO t VALUES (1)")
        await f.until(lambda: f.rows["shown"] == {1: (1,)})
    finally:
        await engine.close()
        await db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_policy_of_row_security_is_part_of_what_is_read(
    db, database, postgres: PostgresServer
) -> None:
    role = f"role_{secrets.token_hex(4)}"
    place = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    await db.execute(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{role}'")
    await db.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE allowed (id int PRIMARY KEY)")
    await db.execute(
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id IN (SELECT id FROM allowed))"
    )
    await db.execute(f"GRANT SELECT ON t, allowed TO {role}; INSERT INTO t VALUES (1), (2)")
    await db.execute("CREATE PUBLICATION tycostream_test FOR TABLE t, allowed")
    engine = engine_of(postgres.url_of(place, role), manage=False)
    try:
        f = await follow(engine, source("q", query="SELECT id FROM t", primary_key="id"))
        assert not f.rows["q"]
        await db.execute("INSERT INTO allowed VALUES (2)")
        await f.until(lambda: f.rows["q"] == {2: (2,)})
        await db.execute(
            "DROP POLICY p ON t; CREATE POLICY p ON t USING (id = length(current_setting('a.b', true)))"
        )
        await f.until(lambda: "q" in f.failed, 30)
        assert f.failed["q"].error.code == "source-unwatched"
    finally:
        await engine.close()
        await db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_what_is_no_source(engine, db) -> None:
    await db.execute("CREATE TABLE t (id int PRIMARY KEY, price int); CREATE VIEW v AS SELECT id FROM t")
    for config, code, hint in [
        (source("q", query="SELECT nothing FROM t"), "query-failed", "correct `query:`"),
        (source("q", query="SELECT 1, 2"), "column-twice", "give them different names with AS"),
        (
            source("q", query="SELECT id FROM t", primary_key="x"),
            "column-missing",
            "correct the column's name",
        ),
        (source("t", fields={"price": {"sql": "1"}}), "field-name", "give the field another name"),
        (source("t", fields={"worth": {"sql": "cost * 2"}}), "query-failed", "correct `fields:`"),
        (
            source("t", columns={"price": None}, fields={"x": {"sql": "1"}}),
            "key-column-left-out",
            "add id to `columns:`",
        ),
        (source("vv"), "source-missing", "did you mean public.v?"),
    ]:
        with pytest.raises(UpstreamError) as caught:
            await engine.describe(config)
        assert (caught.value.code, caught.value.hint, caught.value.action) == (code, hint, Action.FAIL)
    left = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname LIKE 'pg_temp%'"
    assert await rows(db, left) == [(0,)]

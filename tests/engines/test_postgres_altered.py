"""Tables and publications that are altered while they are followed, by messages of the stream and without any."""

from __future__ import annotations

import pytest

from tests.engines.stream_contract import Follower
from tests.engines.test_postgres import db, engine, engine_of, follow, source
from tycostream.engines.postgres import watch
from tycostream.errors import Action

__all__ = ["db", "engine"]  # fixtures

KEYED = "CREATE TABLE a (id int PRIMARY KEY, v int, w text); INSERT INTO a VALUES (1, 1, 'x')"
FULL = "CREATE TABLE a (id int, v int); ALTER TABLE a REPLICA IDENTITY FULL; INSERT INTO a VALUES (1, 1)"
PARTED = (
    "CREATE TABLE a (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);"
    "CREATE TABLE a1 PARTITION OF a FOR VALUES FROM (0) TO (100);"
    "CREATE TABLE a2 (v int, gone int, id int NOT NULL); ALTER TABLE a2 DROP gone;"
    "ALTER TABLE a ATTACH PARTITION a2 FOR VALUES FROM (100) TO (200);"
    "INSERT INTO a VALUES (1, 1), (101, 1)"
)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_EVERY_S", 0.1)
    monkeypatch.setattr(watch, "_SOON_S", 0.02)


async def again(f: Follower, name: str = "a", **more) -> None:
    f.expect(f.row_types[name])
    await f.stream.add(f.row_types[name], source(name, **more))


async def follow_chosen(engine, columns: dict[str, str | None] | None) -> Follower:
    config = source("a", columns=columns)
    row_type = await engine.describe(config)
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, config)
    await f.until(lambda: "a" in f.snapshots)
    return f


async def looked(f: Follower) -> None:
    """Two whole looks have passed: what the catalogue says has been seen."""
    wanted = f.stream._watch.looks + 2  # type: ignore[attr-defined]
    await f.until(lambda: f.stream._watch.looks >= wanted)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "alter",
    [
        "ALTER TABLE a ADD more int DEFAULT 7",
        "ALTER TABLE a ADD more uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE a DROP w",
        "ALTER TABLE a RENAME w TO u",
        "ALTER TABLE a ALTER v SET DEFAULT 3",
        "ALTER TABLE a ALTER w TYPE int USING 1",
        "VACUUM FULL a",
        "ALTER TABLE a REPLICA IDENTITY FULL",
        "COMMENT ON TABLE a IS 'new'",
        "REINDEX TABLE a",
        "CREATE TABLE other (id int); ALTER PUBLICATION tycostream_test ADD TABLE other",
    ],
)
async def test_what_does_not_touch_the_source_is_nothing(engine, db, alter) -> None:
    await db.execute(KEYED)
    f = await follow_chosen(engine, {"id": None, "v": None})
    await db.execute(alter)
    await looked(f)
    await db.execute("INSERT INTO a (id, v) VALUES (2, 2)")
    await db.execute("UPDATE a SET v = 5 WHERE id = 1")
    await f.until(lambda: f.rows["a"] == {1: (1, 5), 2: (2, 2)})
    await db.execute("UPDATE a SET id = 9 WHERE id = 2; DELETE FROM a WHERE id = 1")
    await f.until(lambda: f.rows["a"] == {9: (9, 2)})
    assert f.failed == {}


@pytest.mark.parametrize(
    ("alter", "code", "said", "hint", "mend"),
    [
        (
            "ALTER TABLE a RENAME v TO u",
            "column-dropped",
            "column v of public.a is u now",
            "give it its name back",
            "ALTER TABLE a RENAME u TO v",
        ),
        (
            "ALTER TABLE a DROP v",
            "column-dropped",
            "column v is gone",
            "restore the column",
            "ALTER TABLE a ADD v int DEFAULT 4",
        ),
        (
            "ALTER TABLE a ALTER v TYPE bigint",
            "column-type-changed",
            "column v has another type now",
            "comes back with the new type",
            "ALTER TABLE a ALTER v TYPE int",
        ),
        (
            "ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (id, v)",
            "key-changed",
            "its key is another one",
            "comes back with the new key",
            "ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (id)",
        ),
        (
            "ALTER TABLE a RENAME TO b",
            "source-missing",
            "public.a is public.b now",
            "write `table: public.b`",
            "ALTER TABLE b RENAME TO a",
        ),
        (
            'CREATE SCHEMA "el.se"; ALTER TABLE a SET SCHEMA "el.se"',
            "source-missing",
            'public.a is "el.se".a now',
            'write `table: "el.se".a`',
            'ALTER TABLE "el.se".a SET SCHEMA public',
        ),
        ("DROP TABLE a", "source-missing", "there is no table or view public.a", "public.b2", KEYED),
        (
            "ALTER TABLE a REPLICA IDENTITY NOTHING",
            "replica-identity",
            "has no replica identity",
            "ALTER TABLE public.a REPLICA IDENTITY FULL;",
            "ALTER TABLE a REPLICA IDENTITY DEFAULT",
        ),
        (
            "ALTER TABLE a ALTER v SET NOT NULL; CREATE UNIQUE INDEX other ON a (v);"
            "ALTER TABLE a REPLICA IDENTITY USING INDEX other",
            "replica-identity",
            "key column id is not in the replica identity of public.a",
            "ALTER TABLE public.a REPLICA IDENTITY FULL;",
            "ALTER TABLE a REPLICA IDENTITY FULL",
        ),
    ],
    ids=lambda text: text[:40],
)
async def test_what_breaks_the_source_is_said_without_a_write_and_mended(
    engine, db, alter, code, said, hint, mend
) -> None:
    await db.execute(KEYED + "; CREATE TABLE b2 (id int PRIMARY KEY)")
    f = await follow(engine, "a", "b2")
    await db.execute(alter)
    await f.until(lambda: "a" in f.failed)
    error = f.failed["a"].error
    assert (error.code, error.action) == (code, Action.FAIL), error
    assert said in error.message
    assert hint in error.hint
    await db.execute("INSERT INTO b2 VALUES (1)")
    await f.until(lambda: bool(f.rows["b2"]))
    await db.execute(mend)
    await again(f)
    await f.until(lambda: "a" in f.snapshots)
    await db.execute("UPDATE a SET v = 8")
    await f.until(lambda: f.rows["a"] == {1: (1, 8, "x")})


async def test_a_key_column_that_is_not_in_the_identity_any_more_is_seen_with_the_next_change(
    engine, db, monkeypatch
) -> None:
    monkeypatch.setattr(watch, "_EVERY_S", 3600)
    await db.execute(f"{FULL}; CREATE TABLE b (id int PRIMARY KEY, v int NOT NULL)")
    await db.execute("CREATE UNIQUE INDEX b_v ON b (v); INSERT INTO b VALUES (1, 1)")
    f = await follow(engine, "a", "b")
    await db.execute("ALTER TABLE b REPLICA IDENTITY USING INDEX b_v; UPDATE b SET v = 2")
    await f.until(lambda: "b" in f.failed)
    assert f.failed["b"].error.code == "replica-identity"
    await db.execute("ALTER TABLE a REPLICA IDENTITY NOTHING; INSERT INTO a VALUES (2, 2)")
    await f.until(lambda: "a" in f.failed)
    assert (f.failed["a"].error.code, f.failed["a"].error.hint) == (
        "replica-identity",
        "ALTER TABLE public.a REPLICA IDENTITY FULL;",
    )


@pytest.mark.parametrize(
    "alter",
    [
        "DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, v int, w text); INSERT INTO a VALUES (7, 7, 'y')",
        "ALTER TABLE a ALTER v TYPE int USING v + 5",
        "BEGIN; ALTER TABLE a DROP v; ALTER TABLE a ADD v int DEFAULT 6; COMMIT",
        "BEGIN; ALTER PUBLICATION tycostream_test DROP TABLE a; INSERT INTO a VALUES (8, 8);"
        "ALTER PUBLICATION tycostream_test ADD TABLE a; COMMIT",
        "ALTER PUBLICATION tycostream_test SET (publish = 'insert'); UPDATE a SET v = 77;"
        "ALTER PUBLICATION tycostream_test SET (publish = 'insert, update, delete, truncate')",
    ],
    ids=["made anew", "rewritten", "column made anew", "out of the publication and in", "less published"],
)
async def test_what_no_message_tells_of_is_read_anew(engine, db, alter) -> None:
    await db.execute(KEYED)
    f = await follow(engine, "a")
    for statement in alter.split("; ") if "BEGIN" not in alter else [alter]:
        await db.execute(statement)
    await f.until(lambda: "a" in f.failed)
    assert (f.failed["a"].error.code, f.failed["a"].error.action) == ("source-altered", Action.RETRY)
    await again(f)
    await f.until(lambda: "a" in f.snapshots)
    rows = await (await db.execute("SELECT id, v, w FROM a")).fetchall()
    assert sorted(f.multiset("a")) == sorted(rows)
    await db.execute("DELETE FROM a")
    await f.until(lambda: f.rows["a"] == {})


@pytest.mark.parametrize("filter_", ["WHERE (id > 5)", "(id)"])
async def test_a_filter_added_while_the_stream_runs(db, database, filter_) -> None:
    if db.info.server_version < 150000:
        pytest.skip("came with PostgreSQL 15")
    await db.execute(f"{KEYED}; CREATE PUBLICATION tycostream_test FOR TABLE a")
    engine = engine_of(database, manage=False)
    f = await follow(engine, "a")
    await db.execute(f"ALTER PUBLICATION tycostream_test SET TABLE a {filter_}")
    await f.until(lambda: "a" in f.failed)
    error = f.failed["a"].error
    assert (error.code, error.action) == ("publication-incomplete", Action.FAIL)
    await db.execute(error.hint)
    await again(f)
    await f.until(lambda: "a" in f.snapshots)
    await db.execute("INSERT INTO a VALUES (2, 2, 'y')")
    await f.until(lambda: set(f.rows["a"]) == {1, 2})
    await engine.close()


# --- partitioned tables and parents


@pytest.mark.parametrize("via_root", [None, False, True], ids=["managed", "operator", "via root"])
async def test_a_partitioned_table_is_one_source(db, database, via_root) -> None:
    await db.execute(PARTED)
    if via_root is not None:
        option = f"WITH (publish_via_partition_root = {str(via_root).lower()})"
        await db.execute(f"CREATE PUBLICATION tycostream_test FOR TABLE a {option}")
    engine = engine_of(database, manage=via_root is None)
    assert [found for found in await engine.check([source("a")]) if not found.ok and found.fatal] == []
    f = await follow(engine, "a")
    await db.execute("INSERT INTO a VALUES (2, 2), (102, 2); UPDATE a SET id = 150 WHERE id = 1")
    await db.execute("UPDATE a SET v = 9 WHERE id = 102")
    await f.until(lambda: f.rows["a"] == {101: (101, 1), 150: (150, 1), 2: (2, 2), 102: (102, 9)})
    await engine.close()


async def test_rows_move_between_partitions_and_partitions_come_and_go(engine, db) -> None:
    await db.execute(PARTED)
    f = await follow(engine, "a")
    await db.execute("UPDATE a SET id = 102, v = 2 WHERE id = 1; DELETE FROM a WHERE id = 101")
    await f.until(lambda: f.rows["a"] == {102: (102, 2)})
    await db.execute("CREATE TABLE a3 (id int PRIMARY KEY, v int); INSERT INTO a3 VALUES (201, 3)")
    for alter in (
        "ALTER TABLE a ATTACH PARTITION a3 FOR VALUES FROM (200) TO (300)",
        "TRUNCATE a2",
        "CREATE TABLE a4 PARTITION OF a FOR VALUES FROM (300) TO (400); INSERT INTO a VALUES (301, 4)",
        "ALTER TABLE a DETACH PARTITION a3",
        "DROP TABLE a4",
    ):
        await db.execute(alter)
        await f.until(lambda: "a" in f.failed)
        assert f.failed["a"].error.code == "source-altered"
        await again(f)
        await f.until(lambda: "a" in f.snapshots)
        assert (
            sorted(f.multiset("a")) == await (await db.execute("SELECT id, v FROM a ORDER BY 1")).fetchall()
        )
    await db.execute("INSERT INTO a VALUES (5, 5); TRUNCATE a")
    await f.until(lambda: bool(f.batches) and f.rows["a"] == {})
    await db.execute("INSERT INTO a VALUES (6, 6)")
    while (6, 6) not in f.multiset(
        "a"
    ):  # where the rows are has changed: it may be read again, which changes nothing
        await f.step()
        if "a" in f.failed:
            await again(f)


async def test_a_partition_of_its_own_beside_the_whole(engine, db) -> None:
    await db.execute(PARTED)
    f = await follow(engine, "a", "a1")
    await db.execute("INSERT INTO a VALUES (3, 3), (103, 3)")
    await f.until(lambda: set(f.rows["a"]) == {1, 3, 101, 103} and set(f.rows["a1"]) == {1, 3})


async def test_partitions_whose_rows_cannot_be_told_apart_are_refused(db, database) -> None:
    await db.execute(PARTED)
    await db.execute("ALTER TABLE a2 REPLICA IDENTITY NOTHING")
    engine = engine_of(database)
    findings = [found for found in await engine.check([source("a")]) if not found.ok]
    assert [(found.message, found.hint) for found in findings] == [
        (
            "source a: key column id is not in the replica identity of public.a2",
            "ALTER TABLE public.a2 REPLICA IDENTITY FULL;",
        )
    ]
    await db.execute("ALTER TABLE a2 REPLICA IDENTITY FULL; DROP TABLE a1")
    f = await follow(engine, "a")
    await db.execute("UPDATE a SET v = 4")
    await f.until(lambda: f.rows["a"] == {101: (101, 4)})
    await engine.close()


async def test_a_publication_that_lists_some_partitions_only(db, database) -> None:
    await db.execute(f"{PARTED}; CREATE PUBLICATION tycostream_test FOR TABLE a1")
    engine = engine_of(database, manage=False)
    findings = [found for found in await engine.check([source("a")]) if not found.ok and found.fatal]
    assert [found.hint for found in findings] == ["ALTER PUBLICATION tycostream_test ADD TABLE public.a;"]
    await db.execute("ALTER PUBLICATION tycostream_test ADD TABLE a2")
    assert [found for found in await engine.check([source("a")]) if not found.ok] == []


async def test_a_parent_is_its_own_rows_and_check_says_so(engine, db) -> None:
    await db.execute(
        f"{KEYED}; CREATE TABLE child (more int) INHERITS (a); INSERT INTO child VALUES (1, 2, 'c', 3)"
    )
    f = await follow(engine, "a")
    assert f.rows["a"] == {1: (1, 1, "x")}
    await db.execute("INSERT INTO child VALUES (2, 2, 'd', 3); INSERT INTO a VALUES (3, 3, 'y')")
    await f.until(lambda: f.rows["a"] == {1: (1, 1, "x"), 3: (3, 3, "y")})
    said = [found for found in await engine.check([source("a")]) if "inherit" in found.message]
    assert [(found.ok, found.fatal) for found in said] == [(False, False)]


async def test_what_is_not_in_the_log_or_hidden_is_refused(db, database, postgres) -> None:
    await db.execute("CREATE UNLOGGED TABLE a (id int PRIMARY KEY)")
    engine = engine_of(database)
    findings = [found for found in await engine.check([source("a")]) if not found.ok]
    assert [found.hint for found in findings] == [
        "ALTER TABLE public.a SET LOGGED; or read it every so often: `live: {refresh: 10s}`"
    ]

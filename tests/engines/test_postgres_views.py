"""Views, queries and custom fields on a real PostgreSQL: what is followed, and that what is told is what a SELECT says."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import psycopg
import pytest

from tests.engines.postgres_sources import add, engine_of, follow, rows, source
from tycostream.engines.postgres import PostgresEngine
from tycostream.errors import Action
from tycostream.rows import Change


@pytest.fixture
async def engine(database: str) -> AsyncIterator[PostgresEngine]:
    engine = engine_of(database)
    yield engine
    await engine.close()


@pytest.fixture
async def db(database: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        yield connection


MARKET = """
CREATE TABLE instruments (id int PRIMARY KEY, symbol text NOT NULL);
CREATE TABLE trades (id serial PRIMARY KEY, instrument_id int, price numeric, quantity int);
CREATE VIEW pnl AS SELECT i.symbol, count(*) AS trades, sum(t.price * t.quantity) AS worth
  FROM trades t JOIN instruments i ON i.id = t.instrument_id GROUP BY i.symbol;
INSERT INTO instruments SELECT i, 'S' || i FROM generate_series(1, 5) i;
INSERT INTO trades (instrument_id, price, quantity) SELECT 1 + i % 3, 1.50, i FROM generate_series(1, 30) i;
"""
PNL = source("pnl", primary_key="symbol")


async def test_a_view_tells_only_what_is_different(engine, db) -> None:
    await db.execute(MARKET)
    f = await follow(engine, PNL)
    assert [c.scalar.name for c in f.row_types["pnl"].columns] == ["text", "int8", "numeric"]
    assert sorted(f.rows["pnl"].values()) == sorted(await rows(db, "SELECT * FROM pnl"))
    await db.execute("INSERT INTO trades (instrument_id, price, quantity) VALUES (4, 2, 3)")
    await f.until(lambda: bool(f.batches))
    assert [(c.key, c.old) for c in f.batches[0].changes["pnl"]] == [("S4", None)]
    await db.execute("UPDATE trades SET quantity = 4 WHERE instrument_id = 4")
    await db.execute("UPDATE instruments SET symbol = 'T4' WHERE id = 4")
    await f.until(lambda: "T4" in f.rows["pnl"])
    assert "S4" not in f.rows["pnl"]
    assert str(f.rows["pnl"]["T4"][2]) == "8"
    count = len(f.batches)
    await db.execute("INSERT INTO instruments VALUES (9, 'unseen')")  # changes the table, not the view
    await db.execute("TRUNCATE trades")
    await f.until(lambda: not f.rows["pnl"])
    assert len(f.batches) == count + 1
    await f.stream.close()


async def test_an_unchanged_view_follows_its_tables_position(engine, db) -> None:
    await db.execute(MARKET)
    f = await follow(engine, PNL)
    started = f.positions["pnl"]
    await db.execute("INSERT INTO instruments VALUES (9, 'unseen')")
    (moved,) = (await rows(db, "SELECT (pg_current_wal_lsn() - '0/0')::bigint"))[0]
    await f.until(lambda: f.positions["pnl"].offset >= moved)
    assert f.positions["pnl"] > started
    assert not f.batches
    await f.stream.close()


async def test_a_source_without_a_key_is_a_multiset(engine, db) -> None:
    await db.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'b')"
    )
    f = await follow(engine, source("vs", query="SELECT v FROM t"))
    assert f.rows["vs"] == Counter({("a",): 2, ("b",): 1})
    await db.execute("UPDATE t SET v = 'b' WHERE id = 1")
    await f.until(lambda: bool(f.batches))
    assert f.batches[0].changes["vs"] == [Change(None, ("a",), None), Change(None, None, ("b",))]
    await db.execute("DELETE FROM t")
    await f.until(lambda: not +f.rows["vs"])
    await f.stream.close()


async def test_custom_fields_are_computed(engine, db) -> None:
    await db.execute(MARKET)
    config = source(
        "trades",
        columns={"id": "Integer", "price": None},
        fields={"worth": {"sql": "price * quantity -- money", "type": "Numeric", "comment": "all of it"}},
    )
    f = await follow(engine, config)
    row_type = f.row_types["trades"]
    assert [(c.name, c.nullable, c.comment) for c in row_type.columns] == [
        ("id", False, None),
        ("price", True, None),
        ("worth", True, "all of it"),
    ]
    assert row_type.key == (0,)
    await db.execute("UPDATE trades SET quantity = 100 WHERE id = 7")
    await f.until(lambda: bool(f.batches))
    assert f.batches[0].changes["trades"] == [Change(7, None, f.rows["trades"][7])]
    assert str(f.rows["trades"][7][2]) == "150.00"
    await f.stream.close()


async def test_nested_views_partitions_and_children(engine, db) -> None:
    await db.execute("""
    CREATE TABLE p (id int, day date NOT NULL, v int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY RANGE (day);
    CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM ('2021-01-01') TO ('2021-07-01');
    CREATE TABLE parent (id int PRIMARY KEY, v int); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
    CREATE VIEW inner_view AS SELECT id, v FROM p WHERE day < '2030-01-01';
    CREATE VIEW both_views AS SELECT id, v, 'p' AS side FROM inner_view UNION ALL SELECT id, v, 'i' FROM parent WHERE false OR v > 0;
    """)
    f = await follow(engine, source("both_views", primary_key=["side", "id"]))
    for statement, key in [
        ("INSERT INTO p VALUES (1, '2020-02-02', 1)", ("p", 1)),
        ("INSERT INTO p VALUES (2, '2021-02-02', 1)", ("p", 2)),
        ("INSERT INTO parent VALUES (3, 1)", ("i", 3)),
        ("INSERT INTO child VALUES (4, 1)", ("i", 4)),
    ]:
        await db.execute(statement)
        await f.until(partial(f.rows["both_views"].__contains__, key))
    # a partition that nobody knew
    await db.execute("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')")
    await db.execute("INSERT INTO p VALUES (5, '2022-02-02', 1)")
    await f.until(lambda: "both_views" in f.failed)
    assert (f.failed["both_views"].error.code, f.failed["both_views"].error.action) == (
        "source-altered",
        Action.RETRY,
    )
    await add(engine, f, source("both_views", primary_key=["side", "id"]))
    await f.until(lambda: "both_views" in f.snapshots)
    assert ("p", 5) in f.rows["both_views"]
    await f.stream.close()


async def test_views_of_one_transaction_are_told_together(engine, db) -> None:
    await db.execute(
        MARKET + "CREATE VIEW counts AS SELECT instrument_id, count(*) AS n FROM trades GROUP BY 1"
    )
    f = await follow(engine, PNL, source("counts", primary_key="instrument_id"))
    await db.execute("INSERT INTO trades (instrument_id, price, quantity) VALUES (4, 2, 3)")
    await f.until(lambda: bool(f.batches))
    assert set(f.batches[0].changes) == {"pnl", "counts"}
    await f.stream.close()


async def test_a_late_source_and_one_removed(engine, db) -> None:
    await db.execute(MARKET)
    f = await follow(engine, source("instruments"))
    await add(engine, f, PNL)
    await f.until(lambda: "pnl" in f.snapshots)
    await db.execute("DELETE FROM trades WHERE instrument_id = 1")
    await f.until(lambda: "S1" not in f.rows["pnl"])
    await f.stream.remove("pnl")
    f.removed.add("pnl")
    await db.execute("DELETE FROM trades")
    await db.execute("DELETE FROM instruments")
    await f.until(lambda: not f.rows["instruments"])
    assert len(f.rows["pnl"]) == 2
    await f.stream.close()


async def test_duplicate_keys_fail_the_source_and_it_heals(engine, db) -> None:
    await db.execute(MARKET)
    f = await follow(engine, PNL, source("trades"))
    # symbols are grouped by, so another key
    await f.stream.remove("pnl")
    config = source("by_count", query="SELECT trades, symbol FROM pnl", primary_key="trades")
    await db.execute("DELETE FROM trades WHERE instrument_id > 1")
    await add(engine, f, config)
    await f.until(lambda: "by_count" in f.snapshots)
    await db.execute(
        "INSERT INTO trades (instrument_id, price, quantity) SELECT 2, 1, 1 FROM generate_series(1, 10)"
    )
    await f.until(lambda: "by_count" in f.failed)
    error = f.failed["by_count"].error
    assert (error.code, error.action) == ("duplicate-key", Action.FAIL)
    assert "trades = 10" in error.detail
    await add(engine, f, config)
    await f.until(lambda: "by_count" in f.failed)
    await db.execute("DELETE FROM trades WHERE instrument_id = 2 AND id % 2 = 0")
    await add(engine, f, config)
    await f.until(lambda: "by_count" in f.snapshots)
    assert len(f.rows["by_count"]) == 2
    await f.stream.close()

"""The server over a real Materialize: what engines.md says of it, seen through GraphQL. `make test-real` runs this."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.real.conftest import RealMaterialize
from tests.real.harness import Feed, Rows, following, serving
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.demo import materialize as demo
from tycostream.scalars import scalar_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ITEMS = "CREATE TABLE {} (id bigint NOT NULL, name text)"


def yaml(server: RealMaterialize, sources: str, database: str = "", more: str = "") -> str:
    """A configuration with one database."""
    return (
        f"databases: {{main: {{engine: materialize, url: '{server.url}', stall_after: 10s, reconnect_delay_max: 1s{database}}}}}\n"
        f"sources: {{{sources}}}\n{more}"
    )


def by_id(server: RealMaterialize, query: str) -> Rows:
    """What the database itself says, in a feed's shape: rows of (id, name)."""
    return {(int(id_),): {"id": int(id_), "name": name} for id_, name in server.rows(query)}


async def off(work: Any, *arguments: Any) -> Any:
    """Something of psycopg's or Docker's that waits, beside the loop."""
    return await asyncio.to_thread(work, *arguments)


async def test_rows_come_change_and_go(materialize: RealMaterialize) -> None:
    materialize.execute(ITEMS.format("crud"), "INSERT INTO crud VALUES (1, 'a'), (2, 'b'), (3, NULL)")
    async with serving(yaml(materialize, "crud: {primary_key: id}")) as server:
        await server.live()
        async with following(server, "crud", "id name") as client:
            await client.until(lambda feed: len(feed.rows) == 3)
            assert client.feed.phases[0] == "snapshot"
            for statement in (
                "INSERT INTO crud VALUES (4, 'd'), (5, 'e')",
                "UPDATE crud SET name = 'changed' WHERE id IN (1, 4)",
                "DELETE FROM crud WHERE id = 2",
                "UPDATE crud SET id = 30 WHERE id = 3",
                "INSERT INTO crud SELECT id + 100, name FROM crud",
                "DELETE FROM crud WHERE id > 100",
            ):
                await off(materialize.execute, statement)
                expected = await off(by_id, materialize, "SELECT id, name FROM crud")
                await client.until(lambda feed, expected=expected: feed.rows == expected)  # type: ignore[misc]
            assert "update" in client.feed.operations
            data = await server.query('{ crud(where: {name: {_eq: "changed"}}, order_by: {id: asc}) { id } }')
            assert [row["id"] for row in data["crud"]] == [1, 4]
            data = await server.query("{ crud_by_pk(id: 30) { name } }")
            assert data == {"crud_by_pk": {"name": None}}


async def test_rows_without_a_key_are_counted(materialize: RealMaterialize) -> None:
    materialize.execute("CREATE TABLE bag (word text)", "INSERT INTO bag VALUES ('a'), ('a'), ('b')")
    async with serving(yaml(materialize, "bag: {}")) as server:
        await server.live()
        await off(materialize.execute, "INSERT INTO bag VALUES ('a')", "DELETE FROM bag WHERE word = 'b'")
        async with asyncio.timeout(60):
            while (await server.query("{ bag { word } }"))["bag"] != [{"word": "a"}] * 3:
                await asyncio.sleep(0.05)


# SQL type, a literal of it, and what GraphQL answers (with stringify_numbers).
TYPES: list[tuple[str, str, Any]] = [
    ("bool", "true", True),
    ("int2", "'-32768'", -32768),
    ("int4", "2147483647", 2147483647),
    ("int8", "9223372036854775807", "9223372036854775807"),
    ("uint2", "65535", 65535),
    ("uint4", "4294967295", 4294967295),
    ("uint8", "18446744073709551615", "18446744073709551615"),
    ("mz_timestamp", "'18446744073709551615'", "18446744073709551615"),
    ("float4", "1.1920929e-7", 1.1920929e-07),
    ("float8", "2.220446049250313e-16", "2.220446049250313e-16"),
    ("float8", "'NaN'", "NaN"),
    ("float8", "'-Infinity'", "-Infinity"),
    ("numeric", "12345678901234567890.000000001", "12345678901234567890.000000001"),
    ("numeric", "'NaN'", "NaN"),
    ("text", "'q\"\\ é 😀'", 'q"\\ é 😀'),
    ("text", "e'tab\\tline\\nback\\\\slash'", "tab\tline\nback\\slash"),
    ("varchar(5)", "'abc'", "abc"),
    ("bytea", "'\\xff00'", "\\xff00"),
    ("date", "'2024-02-29'", "2024-02-29"),
    ("time", "'23:59:59.999999'", "23:59:59.999999"),
    ("timestamp", "'1970-01-01 00:00:00.123457'", "1970-01-01T00:00:00.123457"),
    ("timestamptz", "'2024-01-31 12:00:00+02'", "2024-01-31T10:00:00+00:00"),
    ("interval", "'0.000001 seconds'", "00:00:00.000001"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("jsonb", "'{\"x\": true, \"y\": [1.5, null]}'", {"x": True, "y": [1.5, None]}),
    ("oid", "16384", "16384"),
    ("int4[]", "ARRAY[1, 2]", "{1,2}"),
    ("text list", "LIST['a', 'white space', NULL]", '{a,"white space",NULL}'),
    ("map[text=>int4]", "'{a=>1}'", "{a=>1}"),
]  # fmt: skip


async def test_every_type(materialize: RealMaterialize) -> None:
    columns = ", ".join(f"c{n} {sql}" for n, (sql, _, _) in enumerate(TYPES))
    values = ", ".join(f"{literal}::{sql}" for sql, literal, _ in TYPES)
    nulls = ", ".join(["NULL"] * len(TYPES))
    materialize.execute(
        f"CREATE TABLE kinds (id int NOT NULL, {columns})",
        f"INSERT INTO kinds VALUES (1, {values})",
        f"INSERT INTO kinds VALUES (2, {nulls})",
    )
    names = [f"c{n}" for n in range(len(TYPES))]
    config = yaml(materialize, "kinds: {primary_key: id}", more="server: {stringify_numbers: true}\n")
    async with serving(config) as server:
        await server.live()
        data = await server.query(f"{{ kinds(order_by: {{id: asc}}) {{ {' '.join(names)} }} }}")
        wanted = {name: value for name, (_, _, value) in zip(names, TYPES, strict=True)}
        assert data["kinds"] == [wanted, dict.fromkeys(names)]
        # the same by SUBSCRIBE's other half: a change, not a snapshot
        await off(materialize.execute, f"INSERT INTO kinds VALUES (3, {values})")
        async with asyncio.timeout(60):
            while (
                found := (await server.query(f"{{ kinds_by_pk(id: 3) {{ {' '.join(names)} }} }}"))[
                    "kinds_by_pk"
                ]
            ) is None:
                await asyncio.sleep(0.05)
        assert found == wanted
    # every text that it prints reads, and is printed back or is a number of the same value
    (texts,) = materialize.rows(f"SELECT {', '.join(names)} FROM kinds WHERE id = 1")
    for (sql, _, _), text in zip(TYPES, texts, strict=True):
        scalar = scalar_for(sql)
        cell = scalar.parse(text)
        assert scalar.parse(scalar.text(cell)) == cell, sql
        json.loads(scalar.json(cell), parse_constant=pytest.fail)


async def test_many_clients_and_late_ones_see_the_same(materialize: RealMaterialize) -> None:
    materialize.execute(ITEMS.format("many"), "INSERT INTO many VALUES (0, 'first')")
    async with serving(yaml(materialize, "many: {primary_key: id}")) as server:
        await server.live()

        def write() -> None:
            for n in range(1, 31):
                materialize.execute(f"INSERT INTO many VALUES ({n}, 'n{n}'), ({n + 1000}, 'x')")
                materialize.execute(f"DELETE FROM many WHERE id = {n + 1000}")
            materialize.execute("INSERT INTO many VALUES (-1, 'last')")

        writing = asyncio.create_task(asyncio.to_thread(write))

        async def one(joins_at: int) -> Rows:
            async with asyncio.timeout(240):
                while len(server.app.hub.sources["many"].store.rows) <= joins_at:
                    await asyncio.sleep(0.01)
            async with following(server, "many", "id name") as client:
                await client.until(lambda feed: (-1,) in feed.rows, 240)
                return client.feed.rows

        results = await asyncio.gather(*(one(n) for n in range(20)))
        await writing
        expected = await off(by_id, materialize, "SELECT id, name FROM many")
        assert all(rows == expected for rows in results)
        subscriptions = await off(materialize.rows, "SELECT count(*) FROM mz_internal.mz_subscriptions")
        assert subscriptions == [("1",)], "one stream, however many clients"


async def test_a_restart_is_the_difference_and_nothing_else(materialize: RealMaterialize) -> None:
    materialize.execute(ITEMS.format("lasting"), "INSERT INTO lasting VALUES (1, 'before'), (2, 'stays')")
    async with serving(yaml(materialize, "lasting: {primary_key: id}")) as server:
        await server.live()
        async with following(server, "lasting", "id name") as client:
            await client.until(lambda feed: len(feed.rows) == 2)
            sets = client.feed.sets
            restarting = asyncio.create_task(off(materialize.restart))
            await server.until(lambda states: states["lasting"] == "stale", 120)
            assert (await server.query("{ lasting { id } }"))["lasting"], "queries are answered meanwhile"
            await restarting
            await off(materialize.wait)
            await off(materialize.execute, "UPDATE lasting SET name = 'after' WHERE id = 1")
            await client.until(lambda feed: feed.rows.get((1,), {}).get("name") == "after", 240)
            await server.live()
            assert client.feed.rows == await off(by_id, materialize, "SELECT id, name FROM lasting")
            assert "reset" not in client.feed.phases
            assert client.feed.operations == ["update"], "what did not change was not told"
            assert client.feed.sets > sets


async def test_a_cursor_is_good_for_another_server(materialize: RealMaterialize) -> None:
    materialize.execute(
        f"{ITEMS.format('kept')} WITH (RETAIN HISTORY FOR '10m')",
        "INSERT INTO kept VALUES (1, 'a'), (2, 'b')",
    )
    config = yaml(materialize, "kept: {primary_key: id}", more="server: {cursor_key: one secret for both}\n")
    async with serving(config) as server:
        await server.live()
        async with following(server, "kept", "id name") as client:
            await client.until(lambda feed: len(feed.rows) == 2 and feed.cursor is not None)
            rows, cursor = dict(client.feed.rows), client.feed.cursor
    await off(
        materialize.execute,
        "INSERT INTO kept VALUES (3, 'c')",
        "UPDATE kept SET name = 'x' WHERE id = 1",
        "UPDATE kept SET name = 'z' WHERE id = 1",
        "DELETE FROM kept WHERE id = 2",
    )
    expected = await off(by_id, materialize, "SELECT id, name FROM kept")
    async with serving(config) as server:
        await server.live()
        async with following(server, "kept", "id name", after=cursor) as client:
            client.feed.rows = rows
            await client.until(lambda feed: feed.rows == expected)
            assert "reset" not in client.feed.phases
            assert "snapshot" not in client.feed.phases
            # the net of it: that 1 was x for a while is nobody's business any more
            assert sorted(client.feed.operations) == ["delete", "insert", "update"]


async def test_without_history_a_cursor_says_to_start_again(materialize: RealMaterialize) -> None:
    materialize.execute(ITEMS.format("unkept"), "INSERT INTO unkept VALUES (1, 'a')")
    config = yaml(
        materialize, "unkept: {primary_key: id}", more="server: {cursor_key: one secret for both}\n"
    )
    async with serving(config) as server:
        await server.live()
        async with following(server, "unkept", "id name") as client:
            await client.until(lambda feed: feed.cursor is not None)
            cursor = client.feed.cursor

    def old_enough() -> None:
        """The one second that it keeps has passed: time that the database itself tells."""
        start = int(materialize.rows("SELECT mz_now()")[0][0])
        while int(materialize.rows("SELECT mz_now()")[0][0]) < start + 5_000:
            materialize.execute("INSERT INTO unkept VALUES (2, 'b')", "DELETE FROM unkept WHERE id = 2")

    await off(old_enough)
    async with serving(config) as server:
        await server.live()
        async with following(server, "unkept", "id name", after=cursor) as client:
            await client.until(lambda feed: feed.rows == {(1,): {"id": 1, "name": "a"}})
            assert client.feed.phases[0] == "reset"


async def test_views_queries_and_fields(materialize: RealMaterialize) -> None:
    materialize.execute(
        "CREATE TABLE sales (id int NOT NULL, shop text NOT NULL, amount numeric NOT NULL)",
        "CREATE VIEW by_shop AS SELECT shop, sum(amount) AS total FROM sales GROUP BY shop",
        "CREATE MATERIALIZED VIEW top_shops AS SELECT shop, total FROM by_shop WHERE total > 10",
        "CREATE VIEW unchanging AS SELECT 1 AS id, 'never changes' AS note",
        "INSERT INTO sales VALUES (1, 'a', 5.50), (2, 'b', 20)",
    )
    sources = """
      by_shop: {},
      top_shops: {primary_key: shop},
      unchanging: {primary_key: id},
      doubled: {table: sales, primary_key: id, fields: {twice: {sql: amount * 2, type: Numeric}}},
      counted: {query: "SELECT shop, count(*) AS n FROM sales GROUP BY shop; -- done", primary_key: shop}
    """
    async with serving(yaml(materialize, sources)) as server:
        await server.live()
        assert "by_shop_by_pk" in json.dumps(
            await server.query('{ __type(name: "query_root") { fields { name } } }')
        ), "the optimizer knows that a GROUP BY is unique"
        await off(materialize.execute, "INSERT INTO sales VALUES (3, 'a', 10)")
        everything = (
            "{ by_shop(order_by: {shop: asc}) { shop total } top_shops(order_by: {shop: asc}) { shop } unchanging { note }"
            " doubled(order_by: {id: asc}) { id twice } counted(order_by: {shop: asc}) { shop n } }"
        )
        wanted = {
            "by_shop": [{"shop": "a", "total": 15.5}, {"shop": "b", "total": 20}],
            "top_shops": [{"shop": "a"}, {"shop": "b"}],
            "unchanging": [{"note": "never changes"}],
            "doubled": [{"id": 1, "twice": 11}, {"id": 2, "twice": 40}, {"id": 3, "twice": 20}],
            "counted": [{"shop": "a", "n": 2}, {"shop": "b", "n": 1}],
        }
        async with asyncio.timeout(60):
            while (found := await server.query(everything)) != wanted:
                assert set(found) == set(wanted)
                await asyncio.sleep(0.05)


async def test_the_demo_is_consistent_over_its_sources(materialize: RealMaterialize) -> None:
    await demo.create_schema(materialize.url, materialize.system_url)
    text = (Path(demo.__file__).parent / "materialize.yaml").read_text()
    held = "{ trades { instrument_id side quantity } positions { instrument_id quantity trades } }"
    async with serving(text, {"DATABASE_URL": materialize.url}) as server:
        await server.live()
        seeder = demo.Seeder(materialize.url, 40, SystemClock(), seed=1)
        seeding = asyncio.create_task(seeder.run())
        try:
            async with asyncio.timeout(120):
                while seeder.trades < 200:
                    data = await server.query(held)
                    sums: dict[int, tuple[int, int]] = {}
                    for trade in data["trades"]:
                        quantity, count = sums.get(trade["instrument_id"], (0, 0))
                        signed = trade["quantity"] if trade["side"] == "buy" else -trade["quantity"]
                        sums[trade["instrument_id"]] = quantity + signed, count + 1
                    positions = {
                        p["instrument_id"]: (int(p["quantity"]), int(p["trades"])) for p in data["positions"]
                    }
                    assert positions == sums, "a trade and its position are one moment"
                    await asyncio.sleep(0.02)
        finally:
            seeding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await seeding


async def test_one_broken_source_fails_alone_and_heals(materialize: RealMaterialize) -> None:
    materialize.execute(
        ITEMS.format("sound"),
        ITEMS.format("fragile"),
        "CREATE TABLE divisors (id int NOT NULL, divisor int NOT NULL)",
        "CREATE VIEW poisoned AS SELECT id, 10 / divisor AS tenth FROM divisors",
        "INSERT INTO divisors VALUES (1, 2)",
    )
    sources = "sound: {primary_key: id}, fragile: {primary_key: id}, poisoned: {primary_key: id}"
    async with serving(yaml(materialize, sources)) as server:
        await server.live()
        await off(materialize.execute, "DROP TABLE fragile", "INSERT INTO divisors VALUES (2, 0)")
        await server.until(lambda states: states["fragile"] == states["poisoned"] == "failed")
        assert server.states()["sound"] == "live"
        assert "division by zero" in server.reason("poisoned")
        await off(materialize.execute, "INSERT INTO sound VALUES (1, 'goes on')")
        async with asyncio.timeout(60):
            while not (await server.query("{ sound { name } }"))["sound"]:
                await asyncio.sleep(0.05)
        await off(
            materialize.execute,
            "DELETE FROM divisors WHERE divisor = 0",
            ITEMS.format("fragile"),
            "INSERT INTO fragile VALUES (7, 'new')",
        )
        await server.until(lambda states: set(states.values()) == {"live"}, 120)
        assert (await server.query("{ fragile { id } poisoned { id tenth } }")) == {
            "fragile": [{"id": 7}],
            "poisoned": [{"id": 1, "tenth": 5}],
        }


def tycostream(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "tycostream", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )


def test_init_and_check(materialize: RealMaterialize, tmp_path: Path) -> None:
    materialize.execute(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id int NOT NULL, total numeric)",
        "CREATE MATERIALIZED VIEW shop.totals AS SELECT id % 10 AS bucket, sum(total) AS total FROM shop.orders GROUP BY 1",
    )
    made = tycostream(
        "init", "--database-url", materialize.url, "--source", "shop.orders", "--source", "shop.totals"
    )
    assert made.returncode == 0, made.stderr
    config = loads(made.stdout, environ={"DATABASE_URL": materialize.url})
    assert config.databases["main"].engine.value == "materialize"
    assert config.sources["shop_totals"].primary_key == ("bucket",)
    assert config.sources["shop_orders"].primary_key == ()
    file = tmp_path / "tycostream.yaml"
    file.write_text(made.stdout)
    checked = tycostream("check", "--config", str(file), "--json", DATABASE_URL=materialize.url)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    findings = json.loads(checked.stdout)
    assert any("Materialize v26.39.0" in finding["message"] for finding in findings)
    assert [f["subject"] for f in findings if not f["ok"]] == ["source shop_orders"], (
        "a warning: it has no key"
    )


def test_check_names_the_right_that_is_missing(materialize: RealMaterialize, tmp_path: Path) -> None:
    materialize.execute(ITEMS.format("guarded"), "CREATE ROLE reader")
    file = tmp_path / "tycostream.yaml"
    file.write_text(yaml(materialize, "guarded: {primary_key: id}").replace("materialize@", "reader@"))
    materialize.system("ALTER SYSTEM SET enable_rbac_checks = true")
    try:
        refused = tycostream("check", "--config", str(file))
        assert refused.returncode == 1, refused.stdout
        assert "GRANT" in refused.stdout
        materialize.system(
            "GRANT USAGE ON DATABASE materialize TO reader",
            "GRANT USAGE ON SCHEMA materialize.public TO reader",
            "GRANT USAGE ON CLUSTER quickstart TO reader",
            "GRANT SELECT ON materialize.public.guarded TO reader",
        )
        allowed = tycostream("check", "--config", str(file))
        assert allowed.returncode == 0, allowed.stdout
    finally:
        materialize.system("ALTER SYSTEM SET enable_rbac_checks = false")


def test_the_feed_of_these_tests_notices_mistakes() -> None:
    """The oracle itself: a row that comes twice, or an old row that nobody had, is an error."""

    def of(operation: str, row: Any, old: Any) -> dict[str, Any]:
        changes = [{"operation": operation, "row": row, "old": old}]
        return {"phase": "live", "cursor": None, "changes": changes}

    feed = Feed(("id",))
    feed.take(of("insert", {"id": 1}, None))
    with pytest.raises(AssertionError, match="no row comes twice"):
        feed.take(of("insert", {"id": 1}, None))
    with pytest.raises(AssertionError, match="the old row"):
        feed.take(of("delete", None, {"id": 1, "name": "x"}))
    with pytest.raises(KeyError):
        feed.take(of("delete", None, {"id": 2}))


def test_the_server_is_the_one_that_the_facts_were_read_from(materialize: RealMaterialize) -> None:
    with psycopg.connect(materialize.url) as connection:
        row = connection.execute("SELECT mz_version()").fetchone()
    assert row is not None
    assert str(row[0]).startswith("v26.39.0")

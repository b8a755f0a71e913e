"""The server over a real RisingWave: what engines.md says of it, seen through GraphQL. `make test-real` runs this."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import RealRisingWave
from tests.real.harness import Rows, following, serving
from tests.real.test_materialize import off, tycostream
from tycostream.config.load import loads
from tycostream.scalars import scalar_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ITEMS = "CREATE TABLE {} (id bigint PRIMARY KEY, name varchar)"
RETENTION_S = 60  # the least that we make


def yaml(server: RealRisingWave, sources: str, database: str = ", manage: true", more: str = "") -> str:
    """A configuration with one database."""
    return (
        f"databases: {{main: {{engine: risingwave, url: '{server.url}', reconnect_delay_max: 1s{database}}}}}\n"
        f"sources: {{{sources}}}\n{more}"
    )


def by_id(server: RealRisingWave, query: str) -> Rows:
    """What the database itself says, in a feed's shape: rows of (id, name)."""
    return {(int(id_ or 0),): {"id": int(id_ or 0), "name": name} for id_, name in server.rows(query)}


async def becomes(server: Any, query: str, wanted: Any, timeout_s: float = 60) -> None:
    """Wait until a query's answer is something."""
    found = None
    try:
        async with asyncio.timeout(timeout_s):
            while (found := await server.query(query)) != wanted:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{found} did not become {wanted}") from None


async def test_rows_come_change_and_go(risingwave: RealRisingWave) -> None:
    await off(
        risingwave.execute, ITEMS.format("crud"), "INSERT INTO crud VALUES (1, 'a'), (2, 'b'), (3, NULL)"
    )
    async with serving(yaml(risingwave, "crud: {}")) as server:
        await server.live()
        async with following(server, "crud", "id name") as client:
            await client.until(lambda feed: len(feed.rows) == 3)
            assert client.feed.phases[0] == "snapshot"
            for statement in (
                "INSERT INTO crud VALUES (4, 'd'), (5, 'e')",
                "UPDATE crud SET name = 'changed' WHERE id IN (1, 4)",
                "DELETE FROM crud WHERE id = 2",
                "INSERT INTO crud SELECT id + 100, name FROM crud",
                "DELETE FROM crud WHERE id > 100",
                "INSERT INTO crud SELECT n, 'many' FROM generate_series(1000, 4000) AS s(n)",
                "DELETE FROM crud WHERE id >= 1000",
            ):
                await off(risingwave.execute, statement)
                expected = await off(by_id, risingwave, "SELECT id, name FROM crud")
                await client.until(lambda feed, expected=expected: feed.rows == expected)  # type: ignore[misc]
            assert "update" in client.feed.operations
            data = await server.query('{ crud(where: {name: {_eq: "changed"}}, order_by: {id: asc}) { id } }')
            assert [row["id"] for row in data["crud"]] == [1, 4]
            assert await server.query("{ crud_by_pk(id: 3) { name } }") == {"crud_by_pk": {"name": None}}


async def test_rows_without_a_key_are_counted(risingwave: RealRisingWave) -> None:
    await off(
        risingwave.execute, "CREATE TABLE bag (word varchar)", "INSERT INTO bag VALUES ('a'), ('a'), ('b')"
    )
    async with serving(yaml(risingwave, "bag: {}")) as server:
        await server.live()
        await off(risingwave.execute, "INSERT INTO bag VALUES ('a')", "DELETE FROM bag WHERE word = 'b'")
        await becomes(server, "{ bag { word } }", {"bag": [{"word": "a"}] * 3})


# SQL type, a literal of it, and what GraphQL answers (with stringify_numbers).
TYPES: list[tuple[str, str, Any]] = [
    ("boolean", "true", True),
    ("smallint", "-32768", -32768),
    ("int", "2147483647", 2147483647),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("real", "1.5", 1.5),
    ("double precision", "'1e-7'", "1e-07"),
    ("double precision", "'NaN'", "NaN"),
    ("numeric", "1234567890.000000001", "1234567890.000000001"),
    ("varchar", "'q\"\\ é 😀'", 'q"\\ é 😀'),
    ("bytea", "'\\xff00'", "\\xff00"),
    ("date", "'2024-02-29'", "2024-02-29"),
    ("time", "'23:59:59.999999'", "23:59:59.999999"),
    ("timestamp", "'1970-01-01 00:00:00.123457'", "1970-01-01T00:00:00.123457"),
    ("timestamptz", "'2024-01-31 12:00:00+02'", "2024-01-31T10:00:00+00:00"),
    ("jsonb", "'{\"x\": true, \"y\": [1.5, null]}'", {"x": True, "y": [1.5, None]}),
    ("int[]", "ARRAY[1, 2]", "{1,2}"),
    ("struct<a int, b varchar>", "ROW(1, 'abc')", "(1,abc)"),
    ("map(varchar, int)", "MAP {'k': 1}", "{k:1}"),
]  # fmt: skip


async def test_every_type(risingwave: RealRisingWave) -> None:
    columns = ", ".join(f"c{n} {sql}" for n, (sql, _, _) in enumerate(TYPES))
    values = ", ".join(f"{literal}::{sql}" for sql, literal, _ in TYPES)
    nulls = ", ".join(["NULL"] * len(TYPES))
    await off(
        risingwave.execute,
        f"CREATE TABLE kinds (id int PRIMARY KEY, {columns})",
        f"INSERT INTO kinds VALUES (1, {values})",
        f"INSERT INTO kinds VALUES (2, {nulls})",
    )
    names = [f"c{n}" for n in range(len(TYPES))]
    wanted = {name: value for name, (_, _, value) in zip(names, TYPES, strict=True)}
    config = yaml(risingwave, "kinds: {}", more="server: {stringify_numbers: true}\n")
    async with serving(config) as server:
        await server.live()
        data = await server.query(f"{{ kinds(order_by: {{id: asc}}) {{ {' '.join(names)} }} }}")
        assert data["kinds"] == [wanted, dict.fromkeys(names)]
        # the same by the log's rows: a change, not a snapshot
        await off(risingwave.execute, f"INSERT INTO kinds VALUES (3, {values})")
        await becomes(server, f"{{ kinds_by_pk(id: 3) {{ {' '.join(names)} }} }}", {"kinds_by_pk": wanted})
    (texts,) = await off(risingwave.rows, f"SELECT {', '.join(names)} FROM kinds WHERE id = 1")
    for (sql, _, _), text in zip(TYPES, texts, strict=True):
        if sql.startswith(("struct", "map")):
            continue
        scalar = scalar_for(sql)
        cell = scalar.parse(text)
        assert scalar.parse(scalar.text(cell)) == cell, sql
        json.loads(scalar.json(cell), parse_constant=pytest.fail)


async def test_a_restart_is_a_pause_and_nothing_is_missed(risingwave: RealRisingWave) -> None:
    await off(risingwave.execute, ITEMS.format("lasting"), "INSERT INTO lasting VALUES (1, 'before')")
    async with serving(yaml(risingwave, "lasting: {}")) as server:
        await server.live()
        async with following(server, "lasting", "id name") as client:
            await client.until(lambda feed: len(feed.rows) == 1)
            await off(risingwave.execute, "INSERT INTO lasting VALUES (2, 'seen')")
            await client.until(lambda feed: len(feed.rows) == 2)
            restarting = asyncio.create_task(asyncio.to_thread(risingwave.restart))
            await server.until(lambda states: states["lasting"] != "live")
            assert (await server.query("{ lasting { id } }"))["lasting"], "queries are answered meanwhile"
            await restarting
            await off(risingwave.wait)
            await off(risingwave.execute, "UPDATE lasting SET name = 'after' WHERE id = 1")
            await client.until(lambda feed: feed.rows.get((1,), {}).get("name") == "after", 240)
            await server.live()
            assert client.feed.rows == await off(by_id, risingwave, "SELECT id, name FROM lasting")
            assert "reset" not in client.feed.phases
            assert client.feed.operations == ["insert", "update"], "what did not change was not told"


async def test_a_cursor_outlives_its_retention(risingwave: RealRisingWave) -> None:
    await off(risingwave.execute, ITEMS.format("quiet"), "INSERT INTO quiet VALUES (1, 'a')")
    async with serving(yaml(risingwave, "quiet: {}", f", manage: true, retention: {RETENTION_S}s")) as server:
        await server.live()

        def now() -> float:
            return float(risingwave.rows("SELECT extract(epoch FROM now())")[0][0] or 0)

        start = await off(now)
        async with following(server, "quiet", "id name") as client:
            await client.until(lambda feed: feed.cursor is not None)
            while await off(now) < start + 2 * RETENTION_S:  # the database's own time
                await asyncio.sleep(1)
                assert server.states() == {"quiet": "live"}
            await off(risingwave.execute, "INSERT INTO quiet VALUES (2, 'b')")
            await client.until(lambda feed: len(feed.rows) == 2)
            assert client.feed.operations == ["insert"]
            assert client.feed.phases == ["snapshot", "ready", "live"]


async def test_views_queries_and_fields_and_cleanup(risingwave: RealRisingWave, tmp_path: Path) -> None:
    await off(
        risingwave.execute,
        "CREATE TABLE sales (id int PRIMARY KEY, shop varchar, amount numeric)",
        "CREATE MATERIALIZED VIEW by_shop AS SELECT shop, sum(amount) AS total FROM sales GROUP BY shop",
        "CREATE SUBSCRIPTION by_shop_mine FROM by_shop WITH (retention = '1 hour')",
        "INSERT INTO sales VALUES (1, 'a', 5.50), (2, 'b', 20)",
    )
    sources = """
      by_shop: {subscription: by_shop_mine},
      doubled: {table: sales, fields: {twice: {sql: amount * 2, type: Numeric}}},
      counted: {query: "SELECT shop, count(*) AS n FROM sales GROUP BY shop; -- done", primary_key: shop}
    """
    config = yaml(risingwave, sources, more="name: views\n")
    file = tmp_path / "tycostream.yaml"
    file.write_text(config)
    async with serving(config) as server:
        await server.live()
        await off(risingwave.execute, "INSERT INTO sales VALUES (3, 'a', 10)")
        await becomes(
            server,
            "{ by_shop(order_by: {shop: asc}) { shop total } doubled(order_by: {id: asc}) { id twice }"
            ' counted(order_by: {shop: asc}) { shop n } by_shop_by_pk(shop: "a") { total } }',
            {
                "by_shop": [{"shop": "a", "total": 15.5}, {"shop": "b", "total": 20}],
                "doubled": [{"id": 1, "twice": 11}, {"id": 2, "twice": 40}, {"id": 3, "twice": 20}],
                "counted": [{"shop": "a", "n": 2}, {"shop": "b", "n": 1}],
                "by_shop_by_pk": {"total": 15.5},
            },
        )
        listed = await off(tycostream, "cleanup", "--config", str(file), "--json")
        made = json.loads(listed.stdout)
        assert sorted(one["kind"] for one in made) == ["materialized view"] * 2 + ["subscription"] * 2
        assert all(one["in_use"] for one in made)
    for statement in [one["sql"] for one in made]:  # what a person may run
        await off(risingwave.execute, statement)
    listed = await off(tycostream, "cleanup", "--config", str(file), "--json")
    assert json.loads(listed.stdout) == []
    kept = await off(risingwave.rows, "SELECT name FROM rw_catalog.rw_subscriptions")
    assert ("by_shop_mine",) in kept, "what is not ours stays"


async def test_columns_come_and_tables_are_made_anew(risingwave: RealRisingWave) -> None:
    await off(risingwave.execute, ITEMS.format("altered"), "INSERT INTO altered VALUES (1, 'a')")
    async with serving(yaml(risingwave, "altered: {}")) as server:
        await server.live()
        await off(
            risingwave.execute,
            "ALTER TABLE altered ADD COLUMN more int",
            "INSERT INTO altered VALUES (2, 'b', 7)",
        )
        async with asyncio.timeout(60):
            while "more" not in json.dumps(
                await server.query('{ __type(name: "altered") { fields { name } } }')
            ):
                await asyncio.sleep(0.1)
        await becomes(
            server,
            "{ altered(order_by: {id: asc}) { id more } }",
            {"altered": [{"id": 1, "more": None}, {"id": 2, "more": 7}]},
        )
        await off(risingwave.execute, "DROP TABLE altered CASCADE")
        await server.until(lambda states: states["altered"] == "failed", 120)
        await off(risingwave.execute, ITEMS.format("altered"), "INSERT INTO altered VALUES (9, 'new')")
        await server.until(lambda states: states["altered"] == "live", 120)
        assert await server.query("{ altered { id name } }") == {"altered": [{"id": 9, "name": "new"}]}


def test_init_and_check(risingwave: RealRisingWave, tmp_path: Path) -> None:
    risingwave.execute(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id int PRIMARY KEY, total numeric)",
        "CREATE MATERIALIZED VIEW shop.totals AS SELECT id % 10 AS bucket, sum(total) AS total FROM shop.orders GROUP BY id % 10",
    )
    made = tycostream(
        "init", "--database-url", risingwave.url, "--source", "shop.orders", "--source", "shop.totals"
    )
    assert made.returncode == 0, made.stderr
    config = loads(made.stdout, environ={"DATABASE_URL": risingwave.url})
    assert config.databases["main"].engine.value == "risingwave"
    assert config.sources["shop_orders"].primary_key == ("id",)
    assert config.sources["shop_totals"].primary_key == ("bucket",)
    file = tmp_path / "tycostream.yaml"
    file.write_text(made.stdout)
    checked = tycostream("check", "--config", str(file), "--json", DATABASE_URL=risingwave.url)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    findings = json.loads(checked.stdout)
    assert any("RisingWave 2.8.0" in finding["message"] for finding in findings)
    assert [f["subject"] for f in findings if not f["ok"]] == []
    assert not risingwave.rows(
        "SELECT name FROM rw_catalog.rw_subscriptions WHERE name LIKE 'tycostream%shop%'"
    ), "check makes nothing"

"""The catalogue answers the client's own SQL; SELECTs of tables; settings."""

from __future__ import annotations

import pytest

from tests.testing.feed import ask, connected, refused
from tests.testing.rw import INTERNAL, fails
from tycostream.testing.risingwave import FakeRisingWave

COLUMNS = """SELECT c.name, c.position, c.is_hidden, c.is_primary_key, c.is_nullable, c.data_type, c.type_oid
FROM rw_catalog.rw_columns c JOIN rw_catalog.rw_relations r ON r.id = c.relation_id
JOIN rw_catalog.rw_schemas s ON s.id = r.schema_id WHERE s.name = %s AND r.name = %s ORDER BY c.position"""


@pytest.fixture
def filled(rw: FakeRisingWave) -> FakeRisingWave:
    rw.create_table(
        "trades",
        {"id": "bigint", "desk": "text", "price": "numeric", "tags": "text[]"},
        key=("id", "desk"),
        schema="market",
        comment="what was traded",
        comments={"desk": "who traded"},
    )
    rw.create_materialized_view(
        "per_desk",
        {"desk": "text", "n": "bigint"},
        lambda tables: [(row[1], row[0]) for row in tables["market.trades"]],
        key=("desk",),
        hidden=True,
    )
    rw.create_table("kafka", {"v": "jsonb"}, kind="source")
    return rw


async def test_relations(filled: FakeRisingWave):
    async with connected(filled.url) as connection:
        assert await ask(
            connection,
            "SELECT s.name, r.name, r.relation_type FROM rw_relations r JOIN rw_schemas s ON s.id = r.schema_id "
            "ORDER BY s.name, r.name",
        ) == [
            ("market", "trades", "table"),
            ("public", "kafka", "source"),
            ("public", "per_desk", "materialized view"),
            ("public", "s", "subscription"),
            ("public", "t", "table"),
        ]
        assert await ask(
            connection,
            "SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'm') ORDER BY 1, 2",
        ) == [("market", "trades", "r"), ("public", "per_desk", "m"), ("public", "t", "r")]
        assert await ask(
            connection,
            "SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY 1, 2",
        ) == [
            ("market", "trades", "BASE TABLE"),
            ("public", "kafka", "SOURCE"),
            ("public", "per_desk", "MATERIALIZED VIEW"),
            ("public", "t", "BASE TABLE"),
        ]


async def test_columns_and_keys_hidden_ones_too(filled: FakeRisingWave):
    async with connected(filled.url) as connection:
        assert await ask(connection, COLUMNS, ("market", "trades")) == [
            ("id", 1, False, True, False, "bigint", 20),
            ("desk", 2, False, True, False, "character varying", 1043),
            ("price", 3, False, False, True, "numeric", 1700),
            ("tags", 4, False, False, True, "character varying[]", 1015),
        ]
        assert await ask(connection, COLUMNS, ("public", "per_desk")) == [
            (
                "desk",
                1,
                False,
                True,
                True,
                "character varying",
                1043,
            ),  # part of the key: not unique by itself
            ("n", 2, False, False, True, "bigint", 20),
            ("_row_id", 3, True, True, False, "serial", 20),
        ]
        assert await ask(
            connection,
            "SELECT r.relname, i.indkey, i.indisprimary FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid "
            "ORDER BY r.relname",
        ) == [("t", "1", True), ("trades", "1 2", True)], "no key of a materialized view"
        assert await ask(connection, "DESCRIBE per_desk") == [
            ("desk", "character varying", "false", None),
            ("n", "bigint", "false", None),
            ("_row_id", "serial", "true", None),
            ("primary key", "desk, _row_id", None, None),
            ("distribution key", "desk, _row_id", None, None),
        ]
        assert await ask(
            connection,
            "SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 'per_desk'",
        ) == [("desk",), ("n",)]


async def test_comments(filled: FakeRisingWave):
    async with connected(filled.url) as connection:
        found = await ask(
            connection,
            "SELECT objsubid, description FROM rw_catalog.rw_description d JOIN rw_tables t ON t.id = d.objoid "
            "WHERE t.name = 'trades' AND description IS NOT NULL ORDER BY objsubid",
        )
        assert found == [(None, "what was traded"), (2, "who traded")]
        assert await ask(
            connection,
            "SELECT obj_description(id), col_description(id, 2), col_description(id, 1) FROM rw_tables "
            "WHERE name = 'trades'",
        ) == [("what was traded", "who traded", None)]


async def test_subscriptions_by_their_definitions(filled: FakeRisingWave):
    async with connected(filled.url) as connection:
        made = "CREATE SUBSCRIPTION market.log FROM market.trades WITH (retention = '2 days')"
        await ask(connection, made)
        assert await ask(
            connection,
            "SELECT name, schema_name, retention_seconds, definition FROM rw_catalog.rw_subscriptions ORDER BY name",
        ) == [
            ("log", "market", 172_800, made),
            ("s", "public", 86_400, "CREATE SUBSCRIPTION s FROM t WITH (retention = '86400 s')"),
        ]


async def test_what_a_user_may_not_read_is_not_shown(filled: FakeRisingWave):
    filled.revoke("t")
    denied = "Permission denied: Do not have the privilege"
    async with connected(filled.url) as connection:
        assert await ask(connection, "SELECT name FROM rw_tables") == [("trades",)]
        assert await ask(connection, COLUMNS, ("public", "t")) == []
        for name, right in (
            ("'t'", False),
            ("'public.t'", False),
            ("'market.trades'", True),
            ("'nothing'", False),
        ):
            assert await ask(connection, f"SELECT has_table_privilege({name}, 'SELECT')") == [(right,)]
        await fails(connection, "SELECT * FROM t", INTERNAL, denied)
        await fails(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL", INTERNAL, denied)
        await fails(connection, "CREATE SUBSCRIPTION u FROM t WITH (retention = '1D')", INTERNAL, denied)
        filled.grant("t")
        filled.revoke("s")
        await fails(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s", INTERNAL, denied)
        assert await ask(connection, "SELECT name FROM rw_subscriptions") == []
        filled.grant("s")
        assert await ask(connection, "SELECT has_table_privilege('root', 't', 'SELECT')") == [(True,)]
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s FULL")


async def test_users(filled: FakeRisingWave):
    async with connected(filled.url, user="reader") as connection:
        assert await ask(connection, "SELECT current_user, current_database()") == [("reader", "dev")]
        assert await ask(connection, "SELECT name, is_super FROM rw_users ORDER BY id") == [
            ("root", True), ("postgres", True), ("reader", False),
        ]  # fmt: skip


async def test_selects_of_tables_views_and_registered_queries(filled: FakeRisingWave):
    filled.insert(
        "market.trades", ("2", "x", "1.50", "{a}"), ("1", "x", "2.00", None), ("1", "y", None, None)
    )
    filled.checkpoint()
    filled.register_query(
        "SELECT sum(price) AS total FROM market.trades", {"total": "numeric"}, lambda _: [("3.50",)]
    )
    filled.register_expression("price * 2", "numeric", lambda row: row["price"] and row["price"] + "!")
    async with connected(filled.url) as connection:
        assert await ask(connection, "SELECT desk, id FROM market.trades") == [("x", 1), ("y", 1), ("x", 2)]
        assert (
            await ask(connection, 'SELECT "id", (price * 2\n) AS "double" FROM market.trades LIMIT 0') == []
        )
        assert await ask(connection, "select SUM(price) as total from market.trades;") != []
        cursor = await connection.execute(
            b"SELECT * FROM (SELECT sum(price) AS total FROM market.trades) LIMIT 0"
        )
        assert cursor.description is not None
        assert [(column.name, column.type_code) for column in cursor.description] == [("total", 1700)]
        repeated = 'SELECT "desk", count(*) FROM "public"."per_desk" AS "source" GROUP BY "desk" HAVING count(*) > 1 LIMIT 1'
        assert await ask(connection, repeated) == [("x", 2)]
        code, text = await refused(connection, "SELECT nothing FROM t")
        assert (code, text.splitlines()[-1]) == ("42703", '  column "nothing" does not exist')
        missing = 'table or source "absent" does not exist'
        for sql in (
            "SELECT * FROM absent",
            "SELECT * FROM other.t.absent",
            "SELECT * FROM rw_catalog.absent",
        ):
            await fails(connection, sql, "42704", "Catalog error", missing)


async def test_settings(rw: FakeRisingWave):
    async with connected(rw.url) as connection:
        for name, value in (
            ("server_version", "13.14.0"), ("TimeZone", "UTC"), ("query_epoch", "0"), ("bytea_output", "hex"),
            ("client_encoding", "UTF8"), ("search_path", '"$user", public'),
        ):  # fmt: skip
            assert await ask(connection, f"SHOW {name}") == [(value,)]
        await ask(connection, "SET statement_timeout = 10")
        assert await ask(connection, "SHOW statement_timeout") == [("10",)]
        await ask(connection, "RESET statement_timeout")
        assert await ask(connection, "SHOW statement_timeout") == [("3600",)]
        await fails(
            connection, "SET nonsense = 1", "42704", 'unrecognized configuration parameter "nonsense"'
        )
        await fails(
            connection,
            "SET TimeZone = 'Europe/Berlin'",
            "22023",
            'invalid value for parameter "TimeZone": "Europe/Berlin"',
        )

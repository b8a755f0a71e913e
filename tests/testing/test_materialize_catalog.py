"""The catalogue runs the client's own SQL; settings; EXPLAIN."""

from __future__ import annotations

import asyncio

import pytest

from tests.testing.feed import ask, connected, feed, refused
from tycostream.testing.materialize import FakeMaterialize


@pytest.fixture
def filled(fake: FakeMaterialize) -> FakeMaterialize:
    fake.create_table(
        "trades",
        {"id": "bigint", "symbol": "text", "price": "numeric(10,2)", "at": "timestamptz", "tags": "text[]"},
        key=("id",),
        schema="market",
        comment="what was traded",
        comments={"symbol": "the instrument"},
    )
    fake.create_view("v", {"n": "bigint"}, lambda tables: [(str(len(tables["market.trades"])),)])
    return fake


async def test_objects_and_columns_by_real_sql(filled: FakeMaterialize):
    async with connected(filled.url) as connection:
        found = await ask(
            connection,
            """SELECT d.name, s.name, o.name, o.type FROM mz_catalog.mz_objects o
            JOIN mz_catalog.mz_schemas s ON s.id = o.schema_id
            LEFT JOIN mz_catalog.mz_databases d ON d.id = s.database_id
            WHERE (d.name = current_database() OR d.name IS NULL) AND o.id LIKE 'u%' ORDER BY s.name, o.name""",
        )
        assert found == [
            ("materialize", "market", "trades", "table"),
            ("materialize", "public", "t", "table"),
            ("materialize", "public", "v", "view"),
        ]
        cursor = await connection.execute(
            b"SELECT c.name, c.type, c.nullable, c.position, c.type_oid::int AS oid FROM mz_catalog.mz_columns c "
            b"JOIN mz_objects o ON o.id = c.id WHERE o.name = %s ORDER BY c.position",
            ["trades"],
        )
        assert cursor.description is not None
        assert [column.type_code for column in cursor.description] == [25, 25, 16, 16464, 26]
        assert await cursor.fetchall() == [
            ("id", "bigint", False, "1", 20),
            ("symbol", "text", True, "2", 25),
            ("price", "numeric", True, "3", 1700),
            ("at", "timestamp with time zone", True, "4", 1184),
            ("tags", "text[]", True, "5", 1009),
        ]
        assert await ask(
            connection, "SELECT t.oid, t.name FROM mz_types t WHERE t.oid IN (16, 1700) ORDER BY 1"
        ) == [
            (16, "bool"),
            (1700, "numeric"),
        ]
        comments = "SELECT object_sub_id, comment FROM mz_internal.mz_comments ORDER BY comment"
        assert await ask(connection, comments) == [(2, "the instrument"), (None, "what was traded")]
        assert await ask(connection, "SELECT r.name FROM mz_cluster_replicas r") == [("r1",)]
        assert await ask(
            connection,
            "SELECT o.name, r.name FROM mz_internal.mz_object_dependencies d "
            "JOIN mz_objects o ON o.id = d.object_id JOIN mz_objects r ON r.id = d.referenced_object_id",
        ) == [("v", "trades")]


async def test_the_catalogue_follows(filled: FakeMaterialize):
    count = "SELECT count(*) FROM mz_objects WHERE name = 'trades'"
    async with connected(filled.url) as connection:
        assert await ask(connection, count) == [(1,)]
        before = await ask(connection, "SELECT id FROM mz_objects WHERE name = 't'")
        filled.recreate("t")
        assert await ask(connection, "SELECT id FROM mz_objects WHERE name = 't'") != before
        filled.drop("market.trades")
        assert await ask(connection, count) == [(0,)]
        assert await ask(connection, "SELECT name FROM mz_objects WHERE name = 'v'") == [], (
            "what reads it goes too"
        )
        filled.retain_history("t", 60)
        kept = "SELECT h.value FROM mz_internal.mz_history_retention_strategies h JOIN mz_objects o ON o.id = h.id"
        assert await ask(connection, kept) == [(60000,)]
        async with feed(filled, "SUBSCRIBE t"):
            referenced = await ask(
                connection, "SELECT referenced_object_ids FROM mz_internal.mz_subscriptions"
            )
            ((object_id,),) = await ask(connection, "SELECT id FROM mz_objects WHERE name = 't'")
            assert referenced == [("{" + object_id + "}",)]
        filled.create_index("t_id", "t", ["id"])
        assert await ask(
            connection,
            "SELECT i.name, c.on_position FROM mz_indexes i JOIN mz_index_columns c ON c.index_id = i.id",
        ) == [("t_id", "1")]


async def test_functions(filled: FakeMaterialize):
    async with connected(filled.url) as connection:
        ((environment, version, database),) = await ask(
            connection, "SELECT mz_environment_id(), mz_version(), current_database()"
        )
        assert (environment, database) == (filled.environment_id, "materialize")
        assert version.startswith("v26.")
        ((now,),) = await ask(connection, "SELECT mz_now()")
        assert now == str(filled.upper - 1)
        ask_right = (
            "SELECT has_table_privilege('market.trades', 'SELECT') AS may, has_table_privilege('t', 'SELECT')"
        )
        filled.revoke("t")
        assert await ask(connection, ask_right) == [(True, False)]
        ((pid,),) = await ask(connection, "SELECT pg_backend_pid()")
        assert pid == connection.info.backend_pid
        assert await refused(connection, "SELECT nonsense()") == (
            "42883",
            'function "nonsense" does not exist',
        )
        assert (await refused(connection, "SELECT x FROM mz_objects"))[0] == "42703"
        assert (await refused(connection, "SELECT 1 FROM mz_catalog.mz_nope"))[0] == "42704"
        assert (await refused(connection, "SELECT FROM WHERE mz_objects"))[0] == "42601"


async def test_a_select_describes_and_reads(filled: FakeMaterialize):
    filled.register_expression("price * 2", "numeric", lambda row: str(float(row["price"] or 0) * 2))
    filled.insert("market.trades", ("1", "AB\tC\\", "2.50", "2024-01-01 00:00:00+00", '{a,"b c"}'))
    async with connected(filled.url) as connection:
        cursor = await connection.execute(
            b'SELECT "symbol", (price * 2\n) AS "twice", tags FROM "materialize"."market"."trades" AS "source" LIMIT 0'
        )
        assert cursor.description is not None
        assert [(c.name, c.type_code) for c in cursor.description] == [
            ("symbol", 25),
            ("twice", 1700),
            ("tags", 1009),
        ]
        assert await cursor.fetchall() == []
        rows = await ask(connection, 'SELECT symbol, tags FROM market.trades AS "source"')
        assert rows == [("AB\tC\\", ["a", "b c"])]
        assert await ask(connection, "SELECT * FROM (SELECT id AS i FROM market.trades) AS x LIMIT 1") == [
            (1,)
        ]
        assert await ask(connection, "SELECT n, 'x', 1 FROM v") == [(1, "x", 1)]
        unknown = (await refused(connection, "SELECT price + 1 FROM market.trades"))[1]
        assert "price + 1" in unknown
        assert "register" in unknown


async def test_users_may_call_their_columns_as_materialize_does(fake: FakeMaterialize):
    fake.create_table("odd", {"mz_timestamp": "text", "mz_diff": "integer"})
    at = fake.insert("odd", ("x", "3"))
    async with connected(fake.url) as connection:
        assert await ask(connection, 'SELECT "mz_timestamp", mz_diff FROM odd') == [("x", 3)]
    async with feed(fake, "SUBSCRIBE odd") as subscribed:
        assert await subscribed.row() == [str(at), "1", "x", "3"]


async def test_explain_tells_the_places_of_keys(filled: FakeMaterialize):
    head = "EXPLAIN OPTIMIZED PLAN WITH (keys) AS VERBOSE TEXT FOR "
    async with connected(filled.url) as connection:
        ((text,),) = await ask(connection, head + 'SELECT "symbol", "id" FROM market.trades AS "source"')
        assert text == 'Explained Query:\n  ReadStorage materialize.market.trades // { keys: "([1])" }\n'
        ((text,),) = await ask(connection, head + "SELECT symbol FROM market.trades")
        assert "keys" not in text


async def test_settings(fake: FakeMaterialize):
    async with connected(
        fake.url,
        options="-c timezone=UTC -c nonsense=1 --application_name=my\\ app -c intervalstyle=iso_8601",
    ) as connection:
        shown = {
            name: (await ask(connection, f"SHOW {name}"))[0][0]
            for name in [
                "timezone",
                "datestyle",
                "intervalstyle",
                "client_encoding",
                "cluster",
                "transaction_isolation",
            ]
        }
        assert shown == {
            "timezone": "UTC",
            "datestyle": "ISO, MDY",
            "intervalstyle": "postgres",
            "client_encoding": "UTF8",
            "cluster": "quickstart",
            "transaction_isolation": "strict serializable",
        }
        assert await ask(connection, "SHOW application_name") == [("my app",)]
        assert await refused(connection, "SHOW x") == ("42704", 'unrecognized configuration parameter "x"')
        assert (await refused(connection, "SET x = 1"))[0] == "42704"
        assert (await refused(connection, "SET IntervalStyle = 'iso_8601'"))[0] == "22023"
        await ask(connection, "SET max_result_size TO '1MB'")
        assert await ask(connection, "SHOW max_result_size") == [("1MB",)]
        await ask(connection, "RESET max_result_size")
        assert await ask(connection, "SHOW max_result_size") == [("1GB",)]
        await ask(connection, "SET application_name = 'other'")
        assert connection.info.parameter_status("application_name") == "other"


async def test_start_up_complains_of_settings_by_notices(fake: FakeMaterialize):
    url = fake.url.replace("/materialize?", "/elsewhere?")
    async with connected(url, options="-c nonsense=1") as connection:
        assert await ask(connection, "SELECT current_database()") == [("elsewhere",)]
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    body = b"\0\3\0\0user\0me\0database\0elsewhere\0options\0-c nonsense=1\0\0"
    writer.write((len(body) + 4).to_bytes(4, "big") + body)
    answer = await asyncio.wait_for(reader.readuntil(b"Z\0\0\0\5I"), 10)
    writer.close()
    assert b'startup setting nonsense not set: unrecognized configuration parameter "nonsense"' in answer
    assert b'session database "elsewhere" does not exist' in answer


async def test_several_statements_in_one_query(fake: FakeMaterialize):
    fake.insert("t", ("1", "a"))
    async with connected(fake.url) as connection:
        cursor = await connection.execute(b"SELECT 1; SHOW timezone; SELECT name FROM t;")
        found = [await cursor.fetchall()]
        while cursor.nextset():
            found.append(await cursor.fetchall())
        assert found == [[(1,)], [("UTC",)], [("a",)]]
        assert (await refused(connection, "SELECT 1; SELECT nope FROM t; SELECT 2"))[0] == "42703"
        assert "SELECT 2" not in fake.statements

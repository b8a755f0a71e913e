"""CREATE, ALTER and DROP of subscriptions and materialized views, and what views hold."""

from __future__ import annotations

import pytest

from tests.testing.feed import Connection, ask, connected
from tests.testing.rw import INTERNAL, fails, fetched
from tycostream.testing.risingwave import Contents, FakeRisingWave, Row


async def tag(connection: Connection, sql: str) -> str | None:
    return (await connection.execute(sql.encode())).statusmessage


async def test_a_subscription_is_made_altered_and_dropped(rw: FakeRisingWave):
    shown = "SELECT name, retention_seconds FROM rw_catalog.rw_subscriptions WHERE name <> 's'"
    async with connected(rw.url) as connection:
        made = await tag(connection, "CREATE SUBSCRIPTION log FROM t WITH (retention = '1D')")
        assert made == "CREATE_SUBSCRIPTION"
        await fails(
            connection,
            "CREATE SUBSCRIPTION log FROM t WITH (retention = '1D')",
            "42710",
            "Catalog error",
            "subscription with name log exists",
        )
        await ask(connection, "CREATE SUBSCRIPTION IF NOT EXISTS log FROM t WITH (retention = '2D')")
        assert await ask(connection, shown) == [("log", 86_400)]
        for text, seconds in (
            ("'2D'", 172_800),
            ("'90.9s'", 90),
            ("'01:00:00'", 3600),
            ("'1 week'", 604_800),
        ):
            await ask(connection, f"ALTER SUBSCRIPTION log SET RETENTION TO {text}")
            assert await ask(connection, shown) == [("log", seconds)]
        await ask(connection, "ALTER SUBSCRIPTION log SET RETENTION = '1 hour'")
        await ask(connection, "ALTER SUBSCRIPTION log RENAME TO journal")
        assert await ask(connection, shown) == [("journal", 3600)]
        assert await tag(connection, "DROP SUBSCRIPTION journal") == "DROP_SUBSCRIPTION"
        missing = ("42704", "Catalog error", 'subscription "journal" does not exist')
        await fails(connection, "DROP SUBSCRIPTION journal", *missing)
        await fails(connection, "ALTER SUBSCRIPTION journal SET RETENTION TO '1D'", *missing)
        await ask(connection, "DROP SUBSCRIPTION IF EXISTS journal")
        assert rw.subscriptions("t") == 1


async def test_what_cannot_be_subscribed_to(rw: FakeRisingWave):
    rw.create_table("kafka", {"v": "jsonb"}, kind="source")
    rw.create_table("v", {"v": "jsonb"}, kind="view")
    rw.create_table("other", {"v": "jsonb"}, schema="elsewhere")
    with_1d = "WITH (retention = '1D')"
    async with connected(rw.url) as connection:
        for name in ("kafka", "v", "nothing"):
            await fails(
                connection,
                f"CREATE SUBSCRIPTION x FROM {name} {with_1d}",
                "42704",
                "Catalog error",
                f'table "{name}" does not exist',
            )
        for sql in ("CREATE SUBSCRIPTION x FROM t", "CREATE SUBSCRIPTION x FROM t WITH (other = '1')"):
            await fails(connection, sql, INTERNAL, "internal error: Subscription retention time not set.")
        internal = "__internal_mv_3_streamscan_1003"
        await fails(
            connection,
            f"CREATE SUBSCRIPTION x FROM {internal} {with_1d}",
            INTERNAL,
            f'CREATE SUBSCRIPTION does not support internal table "{internal}"',
        )
        await fails(
            connection,
            f"CREATE SUBSCRIPTION x FROM elsewhere.other {with_1d}",
            INTERNAL,
            "internal error: subscription and its dependent table must be in the same database and schema",
        )
        await ask(connection, f"CREATE SUBSCRIPTION elsewhere.x FROM elsewhere.other {with_1d}")
        text = 'Convert interval to u64 error, please check format, error: "invalid input syntax for type interval: soon"'
        await fails(
            connection,
            "CREATE SUBSCRIPTION x FROM t WITH (retention = 'soon')",
            INTERNAL,
            f"internal error: {text}",
        )


async def test_a_view_of_a_registered_query_follows_its_tables(rw: FakeRisingWave):
    def largest(tables: Contents) -> list[Row]:
        names: dict[str | None, int] = {}
        for number, name in tables["t"]:
            names[name] = max(names.get(name, 0), int(number or 0))
        return [(name, str(number)) for name, number in names.items()]

    rw.register_query(
        "SELECT name, max(id) AS m FROM t GROUP BY name",
        {"name": "text", "m": "integer"},
        largest,
        key=("name",),
    )
    rw.insert("t", ("1", "a"), ("2", "a"), ("3", "b"))
    async with connected(rw.url) as connection:
        create = "CREATE MATERIALIZED VIEW m AS\nselect name, MAX(id) as m from t group by name"
        assert await tag(connection, create) == "CREATE_MATERIALIZED_VIEW"
        await fails(connection, create, "42710", "Catalog error", "materialized view with name m exists")
        await ask(connection, create.replace("VIEW m", "VIEW IF NOT EXISTS m"))
        await ask(connection, "CREATE SUBSCRIPTION ms FROM m WITH (retention = '1D')")
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR ms FULL")
        assert await fetched(connection) == [("a", 2, "Insert", None), ("b", 3, "Insert", None)]
        rw.transaction([("t", ("2", "a"), -1), ("t", ("3", "b"), -1), ("t", ("4", "c"), 1)])
        assert await fetched(connection) == []
        at = rw.checkpoint()
        assert await fetched(connection) == [
            ("a", 2, "UpdateDelete", at), ("a", 1, "UpdateInsert", at), ("b", 3, "Delete", at), ("c", 4, "Insert", at),
        ]  # fmt: skip
        assert await ask(connection, "SELECT definition FROM rw_materialized_views") == [(create,)]


async def test_views_of_views_and_their_drops(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"), ("2", "a"))
    async with connected(rw.url) as connection:
        await ask(
            connection, "CREATE MATERIALIZED VIEW names AS SELECT name FROM t"
        )  # without the key: a bag
        await ask(connection, 'CREATE MATERIALIZED VIEW "again" AS SELECT name AS n, 1 AS one FROM names')
        assert rw.rows("again") == {("a", "1"): 2}
        rw.update("t", ("1", "a"), ("1", "b"))
        rw.checkpoint()
        assert sorted(await ask(connection, "SELECT * FROM again")) == [("a", 1), ("b", 1)]
        await fails(
            connection,
            "DROP MATERIALIZED VIEW names",
            INTERNAL,
            "Permission denied: PermissionDenied: materialized view used by 1 other objects. \n"
            "DETAIL: materialized view public.again depends on it\n"
            "HINT: Use DROP ... CASCADE to drop the dependent objects too.",
        )
        await fails(connection, "DROP TABLE names", "42704", "Catalog error", 'table "names" does not exist')
        await ask(connection, "CREATE SUBSCRIPTION gone FROM again WITH (retention = '1D')")
        assert await tag(connection, "DROP MATERIALIZED VIEW names CASCADE") == "DROP_MATERIALIZED_VIEW"
        await ask(connection, "DROP MATERIALIZED VIEW IF EXISTS names")
        assert await ask(connection, "SELECT name FROM rw_relations ORDER BY 1") == [("s",), ("t",)]
        await fails(
            connection,
            "CREATE MATERIALIZED VIEW x AS SELECT * FROM names",
            "42704",
            "Catalog error",
            'table or source "names" does not exist',
        )


async def test_a_view_whose_key_is_part_hidden(rw: FakeRisingWave):
    rw.create_materialized_view(
        "m",
        {"name": "text", "id": "integer"},
        lambda tables: [(b, a) for a, b in tables["t"]],
        key=("name",),
        hidden=True,
    )
    rw.create_subscription("ms", "m")
    rw.insert("t", ("1", "a"), ("2", "a"))
    at = rw.checkpoint()
    async with connected(rw.url) as connection:
        await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR ms SINCE begin()")
        assert await fetched(connection) == [("a", 1, "Insert", at), ("a", 2, "Insert", at)]
    with pytest.raises(TypeError, match="m is a materialized view: it cannot be written to"):
        rw.insert("m", ("a", "1"))


async def test_a_keyed_view_that_repeats_its_key_is_a_mistake_of_the_test(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"), ("2", "a"))
    with pytest.raises(ValueError, match=r"public\.m has rows with one key"):
        rw.create_materialized_view(
            "m", {"name": "text"}, lambda tables: [(b,) for _, b in tables["t"]], key=("name",)
        )


async def test_a_table_that_is_made_again(rw: FakeRisingWave):
    rw.insert("t", ("1", "a"))
    async with connected(rw.url) as connection:
        ((old,),) = await ask(connection, "SELECT id FROM rw_tables")
        rw.recreate("t", {"id": "bigint"})
        ((new, definition),) = await ask(connection, "SELECT id, definition FROM rw_tables")
        assert new > old
        assert definition == "CREATE TABLE t (id bigint, PRIMARY KEY (id))"
        assert rw.rows("t") == {}
        assert rw.subscriptions() == 0


async def test_an_older_version():
    rw = FakeRisingWave(checkpoint_s=None, version="2.5.1")
    rw.create_table("t", {"id": "integer"}, key=("id",))
    rw.create_subscription("s", "t", retention_s=60)
    await rw.start()
    try:
        async with connected(rw.url) as connection:
            assert await ask(connection, "SELECT version()") == [("PostgreSQL 13.14.0-RisingWave-2.5.1",)]
            cursor = await connection.execute(b"SELECT * FROM rw_catalog.rw_subscriptions")
            names = [column.name for column in cursor.description or ()]
            ((*_, definition, _, _, _, _, _),) = await cursor.fetchall()
            assert names[:6] == ["id", "name", "schema_id", "owner", "definition", "acl"]
            assert definition == "CREATE SUBSCRIPTION s FROM t WITH (retention = '60 s')"
            await fails(
                connection,
                "ALTER SUBSCRIPTION s SET RETENTION TO '1D'",
                INTERNAL,
                "sql parser error: the fake cannot read this SQL near 'set retention'",
            )
            await ask(connection, "DECLARE c SUBSCRIPTION CURSOR FOR s")
            cursor = await connection.execute(b"SHOW SUBSCRIPTION CURSORS")
            assert [column.name for column in cursor.description or ()] == [
                "Session Id", "User", "Host", "Database", "Cursor Name", "Subscription Name", "State",
                "Idle Duration Ms",
            ]  # fmt: skip
            assert len(await cursor.fetchall()) == 1
    finally:
        await rw.stop()

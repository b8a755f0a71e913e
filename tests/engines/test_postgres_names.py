"""Names and values of every kind, through the snapshot and the stream."""

from __future__ import annotations

import secrets

import psycopg
import pytest

from tests.conftest import PostgresServer
from tests.engines.stream_contract import Follower
from tests.engines.test_postgres import db, engine, engine_of, source
from tycostream.config.table_name import written
from tycostream.engines.names import quoted
from tycostream.rows import UNCHANGED

__all__ = ["db", "engine"]  # fixtures


@pytest.mark.parametrize(
    "names",
    [
        ("public", "odd.name", "a.b"),
        ("el.se", 'with "quotes"', 'a "b"'),
        ("Ünï", "Größe 🦀", "🦀"),
        ("SELECT", "user", "order"),
        ("x" * 63, "y" * 63, "z" * 63),
        ("a'b", "%s {c} \\", "%d {0} \\n"),
    ],
    ids=["dots", "quotes", "unicode", "words", "long", "other signs"],
)
async def test_names_of_every_kind(engine, db, names: tuple[str, str, str]) -> None:
    schema, name, column = names
    table = quoted(schema, name)
    await db.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}".encode())
    await db.execute(f"CREATE TABLE {table} ({quoted(column)} int PRIMARY KEY, v text)".encode())
    await db.execute(f"INSERT INTO {table} VALUES (1, 'x')".encode())
    config = source("s", table=written(schema, name))
    row_type = await engine.describe(config)
    assert [c.name for c in row_type.columns] == [column, "v"]
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, config)
    await f.until(lambda: f.rows["s"] == {1: (1, "x")})
    await db.execute(f"INSERT INTO {table} VALUES (2, 'y')".encode())
    await db.execute(f"UPDATE {table} SET {quoted(column)} = 3 WHERE {quoted(column)} = 1".encode())
    await f.until(lambda: f.rows["s"] == {3: (3, "x"), 2: (2, "y")})
    assert [found for found in await engine.check([config]) if not found.ok and found.fatal] == []
    await db.execute(f"ALTER TABLE {table} REPLICA IDENTITY NOTHING".encode())
    hints = [found.hint for found in await engine.check([config]) if not found.ok and found.fatal]
    await db.execute(hints[0].partition(" (")[0].encode())  # what is printed can be run as it stands
    assert [found for found in await engine.check([config]) if not found.ok and found.fatal] == []
    await engine.close()


async def test_a_value_of_50_megabytes_and_one_that_did_not_change(engine, db) -> None:
    await db.execute("CREATE TABLE a (id int PRIMARY KEY, n int, v text)")
    large = "0123456789abcde\n" * (50 * 2**16)
    await db.execute("INSERT INTO a VALUES (1, 1, repeat(%s, %s))", ["0123456789abcde\n", 50 * 2**16])
    config = source("a")
    row_type = await engine.describe(config)
    f = Follower(await engine.open(), row_type)
    await f.stream.add(row_type, config)
    await f.until(lambda: "a" in f.snapshots)
    assert f.rows["a"][1] == (1, 1, large)
    await db.execute("UPDATE a SET n = 2")
    await f.until(lambda: bool(f.batches))
    assert f.batches[0].changes["a"][0].new == (1, 2, UNCHANGED)
    await db.execute("INSERT INTO a SELECT 2, 2, v || 'é' FROM a")
    await f.until(lambda: 2 in f.rows["a"])
    assert f.rows["a"][2] == (2, 2, large + "é")
    await engine.close()


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1251", "EUC_JP"])
async def test_a_database_with_another_encoding(postgres: PostgresServer, encoding: str) -> None:
    name, text = (
        f"enc_{secrets.token_hex(4)}",
        {"LATIN1": "Größe", "WIN1251": "тест", "EUC_JP": "日本"}[encoding],
    )
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as admin:
        await admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'".encode()
        )
        engine = engine_of(postgres.url_of(name))
        try:
            async with await psycopg.AsyncConnection.connect(postgres.url_of(name), autocommit=True) as db:
                await db.execute("SET client_encoding = 'UTF8'")
                await db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
                await db.execute("INSERT INTO a VALUES (1, %s)", [text])
                row_type = await engine.describe(source("a"))
                f = Follower(await engine.open(), row_type)
                await f.stream.add(row_type, source("a"))
                await f.until(lambda: f.rows["a"] == {1: (1, text)})
                await db.execute("UPDATE a SET v = v || v")
                await f.until(lambda: f.rows["a"] == {1: (1, text * 2)})
                await f.stream.close()
                query = "SELECT 1 FROM pg_replication_slots WHERE database = current_database()"
                while await (await db.execute(query)).fetchone() is not None:
                    pass
        finally:
            await engine.close()
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

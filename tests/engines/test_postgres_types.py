"""Every type through the real thing: a table of all of them, read by COPY and followed by replication."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.engines.stream_contract import Follower
from tests.engines.test_postgres import engine_of, source
from tests.scalar_cases import CASES
from tycostream.engines.postgres import PostgresEngine

SETTINGS = "SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; SET extra_float_digits = 3"


@pytest.fixture
async def engine(database: str) -> AsyncIterator[PostgresEngine]:
    engine = engine_of(database)
    yield engine
    await engine.close()


@pytest.fixture
async def db(database: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(SETTINGS.encode())
        yield connection


async def test_every_type_is_copied_and_followed(
    engine: PostgresEngine, db: psycopg.AsyncConnection[Any]
) -> None:
    names, columns = list(CASES), []
    for name, case in CASES.items():
        if case.extension:
            await db.execute(f"CREATE EXTENSION {case.extension}".encode())
        sql_type = "bit varying" if case.cast == "varbit" else name
        columns += [f"c_{name} {sql_type}", f"a_{name} {sql_type}[]"]
    await db.execute(f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(columns)})".encode())
    length = max(len(case.samples) for case in CASES.values())

    async def fill(first: int, last: int) -> None:
        for i in range(first, last):
            samples = [CASES[name].samples[i % len(CASES[name].samples)] for name in names]
            parts = [f"%s::text::{CASES[name].cast or name}" for name in names]
            arrays = [f"ARRAY[{part}, NULL]" for part in parts]
            values = ", ".join(f"{one}, {many}" for one, many in zip(parts, arrays, strict=True))
            doubled = [sample for sample in samples for _ in "ca"]
            await db.execute(f"INSERT INTO t VALUES ({i}, {values})".encode(), doubled)

    await fill(0, length // 2)
    row_type = await engine.describe(source("t"))
    follower = Follower(await engine.open(), row_type)
    await follower.stream.add(row_type, source("t"))
    await follower.until(lambda: len(follower.rows["t"]) == length // 2)
    await fill(length // 2, length)
    await follower.until(lambda: len(follower.rows["t"]) == length)
    texts = ", ".join(f"format('%s', \"{column.name}\")" for column in row_type.columns)
    served = await (await db.execute(f"SELECT {texts} FROM t".encode())).fetchall()
    for row in served:
        mine = follower.rows["t"][int(row[0])]
        assert list(row) == [column.scalar.text(c) for column, c in zip(row_type.columns, mine, strict=True)]
    assert [c.scalar.name for c in row_type.columns[1::2]] == [CASES[n].cast or n for n in names]


async def test_domains_are_their_base_and_enums_keep_their_labels_in_arrays(
    engine: PostgresEngine, db: psycopg.AsyncConnection[Any]
) -> None:
    await db.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    for domain in (
        "d1 AS numeric(10,2)",
        "d2 AS d1 CHECK (value > 0)",
        "numbers AS int[]",
        "feeling AS mood",
    ):
        await db.execute(f"CREATE DOMAIN {domain}".encode())
    await db.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a d1, b d2[], c numbers, d feeling, e mood[], f feeling[], g numbers[])"
    )
    await db.execute(
        "INSERT INTO t VALUES (1, 1.5, '{2}', '{1}', 'glad', '{glad,sad}', '{sad}', ARRAY['{1}'::numbers])"
    )
    row_type = await engine.describe(source("t"))
    assert [c.scalar.graphql for c in row_type.columns[1:]] == [
        "numeric", "[numeric!]", "[Int!]", "mood", "[mood!]", "[mood!]", "[numbers!]",
    ]  # fmt: skip
    follower = Follower(await engine.open(), row_type)
    await follower.stream.add(row_type, source("t"))
    await follower.until(lambda: bool(follower.rows["t"]))
    row = follower.rows["t"][1]
    assert [c.scalar.json(cell) for c, cell in zip(row_type.columns, row, strict=True)] == [
        "1", "1.50", "[2.00]", "[1]", '"glad"', '["glad","sad"]', '["sad"]', '["{1}"]',
    ]  # fmt: skip

"""The whole path against PostgreSQL's own SELECT: engine, feed, hub and GraphQL over a real database."""

from __future__ import annotations

from typing import Any, NoReturn

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.oracle.clients import Question
from tests.oracle.history import History
from tests.oracle.shapes import (
    DOCUMENTS,
    FURTHER,
    ORDERS,
    PATTERNS,
    POOLS,
    SIGNS,
    TEXT_PATTERNS,
    Table,
    Where,
    graphql_value,
    insert_sql,
)
from tests.oracle.world import World

# The database is shared by the histories of one test: each has a schema, a publication and an App of its own.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
STEPS = ["tx", "tx", "tx", "unsettled", "unsettled", "join", "join", "leave", "back", "check"]


async def steps(
    data: st.DataObject, world: History[Any], most: int, kinds: list[str], least: int = 2
) -> None:
    """Clients join, random steps of these kinds are taken, and in the end all is right."""
    for _ in range(data.draw(st.integers(3, 6), label="clients")):
        await world.join()
    for _ in range(data.draw(st.integers(least, most), label="steps")):
        match data.draw(st.sampled_from(kinds), label="step"):
            case "tx":
                await world.transaction(settle=True)
                await world.check()
            case "unsettled":  # what follows meets it wherever it is
                await world.transaction(settle=False)
            case "join":
                await world.join()
            case "leave":
                world.leave()
            case "back":
                world.come_back()
            case "cut":
                await world.cut()
            case "check":
                await world.check()
            case "alter":
                await world.alter()
    world.come_back()
    await world.check()


async def run(data: st.DataObject, url: str, most: int, kinds: list[str]) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET timezone = 'UTC'")
        world = World(data.draw, connection, url)
        world.draw_tables()
        log_bytes = data.draw(st.sampled_from([1, 2000, 64 * 2**20]), label="log")
        async with world.running(world.fill, log_bytes):
            await steps(data, world, most, kinds)


@pytest.mark.timeout(120)
@settings(max_examples=25, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
async def test_clients_show_what_the_database_says(database: str, data: st.DataObject) -> None:
    await run(data, database, 10, STEPS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=120, suppress_health_check=SHARED)
@given(data=st.data())
async def test_clients_show_what_the_database_says_for_long(database: str, data: st.DataObject) -> None:
    await run(data, database, 40, [*STEPS, *STEPS, "cut"])


def _nothing(*_: object, **__: object) -> NoReturn:
    raise AssertionError("nothing is left to chance here")


async def test_every_operator_and_order_of_every_type(database: str) -> None:
    """Not left to chance: every pair of values, every operator, as it is and negated, and every direction."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("SET timezone = 'UTC'")
        world = World(_nothing, connection, database)
        for i, sql_type in enumerate(sorted(POOLS)):
            world.tables.append(Table(f"t{i}", {"id": "integer", "c": sql_type}, ("id",), False))

        async def fill() -> None:
            for table in world.tables:
                values = [*table.values("c"), None, None]
                made = [[str(i), value] for i, value in enumerate(values)]
                await world.execute(insert_sql(made, table, world.schema))

        async with world.running(fill, 2**20):
            for table in world.tables:
                sql_type = table.columns["c"]
                constants = [graphql_value(value, sql_type) for value in table.constants("c")]
                conditions: list[Where] = [{operator: value} for operator in SIGNS for value in constants]
                lists = [constants[:n] for n in range(3)]
                conditions += [{operator: many} for operator in ("_in", "_nin") for many in lists]
                conditions += [{"_is_null": is_null} for is_null in (True, False)]
                further = FURTHER.get(sql_type, ())
                conditions += [{op: text} for op in PATTERNS if op in further for text in TEXT_PATTERNS]
                conditions += [{op: value} for op in DOCUMENTS if op in further for value in constants]
                for condition in conditions:
                    where: Where = {"c": condition}
                    for each in (where, {"_not": where}, {"_not": {"_not": where}}):
                        await world.answer(Question(table, ("id",), each))
                for direction in ORDERS:
                    for limit, offset in [(None, 0), (2, 0), (3, 2)]:
                        order = [("c", direction)]
                        await world.answer(Question(table, ("id", "c"), {}, order, limit, offset))

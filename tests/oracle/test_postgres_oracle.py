"""The whole path against PostgreSQL's own SELECT: engine, feed, hub and GraphQL over a real database."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.oracle.world import World

# The database is shared by the histories of one test: each has a schema, a publication and an App of its own.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
STEPS = ["tx", "tx", "tx", "unsettled", "unsettled", "join", "join", "leave", "back", "check"]


async def run(data: st.DataObject, url: str, steps: int, kinds: list[str]) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET timezone = 'UTC'")
        world = World(data, connection, url)
        async with world.running():
            for _ in range(data.draw(st.integers(3, 6), label="clients")):
                world.join()
            for _ in range(data.draw(st.integers(2, steps), label="steps")):
                match data.draw(st.sampled_from(kinds), label="step"):
                    case "tx":
                        await world.transaction(settle=True)
                        await world.check()
                    case "unsettled":  # what follows meets it wherever it is
                        await world.transaction(settle=False)
                    case "join":
                        world.join()
                    case "leave":
                        world.leave()
                    case "back":
                        world.come_back()
                    case "cut":
                        await world.cut()
                    case "check":
                        await world.check()
            world.come_back()
            await world.check()


@pytest.mark.timeout(120)
@settings(max_examples=40, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
async def test_clients_show_what_the_database_says(database: str, data: st.DataObject) -> None:
    await run(data, database, 10, STEPS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=250, suppress_health_check=SHARED)
@given(data=st.data())
async def test_clients_show_what_the_database_says_for_long(database: str, data: st.DataObject) -> None:
    await run(data, database, 40, [*STEPS, *STEPS, "cut"])

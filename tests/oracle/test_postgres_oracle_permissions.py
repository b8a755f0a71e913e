"""What a role sees against PostgreSQL's own SELECT with the condition of its permission: no row more, and none less."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.oracle.entitled import EntitledWorld
from tests.oracle.test_postgres_oracle import SHARED, steps

STEPS = [
    "tx",
    "tx",
    "tx",
    "unsettled",
    "unsettled",
    "alter",
    "alter",
    "join",
    "join",
    "leave",
    "back",
    "check",
]


async def run(data: st.DataObject, url: str, most: int, kinds: list[str]) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET timezone = 'UTC'")
        world = EntitledWorld(data.draw, connection, url)
        world.draw_tables()
        world.draw_permits()
        log_bytes = data.draw(st.sampled_from([1, 2000, 64 * 2**20]), label="log")
        async with world.running(world.fill, log_bytes):
            await steps(data, world, most, kinds)


@pytest.mark.timeout(120)
@settings(max_examples=25, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
async def test_a_role_sees_what_the_database_says_it_may(database: str, data: st.DataObject) -> None:
    await run(data, database, 10, STEPS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=120, suppress_health_check=SHARED)
@given(data=st.data())
async def test_a_role_sees_what_the_database_says_it_may_for_long(database: str, data: st.DataObject) -> None:
    await run(data, database, 40, [*STEPS, *STEPS, "cut"])

"""Relationships against PostgreSQL's own SELECT: trees of tables, nested, filtered by, ordered by and aggregated."""

from __future__ import annotations

import asyncio
import contextlib
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.live.test_hub_oracle import SLICED
from tests.oracle.test_postgres_oracle import SHARED
from tests.oracle.tree_world import TreeWorld

STEPS = [*["tx"] * 12, "join", "join", "leave", "query", "time", "check", "check"]
TURNS = [*STEPS, *["turn"] * 14]


def run(data: st.DataObject, url: str, most: int) -> None:
    with psycopg.connect(url) as connection, contextlib.ExitStack() as stack:
        connection.execute("SET timezone = 'UTC'")
        sliced = data.draw(st.booleans(), label="sliced")
        for name, value in SLICED.items() if sliced else ():
            stack.enter_context(patch(name, value))
        try:
            asyncio.run(walk(data, connection, most, TURNS if sliced else STEPS))
        finally:
            connection.rollback()


async def walk(
    data: st.DataObject, connection: psycopg.Connection[object], most: int, kinds: list[str]
) -> None:
    world = TreeWorld(data.draw, connection, aggregates=False)
    for _ in range(data.draw(st.integers(2, 4), label="clients")):
        world.join()
    for _ in range(data.draw(st.integers(most // 2, most), label="steps")):
        match data.draw(st.sampled_from(kinds), label="step"):
            case "tx":
                world.transaction()
            case "join":
                world.join()
            case "leave":
                world.leave()
            case "query":
                world.ask()
            case "time":
                world.settle(1)
            case "turn":
                await world.turn()
            case "check":
                await world.check()
        await asyncio.sleep(0)
    await world.check()


@pytest.mark.timeout(240)
@settings(max_examples=40, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_clients_show_what_the_database_says_of_related_rows(database: str, data: st.DataObject) -> None:
    run(data, database, 16)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=600, suppress_health_check=SHARED)
@given(data=st.data())
def test_clients_show_what_the_database_says_of_related_rows_for_long(
    database: str, data: st.DataObject
) -> None:
    run(data, database, 30)

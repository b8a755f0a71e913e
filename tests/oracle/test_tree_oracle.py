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
from tests.oracle.test_postgres_oracle import SHARED, steps
from tests.oracle.test_postgres_oracle import STEPS as REPLICATED
from tests.oracle.tree_history import TreeHistory
from tests.oracle.tree_world import TreeWorld

STEPS = [
    *["tx"] * 20,
    *["unsettled"] * 6,
    "join",
    "join",
    "leave",
    "back",
    "query",
    "time",
    "check",
    "check",
    "lose",
    "mend",
]
TURNS = [*STEPS, *["unsettled"] * 14, *["turn"] * 30]


SMALL = {
    **SLICED,
    "tycostream.dataflow.aggregation.ROWS_PER_STEP": 2,
    "tycostream.dataflow.arrangement._LOOKED_UP_MAX": 1,
    "tycostream.dataflow.groups._AGGREGATES_MAX": 2,
    "tycostream.dataflow.groups._ENTRIES_MAX": 4,
    "tycostream.dataflow.view._EDITS_MAX": 2,
    "tycostream.dataflow.view._PLACES_MAX": 2,
    "tycostream.live.indexes._BYTES_MAX": 1,
    "tycostream.live.log_cohort.BROADCAST_CHANGES_MAX": 2,
    "tycostream.live.rendering._PASSES_MAX": 1,
    "tycostream.live.sight._ROWS_PER_STEP": 2,
    "tycostream.live.slices._DROPPED_PER_STEP": 2,
}


def run(data: st.DataObject, url: str, most: int) -> None:
    with psycopg.connect(url) as connection, contextlib.ExitStack() as stack:
        connection.execute("SET timezone = 'UTC'")
        names = sorted(SMALL)
        some = st.lists(st.sampled_from(names), min_size=1, unique=True)
        small = data.draw(st.one_of(st.just([]), st.just(names), some), label="small")
        for name in small:
            stack.enter_context(patch(name, SMALL[name]))
        try:
            asyncio.run(walk(data, connection, most, TURNS if small else STEPS))
        finally:
            connection.rollback()


async def walk(
    data: st.DataObject, connection: psycopg.Connection[object], most: int, kinds: list[str]
) -> None:
    world = TreeWorld(data.draw, connection)
    for _ in range(data.draw(st.integers(2, 4), label="clients")):
        world.join()
    for _ in range(data.draw(st.integers(most // 2, most), label="steps")):
        match data.draw(st.sampled_from(kinds), label="step"):
            case "tx":
                world.transaction()
                world.level()
            case "unsettled":  # what follows meets it before anybody was told
                world.transaction()
            case "join":
                world.join()
            case "leave":
                world.leave()
            case "back":
                world.come_back()
            case "query":
                world.ask()
            case "time":
                world.clock.advance(data.draw(st.sampled_from([1, 100, 400]), label="seconds"))
            case "turn":
                await world.turn()
            case "lose":
                await world.lose()
            case "mend":
                world.mend()
            case "check":
                await world.check()
        await asyncio.sleep(0)
    world.mend()
    world.come_back()
    await world.check()


@pytest.mark.timeout(240)
@settings(max_examples=40, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_clients_show_what_the_database_says_of_related_rows(database: str, data: st.DataObject) -> None:
    run(data, database, 40)


async def replicated(data: st.DataObject, url: str, most: int, kinds: list[str]) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET timezone = 'UTC'")
        history = TreeHistory(data.draw, connection, url)
        log_bytes = data.draw(st.sampled_from([1, 2000, 64 * 2**20]), label="log")
        async with history.running(history.fill, log_bytes):
            await steps(data, history, most, kinds)


@pytest.mark.timeout(240)
@settings(max_examples=5, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
async def test_related_rows_through_replication(database: str, data: st.DataObject) -> None:
    await replicated(data, database, 8, REPLICATED)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=30, suppress_health_check=SHARED)
@given(data=st.data())
async def test_related_rows_through_replication_for_long(database: str, data: st.DataObject) -> None:
    await replicated(data, database, 16, [*REPLICATED, *REPLICATED, "cut"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=150, suppress_health_check=SHARED)
@given(data=st.data())
def test_clients_show_what_the_database_says_of_related_rows_for_long(
    database: str, data: st.DataObject
) -> None:
    run(data, database, 60)

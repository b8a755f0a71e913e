"""Views, queries and custom fields against PostgreSQL's own SELECT: what is shown is always what it said, in its order."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.oracle.clients import Past, Question
from tests.oracle.ddl import AlteredWorld
from tests.oracle.shapes import Table
from tests.oracle.test_postgres_oracle import SHARED, STEPS, steps
from tests.oracle.world import World
from tycostream.engines.postgres import watch

ALTERED = [*["alter"] * 6, "tx", "tx", "unsettled", "unsettled", "join", "leave", "back", "check"]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is altered is looked for ten times a second, not every five seconds."""
    monkeypatch.setattr(watch, "_EVERY_S", 0.1)
    monkeypatch.setattr(watch, "_SOON_S", 0.02)


async def run(data: st.DataObject, url: str, most: int, kinds: list[str], of: type[World] = World) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET timezone = 'UTC'")
        world = of(data.draw, connection, url)
        world.draw_tables()
        world.draw_views(4)
        log_bytes = data.draw(st.sampled_from([1, 2000, 64 * 2**20]), label="log")
        async with world.running(world.fill, log_bytes):
            await steps(data, world, most, kinds, least=most // 2)
            if isinstance(world, AlteredWorld) and data.draw(st.integers(0, 2), label="broken"):
                await world.break_one()
                if world.tables:
                    await world.transaction(settle=True)
                await world.check()


@pytest.mark.timeout(120)
@settings(max_examples=6, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
async def test_what_is_computed_shows_what_the_database_says(database: str, data: st.DataObject) -> None:
    await run(data, database, 8, STEPS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=30, suppress_health_check=SHARED)
@given(data=st.data())
async def test_what_is_computed_shows_what_the_database_says_for_long(
    database: str, data: st.DataObject
) -> None:
    await run(data, database, 20, [*STEPS, *STEPS, "cut"])


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("hurried")
@settings(max_examples=6, suppress_health_check=SHARED, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
async def test_what_is_altered_shows_what_the_database_says(database: str, data: st.DataObject) -> None:
    await run(data, database, 12, ALTERED, AlteredWorld)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("hurried")
@settings(max_examples=25, suppress_health_check=SHARED)
@given(data=st.data())
async def test_what_is_altered_shows_what_the_database_says_for_long(
    database: str, data: st.DataObject
) -> None:
    await run(data, database, 20, [*ALTERED, "cut"], AlteredWorld)


def test_what_never_was_is_noticed() -> None:
    question = Question(Table("t", {"c": "integer"}, (), True), ("c",), {})
    past = Past([1], level=True)
    past.add([2])
    past.add([1])
    past.shown([1], question)
    past.shown([2], question)
    past.shown([1], question)
    for never in ([2], [3]):  # back again, and from nowhere
        with pytest.raises(AssertionError, match="never was"):
            past.shown(never, question)

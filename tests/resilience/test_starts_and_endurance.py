"""A database that is away when the App starts, a first snapshot that breaks off, and failure after failure."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.resilience.faults import MATERIALIZE, NETWORK, POSTGRES, fake, proxy
from tests.resilience.ledger import TABLES
from tests.resilience.risingwave import RISINGWAVE, RisingWaveUpstream
from tests.resilience.upstreams import MaterializeUpstream, PostgresUpstream, Upstream
from tests.resilience.world import CONNECT_S, MARGIN_S, STEP_S, Fault, World


def _upstream(kind: str, database: str, **options: bool) -> Upstream:
    if kind == "postgres":
        return PostgresUpstream(database, **options)
    return RisingWaveUpstream(**options) if kind == "risingwave" else MaterializeUpstream(kind, **options)


async def starts(world: World, *, hurt: str) -> None:
    """Hurt before the start: operations are told to wait, and go on as soon as the database is there.

    A first snapshot may lie in the past, as far back as there is history: there the tables were empty.
    """
    world.may_be_empty = True

    async def down(_: World) -> None:
        it = proxy(world)
        if hurt == "refused":
            it.refuse()
        elif hurt == "black hole":
            it.black_hole()
        else:
            it.cut_after(world.chance.randint(1, 4000))

    async with world.running(down=down):
        await world.written(5)
        if hurt != "cut":  # some connections get further than the snapshot
            assert not world.app.ready()[0]
            assert all(world.reasons[table] for table in TABLES) or hurt == "black hole"
            assert not any(client.shown for client in world.clients)
        proxy(world).heal()

        def started() -> bool:
            world.drain()  # a snapshot of a few transactions later is more than the slow ones' sockets hold
            return world.app.ready()[0] and all(client.shown for client in world.clients)

        await world.until(
            started,
            STEP_S + CONNECT_S + MARGIN_S,
            "started once the database is there",
        )
        await world.written(5)
        await world.settles()


@pytest.mark.slow
@pytest.mark.parametrize("hurt", ["refused", "black hole", "cut"])
@pytest.mark.parametrize("kind", ["source", "database", "postgres", "risingwave"])
async def test_down_at_the_start(kind: str, hurt: str, database: str) -> None:
    await starts(World(_upstream(kind, database, proxied=True)), hurt=hurt)


def _timers() -> int:
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return sum(not timer.cancelled() for timer in scheduled)


async def _endures(world: World, fault: Fault, times: int) -> None:
    """Failure after failure costs no memory: tasks, sockets, timers and log stay where they were."""
    async with world.running():
        await world.suffer(fault)
        tasks, files, timers = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), _timers()
        for _ in range(times):
            await world.suffer(fault)
        assert len(asyncio.all_tasks()) <= tasks + 2  # one being made, one ending
        assert len(os.listdir("/proc/self/fd")) <= files + 2
        # each failure of a source leaves at most its own wake-up, which is soon over
        assert _timers() <= timers + len(TABLES) * times + 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["source", "database", "postgres", "risingwave"])
async def test_failure_after_failure(kind: str, database: str) -> None:
    fault = {"postgres": POSTGRES, "risingwave": RISINGWAVE}.get(kind, MATERIALIZE)[0]
    await _endures(World(_upstream(kind, database)), fault, 10)


@pytest.mark.slow
async def test_one_source_is_lost_again_and_again() -> None:
    """What was lost is tried again within one backoff step, however often that happened before."""
    world = World(MaterializeUpstream("source"))
    async with world.running():
        for _ in range(6):
            await world.suffer(next(f for f in MATERIALIZE if f.name == "one source cut"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["source", "database", "postgres", "risingwave"])
async def test_a_day_of_all_kinds(kind: str, database: str) -> None:
    """Faults of the network in a random order, one after the other, over one App."""
    world = World(_upstream(kind, database, proxied=True))
    async with world.running():
        for fault in world.chance.sample([f for f in NETWORK if f.extra_s < CONNECT_S], 4):
            await world.suffer(fault)


@pytest.mark.slow
@pytest.mark.parametrize("consistency", ["source", "database"])
async def test_the_texts_of_older_servers(consistency: str) -> None:
    """Materialize said it in other words before March 2026 that history is gone."""
    upstream = MaterializeUpstream(consistency, old_compaction_text=True)
    world = World(upstream)
    async with world.running():
        await world.suffer(next(f for f in MATERIALIZE if f.name == "history compacted"))
        assert fake(world).connections > 0

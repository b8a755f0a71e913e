"""The quick core of the resilience suite: one fault of each kind. The whole matrix is slow, and runs in `make test-slow`."""

from __future__ import annotations

import pytest

from tests.resilience.faults import MATERIALIZE, NETWORK, POSTGRES
from tests.resilience.risingwave import RISINGWAVE, RisingWaveUpstream
from tests.resilience.test_starts_and_endurance import starts
from tests.resilience.upstreams import MaterializeUpstream, PostgresUpstream, Upstream
from tests.resilience.world import Fault, World


def named(faults: list[Fault], name: str) -> Fault:
    return next(fault for fault in faults if fault.name == name)


async def suffers(upstream: Upstream, fault: Fault) -> None:
    world = World(upstream)
    async with world.running():
        await world.suffer(fault)


@pytest.mark.parametrize("name", ["restart", "history compacted", "poisoned"])
async def test_materialize(name: str) -> None:
    await suffers(MaterializeUpstream("source"), named(MATERIALIZE, name))


@pytest.mark.parametrize("name", ["away for a while", "uneven progress"])
async def test_materialize_as_one(name: str) -> None:
    await suffers(MaterializeUpstream("database"), named(MATERIALIZE, name))


async def test_a_reset_connection_to_materialize() -> None:
    await suffers(MaterializeUpstream("source", proxied=True), named(NETWORK, "RST"))


async def test_postgres(database: str) -> None:
    await suffers(PostgresUpstream(database), named(POSTGRES, "backends terminated"))


@pytest.mark.parametrize("name", ["restart", "log recycled"])
async def test_risingwave(name: str) -> None:
    await suffers(RisingWaveUpstream(), named(RISINGWAVE, name))


async def test_down_at_the_start() -> None:
    await starts(World(MaterializeUpstream("source", proxied=True)), hurt="refused")

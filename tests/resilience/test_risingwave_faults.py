"""Everything that may happen to a RisingWave, under change feeds, live queries and queries, while writing goes on."""

from __future__ import annotations

import pytest

from tests.resilience.faults import NETWORK
from tests.resilience.risingwave import RISINGWAVE, ROTATED, RisingWaveUpstream
from tests.resilience.world import Fault, World


@pytest.mark.slow
@pytest.mark.parametrize("fault", RISINGWAVE, ids=lambda fault: fault.name)
async def test_risingwave(fault: Fault) -> None:
    world = World(RisingWaveUpstream())
    async with world.running():
        await world.suffer(fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", NETWORK, ids=lambda fault: fault.name)
async def test_the_network(fault: Fault) -> None:
    world = World(RisingWaveUpstream(proxied=True))
    async with world.running():
        await world.suffer(fault)


@pytest.mark.slow
async def test_a_rotated_password() -> None:
    world = World(RisingWaveUpstream(password="first"))
    async with world.running():
        await world.suffer(ROTATED)

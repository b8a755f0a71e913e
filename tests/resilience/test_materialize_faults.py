"""Everything that may happen to a Materialize, under change feeds, live queries and queries, while writing goes on."""

from __future__ import annotations

import pytest

from tests.resilience.faults import MATERIALIZE, NETWORK, ROTATED, STATEMENT_S, TIMED_OUT
from tests.resilience.upstreams import MaterializeUpstream
from tests.resilience.world import Fault, World


@pytest.mark.slow
@pytest.mark.parametrize("consistency", ["source", "database"])
@pytest.mark.parametrize("fault", MATERIALIZE, ids=lambda fault: fault.name)
async def test_materialize(fault: Fault, consistency: str) -> None:
    again = fault.ends != frozenset() and fault.tables != ("cash", "bonds")
    world = World(MaterializeUpstream(consistency), may_be_empty=again)
    async with world.running():
        await world.suffer(fault)


@pytest.mark.slow
@pytest.mark.parametrize("consistency", ["source", "database"])
@pytest.mark.parametrize("fault", NETWORK, ids=lambda fault: fault.name)
async def test_the_network(fault: Fault, consistency: str) -> None:
    world = World(MaterializeUpstream(consistency, proxied=True))
    async with world.running():
        await world.suffer(fault)


@pytest.mark.slow
async def test_a_rotated_password() -> None:
    world = World(MaterializeUpstream("source", password="first"))
    async with world.running():
        await world.suffer(ROTATED)


@pytest.mark.slow
@pytest.mark.parametrize("consistency", ["source", "database"])
async def test_a_statement_timeout(consistency: str) -> None:
    """The catalogue does not answer: an attempt ends after ``statement_timeout``, not with the patience of TCP."""
    world = World(
        MaterializeUpstream(consistency),
        database=f", statement_timeout: {STATEMENT_S}s",
    )
    async with world.running():
        await world.suffer(TIMED_OUT)

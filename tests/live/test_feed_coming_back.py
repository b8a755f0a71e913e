"""A source that failed and is tried again while the stream goes on: what the others are told does not hold for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.live.live_harness import ITEMS, Client, plan
from tests.live.supervision_harness import DENIED, LOST, World, made
from tycostream.errors import UpstreamError
from tycostream.graphql.plan import Mode
from tycostream.live.live_source import SourceState

__all__ = ["made"]  # a fixture


async def fails_and_is_described(world: World, error: UpstreamError) -> None:
    """``items`` fails, its next attempt is under way, and the others go on without it."""
    described = len(world.engine.described)
    world.engine.fail("items", error)
    await world.until(lambda: len(world.engine.described) > described, 0.1)
    world.engine.commit({"items": [(None, (3, 3, "c"))], "copies": [(None, (3, "c"))]})
    world.engine.progress()
    await world.until(lambda: world.feed.sources["copies"].position == world.engine.position)
    assert len(world.hub.sources["copies"].store.rows) == 1


@pytest.mark.parametrize(("error", "state"), [(LOST, SourceState.STALE), (DENIED, SourceState.FAILED)])
async def test_progress_of_all_is_not_that_of_a_source_which_is_only_described_again(
    made: Callable[..., World], error: UpstreamError, state: SourceState
) -> None:
    """Taken for live, it would be shown as it was before it failed beside others as they are now: half transactions."""
    world = made(shared=True)
    await world.live()
    stood = world.feed.sources["items"].position
    client = Client(world.hub, plan(ITEMS, Mode.LIST))
    gate = world.engine.hold("describe", "items")
    await fails_and_is_described(world, error)
    assert (world.state("items"), world.feed.sources["items"].position) == (state, stood)
    world.clock.run()
    client.read()
    assert client.stale is (state is SourceState.STALE)
    gate.set()
    await world.live()
    assert set(world.hub.sources["items"].store.rows) == {1, 2, 3}
    world.clock.run()
    client.read()
    assert not client.stale


async def test_a_connection_lost_meanwhile_is_resumed_where_the_source_failed(
    made: Callable[..., World],
) -> None:
    """Not where the others stood: what it had missed until then would be missing for ever."""
    world = made(shared=True)
    await world.live()
    stood = world.feed.sources["items"].position
    gate = world.engine.hold("describe", "items")
    await fails_and_is_described(world, LOST)
    world.engine.cut()
    gate.set()
    await world.until(lambda: world.engine.opened == 2, 0.1)
    await world.live()
    assert world.engine.adds("items")[-1][1] == stood
    assert set(world.hub.sources["items"].store.rows) == {1, 2, 3}

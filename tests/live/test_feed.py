"""A feed over a scripted upstream: first snapshot, batches, a cut and its net difference, failure and recovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.live.live_harness import COPIES, ITEMS, Client, plan
from tycostream.config.model import DatabaseConfig, LiveConfig, SourceConfig
from tycostream.errors import Action, UpstreamError
from tycostream.graphql.plan import Mode
from tycostream.live.cursor import CursorBox
from tycostream.live.feed import Feed, FeedState
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.observe.events import Event, FeedStateChanged
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import ScriptedEngine


class World:
    """A scripted database, its feed and its hub, on a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.engine = ScriptedEngine([ITEMS, COPIES])
        self.engine.tables["items"] = [(1, 1, "a"), (2, 2, "b")]
        self.events: list[Event] = []
        self.hub = Hub(self.clock, self.events.append, CursorBox(), outbox_bytes_max=1 << 20)
        sources = {r.source: SourceConfig(name=r.source) for r in (ITEMS, COPIES)}
        self.feed = Feed(
            "main",
            self.engine,
            sources,
            self.hub,
            self.clock,
            self.events.append,
            DatabaseConfig(url="postgresql://scripted"),
            lambda row_type: self.hub.add_source(row_type, LiveConfig()),
        )
        self.task = asyncio.create_task(self.feed.run())

    async def until(self, condition: Callable[[], bool], advance_s: float = 0.0) -> None:
        for _ in range(2000):
            if condition():
                return
            self.clock.advance(advance_s)
            await asyncio.sleep(0)
        raise AssertionError(f"never came true; the feed is {self.feed.state} {self.feed.reason}")

    async def live(self, advance_s: float = 0.0) -> None:
        await self.until(
            lambda: (
                len(self.hub.sources) == 2
                and all(s.state is SourceState.LIVE for s in self.hub.sources.values())
            ),
            advance_s=advance_s,
        )

    def states(self) -> list[str]:
        return [e.state for e in self.events if isinstance(e, FeedStateChanged) and e.source is None]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.until(lambda: len(world.hub.sources) == 2)
    yield world
    world.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await world.task


async def test_snapshot_then_transactions(world: World) -> None:
    client = Client(world.hub, plan(ITEMS, Mode.CHANGES))
    await world.live()
    world.engine.commit(
        {"items": [((1, 1, "a"), (1, 9, "a")), (None, (3, 3, "c"))], "copies": [(None, (1, "x"))]}
    )
    await world.until(lambda: len(world.hub.sources["items"].store.rows) == 3)
    world.clock.run()
    client.read()
    assert sorted(client.rows) == [[1, 9, "a"], [2, 2, "b"], [3, 3, "c"]]
    assert client.phases == ["snapshot", "ready", "live"]


async def test_a_cut_is_bridged_by_the_net_difference_only(world: World) -> None:
    feed = Client(world.hub, plan(ITEMS, Mode.CHANGES))
    query = Client(world.hub, plan(COPIES, Mode.LIST))
    await world.live()
    world.clock.run()
    world.engine.cut()
    await world.until(lambda: world.feed.state is FeedState.STALE)
    assert world.hub.sources["items"].state is SourceState.STALE
    assert await world.hub.query(plan(ITEMS, Mode.LIST))  # stale is readable
    world.engine.commit(
        {"items": [((1, 1, "a"), None), (None, (4, 4, "d"))], "copies": [(None, (5, "n"))] * 2}
    )
    world.engine.commit({"items": [((2, 2, "b"), (2, 3, "b"))]})
    world.engine.commit({"items": [((2, 3, "b"), (2, 2, "b"))]})
    await world.live(advance_s=0.1)
    world.clock.advance(1)
    feed.read()
    query.read()
    assert sorted(feed.rows) == [[2, 2, "b"], [4, 4, "d"]]
    assert query.shown == [[5, "n"], [5, "n"]]
    assert feed.phases[:2] == ["snapshot", "ready"]
    assert set(feed.phases[2:]) == {"live"}, "stale, the difference, fresh again: nobody starts anew"
    messages: list[Any] = feed.sink.messages()
    told = [message["next"]["data"]["root"] for message in messages]
    (resync,) = [value for value in told if value["resync"]]
    assert sorted(resync["changes"], key=repr) == [[None, [4, 4, "d"]], [[1, 1, "a"], None]], (
        "nothing of row 2"
    )
    assert world.states() == ["live", "stale", "resyncing", "live"]


async def test_an_upstream_that_refuses_is_tried_again_without_end(world: World) -> None:
    await world.live()
    world.engine.refuse = UpstreamError("connection-lost", "nobody there", action=Action.RETRY)
    world.engine.cut()
    for _ in range(300):
        world.clock.advance(10)
        await asyncio.sleep(0)
    assert world.feed.state is FeedState.STALE
    assert "nobody there" in world.feed.reason
    world.engine.refuse = None
    await world.live(advance_s=10)


async def test_what_only_a_person_can_mend_fails_and_heals(world: World) -> None:
    world.engine.refuse = UpstreamError(
        "wal-level", "wal_level is replica", action=Action.FAIL, hint="ALTER SYSTEM"
    )
    await world.until(lambda: world.feed.state is FeedState.FAILED or world.feed.state is FeedState.LIVE)
    world.engine.cut()
    await world.until(lambda: world.feed.state is FeedState.FAILED, advance_s=1)
    assert "ALTER SYSTEM" in world.feed.reason
    world.engine.refuse = None
    await world.live(advance_s=5)


async def test_truncate_empties_the_source(world: World) -> None:
    client = Client(world.hub, plan(ITEMS, Mode.CHANGES))
    await world.live()
    world.clock.run()
    world.engine.commit({"items": [(None, None), (None, (7, 7, "g"))]})
    await world.until(lambda: list(world.hub.sources["items"].store.rows) == [7])
    world.clock.run()
    client.read()
    assert client.rows == [[7, 7, "g"]]


async def test_a_source_that_starts_in_the_past_is_readable_and_said_to_be_old_until_it_has_caught_up() -> (
    None
):
    world = World()
    world.engine.asked_at = 3
    try:
        await world.until(lambda: world.feed.sources["items"].state is SourceState.STALE)
        assert "asked for" in str(world.feed.sources["items"].error)
        settled = [world.feed.settled]
        client = Client(world.hub, plan(ITEMS, Mode.CHANGES))
        world.clock.run()
        messages: list[Any] = client.sink.messages()
        assert messages[-1]["next"]["extensions"] == {"stale": True}
        for number in range(3, 6):
            world.engine.commit({"items": [(None, (number, 0, "x"))], "copies": [(None, (number, "x"))]})
        await world.live()
        settled.append(world.feed.settled)
        assert settled == [False, True]
        world.clock.run()
        client.read()
        assert len(client.rows) == 5
        later: list[Any] = client.sink.messages()
        assert later[-1]["next"].get("extensions") in (None, {"stale": False})
    finally:
        world.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await world.task

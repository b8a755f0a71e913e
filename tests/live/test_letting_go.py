"""What is dropped goes at once: the collector, which does not look at what is frozen, has nothing to do with it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.live_harness import ITEMS, Client, make_hub, plan
from tests.live.test_nested import PLANNER, World
from tycostream.auth.session import Session
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE
from tycostream.dataflow.view import View
from tycostream.graphql.plan import Mode, Plan
from tycostream.live.arrangements import _Name
from tycostream.live.feed_subscriber import FeedSubscriber
from tycostream.live.hub import Hub
from tycostream.live.rendering import LiveRoot, Rendering
from tycostream.rows import Batch, Change, Position
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import LineFraming, RecordingSink


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_a_rendering_given_up_halfway_is_freed() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.load("items", [(n, n, "x") for n in range(5000)], Position("l", 0, 1))
    operation = plan(ITEMS, Mode.LIST)
    root: Any = operation.roots[0]
    source = hub.sources["items"]
    arrangement = Arrangement(source.store, root.predicate)
    arrangement.hydrate()
    live = LiveRoot(root, source, root.encoder, View(arrangement))
    rendering = Rendering(operation, [live], {}, kept=False)
    assert not rendering.step()
    assert rendering._encoding.bytes > 0
    held = weakref.ref(rendering._encoding)
    del rendering
    assert held() is None


def test_a_feed_that_nobody_reads_is_freed() -> None:
    clock = FakeClock()
    hub = make_hub(clock, keep_bytes=1 << 24)
    hub.load("items", [(n, n, "x") for n in range(3000)], Position("l", 0, 1))
    feed = subscribed(hub, plan(ITEMS, Mode.CHANGES))
    assert isinstance(feed, FeedSubscriber)
    clock.run()
    hub.apply(Batch(Position("l", 0, 2), {"items": [Change(n, None, (n, -1, "y")) for n in range(3000)]}))
    clock.run()
    assert feed.cohort._nets  # the batch was told as a net
    cohort = weakref.ref(feed.cohort)
    feed.cancel()
    del feed
    clock.advance(3600)
    assert cohort() is None


def test_only_what_stays_is_kept_from_the_collector_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    monkeypatch.setattr(gc, "collect", lambda generation: done.append(f"collect {generation}"))
    clock = FakeClock()
    hub = make_hub(clock, keep_bytes=1 << 24)
    hub.load("items", [(n, n, "x") for n in range(20_000)], Position("l", 0, 1))
    assert done == ["collect 1", "freeze"]  # the store
    done.clear()
    client = Client(hub, plan(ITEMS, Mode.LIST, limit=1))
    clock.advance(5)
    assert done == ["collect 1", "freeze"]  # its view
    done.clear()
    hub.apply(Batch(Position("l", 0, 2), {"items": [Change(n, None, (n, -1, "y")) for n in range(8000)]}))
    clock.advance(5)
    client.read()
    assert client.shown == [[0, -1, "y"]]
    assert done == []  # sorted anew
    left = Client(hub, plan(ITEMS, Mode.LIST, limit=2))
    left.subscription.cancel()
    clock.advance(5)
    assert done == []  # nobody is left


def test_an_arrangement_and_its_readers_are_freed() -> None:
    clock = FakeClock()
    hub = make_hub(clock, keep_bytes=1 << 24)
    hub.load("items", [(n, n, "x") for n in range(5000)], Position("l", 0, 1))
    windows = [plan(ITEMS, Mode.LIST, order=(OrderBy(1),), limit=100, offset=at) for at in (0, 7)]
    subscriptions = [subscribed(hub, window) for window in windows]
    clock.run()
    hub.apply(Batch(Position("l", 0, 2), {"items": [Change(n, None, (n, -1, "y")) for n in range(1100)]}))
    clock.run()  # in slices
    held = [weakref.ref(hub.sources["items"].arrangements._known[_Name(TRUE, (OrderBy(1),))])]
    held += [weakref.ref(subscription.cohort) for subscription in subscriptions]
    while subscriptions:
        subscriptions.pop().cancel()
    clock.advance(61)
    assert held[0]() is not None
    assert [each() for each in held[1:]] == [None, None]
    clock.advance(61)
    assert held[0]() is None


SELECTED = "trades(where: {of: {n: {_gt: 0}}}) { id of { n } } trades_aggregate { aggregate { count } }"


def test_what_follows_related_rows_is_freed() -> None:
    world = World()
    live = PLANNER.plan(f"subscription {{ root: desks {{ id {SELECTED} }} }}", None, {}, Session())
    wanted = "phase changes { row { id } old { id } }"
    feed = f"subscription {{ root: trades_changes(where: {{of: {{n: {{_gt: 5}}}}}}) {{ {wanted} }} }}"
    query = subscribed(world.hub, live)
    follower = subscribed(world.hub, PLANNER.plan(feed, None, {}, Session()))
    world.clock.run()
    world.put(desks=(1, (1, 99)), trades=(12, (12, 2, 1)))
    fragments = query.cohort.roots[0].fragments
    held: list[Any] = [fragments, *fragments.branches, *world.hub._cohorts.sights.values()]
    for branch in fragments.branches:
        held += [branch._groups, branch._backlink, *branch._backlink._further]
    left = [weakref.ref(each) for each in (*held, query.cohort, follower.cohort)]
    assert len(left) == 11
    del fragments, held, branch
    query.cancel()
    follower.cancel()
    del query, follower
    world.clock.advance(3600)
    assert [each() for each in left if each() is not None] == []


def subscribed(hub: Hub, operation: Plan) -> Any:
    sink = RecordingSink()
    outbox = sink.outbox = hub.outbox(LineFraming(), sink)
    return hub.subscribe(operation, outbox, b"1", lambda: None)

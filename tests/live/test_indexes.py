"""Equality finds its rows: how many are touched, who waits for an index, and when it goes. Work is counted, not timed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.live.live_harness import ITEMS, Client, answer, make_hub, plan
from tests.live.test_slices import Counting
from tycostream.dataflow import index as index_module
from tycostream.dataflow.predicate import Compare, In
from tycostream.graphql.plan import Mode
from tycostream.live import indexes as indexes_module
from tycostream.live.change_chunks import ChangeChunks
from tycostream.live.hub import Hub
from tycostream.rows import Batch, Change, Position, Row

ROWS, TAGS = 10_000, 1000


@pytest.fixture
def clock() -> Counting:
    return Counting()


@pytest.fixture
def hub(clock: Counting) -> Hub:
    hub = make_hub(clock)
    hub.load("items", [(n, n, str(n % TAGS)) for n in range(ROWS)], Position("life", 0, 1))
    return hub


def by_tag(n: int) -> Compare:
    return Compare(2, "eq", str(n))


def put(hub: Hub, offset: int, row: Row) -> None:
    hub.apply(Batch(Position("life", 0, offset), {"items": [Change(row[0], None, row)]}))


def test_a_thousand_filters_touch_the_rows_they_find_and_no_others(
    hub: Hub, clock: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain = ChangeChunks.__init__

    def counting(self: ChangeChunks[Any], items: Any, *rest: Any, **more: Any) -> None:
        asked.append(len(items))
        plain(self, items, *rest, **more)

    monkeypatch.setattr(ChangeChunks, "__init__", counting)
    clients = [Client(hub, plan(ITEMS, Mode.CHANGES, by_tag(n))) for n in range(TAGS)]
    clock.run()
    for n, client in enumerate(clients):
        client.read()
        assert [row[0] for row in client.rows] == list(range(n, ROWS, TAGS))
    assert asked == [ROWS // TAGS] * TAGS
    assert clock.turns < TAGS / 8, "each has its snapshot within few turns of the connections"


def test_the_first_client_is_served_although_others_go_on_subscribing(hub: Hub, clock: Counting) -> None:
    first = Client(hub, plan(ITEMS, Mode.CHANGES, by_tag(0)))
    turns = 0
    while not first.sink.writes:
        Client(hub, plan(ITEMS, Mode.CHANGES, by_tag(1 + turns)))
        clock.one()
        turns += 1
    assert turns <= 2


def test_an_index_over_many_rows_is_made_in_slices(
    hub: Hub, clock: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "ROWS_PER_STEP", 100)
    feed, live = (Client(hub, plan(ITEMS, mode, by_tag(7))) for mode in (Mode.CHANGES, Mode.LIST))
    index = hub.sources["items"].store.indexes
    turns = 0
    while not (feed.sink.writes and live.sink.writes):
        clock.one()
        turns += 1
        if turns % 20 == 0:
            put(hub, 1 + turns, (7 + turns // 20 * TAGS, -1, "other"))
    assert index[(2,)].ready
    assert turns > ROWS // 100
    clock.run()
    for client in (feed, live):
        client.read()
    there = [row for row in hub.sources["items"].store.rows.values() if row[2] == "7"]
    assert 0 < len(there) < ROWS // TAGS
    assert sorted(row[0] for row in feed.rows) == sorted(row[0] for row in live.shown)
    assert sorted(row[0] for row in feed.rows) == sorted(row[0] for row in there)


async def test_queries_use_it_and_it_goes_when_nobody_asks(hub: Hub, clock: Counting) -> None:
    store = hub.sources["items"].store
    task = asyncio.ensure_future(hub.query(plan(ITEMS, Mode.LIST, by_tag(3))))
    while not task.done():
        clock.run()
        await asyncio.sleep(0)
    assert list(store.indexes) == [(2,)]
    two = In(2, frozenset(("4", "5")))
    assert len(answer(hub, plan(ITEMS, Mode.LIST, two))["data"]["root"]) == 2 * ROWS // TAGS
    client = Client(hub, plan(ITEMS, Mode.CHANGES, by_tag(3)))
    clock.advance(1000)
    assert list(store.indexes) == [(2,)], "a cohort still names a constant of the column"
    client.subscription.cancel()
    clock.advance(1000)
    assert not store.indexes


def test_few_rows_have_no_index_and_the_key_needs_none(clock: Counting) -> None:
    hub = make_hub(clock)
    hub.load("items", [(n, n, "x") for n in range(indexes_module.ROWS_MIN - 1)], Position("life", 0, 1))
    for predicate in (by_tag(1), Compare(0, "eq", 5)):
        client = Client(hub, plan(ITEMS, Mode.CHANGES, predicate))
        clock.run()
        client.read()
        assert client.phases[-1] == "ready"
    assert not hub.sources["items"].store.indexes


def test_indexes_are_bounded_in_bytes(hub: Hub, clock: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes_module, "_BYTES_MAX", 1000)
    composite = hub.sources["items"]
    for column, cell in ((2, "1"), (1, 5), (2, "1")):
        clock.advance(1)
        Client(hub, plan(ITEMS, Mode.CHANGES, Compare(column, "eq", cell)))
        clock.run()
    assert set(composite.store.indexes) == {(1,), (2,)}, "the last one is kept, and one more is begun"
    composite.indexes._make_room()
    assert set(composite.store.indexes) == {(2,)}

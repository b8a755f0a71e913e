"""Live queries whose sockets fill up, and whose rows change by the thousand: nothing is lost, nothing comes twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.live.live_harness import COPIES, ITEMS, Client, make_hub, plan
from tycostream.config.model import LiveConfig
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.hydration import Hydration
from tycostream.dataflow.predicate import Compare
from tycostream.dataflow.view import View
from tycostream.graphql.plan import Coalesce, Mode, Plan
from tycostream.live.live_source import SourceState
from tycostream.rows import Batch, Change, Position
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import LineFraming, RecordingSink


def batch(offset: int, rows: list[tuple[int, int, str]]) -> Batch:
    return Batch(Position("l", 0, offset), {"items": [Change(row[0], None, row) for row in rows]})


class Narrow(RecordingSink):
    """A socket that is full after every write."""

    def write(self, data: bytes) -> None:
        super().write(data)
        assert self.outbox is not None
        self.outbox.pause()


def test_equal_queries_on_one_socket_that_fills_up_both_get_the_result() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.load("items", [(n, n, "x") for n in range(5)], Position("l", 0, 1))
    sink = Narrow()
    outbox = sink.outbox = hub.outbox(LineFraming(), sink)
    for operation in (b"1", b"2"):
        hub.subscribe(plan(ITEMS, Mode.LIST), outbox, operation, lambda: None)

    def drained() -> list[dict[str, Any]]:
        for _ in range(8):
            clock.advance(1)
            outbox.resume()
        clock.run()
        return sink.messages()

    seen = len(drained())
    hub.apply(batch(2, [(0, 99, "new")]))
    told = {m["id"]: m["next"]["data"]["root"][0] for m in drained()[seen:]}
    assert told == {"1": [0, 99, "new"], "2": [0, 99, "new"]}


def test_a_batch_that_makes_one_root_start_anew_reaches_the_other_once() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.load("items", [(n, n, "x") for n in range(1500)], Position("l", 0, 1))
    everything = plan(ITEMS, Mode.LIST).roots[0]
    some = dataclasses.replace(plan(ITEMS, Mode.LIST, Compare(2, "eq", "y")).roots[0], response_key="second")
    client = Client(hub, Plan(True, (everything, some), "both", None))

    def second() -> object:
        clock.advance(5)
        messages: list[Any] = client.sink.messages()
        return messages[-1]["next"]["data"]["second"]

    assert second() == []
    hub.apply(batch(2, [(n, n, "y" if n < 3 else "z") for n in range(1500)]))
    assert second() == [[0, 0, "y"], [1, 1, "y"], [2, 2, "y"]]
    hub.apply(batch(3, [(n, n, "q") for n in range(3)]))
    assert second() == []


def test_who_joins_after_a_large_batch_never_sees_the_result_before_it() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.load("items", [(n, n, "x") for n in range(6000)], Position("l", 0, 1))
    first = Client(hub, plan(ITEMS, Mode.LIST, limit=2))
    clock.advance(5)
    hub.apply(batch(2, [(n, -1, "y") for n in range(3000)]))
    joiner = Client(hub, plan(ITEMS, Mode.LIST, limit=2))
    shown: list[Any] = []
    while not shown:
        clock._soon.popleft()()
        joiner.read()
        shown = joiner.shown or []
    assert shown == [[0, -1, "y"], [1, -1, "y"]]
    clock.advance(5)
    first.read()
    assert first.shown == shown


def test_staleness_is_told_at_once_to_a_paced_query_that_waits_with_news() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.load("items", [(1, 1, "x")], Position("l", 0, 1))
    client = Client(hub, plan(ITEMS, Mode.LIST, coalesce=Coalesce(60_000)))
    clock.run()
    hub.apply(batch(2, [(1, 2, "x")]))
    clock.advance(1)
    hub.mark("items", SourceState.STALE)
    clock.advance(1)
    messages: list[Any] = client.sink.messages()
    assert messages[-1]["next"]["extensions"] == {"stale": True}
    assert messages[-1]["next"]["data"]["root"] == [[1, 2, "x"]]


@pytest.mark.parametrize(("many", "sorted_anew"), [(1001, 0), (2500, 0), (4000, 12_000)])
def test_what_changes_less_than_a_quarter_is_followed_a_slice_at_a_time(
    many: int, sorted_anew: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.load("items", [(n, n, "x") for n in range(12_000)], Position("l", 0, 1))
    client = Client(hub, plan(ITEMS, Mode.LIST, limit=3))
    clock.advance(5)
    looked_at: list[int] = []
    pushed: list[int] = []
    hydration, push = Arrangement.hydration, Arrangement.push

    def counted(view: Arrangement, effort: int = 1) -> Hydration:
        looked_at.append(view.candidates)
        return hydration(view, effort)

    def slice_of(view: Arrangement, changes: Sequence[Change]) -> list[View]:
        pushed.append(len(changes))
        return push(view, changes)

    monkeypatch.setattr(Arrangement, "hydration", counted)
    monkeypatch.setattr(Arrangement, "push", slice_of)
    hub.apply(batch(2, [(n, -n, "y") for n in range(many)]))
    hub.apply(batch(3, [(0, 7, "z")]))  # arrives in the middle of it
    clock.advance(5)
    client.read()
    assert client.shown == [[0, 7, "z"], [1, -1, "y"], [2, -2, "y"]]
    assert sum(looked_at) == sorted_anew
    assert max(pushed) <= 1000
    assert sum(pushed) == (0 if sorted_anew else many)  # the last one is in the net of the first


def test_one_bulk_transaction_costs_no_larger_steps_and_many_cost_bounded_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tycostream.live.arranging._BACKLOG_BYTES_MAX", 400 * 2000)
    clock = FakeClock()
    hub = make_hub(clock, keep_bytes=1 << 24)
    hub.load("items", [(n, n, "x") for n in range(20_000)], Position("l", 0, 1))
    efforts: list[int] = []
    hydration = Arrangement.hydration

    def counted(view: Arrangement, effort: int = 1) -> Hydration:
        efforts.append(effort)
        return hydration(view, effort)

    monkeypatch.setattr(Arrangement, "hydration", counted)
    client = Client(hub, plan(ITEMS, Mode.LIST, limit=1))
    for offset in range(2, 10):
        for _ in range(3):
            clock._soon.popleft()()
        hub.apply(batch(offset, [(n, offset, "y") for n in range(2001)]))
    clock.advance(5)
    client.read()
    assert client.shown == [[0, 9, "y"]]
    assert efforts[:3] == [1, 1, 2]
    assert max(efforts) == 16


@pytest.mark.parametrize("many", [5, 3000], ids=["in one step", "in slices"])
def test_who_joins_sees_the_newest_and_the_others_keep_to_their_pace(many: int) -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.add_source(ITEMS, LiveConfig(coalesce=timedelta(seconds=10)))
    hub.load("items", [(n, n, "x") for n in range(many)], Position("l", 0, 1))
    first = Client(hub, plan(ITEMS, Mode.LIST))
    clock.run()
    for n in range(10):
        hub.apply(batch(2 + n, [(0, 100 + n, "y")]))
        joiner = Client(hub, plan(ITEMS, Mode.LIST))
        clock.advance(0.1)
        joiner.read()
        assert joiner.shown[0] == [0, 100 + n, "y"]
    assert len(first.sink.messages()) == 1
    clock.advance(10)
    assert len(first.sink.messages()) == 2
    first.read()
    assert first.shown[0] == [0, 109, "y"]
    hub.apply(batch(12, [(0, 200, "y")]))
    hub.apply(batch(13, [(1, 200, "y")]))
    Client(hub, plan(ITEMS, Mode.LIST))
    clock.advance(0.1)
    hub.apply(batch(14, [(0, 300, "y")]))  # after what the last one was shown
    clock.advance(0.1)
    assert len(first.sink.messages()) == 2
    clock.advance(20)
    first.read()
    assert first.shown[:2] == [[0, 300, "y"], [1, 200, "y"]]
    assert len(first.sink.messages()) == 3


def both(key: str) -> Plan:
    items = plan(ITEMS, Mode.LIST).roots[0]
    copies = dataclasses.replace(plan(COPIES, Mode.LIST).roots[0], response_key="copies")
    return Plan(True, (items, copies), key, None)


@pytest.mark.parametrize("narrow", [False, True], ids=["at the head", "behind"])
@pytest.mark.parametrize("many", [5, 4100], ids=["in one step", "in slices"])
def test_that_a_source_is_live_again_is_told_only_with_what_it_brought(many: int, narrow: bool) -> None:
    clock = FakeClock()
    hub = make_hub(clock, keep_bytes=1 << 24)
    for row_type in (ITEMS, COPIES):
        hub.add_source(row_type, LiveConfig(coalesce=timedelta(seconds=10)))
    hub.load("items", [(n, 0, "x") for n in range(many)], Position("l", 0, 1))
    hub.load("copies", [(0, "x")], Position("l", 0, 1))
    client = Client(hub, both("both"))
    clock.run()
    if narrow:
        client.outbox.pause()
    hub.mark("items", SourceState.STALE)
    clock.run()
    hub.apply(Batch(Position("l", 0, 2), {"copies": [Change(None, (0, "x"), (1, "x"))]}))
    clock.advance(11)
    hub.apply(batch(3, [(n, 1, "x") for n in range(many)]))
    hub.mark("items", SourceState.LIVE)
    Client(hub, both("both"))  # a joiner's result is not for the others yet, but it is the newest
    if narrow:
        client.outbox.resume()
    clock.run()
    messages: list[Any] = client.sink.messages()
    stale = False
    for message in messages:
        stale = message["next"].get("extensions", {}).get("stale", stale)
        data = message["next"]["data"]
        assert stale or data["root"][0][1] == data["copies"][0][0], "half of what happened"
    assert data["root"][0][1] == 1
    assert not stale

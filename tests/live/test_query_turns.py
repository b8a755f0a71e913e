"""Live queries whose sockets fill up, and whose rows change by the thousand: nothing is lost, nothing comes twice."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.live.live_harness import ITEMS, Client, make_hub, plan
from tycostream.dataflow.predicate import Compare
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

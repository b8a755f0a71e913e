"""No callback of the hub touches more than its share of a large source: work is counted, not timed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from tests.live.live_harness import ITEMS, Client, PlainChanges, PlainRows, make_hub, plan
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE, Compare, Predicate
from tycostream.graphql.plan import Mode, Phase, Plan
from tycostream.live.change_chunks import ChangeChunks
from tycostream.live.hub import Hub
from tycostream.live.slices import Discard
from tycostream.rows import Position, Row
from tycostream.testing.clock import FakeClock

ROWS = 30_000
SHARE = 4 * 2000  # the chunks that one connection may send in a turn, each of one search


class Counting(FakeClock):
    """Counts the rows that were encoded in each callback."""

    touched = 0
    most = 0
    turns = 0

    def run(self) -> None:
        while self._soon:
            self.one()

    def one(self) -> None:
        if self._soon:
            Counting.touched = 0
            self._soon.popleft()()
            self.most = max(self.most, Counting.touched)
            self.turns += 1


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(kind: type, name: str) -> None:
        plain = getattr(kind, name)

        def wrapped(*arguments: Any) -> Any:
            Counting.touched += 1
            return plain(*arguments)

        monkeypatch.setattr(kind, name, wrapped)

    counting(PlainRows, "row")
    counting(PlainChanges, "change")
    counting(PlainChanges, "differs")


def large(clock: Counting) -> Hub:
    hub = make_hub(clock)
    hub.load("items", [(n, n % 1000, "x") for n in range(ROWS)], Position("life", 0, 1))
    return hub


@pytest.mark.parametrize("predicate", [TRUE, Compare(1, "eq", 7)])
def test_a_snapshot_is_encoded_a_few_chunks_a_turn(predicate: Predicate) -> None:
    clock = Counting()
    client = Client(large(clock), plan(ITEMS, Mode.CHANGES, predicate))
    clock.run()
    client.read()
    assert len(client.rows) == (ROWS if predicate is TRUE else ROWS // 1000)
    assert client.phases[-1] == "ready"
    assert clock.most <= SHARE


async def test_large_results_take_their_turns_with_each_other() -> None:
    clock = Counting()
    hub = large(clock)
    window = plan(ITEMS, Mode.LIST, TRUE, (OrderBy(1, descending=True),), limit=50)
    everything: list[Plan] = [plan(ITEMS, Mode.LIST, Compare(1, "lt", edge)) for edge in (900, 950, 1000)]
    live = Client(hub, window)
    tasks = [asyncio.create_task(hub.query(operation)) for operation in everything]
    await asyncio.sleep(0)
    while not all(task.done() for task in tasks):
        clock.one()
        await asyncio.sleep(0)
    clock.run()
    live.read()
    assert [row[0] for row in live.shown[:3]] == [999, 1999, 2999]
    assert [task.result().count(b'"x"') for task in tasks] == [27_000, 28_500, 30_000]
    assert clock.most <= 2000
    assert clock.turns > 3 * ROWS // 2000


def test_chunks_are_kept_for_slow_readers_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tycostream.live.change_chunks._KEPT_BYTES_MAX", 200_000)
    encoded = 0

    def encode(row: Row) -> bytes:
        nonlocal encoded
        encoded += 1
        return b"%0100d" % row[0]

    def payload(phase: Phase, changes: Iterable[bytes], *, complete: bool, **_: Any) -> bytes:
        return b"".join(changes) + (b"." if complete else b"+")

    chunks = ChangeChunks[Row]([(n,) for n in range(5000)], encode, payload, Phase.SNAPSHOT, 1, None)

    def read(place: int) -> bytes:
        while not (got := chunks.next(place)):
            assert got is not None
        return got

    for _ in range(3):
        chunks.enter()
    quick = [read(place) for place in range(8)]
    assert chunks.next(8) is None
    assert encoded == 5000
    near = [read(place) for place in range(8)]
    assert near == quick
    assert 5000 < encoded <= 10_000, "the first chunks were over the bound, and were made again"
    assert sum(map(len, chunks._payloads.values())) <= 200_000 + 70_000
    chunks.leave(8)
    chunks.leave(8)
    assert chunks._payloads, "one reader has not begun"
    chunks.leave(0)
    assert not chunks.read
    assert not chunks._payloads


def test_letting_go_takes_its_turns_too() -> None:
    many: dict[int, int] = dict.fromkeys(range(25_000), 0)
    lists = [[0] * 900 for _ in range(20)]
    discard, steps = Discard(many, *lists), 1
    while not discard.step():
        steps += 1
    assert not many
    assert not any(lists)
    assert steps == 5

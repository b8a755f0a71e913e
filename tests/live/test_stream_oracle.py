"""Streams against a brute-force model: random commits, late ones and ties, slow readers, tiny logs, several cursors."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.live.live_harness import COPIES, ITEMS, make_hub, stream_plan
from tycostream.dataflow.predicate import TRUE, Compare, In, Predicate, evaluate
from tycostream.graphql.plan import Coalesce, Plan, RootPlan, Strategy
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.rows import TRUNCATE, Batch, Cell, Change, Key, Position, Row
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import LineFraming, RecordingSink

NUMBERS = st.one_of(st.none(), st.integers(0, 4))
TAGS = st.one_of(st.none(), st.sampled_from("abc"))
CELLS = {"id": st.integers(0, 6), "n": st.integers(0, 4), "tag": st.sampled_from("abc")}
PREDICATES = st.one_of(
    st.just(TRUE),
    st.builds(Compare, st.just(0), st.sampled_from(["lt", "ge"]), st.integers(0, 6)),
    st.builds(Compare, st.just(2), st.just("eq"), st.sampled_from("abc")),
    st.builds(In, st.just(1), st.frozensets(st.integers(0, 4), min_size=1, max_size=3)),
)
COALESCE = st.one_of(
    st.none(), st.none(), st.builds(Coalesce, st.integers(1, 300), st.sampled_from(Strategy))
)
# so small that a handful of rows takes several slices, steps and payloads
SLICED = {
    "tycostream.dataflow.hydration.ROWS_PER_STEP": 2,
    "tycostream.dataflow.members.BLOCK_ROWS": 2,
    "tycostream.dataflow.hydration.BLOCK_ROWS": 2,
    "tycostream.dataflow.rises._STRETCHES_MAX": 2,
    "tycostream.live.arranged.ROWS_PER_STEP": 2,
    "tycostream.live.arranging._CHANGES_PER_STEP": 1,
    "tycostream.live.stream_scan.ROWS_AT_ONCE": 2,
    "tycostream.live.stream_scan._ROWS_PER_STEP": 2,
    "tycostream.live.stream_cohort.BROADCAST_CHANGES_MAX": 2,
    "tycostream.live.stream_batches.CHUNK_BYTES": 20,
    "tycostream.live.stream_replay._CHANGES_PER_STEP": 2,
    "tycostream.live.stream_replay._MOVES_KEPT_MAX": 3,
    "tycostream.live.stream_replay._KEPT_BYTES_MAX": 60,
}


@dataclass
class Rise:
    """What should reach a client: at the commit ``at`` a row rose; 0: it was there when the client came."""

    at: int
    key: Key
    row: Row


@dataclass
class Reader:
    """A client of one stream, what it received, and what it should have."""

    operation: Plan
    sink: RecordingSink
    paced: bool
    rises: list[Rise] = field(default_factory=list)
    states: dict[Key, list[tuple[int, Row | None]]] = field(default_factory=dict)  # in sight, since when
    messages: list[list[list[Any]]] = field(default_factory=list)
    stale: bool = False
    seen: int = 0

    @property
    def root(self) -> RootPlan:
        root = self.operation.roots[0]
        assert isinstance(root, RootPlan)
        return root

    @property
    def stream(self) -> Any:
        return self.root.stream

    @property
    def column(self) -> int:
        return self.root.order[0].column  # type: ignore[union-attr]

    def sees(self, row: Row) -> bool:
        cell, initial = row[self.column], self.stream.initial
        if cell is None or not evaluate(self.root.predicate, row):
            return False
        return initial is None or self.before(initial, cell)

    def before(self, one: Cell, other: Cell) -> bool:
        return bool(other < one) if self.root.order[0].descending else bool(one < other)

    def ordered(self, rises: list[Rise]) -> list[Rise]:
        """By the cursor's column, then by key (a multiset's rows by all cells, the first columns first)."""

        def compare(a: Rise, b: Rise) -> int:
            x, y = a.row[self.column], b.row[self.column]
            if x != y:
                return -1 if self.before(x, y) else 1
            for x, y in zip(a.row, b.row, strict=True):
                if x != y:
                    if x is None or y is None:
                        return 1 if x is None else -1
                    return -1 if x < y else 1
            return 0

        return sorted(rises, key=cmp_to_key(compare))

    def commit(self, at: int, before: dict[Key, Row], after: dict[Key, Row]) -> None:
        rises = []
        for key in {**before, **after}:
            old, new = before.get(key), after.get(key)
            was = old if old is not None and self.sees(old) else None
            now = new if new is not None and self.sees(new) else None
            self.states.setdefault(key, []).append((at, now))
            if now is not None and (was is None or self.before(was[self.column], now[self.column])):
                rises.append(Rise(at, key, now))
        self.rises += self.ordered(rises)

    def read(self) -> None:
        for message in self.sink.messages()[self.seen :]:
            self.seen += 1
            body: Any = message["next"]
            rows = body["data"]["root"]
            stale = body.get("extensions", {}).get("stale")
            if stale is not None:
                assert stale is not self.stale, "told what was known"
                self.stale = stale
            assert rows or stale is not None, "an empty batch that says nothing"
            assert len(rows) <= self.stream.batch_size
            assert self.root.source == "copies" or len({row[0] for row in rows}) == len(rows)
            self.messages.append(rows)

    @property
    def received(self) -> list[Row]:
        return [tuple(row) for rows in self.messages for row in rows]


class World:
    """A database of two tables, its hub, and the streams that are read."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw: Any = data.draw
        self.clock = FakeClock()
        log = self.draw(st.sampled_from(["large", "tiny", "broken off"]), label="log")
        self.restless = log == "broken off"
        self.tiny = log != "large"
        self.hub: Hub = make_hub(self.clock, keep_bytes=1 if log == "tiny" else 1 << 20)
        self.at = self.epoch = 0
        self.items: dict[Key, Row] = {n: (n, n % 5, "abc"[n % 3]) for n in range(7)}
        self.copies: list[Row] = [row[1:] for row in self.items.values()]
        self.readers: list[Reader] = []
        self.hub.load("items", list(self.items.values()), self.position)
        self.hub.load("copies", list(self.copies), self.position)

    @property
    def position(self) -> Position:
        return Position("life", self.epoch, self.at + 1)

    def begin_anew(self) -> None:
        """Another history of the database: the next commit cannot be compared with what was, and the log is empty."""
        if self.restless:
            self.epoch += 1

    def rows_of(self, source: str) -> dict[Key, Row]:
        if source == "items":
            return dict(self.items)
        counted: Counter[Row] = Counter()
        rows: dict[Key, Row] = {}
        for row in self.copies:
            rows[(row, counted[row])] = row
            counted[row] += 1
        return rows

    def commit(self) -> None:
        before = {name: self.rows_of(name) for name in ("items", "copies")}
        changes: dict[str, list[Change]] = {"items": [], "copies": []}
        for _ in range(self.draw(st.integers(1, 5), label="rows")):
            if self.draw(st.integers(0, 3), label="items?"):
                self._change_item(changes["items"])
            else:
                self._change_copy(changes["copies"])
        self.at += 1
        self.hub.apply(Batch(self.position, changes, self.draw(st.booleans(), label="resync")))
        for reader in self.readers:
            source = reader.root.source
            reader.commit(self.at, before[source], self.rows_of(source))

    def _change_item(self, changes: list[Change]) -> None:
        kind, key = self.draw(st.integers(0, 9), label="kind"), self.draw(st.integers(0, 6), label="key")
        if kind == 9:
            self.items.clear()
            changes.append(TRUNCATE)
        elif kind >= 7:
            self.items.pop(key, None)
            changes.append(Change(key, None, None))
        else:
            row = (key, self.draw(NUMBERS), self.draw(TAGS))
            self.items[key] = row
            changes.append(Change(key, None, row))

    def _change_copy(self, changes: list[Change]) -> None:
        if self.copies and self.draw(st.booleans(), label="delete?"):
            old = self.copies.pop(self.draw(st.integers(0, len(self.copies) - 1)))
            changes.append(Change(None, old, None))
        else:
            row = (self.draw(NUMBERS), self.draw(TAGS))
            self.copies.append(row)
            changes.append(Change(None, None, row))

    def join(self) -> None:
        row_type = self.draw(st.sampled_from([ITEMS, ITEMS, COPIES]))
        column = self.draw(st.integers(0, len(row_type.columns) - 1), label="column")
        predicate: Predicate = self.draw(PREDICATES) if row_type is ITEMS else TRUE
        coalesce = self.draw(COALESCE)
        operation = stream_plan(
            row_type,
            column,
            predicate,
            descending=self.draw(st.booleans(), label="descending"),
            batch_size=self.draw(st.integers(1, 4), label="batch size"),
            initial=self.draw(st.one_of(st.none(), CELLS[row_type.columns[column].name]), label="initial"),
            now=self.draw(st.booleans(), label="now"),
            coalesce=coalesce,
        )
        sink = RecordingSink(self.draw(st.sampled_from([None, 1, 1, 100]), label="room"))
        sink.outbox = outbox = self.hub.outbox(LineFraming(), sink)
        reader = Reader(operation, sink, coalesce is not None)
        self.hub.subscribe(operation, outbox, b"1", lambda: None)
        reader.commit(0, {}, self.rows_of(row_type.source))
        if reader.stream.now:
            reader.rises.clear()
        self.readers.append(reader)

    def mark(self, state: SourceState) -> None:
        self.hub.mark(self.draw(st.sampled_from(["items", "copies"])), state)

    def settle(self, rounds: int) -> None:
        for _ in range(rounds):
            self.clock.advance(0.2)
            for reader in self.readers:
                reader.sink.drain()

    def check(self) -> None:
        self.settle(80)
        for reader in self.readers:
            reader.read()
            assert reader.stale is (self.hub.sources[reader.root.source].state is SourceState.STALE)
            if reader.root.source == "copies":
                self._check_copies(reader)
            else:
                self._check_items(reader)

    def _check_copies(self, reader: Reader) -> None:
        wanted, received = Counter(rise.row for rise in reader.rises), Counter(reader.received)
        assert set(received) <= {row for states in reader.states.values() for _, row in states}
        if reader.stream.now and not self.tiny:
            assert reader.received == [rise.row for rise in reader.rises]
        else:  # one that went before it was sent need not come; all others do
            there = self.rows_of("copies")
            owed = Counter(there[key] for key in {rise.key for rise in reader.rises} if key in there)
            assert owed <= received
        if not self.tiny:
            assert received <= wanted

    def _check_items(self, reader: Reader) -> None:
        received: dict[Key, list[Row]] = {}
        for row in reader.received:
            received.setdefault(row[0], []).append(row)
        last = {rise.key: rise.at for rise in reader.rises}
        for key, rows in received.items():
            assert set(rows) <= {state for _, state in reader.states.get(key, ())}, "never in sight"
            if not self.tiny:
                assert len(rows) <= sum(rise.key == key for rise in reader.rises), "twice for one rise"
        for key, row in self.items.items():
            if key in last and reader.sees(row):
                since = {state for at, state in reader.states[key] if at >= last[key]}
                assert received.get(key, [None])[-1] in since, "a rise was lost"
        if reader.stream.now and not self.tiny:
            assert reader.received == [rise.row for rise in reader.rises], "commit order"


STEPS = ["commit"] * 6 + ["join", "join", "read", "tick", "time", "stale", "live", "anew", "check"]


def run(data: st.DataObject, steps: int) -> None:
    with contextlib.ExitStack() as stack:
        if data.draw(st.booleans(), label="sliced"):
            for name, value in SLICED.items():
                stack.enter_context(patch(name, value))
        world = World(data)
        for step in walk(data, world, steps):
            if step == "commit":
                world.commit()
            elif step == "join":
                world.join()
            elif step == "read":
                world.settle(1)
            elif step == "tick":
                world.clock.run()
            elif step == "time":
                # a log forgets after five minutes too
                world.clock.advance(data.draw(st.sampled_from([0.01, 1.0, 400.0 if world.tiny else 2.0])))
            elif step == "anew":
                world.begin_anew()
            elif step in ("stale", "live"):
                world.mark(SourceState(step))
            else:
                world.check()


def walk(data: st.DataObject, world: World, steps: int) -> Iterator[str]:
    for _ in range(data.draw(st.integers(1, 3), label="readers")):
        world.join()
    for _ in range(data.draw(st.integers(1, steps), label="steps")):
        yield data.draw(st.sampled_from(STEPS))
    yield "check"


@pytest.mark.timeout(240)  # seconds of work, on a machine that others use too
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_rise_reaches_every_reader_once(data: st.DataObject) -> None:
    run(data, 25)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=800, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_every_rise_reaches_every_reader_once_for_long(data: st.DataObject) -> None:
    run(data, 60)

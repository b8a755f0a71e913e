"""Streams over several sources against brute force: conditions through relationships, and rows nested in what is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.live.test_related_oracle import SMALL, TYPES, World, conditions, examine, holds_nothing, selections
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE, IsNull, conjunction, evaluate
from tycostream.graphql.plan import Mode, Plan, RootPlan, Stream
from tycostream.rows import Key, Row
from tycostream.testing.scripted import LineFraming, RecordingSink

SMALLER = SMALL | {
    "tycostream.live.stream_scan.ROWS_AT_ONCE": 2,
    "tycostream.live.stream_scan._ROWS_PER_STEP": 2,
    "tycostream.live.stream_replay._CHANGES_PER_STEP": 1,
    "tycostream.live.stream_cohort.BROADCAST_CHANGES_MAX": 1,
}


@st.composite
def streams(draw: st.DrawFn) -> Plan:
    source = draw(st.sampled_from(sorted(name for name, each in TYPES.items() if each.keyed)))
    row_type = TYPES[source]
    numbers = [i for i, column in enumerate(row_type.columns) if column.scalar.name != "text"]
    column = draw(st.sampled_from(numbers), label="column")
    descending = draw(st.booleans(), label="descending")
    order = OrderBy(column, descending, nulls_first=descending)
    asked = draw(st.one_of(st.just(TRUE), conditions(source), conditions(source)))
    nullable = row_type.columns[column].nullable
    predicate = conjunction([asked, IsNull(column, negated=True) if nullable else TRUE])
    encoder = draw(selections(source, 2))
    batch_size = draw(st.integers(1, 3), label="batch size")
    key = (source, "stream", predicate, order, batch_size, encoder.key)
    root = RootPlan(
        "root", source, Mode.STREAM, predicate, encoder, (order,), key=key, row_type=row_type,
        reads=tuple(TYPES.values()), stream=Stream(batch_size, now=draw(st.booleans(), label="now")),
    )  # fmt: skip
    return Plan(True, (root,), key)


@dataclass
class Reader:
    """A client of one stream; ``sight`` is what it could see after the last transaction."""

    operation: Plan
    sink: RecordingSink
    subscription: Any
    sight: dict[Key, Row]
    owed: dict[Key, Row] = field(default_factory=dict)  # what rose and may not have been received
    seen: int = 0

    @property
    def root(self) -> Any:
        return self.operation.roots[0]

    def received(self) -> list[dict[str, Any]]:
        """The rows that came since the last call."""
        messages: list[Any] = self.sink.messages()[self.seen :]
        self.seen += len(messages)
        assert all(0 < len(each["next"]["data"]["root"]) <= self.root.stream.batch_size for each in messages)
        return [row for each in messages for row in each["next"]["data"]["root"]]


class Streams(World):
    """Readers of streams, beside or instead of the clients."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__(data)
        self.readers: list[Reader] = []
        self.forgetful = self.hub.sources["people"].log._bytes_max == 1

    def sight(self, root: Any) -> dict[Key, Row]:
        rows = self.tables.rows[root.source].items()
        return {key: row for key, row in rows if evaluate(root.predicate, row, self.tables.holds)}

    def stream(self) -> None:
        operation = self.data.draw(streams(), label="stream")
        sink = RecordingSink(self.data.draw(st.sampled_from([None, None, 1]), label="room"))
        sink.outbox = outbox = self.hub.outbox(LineFraming(), sink)
        subscription = self.hub.subscribe(operation, outbox, b"1", lambda: None)
        reader = Reader(operation, sink, subscription, {})
        self.readers.append(reader)
        self.settle()
        if operation.roots[0].stream.now:  # type: ignore[union-attr]
            reader.sight = self.sight(reader.root)
        self.told(reader)

    def told(self, reader: Reader) -> None:
        """What rose since ``reader`` was looked at last reaches it, if it is a fast one: rows nested in it as they are."""
        root, before = reader.root, reader.sight
        column, descending = root.order[0].column, root.order[0].descending
        reader.sight = now = self.sight(root)
        sign = -1 if descending else 1
        rose = [
            (sign * row[column], key)
            for key, row in now.items()
            if key not in before or sign * before[key][column] < sign * row[column]
        ]
        if reader.sink.room is not None:
            reader.owed |= {key: now[key] for _, key in rose}
            return
        self.settle()
        expected = [self.tables.shown(root.encoder, now[key], root.source) for _, key in sorted(rose)]
        received = reader.received()
        if self.forgetful:  # it may have had to read again
            assert all(each in received for each in expected)
            assert all(each in self.shown_now(reader) for each in received)
        else:
            assert received == expected

    def shown_now(self, reader: Reader) -> list[dict[str, Any]]:
        return [
            self.tables.shown(reader.root.encoder, row, reader.root.source) for row in reader.sight.values()
        ]

    def settle(self) -> None:
        for _ in range(30):
            self.clock.advance(0.1)

    def transaction(self) -> None:
        super().transaction()
        for reader in self.readers:
            self.told(reader)

    def examine_slow(self) -> None:
        for reader in self.readers:
            if reader.sink.room is None:
                continue
            for _ in range(60):
                reader.sink.drain()
                self.clock.advance(0.1)
            names = [column.name for column in TYPES[reader.root.source].columns]
            received = {tuple(row[name] for name in names) for row in reader.received()}
            key_of = TYPES[reader.root.source].key_of
            missing = {
                key
                for key in reader.owed
                if key in reader.sight and key not in {key_of(row) for row in received}
            }
            assert not missing, "a rise was lost"
            reader.owed.clear()


async def history(data: st.DataObject) -> None:
    world = Streams(data)
    world.stream()
    for _ in range(data.draw(st.integers(1, 10), label="steps")):
        steps = [world.transaction, world.transaction, world.transaction, world.stream, world.clock.run]
        data.draw(st.sampled_from(steps), label="step")()
        if data.draw(st.integers(0, 3)) == 0:
            world.examine_slow()
    world.examine_slow()
    for reader in world.readers:
        reader.subscription.cancel()
    world.clock.advance(1000)
    holds_nothing(world.hub)


@pytest.mark.parametrize("small", [False, True], ids=["whole", "in slices"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_streams_over_several_sources(small: bool, data: st.DataObject) -> None:
    examine(history(data), SMALLER if small else {})


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("small", [False, True], ids=["whole", "in slices"])
@given(data=st.data())
@settings(max_examples=800, deadline=None)
def test_many_streams_over_several_sources(small: bool, data: st.DataObject) -> None:
    examine(history(data), SMALLER if small else {})

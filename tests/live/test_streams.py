"""Streams, case by case: batches, ties, late commits, who is behind, who fell off the log, staleness and ends."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from unittest.mock import patch

import pytest

from tests.live.live_harness import ITEMS, make_hub, plan, stream_plan
from tycostream.config.model import LiveConfig, LogConfig
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import Compare
from tycostream.errors import Action, UpstreamError
from tycostream.graphql.plan import Coalesce, Mode, Plan
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.live.stream_cohort import StreamCohort
from tycostream.rows import Batch, Change, Position, Row
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import LineFraming, RecordingSink


class Db:
    """A hub over one table ``items`` (id, n, tag)."""

    def __init__(self, *rows: Row, keep_bytes: int = 1 << 20) -> None:
        self.clock = FakeClock()
        self.hub: Hub = make_hub(self.clock, keep_bytes=keep_bytes)
        self.offset = 1
        self.hub.load("items", rows, Position("life", 0, 1))

    def commit(self, *changes: tuple[int, Row | None], tick: bool = True) -> None:
        self.offset += 1
        batch = [Change(key, None, row) for key, row in changes]
        self.hub.apply(Batch(Position("life", 0, self.offset), {"items": batch}))
        if tick:
            self.clock.run()

    def cohort(self) -> StreamCohort:
        (found,) = (each for each in self.hub._cohorts.known.values() if isinstance(each, StreamCohort))
        return found


class Stream:
    """A client of one stream."""

    def __init__(self, db: Db, operation: Plan, room: int | None = None) -> None:
        self.db = db
        self.sink = RecordingSink(room)
        self.sink.outbox = self.outbox = db.hub.outbox(LineFraming(), self.sink)
        self.ends = ends = list[None]()
        self.subscription = db.hub.subscribe(operation, self.outbox, b"1", lambda: ends.append(None))
        db.clock.run()

    @property
    def messages(self) -> list[Any]:
        return self.sink.messages()

    @property
    def batches(self) -> list[list[int]]:
        """The ids of each batch."""
        return [[row[0] for row in each["next"]["data"]["root"]] for each in self.messages]

    def drain(self) -> None:
        for _ in range(50):
            self.sink.drain()
            self.db.clock.run()


def by_n(**more: Any) -> Plan:
    return stream_plan(ITEMS, 1, **more)


def test_the_backlog_comes_by_value_and_key_in_batches() -> None:
    db = Db((1, 7, "a"), (2, 5, "a"), (3, 5, "a"), (4, 5, "a"), (5, None, "a"), (6, 9, "a"))
    assert Stream(db, by_n(batch_size=2)).batches == [[2, 3], [4, 1], [6]]
    assert Stream(db, by_n(batch_size=4, descending=True)).batches == [[6, 1, 2, 3], [4]]
    assert Stream(db, by_n(initial=5)).batches == [[1, 6]], "what is beyond the value, without its ties"
    assert Stream(db, by_n(initial=7, descending=True)).batches == [[2, 3, 4]]
    assert Stream(db, by_n(now=True)).batches == []
    assert Stream(db, by_n(predicate=Compare(0, "gt", 2))).batches == [[3, 4, 6]]


def test_each_rise_once_and_nothing_else() -> None:
    db = Db((1, 1, "a"), (2, 2, "a"), (3, None, "a"))
    stream = Stream(db, by_n(now=True))
    db.commit((1, (1, 1, "b")))  # untouched
    db.commit((2, (2, 1, "a")))  # lowered
    db.commit((2, None))  # deleted
    assert stream.batches == []
    db.commit((1, (1, 2, "b")))  # raised
    db.commit((3, (3, 0, "a")))  # it has a value now
    db.commit((2, (2, 0, "a")))  # a new row, with a value smaller than what was sent
    db.commit((3, (3, None, "a")))
    db.commit((3, (3, 0, "a")))
    assert stream.batches == [[1], [3], [2], [3]]


def test_coming_into_sight_is_a_rise() -> None:
    db = Db((1, 1, "a"), (2, 2, "b"))
    stream = Stream(db, by_n(predicate=Compare(2, "eq", "a")))
    assert stream.batches == [[1]]
    db.commit((2, (2, 2, "a")))
    db.commit((2, (2, 2, "b")))
    db.commit((2, (2, 2, "a")))
    assert stream.batches == [[1], [2], [2]]


def test_a_transaction_comes_in_the_order_of_the_cursor() -> None:
    db = Db()
    rising, falling = Stream(db, by_n(batch_size=3)), Stream(db, by_n(batch_size=3, descending=True))
    db.commit(*((n, (n, n % 3, "a")) for n in range(6)))
    assert rising.batches == [[0, 3, 1], [4, 2, 5]]
    assert falling.batches == [[2, 5, 1], [4, 0, 3]]


def test_a_message_is_cut_at_its_bytes_too() -> None:
    db = Db(*((n, n, "x" * 30_000) for n in range(5)))
    stream = Stream(db, by_n())
    assert stream.batches == [[0, 1, 2], [3, 4]]
    db.commit(*((n, (n, n + 9, "x" * 30_000)) for n in range(4)))
    assert stream.batches[2:] == [[0, 1, 2], [3]]


def test_a_row_that_rises_twice_is_told_twice_in_two_messages() -> None:
    db = Db()
    reader = Stream(db, by_n(), room=1)
    reader.outbox.pause()
    for n in range(3):
        db.commit((1, (1, n, "a")), (2, (2, n, "a")))
    reader.drain()
    assert reader.batches == [[1, 2], [1, 2], [1, 2]]
    assert [row[1] for message in reader.messages for row in message["next"]["data"]["root"]] == [
        *(0, 0),
        *(1, 1),
        *(2, 2),
    ]


def test_who_reads_the_backlog_is_told_of_what_it_has_passed() -> None:
    db = Db(*((n, 10 * n, "a") for n in range(1, 6)))
    reader = Stream(db, by_n(batch_size=2), room=1)
    assert reader.batches == [[1, 2]]
    db.commit((6, (6, 15, "late")))  # behind: told now
    db.commit((7, (7, 35, "a")))  # ahead: met
    db.commit((1, (1, 45, "a")))  # it rises from behind to ahead
    db.commit((5, (5, 5, "a")))  # it was ahead, never sent, and falls behind
    db.commit((4, None))
    reader.drain()
    assert reader.batches == [[1, 2], [6, 5], [3, 7], [1]]


def test_who_falls_off_the_log_reads_again_from_what_it_missed() -> None:
    db = Db(*((n, 10 * n, "a") for n in range(1, 6)), keep_bytes=1)
    reader = Stream(db, by_n(), room=1)
    assert reader.batches == [[1, 2, 3, 4, 5]]
    reader.outbox.pause()
    db.commit((6, (6, 60, "a")))
    db.commit((6, (6, 70, "a")))
    db.commit((7, (7, 65, "a")))
    reader.drain()
    assert reader.batches[1:] == [[7, 6]], "two rises are one, and nothing else comes again"
    reader.outbox.pause()
    db.commit((8, (8, 25, "late")))
    reader.drain()
    assert reader.batches[2:] == [[8, 3, 4, 5, 7, 6]], "nothing is lost; what lies behind it comes again"
    reader.outbox.pause()
    db.commit((8, (8, 24, "late")))
    db.commit((1, None))
    reader.drain()
    assert reader.batches[3:] == [], "nothing rose: it has missed nothing"


def test_a_late_commit_is_kept_from_whom_it_does_not_concern() -> None:
    db = Db((1, 1, "a"), (9, 9, "a"))
    everything, some = Stream(db, by_n()), Stream(db, by_n(initial=5))
    assert (everything.batches, some.batches) == ([[1, 9]], [[9]])
    db.commit((2, (2, 4, "late")), (3, (3, 12, "a")))
    db.commit((4, (4, 13, "a")))
    assert everything.batches[1:] == [[2, 3], [4]]
    assert some.batches[1:] == [[3], [4]]
    assert len(db.hub._cohorts.known) == 1, "wherever they began, they are one cohort"


def test_those_who_are_level_share_bytes_and_a_slow_one_costs_a_place() -> None:
    db = Db()
    fast = [Stream(db, by_n(now=True)) for _ in range(3)]
    slow = Stream(db, by_n(now=True), room=1)
    with patch.object(type(db.cohort()._encoder), "row", autospec=True, side_effect=_row) as row:
        for n in range(20):
            db.commit((n, (n, n, "a")))
        assert row.call_count == 20, "what waits for the slow one is not written yet"
    assert all(each.batches == [[n] for n in range(20)] for each in fast)
    assert slow.batches == [[0]]
    slow.drain()
    assert [n for batch in slow.batches for n in batch] == list(range(20))


def _row(_: Any, row: Row, *related: bytes) -> bytes:
    return f"[{row[0]}]".encode()


def test_many_at_one_place_have_their_batches_written_once() -> None:
    db = Db()
    readers = [Stream(db, by_n(now=True)) for _ in range(5)]
    with patch.object(type(db.cohort()._encoder), "row", autospec=True, side_effect=_row) as row:
        db.commit(*((n, (n, n, "a")) for n in range(300)))
        for _ in range(40):
            db.clock.run()
    assert row.call_count == 300
    assert all(sum(map(len, each.batches)) == 300 for each in readers)


def test_the_backlog_lies_in_the_arrangement_of_a_live_query() -> None:
    db = Db(*((n, n, "a") for n in range(9)))
    reader = Stream(db, by_n(batch_size=2), room=1)
    arrangements = db.hub.sources["items"].arrangements
    assert len(arrangements._known) == 1
    order = (OrderBy(1),)
    live = plan(ITEMS, Mode.LIST, db.cohort().predicate, order)
    db.hub.subscribe(live, db.hub.outbox(LineFraming(), RecordingSink()), b"2", lambda: None)
    db.clock.run()
    assert len(arrangements._known) == 1
    reader.drain()
    assert len(db.hub.sources["items"].fragments) == 1, "who has read all rows holds nothing"


def test_staleness_is_told_once_with_an_empty_batch() -> None:
    db = Db((1, 1, "a"))
    stream, slow = Stream(db, by_n()), Stream(db, by_n(), room=1)
    db.hub.mark("items", SourceState.STALE)
    db.clock.run()
    slow.drain()
    told = {"data": {"root": []}, "extensions": {"stale": True}}
    assert stream.messages[1:] == [{"id": "1", "next": told}] == slow.messages[1:]
    joined = Stream(db, by_n())
    assert [each["next"].get("extensions") for each in joined.messages] == [{"stale": True}]
    db.hub.mark("items", SourceState.LIVE)
    db.clock.run()
    assert stream.messages[2]["next"] == {"data": {"root": []}, "extensions": {"stale": False}}


def test_coalescing_gathers_what_rose() -> None:
    db = Db((1, 1, "a"))
    stream = Stream(db, by_n(coalesce=Coalesce(100)))
    for n in range(2, 5):
        db.commit((n, (n, n, "a")))
    assert stream.batches == [[1]]
    db.clock.advance(0.1)
    assert stream.batches == [[1], [2, 3, 4]]


def test_a_stream_waits_for_its_source_and_ends_with_it() -> None:
    db = Db((1, 1, "a"))
    db.hub.remove_source("items")
    db.hub.add_source(ITEMS, LiveConfig(log=LogConfig()))
    waiting = Stream(db, by_n())
    assert waiting.messages == []
    db.hub.load("items", [(2, 2, "a")], Position("life", 0, 9))
    db.clock.run()
    assert waiting.batches == [[2]]
    error = UpstreamError("gone", "it is gone", action=Action.FAIL)
    db.hub.mark("items", SourceState.FAILED, error)
    db.clock.run()
    assert [each["error"][0]["extensions"]["code"] for each in waiting.messages[1:]] == ["source-failed"]
    assert waiting.ends == [None]


def test_one_cohorts_error_ends_its_operations_only() -> None:
    db = Db((1, 1, "a"))
    bad, good = Stream(db, by_n(batch_size=1)), Stream(db, by_n(batch_size=2))
    with patch.object(bad.subscription.cohort._moves, "of", side_effect=ZeroDivisionError):  # type: ignore[union-attr]
        db.commit((2, (2, 2, "a")))
    assert bad.messages[-1]["error"][0]["extensions"]["code"] == "unexpected"
    assert good.batches == [[1], [2]]
    again = Stream(db, by_n(batch_size=1))
    assert again.batches == [[1], [2]]


@pytest.mark.parametrize("reading", [True, False])
def test_what_a_stream_held_is_let_go(reading: bool) -> None:
    db = Db(*((n, n, "a") for n in range(9)))
    stream = Stream(db, by_n(batch_size=2), room=1 if reading else None)
    cohort = weakref.ref(db.cohort())
    gc.disable()
    try:
        stream.subscription.cancel()
        db.clock.advance(3600)
        source = db.hub.sources["items"]
        assert not db.hub._cohorts.known
        assert not source.arrangements._known
        assert len(source.fragments) == 0
        assert not source.router._all
        assert not source.router._scanned
        del stream
        assert cohort() is None, "no cycle leaves it to the collector"
    finally:
        gc.enable()

"""Cursors that a framing tells beside the payload, selected or not: every place to resume from, at a cohort's cost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.live.live_harness import ITEMS, PlainChanges, make_hub, plan
from tests.live.test_delivery import Db
from tycostream.graphql.plan import Coalesce, Mode, Plan, RootPlan, Strategy
from tycostream.live.cursor import CursorBox
from tycostream.live.feed_cohort import FeedCohort
from tycostream.live.framing import Framing
from tycostream.live.live_source import SourceState
from tycostream.rows import Change, Position
from tycostream.testing.scripted import LineFraming, RecordingSink
from tycostream.transports.wire.sse import PLAIN


class Unselected(PlainChanges):
    """A selection without ``cursor``."""

    wants_cursor = False


class Seals(CursorBox):
    """Counts what is sealed."""

    count = 0

    def seal(self, *given: Any) -> str:
        self.count += 1
        return super().seal(*given)


def feed(after: str | None = None, coalesce: Coalesce | None = None) -> Plan:
    planned = plan(ITEMS, Mode.CHANGES, after=after, coalesce=coalesce)
    root = cast(RootPlan, planned.roots[0])
    return replace(planned, roots=(replace(root, encoder=Unselected()),))


class Reader:
    """A client whose framing tells cursors, or does not."""

    def __init__(self, db: Db, operation: Plan, framing: Framing = PLAIN, room: int | None = None) -> None:
        self.db = db
        self.sink = RecordingSink(room)
        self.outbox = db.hub.outbox(framing, self.sink)
        self.sink.outbox = self.outbox
        self.subscription = db.hub.subscribe(operation, self.outbox, b"", lambda: None)
        db.clock.run()

    def events(self) -> list[tuple[str, Any, str | None]]:
        """Phase, changes and id of each."""
        found = []
        for block in bytes(self.sink.data).decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            told = json.loads(fields["data"])["data"]["root"]
            found.append((told["phase"], told["changes"], fields.get("id")))
        return found


class Sealing(Db):
    """A database whose cursors are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.cursors = Seals(["test"])
        self.hub = make_hub(self.clock, cursors=self.cursors)
        self.hub.load("items", [(1, 1, "a")], Position("life", 0, 1))


@pytest.fixture
def db() -> Sealing:
    return Sealing()


def test_where_one_can_resume_there_is_an_id(db: Sealing) -> None:
    reader = Reader(db, feed())
    db.put((2, 2, "b"))
    phases = [(phase, found is not None) for phase, _, found in reader.events()]
    assert phases == [("snapshot", False), ("ready", True), ("live", True)]
    for _, _, last in reader.events()[1:]:
        again = Reader(db, feed(after=last))
        [(phase, changes, _)] = again.events()
        assert phase == "live"
        assert changes == ([[None, [2, 2, "b"]]] if last == reader.events()[1][2] else [])


def test_nothing_is_sealed_for_those_who_are_not_told(db: Sealing) -> None:
    other = Reader(db, feed(), LineFraming())
    db.put((2, 2, "b"))
    assert (db.cursors.count, len(other.sink.messages())) == (0, 3)
    first, second = Reader(db, feed()), Reader(db, feed())
    before = db.cursors.count
    for n in range(5):
        db.put((3, n, "c"))
    assert db.cursors.count == before + 5, "once for all"
    assert [found for _, _, found in first.events()][2:] == [found for _, _, found in second.events()][2:]
    for reader in (first, second):
        reader.subscription.cancel()
    before = db.cursors.count
    db.put((4, 4, "d"))
    assert db.cursors.count == before, "the last one left"
    assert len(other.sink.messages()) == 3 + 6


def test_what_was_encoded_for_others_is_not_what_they_get(db: Sealing) -> None:
    """A set in the middle of being read has no id in it."""
    slow = Reader(db, feed(), LineFraming(), room=1)
    reader = Reader(db, feed())
    assert [found is not None for _, _, found in reader.events()] == [False, True]
    start = reader.events()[-1][2]
    for n in range(3):
        db.put((5, n, "e"))
    slow.sink.drain()
    db.clock.run()
    again = Reader(db, feed(after=start))
    assert [found is not None for _, _, found in again.events()] == [True]


def test_an_idle_feed_gets_a_new_id_and_others_no_message(db: Sealing) -> None:
    told, other = Reader(db, feed()), Reader(db, feed(), LineFraming())
    paced = Reader(db, feed(coalesce=Coalesce(100, Strategy.THROTTLE)))
    before = len(other.sink.messages())
    db.clock.advance(300)
    for reader in (told, paced):
        beats = reader.events()[2:]
        assert [(phase, changes) for phase, changes, _ in beats] == [("live", [])] * 4
        assert len({found for _, _, found in beats}) == 4
        assert None not in {found for _, _, found in beats}
    assert len(other.sink.messages()) == before
    db.put((2, 2, "b"))
    assert told.events()[-1][1] == [[None, [2, 2, "b"]]], "and it is at the head again"
    assert [changes for _, changes, _ in told.events()].count([[None, [2, 2, "b"]]]) == 1


def test_a_beat_in_the_tick_of_a_change_tells_nothing_twice(db: Sealing) -> None:
    told = Reader(db, feed())
    db.apply([Change(2, None, (2, 2, "b"))], tick=False)
    [cohort] = db.hub._cohorts.known.values()
    assert isinstance(cohort, FeedCohort)
    cohort.heartbeat()
    db.clock.run()
    assert [changes for _, changes, _ in told.events()[2:]] == [[[None, [2, 2, "b"]]]]


def test_staleness_comes_with_an_id(db: Sealing) -> None:
    told = Reader(db, feed())
    db.hub.mark("items", SourceState.STALE, None)
    db.clock.run()
    assert b'"extensions":{"stale":true}' in bytes(told.sink.data)
    assert told.events()[-1][2] is not None

"""How sets travel: the contracts of Log, Subscriber, Outbox and cursor, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.live_harness import ITEMS, Client, answer, make_hub, plan
from tycostream.dataflow.predicate import Compare
from tycostream.errors import RequestError
from tycostream.graphql.plan import Coalesce, Mode, Strategy
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.rows import Batch, Change, Position, Row
from tycostream.testing.clock import FakeClock


class Db:
    def __init__(self, rows: list[Row] | None = None, *, keep_bytes: int = 1 << 20) -> None:
        self.clock = FakeClock()
        self.hub: Hub = make_hub(self.clock, keep_bytes=keep_bytes)
        self.offset = 1
        self.hub.load("items", rows or [], Position("life", 0, 1))

    def put(self, *rows: Row, tick: bool = True) -> None:
        self.apply([Change(row[0], None, row) for row in rows], tick=tick)

    def apply(self, changes: list[Change], *, tick: bool = True, resync: bool = False) -> None:
        self.offset += 1
        self.hub.apply(Batch(Position("life", 0, self.offset), {"items": changes}, resync))
        if tick:
            self.clock.run()

    def feed(self, room: int | None = None, **arguments: Any) -> Client:
        client = Client(self.hub, plan(ITEMS, Mode.CHANGES, **arguments), room)
        self.clock.run()
        return client


def sets(client: Client) -> list[dict[str, Any]]:
    return [message["next"]["data"]["root"] for message in client.sink.messages() if "next" in message]  # type: ignore[index]


def test_snapshot_then_ready_then_live() -> None:
    db = Db([(1, 1, "a")])
    client = db.feed()
    db.put((2, 2, "b"))
    assert [(s["phase"], s["changes"]) for s in sets(client)] == [
        ("snapshot", [[None, [1, 1, "a"]]]),
        ("ready", []),
        ("live", [[None, [2, 2, "b"]]]),
    ]
    assert [s["cursor"] is None for s in sets(client)] == [True, False, False]


def test_a_slow_socket_gets_the_net_and_no_byte_is_made_for_it_meanwhile() -> None:
    db = Db()
    slow, quick = db.feed(room=1), db.feed()
    for _ in range(5):
        slow.sink.drain()
        db.clock.run()
    for n in range(1, 5):
        db.put((1, n, "a"))
    db.put((2, 0, "gone"))
    db.apply([Change(2, None, None)])
    before = len(sets(slow))
    assert before == 3  # snapshot, ready, and the one set that filled the socket
    slow.sink.drain()
    db.clock.run()
    assert [s["changes"] for s in sets(slow)[before:]] == [[[[1, 1, "a"], [1, 4, "a"]]]]
    assert len(sets(quick)) == 2 + 6


def test_at_the_head_and_paused_nothing_is_lost_or_repeated() -> None:
    db = Db()
    client = db.feed(room=1)
    for _ in range(5):
        client.sink.drain()
        db.clock.run()
    for n in range(4):
        db.put((n, n, None), tick=False)
    db.clock.run()
    db.put((9, 9, None))
    for _ in range(5):
        client.sink.drain()
        db.clock.run()
    client.read()
    assert sorted(client.rows) == [[0, 0, None], [1, 1, None], [2, 2, None], [3, 3, None], [9, 9, None]]


def test_one_write_per_socket_and_tick() -> None:
    db = Db()
    client = db.feed()
    writes = client.sink.writes
    for n in range(16):
        db.put((n, n, None), tick=False)
    db.clock.run()
    assert len(sets(client)) == 2 + 16
    assert client.sink.writes == writes + 1


def test_there_and_back_is_nothing() -> None:
    db = Db([(1, 1, "a")])
    client = db.feed(coalesce=Coalesce(100, Strategy.WINDOW))
    count = len(sets(client))
    db.put((1, 2, "a"))
    db.put((1, 1, "a"))
    db.clock.advance(1)
    assert len(sets(client)) == count


def test_rows_move_in_and_out_of_sight() -> None:
    db = Db([(1, 1, "a")])
    client = db.feed(predicate=Compare(2, "eq", "a"))
    db.put((1, 1, "b"))
    db.put((1, 5, "b"))
    db.put((1, 5, "a"))
    db.apply([Change(1, None, None)])
    assert [s["changes"] for s in sets(client)[2:]] == [
        [[[1, 1, "a"], None]],
        [[None, [1, 5, "a"]]],
        [[[1, 5, "a"], None]],
    ]


@pytest.mark.parametrize(
    ("strategy", "expected_ms"),
    [(Strategy.THROTTLE, [0, 100, 200]), (Strategy.DEBOUNCE, [300]), (Strategy.WINDOW, [100, 200])],
)
def test_coalescing_spends_its_milliseconds_as_it_says(strategy: Strategy, expected_ms: list[int]) -> None:
    db = Db()
    client = db.feed(coalesce=Coalesce(100, strategy))
    db.clock.advance(10)
    start, seen, times = db.clock.now_s, len(sets(client)), []
    for step in range(45):  # a change every 10 ms, for 210 ms
        if step * 10 <= 200:
            db.put((1, step, None))
        now = len(sets(client))
        times += [round((db.clock.now_s - start) * 1000)] * (now - seen)
        seen = now
        db.clock.advance(0.01)
        now = len(sets(client))
        times += [round((db.clock.now_s - start) * 1000)] * (now - seen)
        seen = now
    client.read()
    assert client.rows == [[1, 20, None]]
    assert len(times) >= len(expected_ms)
    assert all(abs(t - e) <= 10 for t, e in zip(times, expected_ms, strict=False)), times


def test_a_cursor_resumes_with_the_net() -> None:
    db = Db([(1, 1, "a")])
    client = db.feed()
    client.read()
    client.subscription.cancel()
    db.put((1, 2, "a"))
    db.put((1, 3, "a"), (2, 2, "b"))
    back = db.feed(after=client.cursor)
    assert [(s["phase"], s["changes"]) for s in sets(back)] == [
        ("live", [[[1, 1, "a"], [1, 3, "a"]], [None, [2, 2, "b"]]])
    ]
    back.rows = client.rows
    back.read()
    assert back.rows == [[1, 3, "a"], [2, 2, "b"]]
    again = db.feed(after=back.cursor)
    assert [(s["phase"], s["changes"]) for s in sets(again)] == [("live", [])]


def test_a_cursor_off_the_log_is_a_reset_or_an_error() -> None:
    db = Db(keep_bytes=1)
    client = db.feed()
    client.read()
    db.put((1, 2, "a"))
    back = db.feed(after=client.cursor)
    assert [s["phase"] for s in sets(back)] == ["reset", "snapshot", "ready"]
    back.read()
    with pytest.raises(RequestError, match="cannot be resumed") as caught:
        db.feed(after=client.cursor, snapshot=False)
    assert caught.value.code == "CURSOR_EXPIRED"
    other = db.feed(after=back.cursor, predicate=Compare(2, "eq", "a"))
    assert sets(other)[0]["phase"] == "reset"


@pytest.mark.parametrize("cursor", ["", "x", "ü", "A" * 5000, "AAAA", "===="])
def test_a_forged_cursor_is_only_a_reset(cursor: str) -> None:
    assert CursorBox(["a"]).open(cursor, b"digest") is None
    db = Db()
    assert sets(db.feed(after=cursor))[0]["phase"] == "reset"


def test_cursor_keys_rotate() -> None:
    position = Position("life", 0, 7)
    old = CursorBox(["old"]).seal(position, b"d")
    assert CursorBox(["new", "old"]).open(old, b"d") == position
    assert CursorBox(["new"]).open(old, b"d") is None
    assert CursorBox(["old"]).open(old, b"another plan") is None


def test_a_heartbeat_brings_a_new_cursor() -> None:
    db = Db()
    client = db.feed()
    db.clock.advance(300)
    assert [s["phase"] for s in sets(client)[2:]] == ["live"] * 4
    assert all(s["cursor"] and not s["changes"] for s in sets(client)[2:])


def test_a_failed_source_ends_its_operations_with_the_reason() -> None:
    db = Db([(1, 1, "a")])
    client = db.feed()
    query = Client(db.hub, plan(ITEMS, Mode.LIST))
    db.clock.run()
    db.hub.mark("items", SourceState.FAILED, RequestError("x", "column gone", hint="put it back"))
    for each in (client, query):
        each.read()
        assert each.ended
        assert "column gone" in each.errors[0][0]["message"]
        assert each.errors[0][0]["extensions"]["hint"] == "put it back"
    with pytest.raises(RequestError, match="column gone"):
        db.feed()


def test_an_exception_in_one_cohort_disturbs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    db = Db()
    bad, good = db.feed(predicate=Compare(1, "lt", 100)), db.feed()

    def broken(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(bad.subscription.cohort.encoder, "change", broken)  # type: ignore[union-attr]
    db.put((1, 1, "a"))
    bad.read()
    good.read()
    assert bad.ended
    assert bad.errors[0][0]["extensions"]["code"] == "unexpected"
    assert good.rows == [[1, 1, "a"]]


def test_subscribers_wait_for_the_first_snapshot() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    feed = Client(hub, plan(ITEMS, Mode.CHANGES))
    query = Client(hub, plan(ITEMS, Mode.LIST))
    clock.run()
    assert not feed.sink.data
    with pytest.raises(RequestError, match="no snapshot yet"):
        answer(hub, plan(ITEMS, Mode.LIST))
    hub.load("items", [(1, 1, "a")], Position("life", 0, 1))
    clock.run()
    feed.read()
    query.read()
    assert feed.rows == query.shown == [[1, 1, "a"]]


def test_a_result_over_the_outbox_bound_ends_its_operation_only() -> None:
    db = Db([(n, n, "x" * 2000) for n in range(1000)])
    query, feed = Client(db.hub, plan(ITEMS, Mode.LIST)), db.feed()
    for _ in range(50):
        db.clock.run()
    query.read()
    feed.read()
    assert query.errors[0][0]["extensions"]["code"] == "result-too-large"
    assert len(feed.rows) == 1000
    assert max(len(line) for line in bytes(feed.sink.data).splitlines()) < 70_000


def test_a_cohort_lingers_and_is_then_forgotten() -> None:
    db = Db([(1, 1, "a")])
    query = Client(db.hub, plan(ITEMS, Mode.LIST))
    db.clock.run()
    cohort = query.subscription.cohort
    query.subscription.cancel()
    db.put((2, 2, "b"))
    back = Client(db.hub, plan(ITEMS, Mode.LIST))
    db.clock.run()
    back.read()
    assert back.subscription.cohort is cohort
    assert back.shown == [[1, 1, "a"], [2, 2, "b"]]
    back.subscription.cancel()
    db.clock.advance(61)
    later = Client(db.hub, plan(ITEMS, Mode.LIST))
    assert later.subscription.cohort is not cohort


def test_who_joins_a_lingering_cohort_while_its_source_is_away_is_told_when_it_is_back() -> None:
    db = Db([(1, 1, "a")])
    query = Client(db.hub, plan(ITEMS, Mode.LIST))
    db.clock.run()
    query.subscription.cancel()
    db.hub.mark("items", SourceState.STALE)
    db.clock.run()
    back = Client(db.hub, plan(ITEMS, Mode.LIST))
    db.clock.run()
    back.read()
    assert back.subscription.cohort is query.subscription.cohort
    assert back.stale
    db.hub.mark("items", SourceState.LIVE)
    db.clock.run()
    back.read()
    assert not back.stale


def test_live_queries_conflate_to_the_latest() -> None:
    db = Db()
    query = Client(db.hub, plan(ITEMS, Mode.LIST), room=1)
    for _ in range(3):
        db.clock.advance(1)
        query.sink.drain()
    db.clock.run()
    for n in range(50):
        db.put((1, n, None))
        db.clock.advance(0.01)
    assert len(query.sink.messages()) <= 3
    query.sink.drain()
    db.clock.run()
    query.read()
    assert query.shown == [[1, 49, None]]


def test_a_changed_incarnation_keeps_subscribers_and_refuses_old_cursors() -> None:
    db = Db([(1, 1, "a")])
    client = db.feed()
    client.read()
    db.hub.apply(Batch(Position("another", 0, 5), {"items": [Change(1, None, (1, 9, "a"))]}, resync=True))
    db.clock.run()
    cursor = client.cursor
    client.read()
    assert client.rows == [[1, 9, "a"]]
    assert sets(client)[-1]["resync"] is True
    assert sets(db.feed(after=cursor))[0]["phase"] == "reset"


def test_a_live_query_never_repeats_a_result() -> None:
    db = Db([(1, 1, "a")])
    queries = []
    for _ in range(3):
        queries.append(Client(db.hub, plan(ITEMS, Mode.LIST)))
        db.clock.advance(1)
    db.put((2, 2, "b"))
    db.clock.advance(1)
    assert [len(query.sink.messages()) for query in queries] == [2, 2, 2]


def test_the_first_frames_of_a_lone_cohort_do_not_wait_and_the_order_stands() -> None:
    db = Db()
    client = db.feed()
    other = db.hub.subscribe(client.operation, client.outbox, b"2", lambda: None)
    db.clock.run()
    seen, writes = len(client.sink.messages()), client.sink.writes
    db.put((1, 1, "a"), tick=False)
    db.put((2, 2, "b"), tick=False)
    db.clock.run()
    news = [(m["id"], m["next"]["data"]["root"]["changes"]) for m in client.sink.messages()[seen:]]  # type: ignore[index]
    first, second = [[None, [1, 1, "a"]]], [[None, [2, 2, "b"]]]
    assert news == [("1", first), ("1", second), ("2", first), ("2", second)]
    assert client.sink.writes == writes + 2, "one for the first operation, one for all the others"
    filtered = db.feed(predicate=Compare(1, "gt", 0))
    seen, writes = len(filtered.sink.messages()), filtered.sink.writes
    for n in (3, 4):
        db.put((n, n, "c"), tick=False)
    db.clock.run()
    assert len(filtered.sink.messages()) == seen + 2
    assert filtered.sink.writes == writes + 1
    other.cancel()

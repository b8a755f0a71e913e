"""Sources that fill in parts, change, go, hold duplicates, and go stale: what their operations are told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.live.live_harness import COPIES, ITEMS, Client, answer, make_hub, plan
from tycostream.config.model import LiveConfig
from tycostream.dataflow.predicate import Compare
from tycostream.errors import RequestError
from tycostream.graphql.plan import Coalesce, Mode, Strategy
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.rows import Batch, Change, Position, Row, RowType
from tycostream.testing.clock import FakeClock

STALE, LIVE = SourceState.STALE, SourceState.LIVE


class Db:
    def __init__(self, row_type: RowType = ITEMS, rows: list[Row] | None = None) -> None:
        self.clock = FakeClock()
        self.hub: Hub = make_hub(self.clock)
        self.hub.remove_source("items")
        self.hub.add_source(row_type, LiveConfig())
        self.row_type = row_type
        self.offset = 1
        if rows is not None:
            self.hub.load("items", rows, Position("life", 0, 1))

    def apply(self, *changes: Change, resync: bool = False) -> None:
        self.offset += 1
        self.hub.apply(Batch(Position("life", 0, self.offset), {"items": changes}, resync))
        self.clock.run()

    def client(self, mode: Mode, room: int | None = None, **arguments: Any) -> Client:
        client = Client(self.hub, plan(self.row_type, mode, **arguments), room)
        self.clock.run()
        return client

    def mark(self, state: SourceState) -> None:
        self.hub.mark("items", state)
        self.clock.run()


def told(client: Client) -> list[tuple[Any, bool | None]]:
    """What came: a set's phase or a query's result, and ``extensions.stale``."""
    results: list[tuple[Any, bool | None]] = []
    for message in client.sink.messages():
        result: Any = message["next"]
        value = result["data"]["root"]
        results.append(
            (value["phase"] if isinstance(value, dict) else value, result.get("extensions", {}).get("stale"))
        )
    return results


def ended_with(client: Client) -> str:
    client.read()
    assert client.ended
    code: str = client.errors[0][0]["extensions"]["code"]
    return code


# filling


def test_a_first_snapshot_in_parts_is_seen_when_it_is_complete() -> None:
    db = Db()
    client = db.client(Mode.CHANGES)
    db.hub.fill("items", [(1, 1, "a")])
    db.hub.fill("items", [(2, 2, "b")])
    db.clock.run()
    assert not client.sink.data
    with pytest.raises(RequestError, match="no snapshot yet"):
        answer(db.hub, plan(ITEMS, Mode.LIST))
    db.hub.loaded("items", Position("life", 0, 1))
    db.clock.run()
    client.read()
    assert client.rows == [[1, 1, "a"], [2, 2, "b"]]


def test_an_abandoned_snapshot_leaves_nothing() -> None:
    db = Db()
    db.hub.fill("items", [(n, n, "a") for n in range(30_000)])
    db.hub.abandon("items")
    db.hub.load("items", [(1, 1, "z")], Position("life", 0, 1))
    db.clock.run()
    assert answer(db.hub, plan(ITEMS, Mode.LIST))["data"]["root"] == [[1, 1, "z"]]


# changing and going


def test_a_source_with_other_columns_ends_what_ran_and_starts_anew() -> None:
    db = Db(ITEMS, [(1, 1, "a")])
    feed, query, copies = (
        db.client(Mode.CHANGES),
        db.client(Mode.LIST),
        Client(db.hub, plan(COPIES, Mode.LIST)),
    )
    other = replace(ITEMS, columns=ITEMS.columns[:2])
    db.hub.add_source(other, LiveConfig())
    assert ended_with(feed) == ended_with(query) == "source-changed"
    assert "'items'" in feed.errors[0][0]["message"]
    assert feed.errors[0][0]["extensions"]["hint"] == "subscribe again with the new schema"
    assert not copies.ended
    assert db.hub.sources["items"].state is SourceState.STARTING
    db.hub.load("items", [(5, 5)], Position("life", 0, 9))
    again = Client(db.hub, plan(other, Mode.CHANGES))
    db.clock.run()
    again.read()
    assert again.rows == [[5, 5]]


def test_the_same_row_type_again_disturbs_nobody() -> None:
    db = Db(ITEMS, [(1, 1, "a")])
    feed = db.client(Mode.CHANGES)
    db.hub.add_source(replace(ITEMS), LiveConfig())
    db.apply(Change(1, None, (1, 2, "a")))
    feed.read()
    assert feed.rows == [[1, 2, "a"]]


def test_a_removed_source_ends_its_operations_waiting_ones_too() -> None:
    db = Db()
    waiting = db.client(Mode.CHANGES)
    db.hub.remove_source("items")
    assert ended_with(waiting) == "source-removed"
    with pytest.raises(RequestError, match="not part of this API any more"):
        db.client(Mode.CHANGES)
    with pytest.raises(RequestError, match="not part of this API any more"):
        answer(db.hub, plan(ITEMS, Mode.LIST))


# duplicates

WATCHED = replace(ITEMS, watched=True)


def test_duplicates_fail_a_source_that_heals_by_itself() -> None:
    db = Db(WATCHED, [(1, 1, "a"), (2, 2, "b")])
    feed, query = db.client(Mode.CHANGES), db.client(Mode.LIST)
    feed.read()
    db.apply(Change(1, None, (1, 9, "z")))
    assert ended_with(feed) == ended_with(query) == "source-failed"
    assert "the key of 'items' is not unique" in feed.errors[0][0]["message"]
    assert "id = 1" not in str(feed.errors)
    assert "choose another `primary_key`" in feed.errors[0][0]["extensions"]["hint"]
    error = db.hub.sources["items"].error
    assert error is not None
    assert error.code == "duplicate-key"
    db.apply(Change(2, (2, 2, "b"), (2, 3, "b")))
    db.mark(LIVE)  # its feed sees no fault in it
    assert db.hub.sources["items"].state is SourceState.FAILED
    db.apply(Change(1, (1, 1, "a"), None))
    assert db.hub.sources["items"].state is LIVE
    back = db.client(Mode.CHANGES, after=feed.cursor)
    back.read()
    assert back.phases == ["reset", "snapshot", "ready"]
    assert back.rows == [[1, 9, "z"], [2, 3, "b"]]


def test_an_insert_before_its_delete_is_no_duplicate() -> None:
    db = Db(WATCHED, [(1, 1, "a")])
    feed = db.client(Mode.CHANGES)
    db.apply(Change(1, None, (1, 2, "a")), Change(1, (1, 1, "a"), None))
    feed.read()
    assert feed.rows == [[1, 2, "a"]]


@pytest.mark.parametrize("later", [False, True])
def test_duplicates_in_a_snapshot(later: bool) -> None:
    rows = [(1, 1, "a"), (1, 2, "b")]
    db = Db(WATCHED, rows[:1] if later else rows)
    if later:
        db.mark(STALE)
        db.apply(*db.hub.sources["items"].store.diff(rows), resync=True)
    db.mark(LIVE)
    assert db.hub.sources["items"].state is SourceState.FAILED
    db.apply(*db.hub.sources["items"].store.diff(rows[1:]), resync=True)
    assert db.hub.sources["items"].state is LIVE
    assert answer(db.hub, plan(WATCHED, Mode.LIST))["data"]["root"] == [[1, 2, "b"]]


# staleness


def test_every_open_operation_is_told_once_and_at_once() -> None:
    db = Db(ITEMS, [(1, 1, "a")])
    feed, query, paced = (
        db.client(Mode.CHANGES),
        db.client(Mode.LIST),
        db.client(Mode.CHANGES, coalesce=Coalesce(60_000, Strategy.WINDOW)),
    )
    for state in (STALE, STALE, LIVE, LIVE):
        db.mark(state)
    for client in (feed, paced):
        assert told(client) == [("snapshot", None), ("ready", None), ("live", True), ("live", False)]
    assert told(query) == [([[1, 1, "a"]], None), ([[1, 1, "a"]], True), ([[1, 1, "a"]], False)]
    last: Any = feed.sink.messages()[-1]
    assert (last["next"]["data"]["root"]["complete"], last["next"]["data"]["root"]["changes"]) == (True, [])


def test_an_operation_that_starts_stale_is_told_so_first() -> None:
    db = Db(ITEMS, [(1, 1, "a")])
    db.mark(STALE)
    feed, now = db.client(Mode.CHANGES), db.client(Mode.CHANGES, snapshot=False)
    query = db.client(Mode.LIST)
    assert told(feed) == [("snapshot", True), ("ready", True)]
    assert told(now) == [("ready", True)]
    assert told(query) == [([[1, 1, "a"]], True)]
    assert answer(db.hub, plan(ITEMS, Mode.LIST))["extensions"] == {"stale": True}
    db.mark(LIVE)
    assert told(now)[-1] == ("live", False)
    assert told(query)[-1] == ([[1, 1, "a"]], False)
    assert "extensions" not in answer(db.hub, plan(ITEMS, Mode.LIST))


@pytest.mark.parametrize("mode", [Mode.CHANGES, Mode.LIST])
def test_who_is_behind_learns_it_when_it_reads(mode: Mode) -> None:
    db = Db(ITEMS, [(1, 1, "a")])
    slow, never = db.client(mode, room=1), db.client(mode, room=1)
    for client in (slow, never):
        for _ in range(4):
            client.sink.drain()
            db.clock.run()
        db.apply(Change(1, None, (1, db.offset + 5, "a")))
        db.clock.advance(1)
    before = [len(told(client)) for client in (slow, never)]
    db.mark(STALE)
    assert [len(told(client)) for client in (slow, never)] == before
    for _ in range(4):
        slow.sink.drain()
        db.clock.run()
    assert [stale for _, stale in told(slow)[before[0] :]].count(True) == 1
    db.mark(LIVE)
    for _ in range(4):
        for client in (slow, never):
            client.sink.drain()
            db.clock.run()
    assert told(slow)[-1][1] is False
    assert all(stale is None for _, stale in told(never)), "it was away for the whole time"


def test_a_resync_and_the_good_news() -> None:
    db = Db(ITEMS, [(1, 1, "a")])
    feed, query = db.client(Mode.CHANGES, predicate=Compare(1, "lt", 9)), db.client(Mode.LIST)
    db.mark(STALE)
    db.clock.advance(1)
    db.hub.apply(Batch(Position("life", 0, 9), {"items": [Change(1, None, (1, 2, "a"))]}, resync=True))
    db.mark(LIVE)
    feed.read()
    assert feed.rows == [[1, 2, "a"]]
    assert [stale for _, stale in told(feed)[2:]] == [True, None, False]
    assert told(query)[-1] == ([[1, 2, "a"]], False)


# one-shot queries

WIDE = RowType("items", ITEMS.columns, key=(0,))


async def test_a_large_query_is_whole_at_one_moment_and_may_be_cancelled() -> None:
    rows: list[Row] = [(n, n % 7, "x") for n in range(9000)]
    db = Db(WIDE, rows)
    operation = plan(WIDE, Mode.LIST)
    tasks = [asyncio.create_task(db.hub.query(operation)) for _ in range(3)]
    await asyncio.sleep(0)
    moved = 0
    while not tasks[0].done():
        db.hub.apply(
            Batch(
                Position("life", 0, 2 + moved),
                {"items": [Change(1, None, (1, moved, "x")), Change(8999, None, (8999, moved, "x"))]},
            )
        )
        moved += 1
        if moved == 2:
            tasks[1].cancel()
        db.clock._soon.popleft()() if db.clock._soon else None
        await asyncio.sleep(0)
    value = json.loads(await tasks[0])["data"]["root"]
    assert moved > 10
    assert len(value) == 9000
    assert value[1][1] == value[8999][1] > 0, "both rows of each transaction, or neither"
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    while not tasks[2].done():
        db.clock.run()
        await asyncio.sleep(0)
    assert not db.hub._cohorts.known, "what was made for the queries is gone"


async def test_a_source_that_goes_ends_the_queries_that_wait_for_it() -> None:
    db = Db(WIDE, [(n, n % 7, "x") for n in range(9000)])
    task = asyncio.create_task(db.hub.query(plan(WIDE, Mode.LIST)))
    await asyncio.sleep(0)
    db.hub.remove_source("items")
    with pytest.raises(RequestError, match="not part of this API"):
        await task

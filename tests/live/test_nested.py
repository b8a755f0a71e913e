"""Nested rows: who is told of a change, and what becomes of operations when a source that they only read goes."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from tests.live.live_harness import Client, answer
from tycostream.auth.session import Session
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import LiveConfig, LogConfig, SourceConfig
from tycostream.dataflow.order import SortKey
from tycostream.errors import RequestError, TycoError
from tycostream.graphql.execute import Planner
from tycostream.live import rendering as rendering_module
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Column, Key, Position, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.clock import FakeClock


def table(source: str, *columns: str) -> RowType:
    named = [Column(name, SCALARS["int4"], nullable=name != "id") for name in columns]
    return RowType(source, tuple(named), key=(0,))


TYPES = (table("desks", "id", "n"), table("trades", "id", "desk", "price"))
SOURCES = {
    "desks": {"trades": {"array": "trades", "on": {"id": "desk"}}},
    "trades": {"of": {"object": "desks", "on": {"desk": "id"}}},
}


def planner(limits: dict[str, int]) -> Planner:
    return Planner(
        TYPES,
        sources={
            name: SourceConfig.model_validate({"name": name, "relationships": given})
            for name, given in SOURCES.items()
        },
        limits=LimitsConfig.model_validate(limits),
    )


PLANNER = planner({})
CHEAPEST = "{ root: desks(order_by: {id: asc}) { id trades(order_by: {price: asc}, limit: 1) { id price } } }"
OF_DEAR_DESKS = "{ root: trades(where: {of: {n: {_gt: 5}}}, order_by: {of: {n: desc}}) { id of { n } } }"


class World:
    """Two desks with two trades each."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.hub = Hub(self.clock, silent, CursorBox(["test"]), outbox_bytes_max=1 << 20)
        for row_type in TYPES:
            self.hub.add_source(row_type, LiveConfig())
        self.at = 0
        self.hub.load("desks", [(1, 1), (2, 9)], Position("life", 0, 0))
        self.hub.load("trades", [(10, 1, 5), (11, 1, 7), (20, 2, 5), (21, 2, 7)], Position("life", 0, 0))

    def subscribe(self, query: str) -> Client:
        client = Client(self.hub, PLANNER.plan(f"subscription {query}", None, {}, Session()))
        self.clock.run()
        client.read()
        return client

    def put(self, **rows: tuple[int, Row | None]) -> None:
        self.at += 1
        changes = {name: [Change(key, None, row)] for name, (key, row) in rows.items()}
        self.hub.apply(Batch(Position("life", 0, self.at), changes))
        self.clock.advance(1)

    def put_all(self, name: str, *rows: tuple[int, Row | None]) -> None:
        self.at += 1
        changes = [Change(key, None, row) for key, row in rows]
        self.hub.apply(Batch(Position("life", 0, self.at), {name: changes}))
        self.clock.advance(1)


@pytest.fixture
def world() -> World:
    return World()


def test_only_what_shows_is_told(world: World) -> None:
    client = world.subscribe(CHEAPEST)
    assert [desk["trades"] for desk in client.shown] == [[{"id": 10, "price": 5}], [{"id": 20, "price": 5}]]
    messages = len(client.sink.messages())
    world.put(trades=(11, (11, 1, 8)))
    assert len(client.sink.messages()) == messages, "a trade behind the limit"
    world.put(trades=(11, (11, 1, 3)))
    client.read()
    assert client.shown[0]["trades"] == [{"id": 11, "price": 3}]
    world.put(trades=(11, (11, 2, 3)))
    client.read()
    assert [desk["trades"][0]["id"] for desk in client.shown] == [10, 11], "it left one desk for the other"


def test_a_related_row_decides_sight_and_order(world: World) -> None:
    client = world.subscribe(OF_DEAR_DESKS)
    assert [trade["id"] for trade in client.shown] == [20, 21]
    world.put(desks=(1, (1, 99)))
    client.read()
    assert client.shown == [
        {"id": 10, "of": {"n": 99}},
        {"id": 11, "of": {"n": 99}},
        {"id": 20, "of": {"n": 9}},
        {"id": 21, "of": {"n": 9}},
    ]
    world.put(desks=(2, None), trades=(10, (10, 2, 5)))
    client.read()
    assert [trade["id"] for trade in client.shown] == [11], "in one batch its desk went, and it to that desk"


def test_a_one_shot_query_shows_what_the_live_one_does(world: World) -> None:
    client = world.subscribe(CHEAPEST)
    world.put(trades=(11, (11, 1, 3)))
    client.read()
    for query in (CHEAPEST, CHEAPEST.replace("id price", "price id")):
        value = answer(world.hub, PLANNER.plan(query, None, {}, Session()))["data"]["root"]
        assert value == client.shown


def test_a_feed_follows_what_its_condition_reads(world: World) -> None:
    query = "{ root: trades_changes(where: {of: {n: {_gt: 5}}}) "
    query += "{ phase complete resync cursor changes { operation row { id } old { id } } } }"
    client = Client(world.hub, PLANNER.plan(f"subscription {query}", None, {}, Session()))
    world.clock.run()

    def told() -> list[tuple[str, list[tuple[str, int]]]]:
        sets = [message["next"]["data"]["root"] for message in client.sink.messages()]  # type: ignore[index]
        return [
            (
                each["phase"],
                [(c["operation"], (c["row"] or c["old"])["id"]) for c in each["changes"]],
            )
            for each in sets
        ]

    assert told() == [("snapshot", [("insert", 20), ("insert", 21)]), ("ready", [])]
    world.put(desks=(1, (1, 99)), trades=(20, None))
    assert sorted(told()[-1][1]) == [("delete", 20), ("insert", 10), ("insert", 11)], "one set for one batch"
    cursor = json.loads(json.dumps(client.sink.messages()[-1]))["next"]["data"]["root"]["cursor"]
    world.put(desks=(2, None))
    again = query.replace("where:", f'after: "{cursor}", where:')
    back = Client(world.hub, PLANNER.plan(f"subscription {again}", None, {}, Session()))
    world.clock.run()
    first: Any = back.sink.messages()[0]
    assert first["next"]["data"]["root"]["changes"] == [
        {"operation": "delete", "row": None, "old": {"id": 21}}
    ]


@pytest.mark.parametrize("end", ["failed", "removed"])
@pytest.mark.parametrize(("query", "other"), [(CHEAPEST, "trades"), (OF_DEAR_DESKS, "desks")])
def test_an_operation_ends_with_any_source_that_it_reads(
    world: World, query: str, other: str, end: str
) -> None:
    client = world.subscribe(query)
    if end == "failed":
        world.hub.mark(other, SourceState.FAILED, TycoError("x", "gone"))
    else:
        world.hub.remove_source(other)
    world.clock.run()
    client.read()
    assert client.ended
    assert f"source-{end}" in json.dumps(client.errors)
    world.clock.advance(1000)
    for left in world.hub.sources.values():
        assert not len(left.fragments)
        assert not left.indexes._held


def test_staleness_of_any_source_is_told(world: World) -> None:
    client = world.subscribe(CHEAPEST)
    world.hub.mark("trades", SourceState.STALE)
    world.clock.run()
    client.read()
    assert client.stale
    world.hub.mark("trades", SourceState.LIVE)
    world.clock.advance(1)
    client.read()
    assert not client.stale


LIMITED = planner({"rows_limit": 6, "live_rows_limit": 3})
BACK_AND_FORTH = "{ root: desks { id trades { of { id trades { id } } } } }"


@pytest.mark.parametrize("query", ["{ root: trades { id } }", "{ root: desks { trades { id } } }"])
def test_a_live_result_of_more_rows_than_it_may_have_ends(world: World, query: str) -> None:
    client = Client(world.hub, LIMITED.plan(f"subscription {query}", None, {}, Session()))
    world.clock.run()
    client.read()
    assert client.ended
    assert "more than 3 rows" in json.dumps(client.errors)
    assert "live_rows_limit" in json.dumps(client.errors)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("nested", "rows"),
    [
        ("trades { id }", 4),
        ("trades { id of { id trades { id } } }", 16),
        ("trades_aggregate { nodes { id } }", 4),
    ],
)
@pytest.mark.parametrize("fewer", [0, 1])
def test_rows_that_are_encoded_already_count(
    world: World, nested: str, rows: int, fewer: int, warm: bool
) -> None:
    if warm:
        world.subscribe(f"{{ root: desks {{ id {nested} }} }}")
    asked = f"subscription {{ root: desks(order_by: {{n: desc}}) {{ id {nested} }} }}"
    limited = planner({"live_rows_limit": rows - fewer})
    client = Client(world.hub, limited.plan(asked, None, {}, Session()))
    world.clock.run()
    client.read()
    if fewer:
        assert f"more than {rows - fewer} rows, with those nested in it" in json.dumps(client.errors)
    else:
        assert len(client.shown) == 2
        assert not client.errors


def test_rows_that_multiply_are_refused_before_they_are_all_made(world: World) -> None:
    with pytest.raises(RequestError, match="more than 6 rows, with those nested in it"):
        answer(world.hub, LIMITED.plan(BACK_AND_FORTH, None, {}, Session()))
    plan = PLANNER.plan(BACK_AND_FORTH, None, {}, Session())
    assert len(answer(world.hub, plan)["data"]["root"]) == 2


def test_bytes_that_multiply_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering_module, "_NESTED_BYTES_MAX", 200)
    with pytest.raises(RequestError, match="too large"):
        answer(world.hub, PLANNER.plan(BACK_AND_FORTH, None, {}, Session()))


def test_a_result_that_was_refused_is_right_when_it_is_asked_for_again(world: World) -> None:
    plan = planner({"live_rows_limit": 8}).plan(
        "subscription { root: desks { trades { id } } }", None, {}, Session()
    )
    first = Client(world.hub, plan)
    world.clock.run()
    many = [(n, (n, 1, 0)) for n in range(30, 40)]
    world.put_all("trades", *many, (20, None))
    first.read()
    assert "more than 8 rows" in json.dumps(first.errors)
    world.put_all("trades", *((n, None) for n, _ in many))
    again = Client(world.hub, plan)
    world.clock.run()
    again.read()
    assert again.shown == [{"trades": [{"id": 10}, {"id": 11}]}, {"trades": [{"id": 21}]}]


def test_what_is_encoded_again_before_it_is_shown_is_not_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering_module, "ROWS_PER_STEP", 2)
    plan = planner({"live_rows_limit": 6}).plan(
        "subscription { root: desks { trades { id price } } }", None, {}, Session()
    )
    client = Client(world.hub, plan)
    for price in range(4):  # between one slice and the next
        world.clock._soon.popleft()()
        world.at += 1
        changes = [Change(n, None, (n, n // 10, price)) for n in (10, 11, 20, 21)]
        world.hub.apply(Batch(Position("life", 0, world.at), {"trades": changes}))
    world.clock.advance(1)
    client.read()
    assert not client.errors
    assert [trade["price"] for desk in client.shown for trade in desk["trades"]] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    "query",
    [
        "{ root: desks(order_by: {id: asc}) { id trades { id } } }",  # many rows, with hardly any in them
        "{ root: desks(where: {id: {_eq: 1}}) { trades_aggregate { aggregate { count } } } }",
        "{ root: desks(where: {id: {_eq: 1}}) { trades(limit: 1) { id } } }",  # few rows, out of many
    ],
)
async def test_what_takes_long_is_not_answered_in_one_step(world: World, query: str) -> None:
    world.put_all("desks", *((n, (n, 1)) for n in range(100, 9000)))
    world.put_all("trades", *((n, (n, 1, 1)) for n in range(100, 9000)))
    world.subscribe("{ root: desks(order_by: {id: asc}) { id } }")
    expected = PLANNER.plan(query, None, {}, Session())
    asked = asyncio.ensure_future(world.hub.query(expected))
    await asyncio.sleep(0)
    assert not asked.done()
    while not asked.done():
        world.clock.run()
        await asyncio.sleep(0)
    assert asked.result().startswith(b'{"data":{"root":[{')


def test_of_many_rows_that_look_different_a_window_asks_for_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.subscribe("{ root: trades(order_by: {price: desc}, limit: 2) { id of { n } } }")
    world.put_all("trades", *((n, (n, 1, n)) for n in range(100, 5000)))
    (arranged,) = world.hub.sources["trades"].arrangements._names
    arrangement: Any = arranged.arrangement
    sort_key = arrangement._sort_key
    asked: list[Key] = []

    def counted(key: Key, row: Row) -> SortKey:
        asked.append(key)
        return cast(SortKey, sort_key(key, row))

    monkeypatch.setattr(arrangement, "_sort_key", counted)
    world.put(desks=(1, (1, 77)))
    client.read()
    assert client.shown == [{"id": 4999, "of": {"n": 77}}, {"id": 4998, "of": {"n": 77}}]
    assert len(asked) < 100


def test_who_cannot_be_told_of_nested_rows_ends_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = world.subscribe("{ root: desks(order_by: {id: asc}) { id trades { id } } }")
    plain = world.subscribe("{ root: desks(order_by: {id: asc}) { id n } }")
    (arranged,) = world.hub.sources["desks"].arrangements._names
    assert len(arranged.readers) == 2
    cohort: Any = nested.subscription.cohort
    (branch,) = cohort.roots[0].fragments.branches
    monkeypatch.setattr(branch._groups, "_removed", lambda *_: 1 // 0)
    world.put(trades=(10, None))
    world.put(desks=(1, (1, 3)))
    nested.read()
    plain.read()
    assert "internal error" in json.dumps(nested.errors)
    assert plain.shown == [{"id": 1, "n": 3}, {"id": 2, "n": 9}]


def test_a_stream_whose_nested_rows_cannot_be_followed_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "subscription { root: desks_stream(batch_size: 5, cursor: [{initial_value: {id: 0}}]) { id trades { id } } }"
    stream = Client(world.hub, PLANNER.plan(asked, None, {}, Session()))
    world.clock.run()
    stream.read()
    cohort: Any = stream.subscription.cohort
    (branch,) = cohort._nested._fragments.branches
    monkeypatch.setattr(branch._groups, "_removed", lambda *_: 1 // 0)
    world.put(trades=(10, None))
    stream.read()
    assert "internal error" in json.dumps(stream.errors)
    monkeypatch.undo()
    again = Client(world.hub, PLANNER.plan(asked, None, {}, Session()))
    world.clock.run()
    again.read()
    assert json.loads(json.dumps(again.sink.messages()[-1]))["next"]["data"]["root"][0] == {
        "id": 1,
        "trades": [{"id": 11}],
    }


def test_a_row_that_is_looked_at_again_and_is_as_it_was_is_not_told(world: World) -> None:
    client = world.subscribe("{ root: trades(where: {of: {n: {_gt: 5}}}) { id } }")
    cohort: Any = client.subscription.cohort
    rendered = cohort._captured
    world.put(desks=(2, (2, 10)))
    assert cohort._captured == rendered
    world.put(desks=(1, (1, 6)))
    client.read()
    assert cohort._captured == rendered + 1
    assert [trade["id"] for trade in client.shown] == [10, 11, 20, 21]


def test_a_feed_whose_log_cannot_be_kept_ends_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "phase changes { row { id } } }"
    feed = f"{{ root: trades_changes(where: {{of: {{n: {{_gt: 5}}}}}}) {{ {wanted} }}"
    follower = Client(world.hub, PLANNER.plan(f"subscription {feed}", None, {}, Session()))
    world.clock.run()
    (sight,) = world.hub._cohorts.sights.values()
    monkeypatch.setattr(sight.log, "append", lambda *_, **__: 1 // 0)
    world.put(desks=(1, (1, 99)))
    messages = follower.sink.messages()
    assert "internal error" in json.dumps(messages[-1])
    assert follower.ended


def test_a_log_of_what_is_seen_keeps_to_the_bounds_of_its_source(world: World) -> None:
    feed = "{ root: trades_changes(where: {of: {n: {_gt: 5}}}) { phase changes { row { id } } } }"
    Client(world.hub, PLANNER.plan(f"subscription {feed}", None, {}, Session()))
    world.clock.run()
    (sight,) = world.hub._cohorts.sights.values()
    world.put(desks=(1, (1, 99)))
    assert sight.log.bytes > 0
    world.clock.advance(2 * LiveConfig().log.keep.total_seconds())
    assert sight.log.bytes == 0, "too old"
    world.put(desks=(1, (1, 1)))
    assert sight.log.bytes > 0
    world.hub.configure("trades", LiveConfig(log=LogConfig(bytes=1)))
    assert sight.log.bytes == 0, "too much"

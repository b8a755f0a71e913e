"""Nested rows: who is told of a change, and what becomes of operations when a source that they only read goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.live.live_harness import Client, answer
from tycostream.auth.session import Session
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import LiveConfig, SourceConfig
from tycostream.errors import RequestError, TycoError
from tycostream.graphql.execute import Planner
from tycostream.live import rendering as rendering_module
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Column, Position, Row, RowType
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
PLANNER = Planner(
    TYPES,
    sources={
        name: SourceConfig.model_validate({"name": name, "relationships": given})
        for name, given in SOURCES.items()
    },
)
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


LIMITED = Planner(
    TYPES,
    sources={
        name: SourceConfig.model_validate({"name": name, "relationships": given})
        for name, given in SOURCES.items()
    },
    limits=LimitsConfig.model_validate({"rows_limit": 6, "live_rows_limit": 3}),
)
BACK_AND_FORTH = "{ root: desks { id trades { of { id trades { id } } } } }"


@pytest.mark.parametrize("query", ["{ root: trades { id } }", "{ root: desks { trades { id } } }"])
def test_a_live_result_of_more_rows_than_it_may_have_ends(world: World, query: str) -> None:
    client = Client(world.hub, LIMITED.plan(f"subscription {query}", None, {}, Session()))
    world.clock.run()
    client.read()
    assert client.ended
    assert "more than 3 rows" in json.dumps(client.errors)
    assert "live_rows_limit" in json.dumps(client.errors)


def test_rows_that_multiply_are_refused_before_they_are_all_made(world: World) -> None:
    with pytest.raises(RequestError, match="more than 6 rows, with those nested in it"):
        answer(world.hub, LIMITED.plan(BACK_AND_FORTH, None, {}, Session()))
    plan = PLANNER.plan(BACK_AND_FORTH, None, {}, Session())
    assert len(answer(world.hub, plan)["data"]["root"]) == 2


def test_bytes_that_multiply_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering_module, "_NESTED_BYTES_MAX", 200)
    with pytest.raises(RequestError, match="too large"):
        answer(world.hub, PLANNER.plan(BACK_AND_FORTH, None, {}, Session()))

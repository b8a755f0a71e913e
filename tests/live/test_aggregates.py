"""Live aggregates: what is kept change by change is what brute force finds, after every batch, for every kind of window."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest

from tests.live.live_harness import Client, answer
from tycostream.auth.session import Session
from tycostream.config.load import loads
from tycostream.config.model import LiveConfig
from tycostream.dataflow import aggregation, hydration
from tycostream.dataflow.aggregate import Accumulator, aggregated
from tycostream.dataflow.predicate import evaluate
from tycostream.dataflow.view import View
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Plan, RootPlan, rows_of, totals_of
from tycostream.live import arranged, rendering
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import Event, silent
from tycostream.rows import Batch, Change, Column, Position, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.clock import FakeClock

TRADES = RowType(
    "trades",
    (
        Column("id", SCALARS["int4"], nullable=False),
        Column("symbol", SCALARS["text"]),
        Column("price", SCALARS["numeric"]),
        Column("qty", SCALARS["float8"]),
    ),
    key=(0,),
)
COPIES = RowType("copies", (Column("symbol", SCALARS["text"]), Column("qty", SCALARS["float8"])))
PLANNER = Planner([TRADES, COPIES], multi_root_subscriptions=True)
ALL = "aggregate {count(columns: [symbol, qty]) sum {price qty} avg {price qty} max {price symbol} stddev {price}}"
QUERIES = [
    "trades_aggregate {aggregate {count}}",
    f"trades_aggregate {{{ALL}}}",
    f'trades_aggregate(where: {{symbol: {{_eq: "a"}}}}) {{{ALL} again: aggregate {{count min {{qty}}}}}}',
    "trades_aggregate(where: {price: {_gt: 2}}, order_by: {price: desc}) {aggregate {count} nodes {id price}}",
    f"trades_aggregate(order_by: [{{symbol: asc}}, {{qty: desc}}], limit: 3, offset: 1) {{{ALL}}}",
    f"trades_aggregate(distinct_on: symbol, order_by: [{{symbol: asc}}, {{price: desc}}]) {{{ALL} a: nodes {{id}} b: nodes {{qty}}}}",
    "trades_aggregate(limit: 0) {aggregate {count sum {price}} nodes {id}}",
    "trades_aggregate {__typename}",
    "copies_aggregate {aggregate {count distinct: count(columns: symbol, distinct: true) sum {qty}}}",
]


def planned(query: str) -> Plan:
    return PLANNER.plan(f"subscription {{root: {query}}}", None, None, Session())


def hub_of(clock: FakeClock, emit: Any = silent) -> Hub:
    hub = Hub(clock, emit, CursorBox(["test"]), outbox_bytes_max=1 << 20)
    for row_type in (TRADES, COPIES):
        hub.add_source(row_type, LiveConfig())
    return hub


def expected(plan: Plan, rows: list[Row]) -> Any:
    """By brute force: filter, sort, cut, aggregate; written by the plan's own encoder."""
    root = plan.roots[0]
    assert isinstance(root, RootPlan)
    found = sorted(
        (row for row in rows if evaluate(root.predicate, row)), key=lambda row: (row[0] is None, row[0])
    )
    for term in reversed(root.order):
        place = term.column  # type: ignore[union-attr]
        nulls = [row for row in found if row[place] is None]
        there = [row for row in found if row[place] is not None]
        there.sort(key=lambda row: row[place], reverse=term.descending)
        found = nulls + there if term.nulls_first else there + nulls
    if root.distinct_on:
        firsts: dict[Any, Row] = {}
        for row in found:
            firsts.setdefault(tuple(row[place] for place in root.distinct_on), row)
        found = list(firsts.values())
    found = found[root.offset : None if root.limit is None else root.offset + root.limit]
    encoder = totals_of(root)
    nodes = rows_of(root)
    cells = aggregated(encoder.aggregates, root.row_type or TRADES, found)
    return json.loads(encoder.value(cells, [nodes.row(row) for row in found] if nodes is not None else []))


def some_row(chance: random.Random, key: int) -> Row:
    price = chance.choice([None, Decimal(chance.randrange(500)) / 100, Decimal(chance.randrange(9))])
    return (key, chance.choice([None, "a", "b", "c"]), price, chance.choice([None, 0.1, 2.5, 1e10, -3.0]))


@pytest.mark.parametrize("seed", range(6))
def test_results_are_those_of_brute_force(seed: int) -> None:
    """In one step or in slices; whoever was there from the beginning sees what a query is told that comes now."""
    chance = random.Random(seed)
    clock = FakeClock()
    hub = hub_of(clock)
    step = chance.choice([2, 1000])
    with (
        patch.object(hydration, "ROWS_PER_STEP", step),
        patch.object(aggregation, "ROWS_PER_STEP", step),
        patch.object(arranged, "ROWS_PER_STEP", step),
        patch.object(rendering, "ROWS_PER_STEP", step),
    ):
        rows = {key: some_row(chance, key) for key in range(chance.choice([0, 8, 30]))}
        copies: list[Row] = [("a", 1.5)] * 2 + [(None, None)]
        hub.load("trades", list(rows.values()), Position("l", 0, 1))
        hub.load("copies", copies, Position("l", 0, 1))
        plans = [planned(query) for query in QUERIES]
        clients = [Client(hub, plan) for plan in plans]
        for offset in range(2, 30):
            clock.run()
            clock.advance(1)
            there = {"trades": list(rows.values()), "copies": copies}
            for plan, client in zip(plans, clients, strict=True):
                root = plan.roots[0]
                assert isinstance(root, RootPlan)
                client.read()
                assert client.errors == []
                assert client.shown == expected(plan, there[root.source]), root
                if step > 2:
                    assert answer(hub, plan)["data"]["root"] == client.shown
            changes = []
            for key in chance.sample(range(40), chance.choice([1, 1, 2, 6])):
                new = None if key in rows and chance.random() < 0.4 else some_row(chance, key)
                changes.append(Change(key, rows.pop(key, None), new))
                if new is not None:
                    rows[key] = new
            row: Row = (chance.choice([None, "a", "z"]), chance.choice([0.25, None]))
            moved = [Change(None, None, row)]
            copies.append(row)
            if len(copies) > 4:
                moved.append(Change(None, copies.pop(0), None))
            hub.apply(Batch(Position("l", 0, offset), {"trades": changes, "copies": moved}))


RELATED = [
    "trades_aggregate(where: {venue: {open: {_eq: true}}}) {aggregate {count sum {price} max {id}}}",
    "trades_aggregate(where: {_not: {venue: {open: {_eq: true}}}}) {aggregate {count} nodes {id venue {open}}}",
    "venues_aggregate(where: {trades_aggregate: {count: {filter: {price: {_gt: 1}}, predicate: {_gte: 2}}}}) {aggregate {count}}",
    "venues(order_by: [{trades_aggregate: {sum: {price: desc}}}, {name: asc}]) {name total: trades_aggregate {aggregate {count sum {price}}}}",
    "venues(order_by: {name: asc}) {name trades_aggregate(order_by: {price: desc}, limit: 2) {aggregate {sum {price}} nodes {id} ids: nodes {id}}}",
]


@pytest.mark.parametrize("seed", range(4))
def test_aggregates_follow_what_their_conditions_read(seed: int) -> None:
    """Of other sources: what a live query shows is what the same query gives that is asked afresh of a hub that is new."""
    chance = random.Random(100 + seed)
    clock = FakeClock()
    text = """
databases: {main: {url: 'host=db'}}
sources:
  trades: {relationships: {venue: {object: venues, on: {symbol: name}}}}
  venues: {relationships: {trades: {array: trades, on: {name: symbol}}}}
"""
    venues = RowType(
        "venues", (Column("name", SCALARS["text"], nullable=False), Column("open", SCALARS["bool"])), key=(0,)
    )
    planner = Planner([TRADES, venues], sources=loads(text, environ={}).sources)
    plans = [planner.plan(f"subscription {{root: {query}}}", None, None, Session()) for query in RELATED]
    rows: dict[str, dict[Any, Row]] = {
        "trades": {n: some_row(chance, n) for n in range(12)},
        "venues": {"a": ("a", True), "b": ("b", False)},
    }

    def fresh() -> Hub:
        hub = Hub(clock, silent, CursorBox(["test"]), outbox_bytes_max=1 << 20)
        for row_type in (TRADES, venues):
            hub.add_source(row_type, LiveConfig())
            hub.load(row_type.source, list(rows[row_type.source].values()), Position("l", 0, 1))
        return hub

    hub = fresh()
    clients = [Client(hub, plan) for plan in plans]
    step = chance.choice([2, 1000])
    with patch.object(aggregation, "ROWS_PER_STEP", step), patch.object(arranged, "ROWS_PER_STEP", step):
        for offset in range(2, 25):
            clock.run()
            clock.advance(1)
            other = fresh()
            for query, plan, client in zip(RELATED, plans, clients, strict=True):
                anew = Client(other, plan)
                clock.run()
                for each in (client, anew):
                    each.read()
                    assert each.errors == []
                assert client.shown == anew.shown, query
            trades, names = rows["trades"], rows["venues"]
            changes: dict[str, list[Change]] = {"trades": [], "venues": []}
            for n in chance.sample(range(15), chance.choice([0, 1, 3])):
                new = None if n in trades and chance.random() < 0.4 else some_row(chance, n)
                changes["trades"].append(Change(n, trades.pop(n, None), new))
                if new is not None:
                    trades[n] = new
            for name in chance.sample("abc", chance.choice([0, 1, 2])):
                venue = (
                    None
                    if name in names and chance.random() < 0.4
                    else (name, chance.choice([True, False, None]))
                )
                changes["venues"].append(Change(name, names.pop(name, None), venue))
                if venue is not None:
                    names[name] = venue
            hub.apply(Batch(Position("l", 0, offset), changes))
    clock.run()
    clock.advance(1)
    clients[0].read()
    total = clients[0].subscription.cohort.roots[0].arranged.arrangement  # type: ignore[union-attr]
    assert isinstance(total, aggregation.Aggregation)
    count = clients[0].shown["aggregate"]["count"]
    assert total.kept == 2 * count  # the rows, for their condition may change, and the keys, for the largest


def test_who_asks_the_same_shares_one_and_it_goes_with_the_last() -> None:
    clock = FakeClock()
    hub = hub_of(clock)
    hub.load("trades", [(n, "a", None, 1.0) for n in range(10)], Position("l", 0, 1))
    known = hub.sources["trades"].arrangements._known
    first = Client(hub, planned("trades_aggregate {aggregate {count}}"))
    second = Client(hub, planned("trades_aggregate(order_by: {id: asc}) {total: aggregate {count}}"))
    clock.run()
    assert len(known) == 1
    for client in (first, second):
        client.subscription.cancel()
    clock.advance(61)
    assert not known
    assert not hub.sources["trades"].router.route([Change(99, None, (99, "a", None, None))])


def test_what_changes_no_result_is_not_computed_and_not_sent() -> None:
    clock = FakeClock()
    hub = hub_of(clock)
    hub.load("trades", [(1, "a", Decimal(1), 1.0)], Position("l", 0, 1))
    client = Client(hub, planned("trades_aggregate {aggregate {count sum {qty}}}"))
    clock.run()
    clock.advance(1)
    with patch.object(rendering, "totals_of", side_effect=AssertionError):
        hub.apply(Batch(Position("l", 0, 2), {"trades": [Change(1, None, (1, "b", Decimal(2), 1.0))]}))
        clock.run()
        clock.advance(1)
    client.read()
    assert client.seen == 1
    assert client.errors == []


def test_an_error_ends_who_reads_it_and_the_next_has_it_made_anew() -> None:
    clock = FakeClock()
    events: list[Event] = []
    hub = hub_of(clock, events.append)
    hub.load("trades", [(1, "a", Decimal(1), 1.0)], Position("l", 0, 1))
    plan = planned("trades_aggregate {aggregate {count}}")
    client, other = Client(hub, plan), Client(hub, planned("trades_aggregate {nodes {id}}"))
    clock.run()
    kind = type(Accumulator(totals_of(plan.roots[0]).aggregates, TRADES))  # type: ignore[arg-type]
    with patch.object(kind, "add", side_effect=ArithmeticError("odd")):
        hub.apply(Batch(Position("l", 0, 2), {"trades": [Change(2, None, (2, "b", None, None))]}))
    clock.run()
    clock.advance(1)
    for each in (client, other):
        each.read()
    assert client.ended
    assert [error["message"] for [error] in client.errors] == ["internal error: this operation was ended"]
    assert other.shown == {"nodes": [{"id": 1}, {"id": 2}]}
    again = Client(hub, plan)
    clock.run()
    again.read()
    assert again.shown == {"aggregate": {"count": 2}}


def test_a_group_costs_no_rows() -> None:
    """What is kept of an aggregate is no list of rows; with a window it is a view of one."""
    clock = FakeClock()
    hub = hub_of(clock)
    hub.load("trades", [(n, "a", None, 1.0) for n in range(100)], Position("l", 0, 1))
    Client(hub, planned("trades_aggregate {aggregate {count}}"))
    clock.run()
    arrangements = hub.sources["trades"].arrangements
    assert [each.arrangement.kept for each in arrangements._names] == [0]
    windowed = Client(hub, planned("trades_aggregate(limit: 5) {aggregate {count}}"))
    clock.run()
    assert [each.arrangement.kept for each in arrangements._names] == [0, 100]
    assert isinstance(windowed.subscription.cohort.roots[0].view, View)  # type: ignore[union-attr]

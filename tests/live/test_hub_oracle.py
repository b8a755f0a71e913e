"""The hub against brute force: random rows, predicates, orders, windows, transactions, joiners, slow readers, cursors."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, replace
from functools import cmp_to_key
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.live.live_harness import COPIES, ITEMS, Client, brute, make_hub, plan
from tycostream.config.model import LiveConfig
from tycostream.dataflow.order import OrderBy, total
from tycostream.dataflow.predicate import (
    TRUE,
    Compare,
    In,
    IsNull,
    Predicate,
    conjunction,
    disjunction,
    evaluate,
    negate,
)
from tycostream.graphql.plan import Coalesce, Mode, Plan, Strategy
from tycostream.live.live_source import SourceState
from tycostream.rows import TRUNCATE, Batch, Change, Position, Row, RowType
from tycostream.testing.clock import FakeClock

NUMBERS = st.one_of(st.none(), st.integers(0, 4))
TAGS = st.one_of(st.none(), st.sampled_from("abc"))


def predicates(row_type: RowType) -> st.SearchStrategy[Predicate]:
    number, tag = (1, 2) if row_type is ITEMS else (0, 1)
    leaf: st.SearchStrategy[Predicate] = st.one_of(
        st.just(TRUE),
        st.builds(
            Compare, st.just(number), st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), st.integers(0, 4)
        ),
        st.builds(Compare, st.just(tag), st.just("eq"), st.sampled_from("abc")),
        st.builds(In, st.just(tag), st.frozensets(st.sampled_from("abc"), max_size=2), st.booleans()),
        st.builds(IsNull, st.just(number), st.booleans()),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(conjunction),
            st.lists(inner, max_size=3).map(disjunction),
            inner.map(negate),
        ),
        max_leaves=4,
    )


ORDERS: st.SearchStrategy[tuple[OrderBy, ...]] = st.lists(
    st.builds(OrderBy, st.integers(0, 1), st.booleans(), st.booleans()),
    max_size=2,
    unique_by=lambda term: term.column,
).map(tuple)
COALESCE = st.one_of(st.none(), st.builds(Coalesce, st.integers(1, 300), st.sampled_from(Strategy)))


def brute_order(rows: list[Row], terms: tuple[OrderBy, ...]) -> list[Row]:
    """PostgreSQL's ORDER BY terms, then all columns: written as comparisons, unlike the code under test."""

    def compare(a: Row, b: Row) -> int:
        for term in (*terms, *(OrderBy(i) for i in range(len(a)))):
            x, y = a[term.column], b[term.column]
            if x == y:
                continue
            if x is None or y is None:
                return (-1 if x is None else 1) * (1 if term.nulls_first else -1)
            return (-1 if x < y else 1) * (-1 if term.descending else 1)
        return 0

    return sorted(rows, key=cmp_to_key(compare))


def first_of_each(rows: list[Row], places: tuple[int, ...]) -> list[Row]:
    """The first row of each combination of cells, where it stands."""
    firsts: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        firsts.setdefault(tuple(row[place] for place in places), row)
    return list(firsts.values())


@st.composite
def windows(draw: st.DrawFn, row_type: RowType) -> Plan:
    """A live query; often enough a page by key, of one of few orders, so that several share an arrangement."""
    predicate, order = draw(predicates(row_type)), draw(st.one_of(st.just((OrderBy(1, True, True),)), ORDERS))
    if draw(st.booleans(), label="page?"):
        predicate = conjunction([draw(st.sampled_from([TRUE, predicate])), draw(pages(row_type, order))])
    limit = draw(st.one_of(st.none(), st.integers(0, 4)))
    distinct = order[: draw(st.sampled_from([0, 0, 0, 1, 2]))]
    return plan(
        row_type,
        Mode.LIST,
        predicate,
        order,
        limit,
        draw(st.integers(0, 3)),
        coalesce=draw(COALESCE),
        distinct_on=tuple(term.column for term in distinct),
    )


@st.composite
def pages(draw: st.DrawFn, row_type: RowType, order: tuple[OrderBy, ...]) -> Predicate:
    """Rows behind one in an order, as a client asks for the next page."""
    terms = [term for term in total(order, row_type) if isinstance(term, OrderBy)][: draw(st.integers(1, 2))]
    backwards = draw(st.booleans())
    names = [CELLS[row_type.columns[term.column].name] for term in terms]
    cells = [draw(cell) for cell in names]
    branches = []
    for depth, term in enumerate(terms):
        op = "lt" if term.descending is not backwards else "gt"
        if depth == len(terms) - 1 and draw(st.booleans()):
            op = op[0] + "e"
        equal = [Compare(before.column, "eq", cell) for before, cell in zip(terms, cells, strict=False)][
            :depth
        ]
        branches.append(conjunction([*equal, Compare(term.column, op, cells[depth])]))
    return disjunction(branches)


CELLS = {"id": st.integers(0, 6), "n": st.integers(0, 4), "tag": st.sampled_from("abc")}
WATCHED = replace(ITEMS, source="watched", watched=True)


class TurningClock(FakeClock):
    """Can also run one callback alone."""

    def one(self) -> None:
        if self._soon:
            self._soon.popleft()()


@dataclass
class Asked:
    """A one-shot query, and all that it may answer: what was true since it was asked."""

    task: asyncio.Future[bytes]
    operation: Plan
    possible: list[list[list[Any]]]


class World:
    """A database of two tables, its hub, and the clients that came."""

    def __init__(self, data: st.DataObject, rows: int) -> None:
        self.data = data
        self.clock = TurningClock()
        self.asked: list[Asked] = []
        self.keep_bytes = data.draw(st.sampled_from([1, 3000, 1 << 20]), label="log bytes")
        self.hub = make_hub(self.clock, keep_bytes=self.keep_bytes)
        self.offset = 1
        self.items: dict[int, Row] = {n: (n, n % 5, "abc"[n % 3]) for n in range(rows)}
        self.copies: list[Row] = [row[1:] for row in self.items.values()]
        self.clients: list[Client] = []
        self.hub.load("items", list(self.items.values()), self.position)
        self.hub.load("copies", list(self.copies), self.position)
        self.hub.add_source(WATCHED, LiveConfig())
        self.hub.load("watched", [], self.position)

    @property
    def position(self) -> Position:
        return Position("life", 0, self.offset)

    def transaction(self) -> None:
        self.offset += 1
        changes: dict[str, list[Change]] = {"items": [], "copies": []}
        for _ in range(self.data.draw(st.integers(1, 5), label="rows")):
            if self.data.draw(st.booleans(), label="items?"):
                self._change_item(changes["items"])
            else:
                self._change_copy(changes["copies"])
        resync = self.data.draw(st.booleans(), label="resync")
        self.hub.apply(Batch(self.position, changes, resync))
        for each in self.asked:
            each.possible.append(self.answer(each.operation))

    def _change_item(self, changes: list[Change]) -> None:
        kind = self.data.draw(st.integers(0, 9), label="kind")
        key = self.data.draw(st.integers(0, 6), label="key")
        row = (
            self.data.draw(st.integers(0, 6)) if kind == 8 else key,
            self.data.draw(NUMBERS),
            self.data.draw(TAGS),
        )
        if kind == 9:
            self.items.clear()
            changes.append(TRUNCATE)
        elif kind >= 6 and kind != 8:
            self.items.pop(key, None)
            changes.append(Change(key, None, None))
        elif kind == 8 and (key not in self.items or (row[0] in self.items and row[0] != key)):
            return  # a key may only move to a free one
        else:
            self.items.pop(key, None)
            self.items[row[0]] = row
            changes.append(Change(key, None, row))

    def _change_copy(self, changes: list[Change]) -> None:
        row = (self.data.draw(NUMBERS), self.data.draw(TAGS))
        if bool(self.copies) and self.data.draw(st.booleans(), label="delete?"):
            old = self.copies.pop(self.data.draw(st.integers(0, len(self.copies) - 1)))
            new = row if self.data.draw(st.booleans()) else None
            changes.append(Change(None, old, new))
            if new is not None:
                self.copies.append(new)
        else:
            self.copies.append(row)
            changes.append(Change(None, None, row))

    def join(self) -> None:
        draw = self.data.draw
        row_type = draw(st.sampled_from([ITEMS, COPIES]))
        predicate = draw(predicates(row_type))
        room = draw(st.sampled_from([None, None, 1, 400]), label="room")
        coalesce = draw(COALESCE)
        if draw(st.booleans(), label="feed?"):
            operation = plan(row_type, Mode.CHANGES, predicate, coalesce=coalesce)
        else:
            operation = draw(windows(row_type))
        self.clients.append(Client(self.hub, operation, room))

    def reconnect(self) -> None:
        """A feed's client vanishes and comes back with the last cursor it was given."""
        for i, client in enumerate(self.clients):
            if client.cursor is not None and client.operation.roots[0].mode is Mode.CHANGES:  # type: ignore[union-attr]
                client.read()
                shown, cursor = client.rows, client.cursor
                client.subscription.cancel()
                client.outbox.close()
                row_type = ITEMS if client.operation.roots[0].source == "items" else COPIES  # type: ignore[union-attr]
                again = plan(row_type, Mode.CHANGES, client.operation.roots[0].predicate, after=cursor)  # type: ignore[union-attr]
                self.clients[i] = back = Client(self.hub, again)
                back.rows = shown
                back.cursor = cursor
                return

    def rows_of(self, source: str) -> list[Row]:
        return list(self.items.values()) if source == "items" else self.copies

    def settle(self, rounds: int) -> None:
        """Let the slow readers read, and time pass, so many times."""
        for _ in range(rounds):
            self.clock.advance(0.2)
            for client in self.clients:
                client.sink.drain()

    async def turn(self) -> None:
        """One callback, and what it lets go on: nothing may depend on all of them running together."""
        self.clock.one()
        await asyncio.sleep(0)

    def mark(self, state: SourceState) -> None:
        source = self.data.draw(st.sampled_from(["items", "copies"]))
        self.hub.mark(source, state)

    def ask(self) -> None:
        """A one-shot query, answered in its own time; whatever it says was true at one moment since."""
        row_type = self.data.draw(st.sampled_from([ITEMS, COPIES]))
        operation = self.data.draw(windows(row_type))
        self.asked.append(
            Asked(asyncio.ensure_future(self.hub.query(operation)), operation, [self.answer(operation)])
        )

    def answer(self, operation: Plan) -> list[list[Any]]:
        root: Any = operation.roots[0]
        members = [row for row in self.rows_of(root.source) if evaluate(root.predicate, row)]
        end = None if root.limit is None else root.offset + root.limit
        ordered = brute_order(members, root.order)
        if root.distinct_on:
            ordered = first_of_each(ordered, root.distinct_on)
        return [list(row) for row in ordered[root.offset : end]]

    async def duplicate(self) -> None:
        """A second row for a key of `watched`, and its end: operations end, the source comes back by itself."""
        self.offset += 1
        rows = [(1, 1, "a"), (1, 2, "b")]
        client = Client(self.hub, plan(WATCHED, Mode.CHANGES))
        self.clock.run()
        self.hub.apply(Batch(self.position, {"watched": [Change(1, None, row) for row in rows]}))
        watched = self.hub.sources["watched"]
        assert watched.state.value == "failed"
        client.read()
        assert client.ended
        self.offset += 1
        self.hub.apply(Batch(self.position, {"watched": [Change(1, row, None) for row in reversed(rows)]}))
        assert watched.state.value == "live"
        assert not watched.store.rows

    async def check(self) -> None:
        """Let every slow reader drain; then everybody shows what the tables say."""
        self.settle(60)
        while not all(each.task.done() for each in self.asked):
            self.clock.run()
            await asyncio.sleep(0)
        for each in self.asked:
            assert json.loads(each.task.result())["data"]["root"] in each.possible
        self.asked.clear()
        for client in self.clients:
            client.read()
            root: Any = client.operation.roots[0]
            assert not client.errors
            rows = self.rows_of(root.source)
            if root.mode is Mode.CHANGES:
                assert sorted(client.rows, key=repr) == brute(rows, root.predicate)
            else:
                expected = self.answer(client.operation)
                assert client.shown == expected
                task = asyncio.ensure_future(self.hub.query(client.operation))
                while not task.done():
                    self.clock.run()
                    await asyncio.sleep(0)
                assert json.loads(task.result())["data"]["root"] == expected
            stale = self.hub.sources[root.source].state is SourceState.STALE
            assert client.subscription.told_stale is stale
            assert client.stale is stale


STEPS = [
    "tx",
    "tx",
    "tx",
    "tx",
    "join",
    "drain",
    "drain",
    "time",
    "tick",
    "turn",
    "turn",
    "reconnect",
    "check",
]
STEPS += ["stale", "live", "query", "duplicate"]
# so small that a handful of rows takes several slices, in hydrations, results and one-shot queries alike
SLICED = {
    "tycostream.dataflow.hydration.ROWS_PER_STEP": 2,
    "tycostream.dataflow.hydration.BLOCK_ROWS": 2,
    "tycostream.dataflow.hydration._SAMPLE_STRIDE_MIN": 1,
    "tycostream.dataflow.members.BLOCK_ROWS": 2,
    "tycostream.live.query_cohort.ROWS_AT_ONCE": 2,
    "tycostream.live.arranged.ROWS_PER_STEP": 2,
    "tycostream.live.arrangements._ALONE_ROWS_MAX": 2,
    "tycostream.live.arrangements._IDLE_ROWS_MIN": 1,
    "tycostream.live.arrangements._IDLE_ROWS_MAX": 12,
    "tycostream.live.hub.ROWS_AT_ONCE": 2,
    "tycostream.live.indexes.ROWS_MIN": 1,
    "tycostream.dataflow.index.ROWS_PER_STEP": 3,
    "tycostream.dataflow.store._GIVEN_MAX": 3,
    "tycostream.live.rendering.ROWS_PER_STEP": 2,
    "tycostream.live.arranging._CHANGES_PER_STEP": 1,
    "tycostream.live.arranging._BACKLOG_BYTES_MAX": 1500,
    "tycostream.live.change_chunks._ROWS_PER_CHUNK_MAX": 2,
    "tycostream.live.change_chunks._ROWS_PER_STEP": 2,
    "tycostream.live.change_chunks._KEPT_BYTES_MAX": 300,
}


def run(data: st.DataObject, steps: int) -> None:
    with contextlib.ExitStack() as stack:
        sliced = data.draw(st.booleans(), label="sliced")
        if sliced:
            for name, value in SLICED.items():
                stack.enter_context(patch(name, value))
        asyncio.run(walk(data, steps, sliced))


async def walk(data: st.DataObject, steps: int, sliced: bool) -> None:
    world = World(data, rows=12 if sliced else 0)
    kinds = ["tx", "turn", "turn", "turn", "join", "query", "stale", "live"] * 2 + STEPS if sliced else STEPS
    for _ in range(data.draw(st.integers(1, 3), label="clients")):
        world.join()
    for _ in range(data.draw(st.integers(1, steps), label="steps")):
        step = data.draw(st.sampled_from(kinds))
        if step == "tx":
            world.transaction()
        elif step == "join":
            world.join()
        elif step == "drain":
            world.settle(data.draw(st.integers(0, 2), label="rounds"))
        elif step == "time":
            world.clock.advance(data.draw(st.sampled_from([0.01, 1.0, 100.0, 400.0])))
        elif step == "tick":
            world.clock.run()
        elif step == "reconnect":
            world.reconnect()
        elif step == "turn":
            await world.turn()
        elif step in ("stale", "live"):
            world.mark(SourceState(step))
        elif step == "query":
            world.ask()
        elif step == "duplicate":
            await world.duplicate()
        elif step == "check":
            await world.check()
        await asyncio.sleep(0)
    await world.check()


@pytest.mark.timeout(240)  # ten seconds of work, on a machine that others use too
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_every_client_shows_what_the_tables_say(data: st.DataObject) -> None:
    run(data, 25)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=600, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_every_client_shows_what_the_tables_say_for_long(data: st.DataObject) -> None:
    run(data, 60)

"""The hub against brute force: random rows, predicates, orders, windows, transactions, joiners, slow readers, cursors."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.live.live_harness import COPIES, ITEMS, Client, answer, brute, make_hub, plan
from tycostream.dataflow.order import OrderBy
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
from tycostream.graphql.plan import Coalesce, Mode, Strategy
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


class World:
    """A database of two tables, its hub, and the clients that came."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.clock = FakeClock()
        self.keep_bytes = data.draw(st.sampled_from([1, 3000, 1 << 20]), label="log bytes")
        self.hub = make_hub(self.clock, keep_bytes=self.keep_bytes)
        self.offset = 1
        self.items: dict[int, Row] = {}
        self.copies: list[Row] = []
        self.clients: list[Client] = []
        self.hub.load("items", [], self.position)
        self.hub.load("copies", [], self.position)

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
            limit = draw(st.one_of(st.none(), st.integers(0, 4)))
            operation = plan(
                row_type,
                Mode.LIST,
                predicate,
                draw(ORDERS),
                limit,
                draw(st.integers(0, 3)),
                coalesce=coalesce,
            )
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

    def check(self) -> None:
        """Let every slow reader drain; then everybody shows what the tables say."""
        self.settle(60)
        for client in self.clients:
            client.read()
            root: Any = client.operation.roots[0]
            assert not client.errors
            rows = self.rows_of(root.source)
            if root.mode is Mode.CHANGES:
                assert sorted(client.rows, key=repr) == brute(rows, root.predicate)
            else:
                members = [row for row in rows if evaluate(root.predicate, row)]
                end = None if root.limit is None else root.offset + root.limit
                expected = [list(row) for row in brute_order(members, root.order)[root.offset : end]]
                assert client.shown == expected
                assert answer(self.hub, client.operation)["data"]["root"] == expected


STEPS = ["tx", "tx", "tx", "tx", "join", "drain", "drain", "time", "tick", "tick", "reconnect", "check"]


def run(data: st.DataObject, steps: int) -> None:
    world = World(data)
    for _ in range(data.draw(st.integers(1, 3), label="clients")):
        world.join()
    for _ in range(data.draw(st.integers(1, steps), label="steps")):
        step = data.draw(st.sampled_from(STEPS))
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
        elif step == "check":
            world.check()
    world.check()


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

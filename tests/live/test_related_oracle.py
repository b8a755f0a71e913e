"""Operations over several sources against brute force: nested rows, EXISTS, orders and aggregates over related rows.

After any number of transactions, with clients that come, read slowly and leave, a live query shows what a scan of all
tables gives, and what the same query gives that is asked afresh; and a change feed adds up to the rows in sight.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.live.live_harness import INT, TEXT, Client, PlainChanges
from tests.live.test_hub_oracle import TurningClock
from tycostream.config.model import LiveConfig, LogConfig
from tycostream.dataflow.aggregate import aggregated
from tycostream.dataflow.order import OrderBy, OrderVia, Term
from tycostream.dataflow.predicate import (
    TRUE,
    Aggregated,
    Compare,
    Exists,
    IsNull,
    Leaf,
    Predicate,
    conjunction,
    disjunction,
    evaluate,
    negate,
)
from tycostream.dataflow.relation import Aggregate, Join, Masked, Via
from tycostream.errors import TycoError
from tycostream.graphql import encode
from tycostream.graphql.plan import Mode, Nested, Plan, RootPlan
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.observe.events import CohortQuarantined, Event
from tycostream.rows import Batch, Change, Column, Key, Position, Row, RowType

PEOPLE = RowType(
    "people",
    (Column("id", INT, nullable=False), Column("boss", INT), Column("team", INT), Column("n", INT)),
    key=(0,),
)
TEAMS = RowType(
    "teams", (Column("id", INT, nullable=False), Column("lead", INT), Column("tag", TEXT)), key=(0,)
)
WORDS = RowType(  # a composite key, and a join over two columns
    "words",
    (Column("person", INT, nullable=False), Column("place", INT, nullable=False), Column("team", INT)),
    key=(0, 1),
)
NOTES = RowType("notes", (Column("person", INT), Column("team", INT)))  # without a key
TYPES = {row_type.source: row_type for row_type in (PEOPLE, TEAMS, WORDS, NOTES)}
JOINS: dict[str, list[tuple[Join, bool]]] = {
    "people": [
        (Join("people", (1,), (0,)), False),  # boss
        (Join("people", (0,), (1,)), True),  # staff
        (Join("teams", (2,), (0,)), False),
        (Join("words", (0,), (0,)), True),
        (Join("words", (0, 2), (0, 2)), True),  # of the person, in the same team
        (Join("notes", (0,), (0,)), True),
    ],
    "teams": [
        (Join("people", (0,), (2,)), True),
        (Join("people", (1,), (0,)), False),  # lead
        (Join("words", (0,), (2,)), True),
    ],
    "words": [(Join("people", (0,), (0,)), False), (Join("teams", (2,), (0,)), False)],
    "notes": [(Join("people", (0,), (0,)), False), (Join("notes", (1,), (1,)), True)],
}
COUNT = Aggregate("count")
KEYS = st.integers(0, 4)
MAYBE = st.one_of(st.none(), KEYS)


# what is asked


@st.composite
def conditions(draw: st.DrawFn, source: str, depth: int = 2) -> Predicate:
    row_type = TYPES[source]
    places = [i for i, column in enumerate(row_type.columns) if column.scalar is INT]
    kind = draw(st.sampled_from(["compare", "null", "and", "or", "exists", "exists", "not exists", "count"]))
    if depth == 0 or kind in ("compare", "null"):
        place = draw(st.sampled_from(places))
        if kind == "null":
            return IsNull(place, draw(st.booleans()))
        return Compare(place, draw(st.sampled_from(["eq", "eq", "lt", "ge", "ne"])), draw(KEYS))
    if kind in ("and", "or"):
        parts = draw(st.lists(conditions(source, depth - 1), min_size=1, max_size=2))
        return conjunction(parts) if kind == "and" else disjunction(parts)
    join, many = draw(st.sampled_from(JOINS[source]))
    inner = draw(st.one_of(st.just(TRUE), conditions(join.source, depth - 1)))
    if kind == "count" and many:
        return Aggregated(
            join, inner, COUNT, Compare(0, draw(st.sampled_from(["eq", "ge"])), draw(st.integers(0, 2)))
        )
    exists = Exists(join, inner)
    return negate(exists) if kind == "not exists" else exists


@st.composite
def orders(draw: st.DrawFn, source: str) -> tuple[Term, ...]:
    terms: list[Term] = []
    for _ in range(draw(st.integers(0, 2))):
        descending, first = draw(st.booleans()), draw(st.booleans())
        if draw(st.booleans()):
            terms.append(OrderBy(draw(st.integers(0, len(TYPES[source].columns) - 1)), descending, first))
            continue
        join, many = draw(st.sampled_from(JOINS[source]))
        via = Via(join, draw(aggregates(join.source)) if many else draw(cells(join.source)))
        terms.append(OrderVia(via, descending, first))
    return tuple(dict.fromkeys(terms))


@st.composite
def cells(draw: st.DrawFn, source: str) -> int | Via:
    objects = [join for join, many in JOINS[source] if not many]
    if objects and draw(st.integers(0, 3)) == 0:
        join = draw(st.sampled_from(objects))
        return Via(join, draw(st.integers(0, len(TYPES[join.source].columns) - 1)))
    return draw(st.integers(0, len(TYPES[source].columns) - 1))


@st.composite
def aggregates(draw: st.DrawFn, source: str) -> Aggregate:
    places = [i for i, column in enumerate(TYPES[source].columns) if column.scalar is INT]
    function = draw(st.sampled_from(["count", "count", "sum", "max", "min"]))
    return COUNT if function == "count" else Aggregate(function, (draw(st.sampled_from(places)),))


class Totals:
    """A selection on aggregates, written as a list: see AggregateEncoder."""

    def __init__(self, specs: tuple[Aggregate, ...], nodes: encode.Rows | None) -> None:
        self.aggregates, self.nodes = specs, nodes
        self.key = ("totals", specs, nodes and nodes.key)

    def value(self, cells: Any, nodes: Any) -> bytes:
        return json.dumps({"aggregate": list(cells)})[:-1].encode() + b',"nodes":[' + b",".join(nodes) + b"]}"


@st.composite
def selections(draw: st.DrawFn, source: str, depth: int, *, single: bool = False) -> encode.Rows:
    row_type = TYPES[source]
    fields: list[tuple[str, Any]] = [(column.name, i) for i, column in enumerate(row_type.columns)]
    if depth:
        for n in range(draw(st.integers(0, 2))):
            join, many = draw(st.sampled_from(JOINS[source]))
            fields.append((f"r{n}", draw(nested(join, many, depth - 1))))
    return encode.Rows(
        encode.Selection(source, tuple(fields)),
        encode.Cells(row_type, stringify_numbers=False),
        single=single,
    )


@st.composite
def nested(draw: st.DrawFn, join: Join, many: bool, depth: int) -> Nested:
    source = join.source
    if not many:
        encoder = draw(selections(source, depth, single=True))
        return Nested(join, Mode.BY_PK, TRUE, encoder, key=(join, "object", encoder.key))
    predicate = draw(st.one_of(st.just(TRUE), conditions(source)))
    order = draw(orders(source))
    limit, offset = draw(st.sampled_from([None, None, 0, 1, 2])), draw(st.sampled_from([0, 0, 1]))
    distinct = tuple(term.column for term in order[:1] if isinstance(term, OrderBy))
    distinct = distinct if draw(st.integers(0, 3)) == 0 else ()
    encoder_of: Any
    if draw(st.booleans()):
        mode, encoder_of = Mode.LIST, draw(selections(source, depth))
    else:
        nodes = draw(st.one_of(st.none(), selections(source, depth)))
        specs = tuple(dict.fromkeys(draw(st.lists(aggregates(source), min_size=1, max_size=2))))
        mode, encoder_of = Mode.AGGREGATE, Totals(specs, nodes)
    key = (join, mode, predicate, order, limit, offset, distinct, encoder_of.key)
    return Nested(join, mode, predicate, encoder_of, order, limit, offset, distinct, key)


@st.composite
def roots(draw: st.DrawFn, response_key: str) -> RootPlan:
    source = draw(st.sampled_from(sorted(TYPES)))
    mode = draw(st.sampled_from([Mode.LIST, Mode.LIST, Mode.BY_PK, Mode.AGGREGATE]))
    if mode is Mode.BY_PK and not TYPES[source].keyed:
        mode = Mode.LIST
    encoder: Any = draw(selections(source, 2, single=mode is Mode.BY_PK))
    predicate, order = draw(st.one_of(st.just(TRUE), conditions(source))), draw(orders(source))
    limit, offset = draw(st.sampled_from([None, None, 2])), draw(st.sampled_from([0, 0, 1]))
    if mode is Mode.BY_PK:
        predicate = conjunction([Compare(place, "eq", draw(KEYS)) for place in TYPES[source].key])
        order, limit, offset = (), None, 0
    if mode is Mode.AGGREGATE:
        specs = tuple(dict.fromkeys(draw(st.lists(aggregates(source), min_size=1, max_size=2))))
        encoder = Totals(specs, draw(st.sampled_from([None, encoder])))
        if draw(st.booleans()):
            limit, offset = None, 0
    key = (source, mode, predicate, order, limit, offset, encoder.key)
    return RootPlan(
        response_key, source, mode, predicate, encoder, order, limit, offset, key=key,
        row_type=TYPES[source], reads=tuple(TYPES.values()),
    )  # fmt: skip


@st.composite
def live_queries(draw: st.DrawFn) -> Plan:
    both = [draw(roots("root"))]
    if draw(st.integers(0, 3)) == 0:
        both.append(draw(roots("other")))
    return Plan(True, tuple(both), tuple(root.key for root in both))


@st.composite
def feeds(draw: st.DrawFn) -> Plan:
    source = draw(st.sampled_from(["people", "teams"]))
    predicate = draw(conditions(source))
    key = (source, "changes", predicate)
    root = RootPlan(
        "root", source, Mode.CHANGES, predicate, PlainChanges(), key=key,
        row_type=TYPES[source], reads=tuple(TYPES.values()),
    )  # fmt: skip
    return Plan(True, (root,), key)


# what is right


@dataclass
class Tables:
    """All rows, and brute-force answers."""

    rows: dict[str, dict[Key, Row]] = field(default_factory=lambda: {name: {} for name in TYPES})

    def related(self, join: Join, row: Row) -> list[Row]:
        cells = [row[place] for place in join.local]
        found = [
            each
            for each in self.rows[join.source].values()
            if None not in cells and [each[place] for place in join.remote] == cells
        ]
        return sorted(found, key=TYPES[join.source].key_of) if TYPES[join.source].keyed else found  # type: ignore[arg-type]

    def holds(self, leaf: Leaf) -> Callable[[Row], bool]:
        def holds(row: Row) -> bool:
            found = [
                each for each in self.related(leaf.join, row) if evaluate(leaf.predicate, each, self.holds)
            ]
            if isinstance(leaf, Exists):
                return bool(found) is not leaf.negated
            cells = aggregated((leaf.aggregate,), TYPES[leaf.join.source], found)
            return evaluate(leaf.condition, cells)

        return holds

    def cell(self, via: Via | Masked, row: Row) -> Any:
        assert isinstance(via, Via)
        found = self.related(via.join, row)
        if isinstance(via.cell, Aggregate):
            return aggregated((via.cell,), TYPES[via.join.source], found)[0]
        if not found:
            return None
        assert not isinstance(via.cell, Masked), "admin sees all cells"
        return self.cell(via.cell, found[0]) if isinstance(via.cell, Via) else found[0][via.cell]

    def ordered(self, rows: list[Row], terms: tuple[Term, ...], source: str) -> list[Row]:
        def compare(a: Row, b: Row) -> int:
            rest = TYPES[source].key or range(len(TYPES[source].columns))
            for term in (*terms, *(OrderBy(place) for place in rest)):
                x, y = (
                    (a[term.column], b[term.column])
                    if isinstance(term, OrderBy)
                    else (self.cell(term.via, a), self.cell(term.via, b))
                )
                if x == y:
                    continue
                if x is None or y is None:
                    return (-1 if x is None else 1) * (1 if term.nulls_first else -1)
                return (-1 if x < y else 1) * (-1 if term.descending else 1)
            return 0

        return sorted(rows, key=cmp_to_key(compare))

    def window(self, rows: list[Row], one: RootPlan | Nested, source: str) -> list[Row]:
        rows = [row for row in rows if evaluate(one.predicate, row, self.holds)]
        rows = self.ordered(rows, one.order, source)
        if one.distinct_on:
            firsts: dict[Any, Row] = {}
            for row in rows:
                firsts.setdefault(tuple(row[place] for place in one.distinct_on), row)
            rows = list(firsts.values())
        return rows[one.offset : None if one.limit is None else one.offset + one.limit]

    def shown(self, encoder: Any, row: Row, source: str) -> dict[str, Any]:
        value: dict[str, Any] = {c.name: cell for c, cell in zip(TYPES[source].columns, row, strict=True)}
        for n, each in enumerate(encoder.nested):
            value[f"r{n}"] = self.value(each, row)
        return value

    def value(self, one: Nested, row: Row) -> Any:
        source = one.join.source
        return self.written(one, self.window(self.related(one.join, row), one, source), source)

    def written(self, one: RootPlan | Nested, rows: list[Row], source: str) -> Any:
        encoder: Any = one.encoder
        if one.mode is Mode.BY_PK:
            return self.shown(encoder, rows[0], source) if rows else None
        if one.mode is Mode.LIST:
            return [self.shown(encoder, each, source) for each in rows]
        cells = aggregated(encoder.aggregates, TYPES[source], rows)
        nodes = [self.shown(encoder.nodes, each, source) for each in rows] if encoder.nodes else []
        return {"aggregate": [int(c) if c is not None else None for c in cells], "nodes": nodes}

    def answer(self, operation: Plan) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for root in operation.roots:
            assert isinstance(root, RootPlan)
            rows = self.window(list(self.rows[root.source].values()), root, root.source)
            values[root.response_key] = self.written(root, rows, root.source)
        return values


def told(event: Event) -> None:
    """What was quarantined is a failure, and says why."""
    assert not isinstance(event, CohortQuarantined), event


class World:
    """The tables, a hub that follows them, and its clients."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.tables = Tables()
        self.clock = TurningClock()
        self.hub = Hub(self.clock, told, CursorBox(["test"]), outbox_bytes_max=1 << 20)
        keep = data.draw(st.sampled_from([1, 1 << 20]), label="log bytes")
        self.offset = 1
        for n in range(data.draw(st.integers(0, 5), label="people")):
            self.tables.rows["people"][n] = (n, n // 2, n % 3, n)
            self.tables.rows["teams"][n] = (n, n + 1, "ab"[n % 2])
            self.tables.rows["words"][n, 0] = (n, 0, n % 3)
            self.tables.rows["notes"][n] = (n // 2, n % 2)
        self.notes = 5  # so many were written
        for row_type in TYPES.values():
            self.hub.add_source(row_type, LiveConfig(log=LogConfig(bytes=keep)))
        for name in TYPES:
            self.hub.load(name, list(self.tables.rows[name].values()), Position("life", 0, 1))
        self.clients: list[Client] = []

    def transaction(self) -> None:
        draw = self.data.draw
        self.offset += 1
        changes: dict[str, list[Change]] = {}
        for _ in range(draw(st.integers(1, 3), label="changes")):
            name = draw(st.sampled_from(sorted(TYPES)))
            if name == "notes":
                changes.setdefault(name, []).append(self.note())
                continue
            row: Row = {
                "people": (draw(KEYS), draw(MAYBE), draw(MAYBE), draw(MAYBE)),
                "teams": (draw(KEYS), draw(MAYBE), draw(st.sampled_from("ab"))),
                "words": (draw(KEYS), draw(st.integers(0, 1)), draw(MAYBE)),
            }[name]
            key = TYPES[name].key_of(row)
            if draw(st.integers(0, 2)) == 0:
                self.tables.rows[name].pop(key, None)
                changes.setdefault(name, []).append(Change(key, None, None))
            else:
                self.tables.rows[name][key] = row
                changes.setdefault(name, []).append(Change(key, None, row))
        self.hub.apply(Batch(Position("life", 0, self.offset), changes, draw(st.booleans(), label="resync")))

    def note(self) -> Change:
        """One is written, or one of those that are there goes."""
        there = self.tables.rows["notes"]
        goes = self.data.draw(st.booleans())
        if there and goes:
            gone = there.pop(self.data.draw(st.sampled_from([*there])))
            return Change(NOTES.key_of(gone), gone, None)
        self.notes += 1
        there[self.notes] = row = (self.data.draw(MAYBE), self.data.draw(MAYBE))
        return Change(NOTES.key_of(row), None, row)

    def go_and_come(self) -> None:
        """A source fails or is removed, and is there again: whoever read it is told, and nothing of it is left."""
        name = self.data.draw(st.sampled_from(sorted(TYPES)), label="goes")
        if self.data.draw(st.booleans(), label="fails"):
            self.hub.mark(name, SourceState.FAILED, TycoError("x", "gone"))
            self.hub.mark(name, SourceState.LIVE)
        else:
            self.hub.remove_source(name)
            self.hub.add_source(TYPES[name], LiveConfig())
            self.hub.load(name, list(self.tables.rows[name].values()), Position("life", 0, self.offset))
        for client in self.clients:
            assert client.ended
            client.outbox.close()
        self.clients.clear()

    def join(self) -> None:
        room = self.data.draw(st.sampled_from([None, None, 1]), label="room")
        operation = self.data.draw(st.one_of(live_queries(), live_queries(), feeds()), label="operation")
        self.clients.append(Client(self.hub, operation, room))

    def join_again(self) -> None:
        """Somebody asks the same: a cohort, a cache or an arrangement may be there already."""
        if self.clients:
            operation = self.data.draw(st.sampled_from([client.operation for client in self.clients]))
            self.clients.append(Client(self.hub, operation))

    def leave(self) -> None:
        if self.clients:
            client = self.clients.pop(self.data.draw(st.integers(0, len(self.clients) - 1)))
            client.subscription.cancel()
            client.outbox.close()

    def turns(self) -> None:
        """A few slices of whatever is under way, and no more."""
        for _ in range(self.data.draw(st.integers(1, 6), label="turns")):
            self.clock.one()

    async def check(self) -> None:
        for _ in range(8):
            self.clock.advance(1)
            for client in self.clients:
                client.sink.drain()
        for client in self.clients:
            client.read()
            assert not client.errors
            root: Any = client.operation.roots[0]
            if root.mode is Mode.CHANGES:
                rows = self.tables.rows[root.source].values()
                seen = [list(row) for row in rows if evaluate(root.predicate, row, self.tables.holds)]
                assert sorted(client.rows, key=repr) == sorted(seen, key=repr)
                continue
            expected = self.tables.answer(client.operation)
            latest: Any = client.sink.messages()[-1]
            assert latest["next"]["data"] == expected
            task = asyncio.ensure_future(self.hub.query(client.operation))
            while not task.done():
                self.clock.run()
                await asyncio.sleep(0)
            assert json.loads(task.result())["data"] == expected


async def history(data: st.DataObject) -> None:
    world = World(data)
    world.join()
    for _ in range(data.draw(st.integers(1, 8), label="steps")):
        steps = [world.transaction, world.transaction, world.transaction, world.join, world.join_again]
        data.draw(
            st.sampled_from([*steps, world.leave, world.turns, world.turns, world.go_and_come]), label="step"
        )()
        if data.draw(st.integers(0, 2)) == 0:
            await world.check()
    await world.check()
    for client in world.clients:
        client.subscription.cancel()
        client.outbox.close()
    world.clock.advance(1000)
    holds_nothing(world.hub)


def holds_nothing(hub: Hub) -> None:
    """Nobody is there any more: what they took was given back."""
    for source in hub.sources.values():
        assert not len(source.fragments), "what was leased was given back"
        assert not source.indexes._held, "what was held was released"
        assert not source.router.scanned
        assert not source.router._all


SMALL = {
    "tycostream.live.rendering.ROWS_PER_STEP": 3,
    "tycostream.live.hub.ROWS_AT_ONCE": 4,
    "tycostream.live.query_cohort.ROWS_AT_ONCE": 2,
    "tycostream.live.arranged.ROWS_PER_STEP": 2,
    "tycostream.live.arranging._CHANGES_PER_STEP": 1,
    "tycostream.live.arranging._BACKLOG_BYTES_MAX": 1600,
    "tycostream.dataflow.hydration.ROWS_PER_STEP": 2,
    "tycostream.dataflow.aggregation.ROWS_PER_STEP": 2,
    "tycostream.dataflow.index.ROWS_PER_STEP": 2,
    "tycostream.live.sight._ROWS_PER_STEP": 2,
    "tycostream.dataflow.groups._AGGREGATES_MAX": 2,
    "tycostream.dataflow.groups._ENTRIES_MAX": 4,
}


def examine(told: Coroutine[Any, Any, None], sizes: Mapping[str, int]) -> None:
    """A history, with steps and bounds of these sizes."""
    with contextlib.ExitStack() as stack:
        for name, value in sizes.items():
            stack.enter_context(patch(name, value))
        asyncio.run(told)


@pytest.mark.parametrize("small", [False, True], ids=["whole", "in slices"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_live_results_are_what_a_scan_gives(small: bool, data: st.DataObject) -> None:
    examine(history(data), SMALL if small else {})


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("small", [False, True], ids=["whole", "in slices"])
@given(data=st.data())
@settings(max_examples=1500, deadline=None)
def test_many_live_results(small: bool, data: st.DataObject) -> None:
    examine(history(data), SMALL if small else {})

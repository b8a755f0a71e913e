"""Whatever is written, and however it is fetched: what a cursor tells adds up to what the table holds."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testing.feed import MovedClock
from tycostream.testing.pgwire_messages import Cells
from tycostream.testing.risingwave_cursor import SubscriptionCursor
from tycostream.testing.risingwave_data import Data, Relation
from tycostream.testing.risingwave_types import sql_type
from tycostream.testing.sql_types import ColumnDef, Row

COLUMNS = [ColumnDef("id", sql_type("integer")), ColumnDef("n", sql_type("integer"))]
ROWS = st.tuples(st.integers(0, 4).map(str), st.integers(0, 2).map(str))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), ROWS),
        st.tuples(st.just("delete"), st.integers(0, 99)),
        st.tuples(st.just("update"), st.tuples(st.integers(0, 99), ROWS)),
        st.tuples(st.just("checkpoint"), st.integers(0, 3)),
        st.tuples(st.just("fetch"), st.integers(0, 5)),
    ),
    max_size=40,
)


class Fold:
    """A client: it keeps the rows that a cursor has told of."""

    def __init__(self) -> None:
        self.rows: Counter[Row] = Counter()
        self.last = 0
        self.replaced: Cells | None = None

    def take(self, fetched: list[Cells]) -> None:
        for *row, op, moment in fetched:
            key = tuple(row)
            if moment is None:
                assert op == "Insert"
                assert not self.last, "a snapshot comes first"
            else:
                assert int(moment) >= self.last
                self.last = int(moment)
            assert (op == "UpdateInsert") == (self.replaced is not None), "the pair is never apart"
            self.replaced = row if op == "UpdateDelete" else None
            self.rows[key] += 1 if op in ("Insert", "UpdateInsert") else -1
            assert self.rows[key] >= 0, "a row goes that never came"


def perform(data: Data, table: Relation, kind: str, what: object, clock: MovedClock) -> None:
    held = [table.visible(row) for row in table.rows.values()]
    match kind, what:
        case "insert", (str(key), str(n)):
            data.write([(table, None, (key, n))])
        case "delete", int(place) if held:
            data.write([(table, held[place % len(held)], None)])
        case "update", (int(place), (str(key), str(n))) if held:
            data.write([(table, held[place % len(held)], (key, n))])
        case "checkpoint", int(passed):
            clock.now += passed
            data.checkpoint()


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, before=STEPS, keyed=st.booleans(), full=st.booleans(), viewed=st.booleans())
def test_what_a_cursor_tells_adds_up(
    steps: list[tuple[str, object]],
    before: list[tuple[str, object]],
    keyed: bool,
    full: bool,
    viewed: bool,
):
    async def run() -> None:
        clock = MovedClock()
        data = Data(clock)
        table = data.create(
            "public",
            "t",
            COLUMNS,
            kind="table",
            key=("id",) if keyed else (),
            hidden=not keyed,
            definition="",
        )
        read = table
        if viewed:
            read = data.create(
                "public",
                "m",
                COLUMNS[1:],
                kind="materialized view",
                key=(),
                hidden=True,
                definition="",
                compute=lambda tables: [row[1:] for row in tables["t"]],
            )
        subscription = data.subscribe("public", "s", read, 3600, "")
        fold = Fold()
        for kind, what in before if full else []:
            perform(data, table, kind, what, clock)
        since = None if full else subscription.created_ms
        cursor = SubscriptionCursor("c", subscription, since, data, lambda: None)
        for kind, what in steps:
            perform(data, table, kind, what, clock)
            if kind == "fetch":
                assert isinstance(what, int)
                fold.take(await cursor.fetch(what, 0))
        data.checkpoint()
        fold.take(await cursor.fetch(1000, 0))
        assert +fold.rows == Counter(read.snapshot())

    asyncio.run(run())

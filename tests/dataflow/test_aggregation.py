"""An aggregation that follows every change is what one made of the store is, in one go or in steps."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow import aggregation
from tycostream.dataflow.aggregate import aggregated
from tycostream.dataflow.aggregation import Aggregation, Totals
from tycostream.dataflow.predicate import TRUE, Compare, Exists, Predicate, evaluate
from tycostream.dataflow.related import Related
from tycostream.dataflow.relation import Aggregate, Join
from tycostream.dataflow.router import mask
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Column, Row, RowType
from tycostream.scalars import SCALARS

ROWS = RowType(
    "rows",
    (
        Column("id", SCALARS["int4"], nullable=False),
        Column("n", SCALARS["int4"]),
        Column("x", SCALARS["float8"]),
    ),
    key=(0,),
)
SPECS = (
    Aggregate("count"),
    Aggregate("sum", (2,)),
    Aggregate("max", (1,)),
    Aggregate("count", (1,), distinct=True),
)
CELLS = st.tuples(st.none() | st.integers(0, 3), st.none() | st.sampled_from([0.1, 0.2, 1e16, -3.0]))
STEPS = st.lists(st.tuples(st.integers(0, 6), st.none() | CELLS), max_size=25)


def applied(store: Store, key: int, cells: tuple[object, ...] | None) -> Sequence[Change]:
    return store.apply([Change(key, store.rows.get(key), None if cells is None else (key, *cells))])


def answer(store: Store, predicate: Predicate) -> tuple[object, ...]:
    return aggregated(SPECS, ROWS, [row for row in store.rows.values() if evaluate(predicate, row)])


@given(STEPS, STEPS, st.sampled_from([TRUE, Compare(1, "ge", 1)]), st.sampled_from([1, 1000]))
def test_following_is_computing_anew(
    before: list[tuple[int, tuple[object, ...] | None]],
    after: list[tuple[int, tuple[object, ...] | None]],
    predicate: Predicate,
    step: int,
) -> None:
    def match(row: Row) -> bool:
        return evaluate(predicate, row)

    store = Store(ROWS)
    for key, cells in before:
        if cells is not None or key in store.rows:
            applied(store, key, cells)
    followed = Aggregation(store, predicate, SPECS)
    followed.hydrate()
    late = Aggregation(store, predicate, SPECS)
    view = Totals(followed)
    view.attach()
    with patch.object(aggregation, "ROWS_PER_STEP", step):
        tally = late.hydration()
        done, meanwhile = False, []
        for key, cells in after:
            if cells is None and key not in store.rows:
                continue
            done = done or tally.step()
            shown = view.cells()
            changes = [seen for each in applied(store, key, cells) if (seen := mask(each, match)) is not None]
            meanwhile += changes
            told = followed.push(changes)
            assert view.cells() == answer(store, predicate)
            assert list(told) == [view] or view.cells() == shown
        while not done:
            done = tally.step()
    late.adopt(tally)
    late.push(meanwhile)
    assert late.cells() == followed.cells() == answer(store, predicate)
    held = followed.released()
    assert followed.cells() == (0, None, None, 0)
    assert bool(store.rows) or not any(held)
    view.detach()
    assert not followed.views


LISTED = RowType("listed", (Column("n", SCALARS["int4"], nullable=False),), key=(0,))


@given(STEPS, st.lists(st.integers(0, 3), max_size=8))
def test_a_condition_on_other_sources_is_looked_at_again(
    steps: list[tuple[int, tuple[object, ...] | None]], toggled: list[int]
) -> None:
    stores = {"rows": Store(ROWS), "listed": Store(LISTED)}
    join = Join("listed", (1,), (0,))
    related = Related(stores.__getitem__)
    followed = Aggregation(stores["rows"], Exists(join, TRUE), SPECS, related)
    followed.hydrate()
    for n, (key, cells) in enumerate(steps):
        if cells is not None or key in stores["rows"].rows:
            followed.push(applied(stores["rows"], key, cells))
        if n < len(toggled):
            listed = stores["listed"]
            value = toggled[n]
            there = value in listed.rows
            listed.apply([Change(value, (value,) if there else None, None if there else (value,))])
            followed.push(followed.review(list(stores["rows"].rows)))
        expected = [row for row in stores["rows"].rows.values() if row[1] in stores["listed"].rows]
        assert followed.cells() == aggregated(SPECS, ROWS, expected)
        assert followed.kept >= len(expected)

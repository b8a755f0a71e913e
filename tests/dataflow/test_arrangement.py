"""Views of an arrangement against brute force: what they show, and that who is not told shows the same as before."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow import hydration, members
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.bounds import EVERYTHING, split
from tycostream.dataflow.edits import EditKind
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE, Compare, Predicate, conjunction, disjunction, evaluate
from tycostream.dataflow.store import Store
from tycostream.dataflow.view import View
from tycostream.rows import Change, Column, Row, RowType
from tycostream.scalars import SCALARS

NUMERIC = SCALARS["numeric"]
ROWS = RowType(
    "rows",
    (Column("id", SCALARS["int8"], nullable=False), Column("n", NUMERIC), Column("tag", SCALARS["text"])),
    key=(0,),
)
NUMBERS = [None, *map(NUMERIC.parse, ("NaN", "Infinity", "1.0", "1.00", "2", "-3"))]
TAGS = [None, "a", "b", "B"]
ORDERS = st.lists(
    st.builds(OrderBy, st.integers(0, 2), st.booleans(), st.booleans()),
    max_size=3,
    unique_by=lambda term: term.column,
).map(tuple)


def brute(rows: list[Row], terms: tuple[OrderBy, ...], distinct: int) -> list[Row]:
    rows = sorted(rows, key=lambda row: row[0])
    for term in reversed(terms):
        empty = [row for row in rows if row[term.column] is None]
        there = [row for row in rows if row[term.column] is not None]
        there.sort(key=lambda row, column=term.column: row[column], reverse=term.descending)  # type: ignore[misc]
        rows = empty + there if term.nulls_first else there + empty
    if not distinct:
        return rows
    firsts: list[Row] = []
    for row in rows:
        group = [row[term.column] for term in terms[:distinct]]
        if not any([first[term.column] for term in terms[:distinct]] == group for first in firsts):
            firsts.append(row)
    return firsts


@st.composite
def conditions(draw: st.DrawFn) -> Predicate:
    leaf = st.one_of(
        st.builds(Compare, st.just(1), OPS, st.sampled_from(NUMBERS[1:])),
        st.builds(Compare, st.just(2), OPS, st.sampled_from("abB")),
        st.builds(Compare, st.just(0), OPS, st.integers(0, 12)),
    )
    inner = st.lists(leaf, min_size=1, max_size=2).map(conjunction)
    return conjunction(draw(st.lists(st.lists(inner, min_size=1, max_size=3).map(disjunction), max_size=2)))


OPS = st.sampled_from(["eq", "lt", "le", "gt", "ge", "ne"])


@st.composite
def pages(draw: st.DrawFn, order: tuple[OrderBy, ...]) -> Predicate:
    """``a < 1 OR a = 1 AND id > 5``: sometimes not quite in the order's directions, or with another constant."""
    first = order[0] if order else OrderBy(0)
    cell = draw(st.sampled_from({0: [3, 7], 1: NUMBERS[1:], 2: ["a", "b"]}[first.column]))
    equal = draw(st.sampled_from([cell, cell, cell, {0: 4, 1: NUMBERS[2], 2: "B"}[first.column]]))
    behind = Compare(first.column, draw(OPS), cell)
    tie = conjunction([Compare(first.column, "eq", equal), Compare(0, draw(OPS), draw(st.integers(0, 12)))])
    return disjunction([behind, tie])


@given(st.data())
def test_views_show_what_brute_force_does_and_are_told_of_every_difference(data: st.DataObject) -> None:
    draw = data.draw
    size = draw(st.sampled_from([2, 1000]))
    with (
        patch.object(members, "BLOCK_ROWS", size),
        patch.object(hydration, "BLOCK_ROWS", size),
        patch.object(hydration, "ROWS_PER_STEP", draw(st.sampled_from([2, 1000]))),
        patch.object(hydration, "_SAMPLE_STRIDE_MIN", 1),
    ):
        order = draw(ORDERS)
        distinct = draw(st.integers(0, len(order)))
        predicate = draw(st.one_of(st.just(TRUE), conditions(), pages(order)))
        residual, bounds = (predicate, EVERYTHING) if distinct else split(predicate, order, ROWS)
        rows = {
            n: (n, draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(TAGS)))
            for n in range(draw(st.integers(0, 9)))
        }
        store = Store(ROWS)
        store.fill(list(rows.values()))
        arrangement = Arrangement(store, residual, order, distinct=distinct)
        windows = [(draw(st.integers(0, 4)), draw(st.one_of(st.none(), st.integers(0, 4)))) for _ in range(3)]
        views = [View(arrangement, offset=at, limit=limit, bounds=bounds) for at, limit in windows]
        for view in views:
            view.attach()
        arrangement.hydrate()
        shown: list[list[Row] | None] = [None] * len(views)
        told = set(views)
        for _ in range(draw(st.integers(1, 6))):
            expected = brute([row for row in rows.values() if evaluate(predicate, row)], order, distinct)
            for n, (view, (at, limit)) in enumerate(zip(views, windows, strict=True)):
                end = None if limit is None else at + limit
                now = view.window()[1]
                assert now == expected[at:end]
                assert view.length == len(now)
                if view not in told:
                    assert now == shown[n], "who is not told shows what it showed"
                shown[n] = now
            changes = []
            for key in draw(st.lists(st.integers(0, 12), max_size=4, unique=True)):
                gone = draw(st.integers(0, 3)) == 0
                row = None if gone else (key, draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(TAGS)))
                rows.pop(key, None)
                if row is not None:
                    rows[key] = row
                changes.append(Change(key, None, row))
            seen = []
            for name, old, new in store.apply(changes):
                was = old if old is not None and evaluate(residual, old) else None
                is_now = new if new is not None and evaluate(residual, new) else None
                if was is not None or is_now is not None:
                    seen.append(Change(name, was, is_now))
            told = set(arrangement.push(seen))


@pytest.mark.parametrize(
    ("order", "page"),
    [
        ((OrderBy(1, True, True),), Compare(1, "lt", NUMBERS[5])),
        ((OrderBy(1),), Compare(1, "ge", NUMBERS[5])),
        ((), Compare(0, "gt", 5)),
        (
            (OrderBy(1, True, True), OrderBy(0)),
            disjunction(
                [
                    Compare(1, "lt", NUMBERS[5]),
                    conjunction([Compare(1, "eq", NUMBERS[5]), Compare(0, "gt", 5)]),
                ]
            ),
        ),
    ],
)
def test_a_page_by_key_is_a_stretch_of_what_is_left_of_its_condition(
    order: tuple[OrderBy, ...], page: Predicate
) -> None:
    permission = Compare(2, "eq", "a")
    residual, bounds = split(conjunction([permission, page]), order, ROWS)
    assert residual == permission
    assert bounds is not EVERYTHING


@pytest.mark.parametrize(
    ("order", "condition"),
    [
        ((OrderBy(2),), Compare(1, "lt", NUMBERS[5])),  # not what is ordered by
        ((OrderBy(1),), Compare(1, "ne", NUMBERS[5])),
        (  # the tie goes the other way
            (OrderBy(1, True), OrderBy(0)),
            disjunction(
                [
                    Compare(1, "lt", NUMBERS[5]),
                    conjunction([Compare(1, "eq", NUMBERS[5]), Compare(0, "lt", 5)]),
                ]
            ),
        ),
        (  # a tie may be NULL, which lies between
            (OrderBy(0), OrderBy(1)),
            disjunction(
                [Compare(0, "gt", 5), conjunction([Compare(0, "eq", 5), Compare(1, "gt", NUMBERS[5])])]
            ),
        ),
    ],
)
def test_other_conditions_are_asked_of_each_row(order: tuple[OrderBy, ...], condition: Predicate) -> None:
    assert split(condition, order, ROWS) == (condition, EVERYTHING)


def test_a_change_of_a_distinct_view_looks_at_its_group_only() -> None:
    store = Store(ROWS)
    store.fill([(n, NUMERIC.parse(str(n // 100)), "a") for n in range(10_000)])
    arrangement = Arrangement(store, TRUE, (OrderBy(1), OrderBy(0)), distinct=1)
    arrangement.hydrate()
    view = View(arrangement, limit=10, offset=50)
    view.attach()
    assert [row[0] for row in view.window()[1]] == list(range(5000, 6000, 100))
    told = [
        arrangement.push(store.apply([Change(key, None, row)]))
        for key, row in (
            (5050, None),  # not the first of its group
            (5000, None),  # the first: the next takes its place
            (100, None),  # the first of a group far away
        )
    ]
    assert told == [[], [view], []]
    assert [row[0] for row in view.window()[1]] == [5001, *range(5100, 6000, 100)]


@pytest.mark.parametrize("texts", [("1.0", "1.00"), ("1.00", "1.0"), ("-0", "0")])
@pytest.mark.parametrize("descending", [False, True])
def test_of_rows_without_a_key_that_are_equal_the_right_one_goes(
    texts: tuple[str, str], descending: bool
) -> None:
    row_type = RowType(
        "copies", (Column("n", SCALARS["float8"] if "0" in texts else NUMERIC), Column("x", NUMERIC))
    )
    parse = row_type.columns[0].scalar.parse
    for gone, stays in (texts, texts[::-1]):
        store = Store(row_type)
        store.fill([(parse(text), None) for text in (*texts, *texts)])
        arrangement = Arrangement(store, TRUE, (OrderBy(0, descending),))
        arrangement.hydrate()
        for _ in range(2):
            arrangement.push(store.apply([Change(None, (parse(gone), None), None)]))
        shown = View(arrangement).window()[1]
        assert [row_type.columns[0].scalar.text(row[0]) for row in shown] == [stays, stays]


def test_who_has_left_is_not_told_and_not_held() -> None:
    store = Store(ROWS)
    arrangement = Arrangement(store, TRUE)
    view = View(arrangement)
    assert view.edits() is None
    assert view.edits() is None, "it is told nothing, so it knows nothing"
    view.attach()
    view.edits()
    arrangement.push(store.apply([Change(1, None, (1, None, "a"))]))
    assert view.edits() == [(EditKind.INSERT, 0, 1, (1, None, "a"))]
    view.detach()
    assert arrangement.push(store.apply([Change(2, None, (2, None, "a"))])) == []
    assert not arrangement.views
    assert not arrangement._following

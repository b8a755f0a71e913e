"""Conditions, rows and aggregates over cells that are not seen in every row: as over rows in which they are NULL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow.aggregate import Accumulator, aggregated
from tycostream.dataflow.predicate import (
    FALSE,
    TRUE,
    Compare,
    Exists,
    In,
    IsNull,
    Matches,
    Predicate,
    Unknown,
    conjunction,
    disjunction,
    either,
    evaluate,
    negate,
    untrue,
)
from tycostream.dataflow.regex import Regex
from tycostream.dataflow.relation import Aggregate, Join
from tycostream.dataflow.unkeyed import alike, apart
from tycostream.dataflow.veil import beyond_row, lens, look, through, veil_of
from tycostream.rows import Column, Row, RowType
from tycostream.scalars import SCALARS

WIDTH = 3
cells = st.one_of(st.none(), st.integers(0, 2))
rows = st.tuples(*[cells] * WIDTH)
places = st.integers(0, WIDTH - 1)
leaves = st.one_of(
    st.builds(Compare, places, st.sampled_from(["eq", "ne", "lt", "ge"]), st.integers(0, 2)),
    st.builds(In, places, st.frozensets(st.integers(0, 2), max_size=2), st.booleans()),
    st.builds(IsNull, places, st.booleans()),
    st.just(Unknown()),
)
predicates: st.SearchStrategy[Predicate] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(conjunction),
        st.lists(inner, max_size=3).map(disjunction),
        inner.map(negate),
    ),
    max_leaves=6,
)


@given(predicates, rows)
def test_untrue_is_false_or_unknown(predicate: Predicate, row: Row) -> None:
    assert evaluate(untrue(predicate), row) is not evaluate(predicate, row)


@given(predicates, st.dictionaries(places, predicates, min_size=1), rows)
def test_a_condition_through_a_veil_is_that_over_what_is_seen(
    predicate: Predicate, seen: dict[int, Predicate], row: Row
) -> None:
    shown = tuple(
        None if place in seen and not evaluate(seen[place], row) else row[place] for place in range(WIDTH)
    )
    assert evaluate(through(predicate, seen), row) is evaluate(predicate, shown)
    assert evaluate(through(negate(predicate), seen), row) is evaluate(negate(predicate), shown)
    looked = look(tuple(sorted(seen.items())))
    assert looked is not None
    assert looked(row) == shown


@given(st.lists(predicates, max_size=3), rows)
def test_either_is_a_disjunction(parts: list[Predicate], row: Row) -> None:
    assert evaluate(either(parts), row) is evaluate(disjunction(parts), row)
    assert evaluate(untrue(either(parts)), row) is evaluate(untrue(disjunction(parts)), row)


def test_what_all_say_is_taken_out() -> None:
    a, b, c = (Compare(place, "eq", 1) for place in range(3))
    assert either([conjunction([a, b]), conjunction([a, c])]) == conjunction([a, disjunction([b, c])])
    assert either([conjunction([a, b]), a, FALSE]) == a
    assert either([a, TRUE]) == TRUE
    assert either([]) == either([FALSE]) == FALSE


def test_what_is_said_of_related_rows_stays() -> None:
    exists = Exists(Join("other", (0,), (0,)), Compare(0, "eq", 1))
    assert through(exists, {0: FALSE}) is exists
    pattern = Matches(0, Regex("a"))
    assert through(pattern, {0: FALSE}) == FALSE
    assert through(pattern, {1: FALSE}) is pattern


def test_a_row_that_is_seen_whole_is_the_same_object() -> None:
    looked = look(((0, Compare(1, "eq", 1)),))
    assert looked is not None
    row = (5, 1)
    assert looked(row) is row
    assert looked((5, 2)) == (None, 2)
    assert look(()) is None


def test_whether_other_sources_decide() -> None:
    exists = Exists(Join("other", (0,), (0,)), TRUE)
    assert not beyond_row(((0, Compare(1, "eq", 1)),))
    assert beyond_row(((0, Compare(1, "eq", 1)), (2, disjunction([IsNull(0), exists]))))
    looked = look(((0, exists),), lambda leaf: lambda row: bool(row[1]))
    assert looked is not None
    assert looked((1, True)) == (1, True)
    assert looked((1, False)) == (None, False)


NUMBERS = RowType("t", (Column("a", SCALARS["int4"]), Column("b", SCALARS["int4"])))


def test_aggregates_are_of_what_is_seen() -> None:
    hidden = ((0, Compare(1, "eq", 1)),)
    specs = (
        Aggregate("count"),
        Aggregate("count", (0,), veil=hidden),
        Aggregate("sum", (0,), veil=hidden),
        Aggregate("max", (1,)),
    )
    assert veil_of(specs) == hidden
    plain, looked = lens(specs)
    assert looked is not None
    table: list[Row] = [(5, 1), (7, 2), (None, 1)]
    assert aggregated(plain, NUMBERS, map(looked, table)) == (3, 1, 5, 2)
    with pytest.raises(ValueError, match="not looked at"):
        Accumulator(specs, NUMBERS)


LOOSE = RowType("t", (Column("n", SCALARS["numeric"]), Column("hidden", SCALARS["text"])))


def test_rows_that_look_alike_are_the_same() -> None:
    number: Any = SCALARS["numeric"].parse
    same = alike(LOOSE, (0,))
    assert same((number("1.0"), "x")) == same((number("1.0"), "y"))
    assert same((number("1.0"), "x")) != same((number("1.00"), "x")), "the text is another one"
    assert same((None, "x")) == same((None, "y"))


def test_what_goes_and_comes_alike_has_not_happened() -> None:
    same = alike(NUMBERS, (0,))
    assert apart([((1, 1), (1, 2))], same) == []
    assert apart([((1, 1), (2, 1))], same) == [((1, 1), None), (None, (2, 1))], "nobody's successor"
    crossed: list[Any] = [((1, 1), (2, 1)), ((2, 2), (1, 2)), (None, (3, 1)), ((3, 2), None), (None, (3, 3))]
    assert apart(crossed, same) == [(None, (3, 3))]
    assert apart([((1, 1), None), ((1, 2), None), (None, (1, 3))], same) == [((1, 2), None)]

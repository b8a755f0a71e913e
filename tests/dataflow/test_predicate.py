"""Predicates: generated code against the tree walk, and SQL's three values against a table of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow.predicate import (
    FALSE,
    TRUE,
    And,
    Compare,
    In,
    IsNull,
    Or,
    Predicate,
    Unknown,
    compile_predicate,
    conjunction,
    disjunction,
    equality,
    evaluate,
    negate,
)

CELLS = st.one_of(st.none(), st.integers(0, 3))
ROWS = st.tuples(CELLS, CELLS)
LEAVES: st.SearchStrategy[Predicate] = st.one_of(
    st.builds(
        Compare, st.integers(0, 1), st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), st.integers(0, 3)
    ),
    st.builds(In, st.integers(0, 1), st.frozensets(st.integers(0, 3), max_size=3), st.booleans()),
    st.builds(IsNull, st.integers(0, 1), st.booleans()),
    st.just(Unknown()),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
)


def truth(predicate: Predicate, row: tuple[Any, ...]) -> bool | None:
    """SQL's value: True, False or None for UNKNOWN; written from the standard, not from the code."""
    match predicate:
        case Compare(column, op, value):
            cell = row[column]
            if cell is None:
                return None
            return {"eq": cell == value, "ne": cell != value, "lt": cell < value}.get(
                op, {"le": cell <= value, "gt": cell > value, "ge": cell >= value}.get(op)
            )
        case In(column, values, negated):
            if not values:
                return negated
            return None if row[column] is None else (row[column] in values) != negated
        case IsNull(column, negated):
            return (row[column] is None) != negated
        case And(parts):
            values_ = [truth(part, row) for part in parts]
            return False if False in values_ else None if None in values_ else True
        case Or(parts):
            values_ = [truth(part, row) for part in parts]
            return True if True in values_ else None if None in values_ else False
        case _:
            return None


@given(TREES, ROWS)
def test_compiled_walked_and_sql_agree(predicate: Predicate, row: tuple[Any, ...]) -> None:
    expected = truth(predicate, row) is True
    assert evaluate(predicate, row) is expected
    assert bool(compile_predicate(predicate)(row)) is expected


@given(TREES, ROWS)
def test_not_is_sqls_not(predicate: Predicate, row: tuple[Any, ...]) -> None:
    assert evaluate(negate(predicate), row) is (truth(predicate, row) is False)


@given(st.lists(TREES, max_size=4), ROWS)
def test_junctions_keep_their_meaning(parts: list[Predicate], row: tuple[Any, ...]) -> None:
    assert evaluate(conjunction(parts), row) is all(evaluate(part, row) for part in parts)
    assert evaluate(disjunction(parts), row) is any(evaluate(part, row) for part in parts)


@given(TREES, ROWS)
def test_an_equality_and_its_residual_are_the_whole(predicate: Predicate, row: tuple[Any, ...]) -> None:
    found = equality(predicate)
    if found is not None:
        column, values, residual = found
        assert evaluate(predicate, row) is (row[column] in values and evaluate(residual, row))


def test_equal_meanings_are_equal_trees() -> None:
    a, b = Compare(0, "eq", 1), Compare(1, "gt", 2)
    assert conjunction([a, conjunction([b, a])]) == conjunction([b, a])
    assert conjunction([a, TRUE]) == a
    assert disjunction([a, TRUE]) == TRUE
    assert conjunction([a, FALSE]) == FALSE
    assert negate(TRUE) == FALSE

"""``where`` against an interpreter of SQL's three values, which reads the arguments and nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphql.graphql_tables import PLANNER, refusals, root
from tycostream.auth.session import Session
from tycostream.dataflow.predicate import FALSE, TRUE, Compare, compile_predicate, evaluate

COLUMNS = {"id": 0, "symbol": 1, "price": 2, "qty": 3}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "_eq": eq, "_neq": ne, "_lt": lt, "_lte": le, "_gt": gt, "_gte": ge,
}  # fmt: skip
QUERY = "query($w: trades_bool_exp) {trades(where: $w) {id}}"
Truth = bool | None


def all_of(values: list[Truth]) -> Truth:
    return False if False in values else None if None in values else True


def any_of(values: list[Truth]) -> Truth:
    return True if True in values else None if None in values else False


def inverse(value: Truth) -> Truth:
    return None if value is None else not value


def sql(where: dict[str, Any], row: tuple[Any, ...]) -> Truth:
    """What SQL says of a row: TRUE, FALSE or UNKNOWN."""
    found: list[Truth] = []
    for name, inner in where.items():
        if name == "_and":
            found.append(all_of([sql(item, row) for item in inner]))
        elif name == "_or":
            found.append(any_of([sql(item, row) for item in inner]))
        elif name == "_not":
            found.append(inverse(sql(inner, row)))
        else:
            found += [compare(row[COLUMNS[name]], op, value) for op, value in inner.items()]
    return all_of(found)


def compare(cell: Any, operator: str, value: Any) -> Truth:
    if operator == "_is_null":
        return (cell is None) is value
    if operator == "_in":
        return any_of([compare(cell, "_eq", item) for item in value])
    if operator == "_nin":
        return all_of([compare(cell, "_neq", item) for item in value])
    return None if cell is None else OPERATORS[operator](cell, value)


VALUES = {
    "id": st.integers(0, 2),
    "symbol": st.sampled_from(["a", "b"]),
    "price": st.sampled_from([Decimal("1"), Decimal("1.50")]),
    "qty": st.integers(0, 2),
}


def comparisons(name: str) -> st.SearchStrategy[dict[str, Any]]:
    value = VALUES[name]
    optional: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(OPERATORS, value)
    lists = st.lists(value, max_size=2)
    optional |= {"_in": lists, "_nin": lists, "_is_null": st.booleans()}
    return st.fixed_dictionaries({}, optional=optional).filter(lambda d: len(d) < 3)


leaves = st.fixed_dictionaries({}, optional={name: comparisons(name) for name in VALUES})
wheres = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "_and": st.lists(inner, max_size=2),
            "_or": st.lists(inner, max_size=2),
            "_not": inner,
            "qty": comparisons("qty"),
        },
    ),
    max_leaves=6,
)
rows = st.tuples(*(st.none() | VALUES[name] for name in COLUMNS)).map(lambda r: (*r, None, None, None))


@given(wheres, st.lists(rows, min_size=1, max_size=5))
def test_where_is_what_sql_says(where: dict[str, Any], some: list[tuple[Any, ...]]) -> None:
    predicate = root(QUERY, {"w": where}).predicate
    compiled = compile_predicate(predicate)
    for row in some:
        expected = sql(where, row) is True
        assert evaluate(predicate, row) is expected
        assert bool(compiled(row)) is expected


@given(wheres)
def test_a_condition_and_its_negation_are_never_both_true(where: dict[str, Any]) -> None:
    row = (None,) * 7
    plain = root(QUERY, {"w": {"_not": {"_not": where}}}).predicate
    assert evaluate(plain, row) is (sql(where, row) is True)


@pytest.mark.parametrize("literal", ["null", "{}", "{_and: []}", "{qty: {}}", "{_and: {}}"])
def test_true(literal: str) -> None:
    assert root(f"{{trades(where: {literal}) {{id}}}}").predicate == TRUE


def test_false() -> None:
    assert root("{trades(where: {_or: []}) {id}}").predicate == FALSE
    assert root("{trades(where: {_not: {}}) {id}}").predicate == FALSE


@pytest.mark.parametrize(
    ("literal", "cell"),
    [
        ("{id: {_eq: 9223372036854775807}}", 2**63 - 1),
        ("{id: {_eq: -9223372036854775808}}", -(2**63)),
        ("{price: {_eq: 0.1000000000000000000001}}", Decimal("0.1000000000000000000001")),
        ("{price: {_eq: 0.1000}}", Decimal("0.1000")),
        ("{price: {_eq: 12345678901234567890123456789}}", Decimal("12345678901234567890123456789")),
    ],
)
def test_literals_keep_every_digit(literal: str, cell: object) -> None:
    predicate = root(f"{{trades(where: {literal}) {{id}}}}").predicate
    assert isinstance(predicate, Compare)
    assert predicate.value == cell
    assert str(predicate.value) == str(cell)


@pytest.mark.parametrize("value", [Decimal("1.5"), 1.5])
def test_variables_of_every_number_type_come_as_float_or_decimal(value: object) -> None:
    query = "query($f: Float, $n: numeric) {trades(where: {ratio: {_eq: $f}, price: {_eq: $n}}) {id}}"
    row = (1, None, Decimal("1.50"), 1, None, 1.5, None)
    assert evaluate(root(query, {"f": value, "n": value}).predicate, row)
    whole = "query($i: Int!) {trades(limit: $i) {id}}"
    assert root(whole, {"i": Decimal("3.0")}).limit == 3  # JSON has one kind of number


def test_keys_of_several_columns() -> None:
    found = root('{positions_by_pk(Isin: "x", book: "b") {book}}')
    assert evaluate(found.predicate, ("b", "x"))
    assert not evaluate(found.predicate, ("x", "b"))


def test_order_ignores_what_is_null_or_not_given() -> None:
    query = "query($d: order_by, $o: [trades_order_by!]) {a: trades(order_by: [{qty: $d}, {id: desc}]) {id} b: trades(order_by: $o) {id}}"
    first, second = PLANNER.plan(query, None, {"o": {"qty": "desc_nulls_last", "id": None}}, Session()).roots
    assert [term.column for term in first.order] == [0]  # type: ignore[union-attr]
    assert [(t.column, t.descending, t.nulls_first) for t in second.order] == [(3, True, False)]  # type: ignore[union-attr]
    empty = "query($d: [trades_order_by!]) {trades(order_by: $d) {id}}"
    assert root(empty).order == root(empty, {"d": None}).order == root(empty, {"d": []}).order == ()


def test_conditions_are_bounded() -> None:
    deep: dict[str, Any] = {"qty": {"_eq": 1}}
    for _ in range(31):
        deep = {"_not": deep}
    (error,) = refusals(QUERY, {"w": deep})
    assert error["message"] == "a condition nested deeper than 30 levels"
    wide = {"_or": [{"qty": {"_eq": n}} for n in range(2001)]}
    (error,) = refusals(QUERY, {"w": wide})
    assert error["message"] == "more than 2000 comparisons in the conditions of an operation"
    assert error["extensions"]["path"] == "$.selectionSet.trades.args.where._or[2000].qty._eq"
    assert root(QUERY, {"w": {"id": {"_in": list(range(20_000))}}}).predicate is not None


def test_the_deepest_condition_compiles() -> None:
    deep: dict[str, Any] = {"price": {"_gt": 1}}
    for n in range(29):  # and, or and not by turns, so that nothing flattens
        deep = {("_and", "_or")[n % 2]: [{"qty": {"_eq": n}}, {"symbol": {"_neq": "x"}}, deep]}
    assert compile_predicate(root(QUERY, {"w": deep}).predicate)((1, "y", Decimal(2), 1)) in (True, False)

"""Aggregates are PostgreSQL's own, row by row: every function and type, rows that came and went included."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import PostgresServer
from tests.scalar_cases import CASES
from tycostream.dataflow.aggregate import (
    COUNT,
    EXTREMES,
    MEANS,
    NUMERIC,
    Accumulator,
    aggregated,
    offered,
    scalar_of,
)
from tycostream.dataflow.relation import Aggregate
from tycostream.rows import Cell, Column, Row, RowType
from tycostream.scalars import NAN, SCALARS, Scalar, array_of

INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
DIGITS = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**25), max_value=10**25, places=None
)
NUMERICS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.decimals(-(10**6), 10**6, places=2, allow_nan=False).map(lambda value: format(value, "f")),
    DIGITS.map(lambda value: format(value, "f")).filter(lambda text: len(text) < 60),
    st.sampled_from(["0", "0.000", "1e-30", "0.00001", "99999999999999999999", "-10000", "9999", "10000"]),
)
SPECIALS = st.sampled_from(["NaN", "Infinity", "-Infinity"])


def one_column(scalar: Scalar) -> RowType:
    return RowType("t", (Column("id", SCALARS["int4"], nullable=False), Column("x", scalar)), key=(0,))


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("SET extra_float_digits = 3")
        connection.execute("SET intervalstyle = iso_8601")
        connection.execute("SET bytea_output = hex")
        connection.execute("SET timezone = 'UTC'")
        yield connection


def asked(
    connection: psycopg.Connection, select: str, sql_type: str, texts: Sequence[str | None]
) -> list[Any]:
    """One row of SQL expressions over a column ``x``, each as text."""
    query = f"SELECT {select} FROM unnest(%s::text[]::{sql_type}[]) AS t(x)"
    row = connection.execute(query, [list(texts)]).fetchone()
    assert row is not None
    return list(row)


def followed(specs: Sequence[Aggregate], row_type: RowType, rows: Sequence[Row], gone: Sequence[Row]) -> Any:
    """The results of ``rows`` where ``gone`` were there too, from before the first of them to after the last."""
    accumulator = Accumulator(specs, row_type)
    empty = accumulator.cells()
    for row in gone[::2]:
        accumulator.add(row)
    for row in rows:
        accumulator.add(row)
    for row in gone[1::2]:
        accumulator.add(row)
    for row in gone:
        accumulator.remove(row)
    cells = accumulator.cells()
    # and each row in the place of the one before it, and back
    for old, new in [*pairwise(rows), *((new, old) for old, new in reversed(list(pairwise(rows))))]:
        before = accumulator.cells()
        assert accumulator.follow(old, new) or accumulator.cells() == before
    assert accumulator.cells() == cells
    for row in rows:
        accumulator.remove(row)
    assert accumulator.cells() == empty
    return cells


@pytest.mark.parametrize("name", [*INTEGERS, "numeric"])
@settings(max_examples=60)
@given(data=st.data())
def test_exact_numbers_are_the_servers_to_the_last_digit(
    connection: psycopg.Connection, name: str, data: st.DataObject
) -> None:
    """Sums, means and spreads: the digits behind the point are part of the answer."""
    if name == "numeric":
        cells: st.SearchStrategy[str] = st.one_of(NUMERICS, NUMERICS, NUMERICS, SPECIALS)
    else:
        low, high = -INTEGERS[name], INTEGERS[name] - 1
        cells = st.one_of(st.integers(low, high), st.integers(-9, 9), st.sampled_from([low, high])).map(str)
    texts = data.draw(st.lists(st.none() | cells, max_size=8))
    gone = data.draw(st.lists(st.none() | cells, max_size=5))
    scalar = SCALARS[name]
    row_type = one_column(scalar)
    specs = [Aggregate(function, (1,)) for function in NUMERIC]
    rows, others = ([(0, None if t is None else scalar.parse(t)) for t in each] for each in (texts, gone))
    cells_ = followed(specs, row_type, rows, others)
    expected = asked(connection, ", ".join(f"{function}(x)::text" for function in NUMERIC), name, texts)
    numeric = SCALARS["numeric"]
    shown = [None if cell is None else numeric.text(cell) for cell in cells_]
    assert dict(zip(NUMERIC, shown, strict=True)) == dict(zip(NUMERIC, expected, strict=True))


def close(ours: Cell, servers: str | None) -> bool:
    """The server rounds at every row; we round once."""
    if ours is None or servers is None:
        return ours is servers
    theirs = SCALARS["float8"].parse(servers)
    if ours is NAN or theirs is NAN or math.isinf(ours):
        return bool(ours == theirs)
    return math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize("name", ["float4", "float8"])
@settings(max_examples=60)
@given(
    texts=st.lists(st.none() | st.floats(-1e5, 1e5, width=32).map(repr) | SPECIALS, max_size=8),
    gone=st.lists(st.none() | st.floats(-1e5, 1e5, width=32).map(repr) | SPECIALS, max_size=5),
)
@example(texts=["Infinity"], gone=[])
@example(texts=["NaN"], gone=["-Infinity", "Infinity"])
@example(texts=["0.1", "0.2"], gone=["1e5"])
def test_floats_are_the_servers_but_for_its_rounding(
    connection: psycopg.Connection, name: str, texts: list[str | None], gone: list[str | None]
) -> None:
    scalar = SCALARS[name]
    row_type = one_column(scalar)
    specs = [Aggregate(function, (1,)) for function in NUMERIC]
    read = [connection.execute("SELECT unnest(%s::text[]::float4[]::text[])", [texts]).fetchall(),
            connection.execute("SELECT unnest(%s::text[]::float4[]::text[])", [gone]).fetchall()]  # fmt: skip
    rows, others = ([(0, None if t is None else scalar.parse(t)) for (t,) in each] for each in read)
    singles: list[str | None] = [t for (t,) in read[0]]
    cells = followed(specs, row_type, rows, others)
    expected = asked(connection, ", ".join(f"{function}(x)::text" for function in NUMERIC), name, singles)
    for function, ours, servers in zip(NUMERIC, cells, expected, strict=True):
        assert close(ours, servers), (function, ours, servers)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30), st.randoms())
def test_a_sum_of_floats_is_the_float_nearest_to_the_true_sum(values: list[float], random: Any) -> None:
    """Whatever the order, and whatever came and went."""
    row_type = one_column(SCALARS["float8"])
    specs = [Aggregate("sum", (1,)), Aggregate("avg", (1,)), Aggregate("var_pop", (1,))]
    rows: list[Row] = [(0, value) for value in values]
    shuffled = random.sample(rows, len(rows))
    try:
        true: Cell = math.fsum(values) if values else None
    except OverflowError:  # between two floats it may be finite again: ours is
        true = aggregated(specs, row_type, rows)[0]
    ours = followed(specs, row_type, rows, [(0, 5e-324), (0, 1.7e308), (0, 0.1)])
    assert ours[0] == true
    assert ours == aggregated(specs, row_type, shuffled)


def test_a_sum_beyond_every_float_is_an_infinity_and_comes_back() -> None:
    row_type = one_column(SCALARS["float8"])
    largest = 1.7976931348623157e308
    accumulator = Accumulator([Aggregate("sum", (1,)), Aggregate("stddev_pop", (1,))], row_type)
    for value in (largest, largest, -largest / 4):
        accumulator.add((0, value))
    assert accumulator.cells() == (math.inf, math.inf)
    accumulator.remove((0, largest))
    assert accumulator.cells()[0] == largest * 0.75
    for value in (largest, -largest / 4):
        accumulator.remove((0, value))
    assert accumulator.cells() == (None, None)


def test_a_sum_of_singles_is_a_single() -> None:
    scalar = SCALARS["float4"]
    row_type = one_column(scalar)
    cells: list[Row] = [(0, scalar.parse(text)) for text in ("0.1", "0.2", "3.4028235e+38", "-3.4028235e+38")]
    total, mean = aggregated([Aggregate("sum", (1,)), Aggregate("avg", (1,))], row_type, cells[:2])
    assert (scalar.text(total), mean) == ("0.3", (0.10000000149011612 + 0.20000000298023224) / 2)
    assert aggregated([Aggregate("sum", (1,))], row_type, [cells[2], cells[2]]) == (math.inf,)
    assert aggregated([Aggregate("sum", (1,))], row_type, [cells[3], cells[3]]) == (-math.inf,)


def test_a_sum_of_large_integers_does_not_overflow() -> None:
    """The server refuses a bigint's sum of integers that exceeds it only after two billion rows, and we never."""
    row_type = one_column(SCALARS["int8"])
    rows: list[Row] = [(n, 2**63 - 1) for n in range(4)]
    specs = [Aggregate("sum", (1,)), Aggregate("avg", (1,))]
    assert aggregated(specs, row_type, rows) == (4 * (2**63 - 1), Decimal(2**63 - 1))


MINIMAL = [
    name for name, scalar in SCALARS.items() if offered("max", scalar) and name in CASES
]  # every type with an order


@pytest.mark.parametrize("in_arrays", [False, True])
@pytest.mark.parametrize("name", MINIMAL)
def test_extremes_are_the_servers_first_and_last(
    connection: psycopg.Connection, name: str, in_arrays: bool
) -> None:
    scalar = SCALARS[name]
    samples = CASES[name].samples
    extension = CASES[name].extension
    assert extension is None
    if in_arrays:
        scalar = array_of(scalar)
    sql_type = scalar.name.removeprefix("_") + "[]" * in_arrays
    wrapped = f"{sql_type}" if not in_arrays else sql_type.removesuffix("[]")
    value = "ARRAY[x]" if in_arrays else "x"
    collated = "" if name not in ("text", "varchar", "bpchar", "name") or in_arrays else ' COLLATE "C"'
    query = f"SELECT {value}::text FROM unnest(%s::text[]::{wrapped}[]) AS t(x)"
    texts = [t for (t,) in connection.execute(query, [samples])]
    query = (
        f"SELECT (array_agg({value}::text ORDER BY {value}{collated}))[1], "
        f"(array_agg({value}::text ORDER BY {value}{collated} DESC))[1] FROM unnest(%s::text[]::{wrapped}[]) AS t(x)"
    )
    first = connection.execute(query, [samples]).fetchone()
    assert first is not None
    low, high = (scalar.parse(text) for text in first)
    row_type = one_column(scalar)
    rows: list[Row] = [(0, scalar.parse(text)) for text in texts] + [(0, None)]
    specs = [Aggregate("min", (1,)), Aggregate("max", (1,)), Aggregate("count", (1,), distinct=True)]
    different = len({row[1] for row in rows} - {None})
    assert followed(specs, row_type, rows, []) == (low, high, different)
    # the extremes go last: what is next to them is not
    accumulator = Accumulator(specs, row_type)
    for row in rows:
        accumulator.add(row)
    left = sorted((row for row in rows if row[1] is not None), key=lambda row: row[1])
    while left:
        assert accumulator.cells()[:2] == (left[0][1], left[-1][1])
        accumulator.remove(left.pop(0 if len(left) % 2 else -1))
    assert accumulator.cells() == (None, None, 0)


def test_of_equal_cells_the_extreme_does_not_depend_on_who_came_first() -> None:
    scalar = SCALARS["numeric"]
    row_type = one_column(scalar)
    specs = [Aggregate("min", (1,)), Aggregate("max", (1,)), Aggregate("count", (1,), distinct=True)]
    one, longer = (0, Decimal("1.0")), (0, Decimal("1.00"))
    for rows in ([one, longer], [longer, one]):
        low, high, different = aggregated(specs, row_type, rows)
        assert (str(low), str(high), different) == ("1.0", "1.00", 1)


def test_a_million_different_cells_keep_their_order() -> None:
    """More than one block of them, added and removed at both ends and in between."""
    row_type = one_column(SCALARS["int4"])
    specs = [Aggregate("min", (1,)), Aggregate("max", (1,))]
    accumulator = Accumulator(specs, row_type)
    values = [(n * 7919) % 10_007 for n in range(10_007)]
    for value in values:
        accumulator.add((0, value))
    left = set(values)
    for value in [*range(2500), *range(10_006, 7500, -1), *range(5000, 5500)]:
        accumulator.remove((0, value))
        left.discard(value)
    assert accumulator.cells() == (min(left), max(left))
    for value in sorted(left)[1:]:
        accumulator.remove((0, value))
    assert accumulator.cells() == (2500, 2500)


TRUTHS = st.lists(st.sampled_from(["true", "false", None]), max_size=5)


@given(TRUTHS, TRUTHS)
def test_truths_are_the_servers(
    connection: psycopg.Connection, texts: list[str | None], gone: list[str | None]
) -> None:
    row_type = one_column(SCALARS["bool"])
    specs = [Aggregate("bool_and", (1,)), Aggregate("bool_or", (1,))]
    rows, others = ([(0, None if t is None else t == "true") for t in each] for each in (texts, gone))
    expected = asked(connection, "bool_and(x), bool_or(x)", "bool", texts)
    assert list(followed(specs, row_type, rows, others)) == expected


def test_of_different_cells_as_the_server_has_it(connection: psycopg.Connection) -> None:
    scalar = SCALARS["float8"]
    row_type = one_column(scalar)
    functions = ("sum", "avg", "stddev_samp", "var_samp", "min", "max")
    specs = [Aggregate(function, (1,), distinct=True) for function in functions]
    specs.append(Aggregate("sum", (1,)))
    query = ", ".join(f"{function}(DISTINCT x)::text" for function in functions)
    for texts in (["1", "1", "2.5", "2.5", None], [], ["3", "3"], ["NaN", "NaN", "1"], [None]):
        expected = asked(connection, f"{query}, sum(x)::text", "float8", texts)
        rows: list[Row] = [(0, None if text is None else scalar.parse(text)) for text in texts]
        gone: list[Row] = [(0, 2.5), (0, 2.5), (0, 7.0)]
        cells = followed(specs, row_type, rows, gone)
        assert [None if cell is None else scalar.text(cell) for cell in cells] == expected, texts


PAIRS = st.lists(st.tuples(st.sampled_from([1, 2, None]), st.sampled_from(["a", "b", None])), max_size=8)


@given(PAIRS, PAIRS)
def test_counts_are_of_rows_or_of_cells(
    connection: psycopg.Connection,
    pairs: list[tuple[int | None, str | None]],
    gone: list[tuple[int | None, str | None]],
) -> None:
    columns = (
        Column("id", SCALARS["int4"], nullable=False),
        Column("x", SCALARS["int4"]),
        Column("y", SCALARS["text"]),
    )
    row_type = RowType("t", columns, key=(0,))
    specs = [COUNT]
    specs += [Aggregate("count", places, distinct) for distinct in (False, True) for places in ((1,), (1, 2))]
    specs.append(Aggregate("count", (), distinct=True))
    query = (
        "SELECT count(*), count(x), count(*) FILTER (WHERE x IS NOT NULL AND y IS NOT NULL), count(DISTINCT x), "
        "count(DISTINCT (x, y)) FILTER (WHERE x IS NOT NULL AND y IS NOT NULL) "
        "FROM unnest(%s::int[], %s::text[]) AS t(x, y)"
    )
    lists = [[pair[0] for pair in pairs], [pair[1] for pair in pairs]]
    expected = connection.execute(query, lists).fetchone()
    assert expected is not None
    rows: list[Row] = [(0, *pair) for pair in pairs]
    others: list[Row] = [(0, *pair) for pair in gone]
    assert followed(specs, row_type, rows, others) == (*expected, 1 if pairs else 0)


def test_parts_are_shared_by_the_results_that_read_them() -> None:
    row_type = one_column(SCALARS["int4"])
    specs = [
        *(Aggregate(f, (1,)) for f in NUMERIC),
        Aggregate("count", (1,)),
        Aggregate("count", (1,), distinct=True),
    ]
    specs += [Aggregate("min", (1,)), Aggregate("max", (1,)), Aggregate("sum", (1,))]
    accumulator = Accumulator(specs, row_type)
    assert len(accumulator.parts) == 3  # the sums, the count, and the cells in their order
    assert isinstance(accumulator, Accumulator)
    assert type(Accumulator(specs, row_type)) is type(accumulator)


def test_no_results_are_of_no_rows_too() -> None:
    row_type = one_column(SCALARS["int4"])
    accumulator = Accumulator([], row_type)
    accumulator.add((0, 1))
    accumulator.remove((0, 1))
    assert accumulator.cells() == ()


@pytest.mark.parametrize(
    ("function", "name", "result", "graphql"),
    [
        ("sum", "int4", "int4", "Int"),
        ("sum", "float4", "float4", "Float"),
        ("sum", "numeric", "numeric", "numeric"),
        ("avg", "int4", "numeric", "Float"),
        ("stddev", "numeric", "numeric", "Float"),
        ("var_pop", "float4", "float8", "Float"),
        ("max", "timestamptz", "timestamptz", "timestamptz"),
        ("bool_and", "bool", "bool", "Boolean"),
        ("count", "text", "int4", "Int"),
    ],
)
def test_the_type_of_a_result(function: str, name: str, result: str, graphql: str) -> None:
    row_type = one_column(SCALARS[name])
    scalar = scalar_of(Aggregate(function, (1,)), row_type)
    assert (scalar.name, scalar.graphql) == (result, graphql)


def test_what_is_offered() -> None:
    assert [f for f in (*NUMERIC, *EXTREMES, "bool_and") if offered(f, SCALARS["bool"])] == ["bool_and"]
    assert [f for f in (*NUMERIC, *EXTREMES, "bool_or") if offered(f, SCALARS["jsonb"])] == []
    assert [f for f in (*NUMERIC, *EXTREMES) if offered(f, SCALARS["money"])] == []
    assert [f for f in (*NUMERIC, *EXTREMES) if offered(f, SCALARS["interval"])] == ["max", "min"]
    assert [f for f in (*NUMERIC, *EXTREMES) if offered(f, SCALARS["int8"])] == [*NUMERIC, *EXTREMES]
    assert len(MEANS) == 7

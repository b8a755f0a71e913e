"""Every type that is ordered sorts by its cells, forwards and backwards, NULLs where they are wanted; in arrays too."""

from __future__ import annotations

import pytest

from tests.scalar_cases import CASES
from tycostream.dataflow.bounds import split
from tycostream.dataflow.order import OrderBy, compile_order
from tycostream.dataflow.predicate import TRUE, Compare
from tycostream.rows import Cell, Column, Row, RowType
from tycostream.scalars import SCALARS, array_of

ORDERED = [name for name, scalar in SCALARS.items() if "_gt" in scalar.operators and name in CASES]


@pytest.mark.parametrize("nulls_first", [True, False])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("in_arrays", [False, True])
@pytest.mark.parametrize("name", [name for name in ORDERED if name != "bool"])
def test_a_type_sorts(name: str, in_arrays: bool, descending: bool, nulls_first: bool) -> None:
    scalar = SCALARS[name]
    read = scalar.parse if name == "jsonb" else scalar.literal  # a string is a JSON string
    cells: list[Cell] = [read(sample) for sample in CASES[name].samples]
    if in_arrays:
        scalar = array_of(scalar)
        cells = [scalar.literal(items) for items in ([], [None], *([s] for s in CASES[name].samples[:5]))]
    row_type = RowType("t", (Column("id", SCALARS["int4"], nullable=False), Column("x", scalar)), key=(0,))
    rows: list[Row] = [(n, cell) for n, cell in enumerate([*cells, None, *cells, None])]
    order = compile_order((OrderBy(1, descending, nulls_first),), row_type)
    nulls = [row for row in rows if row[1] is None]
    # a stable sort, and the key after it; descending keeps the key ascending
    others = sorted((row for row in rows if row[1] is not None), key=lambda row: row[1], reverse=False)
    if descending:
        groups: list[list[Row]] = []
        for row in others:
            if groups and groups[-1][0][1] == row[1]:
                groups[-1].append(row)
            else:
                groups.append([row])
        others = [row for group in reversed(groups) for row in group]
    expected = [*nulls, *others] if nulls_first else [*others, *nulls]
    assert sorted(rows, key=lambda row: order(row[0], row)) == expected


@pytest.mark.parametrize("key", [(), (1,)])
def test_a_page_of_documents_begins_where_the_order_says(key: tuple[int, ...]) -> None:
    """Documents stand in the order as what they mean, asked for or appended; so does the bound of a page."""
    columns = (Column("n", SCALARS["int4"]), Column("x", SCALARS["jsonb"], nullable=not key))
    row_type = RowType("t", columns, key=key)
    texts = ["[]", "null", '"a"', "1.0", "2", "[1]", "{}"]
    rows: list[Row] = [(1, SCALARS["jsonb"].parse(text)) for text in texts]
    one = SCALARS["jsonb"].literal(1)
    residual, bounds = split(Compare(1, "gt", one), (OrderBy(1),) if not key else (), row_type)
    order = compile_order((OrderBy(1),) if not key else (), row_type)
    keys = [(row_type.identity(row), 0) if not key else row[1] for row in rows]
    sorts = [order(name, row) for name, row in zip(reversed(keys), reversed(rows), strict=True)]
    assert residual == TRUE
    assert bounds.begin(sorted(sorts)) == texts.index("2")

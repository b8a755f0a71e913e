"""Groups of a join's rows: what is kept equals what is computed afresh, and every difference of a window is told."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow import groups as groups_module
from tycostream.dataflow.aggregate import aggregated
from tycostream.dataflow.groups import GroupedAggregates, GroupedRows, Window
from tycostream.dataflow.order import OrderBy, compile_order, prefix_length
from tycostream.dataflow.relation import Aggregate, value_of
from tycostream.rows import Cell, Change, Column, Key, Row, RowType
from tycostream.scalars import SCALARS, scalar_for

INT = SCALARS["int4"]
ROWS = RowType("rows", (Column("id", INT, nullable=False), Column("of", INT), Column("n", INT)), key=(0,))
SPECS = (Aggregate("count"), Aggregate("sum", (2,)), Aggregate("max", (2,)))
CHANGES = st.lists(
    st.tuples(st.integers(0, 8), st.booleans(), st.sampled_from([None, 1, 2]), st.integers(0, 4)),
    max_size=6,
    unique_by=lambda each: each[0],
)


def changed(table: dict[Key, Row], asked: list[tuple[int, bool, int | None, int]]) -> list[Change]:
    """Apply to ``table`` what was drawn; gives the changes."""
    changes = []
    for key, there, of, n in asked:
        old, new = table.pop(key, None), (key, of, n) if there else None
        if new is not None:
            table[key] = new
        if old != new:
            changes.append(Change(key, old, new))
    return changes


def group(table: dict[Key, Row], value: int) -> list[tuple[Key, Row]]:
    return [(key, row) for key, row in table.items() if row[1] == value]


@pytest.mark.parametrize("entries_max", [3, 1000])
@given(
    batches=st.lists(CHANGES, max_size=6),
    descending=st.booleans(),
    start=st.integers(0, 2),
    limit=st.sampled_from([None, 0, 1, 3]),
    distinct=st.booleans(),
)
def test_windows_are_as_if_made_anew_and_each_difference_is_told(
    entries_max: int,
    batches: list[list[tuple[int, bool, int | None, int]]],
    descending: bool,
    start: int,
    limit: int | None,
    distinct: bool,
) -> None:
    order = (OrderBy(2, descending, descending),)

    def made() -> GroupedRows:
        return GroupedRows(
            compile_order(order, ROWS),
            value_of((1,)),
            start=start,
            end=None if limit is None else start + limit,
            distinct=prefix_length(order, ROWS) if distinct else 0,
        )

    with patch.object(groups_module, "_ENTRIES_MAX", entries_max):
        table: dict[Key, Row] = {}
        kept, shown = made(), dict[int, Window]()
        for asked in batches:
            different = kept.push(changed(table, asked))
            for value in (1, 2):
                fresh = made().window(value, lambda value=value: group(table, value))  # type: ignore[misc]
                window = kept.window(value, lambda value=value: group(table, value))  # type: ignore[misc]
                assert window == fresh
                assert value in different or window == shown.get(value, window)
                shown[value] = window


@pytest.mark.parametrize("groups_max", [1, 1000])
@given(batches=st.lists(CHANGES, max_size=6))
def test_aggregates_are_as_if_added_up_anew(
    groups_max: int, batches: list[list[tuple[int, bool, int | None, int]]]
) -> None:
    with patch.object(groups_module, "_AGGREGATES_MAX", groups_max):
        table: dict[Key, Row] = {}
        kept = GroupedAggregates(SPECS, ROWS, value_of((1,)))
        shown: dict[int, tuple[Cell, ...]] = {}
        for asked in batches:
            different = kept.push(changed(table, asked))
            for value in (1, 2):
                rows = [row for _, row in group(table, value)]
                cells = kept.cells(value, lambda value=value: group(table, value))  # type: ignore[misc]
                assert cells == aggregated(SPECS, ROWS, rows)
                assert value in different or cells == shown.get(value, cells)
                shown[value] = cells


def test_a_change_of_what_no_aggregate_reads_is_none() -> None:
    kept = GroupedAggregates((Aggregate("count"), Aggregate("max", (0,))), ROWS, value_of((1,)))
    kept.cells(1, lambda: [(3, (3, 1, 0))])
    assert kept.push([Change(3, (3, 1, 0), (3, 1, 9))]) == set()
    assert kept.push([Change(3, (3, 1, 9), (3, None, 9))]) == {1}


def test_groups_without_rows_count_as_well() -> None:
    with patch.object(groups_module, "_ENTRIES_MAX", 10):
        kept = GroupedRows(compile_order((), ROWS), value_of((1,)), start=0, end=None, distinct=0)
        for value in range(100):
            kept.window(value, list)
        assert len(kept._groups) == 10
        assert sum(map(len, kept.released())) == 10


def test_a_change_behind_the_windows_end_is_none() -> None:
    kept = GroupedRows(compile_order((OrderBy(2),), ROWS), value_of((1,)), start=0, end=2, distinct=0)
    table: dict[Key, Row] = {key: (key, 1, key) for key in range(5)}
    kept.window(1, lambda: group(table, 1))
    assert kept.push([Change(4, (4, 1, 4), (4, 1, 3))]) == set()
    assert kept.push([Change(3, (3, 1, 3), None)]) == set()
    assert kept.push([Change(4, (4, 1, 3), (4, 1, 0))]) == {1}
    assert kept.push([Change(9, None, (9, None, 0))]) == set(), "NULL equals nothing"
    assert kept.push([Change(9, None, (9, 7, 0))]) == {7}, "of a group that is not kept nothing is known"


def test_a_row_that_was_not_in_its_group_is_an_error() -> None:
    kept = GroupedRows(compile_order((), ROWS), value_of((1,)), start=0, end=None, distinct=0)
    kept.window(1, list)
    with pytest.raises(LookupError, match="was not in it"):
        kept.push([Change(4, (4, 1, 4), None)])


@pytest.mark.parametrize("sql_type", ["text", "jsonb"])
@pytest.mark.parametrize(("descending", "expected"), [(False, [1, 2, 4]), (True, [4, 2, 1])])
def test_distinct_needs_no_hash_of_what_it_compares(
    sql_type: str, descending: bool, expected: list[int]
) -> None:
    # what descends and is no number is wrapped so that it compares the other way round, and that has no hash
    columns = (
        Column("id", INT, nullable=False),
        Column("of", INT),
        Column("c", scalar_for(sql_type)),
    )
    row_type = RowType("t", columns, key=(0,))
    parse = scalar_for(sql_type).parse
    texts = {1: "a", 2: "b", 3: "b", 4: None}
    rows: list[Row] = [
        (key, 7, None if text is None else parse(text if sql_type == "text" else f'"{text}"'))
        for key, text in texts.items()
    ]
    order = (OrderBy(2, descending, nulls_first=descending),)
    groups = GroupedRows(
        compile_order(order, row_type),
        value_of((1,)),
        start=0,
        end=None,
        distinct=prefix_length(order, row_type),
    )
    assert groups.window(7, lambda: [(row[0], row) for row in rows])[0] == expected
    second = rows[1]
    assert groups.push([Change(2, second, None)]) == {7}
    assert groups.window(7, list)[0] == [3 if key == 2 else key for key in expected]

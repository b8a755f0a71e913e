"""An index against a scan: filled in steps, with batches in between, over stores of every kind."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow import index as index_module
from tycostream.dataflow.index import Index
from tycostream.dataflow.predicate import Compare, In, conjunction
from tycostream.dataflow.store import Store
from tycostream.errors import UpstreamError
from tycostream.rows import TRUNCATE, Change, Column, Row, RowType
from tycostream.scalars import SCALARS

COLUMNS = (Column("id", SCALARS["int8"], nullable=False), Column("n", SCALARS["numeric"]))
CELLS = st.sampled_from([None, *map(SCALARS["numeric"].parse, ("1", "1.0", "2", "NaN"))])
KEYED = RowType("keyed", COLUMNS, key=(0,))
KINDS = [KEYED, RowType("copies", COLUMNS), RowType("watched", COLUMNS, key=(0,), watched=True)]


@pytest.mark.parametrize("row_type", KINDS, ids=lambda row_type: row_type.source)
@given(st.data())
def test_an_index_finds_what_a_scan_finds(row_type: RowType, data: st.DataObject) -> None:
    with patch.object(index_module, "ROWS_PER_STEP", 3):
        store = Store(row_type)
        store.fill([(n, Decimal(n % 3)) for n in range(data.draw(st.integers(0, 12)))])
        index = store.add_index((1,))
        for _ in range(data.draw(st.integers(0, 12))):
            if data.draw(st.booleans()):
                index.step()
                continue
            key = data.draw(st.integers(0, 12))
            old, new = store.rows.get(key), (key, data.draw(CELLS))
            if not row_type.keyed:
                old = next((row for row in store.rows.values() if row[0] == key), None)
            change = data.draw(
                st.sampled_from([Change(key, old, new), Change(key, old, None) if old else TRUNCATE])
            )
            store.apply([change])
        while not index.step():
            pass
        for cell in [Decimal(n) for n in range(4)] + [SCALARS["numeric"].parse("NaN")]:
            scanned = {key for key, row in store.rows.items() if row[1] is not None and row[1] == cell}
            assert index.count([cell]) == len(scanned)
            assert len(index.keys([cell])) == len(scanned)
            assert set(index.keys([cell])) == scanned
        kept = sum(row[1] is not None for row in store.rows.values())
        assert len(index._lone) + index._entries == kept
        assert index._entries == sum(map(len, index._shared.values()))


def test_a_batch_that_failed_leaves_the_index_as_it_was() -> None:
    store = Store(KINDS[2])
    store.fill([(1, Decimal(1)), (2, Decimal(2))])
    index = store.add_index((1,))
    index.step()
    with pytest.raises(UpstreamError):
        store.apply([Change(1, (1, Decimal(1)), (1, Decimal(5))), Change(9, (9, Decimal(9)), None)])
    assert index.keys([Decimal(1)]) == [1]
    assert index.keys([Decimal(5)]) == []


def test_what_can_be_looked_up() -> None:
    store = Store(KEYED)
    store.fill([(n, Decimal(n % 7)) for n in range(20_100)])
    by_key, by_cell = In(0, frozenset((3, 5, -1))), Compare(1, "eq", Decimal(3))
    assert set(store.given(by_key) or ()) == {3, 5}, "the key is an index already"
    assert store.index_columns(by_key) is None
    assert store.index_columns(by_cell) == (1,)
    assert store.given(by_cell) is None, "there is no index"
    index = store.add_index((1,))
    index.step()
    assert store.given(by_cell) is None, "it is in the making"
    while not index.step():
        pass
    assert store.given(conjunction([by_cell, Compare(0, "lt", 100)])) == index.keys([Decimal(3)])
    assert len(store.given(by_cell) or ()) == 20_100 // 7
    most = In(1, frozenset(map(Decimal, range(5))))
    assert store.given(most) is None, "so many are better scanned"
    assert store.given(Compare(1, "lt", Decimal(3))) is None


def test_a_column_of_distinct_cells_has_no_container_a_row() -> None:
    rows: dict[Hashable, Row] = {n: (n,) for n in range(1000)}
    index = Index((0,), rows)
    index.step()
    assert not index._shared
    assert index.bytes == 110_000
    held = index.released()
    assert sum(map(len, held)) == 1000
    assert index.bytes == 0

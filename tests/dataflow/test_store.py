"""The store against a model: watched keys as multisets, snapshots that arrive in parts, failed batches."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow.store import Store, duplicate_key
from tycostream.errors import Action, UpstreamError
from tycostream.rows import TRUNCATE, Change, Column, Row, RowType
from tycostream.scalars import SCALARS

COLUMNS = (Column("id", SCALARS["int8"], nullable=False), Column("n", SCALARS["numeric"]))
WATCHED = RowType("watched", COLUMNS, key=(0,), watched=True)
KEYED = RowType("keyed", COLUMNS, key=(0,))
COPIES = RowType("copies", COLUMNS)
ROWS = st.tuples(
    st.integers(0, 4), st.sampled_from([None, *map(SCALARS["numeric"].parse, ("1", "1.0", "2"))])
)


def image(row_type: RowType, row: Row) -> object:
    return row_type.identity(row)


def contents(store: Store) -> Counter[object]:
    rows = [*store.rows.values(), *(row for more in store.surplus.values() for row in more)]
    return Counter(image(store.row_type, row) for row in rows)


@given(st.data())
def test_a_watched_store_keeps_the_multiset_of_each_key(data: st.DataObject) -> None:
    store, model = Store(WATCHED), list[Row]()
    shown: dict[object, Row] = {}
    for _ in range(data.draw(st.integers(1, 8))):
        changes = []
        for _ in range(data.draw(st.integers(1, 5))):
            kind = data.draw(st.integers(0, 9))
            if kind == 0:
                changes.append(TRUNCATE)
                model.clear()
            elif kind < 6 or not model:
                row = data.draw(ROWS)
                changes.append(Change(row[0], None, row))
                model.append(row)
            else:
                old = model.pop(data.draw(st.integers(0, len(model) - 1)))
                new = (old[0], data.draw(ROWS)[1]) if kind < 8 else None
                changes.append(Change(old[0], old, new))
                if new is not None:
                    model.append(new)
        for key, was, now in store.apply(changes):
            assert shown.get(key) == was
            if now is None:
                del shown[key]
            else:
                shown[key] = now
        assert contents(store) == Counter(image(WATCHED, row) for row in model)
        keys = Counter(row[0] for row in model)
        assert {key for key, count in keys.items() if count > 1} == set(store.surplus)
        assert set(store.rows) == set(keys)
        assert (duplicate_key(store) is None) == (max(keys.values(), default=0) < 2)
        assert shown == store.rows


def test_a_retraction_of_what_is_not_there_undoes_the_batch() -> None:
    store = Store(WATCHED)
    store.fill([(1, 1), (1, 2), (2, 1)])
    before = copy.deepcopy((store.rows, store.surplus))
    for unknown in ((1, 3), (2, 2), (9, 9)):
        with pytest.raises(UpstreamError, match="never received") as caught:
            store.apply(
                [
                    Change(2, (2, 1), None),
                    Change(1, (1, 2), None),
                    TRUNCATE,
                    Change(3, None, (3, 3)),
                    Change(3, None, (3, 4)),
                    Change(unknown[0], unknown, None),
                ]
            )
        assert (caught.value.code, caught.value.action) == ("row-unknown", Action.RESYNC)
        assert (store.rows, store.surplus) == before


@pytest.mark.parametrize("row_type", [WATCHED, KEYED, COPIES], ids=lambda row_type: row_type.source)
@given(st.data())
def test_the_difference_turns_a_store_into_the_snapshot(row_type: RowType, data: st.DataObject) -> None:
    unique = row_type is KEYED
    rows = st.lists(ROWS, max_size=8, unique_by=(lambda row: row[0]) if unique else None)
    store = Store(row_type)
    store.fill(data.draw(rows))
    snapshot = data.draw(rows)
    difference = store.difference()
    cut = data.draw(st.integers(0, len(snapshot)))
    changes = difference.take(snapshot[:cut]).take(snapshot[cut:]).changes()
    store.apply(changes)
    assert contents(store) == Counter(image(row_type, row) for row in snapshot)
    assert store.diff(snapshot) == []


def test_the_message_of_a_duplicate_names_the_key() -> None:
    store = Store(RowType("t", COLUMNS, key=(0, 1), watched=True))
    store.fill([(7, None), (7, None)])
    error = duplicate_key(store)
    assert error is not None
    assert error.message == "the key of 't' is not unique", "its clients see it: no value of a row in it"
    assert error.detail == "2 rows have id = 7, n = NULL"
    assert "make (id, n) unique upstream, or choose another `primary_key`" in error.hint


def test_parts_of_a_first_snapshot_that_share_a_key() -> None:
    store = Store(WATCHED)
    store.fill([(n, 1) for n in range(100)])
    store.fill([(50, 2), (100, 1)])
    assert store.surplus == {50: [(50, 2)]}
    assert len(store.rows) == 101


@pytest.mark.parametrize(
    "wrong", [Change(1, (1, 7), None), Change(1, (1, 7), (1, 8)), Change(3, (3, 1), (3, 2))], ids=str
)
def test_a_row_that_goes_must_be_the_one_that_is_there(wrong: Change) -> None:
    store = Store(WATCHED)
    store.fill([(1, 1), (2, 1)])
    before = dict(store.rows)
    with pytest.raises(UpstreamError, match="never received"):
        store.apply([Change(4, None, (4, 1)), Change(2, (2, 1), (2, 2)), wrong])
    assert (store.rows, store.surplus) == (before, {})

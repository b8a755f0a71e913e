"""The store against a model: watched keys as multisets, snapshots that arrive in parts, failed batches."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.changes import Turnover
from tycostream.dataflow.store import Store, duplicate_key
from tycostream.errors import Action, UpstreamError
from tycostream.rows import TRUNCATE, Cell, Change, Column, Key, Row, RowType
from tycostream.scalars import SCALARS

COLUMNS = (Column("id", SCALARS["int8"], nullable=False), Column("n", SCALARS["numeric"]))
WATCHED = RowType("watched", COLUMNS, key=(0,), watched=True)
KEYED = RowType("keyed", COLUMNS, key=(0,))
COPIES = RowType("copies", COLUMNS)
NUMBERS = [*map(SCALARS["numeric"].parse, ("1", "1.0", "2"))]
ROWS = st.tuples(st.integers(0, 4), st.sampled_from([None, *NUMBERS]))


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


# in bulk, as SUBSCRIBE's decoder gives it


def turnover(come: dict[Key, Row], gone: dict[Key, Row], asked: list[Row]) -> Turnover:
    def read(rows: Sequence[Row]) -> list[Row]:
        asked.extend(rows)
        return list(rows)

    return Turnover(come, gone, read, unread=True)


BAGS = st.dictionaries(st.integers(0, 12), st.sampled_from(NUMBERS), max_size=12)


@given(BAGS, st.lists(st.tuples(BAGS, st.sets(st.integers(0, 12))), max_size=4), st.booleans())
def test_what_comes_and_goes_at_once_is_what_its_changes_are_one_by_one(
    start: dict[int, Cell], batches: list[tuple[dict[int, Cell], set[int]]], crowded: bool
) -> None:
    bulk, single = Store(WATCHED), Store(WATCHED)
    for store in (bulk, single):
        store.fill([*start.items(), *([(99, None), (99, None)] if crowded else [])])
        store.add_index((1,)).step()
    for wanted, leaving in batches:
        come: dict[Key, Row] = {key: (key, cell) for key, cell in wanted.items()}
        gone = {key: row for key, row in single.rows.items() if key in leaving or (key in come and key != 99)}
        changes = list(turnover(come, gone, []))
        net = sorted(bulk.apply(turnover(come, gone, [])))
        assert net == sorted(single.apply(changes)), "the same net"
        assert all(old is None or new is None or not WATCHED.identical(old, new) for _, old, new in net)
        assert contents(bulk) == contents(single)
        for cell in NUMBERS:
            assert set(bulk.indexes[1,].keys([cell])) == set(single.indexes[1,].keys([cell]))


def test_of_many_rows_that_only_go_a_few_are_read_and_none_of_those_that_are_replaced() -> None:
    store, asked = Store(WATCHED), list[Row]()
    store.fill([(n, 1) for n in range(100)])
    net = store.apply(turnover({n: (n, 2) for n in range(50)}, {n: (n, 1) for n in range(100)}, asked))
    assert asked == [(50, 1), (51, 1)]
    assert len(net) == 100
    assert store.rows == {n: (n, 2) for n in range(50)}


@pytest.mark.parametrize(
    ("come", "gone"),
    [
        ({}, {1: (1, 7)}),
        ({3: (3, 2)}, {3: (3, 1)}),
        ({4: (4, 1)}, {9: (9, 1)}),
    ],
    ids=["another row", "replaced, never there", "gone, never there"],
)
def test_in_bulk_too_a_row_that_goes_must_be_there(come: dict[Key, Row], gone: dict[Key, Row]) -> None:
    store = Store(WATCHED)
    store.fill([(1, 1), (2, 1)])
    before = dict(store.rows)
    with pytest.raises(UpstreamError, match="never received"):
        store.apply(turnover({5: (5, 1), 2: (2, 2), **come}, {2: (2, 1), **gone}, []))
    assert (store.rows, store.surplus) == (before, {})


def test_in_bulk_too_a_second_row_of_a_key_is_kept() -> None:
    store = Store(WATCHED)
    store.fill([(1, 1), (2, 1)])
    assert not list(store.apply(turnover({1: (1, 2)}, {}, [])))
    assert store.surplus == {1: [(1, 2)]}
    assert list(store.apply(turnover({}, {1: (1, 1)}, []))) == [Change(1, (1, 1), (1, 2))]
    assert store.surplus == {}

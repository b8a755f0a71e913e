"""Members in blocks, and hydration in steps with changes in between: both against a plain sort."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow import hydration, members
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.hydration import Backlog
from tycostream.dataflow.members import Members
from tycostream.dataflow.order import OrderBy, compile_order
from tycostream.dataflow.predicate import Compare
from tycostream.dataflow.store import Store
from tycostream.dataflow.view import View
from tycostream.rows import Change, Column, Row, RowType
from tycostream.scalars import NAN, SCALARS


@given(st.data())
def test_members_are_a_sorted_list_in_blocks(data: st.DataObject) -> None:
    with patch.object(members, "BLOCK_ROWS", 2):
        there, model = Members(), dict[tuple[int], str]()
        for _ in range(data.draw(st.integers(0, 60))):
            sort = (data.draw(st.integers(0, 30)),)
            if sort in model and data.draw(st.booleans()):
                there.remove(sort)
                del model[sort]
            elif sort in model:
                model[sort] = "new"
                there.replace(sort, ("new",))
            else:
                model[sort] = "old"
                there.add(sort, sort, ("old",))
        order = sorted(model)
        start = data.draw(st.integers(0, 20))
        end = data.draw(st.one_of(st.none(), st.integers(start, 40)))
        keys, rows = there.window(start, end)
        assert keys == order[start:end]
        assert rows == [(model[sort],) for sort in order[start:end]]
        assert len(there) == len(order)
        place = data.draw(st.integers(0, 40))
        assert there.sort_at(place) == (order[place] if place < len(order) else None)


WIDE = RowType(
    "wide", (Column("id", SCALARS["int8"], nullable=False), Column("n", SCALARS["int4"])), key=(0,)
)


@given(st.data())
def test_hydration_in_steps_is_the_fold_of_all_pushes(data: st.DataObject) -> None:
    with (
        patch.object(members, "BLOCK_ROWS", 3),
        patch.object(hydration, "BLOCK_ROWS", 3),
        patch.object(hydration, "ROWS_PER_STEP", 4),
        patch.object(hydration, "_SAMPLE_STRIDE_MIN", 2),
    ):
        store = Store(WIDE)
        store.fill([(n, n * 7 % 5) for n in range(data.draw(st.integers(0, 60)))])
        order = (OrderBy(1, data.draw(st.booleans())),)
        end = data.draw(st.one_of(st.none(), st.integers(0, 10)))
        stepped, whole = (Arrangement(store, Compare(1, "lt", 4), order) for _ in range(2))
        work, backlog = stepped.hydration(), Backlog(1 << 20)
        while not work.step():
            for _ in range(data.draw(st.integers(0, 2))):
                key = data.draw(st.integers(0, 70))
                new = data.draw(st.one_of(st.none(), st.integers(0, 5)))
                changes = store.apply([Change(key, None, None if new is None else (key, new))])
                seen = [
                    Change(
                        k,
                        *(
                            row if row is not None and row[1] is not None and row[1] < 4 else None
                            for row in (a, b)
                        ),
                    )
                    for k, a, b in changes
                ]
                backlog.add([change for change in seen if change.old is not change.new])
        stepped.adopt(work)
        while len(backlog):
            stepped.push(backlog.taken(3))
        whole.hydrate()
        shown, expected = (View(each, limit=end, offset=1).window() for each in (stepped, whole))
        assert shown == expected


def test_no_step_of_a_hydration_touches_more_than_its_share() -> None:
    touched = 0

    def count(value: object) -> None:
        nonlocal touched
        touched += 1

    store = Store(WIDE)
    # alike slices: sampled at the same places each, they would be cut into few huge blocks
    store.fill([(n, n % 1000) for n in range(60_000)])
    arrangement = Arrangement(store, Compare(1, "ge", 0), (OrderBy(1),))
    plain = arrangement._sort_key
    arrangement._sort_key = lambda key, row: (count(key), plain(key, row))[1]  # type: ignore[func-returns-value]
    work, sizes, before = arrangement.hydration(), [], 0
    while not work.step():
        assert touched <= hydration.ROWS_PER_STEP
        touched = 0
        sizes.append(len(work.members) - before)
        before = len(work.members)
    assert max(sizes) <= 4 * hydration.ROWS_PER_STEP
    arrangement.adopt(work)
    keys, _ = View(arrangement).window()
    assert keys == sorted(range(60_000), key=lambda n: (n % 1000, n))


def test_descending_numbers_sort_exactly() -> None:
    numeric = SCALARS["numeric"]
    row_type = RowType("x", (Column("id", SCALARS["int8"], nullable=False), Column("n", numeric)), key=(0,))
    texts = [
        "NaN",
        "Infinity",
        "1.0000000000000000000000000000000000002",
        "1.0000000000000000000000000000000000001",
        "0",
    ]
    cells = [*map(numeric.parse, texts), numeric.parse("-Infinity"), None]
    assert cells[0] is NAN
    rows: list[Row] = list(enumerate(cells))
    sort_key = compile_order((OrderBy(1, descending=True),), row_type)
    rows.reverse()
    assert [row[0] for row in sorted(rows, key=lambda row: sort_key(row[0], row))] == list(range(7))
    first = compile_order((OrderBy(1, descending=True, nulls_first=True),), row_type)
    assert min(rows, key=lambda row: first(row[0], row)) == (6, None)

"""What a batch means to a stream: which rows rose, whom it concerns, and where to read again from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.dataflow import rises
from tycostream.dataflow.order import OrderBy, SortKey
from tycostream.dataflow.rises import Lows, Move, Moves, after, beyond, told
from tycostream.rows import Change, Column, RowType
from tycostream.scalars import NAN, SCALARS

ROWS = RowType(
    "rows",
    (Column("id", SCALARS["int4"], nullable=False), Column("v", SCALARS["numeric"])),
    key=(0,),
)


def moves(*changes: tuple[Any, Any, Any], descending: bool = False) -> list[tuple[Any, bool]]:
    found = Moves(ROWS, OrderBy(1, descending)).of(
        [
            Change(key, None if old is None else (key, old), None if new is None else (key, new))
            for key, old, new in changes
        ]
    )
    return [(move.key, move.rose) for move in found]


def test_what_moves_and_what_rises() -> None:
    changes = [(1, None, 5), (2, 3, 4), (3, 4, 3), (4, 7, 7), (5, 1, None), (6, 3, 5)]
    assert moves(*changes) == [(3, False), (2, True), (1, True), (6, True)]
    assert moves(*changes, descending=True) == [(1, True), (6, False), (2, False), (3, True)]


def test_nan_is_the_largest_and_equal_to_itself() -> None:
    assert moves((1, 5, NAN), (2, NAN, NAN)) == [(1, True)]
    assert moves((1, NAN, 5), descending=True) == [(1, True)]


def test_places_of_a_value() -> None:
    found = Moves(ROWS, OrderBy(1))
    low, high = found.place(1, (1, 4)), found.place(9, (9, 5))
    assert beyond(high, found.value(4))
    assert not beyond(low, found.value(4)), "ties with the value are not beyond it"
    assert beyond(low, None)
    assert low < after(low) < found.place(2, (2, 4))


def move(now: int, was: int | None) -> Move:
    return Move((now,), None if was is None else (was,), 0, (0,))


@pytest.mark.parametrize(
    ("now", "was", "ahead", "value", "expected"),
    [
        # one that has read all rows is told of rises
        (5, None, None, None, True),
        (5, 4, None, None, True),
        (5, 6, None, None, False),
        # and only of those beyond its value
        (5, 4, None, 5, False),
        (6, 4, None, 5, True),
        # one that is still reading is told of what it has passed
        (5, None, 7, None, True),
        (5, 4, 7, None, True),
        (5, 6, 7, None, False),
        # and comes by the rest
        (7, None, 7, None, False),
        (8, 4, 7, None, False),
        (8, 9, 7, None, False),
        # a row that went from before it to behind it would never be met
        (5, 9, 7, None, True),
        (5, 7, 7, None, True),
        (5, 9, 7, 5, False),
    ],
)
def test_whom_a_move_is_told(
    now: int, was: int | None, ahead: int | None, value: int | None, expected: bool
) -> None:
    place: SortKey | None = None if ahead is None else (ahead,)
    assert told(move(now, was), place, None if value is None else (value,)) is expected


@given(st.lists(st.integers(0, 50), max_size=60), st.data())
def test_lows_are_never_behind_the_first_place(lows: list[int], data: st.DataObject) -> None:
    kept = Lows()
    for seq, low in enumerate(lows, 1):
        kept.add(seq, (low,))
    start = data.draw(st.integers(0, len(lows)))
    end = data.draw(st.integers(start, len(lows)))
    first = min(lows[start:end], default=None)
    assert kept.between(start, end) == (None if first is None else (first,)), "few are known exactly"


def test_lows_take_a_bounded_number_of_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rises, "_STRETCHES_MAX", 4)
    kept = Lows()
    for seq in range(1, 1000):
        kept.add(seq, (seq,))
    assert len(kept._stretches) <= 4
    for seq in (0, 10, 500, 990):
        low = kept.between(seq, 999)
        assert low is not None
        assert low <= (seq + 1,), "nothing is lost"
    assert kept.between(998, 999) == (999,)
    assert kept.between(999, 999) is None


def test_a_multiset_has_one_place_a_copy() -> None:
    copies = replace(ROWS, key=())
    found = Moves(copies, OrderBy(1)).of(
        [Change(((1, 2), n), None, (1, 2)) for n in (1, 0)] + [Change(((0, 2), 0), None, (0, 2))]
    )
    assert [each.key for each in found] == [((0, 2), 0), ((1, 2), 0), ((1, 2), 1)]

"""Changes in bulk: what comes and goes, and what that came to, as the changes that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.changes import Net, Turnover, images
from tycostream.rows import TRUNCATE, Change, Key, Row, Unread

ROWS = st.none() | st.integers(0, 9)
CHANGED = st.dictionaries(
    st.integers(0, 5), st.tuples(ROWS, ROWS).filter(lambda pair: pair != (None, None)), max_size=6
)


def changes_of(rows: dict[int, tuple[int | None, int | None]]) -> list[Change]:
    def row(key: int, cell: int | None) -> Row | None:
        return None if cell is None else (key, cell)

    return [Change(key, row(key, old), row(key, new)) for key, (old, new) in rows.items()]


def read(change: Change) -> Change:
    old: object = change.old
    return change._replace(old=old.row()) if isinstance(old, Unread) else change


def by_key(changes: Sequence[Change]) -> dict[Key, Change]:
    found = {change.key: read(change) for change in changes}
    assert len(found) == len(changes)
    return found


@given(CHANGED)
def test_a_turnover_is_the_changes_that_it_was_made_of(
    rows: dict[int, tuple[int | None, int | None]],
) -> None:
    changes = changes_of(rows)
    turnover = Turnover.of(changes)
    assert turnover is not None
    assert by_key(turnover) == by_key(changes)
    assert turnover.only_gone == [change.key for change in changes if change.new is None]
    assert turnover.images([key for key, old, _ in changes if old is not None]) == [
        old for _, old, _ in changes if old is not None
    ]


@pytest.mark.parametrize(
    "changes",
    [
        [TRUNCATE],
        [Change(1, None, (1,)), TRUNCATE],
        [Change(1, None, (1,)), Change(1, (1,), None)],
        [Change(1, (1,), None), Change(1, (1,), None)],
    ],
    ids=["truncate", "and truncate", "twice", "gone twice"],
)
def test_a_key_twice_or_a_source_that_is_emptied_is_no_turnover(changes: list[Change]) -> None:
    assert Turnover.of(changes) is None


def test_rows_that_go_are_read_when_somebody_asks() -> None:
    asked: list[int] = []

    def rows(places: Sequence[int]) -> list[Row]:
        asked.extend(places)
        return [(place // 10, "old") for place in places]

    turnover = Turnover({1: (1, "new"), 3: (3, "new")}, {1: 10, 2: 20}, rows, unread=True)
    assert len(turnover) == 3
    replaced, inserted, gone = turnover
    assert asked == []
    assert read(replaced) == Change(1, (1, "old"), (1, "new"))
    assert inserted == Change(3, None, (3, "new"))
    assert read(gone) == Change(2, (2, "old"), None)
    assert asked == [10, 20]
    assert turnover.images([2]) == [(2, "old")]


def test_the_net_of_a_batch_is_a_sequence_of_changes_made_once() -> None:
    net = Net([1, 2, 3], [None, (2, "a"), (3, "a")], [(1, "b"), (2, "b"), None])
    made = [Change(1, None, (1, "b")), Change(2, (2, "a"), (2, "b")), Change(3, (3, "a"), None)]
    assert net[::2] == made[::2], "a sample"
    assert list(images(net)) == list(images(made)) == [(old, new) for _, old, new in made]
    assert len(net) == 3
    assert list(net) == made
    assert net[1] is list(net)[1], "made once"
    assert net[1:] == made[1:]
    assert not Net([], [], [])

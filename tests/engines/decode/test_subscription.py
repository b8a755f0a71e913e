"""Rows of a subscription cursor: where the snapshot ends, what an epoch amounts to, what may come twice."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.engines.decode.netting import net
from tycostream.engines.decode.subscribe import Closed, Rows, SnapshotEnd
from tycostream.engines.decode.subscription import CursorDecoder, Fetched
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Column, RowType
from tycostream.scalars import SCALARS

COLUMNS = tuple(Column(name, SCALARS[kind]) for name, kind in (("id", "int8"), ("name", "varchar")))
KEYED = RowType("t", COLUMNS, (0,))
LOOSE = RowType("t", COLUMNS)

Line = tuple[str | None, ...]


def fetched(*lines: Line) -> Fetched:
    """Lines of (id, name, op, rw_timestamp)."""
    if not lines:
        return Fetched([[], []], [], [])
    ids, names, ops, stamps = ([*column] for column in zip(*lines, strict=True))
    return Fetched([ids, names], ops, stamps)


def test_a_snapshot_ends_when_it_is_said_to_or_with_the_first_epoch() -> None:
    decoder = CursorDecoder(KEYED, 7, snapshot=True)
    decoder.feed(fetched(("1", "a\\N", "Insert", None), ("2", None, "Insert", None)))
    assert decoder.take() == [Rows([(1, "a\\N"), (2, None)])]
    states = [decoder.in_snapshot]
    decoder.snapshot_done()
    assert decoder.take() == [SnapshotEnd(7)]
    assert [*states, decoder.in_snapshot] == [True, False]

    decoder = CursorDecoder(KEYED, 7, snapshot=True)
    decoder.feed(fetched(("1", "a", "Insert", None), ("1", "a", "Delete", "10")))
    assert decoder.take() == [Rows([(1, "a")]), SnapshotEnd(7)]
    decoder.drained()
    assert decoder.take() == [Closed(10, [Change(1, (1, "a"), None)])]


def test_an_epoch_is_closed_by_a_later_one_or_by_the_end_of_the_log_wherever_a_fetch_cuts_it() -> None:
    decoder = CursorDecoder(KEYED, 5, snapshot=False)
    decoder.feed(fetched(("1", "a", "UpdateDelete", "10")))
    assert decoder.take() == []
    decoder.feed(fetched(("1", "b", "UpdateInsert", "10"), ("2", "x", "Insert", "11")))
    assert decoder.take() == [Closed(10, [Change(1, (1, "a"), (1, "b"))])]
    decoder.drained()
    decoder.drained()
    assert decoder.take() == [Closed(11, [Change(2, None, (2, "x"))])]


def test_changes_of_a_key_are_netted_and_a_multiset_counts() -> None:
    lines: list[Line] = [
        ("1", "a", "UpdateDelete", "10"),
        ("1", "b", "UpdateInsert", "10"),
        ("1", "b", "UpdateDelete", "10"),
        ("1", "a", "UpdateInsert", "10"),
        ("2", "x", "Insert", "10"),
        ("2", "x", "Delete", "10"),
        ("3", "o", "Delete", "10"),
        ("3", "n", "Insert", "10"),
    ]
    decoder = CursorDecoder(KEYED, 5, snapshot=False)
    decoder.feed(fetched(*lines))
    decoder.drained()
    assert decoder.take() == [Closed(10, [Change(3, (3, "o"), (3, "n"))])]
    decoder = CursorDecoder(LOOSE, 5, snapshot=False)
    decoder.feed(fetched(("1", "a", "Insert", "10"), ("1", "a", "Insert", "10"), ("1", "b", "Delete", "10")))
    decoder.drained()
    (closed,) = decoder.take()
    assert isinstance(closed, Closed)
    assert closed.changes == [
        Change(None, (1, "b"), None),
        Change(None, None, (1, "a")),
        Change(None, None, (1, "a")),
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("12"),
            st.sampled_from(["1.0", "1.00", None]),
            st.sampled_from(["Insert", "Delete"]),
        ),
        max_size=4,
    )
)
def test_the_short_way_to_a_net_is_the_long_one(updates: list[tuple[str, str | None, str]]) -> None:
    row_type = RowType("t", (Column("id", SCALARS["int8"]), Column("n", SCALARS["numeric"])), (0,))
    decoder = CursorDecoder(row_type, 5, snapshot=False)
    decoder.feed(fetched(*((*update, "10") for update in updates)))
    decoder.drained()
    counted = [
        (int(key), 1 if op == "Insert" else -1, (int(key), None if n is None else Decimal(n)))
        for key, n, op in updates
    ]
    told = [change for item in decoder.take() if isinstance(item, Closed) for change in item.changes]
    assert sorted(map(repr, told)) == sorted(map(repr, net(row_type, counted)))


def test_an_epoch_that_amounts_to_nothing_is_told_all_the_same() -> None:
    decoder = CursorDecoder(KEYED, 5, snapshot=False)
    decoder.feed(fetched(("2", "x", "Insert", "10"), ("2", "x", "Delete", "10")))
    decoder.drained()
    assert decoder.take() == [Closed(10, [])]


def test_since_is_inclusive_so_what_was_told_is_dropped() -> None:
    decoder = CursorDecoder(KEYED, 10, snapshot=False)
    decoder.feed(fetched(("1", "a", "Insert", "9"), ("2", "b", "Insert", "10"), ("3", "c", "Insert", "11")))
    decoder.drained()
    assert decoder.take() == [Closed(11, [Change(3, None, (3, "c"))])]
    decoder.again()
    decoder.feed(fetched(("3", "c", "Insert", "11"), ("4", "d", "Insert", "12")))
    decoder.drained()
    assert decoder.take() == [Closed(12, [Change(4, None, (4, "d"))])]


def test_another_cursor_repeats_nothing_while_no_epoch_was_told() -> None:
    decoder = CursorDecoder(KEYED, 20, snapshot=True)
    decoder.snapshot_done()
    decoder.again()
    with pytest.raises(UpstreamError) as caught:  # rather than lose it
        decoder.feed(fetched(("1", "a", "Insert", "20")))
    assert caught.value.action is Action.RESYNC
    assert "an update at 20 although 20 was closed" in caught.value.detail


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ([("1", "a", "Insert", "11"), ("1", "a", "Insert", "10")], "an update at 10 after one at 11"),
        ([("1", "a", "Insert", None)], "a row of the snapshot after its end"),
        ([("1", "a", "1", "11")], "an update that is a '1'"),
        ([("1", "a", "Insert", "soon")], "'soon' is no rw_timestamp"),
    ],
)
def test_what_does_not_read_means_to_start_again(lines: list[Line], detail: str) -> None:
    decoder = CursorDecoder(KEYED, 5, snapshot=False)
    with pytest.raises(UpstreamError) as caught:
        decoder.feed(fetched(*lines))
    assert (caught.value.code, caught.value.action) == ("protocol", Action.RESYNC)
    assert caught.value.detail == detail
    assert caught.value.hint


def test_a_snapshot_holds_inserts_only() -> None:
    decoder = CursorDecoder(KEYED, 5, snapshot=True)
    with pytest.raises(UpstreamError, match="do not read"):
        decoder.feed(fetched(("1", "a", "Delete", None)))


def test_a_value_that_does_not_read_names_its_column_and_stays_out_of_the_message() -> None:
    decoder = CursorDecoder(KEYED, 5, snapshot=True)
    with pytest.raises(UpstreamError) as caught:
        decoder.feed(fetched(("1", "a", "Insert", None), ("secret", "b", "Insert", None)))
    assert (caught.value.code, caught.value.action) == ("value", Action.FAIL)
    assert "column id holds a value that is not a int8" in caught.value.message
    assert "secret" not in caught.value.message
    assert "'secret'" in caught.value.detail


def test_an_epoch_too_large_to_hold_is_read_as_a_snapshot_instead() -> None:
    decoder = CursorDecoder(KEYED, 5, snapshot=False, open_bytes_max=1500)
    decoder.feed(fetched(("1", "x" * 700, "Insert", "10")))
    decoder.feed(fetched(("1", "x" * 700, "Delete", "11")))  # the one before is closed
    with pytest.raises(UpstreamError) as caught:
        decoder.feed(fetched(("2", "x" * 700, "Delete", "11")))
    assert (caught.value.code, caught.value.action) == ("transaction-too-large", Action.RESYNC)
    assert "more than 0 MiB" in caught.value.message

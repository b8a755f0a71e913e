"""From where a cursor may go on: against a log in which every epoch and every checkpoint's delay is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tycostream.engines.risingwave.reach import Reach, next_label

RETENTION_MS = 1000


def test_after_an_epoch_it_goes_on_there_and_where_nothing_happened_later() -> None:
    reach = Reach("i", label=0, offset=5000, taken_ms=4000, drained_ms=5100)
    assert reach.since(5000, RETENTION_MS) == 5000
    reach.drained_ms = 9000
    assert reach.since(5000, RETENTION_MS) == 8500, "5000 is out of the retention, and nothing came by 9000"


def test_after_a_snapshot_it_goes_on_once_that_is_long_ago() -> None:
    reach = Reach("i", label=0, offset=0, taken_ms=4000, drained_ms=4400)
    assert reach.since(0, RETENTION_MS) is None
    reach.drained_ms = 4501
    assert reach.since(0, RETENTION_MS) == 4001


def test_who_has_less_than_was_told_goes_on_after_an_epoch_only() -> None:
    reach = Reach("i", label=4, offset=6000, taken_ms=4000, drained_ms=9000)
    assert reach.since(5000, RETENTION_MS) == 5000
    assert reach.since(4, RETENTION_MS) is None
    assert reach.since(3, RETENTION_MS) is None, "before the last snapshot"
    assert reach.since(6001, RETENTION_MS) is None, "nobody told that"


def test_a_snapshot_comes_after_all_that_was_told() -> None:
    assert next_label(None) == 0
    assert next_label(Reach("i", 0, 5000, 0, 0)) == 5001


@given(
    epochs=st.lists(st.integers(1, 400), max_size=6),
    delays=st.lists(st.integers(1, RETENTION_MS // 2 - 1), min_size=6, max_size=6),
    taken=st.integers(0, 3000),
    drained=st.integers(0, 3000),
    lost=st.integers(0, 3),
)
def test_no_epoch_is_missed_and_none_that_cannot_be_told_comes_twice(
    epochs: list[int], delays: list[int], taken: int, drained: int, lost: int
) -> None:
    """Epochs begin at moments and are committed, in order, some delay later, less than half the retention."""
    stamps, commits, at = list[int](), list[int](), 0
    for gap, delay in zip(epochs, delays, strict=False):
        at += gap
        stamps.append(at)
        commits.append(max(at + delay, commits[-1] if commits else 0))
    drained += taken
    log = list(zip(stamps, commits, strict=True))
    in_snapshot = [stamp for stamp, commit in log if commit <= taken]
    told = [stamp for stamp, commit in log if taken < commit <= drained]
    had = told[: max(0, len(told) - lost)]  # the reader may have less
    reach = Reach("i", 0, told[-1] if told else 0, taken, drained)
    after = had[-1] if had else 0
    since = reach.since(after, RETENTION_MS)
    if since is None:
        assert not had, "after an epoch there is always a place"
        return
    given_again = [stamp for stamp in stamps if stamp >= since and stamp > after]
    assert given_again == [stamp for stamp in stamps if stamp not in in_snapshot and stamp not in had]

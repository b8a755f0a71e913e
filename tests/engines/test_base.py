"""What a stream may still yield of what it holds when a source was removed."""

from __future__ import annotations

from collections import deque

from tycostream.engines.base import Event, Finished, Progress, SnapshotPart, SourceFailed, without
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Batch, Change, Position

AT = Position("life", 0, 1)
CHANGE = Change(1, None, (1,))


def test_nothing_of_the_source_is_left_and_all_of_the_others() -> None:
    error = UpstreamError("x", "x", action=Action.RETRY)
    others: list[Event] = [
        SnapshotPart("b", [(1,)], AT),
        Progress(AT),
        Progress(AT, "b"),
        SourceFailed("b", error),
        Finished("b"),
        Batch(AT, {"b": [CHANGE]}),
    ]
    mine: list[Event] = [
        SnapshotPart("a", [(1,)]),
        Progress(AT, "a"),
        SourceFailed("a", error),
        Finished("a"),
        Batch(AT, {"a": [CHANGE]}),
    ]
    assert without([*mine, *others], "a") == deque(others)
    both = Batch(AT, {"a": [CHANGE], "b": [CHANGE]}, resync=True)
    assert without([both], "a") == deque([Batch(AT, {"b": [CHANGE]}, resync=True)])

"""What was done to a window of rows, place by place."""

from __future__ import annotations

from enum import Enum

from tycostream.rows import Key, Row


class EditKind(Enum):
    """What was done to a place of a window."""

    INSERT = "insert"
    REPLACE = "replace"
    REMOVE = "remove"


Edit = tuple[
    EditKind, int, Key, Row
]  # kind, place counted from 0 at that time, and the row that comes or goes

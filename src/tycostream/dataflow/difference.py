"""What turns a store into a snapshot that arrives in parts: what a gap in history amounts to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping

from tycostream.rows import Change, Key, Row, RowType


class Difference:
    """Compares a snapshot with a store, part by part; the store must not change meanwhile.

    What was not seen is kept, rather than what was seen: at the end, the rows to delete are then those left over, and
    nobody walks over all the others.
    """

    def __init__(
        self,
        row_type: RowType,
        rows: Mapping[Key, Row],
        copies: Mapping[Hashable, int],
        surplus: Mapping[Key, list[Row]],
    ) -> None:
        self._row_type = row_type
        self._rows = rows
        self._changes: list[Change] = []
        self._unseen: dict[Key, Row] = {}
        self._copies: dict[Hashable, int] = {}
        self._crowded: dict[Key, list[Row]] = {}  # all rows of a key that has several
        self._take: Callable[[Iterable[Row]], None]
        if not row_type.keyed:
            self._copies = dict(copies)
            self._take = self._take_copies
            return
        self._unseen = dict(rows)
        for key, more in surplus.items():
            self._crowded[key] = [self._unseen.pop(key), *more]
        self._take = self._take_keyed

    def take(self, rows: Iterable[Row]) -> Difference:
        """Compare the next part of the snapshot. Returns itself."""
        self._take(rows)
        return self

    def changes(self) -> list[Change]:
        """The upstream changes that turn the store into the snapshot. Nothing may be taken afterwards."""
        changes = self._changes
        if self._row_type.keyed:
            changes.extend([Change(key, old, None) for key, old in self._unseen.items()])
            for key, rows in self._crowded.items():
                changes.extend([Change(key, row, None) for row in rows])
            return changes
        for identity, count in self._copies.items():
            changes.extend([Change(None, self._rows[(identity, 0)], None)] * count)
        return changes

    def _take_keyed(self, rows: Iterable[Row]) -> None:
        key_of, identical = self._row_type.key_of, self._row_type.identical
        changes, crowded = self._changes, self._crowded
        pop = self._unseen.pop
        for row in rows:
            key = key_of(row)
            old = pop(key, None)
            if old is None:
                if key not in crowded or not remove_identical(crowded[key], row, self._row_type):
                    changes.append(Change(key, None, row))
            elif not identical(old, row):
                changes.append(Change(key, old, row))

    def _take_copies(self, rows: Iterable[Row]) -> None:
        identity_of, left = self._row_type.identity, self._copies
        for row in rows:
            identity = identity_of(row)
            count = left.get(identity, 0)
            if count > 1:
                left[identity] = count - 1
            elif count:
                del left[identity]
            else:
                self._changes.append(Change(None, None, row))


def remove_identical(rows: list[Row], row: Row, row_type: RowType) -> bool:
    """Take the first row that is ``row`` to the letter out of ``rows``; False if there is none."""
    for i, each in enumerate(rows):
        if row_type.identical(each, row):
            del rows[i]
            return True
    return False

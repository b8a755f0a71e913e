"""The keyed current rows of a source, and how a batch changes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

from tycostream.errors import Action, UpstreamError
from tycostream.rows import TRUNCATE, UNCHANGED, Change, Key, Row, RowType


class Store:
    """A source's rows by key.

    ``apply`` is all or nothing to its readers: it runs in one step and gives the *net* of the batch, one change per
    key, no-ops dropped. A source without a key is a multiset: the n-th equal copy of a row has the key (row, n), so
    that everything downstream deals with unique keys only, and equal rows are inserted and deleted, never updated.
    """

    def __init__(self, row_type: RowType) -> None:
        self.row_type = row_type
        self.rows: dict[Key, Row] = {}
        self._copies: dict[Hashable, int] = {}  # multiset only: identity of a row → how many

    def apply(self, changes: Sequence[Change]) -> list[Change]:
        """Apply an upstream batch; give its net effect, with old rows resolved."""
        before: dict[Key, Row | None] = {}
        step = self._apply_keyed if self.row_type.keyed else self._apply_copy
        try:
            for change in changes:
                if change is TRUNCATE:
                    self._clear(before)
                else:
                    step(change, before)
        except BaseException:
            self._undo(before)
            raise
        rows, identical = self.rows, self.row_type.identical
        net = []
        for key, old in before.items():
            new = rows.get(key)
            if old is None or new is None:
                if old is not new:
                    net.append(Change(key, old, new))
            elif not identical(old, new):
                net.append(Change(key, old, new))
        return net

    def _undo(self, before: Mapping[Key, Row | None]) -> None:
        """Nobody has seen the half of a batch; a later resync must find what they have seen."""
        for key, old in before.items():
            if old is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = old
        if not self.row_type.keyed:
            self._copies = dict(Counter(key[0] for key in self.rows))  # type: ignore[index]

    def _clear(self, before: dict[Key, Row | None]) -> None:
        for key, row in self.rows.items():
            before.setdefault(key, row)
        self.rows.clear()
        self._copies.clear()

    def _apply_keyed(self, change: Change, before: dict[Key, Row | None]) -> None:
        key, _, new = change
        rows = self.rows
        old = rows.get(key)
        if key not in before:
            before[key] = old
        if new is None:
            rows.pop(key, None)
            return
        if UNCHANGED in new:
            new = self._fill(new, old)
        own = self.row_type.key_of(new)
        if own != key:  # the row moved to another key: a delete and an insert
            rows.pop(key, None)
            before.setdefault(own, rows.get(own))
            key = own
        rows[key] = new

    def _apply_copy(self, change: Change, before: dict[Key, Row | None]) -> None:
        _, old, new = change
        if new is not None and UNCHANGED in new:
            new = self._fill(new, old)
        if old is not None:
            identity = self.row_type.identity(old)
            count = self._copies.get(identity, 0)
            if count:  # a delete of a row that was never seen changes nothing
                key = (identity, count - 1)
                before.setdefault(key, self.rows.pop(key))
                self._copies[identity] = count - 1
                if count == 1:
                    del self._copies[identity]
        if new is not None:
            identity = self.row_type.identity(new)
            count = self._copies.get(identity, 0)
            key = (identity, count)
            before.setdefault(key, None)
            self.rows[key] = new
            self._copies[identity] = count + 1

    def _fill(self, new: Row, old: Row | None) -> Row:
        if old is None:
            raise UpstreamError(
                "row-unknown",
                f"the database changed a row of {self.row_type.source!r} that was never received",
                action=Action.RESYNC,
                detail="an update left out an unchanged value, and there is no old row to take it from",
            )
        return tuple([was if cell is UNCHANGED else cell for cell, was in zip(new, old, strict=True)])

    def diff(self, rows: Iterable[Row]) -> list[Change]:
        """The upstream changes that turn this store into ``rows``: what a gap in history amounts to."""
        if not self.row_type.keyed:
            return self._diff_copies(rows)
        key_of, identical = self.row_type.key_of, self.row_type.identical
        changes = []
        seen = set()
        for row in rows:
            key = key_of(row)
            seen.add(key)
            old = self.rows.get(key)
            if old is None or not identical(old, row):
                changes.append(Change(key, old, row))
        changes.extend(Change(key, old, None) for key, old in self.rows.items() if key not in seen)
        return changes

    def _diff_copies(self, rows: Iterable[Row]) -> list[Change]:
        left = dict(self._copies)
        changes = []
        for row in rows:
            identity = self.row_type.identity(row)
            if left.get(identity, 0):
                left[identity] -= 1
            else:
                changes.append(Change(None, None, row))
        for identity, count in left.items():
            gone = self.rows[(identity, 0)] if count else ()
            changes.extend(Change(None, gone, None) for _ in range(count))
        return changes

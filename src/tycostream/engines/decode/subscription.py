"""A RisingWave subscription cursor's rows → snapshot rows and whole epochs. Pure.

A row has the table's columns, ``op`` and ``rw_timestamp``. Of the snapshot, ``rw_timestamp`` is NULL; of the log it is the
epoch's, and the rows of one epoch come together, before those of any later one. Nothing marks the end of either: a row
of a later epoch does, or whoever fetches says that there is no more (``drained``, ``snapshot_done``).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tycostream.engines.decode.columnar import column_reader, nullable
from tycostream.engines.decode.netting import TOO_LARGE, net, unreadable, weight
from tycostream.engines.decode.subscribe import Closed, Rows, SnapshotEnd
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Row, RowType

# An update is its two rows, and they may come in two fetches.
_COUNTS: Final = {"Insert": 1, "UpdateInsert": 1, "Delete": -1, "UpdateDelete": -1}

Texts = Sequence[str | None]
Item = Rows | SnapshotEnd | Closed


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a FETCH gave: the texts of the row type's columns, column by column, and of ``op`` and ``rw_timestamp``."""

    columns: Sequence[Texts]
    ops: Texts
    stamps: Texts

    def __len__(self) -> int:
        return len(self.stamps)


class CursorDecoder:
    """The rows of one source's cursors, netted per epoch.

    ``position``: everything up to it is known. With ``snapshot`` it is the snapshot's, and the snapshot comes first; a
    log row at it or before it contradicts that. Without, epochs up to it were told and are dropped.
    """

    def __init__(
        self, row_type: RowType, position: int, *, snapshot: bool, open_bytes_max: int = 256 * 2**20
    ) -> None:
        self._row_type = row_type
        self._readers = [column_reader(column) for column in row_type.columns]
        self._open_bytes_max = open_bytes_max
        self._given = position
        self._known = -1 if snapshot else position  # epochs up to here may come a second time
        self._exact = not snapshot
        self._in_snapshot = snapshot
        self._stamp = -1  # the epoch that is open
        self._open: list[tuple[Hashable, int, Row]] = []
        self._open_bytes = 0
        self._items: list[Item] = []

    @property
    def in_snapshot(self) -> bool:
        """Whether rows of the snapshot may still come."""
        return self._in_snapshot

    def take(self) -> list[Item]:
        """What is known by now, in order."""
        items, self._items = self._items, []
        return items

    def feed(self, fetched: Fetched) -> None:
        """Take rows. UpstreamError if one does not read or breaks a promise."""
        start = 0
        for stamp, run in groupby(fetched.stamps):
            end = start + sum(1 for _ in run)
            columns, ops = [column[start:end] for column in fetched.columns], fetched.ops[start:end]
            if stamp is None:
                self._snapshot_rows(columns, ops)
            else:
                self._log_rows(_epoch(stamp), columns, ops)
            start = end

    def snapshot_done(self) -> None:
        """No more rows of the snapshot will come."""
        if self._in_snapshot:
            self._in_snapshot = False
            self._items.append(SnapshotEnd(self._given))

    def drained(self) -> None:
        """The log has no more rows now: the epoch that is open is complete."""
        if self._stamp < 0:
            return
        changes = _net_simple(self._row_type, self._open)
        if changes is None:
            changes = net(self._row_type, self._open)
        self._items.append(Closed(self._stamp, changes, self._open_bytes))
        self._given, self._exact = self._stamp, True
        self._stamp, self._open, self._open_bytes = -1, [], 0

    def again(self) -> None:
        """Another cursor goes on, and may begin with epochs that were told."""
        self.drained()
        if self._exact:
            self._known = self._given

    def _snapshot_rows(self, columns: Sequence[Texts], ops: Texts) -> None:
        if not self._in_snapshot:
            raise _protocol("a row of the snapshot after its end")
        if any(op != "Insert" for op in ops):
            raise _protocol("a row of the snapshot that is no Insert")
        self._items.append(Rows(self._rows(columns)))

    def _log_rows(self, stamp: int, columns: Sequence[Texts], ops: Texts) -> None:
        if stamp <= self._known:
            return
        self.snapshot_done()
        if stamp != self._stamp:
            if stamp < self._stamp:
                raise _protocol(f"an update at {stamp} after one at {self._stamp}")
            self.drained()
            if stamp <= self._given:
                raise _protocol(f"an update at {stamp} although {self._given} was closed")
            self._stamp = stamp
        try:
            counts = [_COUNTS[op or ""] for op in ops]
        except KeyError as wrong:
            raise _protocol(f"an update that is a {wrong}") from None
        rows, key_of = self._rows(columns), self._row_type.key_of
        self._open += zip(map(key_of, rows), counts, rows, strict=True)
        texts = sum(len(text) for column in columns for text in column if text is not None)
        self._open_bytes += weight(texts, len(rows) * len(columns), len(rows))
        if self._open_bytes > self._open_bytes_max:
            raise UpstreamError(
                TOO_LARGE,
                f"source {self._row_type.source}: one epoch holds more than {self._open_bytes_max >> 20} MiB of changes",
                action=Action.RESYNC,
                hint="it is read again as a snapshot; checkpoint more often, or make smaller changes upstream",
            )

    def _rows(self, columns: Sequence[Texts]) -> list[Row]:
        try:
            cells = [nullable(read, texts) for read, texts in zip(self._readers, columns, strict=True)]
            return list(zip(*cells, strict=True))
        except (ValueError, ArithmeticError, LookupError):
            raise unreadable(self._row_type, zip(*columns, strict=True)) from None


def _net_simple(row_type: RowType, updates: Sequence[tuple[Hashable, int, Row]]) -> list[Change] | None:
    """The net if no key has more than one row on a side, as all but always; None if one has, or there is no key."""
    come: dict[Hashable, Row] = {}
    gone: dict[Hashable, Row] = {}
    for key, count, row in updates:
        (come if count > 0 else gone)[key] = row
    if not row_type.keyed or len(come) + len(gone) != len(updates):
        return None
    changes = [
        Change(key, old, new)
        for key, new in come.items()
        if (old := gone.get(key)) is None or not row_type.identical(old, new)
    ]
    return changes + [Change(key, row, None) for key, row in gone.items() if key not in come]


def _epoch(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _protocol(f"{text[:80]!r} is no rw_timestamp") from None


def _protocol(detail: str) -> UpstreamError:
    return UpstreamError(
        "protocol",
        "the rows do not read as those of a RisingWave subscription cursor",
        action=Action.RESYNC,
        detail=detail,
        hint="RisingWave 2.1 or later is needed; a proxy between us must not reuse sessions",
    )

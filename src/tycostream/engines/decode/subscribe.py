"""Materialize's SUBSCRIBE … WITH (PROGRESS), as COPY sends it: lines → snapshot rows, whole timestamps, progress. Pure.

A line is ``mz_timestamp, mz_progressed, mz_diff, data columns…``. Rows of one timestamp come in any order, an insert
before the delete that it replaces; ``mz_diff`` is a multiplicity. Only a progress row closes the timestamps below it, or
the end of the stream all that are left: nothing is given out before.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import compress, repeat
from operator import and_, not_
from typing import Final, cast

from tycostream.engines.decode.columnar import ColumnarReader, cut
from tycostream.engines.decode.copytext import unescaped
from tycostream.engines.decode.netting import TOO_LARGE, copies, net, unreadable, weight
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Row, RowType, Unread, make_change

_HEAD: Final = 3  # mz_timestamp, mz_progressed, mz_diff


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the snapshot, which is not complete yet."""

    rows: list[Row]


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """All rows of the snapshot were given: together they are true at ``timestamp``."""

    timestamp: int


@dataclass(frozen=True, slots=True)
class Closed:
    """Everything that happened at ``timestamp``, netted per key; ``size``: about how many bytes it takes."""

    timestamp: int
    changes: list[Change]
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Frontier:
    """Everything up to and including ``timestamp`` was given."""

    timestamp: int


Item = Rows | SnapshotEnd | Closed | Frontier


@dataclass(slots=True)
class _Block:
    """Updates of one count. ``keys``: of a source that has a key, and not of its snapshot; rows that go may be Unread then."""

    count: int
    keys: Sequence[Hashable]
    rows: Sequence[Row | Unread]


@dataclass(slots=True)
class _Open:
    """What has come of a timestamp that is not closed."""

    blocks: list[_Block] = field(default_factory=list)
    size: int = 0


class SubscribeDecoder:
    """One SUBSCRIBE's lines, netted.

    ``width`` is the number of data columns of a line, ``places`` says which of them are the row type's. ``resumed``: the
    stream was asked for changes after that timestamp, without a snapshot.
    """

    def __init__(
        self,
        row_type: RowType,
        width: int,
        places: Sequence[int],
        *,
        resumed: int | None = None,
        open_bytes_max: int = 256 * 2**20,
    ) -> None:
        self._row_type = row_type
        self._width = width + _HEAD
        columns, at = row_type.columns, [place + _HEAD for place in places]
        self._reader = ColumnarReader(at, columns, self._width)
        self._places = at
        self._open_bytes_max = open_bytes_max
        self._snapshot_at: int | None = None  # AS OF, told by the first line; None again once it is complete
        self._started = False
        self._resumed = resumed
        self._given = -1 if resumed is None else resumed  # the last frontier that was told
        self._snapshot: list[Row] = []
        self._open: dict[int, _Open] = {}
        self._open_bytes = 0
        self._items: list[Item] = []

    def feed(self, lines: Sequence[bytes | memoryview]) -> None:
        """Take lines, their newlines included. UpstreamError if one does not read or breaks a promise."""
        if not lines:
            return
        width, cells = self._width, cut(lines, self._width)
        if cells is None:
            wrong = next((line for line in lines if cut([line], width) is None), lines[0])
            raise _protocol(f"a line that is not {width} cells of text: {bytes(wrong[:80])!r}")
        flags, start = cells[1::width], 0
        if flags.count("f") + flags.count("t") != len(flags):
            raise _protocol(f"lines that are not {width} cells: {bytes(lines[0][:80])!r}")
        for end in [place for place, flag in enumerate(flags) if flag == "t"] + [len(lines)]:
            if end > start:
                self._updates(cells[start * width : end * width], b"".join(lines[start:end]))
            if end < len(lines):
                self._progress(_number(cells[end * width]))
            start = end + 1

    def _updates(self, cells: list[str], text: bytes) -> None:
        """Take updates, ``text`` as they came. Their timestamps are mostly one."""
        width, escaped = self._width, b"\\" in text
        stamps = cells[::width]
        if stamps.count(stamps[0]) == len(stamps):
            self._at(stamps[0], cells, escaped, len(text))
            return
        places: dict[str, list[int]] = {}
        for place, stamp in enumerate(stamps):
            places.setdefault(stamp, []).append(place * width)
        for stamp, starts in places.items():
            some = [cell for start in starts for cell in cells[start : start + width]]
            self._at(stamp, some, escaped, sum(map(len, some)))

    def _at(self, stamp: str, cells: list[str], escaped: bool, size: int) -> None:
        """Take the updates of one timestamp, of ``size`` bytes."""
        timestamp = _number(stamp)
        if not self._started or timestamp <= self._given:
            raise _protocol(f"an update at {timestamp} although {self._given} was closed")
        snapshot = timestamp == self._snapshot_at
        try:
            blocks = self._blocks(cells, escaped, snapshot=snapshot)
        except (ValueError, ArithmeticError, LookupError):
            width, texts = self._width, unescaped(cells)
            lines = (texts[start : start + width] for start in range(0, len(texts), width))
            raise unreadable(
                self._row_type, (tuple(line[at] for at in self._places) for line in lines)
            ) from None
        if snapshot:
            for block in blocks:
                self._snapshot_rows(block)
        else:
            self._keep(timestamp, blocks, weight(size, len(cells), len(cells) // self._width))

    def _blocks(self, cells: list[str], escaped: bool, *, snapshot: bool) -> list[_Block]:
        """The updates of one timestamp by their counts; an error of ``Scalar.parse`` if a value does not read."""
        counts, keyed = cells[2 :: self._width], self._row_type.keyed and not snapshot
        if not keyed or counts.count("1") + counts.count("-1") < len(counts):
            rows = self._reader.rows(cells, escaped)
            return _by_count(counts, list(map(self._row_type.key_of, rows)) if keyed else [], rows)
        # as nearly all are; a key column is read once, for it also tells which rows need not be read at all
        columns = {i: self._reader.column(i, cells, escaped) for i in self._row_type.key}
        first, *more = columns.values()
        keys = list(zip(first, *more, strict=True)) if more else first
        replaced = _replaced(counts, keys)
        if replaced is None:
            return _by_count(counts, keys, self._reader.rows(cells, escaped, None, columns))
        read, places = self._reader.later(cells, escaped), range(0, len(cells), self._width)
        unread = [Unread(read, place) for place in compress(places, replaced)]
        left = list(map(not_, replaced))
        rows = self._reader.rows(cells, escaped, left, columns)
        blocks = _by_count(list(compress(counts, left)), list(compress(keys, left)), rows)
        return [*blocks, _Block(-1, list(compress(keys, replaced)), unread)]

    def _keep(self, timestamp: int, blocks: list[_Block], size: int) -> None:
        """Hold updates of a timestamp that is not closed."""
        held = self._open.get(timestamp)
        if held is None:
            held = self._open[timestamp] = _Open()
        held.blocks += blocks
        held.size += size
        self._open_bytes += size
        if self._open_bytes > self._open_bytes_max:
            raise self._too_large()

    def finish(self) -> None:
        """The stream has ended by itself: what is open is complete, for nothing more will come."""
        if not self._started:
            raise _protocol("the stream ended before it began")
        last = max(self._open, default=self._snapshot_at if self._snapshot_at is not None else self._given)
        self._close(last + 1)

    def take(self) -> list[Item]:
        """What is known by now, in order; rows of a snapshot as they come."""
        self._flush_snapshot()
        items, self._items = self._items, []
        return items

    def _flush_snapshot(self) -> None:
        if self._snapshot:
            self._items.append(Rows(self._snapshot))
            self._snapshot = []

    def _too_large(self) -> UpstreamError:
        """Materialize closes what happened long ago by one progress row, so it may be many timestamps."""
        count, source = len(self._open), self._row_type.source
        what = "one timestamp holds" if count == 1 else f"{count} timestamps that are not complete hold"
        return UpstreamError(
            TOO_LARGE,
            f"source {source}: {what} more than {self._open_bytes_max >> 20} MiB of changes",
            action=Action.RESYNC,
            hint="it is read again as a snapshot; "
            + ("make smaller transactions upstream" if count == 1 else "shorten `live.log.keep`"),
        )

    def _snapshot_rows(self, block: _Block) -> None:
        if block.count < 0:
            raise UpstreamError(
                "negative-count",
                f"source {self._row_type.source}: the view holds a row {block.count} times",
                action=Action.FAIL,
                hint="the view retracts rows that were never there: look at its definition, or at the source's upstream",
            )
        rows = cast("Sequence[Row]", block.rows)  # of a snapshot all is read
        each = copies(self._row_type, block.count)
        self._snapshot += rows if each == 1 else [row for row in rows for _ in range(each)]

    def _progress(self, timestamp: int) -> None:
        if not self._started:
            self._started = True
            if self._resumed is None:
                self._snapshot_at = timestamp
                self._given = timestamp - 1
            return  # it only repeats AS OF; taken for news, it would move a resumed position backwards
        self._close(timestamp)

    def _close(self, end: int) -> None:
        """Every timestamp below ``end`` is complete."""
        at = self._snapshot_at
        if at is not None:
            if end <= at:
                return
            self._flush_snapshot()
            self._items.append(SnapshotEnd(at))
            self._snapshot_at = None
            self._given = at
        if self._open:
            for timestamp in sorted(time for time in self._open if time < end):
                held = self._open.pop(timestamp)
                self._open_bytes -= held.size
                changes = self._net(held.blocks)
                if changes:
                    self._items.append(Closed(timestamp, changes, held.size))
        if end - 1 > self._given:
            self._given = end - 1
            self._items.append(Frontier(end - 1))

    # netting: what a timestamp amounts to

    def _net(self, blocks: list[_Block]) -> list[Change]:
        if self._row_type.keyed and (simple := self._net_simple(blocks)):
            return simple
        keys = (block.keys or repeat(None) for block in blocks)
        each = zip(blocks, keys, strict=True)
        return net(
            self._row_type,
            ((key, b.count, row) for b, some in each for key, row in zip(some, b.rows, strict=False)),
        )

    def _net_simple(self, blocks: list[_Block]) -> list[Change] | None:
        """The net if no key has more than one row on a side, as all but always; None if one has."""
        first = blocks[0]
        if len(blocks) == 1 and first.count == 1 and len(set(first.keys)) == len(first.keys):
            return list(map(make_change, zip(first.keys, repeat(None), cast("Sequence[Row]", first.rows))))
        come: dict[Hashable, Row] = {}
        gone: dict[Hashable, Row] = {}  # or Unread
        sizes = {1: 0, -1: 0}
        for block in blocks:
            if block.count not in sizes:
                return None
            sizes[block.count] += len(block.keys)
            (come if block.count == 1 else gone).update(
                zip(block.keys, cast("Sequence[Row]", block.rows), strict=True)
            )
        if len(come) != sizes[1] or len(gone) != sizes[-1]:
            return None
        changes = list(map(make_change, zip(come, map(gone.get, come), come.values(), strict=True)))
        only = gone if gone.keys().isdisjoint(come) else {key: gone[key] for key in gone if key not in come}
        changes += map(make_change, zip(only, only.values(), repeat(None)))
        return changes


def _by_count(counts: Sequence[str], keys: list[Hashable], rows: list[Row]) -> list[_Block]:
    """Rows, and their keys if the source has one, parted."""
    if counts.count(counts[0]) == len(counts):
        return [_Block(_number(counts[0]), keys, rows)]
    blocks = []
    for text in set(counts):
        chosen = list(map(text.__eq__, counts))
        blocks.append(_Block(_number(text), list(compress(keys, chosen)), list(compress(rows, chosen))))
    return blocks


def _replaced(counts: Sequence[str], keys: Sequence[Hashable]) -> list[bool] | None:
    """Of updates that are each one row: which of them go as another row of their key comes. None if none do."""
    goes = list(map("-1".__eq__, counts))
    if True not in goes or False not in goes:
        return None
    come = set(compress(keys, map(not_, goes)))
    replaced = list(map(and_, goes, map(come.__contains__, keys)))
    return replaced if True in replaced else None


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _protocol(f"{text[:80]!r} is no number") from None


def _protocol(detail: str) -> UpstreamError:
    return UpstreamError(
        "protocol",
        "the stream does not read as Materialize's SUBSCRIBE",
        action=Action.RESYNC,
        detail=detail,
        hint="a proxy or pooler between us and Materialize must pass COPY through unchanged",
    )

"""Materialize's SUBSCRIBE … WITH (PROGRESS), as COPY sends it: lines → snapshot rows, whole timestamps, progress. Pure.

A line is ``mz_timestamp, mz_progressed, mz_diff, data columns…``. Rows of one timestamp come in any order, an insert
before the delete that it replaces; ``mz_diff`` is a multiplicity. Only a progress row closes the timestamps below it, or
the end of the stream all that are left: nothing is given out before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, islice, repeat, zip_longest
from operator import not_
from typing import Final, cast

from tycostream.changes import Turnover
from tycostream.engines.decode.columnar import ColumnarReader, cut
from tycostream.engines.decode.copytext import unescaped
from tycostream.engines.decode.netting import TOO_LARGE, Update, copies, net, unreadable, weight
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Row, RowType, Unread

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
    changes: Sequence[Change]
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Frontier:
    """Everything up to and including ``timestamp`` was given."""

    timestamp: int


Item = Rows | SnapshotEnd | Closed | Frontier


@dataclass(slots=True)
class _Open:
    """What has come of a timestamp that is not closed: of a key a row each way, as nearly all is, and all else as ``updates``.

    A row that goes is not read: ``gone`` says where its line begins in ``cells``.
    """

    come: dict[Hashable, Row] = field(default_factory=dict)
    gone: dict[Hashable, int] = field(default_factory=dict)
    cells: list[str] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class _Singles:
    """Updates of a source with a key, each of one row. The iterators give those that are next: that come, and that go."""

    goes: list[bool]
    keys_come: Iterator[Hashable]
    rows_come: Iterator[Row]
    keys_gone: Iterator[Hashable]


@dataclass(slots=True)
class _Read:
    """Updates of one read, of all its timestamps: read a column at a time, given out in order."""

    cells: list[str]
    stamps: list[str]
    sizes: list[int]  # bytes of each line
    updates: _Singles | Iterator[Update]


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
        width, found = self._width, cut(lines, self._width)
        if found is None:
            wrong = next((line for line in lines if cut([line], width) is None), lines[0])
            raise _protocol(f"a line that is not {width} cells of text: {bytes(wrong[:80])!r}")
        cells, backslashes = found
        flags = cells[1::width]
        marks = [place for place, flag in enumerate(flags) if flag == "t"]
        if flags.count("f") + len(marks) < len(flags):
            raise _protocol(f"lines that are not {width} cells: {bytes(lines[0][:80])!r}")
        read, ends = self._read(lines, cells, marks, backslashes)
        start = 0
        for end, mark in zip_longest(ends, marks):
            while start < end:
                start = self._run(read, start, end)
            if mark is not None:
                self._progress(_number(cells[mark * width]))

    def _read(
        self, lines: Sequence[bytes | memoryview], cells: list[str], marks: Sequence[int], backslashes: int
    ) -> tuple[_Read, list[int]]:
        """The updates among the lines, and how many of them stand before each of the progress rows, ``marks``, and in all."""
        width, sizes, ends = self._width, list(map(len, lines)), [place - i for i, place in enumerate(marks)]
        updates, start = cells, 0
        if marks:
            updates = []
            for mark in marks:
                updates += cells[start * width : mark * width]
                start = mark + 1
                backslashes -= cells[mark * width : start * width].count("\\N")
            updates += cells[start * width :]
            for mark in reversed(marks):
                del sizes[mark]
        escaped = backslashes > 0
        try:
            read = _Read(updates, updates[::width], sizes, self._updates(updates, escaped))
        except (ValueError, ArithmeticError, LookupError):
            raise self._unreadable(updates) from None
        return read, [*ends, len(sizes)]

    def _updates(self, cells: list[str], escaped: bool) -> _Singles | Iterator[Update]:
        """Updates, read; an error of ``Scalar.parse`` if a value does not read. Of rows that go only the key is read."""
        counts, reader, row_type = cells[2 :: self._width], self._reader, self._row_type
        if not row_type.keyed or counts.count("1") + counts.count("-1") < len(counts):
            rows = reader.rows(cells, escaped)
            return zip(map(row_type.key_of, rows), map(_number, counts), rows, strict=True)
        columns = {i: reader.column(i, cells, escaped) for i in row_type.key}
        first, *more = columns.values()
        keys: Sequence[Hashable] = list(zip(first, *more, strict=True)) if more else first
        goes = list(map("-1".__eq__, counts))
        comes = list(map(not_, goes))
        rows = reader.rows(cells, escaped, comes, columns)
        return _Singles(goes, compress(keys, comes), iter(rows), compress(keys, goes))

    def _run(self, read: _Read, start: int, end: int) -> int:
        """Take the updates of one timestamp that are next, before ``end``; gives where the next ones begin."""
        stamp, stamps = read.stamps[start], read.stamps[start:end]
        if stamps.count(stamp) < len(stamps):
            end = start + next(place for place, other in enumerate(stamps) if other != stamp)
        timestamp = _number(stamp)
        if not self._started or timestamp <= self._given:
            raise _protocol(f"an update at {timestamp} although {self._given} was closed")
        if timestamp == self._snapshot_at:
            self._snapshot_rows(read, start, end)
        else:
            self._keep(timestamp, read, start, end)
        return end

    def _keep(self, timestamp: int, read: _Read, start: int, end: int) -> None:
        """Hold updates of a timestamp that is not closed."""
        held = self._open.get(timestamp)
        if held is None:
            held = self._open[timestamp] = _Open()
        if isinstance(read.updates, _Singles):
            self._keep_singles(held, read, read.updates, start, end)
        else:
            held.updates += islice(read.updates, end - start)
        size = weight(sum(read.sizes[start:end]), (end - start) * self._width, end - start)
        held.size += size
        self._open_bytes += size
        if self._open_bytes > self._open_bytes_max:
            raise self._too_large()

    def _keep_singles(self, held: _Open, read: _Read, singles: _Singles, start: int, end: int) -> None:
        """Hold single updates; those among which a key has a second row that comes, or that goes, as any others."""
        width, goes, base = self._width, singles.goes[start:end], len(held.cells)
        going = goes.count(True)
        coming = len(goes) - going
        keys, rows = list(islice(singles.keys_come, coming)), list(islice(singles.rows_come, coming))
        come = dict(zip(keys, rows, strict=True))
        gone_keys, gone = list(islice(singles.keys_gone, going)), dict[Hashable, int]()
        if going:
            places = compress(range(base, base + len(goes) * width, width), goes)
            gone = dict(zip(gone_keys, places, strict=True))
            held.cells += read.cells[start * width : end * width]
        if (
            len(come) + len(gone) == len(goes)
            and held.come.keys().isdisjoint(come)
            and held.gone.keys().isdisjoint(gone)
        ):
            held.come = (
                {**held.come, **come} if held.come else come
            )  # a timestamp comes in one read, as a rule
            held.gone = {**held.gone, **gone} if held.gone else gone
            return
        held.updates += zip(keys, repeat(1), rows)
        places = compress(range(base, base + len(goes) * width, width), goes)
        held.updates += [
            (key, -1, Unread(self._images(held), place)) for key, place in zip(gone_keys, places, strict=True)
        ]

    def _images(self, held: _Open) -> Callable[[Sequence[int]], list[Row]]:
        """How rows that go are read, should somebody ask: from where their lines begin in what is held."""

        def read(places: Sequence[int]) -> list[Row]:
            try:
                return self._reader.at(held.cells, places)
            except (ValueError, ArithmeticError, LookupError):
                raise self._unreadable(held.cells) from None

        return read

    def _unreadable(self, cells: Sequence[str]) -> UpstreamError:
        """The error of lines of which one does not read."""
        width, texts = self._width, unescaped(cells)
        lines = (texts[start : start + width] for start in range(0, len(texts), width))
        return unreadable(self._row_type, (tuple(line[at] for at in self._places) for line in lines))

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

    def _snapshot_rows(self, read: _Read, start: int, end: int) -> None:
        """Take rows of the snapshot."""
        updates = read.updates
        if isinstance(updates, _Singles):
            if True in updates.goes[start:end]:
                raise self._negative(-1)
            deque(islice(updates.keys_come, end - start), 0)
            self._snapshot += islice(updates.rows_come, end - start)
            return
        for _, count, row in islice(updates, end - start):
            if count < 0:
                raise self._negative(count)
            self._snapshot += repeat(cast("Row", row), copies(self._row_type, count))  # all of these are read

    def _negative(self, count: int) -> UpstreamError:
        return UpstreamError(
            "negative-count",
            f"source {self._row_type.source}: the view holds a row {count} times",
            action=Action.FAIL,
            hint="the view retracts rows that were never there: look at its definition, or at the source's upstream",
        )

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
                changes = self._net(held)
                if changes:
                    self._items.append(Closed(timestamp, changes, held.size))
        if end - 1 > self._given:
            self._given = end - 1
            self._items.append(Frontier(end - 1))

    def _net(self, held: _Open) -> Sequence[Change]:
        """What a timestamp amounts to."""
        images = self._images(held)
        if not held.updates:
            return Turnover(held.come, held.gone, images, unread=True)
        come = zip(held.come, repeat(1), held.come.values())
        gone = ((key, -1, Unread(images, place)) for key, place in held.gone.items())
        return net(self._row_type, chain(held.updates, come, gone))


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

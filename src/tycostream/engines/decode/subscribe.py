"""Materialize's SUBSCRIBE … WITH (PROGRESS), as COPY sends it: lines → snapshot rows, whole timestamps, progress. Pure.

A line is ``mz_timestamp, mz_progressed, mz_diff, data columns…``. Rows of one timestamp come in any order, an insert
before the delete that it replaces; ``mz_diff`` is a multiplicity. Only a progress row closes the timestamps below it, or
the end of the stream all that are left: nothing is given out before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, cast

from tycostream.engines.decode.copytext import unescaped
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Column, Repeats, Row, RowType, Unread

_REPEATING: Final = frozenset({"text", "varchar", "bpchar", "name", "citext"})
_HEAD: Final = 3  # mz_timestamp, mz_progressed, mz_diff
_COPIES_MAX: Final = 1_000_000  # of one row: a multiset keeps each, and ten million equal rows are a mistake
TOO_LARGE: Final = "transaction-too-large"  # code of the error of too much that is not closed
_ROW_BYTES: Final = 200  # what an open row costs besides its text


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


Update = tuple[int, Hashable, Row | Unread]  # how often, of which key, which row


@dataclass(slots=True)
class _Open:
    """What has come of a timestamp that is not closed."""

    updates: list[Update] = field(default_factory=list)
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
        self._cells = [
            (place + _HEAD, column) for place, column in zip(places, row_type.columns, strict=True)
        ]
        self._read = _reader(self._cells)
        self._read_key = _key_reader(self._cells, row_type)
        self._open_bytes_max = open_bytes_max
        self._snapshot_at: int | None = None  # AS OF, told by the first line; None again once it is complete
        self._started = False
        self._resumed = resumed
        self._given = -1 if resumed is None else resumed  # the last frontier that was told
        self._snapshot: list[Row] = []
        self._open: dict[int, _Open] = {}
        self._open_bytes = 0
        self._items: list[Item] = []
        self._last_text, self._last = "", -1  # timestamps repeat: one conversion a run

    def line(self, line: bytes) -> None:
        """Take one line, its newline included. UpstreamError if it does not read or breaks a promise."""
        try:
            text = str(line, "utf-8")
            texts: list[str] = text.split("\t")
            if len(texts) != self._width or texts[-1][-1:] != "\n":
                raise ValueError(f"{len(texts)} cells where {self._width} were due")
            texts[-1] = texts[-1][:-1]
            if texts[0] != self._last_text:
                self._last_text, self._last = texts[0], int(texts[0])
            timestamp = self._last
            if texts[1] == "t":
                self._progress(timestamp)
                return
            count = int(texts[2])
        except ValueError as error:  # UnicodeDecodeError is one
            raise _protocol(f"{error}: {line[:80]!r}") from None
        if not self._started or timestamp <= self._given:
            raise _protocol(f"an update at {timestamp} although {self._given} was closed")
        image: Row | Unread
        try:
            if "\\" in text:
                image = self._row(unescaped(texts))
            elif count == -1 and self._read_key is not None:
                image = Unread(self._read, texts)
            else:
                image = self._read(texts)
            if timestamp == self._snapshot_at:
                self._snapshot_row(image, count)
                return
            if isinstance(image, Unread):
                assert self._read_key is not None
                key = self._read_key(texts)
            else:
                key = self._row_type.key_of(image)
        except (ValueError, ArithmeticError, LookupError):
            raise self._unreadable(unescaped(texts)) from None
        held = self._open.get(timestamp)
        if held is None:
            held = self._open[timestamp] = _Open()
        held.updates.append((count, key, image))
        size = len(line) + _ROW_BYTES
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

    def _row(self, texts: Sequence[str | None]) -> Row:
        """A row in which a cell may be NULL."""
        return tuple(
            [
                None if (text := texts[place]) is None else column.scalar.parse(text)
                for place, column in self._cells
            ]
        )

    def _unreadable(self, texts: Sequence[str | None]) -> UpstreamError:
        for place, column in self._cells:
            text = texts[place]
            try:
                if text is not None:
                    column.scalar.parse(text)
            except (ValueError, ArithmeticError, LookupError) as error:
                shown = text if len(text or "") <= 80 else f"{(text or '')[:79]}…"
                return UpstreamError(
                    "value",
                    f"source {self._row_type.source}: column {column.name} holds a value that is not a {column.scalar.name}",
                    action=Action.FAIL,
                    # the value stands here and not in the message, which every client of the source is told
                    detail=f"{shown!r}: {str(error)[:200]}",
                    hint="give the column another type in `columns:`",
                )
        raise AssertionError("every cell reads")

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

    def _snapshot_row(self, row: Row | Unread, count: int) -> None:
        if count < 0 or isinstance(row, Unread):
            raise UpstreamError(
                "negative-count",
                f"source {self._row_type.source}: the view holds a row {count} times",
                action=Action.FAIL,
                hint="the view retracts rows that were never there: look at its definition, or at the source's upstream",
            )
        if count == 1:
            self._snapshot.append(row)
        else:
            self._snapshot += [row] * self._copies(count)

    def _copies(self, count: int) -> int:
        if abs(count) > _COPIES_MAX:
            raise UpstreamError(
                "copies",
                f"source {self._row_type.source}: {abs(count)} equal rows are more than can be told apart",
                action=Action.FAIL,
                hint="count them upstream: SELECT …, count(*) … GROUP BY …",
            )
        return abs(count)

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
                changes = self._net(held.updates)
                if changes:
                    self._items.append(Closed(timestamp, changes, held.size))
        if end - 1 > self._given:
            self._given = end - 1
            self._items.append(Frontier(end - 1))

    # netting: what a timestamp amounts to

    def _net(self, updates: list[Update]) -> list[Change]:
        if self._row_type.keyed:
            return self._net_keyed(updates)
        minus, plus = self._split(updates)
        return [Change(None, row, None) for row in minus] + [Change(None, None, row) for row in plus]

    def _net_keyed(self, updates: list[Update]) -> list[Change]:
        gone: dict[Hashable, Row | Unread] = {}
        come: dict[Hashable, Row] = {}
        odd: dict[Hashable, list[Update]] = {}  # keys with more than one row on a side
        for update in updates:
            count, key, image = update
            if key in odd:
                odd[key].append(update)
            elif count == 1 and key not in come and not isinstance(image, Unread):
                come[key] = image
            elif count == -1 and key not in gone:
                gone[key] = image
            else:
                odd[key] = [update]
                odd[key] += [(1, key, come.pop(key))] if key in come else []
                odd[key] += [(-1, key, gone.pop(key))] if key in gone else []
        changes = [Change(key, cast("Row | None", gone.pop(key, None)), row) for key, row in come.items()]
        changes += [Change(key, cast("Row", row), None) for key, row in gone.items()]
        for key, entries in odd.items():
            minus, plus = self._split(entries)
            changes += [Change(key, old, new) for old, new in zip_longest(minus, plus)]
        return changes

    def _split(self, updates: list[Update]) -> tuple[list[Row], list[Row]]:
        """What goes and what comes, each as often as it does: a projection may have made different rows equal."""
        identity = self._row_type.identity
        counts: dict[Hashable, int] = {}
        images: dict[Hashable, Row] = {}
        for count, _, image in updates:
            row = image.row() if isinstance(image, Unread) else image
            name = identity(row)
            images[name] = row
            counts[name] = counts.get(name, 0) + count
        minus = [images[name] for name, n in counts.items() if n < 0 for _ in range(self._copies(n))]
        plus = [images[name] for name, n in counts.items() if n > 0 for _ in range(self._copies(n))]
        return minus, plus


def _key_reader(
    cells: Sequence[tuple[int, Column]], row_type: RowType
) -> Callable[[Sequence[str]], Hashable] | None:
    """A function from a line's texts, none of them NULL, to the row's key; None for a source without one."""
    if not row_type.keyed:
        return None
    read = _reader([cells[i] for i in row_type.key])
    if len(row_type.key) > 1:
        return read
    return lambda texts: read(texts)[0]


def _reader(cells: Sequence[tuple[int, Column]]) -> Callable[[Sequence[str]], Row]:
    """A function from a line's texts, none of them NULL, to a row. One generated tuple is twice as fast as a loop.

    The code holds places and names of ours only, never a text of the catalogue's.
    """
    parsers: dict[str, object] = {}
    parts = []
    for i, (place, column) in enumerate(cells):
        if column.scalar.name in _REPEATING:
            parsers[f"p{i}"] = Repeats()
            parts.append(f"p{i}[t[{place}]]")
        elif column.scalar.parse is str:
            parts.append(f"t[{place}]")
        else:
            parsers[f"p{i}"] = column.scalar.parse
            parts.append(f"p{i}(t[{place}])")
    source = f"lambda t: ({', '.join(parts)}{',' if parts else ''})"
    read: Callable[[Sequence[str]], Row] = eval(source, {"__builtins__": {}, **parsers})  # noqa: S307 - our own text
    return read


def _protocol(detail: str) -> UpstreamError:
    return UpstreamError(
        "protocol",
        "the stream does not read as Materialize's SUBSCRIBE",
        action=Action.RESYNC,
        detail=detail,
        hint="a proxy or pooler between us and Materialize must pass COPY through unchanged",
    )

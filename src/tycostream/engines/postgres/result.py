"""What a query gave last, so that only what is different has to be read and told. Pure.

The lines of COPY are compared as they come: a line like the one before costs a hash and a look-up, and is not parsed.
Of a keyed row only its key and a fingerprint are kept, 120 to 200 bytes; the row itself is the store's. Of a source
without a key each distinct line is kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from tycostream.engines.decode.copytext import decode_line
from tycostream.engines.libpq import fail
from tycostream.engines.postgres.tables import Mapper
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Row, RowType

CHANGED_BYTES_MAX: Final = 256 * 2**20  # of the lines that are different, in one run
RESULT_BYTES_MAX: Final = 2**30  # of all lines
_SLICE: Final = 500  # rows parsed in a step: a few milliseconds; of those only looked at ten times as many
_RUNS: Final = 0xFF  # the low bits of a fingerprint say in which run it was last seen, 1 to 255
_PRINT: Final = ~_RUNS
_ONCE: Final = 2**32  # of a counted line, in the part that says how often it was there before this run


class Result(Protocol):
    """The rows of a query, run after run: ``begin``, ``take`` all lines, then ``settle``; or ``undo``.

    Both of the last are done in slices, for the caller to pause between.
    """

    rows: int

    def begin(self) -> None:
        """A run starts."""

    def take(self, lines: Sequence[bytes]) -> None:
        """Lines of this run, each with its newline. UpstreamError: two of one key, or too many bytes."""

    def first(self) -> list[Row]:
        """In the first run, in place of ``settle``: the rows taken since the last call. UpstreamError for a bad value."""

    def settle(self, changes: list[Change]) -> Iterator[None]:
        """The run is complete: add to ``changes`` what is different now, deletions first. UpstreamError for a bad value."""

    def undo(self) -> Iterator[None]:
        """The run is not: everything is as before it."""


def result_of(mapper: Mapper, places: Sequence[int]) -> Result:
    """For rows of ``mapper``'s type in lines whose columns stand at ``places``, those of the key first."""
    return Keyed(mapper, places) if mapper.row_type.keyed else Counted(mapper, places)


class _Lines:
    """What both kinds share: parsing, and bounds."""

    def __init__(self, mapper: Mapper, places: Sequence[int]) -> None:
        self.rows = 0
        self._mapper, self._places, self._width = mapper, places, len(places)
        self._bytes = self._changed_bytes = 0

    def _row(self, line: bytes) -> Row:
        return self._mapper.row(decode_line(line[:-1], self._width), self._places)

    def _count(self, lines: Sequence[bytes]) -> None:
        self.rows += len(lines)
        self._bytes += sum(map(len, lines))
        if self._bytes > RESULT_BYTES_MAX:
            raise fail(
                "result-too-large",
                f"source {self._mapper.row_type.source}: its query gives more than {RESULT_BYTES_MAX >> 20} MiB",
                hint="narrow the query: each change of its tables runs the whole of it again",
            )

    def _count_changed(self, size: int) -> None:
        self._changed_bytes += size
        if self._changed_bytes > CHANGED_BYTES_MAX:
            raise UpstreamError(
                "rerun-too-large",
                f"source {self._mapper.row_type.source}: more than {CHANGED_BYTES_MAX >> 20} MiB of it changed at once",
                action=Action.RESYNC,
                hint="it is read anew, and the difference is told",
            )


class Keyed(_Lines):
    """See Result: rows with a key."""

    def __init__(self, mapper: Mapper, places: Sequence[int]) -> None:
        super().__init__(mapper, places)
        self._known: dict[Hashable, int] = {}  # key → fingerprint of its line, and the run that saw it last
        self._run = 0
        self._before: dict[Hashable, int | None] = {}  # what this run has changed in it
        self._lines: list[bytes] = []  # the lines that are new or different
        self._keys = len(mapper.row_type.key)
        self._text = _as_text(mapper.row_type)

    def begin(self) -> None:
        """See Result."""
        self._run = self._run % _RUNS + 1
        self.rows = self._bytes = self._changed_bytes = 0
        self._before, self._lines = {}, []

    def take(self, lines: Sequence[bytes]) -> None:
        """See Result."""
        self._count(lines)
        known, before, changed, run = self._known, self._before, self._lines, self._run
        plain = self._text and self._keys == 1
        get, start = known.get, len(changed)
        for line in lines:
            # without a tab the key is the whole line, and -1 takes the newline off
            key: Hashable = line[: line.find(b"\t")] if plain else self._key_of(line)
            now = hash(line) & _PRINT | run
            was = get(key)
            if was is None or not 0 < was ^ now <= _RUNS:
                if was is not None and was & _RUNS == run:
                    raise self._twice(line)
                before[key] = was
                changed.append(line)
            known[key] = now
        if len(changed) > start:
            self._count_changed(sum(map(len, changed[start:])))

    def _key_of(self, line: bytes) -> Hashable:
        """The key as a value that is equal exactly if PostgreSQL takes it for equal."""
        cells = line[:-1].split(b"\t", self._keys)[: self._keys]
        text = b"\t".join(cells)
        return text if self._text else self._cells(text)

    def _cells(self, text: bytes) -> Hashable:
        row_type = self._mapper.row_type
        texts = decode_line(text, self._keys)
        row = self._mapper.row(
            [texts[p] if p < self._keys else None for p in self._places], range(self._width)
        )
        return row_type.key_of(row)

    def _twice(self, line: bytes) -> UpstreamError:
        row_type = self._mapper.row_type
        names = ", ".join(row_type.columns[i].name for i in row_type.key)
        texts = decode_line(line[:-1], self._width)[: self._keys]
        return fail(
            "duplicate-key",
            f"the key of {row_type.source!r} is not unique",
            detail=f"several rows have {names} = {', '.join('NULL' if t is None else t for t in texts)}"[
                :300
            ],
            hint="make it unique, or name another key in `primary_key`; it goes on by itself then",
        )

    def first(self) -> list[Row]:
        """See Result."""
        rows = [self._row(line) for line in self._lines]
        self._before, self._lines, self._changed_bytes = {}, [], 0
        return rows

    def settle(self, changes: list[Change]) -> Iterator[None]:
        """See Result."""
        if len(self._known) > self.rows:
            yield from self._gone(changes)
        for start in range(0, len(self._lines), _SLICE):
            for line in self._lines[start : start + _SLICE]:
                row = self._row(line)
                changes.append(Change(self._mapper.row_type.key_of(row), None, row))
            yield
        self._before, self._lines = {}, []

    def _gone(self, changes: list[Change]) -> Iterator[None]:
        run, items, gone = self._run, iter(self._known.items()), list[Hashable]()
        while some := list(islice(items, 10 * _SLICE)):
            gone += [key for key, print_ in some if print_ & _RUNS != run]
            yield
        for start in range(0, len(gone), _SLICE):
            for key in gone[start : start + _SLICE]:
                self._before[key] = self._known.pop(key)
                cells = self._cells(key) if isinstance(key, bytes) and self._text else key
                changes.append(Change(cells, None, None))
            yield

    def undo(self) -> Iterator[None]:
        """See Result. What the run has seen stays marked as seen by it, which no other run takes for its own."""
        for i, (key, was) in enumerate(self._before.items()):
            if was is None:
                self._known.pop(key, None)
            else:
                self._known[key] = was
            if i % (10 * _SLICE) == 0:
                yield
        self._before, self._lines = {}, []


class Counted(_Lines):
    """See Result: rows without a key, as a multiset."""

    def __init__(self, mapper: Mapper, places: Sequence[int]) -> None:
        super().__init__(mapper, places)
        # line → how often it is there (in the high bits), and how often in this run
        self._known: dict[bytes, int] = {}
        self._fresh: list[bytes] = []
        self._started = False  # whether there is a result that this run is compared with

    def begin(self) -> None:
        """See Result."""
        self._started = bool(self._known)
        self.rows = self._bytes = self._changed_bytes = 0

    def take(self, lines: Sequence[bytes]) -> None:
        """See Result."""
        self._count(lines)
        known, step = self._known, 1 if self._started else _ONCE
        for line in lines:
            known[line] = known.get(line, 0) + step
        if not self._started:
            self._fresh += lines

    def first(self) -> list[Row]:
        """See Result."""
        rows = [self._row(line) for line in self._fresh]
        self._fresh = []
        return rows

    def settle(self, changes: list[Change]) -> Iterator[None]:
        """See Result."""
        if not self._started:  # there were no rows before
            for start in range(0, len(self._fresh), _SLICE):
                for line in self._fresh[start : start + _SLICE]:
                    self._count_changed(len(line))
                    changes.append(Change(None, None, self._row(line)))
                yield
            self._fresh = []
            return
        items, gone, come = iter(self._known.items()), list[bytes](), list[Change]()
        while some := list(islice(items, 4 * _SLICE)):
            for line, counts in some:
                before, now = divmod(counts, _ONCE)
                self._known[line] = now * _ONCE
                if before == now:
                    continue
                self._count_changed(len(line) * abs(now - before))
                row = self._row(line)
                if now > before:
                    come += [Change(None, None, row)] * (now - before)
                else:
                    changes += [Change(None, row, None)] * (before - now)
                if now == 0:
                    gone.append(line)
            yield
        changes += come
        yield from self._drop(gone)

    def undo(self) -> Iterator[None]:
        """See Result."""
        self._fresh = []
        items, gone = iter(self._known.items()), list[bytes]()
        while some := list(islice(items, 10 * _SLICE)):
            for line, counts in some:
                before = counts // _ONCE if self._started else 0
                self._known[line] = before * _ONCE
                if before == 0:
                    gone.append(line)
            yield
        yield from self._drop(gone)

    def _drop(self, lines: Sequence[bytes]) -> Iterator[None]:
        for start in range(0, len(lines), _SLICE):
            for line in lines[start : start + _SLICE]:
                del self._known[line]
            yield


def _as_text(row_type: RowType) -> bool:
    """Whether two keys are equal exactly if their texts are."""
    scalars = [row_type.columns[i].scalar for i in row_type.key]
    return not any(scalar.loose or scalar.enum is not None for scalar in scalars)

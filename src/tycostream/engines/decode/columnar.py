"""Many values at once, of COPY text or of results, parsed a column at a time: a call of Python's a cell, and none of ours. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Final

from tycostream.calendar_text import parse_timestamptz, parse_timestamptzs
from tycostream.engines.decode.copytext import unescaped
from tycostream.number_text import parse_numeric, parse_numerics
from tycostream.rows import Cell, Column, Repeats, Row

_REPEATING: Final = frozenset({"text", "varchar", "name", "citext"})
_NOTHING: Final[Mapping[int, Sequence[Cell]]] = {}

Read = Callable[[Sequence[str]], Iterable[Cell]]
"""The cells of a column from their texts, none of which is NULL; it may be lazy."""

_MANY: Final[Mapping[Callable[[str], Cell], Read]] = {
    parse_numeric: parse_numerics,
    parse_timestamptz: parse_timestamptzs,
}
_TRIED: Final = 8_000  # texts after which it is judged whether those of a column repeat
_LEFT_OUT: Final = 100_000  # texts until it is tried again whether they do


def cut(lines: Sequence[bytes | memoryview], width: int) -> tuple[list[str], int] | None:
    """The cells of ``lines`` as they stand, line after line, and the backslashes in them; None if they are not that many, or no UTF-8."""
    try:
        text = str(b"".join(lines), "utf-8")
    except UnicodeDecodeError:
        return None
    if text.count("\n") != len(lines) or text[-1:] != "\n":
        return None
    cells = text.replace("\n", "\t").split("\t")
    del cells[-1]  # what follows the last newline
    return (cells, text.count("\\")) if len(cells) == len(lines) * width else None


def column_reader(column: Column) -> Read:
    """How a column's texts become cells."""
    parse = column.scalar.parse
    if parse is not str:  # an enum's name may be any
        return _Remembering(parse)
    if column.scalar.name in _REPEATING:
        repeated = Repeats().__getitem__
        return lambda texts: map(repeated, texts)
    return lambda texts: texts


class _Remembering:
    """Parses a column, each text of it once while most have come before: a row's moment is often its transaction's.

    To find a text takes 0.06 µs, to parse it 0.1 (an integer) to 0.7 (a moment); but one that is looked up and parsed all
    the same costs 0.4 µs more, so a column whose texts are mostly new is left alone for a while.
    """

    def __init__(self, parse: Callable[[str], Cell]) -> None:
        self._repeats = Repeats(parse)
        self._many = _MANY.get(parse) or (lambda texts: map(parse, texts))
        self._one: Callable[[str], Cell] | None = self._repeats.__getitem__  # None while it is left alone
        self._left = _TRIED  # texts until it is judged again

    def __call__(self, texts: Sequence[str]) -> Iterable[Cell]:
        if self._left <= 0:
            self._judge()
        self._left -= len(texts)
        return map(self._one, texts) if self._one is not None else self._many(texts)

    def _judge(self) -> None:
        repeats = self._repeats
        if self._one is not None and repeats.missed * 6 > _TRIED:
            repeats.forget()
            self._one, self._left = None, _LEFT_OUT
        else:
            repeats.missed = 0
            self._one, self._left = repeats.__getitem__, _TRIED


def with_nulls(read: Read, texts: Sequence[str]) -> Iterable[Cell]:
    """``read`` over texts as they stand in a line: NULL is None, and escapes are read."""
    return nullable(read, unescaped(texts))


def nullable(read: Read, texts: Sequence[str | None]) -> Iterable[Cell]:
    """``read`` over values as a result holds them, where None is NULL and nothing is escaped."""
    if None not in texts:
        return read(texts)  # type: ignore[arg-type]
    cells = iter(read([text for text in texts if text is not None]))
    return [None if text is None else next(cells) for text in texts]


class ColumnarReader:
    """Rows from cells that ``cut`` gave. ``places`` are those of ``columns`` among the ``width`` cells of a line."""

    def __init__(self, places: Sequence[int], columns: Sequence[Column], width: int) -> None:
        self._columns = [
            (place, column_reader(column)) for place, column in zip(places, columns, strict=True)
        ]
        self._parsers = [(place, column.scalar.parse) for place, column in zip(places, columns, strict=True)]
        self._width = width

    def column(self, i: int, cells: Sequence[str], escaped: bool) -> list[Cell]:
        """The cells of the ``i``-th column, of all lines; see ``rows``."""
        place, read = self._columns[i]
        texts = cells[place :: self._width]
        return list(with_nulls(read, texts) if escaped else read(texts))

    def rows(
        self,
        cells: Sequence[str],
        escaped: bool,
        chosen: Sequence[bool] | None = None,
        known: Mapping[int, Sequence[Cell]] = _NOTHING,
    ) -> list[Row]:
        """The rows of the lines that are ``chosen`` (None: all); ``escaped``: a cell may be NULL or hold an escape.

        ``known``: columns that were read already, of all lines. An error of ``Scalar.parse`` if a value does not read.
        """
        columns: list[Iterable[Cell]] = []
        width = self._width
        for i, (place, read) in enumerate(self._columns):
            if i in known:
                columns.append(known[i] if chosen is None else compress(known[i], chosen))
                continue
            texts = cells[place::width] if chosen is None else list(compress(cells[place::width], chosen))
            columns.append(with_nulls(read, texts) if escaped else read(texts))
        return list(zip(*columns, strict=True))

    def at(self, cells: Sequence[str], places: Sequence[int]) -> list[Row]:
        """The rows of the lines that begin at ``places`` of ``cells``: of a few, each by itself costs less."""
        lines = [unescaped(cells[place : place + self._width]) for place in places]
        return [
            tuple([None if (text := line[at]) is None else parse(text) for at, parse in self._parsers])
            for line in lines
        ]

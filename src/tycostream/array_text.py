"""Arrays as PostgreSQL compares, prints and reads them: any number of dimensions, any lower bounds, NULL elements.

A cell is ``(items, shape)``: the elements in row-major order, NULL as ``NULL``, and behind them what the server looks at
when all elements are equal. The shape of one dimension is (1, lower bound), of several (how many, lengths, lower bounds),
of an empty array (0,). Two such tuples compare as two arrays do: element by element, NULL last; then the shorter is less.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from tycostream.rows import Cell

Shape = tuple[Any, ...]
Array = tuple[tuple[Cell, ...], Shape]


class _Null:
    """A NULL inside an array: equal to itself and larger than every element."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL"

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, other: object) -> bool:
        return True


NULL: Final = _Null()
EMPTY: Final[Array] = ((), (0,))
LINE: Final[Shape] = (1, 1)  # one dimension that starts at 1: nearly every array there is
_DIMENSIONS_MAX: Final = 6
_BOUNDS: Final = re.compile(r"((?:\[[+-]?\d{1,10}:[+-]?\d{1,10}\])+)\s*=\s*", re.ASCII)
_SPECIAL: Final = frozenset('"\\{')
_BLANK: Final = " \t\n\r\v\f"


def _malformed(why: str) -> ValueError:
    return ValueError(f"not an array: {why}")


def array_parser(parse: Callable[[str], Cell], delimiter: str = ",") -> Callable[[str], Array]:
    """The reader of the server's text; elements are read by ``parse``. ValueError for what is no array."""
    read = array_reader(parse, delimiter)

    def quick(text: str) -> Array:
        if (
            text[:1] == "{"
            and text[-1:] == "}"
            and _SPECIAL.isdisjoint(body := text[1:-1])
            and "}" not in body
        ):
            if not body:
                return EMPTY
            cells = [
                NULL if t == "NULL" or (cell := parse(t)) is None else cell for t in body.split(delimiter)
            ]
            return tuple(cells), LINE
        return read(text)

    return quick


def array_reader(parse: Callable[[str], Cell], delimiter: str = ",") -> Callable[[str], Array]:
    """The reader of any array that PostgreSQL reads: ``{1,2}``, ``[0:1]={ "a", NULL }``. ValueError for what is none."""
    token = re.compile(
        rf'\s*(?:([{{}}{delimiter}])|"((?:[^"\\]|\\.)*)"|((?:[^"\\{{}}{delimiter}]|\\.)+))', re.DOTALL
    )
    return lambda text: _read(text, token, parse)


def _read(text: str, token: re.Pattern[str], parse: Callable[[str], Cell]) -> Array:
    """Any array at all: quotes, dimensions, bounds, blanks."""
    text, bounds = text.strip(_BLANK), None
    if found := _BOUNDS.match(text):
        pairs = [pair.split(":") for pair in found[1][1:-1].split("][")]
        bounds = [(int(low), int(high)) for low, high in pairs]
        text = text[found.end() :]
    items: list[Cell] = []
    lengths: list[int | None] = []
    counts: list[int] = []  # per open brace: how many members so far
    member = False  # whether one has just ended
    at, end = 0, len(text)
    while at < end:
        found = token.match(text, at)
        if found is None:
            raise _malformed("a quote or a brace is missing")
        at = found.end()
        sign, quoted, plain = found.groups()
        if sign == "{":
            if member or (not counts and items) or len(counts) >= _DIMENSIONS_MAX:
                raise _malformed("a brace too many")
            if len(counts) == len(lengths):
                if items:
                    raise _malformed("its lists are of different depths")
                lengths.append(None)
            counts.append(0)
        elif sign == "}":
            if not counts or (not member and counts[-1]):
                raise _malformed("a brace or a comma too many")
            member = _close(counts, lengths)
            if not counts:
                break
        elif sign is not None:
            if not member or not counts:
                raise _malformed("a comma too many")
            member = False
        else:
            if member or not counts or len(counts) != len(lengths):
                raise _malformed("its lists are of different depths, or a comma is missing")
            items.append(_element(quoted, plain, parse))
            counts[-1] += 1
            member = True
    if counts or not lengths or text[at:].strip(_BLANK):
        raise _malformed("it must be one list in braces")
    return _shaped(items, [length or 0 for length in lengths], bounds)


def _close(counts: list[int], lengths: list[int | None]) -> bool:
    """A closing brace: lists of one dimension have one length."""
    depth, count = len(counts) - 1, counts.pop()
    if lengths[depth] is None:
        lengths[depth] = count
    elif lengths[depth] != count:
        raise _malformed("its lists are of different lengths")
    if counts:
        counts[-1] += 1
    return True


def _element(quoted: str | None, plain: str | None, parse: Callable[[str], Cell]) -> Cell:
    if quoted is None:
        assert plain is not None
        plain = plain.rstrip(_BLANK) if "\\" not in plain else plain
        if plain.upper() == "NULL":
            return NULL
        quoted = plain
    if "\\" in quoted:
        quoted = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
    cell = parse(quoted)
    return NULL if cell is None else cell


def _shaped(items: Sequence[Cell], lengths: list[int], bounds: list[tuple[int, int]] | None) -> Array:
    if bounds is not None and [high - low + 1 for low, high in bounds] != lengths:
        raise _malformed("its bounds do not fit its lists")
    if not items:
        if any(lengths):
            raise _malformed("its lists are of different lengths")
        return EMPTY
    lows = [low for low, _ in bounds] if bounds else [1] * len(lengths)
    shape: Shape = (1, lows[0]) if len(lengths) == 1 else (len(lengths), *lengths, *lows)
    return tuple(items), LINE if shape == LINE else shape


def of_list(value: Sequence[object], literal: Callable[[object], Cell]) -> Array:
    """An array from a list of JSON or GraphQL, nested for several dimensions; null is NULL. ValueError if it is none."""
    lengths: list[int] = []
    items: list[Cell] = []

    def walk(level: Sequence[object], depth: int) -> None:
        if depth == len(lengths):
            if items or depth >= _DIMENSIONS_MAX:
                raise _malformed("its lists are of different depths")
            lengths.append(len(level))
        if len(level) != lengths[depth]:
            raise _malformed("its lists are of different lengths")
        for item in level:
            if isinstance(item, (list, tuple)):
                walk(item, depth + 1)
            elif depth + 1 != len(lengths):
                raise _malformed("its lists are of different depths")
            else:
                items.append(NULL if item is None else literal(item))

    walk(value, 0)
    return _shaped(items, lengths, None)


def _dimensions(cell: Array) -> tuple[list[int], list[int]]:
    """Lengths and lower bounds."""
    items, shape = cell
    if shape[0] == 1:
        return [len(items)], [shape[1]]
    return list(shape[1 : 1 + shape[0]]), list(shape[1 + shape[0] :])


def _nested(texts: list[str], lengths: list[int], between: str, opening: str, closing: str) -> str:
    """Texts in row-major order as lists in lists."""
    for length in reversed(lengths):
        texts = [
            opening + between.join(texts[at : at + length]) + closing for at in range(0, len(texts), length)
        ]
    return texts[0]


def array_text(text: Callable[[Cell], str], delimiter: str = ",") -> Callable[[Array], str]:
    """The writer of the server's text."""
    special = re.compile(rf'[{{}}"\\{delimiter}{_BLANK}]|\A(?:null)?\Z', re.IGNORECASE)

    def quoted(cell: Cell) -> str:
        if cell is NULL:
            return "NULL"
        written = text(cell)
        if special.search(written) is None:
            return written
        return '"' + written.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def write(cell: Array) -> str:
        if not cell[0]:
            return "{}"
        lengths, lows = _dimensions(cell)
        bounds = ""
        if any(low != 1 for low in lows):
            pairs = zip(lows, lengths, strict=True)
            bounds = "".join(f"[{low}:{low + length - 1}]" for low, length in pairs) + "="
        return bounds + _nested([quoted(item) for item in cell[0]], lengths, delimiter, "{", "}")

    return write


def array_json(json: Callable[[Cell], str]) -> Callable[[Array], str]:
    """``to_json``: lists in lists; lower bounds are not told."""

    def write(cell: Array) -> str:
        items, shape = cell
        texts = ["null" if item is NULL else json(item) for item in items]
        if shape[0] == 1:
            return f"[{','.join(texts)}]"
        return _nested(texts, _dimensions(cell)[0], ",", "[", "]") if texts else "[]"

    return write


def contains(whole: Array, part: Array) -> bool:
    """``whole @> part``: each element of ``part`` is one of ``whole``, whatever the dimensions; NULL equals nothing."""
    items = part[0]
    if len(items) == 1:
        return items[0] is not NULL and items[0] in whole[0]
    return NULL not in items and set(whole[0]).issuperset(items)

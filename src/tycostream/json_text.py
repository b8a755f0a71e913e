"""jsonb as PostgreSQL compares it, and the members of JSON by their path.

A jsonb cell is the text that the server printed. Two are equal if they mean the same: 1.0 is 1.00, and an object's keys
have no order. Which is the smaller follows the B-tree's rules: by kind, by size, then member by member.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final

from tycostream.number_text import NAN

_SHARED_MAX: Final = 4096  # characters of a text whose meaning is kept for a while
_DEPTH_MAX: Final = 100  # of a constant
_NODES_MAX: Final = 10_000
_DIGITS_MAX: Final = 131_072  # of a numeric before its point
_SCALE_MAX: Final = 16_383  # and after it

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s\[\]{},:"]+', re.DOTALL)
_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_VALUE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+', re.DOTALL)
_FILLING: Final = re.compile(r"[\s,:]*")
_INDEX: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]{1,10}")  # what strtol reads, and nothing behind it


class Document(str):
    """A jsonb cell. Documents compare with each other only, by what they mean; ``str()`` gives the text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return False
        if str.__eq__(self, other):
            return True
        if type(self) is type(other) is Document and _settled(self) and _settled(other):
            return False
        return sort_key(str(self)) == sort_key(str(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented  # an array's NULL knows
        return sort_key(str(self)) < sort_key(str(other))

    def __le__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented  # an array's NULL knows
        return sort_key(str(self)) <= sort_key(str(other))

    def __gt__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented  # an array's NULL knows
        return sort_key(str(self)) > sort_key(str(other))

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented  # an array's NULL knows
        return sort_key(str(self)) >= sort_key(str(other))

    def __hash__(self) -> int:
        return hash(sort_key(str(self)))


class Constant(Document):
    """A document that no server printed."""

    __slots__ = ()


def _settled(text: str) -> bool:
    """Whether an equal cell has the same text: nothing in it is written in two ways by PostgreSQL, or by two servers.

    Whoever writes a blank behind each comma and colon is PostgreSQL, which puts keys in one order; who needs none is all one.
    It saves most changes of a document from being parsed only to learn that something changed.
    """
    count = text.count
    return "." not in text and count(",") == count(", ") and count('":') == count('": ')


# -- meaning ------------------------------------------------------------------------------------------------------


def meaning(text: str) -> Any:
    """JSON as Python has it; numbers exact, NaN (Materialize's) the cell of that name, at any depth."""
    return _shared_meaning(text) if len(text) <= _SHARED_MAX else _meaning(text)


def _meaning(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        return _deep_meaning(text)


_DECODER: Final = json.JSONDecoder(
    parse_float=Decimal,
    parse_int=Decimal,
    parse_constant=lambda name: NAN if name == "NaN" else Decimal(name),
    strict=False,
)
_shared_meaning: Final = lru_cache(256)(_meaning)


def _deep_meaning(text: str) -> Any:
    """The same without a stack of calls: PostgreSQL takes documents that are nested thousands of levels deep."""
    top: list[Any] = []
    stack: list[tuple[Any, str | None]] = [(top, None)]  # a container, and the key that waits for its value
    for found in _TOKEN.finditer(text):
        piece = found[0]
        into, key = stack[-1]
        if piece in "]}":
            stack.pop()
            continue
        if type(into) is dict and key is None:
            stack[-1] = into, _DECODER.decode(piece)
            continue
        value: Any = [] if piece == "[" else {} if piece == "{" else _DECODER.decode(piece)
        if type(into) is dict:
            into[key] = value
            stack[-1] = into, None
        else:
            into.append(value)
        if piece in "[{":
            stack.append((value, None))
    return top[0]


# -- order --------------------------------------------------------------------------------------------------------

_NULL, _STRING, _NUMBER, _BOOLEAN, _ARRAY, _OBJECT = 0, 1, 2, 3, 16, 17


def sort_key(text: str) -> tuple[Any, ...]:
    """A tuple that is equal and sorts as the jsonb of that text does. It is flat, so that no depth is too much."""
    return _shared_key(text) if len(text) <= _SHARED_MAX else _sort_key(text)


def _sort_key(text: str) -> tuple[Any, ...]:
    value = meaning(text)
    key: list[Any] = []
    if type(value) is list:
        key += (_ARRAY, len(value), 1)
        stack = value[::-1]
    else:
        if type(value) is not dict:  # a scalar stands as an array of one, before any other such
            key += (_ARRAY, 1, 0)
        stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is str:
            key += (_STRING, item)
        elif kind is bool:
            key += (_BOOLEAN, item)
        elif item is None:
            key.append(_NULL)
        elif kind is list:
            key += (_ARRAY, len(item))
            stack += item[::-1]
        elif kind is dict:
            key += (_OBJECT, len(item))
            for name in sorted(item, key=stored_order, reverse=True):
                stack += (item[name], name)
        else:
            key += (_NUMBER, item)
    return tuple(key)


_shared_key: Final = lru_cache(256)(_sort_key)


def stored_order(name: str) -> tuple[int, bytes]:
    """How jsonb orders the keys of an object: the shorter ones first, then byte by byte."""
    encoded = name.encode()
    return len(encoded), encoded


# -- constants ----------------------------------------------------------------------------------------------------


def document(value: object) -> Constant:
    """A decoded JSON value as the cell that PostgreSQL would make of it; ValueError with a sentence if it would not."""
    budget = [_NODES_MAX]
    return Constant(_written(value, 0, budget))


def _written(value: object, depth: int, budget: list[int]) -> str:
    budget[0] -= 1
    if depth > _DEPTH_MAX:
        raise ValueError(f"a JSON value nested deeper than {_DEPTH_MAX} levels")
    if budget[0] < 0:
        raise ValueError(f"a JSON value of more than {_NODES_MAX} members")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join([_written(item, depth + 1, budget) for item in value])}]"
    if isinstance(value, dict):
        names = sorted(map(_name, value), key=stored_order)
        return f"{{{', '.join([f'{_string(name)}: {_written(value[name], depth + 1, budget)}' for name in names])}}}"
    raise ValueError("expected a JSON value")


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError("expected a JSON value")
    _string(name)
    return name


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a string of the JSON value is not valid Unicode") from None
    if "\0" in text:
        raise ValueError("a string of the JSON value holds a null character, which PostgreSQL cannot store")
    return encode_basestring(text)


def _number(value: float | Decimal) -> str:
    number = Decimal(value) if not isinstance(value, float) else Decimal(repr(value))
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError("expected a JSON value: JSON has no NaN and no infinities")
    if (number and number.adjusted() >= _DIGITS_MAX) or -exponent > _SCALE_MAX or exponent > _DIGITS_MAX:
        raise ValueError("a number of the JSON value is out of range for type 'numeric'")
    return format(number if number else number.copy_abs(), "f")


# -- members ------------------------------------------------------------------------------------------------------


def member(text: str, path: Sequence[str]) -> str | None:
    """``json #> path``: the text of a member, just as it stands; None if there is none.

    A step into an array is an index, from the end if it is negative. Of the same key given twice, which json can have and
    jsonb cannot, the last that leads to a member counts.
    """
    return _member(text, _FILLING.match(text).end(), path, 0)  # type: ignore[union-attr]


def _member(text: str, start: int, path: Sequence[str], step: int) -> str | None:
    if step == len(path):
        return text[start : _end(text, start)]
    if text[start : start + 1] == "{":
        found = None
        for name, place in _pairs(text, start):
            if name == path[step]:
                inner = _member(text, place, path, step + 1)
                found = inner if inner is not None else found
        return found
    if text[start : start + 1] == "[" and _INDEX.fullmatch(path[step]):
        index = int(path[step])
        places = list(_items(text, start))
        if -len(places) <= index < len(places):
            return _member(text, places[index], path, step + 1)
    return None


def _end(text: str, start: int) -> int:
    """The place after the value that begins at ``start``."""
    if text[start] not in "[{":
        return _VALUE.match(text, start).end()  # type: ignore[union-attr]
    depth = 0
    for found in _BRACKET.finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    return len(text)


def _items(text: str, start: int) -> Any:
    """The places of an array's items."""
    place = _FILLING.match(text, start + 1).end()  # type: ignore[union-attr]
    while text[place] != "]":
        yield place
        place = _FILLING.match(text, _end(text, place)).end()  # type: ignore[union-attr]


def _pairs(text: str, start: int) -> Any:
    """An object's keys, and the places of their values."""
    place = _FILLING.match(text, start + 1).end()  # type: ignore[union-attr]
    while text[place] != "}":
        end = _end(text, place)
        name = _DECODER.decode(text[place:end])
        place = _FILLING.match(text, end).end()  # type: ignore[union-attr]
        yield name, place
        place = _FILLING.match(text, _end(text, place)).end()  # type: ignore[union-attr]


def member_json(path: Sequence[str], write: Callable[[str], str]) -> Callable[[str | None], str]:
    """A function that writes a cell's member at ``path`` as JSON, by ``write``; ``null`` where there is none."""

    def written(cell: str | None) -> str:
        found = None if cell is None else member(cell, path)
        return "null" if found is None else write(found)

    return written

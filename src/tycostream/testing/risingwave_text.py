"""How RisingWave writes values: where its text differs from PostgreSQL's, a client that expects PostgreSQL's stumbles.

A fraction of a second has three, six or no digits; an offset has its minutes; a map quotes nothing, so that it cannot
be taken apart if a text in it has a colon, a comma or a brace.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from tycostream.testing.risingwave_types import inner_types

_QUOTED: Final = re.compile(r'[{}(),"\\\s]|^$')


def text_of(kind: str, value: Any) -> str | None:
    """The text of a value of a type: lists of a list, tuples of a struct, mappings of a map; None is NULL.

    A str stands as it is where it is no text: for intervals, and whatever Python has no type for.
    """
    if value is None:
        return None
    plain = " ".join(kind.split())
    if plain.endswith("[]"):
        return "{" + ",".join(_element(plain[:-2], each) for each in value) + "}"
    if plain.startswith("struct<"):
        members = zip(inner_types(plain), value, strict=True)
        return "(" + ",".join(_member(inner, each) for inner, each in members) + ")"
    if plain.startswith("map("):
        key, held = inner_types(plain)
        return "{" + ",".join(f"{text_of(key, k)}:{_bare(held, v)}" for k, v in value.items()) + "}"
    return _scalar(plain, value)


def _scalar(kind: str, value: Any) -> str:
    if kind == "jsonb":
        return json.dumps(value, ensure_ascii=False)
    for known, written in _WRITERS.items():
        if type(value) is known:
            return written(value)
    return str(value)


def _element(kind: str, value: Any) -> str:
    text = text_of(kind, value)
    if text is None:
        return "NULL"
    nested = kind.endswith("[]")
    return text if nested or not (_QUOTED.search(text) or text.upper() == "NULL") else _quote(text)


def _member(kind: str, value: Any) -> str:
    text = text_of(kind, value)
    return "" if text is None else _quote(text) if _QUOTED.search(text) else text


def _bare(kind: str, value: Any) -> str:
    text = text_of(kind, value)
    return "NULL" if text is None else text


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value).removesuffix(".0")


def _fraction(microseconds: int) -> str:
    if not microseconds:
        return ""
    return f".{microseconds // 1000:03d}" if not microseconds % 1000 else f".{microseconds:06d}"


def _time(value: time) -> str:
    return f"{value:%H:%M:%S}{_fraction(value.microsecond)}"


def _datetime(value: datetime) -> str:
    shown = value if value.tzinfo is None else value.astimezone(UTC)
    text = f"{shown.date().isoformat()} {_time(shown.time())}"
    return text if value.tzinfo is None else f"{text}+00:00"


_WRITERS: Final[Mapping[type, Callable[[Any], str]]] = {
    bool: lambda value: "t" if value else "f",
    bytes: lambda value: "\\x" + value.hex(),
    float: _float,
    Decimal: lambda value: (
        "NaN" if value.is_nan() else format(value, "f") if value.is_finite() else str(value)
    ),
    datetime: _datetime,
    date: date.isoformat,
    time: _time,
}

"""What a JSON column must look like to be a GraphQL object: the ``types:`` of a configuration, resolved.

A type is an object of named fields; a field is a scalar, an enum, another type, or a list of one of these (``[String]``).
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring_ascii
from typing import Any, Final, cast

from tycostream.number_text import wrong
from tycostream.scalars import Scalar, config_scalar, enum_scalar

_DIGITS_MAX: Final = 4000  # int() refuses longer ones
_LISTS_MAX: Final = 6
_BARE_NUMBERS: Final = frozenset({"int2", "int4", "float4", "float8"})  # in JSON a string is none of these


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list of values of one shape."""

    item: Shape

    @property
    def name(self) -> str:
        """As GraphQL writes it."""
        return f"[{self.item.graphql if isinstance(self.item, Scalar) else self.item.name}]"

    @property
    def made_of(self) -> Hashable:
        """As that of an object, if it is a list of objects."""
        return None if isinstance(self.item, Scalar) else ("list", self.item.made_of)


@dataclass(eq=False, slots=True)
class ObjectShape:
    """An object of the fields named. ``made_of``: equal for two that came of equal configurations."""

    name: str
    made_of: Hashable
    fields: dict[str, Shape] = field(default_factory=dict)


Shape = Scalar | ListShape | ObjectShape
Types = Mapping[str, Mapping[str, str]]
Enums = Mapping[str, tuple[str, ...]]


def innermost(type_name: str) -> tuple[str, int]:
    """``[[String]]`` → the name inside, and how many lists are around it."""
    name, lists = type_name.strip(), 0
    while name[:1] == "[" and name[-1:] == "]" and lists < _LISTS_MAX:
        name, lists = name[1:-1].strip(), lists + 1
    return name, lists


def object_shape(type_name: str, types: Types, enums: Enums) -> ObjectShape | ListShape | None:
    """The shape that a column's type names, if that is a type of the file, or a list of one; None if it is not."""
    name, _ = innermost(type_name)
    if name not in types:
        return None
    made_of = (
        tuple((each, tuple(fields.items())) for each, fields in types.items()),
        tuple(enums.items()),
    )
    objects = {each: ObjectShape(each, (each, made_of)) for each in types}
    for each, fields in types.items():
        for key, inner in fields.items():
            objects[each].fields[key] = _shape(inner, objects, enums)
    return cast("ObjectShape | ListShape", _shape(type_name, objects, enums))


def _shape(type_name: str, objects: Mapping[str, ObjectShape], enums: Enums) -> Shape:
    name, lists = innermost(type_name)
    shape: Shape | None = objects.get(name)
    if shape is None:
        shape = enum_scalar(name, enums[name], lambda label: None) if name in enums else config_scalar(name)
    if shape is None:
        raise ValueError(f"there is no type {name!r}")  # the rules of the configuration have refused it
    for _ in range(lists):
        shape = ListShape(shape)
    return shape


# -- values -------------------------------------------------------------------------------------------------------


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < _DIGITS_MAX else Decimal(digits)


def decoded(text: str) -> Any:
    """JSON with every digit of its numbers; ValueError if it is none, nested too deeply, or a number has no Decimal."""
    try:
        # Materialize prints NaN and the infinities bare
        return json.loads(text, parse_int=_whole, parse_float=Decimal, parse_constant=Decimal)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except InvalidOperation:  # an exponent beyond 10^18: json keeps it as it was written
        raise ValueError("a number of the JSON is out of every range") from None


def encoded(value: Any) -> str:
    """What ``decoded`` gave, as JSON; in ASCII, for half a surrogate pair has no UTF-8."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else f'"{value}"'
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{encode_basestring_ascii(key)}:{encoded(item)}" for key, item in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(encoded, value)) + "]"
    return str(value)


def leaf_json(scalar: Scalar, value: Any) -> str:
    """A value as its type writes it; ValueError with a sentence if it does not fit."""
    if scalar.name in ("json", "jsonb"):
        try:
            return encoded(value)
        except RecursionError:  # Python's stack ends before that of the decoder, which is C
            raise ValueError("the JSON is nested too deeply") from None
    if scalar.name in _BARE_NUMBERS and not isinstance(value, (int, Decimal)):
        raise wrong("a number", scalar.graphql, value)
    if isinstance(value, Decimal) and value.is_nan():
        value = "NaN"
    cell = scalar.literal(value)
    return "null" if cell is None else scalar.json(cell)

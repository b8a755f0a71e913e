"""ONE table: SQL type → cell, text, comparison, operators, JSON and GraphQL scalar.

Cells are chosen so that Python's own ``==``, ``<`` and ``hash`` are PostgreSQL's: text is ``str`` (code points, that
is ``COLLATE "C"``), numeric is ``Decimal``, dates and times are integers, infinities are ``float`` infinities, and
NaN is the singleton ``NAN``, equal to itself and larger than everything. No sort key is needed anywhere else.
"""

from __future__ import annotations

import json as json_library
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from json.encoder import encode_basestring
from typing import Final

from tycostream import calendar_text as cal
from tycostream.number_text import NAN as NAN
from tycostream.number_text import (
    float_literal,
    float_text,
    integer_literal,
    numeric_json,
    numeric_literal,
    numeric_text,
    parse_float,
    parse_numeric,
    quoting_specials,
    shown,
    wrong,
)
from tycostream.rows import Cell


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """What the product knows of one SQL type.

    ``parse`` takes the type's text as the server prints it under our output settings (DateStyle ISO,
    IntervalStyle iso_8601, TimeZone UTC, extra_float_digits 3, bytea_output hex) and raises ValueError for anything
    else; ``text`` is its inverse and gives PostgreSQL's characters back (Materialize writes 1e-7 where it has 1e-07). ``json`` writes a cell as JSON, in the form of
    PostgreSQL's ``to_json``. ``literal`` takes a decoded JSON or GraphQL input value (never None) and gives a
    cell that compares exactly, or raises ValueError with a sentence for the user. ``operators`` holds the comparison
    operators that are exact for the type (Hasura's names); only ``_is_null``: the type passes through as text.
    """

    name: str  # PostgreSQL's name: int4, timestamptz, …
    graphql: str  # Hasura's scalar: Int, timestamptz, …
    parse: Callable[[str], Cell]
    text: Callable[[Cell], str]
    json: Callable[[Cell], str]
    literal: Callable[[object], Cell]
    operators: frozenset[str]
    loose: bool = False  # equal cells may differ in text (1.0 and 1.00, 0 and -0)
    enum: tuple[str, ...] | None = None  # the labels of an enum, in order; cells are their places


ORDERED: Final = frozenset({"_eq", "_neq", "_gt", "_gte", "_lt", "_lte", "_in", "_nin", "_is_null"})
PATTERNS: Final = frozenset(
    f"_{no}{name}" for no in ("", "n") for name in ("like", "ilike", "similar", "regex", "iregex")
)
NULLNESS: Final = frozenset({"_is_null"})  # what can be said of any type's cells
# -- literals -----------------------------------------------------------------------------------------------------


def _text_literal(name: str) -> Callable[[object], Cell]:
    def literal(value: object) -> Cell:
        if not isinstance(value, str):
            raise wrong("a string", name, value)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the string for type '{name}' is not valid Unicode") from None
        if "\0" in value:
            raise ValueError(
                f"the string for type '{name}' holds a null character, which PostgreSQL cannot store"
            )
        return value

    return literal


def _bool_literal(value: object) -> Cell:
    if not isinstance(value, bool):
        raise wrong("a boolean", "Boolean", value)
    return value


_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ANY_UUID: Final = re.compile(
    r"\{(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}\}|(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}", re.IGNORECASE
)


def _parse_uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise ValueError(f"invalid value for type 'uuid': '{shown(text)}'")
    return text


def _uuid_literal(value: object) -> Cell:
    if not isinstance(value, str):
        raise wrong("a string", "uuid", value)
    if not _ANY_UUID.fullmatch(value):
        raise ValueError(f"invalid value for type 'uuid': '{shown(value)}'")
    digits = value.strip("{}").replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _moment(name: str, read: Callable[[str], Cell]) -> Callable[[object], Cell]:
    def literal(value: object) -> Cell:
        if not isinstance(value, str):
            raise wrong("a string", name, value)
        return read(value)

    return literal


def _json_literal(value: object) -> Cell:
    try:
        return json_library.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, RecursionError, ValueError):
        raise ValueError("expected a JSON value") from None


# -- numbers and their text ---------------------------------------------------------------------------------------


def _parse_bool(text: str) -> bool:
    if text in ("t", "true"):  # RisingWave and Materialize may spell it out
        return True
    if text in ("f", "false"):
        return False
    raise ValueError(f"invalid value for type 'Boolean': '{shown(text)}'")


# -- the table ----------------------------------------------------------------------------------------------------


def _same(cell: Cell) -> Cell:
    return cell


_NO_JSON: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')


def _raw_json(cell: Cell) -> str:
    text: str = cell  # line breaks are white space in JSON, and would break the framing of server-sent events
    if (
        "NaN" in text or "Infinity" in text
    ):  # Materialize's jsonb holds numerics, these too, and prints them bare
        text = _NO_JSON.sub(lambda found: found[0] if found[0][0] == '"' else f'"{found[0]}"', text)
    return text.replace("\n", " ").replace("\r", " ")


def _unsigned(name: str, bits: int) -> Scalar:
    """An integer of Materialize, which has a GraphQL scalar of its own name."""
    return Scalar(name, name, int, str, str, integer_literal(name, bits, signed=False), ORDERED)


def _pass(name: str, graphql: str) -> Scalar:
    if name in ("json", "jsonb"):
        return Scalar(name, graphql, str, _same, _raw_json, _json_literal, NULLNESS)
    return Scalar(name, graphql, str, _same, encode_basestring, _text_literal(graphql), NULLNESS)


def _build() -> dict[str, Scalar]:
    f4, f8 = float_text(6), float_text(15)
    quoted = encode_basestring
    rows = [
        Scalar(
            "bool",
            "Boolean",
            _parse_bool,
            lambda c: "t" if c else "f",
            lambda c: "true" if c else "false",
            _bool_literal,
            ORDERED,
        ),
        Scalar("int2", "smallint", int, str, str, integer_literal("smallint", 16), ORDERED),
        Scalar("int4", "Int", int, str, str, integer_literal("Int", 32), ORDERED),
        Scalar("int8", "bigint", int, str, str, integer_literal("bigint", 64), ORDERED),
        _unsigned("uint2", 16),
        _unsigned("uint4", 32),
        _unsigned("uint8", 64),
        _unsigned("mz_timestamp", 64),
        Scalar(
            "float4",
            "Float",
            parse_float,
            f4,
            quoting_specials(f4),
            float_literal("Float", False),
            ORDERED,
            loose=True,
        ),
        Scalar(
            "float8",
            "float8",
            parse_float,
            f8,
            quoting_specials(f8),
            float_literal("float8", True),
            ORDERED,
            loose=True,
        ),
        Scalar(
            "numeric",
            "numeric",
            parse_numeric,
            numeric_text,
            numeric_json,
            numeric_literal,
            ORDERED,
            loose=True,
        ),
        Scalar("text", "String", str, _same, quoted, _text_literal("String"), ORDERED | PATTERNS),
        Scalar("varchar", "String", str, _same, quoted, _text_literal("String"), ORDERED | PATTERNS),
        Scalar("uuid", "uuid", _parse_uuid, _same, lambda c: f'"{c}"', _uuid_literal, ORDERED),
        Scalar(
            "date",
            "date",
            cal.parse_date,
            cal.date_text,
            cal.date_json,
            _moment("date", cal.read_date),
            ORDERED,
        ),
        Scalar(
            "time",
            "time",
            cal.parse_time,
            cal.time_text,
            cal.time_json,
            _moment("time", cal.read_time),
            ORDERED,
        ),
        Scalar(
            "timestamp",
            "timestamp",
            cal.parse_timestamp,
            cal.timestamp_text,
            cal.timestamp_json,
            _moment("timestamp", cal.read_timestamp),
            ORDERED,
        ),
        Scalar(
            "timestamptz",
            "timestamptz",
            cal.parse_timestamptz,
            cal.timestamptz_text,
            cal.timestamptz_json,
            _moment("timestamptz", cal.read_timestamptz),
            ORDERED,
        ),
    ]
    names = "json jsonb bpchar bytea interval timetz money inet cidr macaddr macaddr8 bit varbit xml name oid citext point ltree hstore tsvector int4range int8range numrange tsrange tstzrange daterange"
    # Materialize's; lists and maps are common names for tables, so their GraphQL names keep out of the way
    rows += [_pass("list", "mz_list"), _pass("map", "mz_map")]
    return {scalar.name: scalar for scalar in rows} | {name: _pass(name, name) for name in names.split()}


SCALARS: Final[dict[str, Scalar]] = _build()

_ALIASES: Final = {
    "boolean": "bool", "smallint": "int2", "integer": "int4", "int": "int4", "bigint": "int8", "serial": "int4",
    "bigserial": "int8", "smallserial": "int2", "real": "float4", "double precision": "float8", "float": "float8",
    "decimal": "numeric", "character varying": "varchar", "character": "bpchar", "char": "bpchar",
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
    "time without time zone": "time", "time with time zone": "timetz", "bit varying": "varbit",
}  # fmt: skip

# The type names of a configuration file and the SQL types each accepts; the first is meant where none is known.
CONFIG_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "Integer": ("int4", "int2", "int8", "uint2", "uint4", "uint8"),
    "BigInt": ("int8", "int4", "int2", "uint2", "uint4", "uint8", "mz_timestamp"),
    "Float": ("float8", "float4", "numeric"),
    "Numeric": ("numeric", "int8", "int4", "int2", "uint2", "uint4", "uint8"),
    "String": ("text", "varchar", "bpchar", "citext", "name"),
    "UUID": ("uuid",),
    "Timestamp": ("timestamp", "timestamptz"),
    "Date": ("date",),
    "Time": ("time", "timetz"),
    "Boolean": ("bool",),
    "JSON": ("jsonb", "json"),
    "Array": ("_text", "list", *(f"_{name}" for name in SCALARS if name != "text")),
}


def scalar_for(sql_type: str) -> Scalar:
    """The scalar of any SQL type name, as ``pg_type`` or ``format_type`` writes it; an unknown one passes through."""
    return _scalar(_canonical(sql_type))


def config_scalar(type_name: str) -> Scalar | None:
    """The scalar a configuration means: one of ``CONFIG_TYPES`` or a known SQL type; None for anything else."""
    if type_name in CONFIG_TYPES:
        return _scalar(CONFIG_TYPES[type_name][0])
    name = _canonical(type_name)
    return _scalar(name) if name.removeprefix("_") in SCALARS else None


def _canonical(sql_type: str) -> str:
    name = " ".join(sql_type.split())
    array = name.endswith("[]")
    while name.endswith("[]"):
        name = name[:-2].rstrip()
    if '"' not in name:
        name = " ".join(re.sub(r"\([^()]*\)", " ", name.lower()).split())
    name = name.removeprefix("pg_catalog.")
    if name.startswith("interval "):
        name = "interval"
    elif name.endswith(" list") and '"' not in name:  # Materialize spells types that have no name: int4 list
        name = "list"
    elif name.startswith("map["):
        name = "map"
    name = _ALIASES.get(name, name)
    return f"_{name}" if array else name


@cache
def _scalar(name: str) -> Scalar:
    if name in SCALARS:
        return SCALARS[name]
    taken = {s.graphql for s in SCALARS.values() if s.operators != NULLNESS} | {"ID", "json", "jsonb"}
    last = _graphql_name(name.rsplit(".", 1)[-1])
    # A user's own type called uuid must not pose as the built-in one.
    return _pass(name, _graphql_name(name) if last in taken else last)


def _graphql_name(name: str) -> str:
    clean = re.sub(r"[^0-9A-Za-z_]+", "_", name.replace('"', ""))
    clean = re.sub(r"^_{2,}", "_", clean) or "_"  # two underscores belong to introspection
    return f"_{clean}" if clean[0].isdigit() else clean


@cache
def stringified(scalar: Scalar) -> Scalar:
    """``scalar`` with its numbers as JSON strings, where a browser would lose digits of them (Hasura's list, and ours)."""
    if scalar.name not in ("int8", "numeric", "float8", "uint8", "mz_timestamp"):
        return scalar
    text = scalar.text
    return replace(scalar, json=lambda cell: f'"{text(cell)}"')


def enum_scalar(name: str, labels: Sequence[str], on_unlisted: Callable[[str], None]) -> Scalar:
    """An enum: cells are places in ``labels``; an unlisted label becomes None and is reported once."""
    places = {label: place for place, label in enumerate(labels)}
    listed = tuple(labels)
    written = tuple(encode_basestring(label) for label in labels)
    reported: set[str] = set()

    def parse(text: str) -> Cell:
        place = places.get(text)
        # A bound: a column that is no enum at all must not fill the memory with its labels.
        if place is None and text not in reported and len(reported) < 10_000:
            reported.add(text)
            on_unlisted(text)
        return place

    def literal(value: object) -> Cell:
        if not isinstance(value, str):
            raise wrong(f"one of {', '.join(listed)}", name, value)
        if value not in places:
            raise ValueError(
                f"expected one of {', '.join(listed)} for type '{name}', but found '{shown(value)}'"
            )
        return places[value]

    return Scalar(
        name,
        _graphql_name(name),
        parse,
        listed.__getitem__,
        written.__getitem__,
        literal,
        ORDERED,
        enum=listed,
    )

"""ONE table: SQL type → cell, text, comparison, operators, JSON and GraphQL scalar.

Cells are chosen so that Python's own ``==``, ``<`` and ``hash`` are PostgreSQL's: text is ``str`` (code points, that
is ``COLLATE "C"``), numeric is ``Decimal``, dates and times are integers, infinities are ``float`` infinities, and
NaN is the singleton ``NAN``, equal to itself and larger than everything. An interval or a padded text is a number or a
string with something beside it that only its text shows, a jsonb a string that compares by what it means. No sort key is needed anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from json.encoder import encode_basestring
from typing import Final

from tycostream import array_text as arrays
from tycostream import calendar_text as cal
from tycostream import interval_text as intervals
from tycostream import network_text as net
from tycostream import string_text as strings
from tycostream.json_text import Document, document
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
    element: Scalar | None = None  # of an array: what it holds

    @property
    def comparison(self) -> str:
        """The name of the input type that compares it."""
        kind = f"{self.element.graphql}_array" if self.element is not None else self.graphql
        return f"{kind}_comparison_exp"

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels of an enum, or of the enum that an array holds."""
        return (self.element or self).enum


ORDERED: Final = frozenset({"_eq", "_neq", "_gt", "_gte", "_lt", "_lte", "_in", "_nin", "_is_null"})
PATTERNS: Final = frozenset(
    f"_{no}{name}" for no in ("", "n") for name in ("like", "ilike", "similar", "regex", "iregex")
)
CONTAINMENT: Final = frozenset({"_contains", "_contained_in"})
DOCUMENTS: Final = frozenset({"_has_key", "_has_keys_any", "_has_keys_all", "_cast"})
NULLNESS: Final = frozenset({"_is_null"})  # what can be said of any type's cells


def _moment(name: str, read: Callable[[str], Cell]) -> Callable[[object], Cell]:
    def literal(value: object) -> Cell:
        if not isinstance(value, str):
            raise wrong("a string", name, value)
        return read(value)

    return literal


def _parse_bool(text: str) -> bool:
    if text in ("t", "true"):  # RisingWave and Materialize may spell it out
        return True
    if text in ("f", "false"):
        return False
    raise ValueError(f"invalid value for type 'Boolean': '{shown(text)}'")


def _bool_literal(value: object) -> Cell:
    if not isinstance(value, bool):
        raise wrong("a boolean", "Boolean", value)
    return value


def _same(cell: Cell) -> Cell:
    return cell


# -- the table ----------------------------------------------------------------------------------------------------


def _integer(name: str, graphql: str, bits: int, *, signed: bool = True) -> Scalar:
    return Scalar(name, graphql, int, str, str, integer_literal(graphql, bits, signed=signed), ORDERED)


def _text(name: str, graphql: str) -> Scalar:
    return Scalar(name, graphql, str, _same, encode_basestring, strings.text_literal(graphql), ORDERED)


def _pass(name: str, graphql: str) -> Scalar:
    """A type whose text is handed through, and never compared."""
    return replace(_text(name, graphql), operators=NULLNESS)


def _numbers() -> Iterator[Scalar]:
    yield _integer("int2", "smallint", 16)
    yield _integer("int4", "Int", 32)
    yield _integer("int8", "bigint", 64)
    for name, bits in (("uint2", 16), ("uint4", 32), ("uint8", 64), ("mz_timestamp", 64)):  # Materialize's
        yield _integer(name, name, bits, signed=False)
    yield replace(_integer("oid", "oid", 32, signed=False), json=lambda cell: f'"{cell}"')
    for name, graphql, text in (("float4", "Float", float_text(6)), ("float8", "float8", float_text(15))):
        literal = float_literal(graphql, name == "float8")
        yield Scalar(name, graphql, parse_float, text, quoting_specials(text), literal, ORDERED, loose=True)
    yield Scalar(
        "numeric", "numeric", parse_numeric, numeric_text, numeric_json, numeric_literal, ORDERED, loose=True
    )


def _moments() -> Iterator[Scalar]:
    for name, parse, text, json, read in (
        ("date", cal.parse_date, cal.date_text, cal.date_json, cal.read_date),
        ("time", cal.parse_time, cal.time_text, cal.time_json, cal.read_time),
        ("timetz", cal.read_timetz, cal.timetz_text, cal.timetz_json, cal.read_timetz),
        ("timestamp", cal.parse_timestamp, cal.timestamp_text, cal.timestamp_json, cal.read_timestamp),
        ("timestamptz", cal.parse_timestamptz, cal.timestamptz_text, cal.timestamptz_json, cal.read_timestamptz),
    ):  # fmt: skip
        yield Scalar(name, name, parse, text, json, _moment(name, read), ORDERED)
    yield Scalar(
        "interval",
        "interval",
        intervals.parse_interval,
        intervals.interval_text,
        intervals.interval_json,
        _moment("interval", intervals.read_interval),
        ORDERED,
        loose=True,
    )


def _strings() -> Iterator[Scalar]:
    for name in ("text", "varchar"):
        yield replace(_text(name, "String"), operators=ORDERED | PATTERNS)
    literal = strings.read_literal
    yield replace(_text("name", "name"), literal=literal("name", strings.read_name))
    yield Scalar(
        "bpchar",
        "bpchar",
        strings.parse_bpchar,
        strings.bpchar_text,
        strings.bpchar_json,
        literal("bpchar", strings.parse_bpchar),
        ORDERED | PATTERNS,
        loose=True,
    )
    plain: Callable[[Cell], str] = lambda cell: f'"{cell}"'  # noqa: E731 - nothing in it to escape
    yield Scalar(
        "uuid", "uuid", strings.parse_uuid, _same, plain, literal("uuid", strings.read_uuid), ORDERED
    )
    yield Scalar(
        "bytea",
        "bytea",
        strings.parse_bytea,
        strings.bytea_text,
        strings.bytea_json,
        literal("bytea", strings.read_bytea),
        ORDERED,
    )
    for name in ("bit", "varbit"):
        parse, read = strings.bit_parser(name), strings.bit_reader(name)
        yield Scalar(name, name, parse, _same, plain, literal(name, read), ORDERED)


def _documents() -> Iterator[Scalar]:
    operators = ORDERED | CONTAINMENT | DOCUMENTS
    yield Scalar("jsonb", "jsonb", Document, str, strings.raw_json, document, operators, loose=True)


def _addresses() -> Iterator[Scalar]:
    for name, parse, text in (
        ("inet", net.parse_inet, net.inet_text),
        ("cidr", net.parse_cidr, net.cidr_text),
    ):
        yield Scalar(name, name, parse, text, _quoting(text), strings.read_literal(name, parse), ORDERED)
    for name, octets in (("macaddr", 6), ("macaddr8", 8)):
        write = net.mac_text(octets)
        literal = strings.read_literal(name, net.mac_reader(name, octets))
        yield Scalar(name, name, net.mac_parser(name, octets), write, _quoting(write), literal, ORDERED)


def _quoting(text: Callable[[Cell], str]) -> Callable[[Cell], str]:
    return lambda cell: f'"{text(cell)}"'


# Types without an exact comparison here. citext compares by its database's locale, money's text is that of another
# setting; a range's bounds and a shape's tolerance are rules of their own.
_PASSED: Final = (
    "money", "citext", "xml", "ltree", "tsvector", "tsquery", "jsonpath", "pg_lsn", "xid", "xid8", "tid",
    "point", "line", "lseg", "box", "path", "polygon", "circle",
    "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
    "int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange",
)  # fmt: skip


def _unordered() -> Iterator[Scalar]:
    yield Scalar("json", "json", str, _same, strings.raw_json, document, NULLNESS)
    yield replace(_pass("hstore", "hstore"), parse=strings.parse_hstore, json=strings.hstore_json)
    # Materialize's; lists and maps are common names for tables, so their GraphQL names keep out of the way
    yield _pass("list", "mz_list")
    yield _pass("map", "mz_map")
    for name in _PASSED:
        yield _pass(name, name)


def _build() -> dict[str, Scalar]:
    boolean = Scalar(
        "bool",
        "Boolean",
        _parse_bool,
        lambda c: "t" if c else "f",
        lambda c: "true" if c else "false",
        _bool_literal,
        ORDERED,
    )
    rows = [boolean, *_numbers(), *_moments(), *_strings(), *_addresses(), *_documents(), *_unordered()]
    return {scalar.name: scalar for scalar in rows}


SCALARS: Final[dict[str, Scalar]] = _build()


def array_of(element: Scalar) -> Scalar:
    """The array of a scalar, of any dimensions: a list in GraphQL, as Hasura has it."""
    delimiter = ";" if element.name == "box" else ","
    graphql = f"[{element.graphql}!]"
    read = arrays.array_reader(element.literal, delimiter)

    def literal(value: object) -> Cell:
        # a string is PostgreSQL's own form: session variables and what passes through a scalar have no other
        try:
            if isinstance(value, str):
                return read(value)
            if isinstance(value, (list, tuple)):
                return arrays.of_list(value, element.literal)
        except ValueError as error:
            raise ValueError(f"invalid value for type '{graphql}': {error}") from None
        raise wrong("a list", graphql, value)

    return Scalar(
        f"_{element.name}" if element.name in SCALARS else f"{element.name}[]",
        graphql,
        arrays.array_parser(element.parse, delimiter),
        arrays.array_text(element.text, delimiter),
        arrays.array_json(element.json),
        literal,
        ORDERED | CONTAINMENT if element.operators >= ORDERED else NULLNESS,
        loose=element.loose,
        element=element,
    )


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
    "Array": ("_text", "list", *(f"_{name}" for name in SCALARS if name != "text")),  # and of any other type
}


def scalar_for(sql_type: str) -> Scalar:
    """The scalar of any SQL type name, as ``pg_type`` or ``format_type`` writes it; an unknown one passes through."""
    return _scalar(_canonical(sql_type))


def config_scalar(type_name: str) -> Scalar | None:
    """The scalar a configuration means: one of ``CONFIG_TYPES`` or a known SQL type; None for anything else."""
    if type_name in CONFIG_TYPES:
        return _scalar(CONFIG_TYPES[type_name][0])
    name = _canonical(type_name)
    return _scalar(name) if name.removesuffix("[]").removeprefix("_") in SCALARS else None


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
    if not array:
        return name
    # pg_type's own name, where no other type can have it
    return f"_{name}" if name in SCALARS else f"{name}[]"


@cache
def _scalar(name: str) -> Scalar:
    if name in SCALARS:
        return SCALARS[name]
    if name.endswith("[]"):
        return array_of(_scalar(name[:-2]))
    if name[:1] == "_" and name[1:] in SCALARS:
        return array_of(_scalar(name[1:]))
    taken = {s.graphql for s in SCALARS.values() if s.operators != NULLNESS} | {"ID", "json", "jsonb"}
    last = _graphql_name(name.rsplit(".", 1)[-1])
    # A user's own type called uuid must not pose as the built-in one.
    return _pass(name, _graphql_name(name) if last in taken else last)


def _graphql_name(name: str) -> str:
    clean = re.sub(r"[^0-9A-Za-z_]+", "_", name.replace('"', ""))
    clean = re.sub(r"^_{2,}", "_", clean) or "_"  # two underscores belong to introspection
    return f"_{clean}" if clean[0].isdigit() else clean


# Types whose cells equal each other as PostgreSQL says: the cells' own comparison is the same for all of a family.
_FAMILIES: Final = (
    frozenset({"int2", "int4", "int8", "numeric", "uint2", "uint4", "uint8"}),
    frozenset({"text", "varchar"}),
)


def joinable(ours: Scalar, theirs: Scalar) -> bool:
    """Whether cells of the two equal each other exactly where PostgreSQL says that the values do."""
    if "_eq" not in ours.operators or "_eq" not in theirs.operators:
        return False
    if any(ours.name in family and theirs.name in family for family in _FAMILIES):
        return True
    return ours.name == theirs.name and ours.labels == theirs.labels


@cache
def stringified(scalar: Scalar) -> Scalar:
    """``scalar`` with its numbers as JSON strings, where a browser would lose digits of them (Hasura's list, and ours)."""
    if scalar.element is not None:
        element = stringified(scalar.element)
        return scalar if element is scalar.element else replace(scalar, json=arrays.array_json(element.json))
    if scalar.name not in ("int8", "numeric", "float8", "uint8", "mz_timestamp"):
        return scalar
    text = scalar.text
    return replace(scalar, json=lambda cell: f'"{text(cell)}"')


def enum_scalar(name: str, labels: Sequence[str], on_unlisted: Callable[[str], None] | None) -> Scalar:
    """An enum: cells are places in ``labels``; an unlisted label becomes None and is reported once.

    Without ``on_unlisted`` it does not parse: in a key it would make one row of several.
    """
    places = {label: place for place, label in enumerate(labels)}
    listed = tuple(labels)
    written = tuple(encode_basestring(label) for label in labels)
    reported: set[str] = set()

    def parse(text: str) -> Cell:
        place = places.get(text)
        if place is None:
            if on_unlisted is None:
                raise ValueError(f"expected one of {', '.join(listed)}")
            # A bound: a column that is no enum at all must not fill the memory with its labels.
            if text not in reported and len(reported) < 10_000:
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

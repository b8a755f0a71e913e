"""Materialize's SQL types: names, OIDs and type modifiers."""

from __future__ import annotations

import re
from typing import Final

from tycostream.testing.sql_types import SqlType

# name in mz_types → (OID, name in mz_columns.type)
TYPES: Final[dict[str, tuple[int, str]]] = {
    "bool": (16, "boolean"),
    "bytea": (17, "bytea"),
    "char": (18, '"char"'),
    "int8": (20, "bigint"),
    "int2": (21, "smallint"),
    "int4": (23, "integer"),
    "text": (25, "text"),
    "oid": (26, "oid"),
    "float4": (700, "real"),
    "float8": (701, "double precision"),
    "bpchar": (1042, "character"),
    "varchar": (1043, "character varying"),
    "date": (1082, "date"),
    "time": (1083, "time"),
    "timestamp": (1114, "timestamp without time zone"),
    "timestamptz": (1184, "timestamp with time zone"),
    "interval": (1186, "interval"),
    "numeric": (1700, "numeric"),
    "uuid": (2950, "uuid"),
    "jsonb": (3802, "jsonb"),
    "list": (16384, "list"),
    "map": (16385, "map"),
    "uint2": (16460, "uint2"),
    "uint4": (16462, "uint4"),
    "uint8": (16464, "uint8"),
    "mz_timestamp": (16552, "mz_timestamp"),
    "mz_aclitem": (16566, "mz_aclitem"),
    "_bool": (1000, "boolean[]"),
    "_bytea": (1001, "bytea[]"),
    "_int2": (1005, "smallint[]"),
    "_int4": (1007, "integer[]"),
    "_text": (1009, "text[]"),
    "_varchar": (1015, "character varying[]"),
    "_int8": (1016, "bigint[]"),
    "_float4": (1021, "real[]"),
    "_float8": (1022, "double precision[]"),
    "_timestamp": (1115, "timestamp without time zone[]"),
    "_date": (1182, "date[]"),
    "_timestamptz": (1185, "timestamp with time zone[]"),
    "_numeric": (1231, "numeric[]"),
    "_uuid": (2951, "uuid[]"),
    "_jsonb": (3807, "jsonb[]"),
    "_uint2": (16461, "uint2[]"),
    "_uint4": (16463, "uint4[]"),
    "_uint8": (16465, "uint8[]"),
    "_mz_timestamp": (16553, "mz_timestamp[]"),
}
_ALIASES: Final = {long: short for short, (_, long) in TYPES.items()} | {
    "int": "int4",
    "string": "text",
    "float": "float8",
    "double": "float8",
    "decimal": "numeric",
    "json": "jsonb",
    "timestamp with time zone": "timestamptz",
}


def sql_type(text: str) -> SqlType:
    """The type that ``text`` names, e.g. ``numeric(10,2)``, ``integer``, ``text[]``; ValueError if there is none."""
    plain = " ".join(text.lower().split())
    if plain.startswith("map["):
        plain = "map"
    elif plain.endswith(" list"):
        plain = "list"
    typmod = -1
    if found := re.search(r"\s*\((\d+)(?:\s*,\s*(\d+))?\)", plain):
        first, second = int(found[1]), int(found[2] or 0)
        plain = plain.replace(found[0], "", 1)
        base = plain.removesuffix("[]")
        is_number = _ALIASES.get(base, base) == "numeric"
        typmod = ((first << 16) | second) + 4 if is_number else first + 4
    array = plain.endswith("[]")
    base = plain.removesuffix("[]").strip()
    name = ("_" if array else "") + _ALIASES.get(base, base)
    if name not in TYPES:
        raise ValueError(f"Materialize has no type {text!r}, as far as the fake knows")
    oid, shown = TYPES[name]
    return SqlType(name, oid, typmod, shown)

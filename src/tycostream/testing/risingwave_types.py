"""RisingWave's SQL types: names as its catalogue writes them, and OIDs."""

from __future__ import annotations

from typing import Final

from tycostream.testing.sql_types import SqlType

# short name → (OID, the array's OID, name in rw_columns.data_type)
_TYPES: Final[dict[str, tuple[int, int, str]]] = {
    "bool": (16, 1000, "boolean"),
    "bytea": (17, 1001, "bytea"),
    "int8": (20, 1016, "bigint"),
    "int2": (21, 1005, "smallint"),
    "int4": (23, 1007, "integer"),
    "float4": (700, 1021, "real"),
    "float8": (701, 1022, "double precision"),
    "varchar": (1043, 1015, "character varying"),
    "date": (1082, 1182, "date"),
    "time": (1083, 1183, "time without time zone"),
    "timestamp": (1114, 1115, "timestamp without time zone"),
    "timestamptz": (1184, 1185, "timestamp with time zone"),
    "interval": (1186, 1187, "interval"),
    "numeric": (1700, 1231, "numeric"),
    "jsonb": (3802, 3807, "jsonb"),
    "serial": (20, 1016, "serial"),
    "rw_int256": (1301, 1302, "rw_int256"),
    "struct": (2249, 2287, "struct"),
    "map": (1303, 1304, "map"),
    "vector": (1305, 1306, "vector"),
}
_ALIASES: Final = {long: short for short, (_, _, long) in _TYPES.items()} | {
    "int": "int4",
    "text": "varchar",
    "string": "varchar",
    "float": "float8",
    "double": "float8",
    "decimal": "numeric",
    "time": "time",
    "timestamp": "timestamp",
}
OIDS: Final = {name: oid for name, (oid, _, _) in _TYPES.items()} | {
    f"_{name}": oid for name, (_, oid, _) in _TYPES.items()
}
TEXT_OID: Final = 1043  # whatever is text is a varchar


def sql_type(text: str) -> SqlType:
    """The type that ``text`` names, e.g. ``integer``, ``text[]``, ``struct<a int, b text>``, ``map(text,int)``.

    ValueError if RisingWave has none.
    """
    plain = " ".join(text.lower().split())
    depth = 0
    while plain.endswith("[]"):
        plain, depth = plain[:-2].strip(), depth + 1
    if plain.startswith("struct<") and plain.endswith(">"):
        short, shown = "struct", f"struct<{', '.join(map(_member, _parts(plain[7:-1])))}>"
    elif plain.startswith("map(") and plain.endswith(")"):
        short, shown = "map", f"map({','.join(sql_type(part).shown for part in _parts(plain[4:-1]))})"
    elif plain.startswith("vector("):
        short, shown = "vector", plain
    else:
        short = _ALIASES.get(plain, plain)
        if short not in _TYPES or short in ("struct", "map", "vector"):
            raise ValueError(f"RisingWave has no type {text!r}, as far as the fake knows")
        shown = _TYPES[short][2]
    oid, array_oid, _ = _TYPES[short]
    if not depth:
        return SqlType(short, oid, -1, shown)
    return SqlType(f"_{short}", array_oid, -1, shown + "[]" * depth)  # lists of lists have the list's OID


def inner_types(text: str) -> list[str]:
    """The types of a struct's members, or of a map's keys and values, as ``text`` names them."""
    if text.startswith("struct<"):
        return [part.partition(" ")[2] for part in _parts(text[7:-1])]
    return _parts(text[4:-1])


def _member(text: str) -> str:
    name, _, kind = text.partition(" ")
    return f"{name} {sql_type(kind).shown}"


def _parts(text: str) -> list[str]:
    """What commas separate, but not those inside brackets."""
    found, start, depth = [], 0, 0
    for place, sign in enumerate(text):
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(sign, 0)
        if sign == "," and not depth:
            found.append(text[start:place].strip())
            start = place + 1
    return [*found, text[start:].strip()]

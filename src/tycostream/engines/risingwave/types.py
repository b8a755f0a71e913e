"""RisingWave's types by their OIDs: PostgreSQL's, and some of its own."""

from __future__ import annotations

from typing import Final

from psycopg.postgres import types as _known

# A 256-bit integer is exact as a numeric. What has no scalar of ours passes through as RisingWave prints it.
_OWN: Final = {
    1301: "numeric",
    1302: "numeric[]",
    1303: "map",
    1304: "map[]",
    1305: "vector",
    1306: "vector[]",
    1307: "variant",
    1308: "variant[]",
    2249: "struct",
    2287: "struct[]",
}


def type_name(oid: int) -> str:
    """The name of a type; one that nobody knows is a text."""
    if oid in _OWN:
        return _OWN[oid]
    known = _known.get(oid)
    if known is None:
        return "text"
    return known.name if known.oid == oid else f"{known.name}[]"

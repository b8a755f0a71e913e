"""What a Bind message brings: formats and arguments."""

from __future__ import annotations

import struct
from typing import Final

from tycostream.testing.pgwire_messages import WireError

_BINARY_INTEGERS: Final = {20: ">q", 21: ">h", 23: ">i", 26: ">I"}
TEXT_OIDS: Final = frozenset({0, 25, 1042, 1043})  # of which the binary format is the text


def shorts(data: bytes, place: int) -> tuple[tuple[int, ...], int]:
    """A counted list of 16 bit numbers, and the place after it."""
    (count,) = struct.unpack_from(">h", data, place)
    return struct.unpack_from(f">{count}h", data, place + 2), place + 2 + 2 * count


def argument(data: bytes, oid: int, binary: bool) -> str:
    """An argument's text; 0A000 for a binary one that is not understood."""
    if not binary or oid in TEXT_OIDS:
        return data.decode()
    if oid in _BINARY_INTEGERS:
        return str(struct.unpack(_BINARY_INTEGERS[oid], data)[0])
    if oid == 16:
        return "true" if data != b"\0" else "false"
    raise WireError("0A000", f"a binary parameter of type {oid} is not supported")

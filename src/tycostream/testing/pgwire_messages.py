"""PostgreSQL's protocol messages, from the server to the client, as bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Cells = Sequence[str | None]

_SIZES: Final = {16: 1, 18: 1, 20: 8, 21: 2, 23: 4, 26: 4, 700: 4, 701: 8, 1082: 4, 1083: 8, 1114: 8, 1184: 8}


class WireError(Exception):
    """An ErrorResponse. ``fatal`` closes the connection after it."""

    def __init__(
        self, code: str, message: str, *, detail: str = "", hint: str = "", fatal: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.hint = hint
        self.fatal = fatal


@dataclass(frozen=True, slots=True)
class Field:
    """A result column: its name, type OID and type modifier."""

    name: str
    oid: int = 25
    typmod: int = -1


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One protocol message."""
    return kind + struct.pack(">i", len(body) + 4) + body


def text(value: str) -> bytes:
    """A string with its end mark."""
    return value.encode() + b"\0"


def error_body(severity: str, error: WireError) -> bytes:
    """The fields of an ErrorResponse or NoticeResponse."""
    pairs = [("S", severity), ("V", severity), ("C", error.code), ("M", error.message)]
    pairs += [("D", error.detail)] if error.detail else []
    pairs += [("H", error.hint)] if error.hint else []
    return b"".join(key.encode() + text(value) for key, value in pairs) + b"\0"


def row_description(fields: Sequence[Field]) -> bytes:
    """A RowDescription."""
    body = struct.pack(">h", len(fields))
    for field in fields:
        size = _SIZES.get(field.oid, -1)
        body += text(field.name) + struct.pack(">ihihih", 0, 0, field.oid, size, field.typmod, 0)
    return message(b"T", body)


def data_row(cells: Cells) -> bytes:
    """A DataRow in text format."""
    parts = [struct.pack(">h", len(cells))]
    for cell in cells:
        if cell is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            data = cell.encode()
            parts.append(struct.pack(">i", len(data)) + data)
    return message(b"D", b"".join(parts))


_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
)


def copy_line(cells: Cells) -> bytes:
    """A row in COPY's text format, with its newline."""
    return ("\t".join("\\N" if cell is None else cell.translate(_ESCAPES) for cell in cells) + "\n").encode()

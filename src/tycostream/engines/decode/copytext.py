r"""COPY … TO STDOUT in text format: bytes → cells. Pure.

A line is a row, a tab parts its cells, ``\N`` is NULL, and a backslash escapes. The server escapes every tab,
newline and backslash of a value, so a line without a backslash is split and done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code in _LETTERS:
        return _LETTERS[code]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return code


def unescaped(cells: Sequence[str]) -> list[str | None]:
    """The values that cells as they stand in a line stand for."""
    return [
        cell if "\\" not in cell else None if cell == "\\N" else _ESCAPE.sub(_unescape, cell)
        for cell in cells
    ]


def decode_line(line: bytes, width: int) -> list[str | None]:
    """The cells of one line (without its newline); ValueError if it is not UTF-8 or has not ``width`` cells."""
    text = line.decode()
    if width == 0 and not text:
        return []
    cells = text.split("\t")
    if len(cells) != width:
        raise ValueError(f"a line with {len(cells)} cells where {width} were due")
    return unescaped(cells) if "\\" in text else [*cells]


class CopyLines:
    """Cuts a COPY stream into lines, wherever its chunks end."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now."""
        # The usual chunk is one whole line: libpq hands out one CopyData, and the server puts one row into each.
        if not self._rest and chunk.count(b"\n") == 1 and chunk.endswith(b"\n"):
            return [chunk[:-1]]
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return lines

    def finish(self) -> None:
        """The stream has ended; ValueError if that was inside a line."""
        if self._rest:
            raise ValueError("the COPY stream ended inside a line")

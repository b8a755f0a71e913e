"""Tuples of pgoutput straight to cells: one generated function for each shape, and no object in between. Pure.

What it does not read it refuses with an exception of the parsers' kind; ``pgoutput.decode`` says then what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from tycostream.rows import UNCHANGED, Cell, Column, Repeats, Row

Read = Callable[[bytes, int], tuple[Row, int]]
"""The cells of the tuple that begins at a place, and where it ends. ValueError, ArithmeticError or LookupError."""

_REPEATING: Final = frozenset({"text", "varchar", "name", "citext"})
# Nine cells of ten are a text shorter than this: one look-up tells the kind and the length.
_SHORT: Final = {b"t" + n.to_bytes(4): n for n in range(256)}
_LENGTH: Final = struct.Struct("!I")


def _odd(data: bytes, at: int) -> tuple[Cell, int]:
    """Any cell, as bytes, and where the next one begins."""
    kind = data[at]
    if kind == 0x6E:  # n
        return None, at + 1
    if kind == 0x75:  # u
        return UNCHANGED, at + 1
    if kind != 0x74:  # t
        raise ValueError(f"a cell of kind {kind:#x}")
    (length,) = _LENGTH.unpack_from(data, at + 1) if len(data) >= at + 5 else (len(data),)
    end: int = at + 5 + length
    if end > len(data):
        raise ValueError("a value is cut off")
    return data[at + 5 : end], end


def tuple_reader(places: Sequence[int], columns: Sequence[Column], width: int) -> Read:
    """How a relation of ``width`` columns becomes a row of ``columns``, which are at ``places`` in it.

    The code holds places and names of ours only, never a text of the catalogue's.
    """
    names: dict[str, Any] = {"short": _SHORT.get, "odd": _odd, "str": str, "len": len, "bytes": bytes}
    names |= {"count": width.to_bytes(2), "ValueError": ValueError}
    cells = [
        _cell(i, place, column, names) for i, (place, column) in enumerate(zip(places, columns, strict=True))
    ]
    lines = [
        "def read(d, a):",
        " if d[a:a+2] != count: raise ValueError('other columns')",
        " a += 2; plain = True",
    ]
    for place in range(width):
        lines.append(" n = short(d[a:a+5])")
        if place in places:
            lines.append(f" if n is None: s{place}, a = odd(d, a); plain = False")
            lines.append(f" else: b = a + 5; a = b + n; s{place} = d[b:a]")
        else:
            lines.append(" if n is None: n, a = odd(d, a)")
            lines.append(" else: a += 5 + n")
    lines.append(" if a > len(d): raise ValueError('a value is cut off')")
    guarded = [
        f"{cell} if s{place}.__class__ is bytes else s{place}"
        for cell, place in zip(cells, places, strict=True)
    ]
    lines.append(f" if plain: return ({''.join(cell + ',' for cell in cells)}), a")
    lines.append(f" return ({''.join(cell + ',' for cell in guarded)}), a")
    exec("\n".join(lines), {"__builtins__": {}, **names}, names)  # noqa: S102 - our own text
    read: Read = names["read"]
    return read


def _cell(i: int, place: int, column: Column, names: dict[str, Any]) -> str:
    parse = column.scalar.parse
    if parse is int:
        names["int"] = int  # of bytes too
        return f"int(s{place})"
    text = f"str(s{place}, 'utf-8')"
    if parse is str and column.scalar.name not in _REPEATING:
        return text
    names[f"p{i}"] = Repeats().__getitem__ if parse is str and column.scalar.name in _REPEATING else parse
    return f"p{i}({text})"

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.engines.decode.copytext import CopyLines, decode_line

VALUES = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def encode(cells: list[str | None]) -> bytes:
    """As the server writes it (CopyAttributeOutText)."""
    escapes = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    texts = ["\\N" if cell is None else "".join(escapes.get(c, c) for c in cell) for cell in cells]
    return "\t".join(texts).encode() + b"\n"


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3)), st.integers(1, 50))
def test_what_the_server_writes_reads_back_wherever_chunks_end(
    rows: list[list[str | None]], size: int
) -> None:
    data = b"".join(encode(row) for row in rows)
    lines = CopyLines()
    found = []
    for start in range(0, len(data), size):
        found += [decode_line(line, 3) for line in lines.feed(data[start : start + size])]
    lines.finish()
    assert found == rows


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        (rb"a	\N	", ["a", None, ""]),
        (rb"\\N	\t	\x41\101\q", ["\\N", "\t", "AAq"]),
    ],
)
def test_escapes(line: bytes, cells: list[str | None]) -> None:
    assert decode_line(line, 3) == cells


def test_a_table_without_columns() -> None:
    assert decode_line(b"", 0) == []
    assert decode_line(b"", 1) == [""]


@pytest.mark.parametrize("line", [b"a", b"a\tb\tc", b"\xff\tb"])
def test_a_wrong_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_line(line, 2)


def test_a_cut_stream_is_refused() -> None:
    lines = CopyLines()
    assert lines.feed(b"a\nb") == [b"a"]
    with pytest.raises(ValueError, match="inside a line"):
        lines.finish()

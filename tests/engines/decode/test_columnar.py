"""Columns read many at once against their scalars, one text at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.calendar_text import parse_timestamptzs
from tycostream.engines.decode.columnar import column_reader
from tycostream.rows import Cell, Column, Repeats
from tycostream.scalars import SCALARS

TEXTS = {
    "int8": ["0", "-1", "9223372036854775807"],
    "numeric": ["0", "1.0", "1.00", "-0.5", "NaN", "1e-7", "123456789012345678901234567890.123456789"],
    "timestamptz": [
        "2026-11-24 16:00:00.123456+00", "2026-11-24 16:00:00+00", "2026-11-24 16:00:00.5+00", "infinity",
        "0044-03-15 12:00:00+00 BC", "2026-11-24 16:00:00.123456+02", "12026-11-24 16:00:00.123456+00",
    ],
    "bool": ["t", "f"],
    "text": ["", "ACME", "x" * 100],
}  # fmt: skip


def cells_of(name: str, blocks: Sequence[Sequence[str]]) -> list[list[Cell]]:
    read = column_reader(Column("c", SCALARS[name]))
    return [list(read(texts)) for texts in blocks]


@pytest.mark.parametrize("name", TEXTS)
@given(st.data())
def test_a_column_reads_as_its_texts_do(name: str, data: st.DataObject) -> None:
    blocks = data.draw(st.lists(st.lists(st.sampled_from(TEXTS[name]), max_size=8), max_size=4))
    scalar = SCALARS[name]
    for texts, cells in zip(blocks, cells_of(name, blocks), strict=True):
        assert cells == [scalar.parse(text) for text in texts]
        assert [scalar.text(cell) for cell in cells] == [scalar.text(scalar.parse(text)) for text in texts]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("numeric", "1,5"),
        ("int8", "1.5"),
        ("bool", "maybe"),
        ("timestamptz", "2026-11-24 16:00:00.12345x+00"),
    ],
)
def test_a_text_that_does_not_read_is_an_error_wherever_it_stands(name: str, text: str) -> None:
    for before in (1, 2_000):
        read = column_reader(Column("c", SCALARS[name]))
        list(read([TEXTS[name][0]] * before))
        with pytest.raises((ValueError, ArithmeticError)):
            list(read([TEXTS[name][0], text]))


STAMPS = st.one_of(
    st.datetimes().map(lambda moment: f"{moment:%Y-%m-%d %H:%M:%S.%f}+00".rjust(29, "0")),
    st.text(alphabet="0123456789 :-.+", min_size=29, max_size=29),
    st.sampled_from([text for text in TEXTS["timestamptz"] if len(text) >= 29]),
)


@given(st.lists(STAMPS, max_size=4))
def test_many_moments_read_as_each_does(texts: list[str]) -> None:
    def outcome(read: Callable[[], list[Cell]]) -> list[Cell] | None:
        try:
            return read()
        except ValueError:
            return None

    each = outcome(lambda: [SCALARS["timestamptz"].parse(text) for text in texts])
    assert outcome(lambda: list(parse_timestamptzs(texts))) == each


def test_what_repeats_is_one_cell() -> None:
    first, second = cells_of("int8", [["1000000", "2000000"], ["2000000", "1000000"]])
    assert first[0] is second[1]
    assert first[1] is second[0]


def fresh(start: int, count: int) -> list[str]:
    return [str(number) for number in range(start, start + count)]


def shared(cells: Sequence[Cell]) -> bool:
    return all(a is b for a, b in zip(cells[::2], cells[1::2], strict=True))


def test_texts_that_are_all_new_are_not_remembered_but_tried_again_later() -> None:
    read, pairs = (
        column_reader(Column("c", SCALARS["int8"])),
        [text for text in fresh(10**6, 500) for _ in "ab"],
    )
    assert shared(list(read(pairs)))
    list(read(fresh(10**7, 8_000)))
    for _ in range(100):
        assert not shared(list(read(pairs))), "for 100,000 texts"
    assert shared(list(read(pairs))), "and then they are"


def test_texts_of_now_take_the_place_of_those_of_the_past() -> None:
    """A moment that each transaction has a few times: there are more moments than the table holds."""
    read = column_reader(Column("c", SCALARS["int8"]))
    for number in range(3 * Repeats.ENTRIES_MAX):
        cells = list(read([str(10**9 + number)] * 20))
        assert all(cell is cells[0] for cell in cells)

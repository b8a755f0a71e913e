"""The quick ways to a cell's text against the plain ones."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from tycostream.calendar_text import timestamp_json, timestamp_text, timestamptz_json
from tycostream.number_text import NAN, numeric_json, numeric_text
from tycostream.rows import same_text

MOMENTS = st.integers(-211_813_488_000_000_000, 9_223_371_331_200_000_000) | st.integers(-(10**16), 10**16)
NUMBERS = st.decimals(allow_nan=False) | st.builds(
    lambda digits, scale: Decimal(digits).scaleb(-scale), st.integers(-1000, 1000), st.integers(-9, 20)
)


@given(MOMENTS, st.sampled_from([1, 10, 1000, 10**5, 10**6, 60 * 10**6]))
@example(0, 1)
@example(-1, 1)
@example(-62_135_596_800_000_000, 1)
@example(-62_135_596_800_000_001, 1)
def test_moments(cell: int, unit: int) -> None:
    cell -= cell % unit
    assert timestamp_json(cell) == f'"{timestamp_text(cell, "T")}"'
    assert timestamptz_json(cell) == f'"{timestamp_text(cell, "T", "+00:00")}"'


@given(NUMBERS)
@example(Decimal("0E-20"))
@example(Decimal("1E+5"))
@example(Decimal("-0"))
def test_numbers(cell: Decimal) -> None:
    text = format(cell, "f")
    assert numeric_text(cell) == text
    assert numeric_json(cell) == (text if cell.is_finite() else f'"{text}"')


def test_what_is_no_number() -> None:
    assert numeric_text(NAN) == "NaN"
    assert numeric_json(NAN) == '"NaN"'
    assert numeric_json(Decimal("-Infinity")) == '"-Infinity"'


@given(NUMBERS, st.integers(-3, 3))
@example(Decimal("0.00"), 1)
def test_equal_numbers_of_one_text(cell: Decimal, shift: int) -> None:
    other = cell
    if cell.is_finite() and abs(int(cell.as_tuple().exponent)) < 100 and len(cell.as_tuple().digits) < 20:
        other = cell.quantize(Decimal(1).scaleb(int(cell.as_tuple().exponent) - abs(shift)))
    assert cell == other
    assert same_text(cell, other, numeric_text) is (numeric_text(cell) == numeric_text(other))
    assert same_text(Decimal("0"), Decimal("-0"), numeric_text) is False

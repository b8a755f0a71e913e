"""Numbers as PostgreSQL prints and reads them: exact integers, numeric, the two floats, and NaN."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from tycostream.rows import Cell


class _NaN:
    """PostgreSQL's NaN: equal to itself and larger than every number, so cells sort and hash as in the server."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NAN"

    def __reduce__(self) -> str:
        return "NAN"

    def __float__(self) -> float:
        return math.nan

    def __lt__(self, other: object) -> bool:
        return False if _comparable(other) else NotImplemented

    def __le__(self, other: object) -> bool:
        return other is self if _comparable(other) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return other is not self if _comparable(other) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return True if _comparable(other) else NotImplemented


def _comparable(other: object) -> bool:
    return isinstance(other, (int, float, Decimal, _NaN))


NAN: Final = _NaN()

_LARGEST_BITS: Final = 0x7F7FFFFF  # of a single
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]{1,40}\s*")
_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,9})?\s*", re.IGNORECASE)
_SPECIAL: Final = {
    "nan": NAN,
    "inf": math.inf,
    "+inf": math.inf,
    "infinity": math.inf,
    "+infinity": math.inf,
    "-inf": -math.inf,
    "-infinity": -math.inf,
}


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float, Decimal)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "null" if value is None else "an object"


def wrong(what: str, name: str, value: object) -> ValueError:
    """A literal of the wrong kind, as a sentence."""
    return ValueError(f"expected {what} for type '{name}', but found {_kind(value)}")


def shown(value: object) -> str:
    """A value for a message: cut, and never a number of a million digits."""
    text = str(value) if not isinstance(value, int) or abs(value) < 10**60 else "a very long number"
    return text if len(text) <= 60 else text[:60] + "…"


def _range(name: str, value: object) -> ValueError:
    return ValueError(f"value {shown(value)} is out of range for type '{name}'")


def integer_literal(name: str, bits: int, *, signed: bool = True) -> Callable[[object], Cell]:
    """The reader of integer literals of so many bits."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def literal(value: object) -> Cell:
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str) and _INTEGER.fullmatch(value):
            number = int(value)
        elif isinstance(value, (float, Decimal)) and _is_finite(value):
            # Compared before int(): a Decimal of a huge exponent must not be written out.
            if not low <= value <= high:
                raise _range(name, value)
            if value != int(value):
                raise ValueError(f"expected an integer for type '{name}', but found a number with a fraction")
            number = int(value)
        else:
            raise wrong("an integer", name, value)
        if not low <= number <= high:
            raise _range(name, number)
        return number

    return literal


def _is_finite(value: float | Decimal) -> bool:
    """math.isfinite takes a Decimal for a float first: 1e400 would be infinite."""
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _number(name: str, value: object) -> Cell:
    """A literal as an exact Decimal, NAN or a float infinity."""
    if isinstance(value, str):
        special = _SPECIAL.get(value.strip().lower())
        if special is not None:
            return special
        if not _NUMBER.fullmatch(value):
            raise wrong("a number", name, value)
        return Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise wrong("a number", name, value)
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal) and value.is_nan():  # a signalling one must not even be compared
        return NAN
    if not _is_finite(value):
        return NAN if value != value else math.copysign(math.inf, value)
    return Decimal(repr(value)) if isinstance(value, float) else value


def numeric_literal(value: object) -> Cell:
    """A literal as a cell of numeric."""
    number = _number("numeric", value)
    if isinstance(number, float):
        return Decimal(number)
    if isinstance(number, Decimal):
        exponent = number.as_tuple().exponent
        if number.adjusted() > 131_071 or (isinstance(exponent, int) and exponent < -16_383):
            raise _range("numeric", value)
        return number if number else number.copy_abs()
    return number


def float_literal(name: str, double: bool) -> Callable[[object], Cell]:
    """The reader of literals of float8 (``double``) or float4."""

    def literal(value: object) -> Cell:
        number = _number(name, value)
        if not isinstance(number, Decimal):
            return number
        cell = float(number)
        if math.isinf(cell) or (cell == 0 and number):
            raise _range(name, value)
        return cell if double or not cell else _single(number, value)

    return literal


def _single(number: Decimal, value: object) -> float:
    """The cell of ``number::real``: the shortest text of the nearest single, as the server would print it."""
    single = nearest_single(Fraction(number))
    if single == 0 or math.isinf(single):
        raise _range("Float", value)
    return single


def nearest_single(number: Fraction) -> float:
    """The cell of the single that is nearest to ``number``; 0 or an infinity if that is what is nearest."""
    exact = abs(number)
    if exact >= 2**128:
        return math.inf if number > 0 else -math.inf
    near = float(exact)
    (bits,) = struct.unpack("<i", struct.pack("<f", min(near, _of_bits(_LARGEST_BITS))))
    # Rounding twice, to double and to single, can be off by one place: ask the neighbours.
    best = min(
        (bits, bits - 1, bits + 1), key=lambda b: abs(Fraction(_of_bits(b)) - exact) if b >= 0 else 2**200
    )
    sign = 1.0 if number >= 0 else -1.0
    if best == 0 or best > _LARGEST_BITS:
        return sign * (math.inf if best else 0.0)
    single = _of_bits(best)
    low = (Fraction(_of_bits(best - 1)) + Fraction(single)) / 2
    high = (Fraction(single) + Fraction(_of_bits(best + 1))) / 2
    for digits in range(9):
        text = f"{single:.{digits}e}"
        # Below a power of two the gap is half as wide: the nearest digits may miss it, and the next ones up not.
        unit = Fraction(10) ** (int(text[text.index("e") + 1 :]) - digits)
        for shortest in (Fraction(text), Fraction(text) + unit):
            if low < shortest < high:
                return math.copysign(float(shortest), sign)
    return math.copysign(single, sign)


def _of_bits(bits: int) -> float:
    if bits > _LARGEST_BITS:
        return 2.0**128  # what the next single would be; packing it fails, comparing with it does not
    (single,) = struct.unpack("<f", struct.pack("<i", max(bits, 0)))
    return float(single)


def parse_numeric(text: str) -> Cell:
    """The server's text of a numeric, its scale kept."""
    if text == "NaN":
        return NAN
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"invalid value for type 'numeric': '{shown(text)}'") from None


def parse_numerics(texts: Sequence[str]) -> Iterable[Cell]:
    """``parse_numeric`` of many, lazily, without a call of ours for each; ValueError or InvalidOperation."""
    return map(parse_numeric, texts) if "NaN" in texts else map(Decimal, texts)


def numeric_text(cell: Cell) -> str:
    """The server's text of a numeric."""
    text = str(cell)  # three times as fast as formatting, and the same unless it chose an exponent
    return text if text[-1] <= "9" and "E" not in text else "NaN" if cell is NAN else format(cell, "f")


def numeric_json(cell: Cell) -> str:
    """``to_json``: a bare number, and NaN and the infinities as strings."""
    text = str(cell)
    if text[-1] <= "9" and "E" not in text:
        return text
    return format(cell, "f") if cell is not NAN and cell.is_finite() else f'"{numeric_text(cell)}"'


def parse_float(text: str) -> Cell:
    """The server's text of either float."""
    cell = float(text)
    return cell if cell == cell else NAN


def float_text(widest: int) -> Callable[[Cell], str]:
    """The server prints an exponent from 10^15 (float8) and 10^6 (float4) on; Python from 10^16 on."""

    fixed = 10.0**widest

    def text(cell: Cell) -> str:
        if cell is NAN:
            return "NaN"
        if 1e-4 <= abs(cell) < fixed:
            return repr(cell).removesuffix(".0")
        if math.isinf(cell):
            return "Infinity" if cell > 0 else "-Infinity"
        shortest = repr(cell)
        if widest == 15 and 2.0**53 <= abs(cell) < 1e42:
            shortest = _strictly_inside(cell)
        sign, digits, exponent = Decimal(shortest).as_tuple()
        if not any(digits):
            return "-0" if sign else "0"
        assert isinstance(exponent, int)
        figures = "".join(map(str, digits)).rstrip("0")
        point = len(digits) + exponent - 1
        minus = "-" if sign else ""
        if point < -4 or point >= widest:
            rest = f".{figures[1:]}" if len(figures) > 1 else ""
            return f"{minus}{figures[0]}{rest}e{'-' if point < 0 else '+'}{abs(point):02}"
        if point < 0:
            return f"{minus}0.{'0' * (-point - 1)}{figures}"
        if len(figures) <= point + 1:
            return minus + figures.ljust(point + 1, "0")
        return f"{minus}{figures[: point + 1]}.{figures[point + 1 :]}"

    return text


def _strictly_inside(cell: float) -> str:
    """The shortest digits strictly between the midpoints to the neighbours: PostgreSQL refuses the midpoint, which
    Python's repr accepts (1e23). Only integers from 2^53 on have midpoints that short."""
    value = abs(cell)
    whole = int(value)
    low = whole + int(math.nextafter(value, 0.0))  # twice the midpoints
    high = whole + int(math.nextafter(value, math.inf))
    for zeros in range(len(str(whole)), -1, -1):
        unit = 10**zeros
        down = whole // unit * unit
        inside = [c for c in (down, down + unit) if low < 2 * c < high]
        if inside:
            best = min(inside, key=lambda c: (abs(c - whole), c // unit % 2))
            return f"-{best}" if cell < 0 else str(best)
    return repr(cell)


def quoting_specials(text: Callable[[Cell], str]) -> Callable[[Cell], str]:
    """``to_json``: bare numbers, and NaN and the infinities as strings."""

    def write(cell: Cell) -> str:
        written = text(cell)
        return f'"{written}"' if written[-1] in "Ny" else written

    return write

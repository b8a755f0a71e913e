"""PostgreSQL's division and square root of ``numeric``: which digits a quotient has is part of its answer."""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, FloatOperation, Inexact, InvalidOperation
from math import isqrt
from typing import Final

# Wide enough for any sum and product of numerics: what would not be exact raises, and is not rounded in silence.
EXACT: Final = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, FloatOperation]
)
_SIGNIFICANT_MIN: Final = 16  # NUMERIC_MIN_SIG_DIGITS
_SCALE_MAX: Final = 1000  # NUMERIC_MAX_DISPLAY_SCALE
_GROUP: Final = 4  # the server counts in digits of base 10,000


def scaled(value: Decimal, scale: int) -> int:
    """``value`` in units of 10^-scale, which must be whole."""
    return int(EXACT.scaleb(value, scale))


def decimal(units: int, scale: int) -> Decimal:
    """``units`` × 10^-scale, with that many digits behind the point."""
    return EXACT.scaleb(Decimal(units), -scale)


def quotient(units: int, scale: int, divisor: int) -> Decimal:
    """``units`` × 10^-scale / ``divisor`` (a positive whole number), rounded where ``numeric`` rounds it, half away from zero."""
    digits = _quotient_scale(units, scale, divisor)
    shift = digits - scale
    over, under = (abs(units) * 10**shift, divisor) if shift >= 0 else (abs(units), divisor * 10**-shift)
    rounded = (2 * over + under) // (2 * under)
    return decimal(-rounded if units < 0 else rounded, digits)


def root(value: Decimal) -> Decimal:
    """The square root of a value that is not negative, with as many digits behind the point, half away from zero."""
    scale = scale_of(value)
    square = scaled(value, 2 * scale)
    below = isqrt(square)
    return decimal(below + (square - below * below > below), scale)


def scale_of(value: Decimal) -> int:
    """How many digits a finite value has behind the point."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def _quotient_scale(units: int, scale: int, divisor: int) -> int:
    """The server's select_div_scale: sixteen significant digits at least, and no fewer than the dividend has."""
    weight, first = _leading(units, scale)
    weight_below, first_below = _leading(divisor, 0)
    estimate = weight - weight_below - (first <= first_below)
    return min(max(_SIGNIFICANT_MIN - estimate * _GROUP, scale, 0), _SCALE_MAX)


def _leading(units: int, scale: int) -> tuple[int, int]:
    """The weight and the value of the first digit of base 10,000 that is not zero; of zero both are 0."""
    if not units:
        return 0, 0
    weight = (Decimal(units).adjusted() - scale) // _GROUP
    shift = scale + weight * _GROUP
    return weight, abs(units) // 10**shift if shift >= 0 else abs(units) * 10**-shift

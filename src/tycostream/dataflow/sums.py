"""Sums of numbers that lose nothing: to remove a number undoes exactly what adding it did, in any order.

Integers and ``numeric`` are what PostgreSQL says, to the last digit. Floats are summed as the exact binary fractions
that they are, as whole numbers of a unit that shrinks as far as it must; only the result is rounded, once. The server
rounds at every row, so that its own sum depends on the order in which it meets them.
"""

from __future__ import annotations

import math
import struct
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Final, Protocol

from tycostream.dataflow.division import EXACT, decimal, quotient, root, scale_of, scaled
from tycostream.number_text import NAN, nearest_single
from tycostream.rows import Cell

_LARGEST: Final = sys.float_info.max
_SHIFT_MAX: Final = 1023  # 2.0**1024 is no float
_SINGLE: Final = struct.Struct("<f")


class Sums(Protocol):
    """Of one column's cells, none of them NULL. What a result of no cells is, is NULL."""

    def add(self, cell: Cell) -> None:
        """One cell more."""

    def remove(self, cell: Cell) -> None:
        """One cell less: one that was added."""

    def replace(self, old: Cell, new: Cell) -> None:
        """``remove`` and ``add``."""

    def total(self) -> Cell:
        """``sum``."""

    def mean(self) -> Cell:
        """``avg``."""

    def spread(self, *, sample: bool, deviation: bool) -> Cell:
        """``var_samp`` (NULL of one cell too), ``var_pop``, and their square roots. Needs ``squares``."""


class Integers:
    """Sums of whole numbers; means and spreads are ``numeric``."""

    __slots__ = ("_count", "_squared", "_squares", "_total")

    def __init__(self, *, squares: bool) -> None:
        self._count = self._total = self._squared = 0
        self._squares = squares

    def add(self, cell: Cell) -> None:
        """See Sums."""
        self._count += 1
        self._total += cell
        if self._squares:
            self._squared += cell * cell

    def remove(self, cell: Cell) -> None:
        """See Sums."""
        self._count -= 1
        self._total -= cell
        if self._squares:
            self._squared -= cell * cell

    def replace(self, old: Cell, new: Cell) -> None:
        """See Sums."""
        self._total += new - old
        if self._squares:
            self._squared += new * new - old * old

    def total(self) -> Cell:
        """See Sums."""
        return self._total if self._count else None

    def mean(self) -> Cell:
        """See Sums."""
        return quotient(self._total, 0, self._count) if self._count else None

    def spread(self, *, sample: bool, deviation: bool) -> Cell:
        """See Sums."""
        if self._count <= sample:
            return None
        return _spread(self._count, self._total, self._squared, 0, sample=sample, deviation=deviation)


def _spread(count: int, total: int, squared: int, scale: int, *, sample: bool, deviation: bool) -> Decimal:
    """From sums in units of 10^-scale and its square, as ``numeric`` does it: one division, and then the root."""
    over = count * squared - total * total
    if over <= 0:
        return Decimal(0)
    variance = quotient(over, 2 * scale, count * (count - sample))
    return root(variance) if deviation else variance


class _Specials:
    """What is no finite number, counted apart: it cannot be subtracted again from a sum."""

    __slots__ = ("_downs", "_nans", "_ups")

    def __init__(self) -> None:
        self._nans = self._ups = self._downs = 0

    def _special(self, cell: Cell, by: int) -> None:
        if cell is NAN:
            self._nans += by
        elif cell > 0:
            self._ups += by
        else:
            self._downs += by

    def _without_sum(self, infinity: Cell) -> Cell:
        """What the sum is because of them: an infinity or NaN; None if there are none."""
        if self._nans or (self._ups and self._downs):
            return NAN
        if self._ups or self._downs:
            return infinity if self._ups else -infinity
        return None


class Numerics(_Specials):
    """Sums of ``numeric``; a result has as many digits behind the point as the server gives it."""

    __slots__ = ("_alike", "_count", "_like", "_like_scale", "_scales", "_squared", "_squares", "_total")

    def __init__(self, *, squares: bool) -> None:
        super().__init__()
        self._count = 0
        self._total = self._squared = Decimal(0)
        self._squares = squares
        # How many cells have which scale. Most columns have one: those like the first cell are counted without asking.
        self._like: Decimal | None = None
        self._like_scale = self._alike = 0
        self._scales: dict[int, int] = {}

    def add(self, cell: Cell) -> None:
        """See Sums."""
        self._count += 1
        if type(cell) is not Decimal or not cell.is_finite():
            self._special(cell, 1)
            return
        self._total = EXACT.add(self._total, cell)
        if self._squares:
            self._squared = EXACT.add(self._squared, EXACT.multiply(cell, cell))
        if self._like is None:
            self._like, self._like_scale = cell, scale_of(cell)
        if cell.same_quantum(self._like):
            self._alike += 1
        else:
            scale = scale_of(cell)
            self._scales[scale] = self._scales.get(scale, 0) + 1

    def remove(self, cell: Cell) -> None:
        """See Sums."""
        self._count -= 1
        if type(cell) is not Decimal or not cell.is_finite():
            self._special(cell, -1)
            return
        self._total = EXACT.subtract(self._total, cell)
        if self._squares:
            self._squared = EXACT.subtract(self._squared, EXACT.multiply(cell, cell))
        if self._like is not None and cell.same_quantum(self._like):
            self._alike -= 1
        else:
            scale = scale_of(cell)
            self._scales[scale] -= 1
            if not self._scales[scale]:
                del self._scales[scale]

    def replace(self, old: Cell, new: Cell) -> None:
        """See Sums."""
        like = self._like
        if (
            like is None
            or not (type(old) is type(new) is Decimal)
            or not (old.same_quantum(like) and new.same_quantum(like))  # so both are finite
        ):
            self.remove(old)
            self.add(new)
            return
        self._total = EXACT.add(self._total, EXACT.subtract(new, old))
        if self._squares:
            more = EXACT.subtract(EXACT.multiply(new, new), EXACT.multiply(old, old))
            self._squared = EXACT.add(self._squared, more)

    def _scale(self) -> int:
        """The largest scale of a cell."""
        if not self._scales:
            return self._like_scale if self._alike else 0
        return max(*self._scales, self._like_scale if self._alike else 0)

    def total(self) -> Cell:
        """See Sums."""
        if not self._count:
            return None
        special = self._without_sum(Decimal("Infinity"))
        if special is not None:
            return special
        if not self._scales and self._like is not None and self._total.same_quantum(self._like):
            return self._total
        scale = self._scale()
        return decimal(scaled(self._total, scale), scale)

    def mean(self) -> Cell:
        """See Sums."""
        if not self._count:
            return None
        special = self._without_sum(Decimal("Infinity"))
        if special is not None:
            return special
        scale = self._scale()
        return quotient(scaled(self._total, scale), scale, self._count)

    def spread(self, *, sample: bool, deviation: bool) -> Cell:
        """See Sums."""
        if self._count <= sample:
            return None
        if self._nans or self._ups or self._downs:
            return NAN
        scale = self._scale()
        total, squared = scaled(self._total, scale), scaled(self._squared, 2 * scale)
        return _spread(self._count, total, squared, scale, sample=sample, deviation=deviation)


class Floats(_Specials):
    """Sums of ``float8``. A sum too large for one is an infinity, where the server would refuse."""

    __slots__ = ("_count", "_shift", "_squared", "_squares", "_total", "_unit")

    def __init__(self, *, squares: bool) -> None:
        super().__init__()
        self._count = self._total = self._squared = 0
        self._squares = squares
        self._shift = 0  # sums count units of 2^-shift, squares those of 2^-2·shift
        self._unit = 1.0  # 2^shift

    def add(self, cell: Cell) -> None:
        """See Sums."""
        self._count += 1
        if -_LARGEST <= cell <= _LARGEST:
            units = cell * self._unit
            whole = int(units) if units.is_integer() else self._whole(cell)
            self._total += whole
            if self._squares:
                self._squared += whole * whole
        else:
            self._special(cell, 1)

    def remove(self, cell: Cell) -> None:
        """See Sums."""
        self._count -= 1
        if -_LARGEST <= cell <= _LARGEST:
            units = cell * self._unit
            whole = int(units) if units.is_integer() else self._whole(cell)
            self._total -= whole
            if self._squares:
                self._squared -= whole * whole
        else:
            self._special(cell, -1)

    def replace(self, old: Cell, new: Cell) -> None:
        """See Sums."""
        self.remove(old)
        self.add(new)

    def _whole(self, cell: float) -> int:
        """``cell`` in units, which become smaller if it is no whole number of them."""
        over, under = cell.as_integer_ratio()
        shift = under.bit_length() - 1
        if shift > self._shift:
            finer = shift - self._shift
            self._total <<= finer
            self._squared <<= 2 * finer
            self._shift = shift
            self._unit = 2.0**shift if shift <= _SHIFT_MAX else math.inf
        return over << self._shift - shift

    def total(self) -> Cell:
        """See Sums."""
        return self._over(1)

    def mean(self) -> Cell:
        """See Sums."""
        return self._over(self._count)

    def _over(self, count: int) -> Cell:
        if not self._count:
            return None
        special = self._without_sum(math.inf)
        return _ratio(self._total, count << self._shift) if special is None else special

    def spread(self, *, sample: bool, deviation: bool) -> Cell:
        """See Sums."""
        count = self._count
        if count <= sample:
            return None
        if self._nans or self._ups or self._downs:
            return NAN
        over = count * self._squared - self._total * self._total
        variance = _ratio(over, count * (count - sample) << 2 * self._shift)
        return math.sqrt(variance) if deviation else variance


def _ratio(over: int, under: int) -> float:
    """The float nearest to the quotient: what Python's division of whole numbers is, but for what is too large."""
    try:
        return over / under
    except OverflowError:
        return math.inf if over > 0 else -math.inf


class Singles(Floats):
    """Sums of ``float4``: its cells are the shortest texts of what the server holds, the sum is one again."""

    __slots__ = ()

    def add(self, cell: Cell) -> None:
        """See Sums."""
        super().add(_held(cell))

    def remove(self, cell: Cell) -> None:
        """See Sums."""
        super().remove(_held(cell))

    def total(self) -> Cell:
        """See Sums."""
        total = super().total()
        if total is None or total is NAN or math.isinf(total):
            return total
        return nearest_single(Fraction(self._total, 1 << self._shift))


def _held(cell: Cell) -> Cell:
    return cell if cell is NAN else _SINGLE.unpack(_SINGLE.pack(cell))[0]

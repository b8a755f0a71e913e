"""Intervals as PostgreSQL compares, prints and reads them: months, days and microseconds, kept apart.

A month counts as 30 days and a day as 24 hours when two intervals are compared, so that ``1 mon``, ``30 days`` and
``720:00:00`` are equal and have three texts.
"""

from __future__ import annotations

import re
from typing import Final

from tycostream.calendar_text import DAY, MINUTE, SECOND

_HOUR: Final = 60 * MINUTE
_MONTHS: Final = range(-(2**31), 2**31)
_DAYS: Final = _MONTHS
_MICROS: Final = range(-(2**63), 2**63)


class Interval(int):
    """An interval: the number is its length in microseconds, which is all that comparing and hashing look at.

    So these run at the speed of ``int``; what the text needs besides hangs on the object.
    """

    months: int
    days: int

    def __new__(cls, months: int, days: int, micros: int) -> Interval:
        """From PostgreSQL's own three fields."""
        self = super().__new__(cls, (months * 30 + days) * DAY + micros)
        self.months = months
        self.days = days
        return self

    @property
    def micros(self) -> int:
        """The part below a day, as it was given: it may be longer than a day."""
        return int(self) - (self.months * 30 + self.days) * DAY


# PostgreSQL's own representation: all three fields at their ends. Nothing else is as long.
INFINITY: Final = Interval(_MONTHS[-1], _DAYS[-1], _MICROS[-1])
MINUS_INFINITY: Final = Interval(_MONTHS[0], _DAYS[0], _MICROS[0])
_INFINITIES: Final = {"infinity": INFINITY, "+infinity": INFINITY, "-infinity": MINUS_INFINITY}

_ISO: Final = re.compile(
    r"P(?:(-?\d{1,10})Y)?(?:(-?\d{1,10})M)?(?:(-?\d{1,10})W)?(?:(-?\d{1,10})D)?"
    r"(?:T(?:(-?\d{1,10})H)?(?:(-?\d{1,12})M)?(?:(-?)(\d{1,15})(?:\.(\d{1,6}))?S)?)?",
    re.ASCII,
)
_PART: Final = re.compile(
    r"(?P<clock>[+-]?\d{1,10}:\d{1,2}(?::\d{1,2}(?:\.\d{1,6})?)?)(?=\s|$)|"
    r"(?P<number>[+-]?\d{1,10})(?P<fraction>\.\d{1,6})?\s*(?P<unit>[a-z]+)(?=\s|$)|(?P<ago>ago)$",
    re.ASCII | re.IGNORECASE,
)
# unit → the field of (months, days, micros) that it counts in, and how many of that
_UNITS: Final[dict[str, tuple[int, int]]] = {
    name: (place, factor)
    for place, factor, names in (
        (0, 12, "y yr yrs year years"),
        (0, 1, "mon mons month months"),
        (1, 7, "w week weeks"),
        (1, 1, "d day days"),
        (2, _HOUR, "h hr hrs hour hours"),
        (2, MINUTE, "m min mins minute minutes"),
        (2, SECOND, "s sec secs second seconds"),
    )
    for name in names.split()
}
_EXAMPLE: Final = "'P1Y2M3DT4H5M6.5S' or '1 year 2 months 3 days 04:05:06.5'"


def parse_interval(text: str) -> Interval:
    """``P1Y2M3DT4H5M6.5S`` (IntervalStyle iso_8601), or the style of Materialize and RisingWave, → the cell."""
    found = _ISO.fullmatch(text)
    if found is None or len(text) < 3:
        return read_interval(text)
    years, months, weeks, days, hours, minutes, sign, seconds, fraction = found.groups("0")
    micros = int(seconds) * SECOND + int(fraction.ljust(6, "0"))
    if sign == "-":
        micros = -micros
    return _checked(
        text,
        int(years) * 12 + int(months),
        int(weeks) * 7 + int(days),
        int(hours) * _HOUR + int(minutes) * MINUTE + micros,
    )


def read_interval(text: str) -> Interval:
    """An interval in whole units, seconds with up to six decimals; ValueError for anything else.

    PostgreSQL spreads a fraction of a month over days, and has more words for units: those are refused, not guessed.
    """
    text = text.strip()
    if (infinite := _INFINITIES.get(text.lower())) is not None:
        return infinite
    if _ISO.fullmatch(text) and text[-1] not in "PT":
        return parse_interval(text)
    fields, seen, at = [0, 0, 0], set[int](), 1 if text[:1] == "@" else 0
    end = len(text)
    while at < end:
        if text[at].isspace():
            at += 1
            continue
        part = _PART.match(text, at)
        if part is None or 0 in seen:  # 0: ago, which is the last word
            raise _invalid(text)
        _add(part, fields, seen, text)
        at = part.end()
    if not seen - {0}:
        raise _invalid(text)
    return _checked(text, *fields)


def _add(part: re.Match[str], fields: list[int], seen: set[int], text: str) -> None:
    """Add one part to (months, days, micros); ``seen`` holds the sizes of the units that came before."""
    if part["ago"]:
        fields[:] = [-field for field in fields]
        seen.add(0)
        return
    if part["clock"]:
        sign = -1 if part["clock"][0] == "-" else 1
        hours, minutes, *rest = part["clock"].lstrip("+-").split(":")
        seconds, _, fraction = (rest[0] if rest else "0").partition(".")
        if int(minutes) > 59 or int(seconds) > 59 or seen & {_HOUR, MINUTE, SECOND}:
            raise _invalid(text)
        seen |= {_HOUR, MINUTE, SECOND}
        micros = int(hours) * _HOUR + int(minutes) * MINUTE + int(seconds) * SECOND
        fields[2] += sign * (micros + int(fraction.ljust(6, "0")))
        return
    unit = _UNITS.get(part["unit"].lower())
    if unit is None:
        raise _invalid(text)
    place, factor = unit
    size = factor if place == 2 else factor * DAY * (30 if place == 0 else 1)
    if size in seen or (part["fraction"] and factor != SECOND):
        raise _invalid(text)
    seen.add(size)
    fields[place] += int(part["number"]) * factor
    if part["fraction"]:
        micros = int(part["fraction"][1:].ljust(6, "0"))
        fields[2] += -micros if part["number"][0] == "-" else micros


def _checked(text: str, months: int, days: int, micros: int) -> Interval:
    if months not in _MONTHS or days not in _DAYS or micros not in _MICROS:
        raise _invalid(text, "it is out of range")
    return Interval(months, days, micros)


def _invalid(text: str, why: str = f"expected a form like {_EXAMPLE}") -> ValueError:
    shown = text if len(text) <= 60 else text[:60] + "…"
    return ValueError(f"invalid value for type 'interval': '{shown}': {why}")


def _toward_zero(value: int, unit: int) -> tuple[int, int]:
    """Quotient and remainder with the sign of ``value``, as C divides."""
    quotient, rest = divmod(abs(value), unit)
    return (-quotient, -rest) if value < 0 else (quotient, rest)


def interval_text(cell: Interval) -> str:
    """The server's text under IntervalStyle iso_8601."""
    micros = cell.micros
    if not (cell.months or cell.days or micros):
        return "PT0S"
    if cell.months in (_MONTHS[0], _MONTHS[-1]) and cell in (INFINITY, MINUS_INFINITY):
        return "infinity" if cell > 0 else "-infinity"
    years, months = _toward_zero(cell.months, 12)
    text = "P"
    for number, unit in ((years, "Y"), (months, "M"), (cell.days, "D")):
        if number:
            text += f"{number}{unit}"
    if micros:
        hours, micros = _toward_zero(micros, _HOUR)
        minutes, micros = _toward_zero(micros, MINUTE)
        text += "T" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
        if micros:
            seconds, fraction = divmod(abs(micros), SECOND)
            rest = f".{fraction:06}".rstrip("0") if fraction else ""
            text += f"{'-' if micros < 0 else ''}{seconds}{rest}S"
    return text


def interval_json(cell: Interval) -> str:
    """``to_json``: the text."""
    return f'"{interval_text(cell)}"'

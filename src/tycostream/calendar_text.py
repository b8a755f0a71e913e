"""Dates and times as PostgreSQL counts, prints and reads them: proleptic Gregorian, BC years, years above 9999.

Python's ``datetime`` ends at years 1 and 9999, so the civil arithmetic is our own. A date is its days since
1970-01-01, a time its microseconds since midnight, a timestamp its microseconds since 1970-01-01 (UTC); infinities
are ``float`` infinities, which compare with ``int`` exactly. A time with a zone is what the server compares, in that
order: its microseconds since midnight UTC (before and beyond that day too), and its zone's seconds west of Greenwich.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from operator import add, itemgetter
from typing import Final

Stamp = int | float  # float only for the two infinities

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 60 * MINUTE

# PostgreSQL's own limits: a literal outside them can equal no cell, and the server refuses it too.
_DATES: Final = range(-2_440_588, 2_147_483_494 - 2_440_588)
_STAMPS: Final = range(-211_813_488_000_000_000 + 10_957 * DAY, 9_223_371_331_200_000_000 + 10_957 * DAY)
_LONGEST_OFFSET: Final = 16 * 60 * MINUTE  # exclusive
_MOST_DAYS_CACHED: Final = 100_000  # 274 years; a bound, not a tuning knob
_MOST_MINUTES_CACHED: Final = 50_000  # 7 MB, and a month of moments
_MOST_MOMENTS_CACHED: Final = 20_000  # 2 MB; random moments gain nothing from more

_INFINITIES: Final = {
    "infinity": math.inf,
    "-infinity": -math.inf,
}
_RELATIVE: Final = frozenset({"now", "today", "tomorrow", "yesterday", "epoch", "allballs"})

_SIMPLE_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK_PATTERN: Final = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{0,30}))?)?"
)
_OFFSET_PATTERN: Final = r"(?:\s*(?P<utc>z|utc|gmt)|\s*(?P<sign>[+-])(?P<oh>\d{1,2})(?::(?P<om>\d{2})(?::(?P<os>\d{2}))?|(?P<hm>\d{2}))?)?"
_STAMP: Final = re.compile(
    r"(?P<year>\d{4,7})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    rf"(?:(?:\s+|t){_CLOCK_PATTERN}{_OFFSET_PATTERN})?(?:\s+(?P<era>bc|ad))?",
    re.ASCII | re.IGNORECASE,
)
_TIME: Final = re.compile(rf"t?{_CLOCK_PATTERN}{_OFFSET_PATTERN}", re.ASCII | re.IGNORECASE)


# -- civil arithmetic ---------------------------------------------------------------------------------------------


def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a proleptic Gregorian date; year 0 is 1 BC. ValueError for a day that is not."""
    if not (1 <= month <= 12 and 1 <= day <= _length(year, month)):
        raise ValueError("there is no such day")
    # Years that begin in March put the leap day last, so one formula serves all months.
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719_469


def civil_of(days: int) -> tuple[int, int, int]:
    """The (year, month, day) of a number of days since 1970-01-01: the inverse of ``days_of``."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    place = (5 * day_of_year + 2) // 153  # 0 is March
    month = place + 3 if place < 10 else place - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * place + 2) // 5 + 1


def _length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


# -- the server's text to cells: the ingest path, so common shapes are dictionary lookups -------------------------


class _Days(dict[str, int]):
    """Text of a day to its days × unit, remembered: rows that arrive together share few days."""

    def __init__(self, unit: int) -> None:
        super().__init__()
        self.unit = unit

    def __missing__(self, text: str) -> int:
        if not _SIMPLE_DATE.fullmatch(text) or text.startswith("0000"):
            raise KeyError(text)  # the slow path knows, or says what is wrong
        if len(self) >= _MOST_DAYS_CACHED:
            self.clear()
        try:
            days = days_of(int(text[:4]), int(text[5:7]), int(text[8:]))
        except ValueError:
            raise KeyError(text) from None
        self[text] = cell = days * self.unit
        return cell


_day_cells: Final = _Days(1)
_day_micros: Final = _Days(DAY)
_minute_text: Final = tuple(f"{hour:02}:{minute:02}" for hour in range(25) for minute in range(60))
_minutes: Final = {text: i * MINUTE for i, text in enumerate(_minute_text[:1440])}
_spaced_minutes: Final = {f" {text}": micros for text, micros in _minutes.items()}
_seconds: Final = {f":{second:02}": second * SECOND for second in range(60)}
_scale: Final = (0, 100_000, 10_000, 1_000, 100, 10, 1)


class _Moments(dict[str, int]):
    """``2024-01-31 12:34:56`` to microseconds, remembered: rows that arrive together share few seconds too."""

    def __missing__(self, text: str) -> int:
        cell = _day_micros[text[:10]] + _spaced_minutes[text[10:16]] + _seconds[text[16:]]
        if len(self) >= _MOST_MOMENTS_CACHED:
            self.clear()
        self[text] = cell
        return cell


_moments: Final = _Moments()
_TO_SECONDS: Final = itemgetter(slice(19))
_SIX_DIGITS: Final = itemgetter(slice(20, 26))


def parse_date(text: str) -> Stamp:
    """``2024-01-31``, ``0044-03-15 BC``, ``infinity`` → days."""
    try:
        return _day_cells[text]
    except KeyError:
        return read_date(text)


def parse_time(text: str) -> int:
    """``12:34:56.789`` → microseconds; ``24:00:00`` is a time of its own."""
    try:
        cell = _minutes[text[:5]] + _seconds[text[5:8]]
    except KeyError:
        return read_time(text)
    if len(text) == 8:
        return cell
    digits = text[9:]
    if text[8] == "." and len(digits) <= 6 and digits.isdigit():
        return cell + int(digits) * _scale[len(digits)]
    return read_time(text)


def parse_timestamp(text: str) -> Stamp:
    """``2024-01-31 12:34:56.789`` → microseconds."""
    try:
        cell = _moments[text[:19]]
    except KeyError:
        return read_timestamp(text)
    if len(text) == 19:
        return cell
    digits = text[20:]
    if text[19] == "." and len(digits) <= 6 and digits.isdigit():
        return cell + int(digits) * _scale[len(digits)]
    return read_timestamp(text)


def parse_timestamptz(text: str) -> Stamp:
    """``2024-01-31 12:34:56.789+00`` → microseconds; other offsets, which RisingWave prints, are read as well."""
    try:
        cell = _moments[text[:19]]
    except KeyError:
        return read_timestamptz(text)
    if len(text) == 29 and text[19] == "." and text[26:] == "+00" and (digits := text[20:26]).isdigit():
        return cell + int(digits)  # what most columns hold
    if text[-3:] == "+00":
        if len(text) == 22:
            return cell
        digits = text[20:-3]
        if text[19] == "." and len(digits) <= 6 and digits.isdigit():
            return cell + int(digits) * _scale[len(digits)]
    return read_timestamptz(text)


def parse_timestamptzs(texts: Sequence[str]) -> list[Stamp]:
    """``parse_timestamptz`` of many: where all have microseconds and ``+00``, a slice of all at a time, in half the time."""
    if set(map(len, texts)) == {29}:
        count, joined, micros = len(texts), "".join(texts), list(map(_SIX_DIGITS, texts))
        if (
            joined[19::29] == "." * count
            and joined[26::29] == "+" * count
            and joined[27::29] == joined[28::29] == "0" * count
            and "".join(micros).isdecimal()
        ):
            with suppress(KeyError):  # years of five digits, and what does not read
                return list(map(add, map(_moments.__getitem__, map(_TO_SECONDS, texts)), map(int, micros)))
    return list(map(parse_timestamptz, texts))


# -- anything PostgreSQL reads as a fixed ISO moment: the path of literals ----------------------------------------


def read_date(text: str) -> Stamp:
    """A date; a time of day behind it is dropped, as PostgreSQL's cast does. ValueError for anything else."""
    text = text.strip()
    infinite = _INFINITIES.get(text.lower())
    if infinite is not None:
        return infinite
    found = _match(_STAMP, text, "date", "2024-01-31")
    days = _days(found, text, "date")
    if found["hour"] is not None:
        _clock(found, text, "date")
        _offset(found, text, "date")
    if days not in _DATES:
        raise _invalid("date", text, "it is out of range")
    return days


def read_time(text: str) -> int:
    """A time of day; an offset behind it is dropped, as PostgreSQL's cast does. ValueError for anything else."""
    text = text.strip()
    found = _match(_TIME, text, "time", "12:34:56")
    micros = _clock(found, text, "time")
    _offset(found, text, "time")
    if micros > DAY:
        raise _invalid("time", text, "it is out of range")
    return micros


def read_timetz(text: str) -> tuple[int, int]:
    """A time of day with its offset; without one it is UTC. ValueError for anything else."""
    text = text.strip()
    found = _match(_TIME, text, "timetz", "12:34:56+02")
    micros = _clock(found, text, "timetz")
    if micros > DAY:
        raise _invalid("timetz", text, "it is out of range")
    offset = _offset(found, text, "timetz")
    return micros - offset, -offset // SECOND


def read_timestamp(text: str) -> Stamp:
    """A timestamp without time zone; an offset is dropped, as PostgreSQL's cast does. ValueError for anything else."""
    return _read_stamp(text, "timestamp", zoned=False)


def read_timestamptz(text: str) -> Stamp:
    """A moment; without an offset it is UTC. ValueError for anything else."""
    return _read_stamp(text, "timestamptz", zoned=True)


def _read_stamp(text: str, name: str, *, zoned: bool) -> Stamp:
    text = text.strip()
    infinite = _INFINITIES.get(text.lower())
    if infinite is not None:
        return infinite
    found = _match(_STAMP, text, name, "2024-01-31T12:34:56Z" if zoned else "2024-01-31T12:34:56")
    micros = _days(found, text, name) * DAY
    if found["hour"] is not None:
        offset = _offset(found, text, name)
        micros += _clock(found, text, name) - (offset if zoned else 0)
    if micros not in _STAMPS:
        raise _invalid(name, text, "it is out of range")
    return micros


def _match(pattern: re.Pattern[str], text: str, name: str, example: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        if text.lower() in _RELATIVE:
            raise _invalid(name, text, "it has no fixed value; give the value itself")
        raise _invalid(name, text, f"expected a form like '{example}'")
    return found


def _days(found: re.Match[str], text: str, name: str) -> int:
    year = int(found["year"])
    if year == 0:
        raise _invalid(name, text, "there is no year 0")
    if (found["era"] or "").lower() == "bc":
        year = 1 - year
    try:
        return days_of(year, int(found["month"]), int(found["day"]))
    except ValueError as error:
        raise _invalid(name, text, str(error)) from None


def _clock(found: re.Match[str], text: str, name: str) -> int:
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    # The server's arithmetic: a double, rounded half to even.
    fraction = round(float(f"0.{found['fraction'] or 0}") * SECOND)
    micros = (hour * 60 + minute) * MINUTE + second * SECOND + fraction
    if minute > 59 or second > 60 or hour > 24 or (hour == 24 and micros > DAY):
        raise _invalid(name, text, "there is no such time of day")
    return micros


def _offset(found: re.Match[str], text: str, name: str) -> int:
    if found["sign"] is None:
        return 0
    hours, minutes, seconds = int(found["oh"]), int(found["om"] or found["hm"] or 0), int(found["os"] or 0)
    micros = (hours * 60 + minutes) * MINUTE + seconds * SECOND
    if minutes > 59 or seconds > 59 or micros >= _LONGEST_OFFSET:
        raise _invalid(name, text, "there is no such offset")
    return -micros if found["sign"] == "-" else micros


def _invalid(name: str, text: str, why: str) -> ValueError:
    shown = text if len(text) <= 60 else text[:60] + "…"
    return ValueError(f"invalid value for type '{name}': '{shown}': {why}")


# -- cells to text ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def _day_text(days: int) -> tuple[str, str]:
    year, month, day = civil_of(days)
    if year > 0:
        return f"{year:04}-{month:02}-{day:02}", ""
    return f"{1 - year:04}-{month:02}-{day:02}", " BC"


def _infinity(cell: float) -> str:
    return "infinity" if cell > 0 else "-infinity"


def date_text(cell: Stamp) -> str:
    """Days → the server's text."""
    if isinstance(cell, float):
        return _infinity(cell)
    day, era = _day_text(cell)
    return day + era


def time_text(cell: int) -> str:
    """Microseconds of a day → the server's text."""
    minute, rest = divmod(cell, MINUTE)
    second, fraction = divmod(rest, SECOND)
    if fraction:
        return f"{_minute_text[minute]}:{second:02}.{fraction:06}".rstrip("0")
    return f"{_minute_text[minute]}:{second:02}"


def timetz_text(cell: tuple[int, int]) -> str:
    """(microseconds in UTC, seconds west) → the server's text."""
    micros, west = cell
    minutes, seconds = divmod(abs(west), 60)
    hours, minutes = divmod(minutes, 60)
    rest = f":{minutes:02}:{seconds:02}" if seconds else f":{minutes:02}" if minutes else ""
    return f"{time_text(micros - west * SECOND)}{'-' if west > 0 else '+'}{hours:02}{rest}"


def timestamp_text(cell: Stamp, between: str = " ", offset: str = "") -> str:
    """Microseconds → the server's text; ``between`` stands between day and time, ``offset`` behind the time."""
    if isinstance(cell, float):
        return _infinity(cell)
    days, micros = divmod(cell, DAY)
    day, era = _day_text(days)
    return f"{day}{between}{time_text(micros)}{offset}{era}"


def timestamptz_text(cell: Stamp) -> str:
    """Microseconds → the server's text under TimeZone UTC."""
    return timestamp_text(cell, " ", "+00")


class _MinuteHeads(dict[int, str]):
    """Minutes since 1970 → ``2024-01-31T12:34:``, remembered; KeyError where the text is another."""

    def __missing__(self, minutes: int) -> str:
        days, minute = divmod(minutes, 1440)
        day, era = _day_text(days)
        if era:
            raise KeyError(minutes)
        if len(self) >= _MOST_MINUTES_CACHED:
            self.clear()
        self[minutes] = head = f'"{day}T{_minute_text[minute]}:'
        return head


_heads: Final = _MinuteHeads()
_two_digits: Final = tuple(f"{second:02}" for second in range(60))
_three_digits: Final = tuple(f"{n:03}" for n in range(1000))
_rests: Final = tuple(text.rstrip("0") for text in _three_digits)
_millis: Final = tuple(f".{rest}" if rest else "" for rest in _rests)


def _quick_json(cell: int) -> str:
    """A moment's ``to_json`` up to its offset, the opening quote included; KeyError before the year 1."""
    minutes, micros = divmod(cell, MINUTE)
    second, fraction = divmod(micros, SECOND)
    ms, rest = divmod(fraction, 1000)
    if rest:
        return f"{_heads[minutes]}{_two_digits[second]}.{_three_digits[ms]}{_rests[rest]}"
    return f"{_heads[minutes]}{_two_digits[second]}{_millis[ms]}"


def date_json(cell: Stamp) -> str:
    """Days → ``to_json``."""
    return f'"{date_text(cell)}"'


def time_json(cell: int) -> str:
    """Microseconds of a day → ``to_json``."""
    return f'"{time_text(cell)}"'


def timetz_json(cell: tuple[int, int]) -> str:
    """``to_json``: the text."""
    return f'"{timetz_text(cell)}"'


def timestamp_json(cell: Stamp) -> str:
    """Microseconds → ``to_json``, which writes ISO 8601."""
    if type(cell) is int:
        try:
            return _quick_json(cell) + '"'
        except KeyError:
            pass
    return f'"{timestamp_text(cell, "T")}"'


def timestamptz_json(cell: Stamp) -> str:
    """Microseconds → ``to_json`` under TimeZone UTC."""
    if type(cell) is int:
        try:
            return _quick_json(cell) + '+00:00"'
        except KeyError:
            pass
    return f'"{timestamp_text(cell, "T", "+00:00")}"'

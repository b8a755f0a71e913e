"""How long an answer of HTTP may be kept (RFC 9111), as much as is needed for keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

_LEAST_S: Final = 10.0  # a header must not make us ask for every token
_MOST_S: Final = 24 * 3600.0  # nor keep a key that was withdrawn
_UNSAID_S: Final = 600.0
_AGE: Final = re.compile(r'(s-maxage|max-age)\s*=\s*"?(\d{1,9})"?')


def fresh_for_s(headers: Mapping[str, str], now_s: float) -> float:
    """Seconds for which a document with these headers (lower-case names) is good; ``now_s`` is the time of day."""
    control = headers.get("cache-control", "").lower()
    if re.search(r"\bno-(cache|store)\b", control):
        return _LEAST_S
    ages = {name: float(seconds) for name, seconds in _AGE.findall(control)}
    age = headers.get("age", "")
    spent = float(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0.0
    if "s-maxage" in ages or "max-age" in ages:
        fresh = ages.get("s-maxage", ages.get("max-age", 0.0)) - spent
    elif "expires" in headers:
        try:
            fresh = parsedate_to_datetime(headers["expires"]).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):  # `0` and the like: it has expired
            fresh = 0.0
    else:
        fresh = _UNSAID_S
    return min(max(fresh, _LEAST_S), _MOST_S)

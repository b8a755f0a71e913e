"""How often something may happen: ``10/s``, ``600/m``, ``1000/h burst 50``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SPELLED: Final = re.compile(r"([0-9]{1,9})/([smhd])(?: burst ([0-9]{1,9}))?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRONG: Final = (
    "a rate is a number and a unit of time, such as 10/s, 600/m or 1000/h; 600/m burst 50 allows 50 at once"
)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a period in the long run, and ``burst`` at once. All at least 1; ``period_s`` in seconds."""

    count: int
    period_s: int
    burst: int

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in _SECONDS.items() if seconds == self.period_s)
        return f"{self.count}/{unit}" + (f" burst {self.burst}" if self.burst != self.count else "")


def _rate(value: Any) -> Any:
    if value is None or isinstance(value, Rate):
        return value
    match = _SPELLED.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_WRONG)
    count, burst = int(match[1]), int(match[3] or match[1])
    if not count or not burst:
        raise ValueError("a rate allows one at least")
    return Rate(count, _SECONDS[match[2]], burst)


OptionalRate = Annotated[
    Rate | None,
    BeforeValidator(_rate),
    PlainSerializer(lambda rate: None if rate is None else str(rate)),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_SPELLED.pattern}$",
            "examples": ["10/s", "600/m", "600/m burst 50"],
        }
    ),
]

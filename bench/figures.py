"""What a measurement gives: figures beside what design 7 asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness import Json, Pace, Spec

BY_SYMBOL = '{"w":{"symbol":{"_eq":"S{i}"}}}'  # a filter for each operation


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``most``/``least``: what it must not exceed or fall below; neither: only reported."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """ok, NOT, or nothing where nothing was asked."""
        if self.most is None and self.least is None:
            return ""
        high = self.most is not None and self.value > self.most
        low = self.least is not None and self.value < self.least
        return "NOT" if high or low else "ok"


Figures = Iterator[Figure]
Measure = Callable[[Spec, Pace], Figures]


def per_row_us(report: Json) -> float:
    """CPU µs of the server per delivered row change."""
    return float(report["server"]["cpu_s_per_m_rows"])


def split(report: Json) -> str:
    """User and system time apart (of a coarse clock), share of the core, wall time of messages."""
    server, rows = report["server"], max(1, report["rows"])
    user, system = (server[key] * 1e6 / rows for key in ("user_s", "sys_s"))
    lat = report["lat_ms"]
    return f"user {user:.2f} + sys {system:.2f} µs, share {server['cpu_share']:.2f}, p50 {lat['p50']:.1f} p99 {lat['p99']:.1f} ms"

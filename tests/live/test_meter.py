"""What goes through: totals, and rates of late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.live.meter import WINDOW_S, Meter, Rates


def test_a_steady_rate() -> None:
    meter = Meter(0.0)
    for n in range(600):
        meter.look(n / 20)
        meter.changes += 2
        meter.messages += 3
        meter.bytes += 100
    rates = meter.rates(30.0)
    assert rates.changes == pytest.approx(40, rel=0.11)
    assert rates.bytes == pytest.approx(2000, rel=0.11)
    assert meter.totals == (1200, 1800, 60000)


def test_a_young_one_and_a_quiet_one() -> None:
    meter = Meter(100.0)
    assert meter.rates(100.0) == Rates(0, 0, 0)
    meter.look(100.5)
    meter.messages += 10
    assert meter.rates(102.0).messages == 5, "since it began"
    assert meter.rates(100.5).messages == 10, "over a second at least"
    assert meter.rates(200.0).messages == 0
    meter.look(200.0)
    meter.messages += 30
    assert meter.rates(201.0).messages == 3, "the quiet before is not in it"


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 100)), max_size=80), st.floats(0, 20))
def test_against_all_that_was_counted(steps: list[tuple[float, int]], wait_s: float) -> None:
    meter, now_s, seen = Meter(0.0), 0.0, []
    for after_s, count in steps:
        now_s += after_s
        meter.look(now_s)
        meter.messages += count
        seen.append((now_s, count))
    now_s += wait_s
    told = meter.rates(now_s).messages * max(min(WINDOW_S, now_s), 1.0)
    since_s = now_s - WINDOW_S
    assert sum(count for at_s, count in seen if at_s > since_s + 1) <= told + 1e-6, "exact to a second"
    assert told <= sum(count for at_s, count in seen if at_s > since_s) + 1e-6
    assert len(meter._samples) <= WINDOW_S + 1

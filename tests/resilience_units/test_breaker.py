"""Backoff and breaker: bounds of every delay, states in order, the past forgotten after a healthy life."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.resilience.backoff import Backoff
from tycostream.resilience.breaker import Breaker, BreakerState


def always(value: float) -> Callable[[], float]:
    return lambda: value


@given(
    st.lists(st.tuples(st.floats(0, 0.999999), st.floats(0, 20)), min_size=1, max_size=60),
    st.floats(0.01, 5),
    st.floats(0.01, 60),
)
def test_every_delay_lies_within_its_step(
    failures: list[tuple[float, float]], base_s: float, cap_s: float
) -> None:
    chances = iter([chance for chance, _ in failures])
    backoff = Backoff(lambda: next(chances), base_s=base_s, cap_s=cap_s, floor_s=0.05, healthy_s=10)
    in_a_row = 0
    for chance, lived_s in failures:
        in_a_row = 0 if lived_s >= 10 else in_a_row
        ceiling = min(cap_s, base_s * 2.0 ** min(in_a_row, 20))
        assert backoff.delay_s(lived_s) == pytest.approx(max(0.05, chance * ceiling))
        in_a_row += 1
        assert backoff.failures == in_a_row


def test_delays_double_up_to_the_cap_and_never_hammer() -> None:
    backoff = Backoff(always(0.999999), base_s=1, cap_s=10)
    assert [round(backoff.delay_s(0)) for _ in range(7)] == [1, 2, 4, 8, 10, 10, 10]
    assert [Backoff(always(0.0), floor_s=0.05).delay_s(0) for _ in range(3)] == [0.05] * 3
    for _ in range(5000):  # a week of failures overflows nothing
        assert backoff.delay_s(0) <= 10


def test_a_healthy_life_forgets_the_past() -> None:
    backoff = Backoff(always(0.5), base_s=1, cap_s=100, healthy_s=10)
    for _ in range(6):
        backoff.delay_s(9.99)
    assert backoff.delay_s(10) == 0.5
    assert backoff.failures == 1


def state(breaker: Breaker) -> BreakerState:
    return breaker.state


def test_a_breaker_opens_tries_with_a_probe_and_closes() -> None:
    breaker = Breaker(always(0.5), threshold=3, base_s=1, cap_s=10)
    for _ in range(2):
        breaker.failed(0)
        assert state(breaker) is BreakerState.CLOSED
        assert not breaker.try_again(), "the real thing"
    seen = []
    for _ in range(2):
        breaker.failed(0)
        seen += [breaker.state, breaker.try_again(), breaker.state]
    assert seen == [BreakerState.OPEN, True, BreakerState.HALF_OPEN] * 2, "probes"
    breaker.answered()
    assert state(breaker) is BreakerState.CLOSED
    assert breaker.failures == 4, "an answer to a probe is no life yet"
    assert not breaker.try_again()
    breaker.failed(0)
    assert state(breaker) is BreakerState.OPEN
    breaker.try_again()
    breaker.answered()
    breaker.failed(60)
    assert (state(breaker), breaker.failures) == (BreakerState.CLOSED, 1), "it had lived"


@given(st.lists(st.sampled_from(["failed", "lived", "wait", "answered"]), max_size=40))
def test_open_exactly_from_the_threshold_on(steps: list[str]) -> None:
    breaker, in_a_row = Breaker(always(0.5), threshold=3, healthy_s=10), 0
    for step in steps:
        if step in ("failed", "lived"):
            in_a_row = 1 if step == "lived" else in_a_row + 1
            delay_s = breaker.failed(11 if step == "lived" else 0)
            assert 0 < delay_s <= 10
            expected = BreakerState.OPEN if in_a_row >= 3 else BreakerState.CLOSED
            assert breaker.state is expected
        elif step == "wait":
            probes = breaker.state is not BreakerState.CLOSED
            assert breaker.try_again() == probes
        else:
            breaker.answered()
            assert breaker.state is BreakerState.CLOSED
        assert breaker.failures == in_a_row

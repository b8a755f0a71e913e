"""Token buckets against a model that keeps a fraction of tokens for each key, and in bounded memory."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from tycostream.auth.buckets import Buckets
from tycostream.config.rates import Rate
from tycostream.testing.clock import FakeClock

RATES = st.builds(Rate, st.integers(1, 1000), st.sampled_from([1, 60, 3600, 86400]), st.integers(1, 30))
# the clock's own unit is kept, so that the model sees the same times: quarters of a nanosecond there are none
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.just(0), st.integers(0, 10**6), st.integers(0, 10**12))),
    max_size=60,
)


class Nanoseconds(FakeClock):
    """A clock that counts whole nanoseconds: what a float of seconds can say exactly, and more steps of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0

    def monotonic(self) -> float:
        return self.now_ns / 10**9


class Model:
    """A bucket as it is drawn on a blackboard: tokens drip in, and it never holds more than its burst."""

    def __init__(self, rate: Rate, now_ns: int) -> None:
        self.rate, self.tokens, self.at_ns = rate, Fraction(rate.burst), now_ns

    def take(self, now_ns: int) -> Fraction:
        per_ns = Fraction(self.rate.count, self.rate.period_s * 10**9)
        self.tokens = min(self.tokens + (now_ns - self.at_ns) * per_ns, Fraction(self.rate.burst))
        self.at_ns = now_ns
        if self.tokens >= 1:
            self.tokens -= 1
            return Fraction(0)
        return (1 - self.tokens) / per_ns / 10**9


@given(RATES, STEPS)
@example(Rate(3, 1, 1), [(0, 0), (0, 333_333_333), (0, 1)])
def test_buckets_are_what_the_blackboard_says(rate: Rate, steps: list[tuple[int, int]]) -> None:
    clock = Nanoseconds()
    buckets = Buckets(clock)
    models: dict[int, Model] = {}
    for key, passed_ns in steps:
        clock.now_ns += passed_ns
        now_ns = int(clock.monotonic() * 10**9)
        expected = models.setdefault(key, Model(rate, now_ns)).take(now_ns)
        assert bool(buckets.wait_s(key, rate)) is bool(expected), "asking takes nothing"
        found = buckets.take(key, rate)
        assert bool(found) is bool(expected)
        assert abs(Fraction(found) - expected) <= expected / 10**9


@given(RATES, st.lists(st.integers(0, 10**10), max_size=80))
def test_over_any_time_no_more_than_the_burst_and_the_rate_get_through(rate: Rate, steps: list[int]) -> None:
    clock = Nanoseconds()
    buckets = Buckets(clock)
    passed: list[int] = []
    for step in steps:
        clock.now_ns += step
        if not buckets.take("key", rate):
            passed.append(int(clock.monotonic() * 10**9))
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = Fraction(passed[last] - passed[first], rate.period_s * 10**9)
            assert last - first + 1 <= rate.burst + span * rate.count


def test_who_waits_as_long_as_told_gets_through() -> None:
    clock = FakeClock()
    buckets, rate = Buckets(clock), Rate(7, 60, 2)
    assert [buckets.take("a", rate), buckets.take("a", rate)] == [0, 0]
    wait_s = buckets.take("a", rate)
    assert 8.5 < wait_s < 8.6
    clock.advance(wait_s - 0.001)
    assert buckets.take("a", rate) > 0
    clock.advance(0.002)
    assert buckets.take("a", rate) == 0


def test_keys_do_not_touch_each_other() -> None:
    buckets, rate = Buckets(FakeClock()), Rate(1, 1, 1)
    assert buckets.take("a", rate) == 0
    assert buckets.take("a", rate) > 0
    assert buckets.take("b", rate) == 0


def test_ten_thousand_keys_take_no_more_memory_than_the_bound_and_who_asks_on_is_not_forgotten() -> None:
    buckets, rate = Buckets(FakeClock(), keys_max=100), Rate(1, 86400, 1)
    buckets.take("attacker", rate)
    for n in range(10_000):
        buckets.take(n, rate)
        assert buckets.take("attacker", rate) > 0
    assert len(buckets) == 100
    assert buckets.take(0, rate) == 0, "one asked for long ago is forgotten: its bucket is full"

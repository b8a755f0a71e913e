"""The slope that tells a leak from noise."""

from __future__ import annotations

import math
import random

import pytest

from tycostream.testing.drift import drift

HOUR_S = 3600.0


def series(seed: int, *, leak_per_s: float = 0.0, noise: float = 0.0) -> list[tuple[float, float]]:
    """Five minutes of a figure about 100,000, looked at every two seconds."""
    chance = random.Random(seed)
    return [(2.0 * n, 100_000 + 2.0 * n * leak_per_s + chance.uniform(-noise, noise)) for n in range(150)]


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_drift(seed: int) -> None:
    assert abs(drift(series(seed, noise=2_000)).growth) < 1_000


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_shows_through_noise_that_is_as_large(seed: int) -> None:
    found = drift(series(seed, leak_per_s=20, noise=2_000))
    assert found.growth == pytest.approx(298 * 20, abs=900)
    assert found.per_hour == pytest.approx(20 * HOUR_S, rel=0.2)


def test_peaks_do_not_bend_it() -> None:
    samples = [(at, value * 3 if n % 9 == 8 and n > 75 else value) for n, (at, value) in enumerate(series(1))]
    assert drift(samples).growth == 0


def test_a_jump_at_the_start_is_warm_up() -> None:
    samples = [(at, value - 60_000 if at < 40 else value) for at, value in series(1)]
    assert drift(samples, warm_up_s=60).growth == 0
    assert drift(samples, warm_up_s=60).level == 100_000


def test_a_staircase_of_a_leak_that_shows_only_now_and_then() -> None:
    """As memory does: arenas and dictionaries grow by leaps."""
    samples = [(at, 100_000 + 4_000 * math.floor(at / 50)) for at, _ in series(1)]
    assert drift(samples).growth == pytest.approx(24_000, rel=0.25)


def test_long_series_are_thinned_and_say_the_same() -> None:
    samples = [(float(n), 5.0 + n / 100) for n in range(20_000)]
    found = drift(samples)
    assert found.per_hour == pytest.approx(36)
    assert found.samples <= 400


def test_two_points_say_nothing() -> None:
    with pytest.raises(ValueError, match="2 samples after the warm-up of 10 s: three are the least"):
        drift([(0, 1), (9, 1), (10, 1), (11, 2)], warm_up_s=10)

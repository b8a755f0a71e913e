"""Whether a figure that was sampled over time keeps growing: a slope that a few outliers cannot bend.

Memory of a healthy process goes up and down, jumps once when something first happens, and then stays. A least squares line
through that slopes upwards; the median of the slopes between all pairs of samples (Theil and Sen) does not, while a
leak of a little at each turn moves every pair.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_SAMPLES_MAX = 400  # pairs grow with the square: more samples than that are thinned


@dataclass(frozen=True)
class Drift:
    """``per_hour``: the slope. ``growth``: what it comes to over the time that was looked at. ``level``: the median."""

    per_hour: float
    growth: float
    level: float
    samples: int


def drift(samples: Sequence[tuple[float, float]], *, warm_up_s: float = 0.0) -> Drift:
    """Of pairs (seconds, figure), in the order of time, without those of the first ``warm_up_s`` seconds.

    ValueError if fewer than three are left: two points have a slope, and it says nothing.
    """
    kept = [each for each in samples if each[0] - samples[0][0] >= warm_up_s]
    kept = kept[:: 1 + (len(kept) - 1) // _SAMPLES_MAX]
    if len(kept) < 3:
        raise ValueError(f"{len(kept)} samples after the warm-up of {warm_up_s:g} s: three are the least")
    slopes = [
        (later - value) / (then - at)
        for n, (at, value) in enumerate(kept)
        for then, later in kept[n + 1 :]
        if then > at
    ]
    slope = statistics.median(slopes)
    return Drift(
        slope * 3600,
        slope * (kept[-1][0] - kept[0][0]),
        statistics.median(value for _, value in kept),
        len(kept),
    )

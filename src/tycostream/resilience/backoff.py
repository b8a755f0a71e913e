"""Full-jitter exponential backoff: how long to wait before trying again. Pure; chance is passed in."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Delays drawn from [0, min(cap, base·2ⁿ)), n the failures in a row; many clients then spread out by themselves.

    ``floor_s`` keeps a lucky draw from hammering; ``healthy_s`` of life without failure forgets the past.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        base_s: float = 0.2,
        cap_s: float = 30.0,
        floor_s: float = 0.05,
        healthy_s: float = 10.0,
    ) -> None:
        self._random = random
        self._base_s = base_s
        self._cap_s = cap_s
        self._floor_s = floor_s
        self._healthy_s = healthy_s
        self.failures = 0

    def delay_s(self, lived_s: float) -> float:
        """The wait after a failure that followed ``lived_s`` seconds of life."""
        if lived_s >= self._healthy_s:
            self.failures = 0
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self.failures, 20))
        self.failures += 1
        jittered: float = self._random() * ceiling
        return max(self._floor_s, jittered)

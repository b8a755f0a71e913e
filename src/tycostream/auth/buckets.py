"""Token buckets: how often something may happen for each of very many keys, in constant time and bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from tycostream.clock import Clock
from tycostream.config.rates import Rate

KEYS_MAX: Final = 20_000  # about 6 MB
_NANOSECONDS: Final = 10**9


class Buckets:
    """A bucket per key, full at first. Nothing runs while nobody asks.

    Of a bucket only the moment is kept at which it is full again: each token taken puts that off by the time in which
    one comes back, and an empty bucket is one that is full a whole ``burst`` later. A key of which nothing is known
    has a full bucket, so that those asked for longest ago can be forgotten: who has more addresses than ``keys_max``
    has that many bursts anyway, and nobody else loses anything by it.

    All arithmetic is on whole numbers, in units of a nanosecond divided by the rate's count: no token is lost or made
    by rounding.
    """

    def __init__(self, clock: Clock, *, keys_max: int = KEYS_MAX) -> None:
        self._clock = clock
        self._keys_max = keys_max
        self._full_at: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, key: Hashable, rate: Rate) -> float:
        """Seconds until the key's bucket has a token; 0: it has one. A key goes with one rate always."""
        now = self._now(rate)
        return self._wait_s(max(self._full_at.get(key, now), now), now, rate)

    def take(self, key: Hashable, rate: Rate) -> float:
        """Take a token and give 0; or take none, and give the seconds until there is one."""
        now = self._now(rate)
        full_at = max(self._full_at.get(key, now), now)
        wait_s = self._wait_s(full_at, now, rate)
        self._full_at[key] = full_at if wait_s else full_at + rate.period_s * _NANOSECONDS
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._keys_max:
            self._full_at.popitem(last=False)
        return wait_s

    def _now(self, rate: Rate) -> int:
        return int(self._clock.monotonic() * _NANOSECONDS) * rate.count

    @staticmethod
    def _wait_s(full_at: int, now: int, rate: Rate) -> float:
        over = full_at - now - (rate.burst - 1) * rate.period_s * _NANOSECONDS
        return over / (rate.count * _NANOSECONDS) if over > 0 else 0.0

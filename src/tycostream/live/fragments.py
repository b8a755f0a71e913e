"""Encoded rows, kept from one push to the next for all live queries of a source with the same projection."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from tycostream.graphql.plan import RowEncoder
from tycostream.rows import Key, Row

_BYTES_MAX: Final = 64 * 2**20  # of one projection of a source


class Fragments:
    """Encoded rows of one source and projection, shared by all its views and bounded in bytes."""

    def __init__(self, encoder: RowEncoder, bytes_max: int) -> None:
        self._encoder = encoder
        self._bytes_max = bytes_max
        self._cache: dict[Key, tuple[Row, bytes]] = {}
        self.bytes = 0

    def of(self, key: Key, row: Row) -> bytes:
        """The row's JSON; a fragment is good as long as the key has the very same row."""
        hit = self._cache.get(key)
        if hit is not None and hit[0] is row:
            return hit[1]
        fragment = self._encoder.row(row)
        if hit is not None:
            self.bytes -= len(hit[1])
        self._cache[key] = (row, fragment)
        self.bytes += len(fragment)
        while self.bytes > self._bytes_max and self._cache:
            oldest = next(iter(self._cache))
            self.bytes -= len(self._cache.pop(oldest)[1])
        return fragment

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """``of`` each; those that are there without a call."""
        get, of = self._cache.get, self.of
        return [
            hit[1] if (hit := get(key)) is not None and hit[0] is row else of(key, row)
            for key, row in zip(keys, rows, strict=True)
        ]

    def released(self) -> dict[Key, tuple[Row, bytes]]:
        """Empty the cache; gives what it held, for the caller to free at leisure."""
        held, self._cache, self.bytes = self._cache, {}, 0
        return held


class FragmentCaches:
    """The caches of one source by projection. Each is there as long as a cohort uses it."""

    def __init__(self) -> None:
        self._caches: dict[Hashable, tuple[Fragments, int]] = {}  # and how many use it

    def __len__(self) -> int:
        return len(self._caches)

    def lease(self, encoder: RowEncoder) -> Fragments:
        """The cache of a projection, until ``give_back``."""
        fragments, users = self._caches.get(encoder.key) or (Fragments(encoder, _BYTES_MAX), 0)
        self._caches[encoder.key] = fragments, users + 1
        return fragments

    def give_back(self, encoder: RowEncoder) -> dict[Key, tuple[Row, bytes]] | None:
        """One user less; of the last one it gives what the cache held, for the caller to free at leisure."""
        fragments, users = self._caches[encoder.key]
        if users > 1:
            self._caches[encoder.key] = fragments, users - 1
            return None
        del self._caches[encoder.key]
        return fragments.released()

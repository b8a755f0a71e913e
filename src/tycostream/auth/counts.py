"""How many of something there are now, for each key and in all. A key of which there is none takes no memory."""

from __future__ import annotations

from collections.abc import Hashable


class Counts:
    """Adds and removes one at a time."""

    def __init__(self) -> None:
        self._of: dict[Hashable, int] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._of)

    def of(self, key: Hashable) -> int:
        """How many there are of a key."""
        return self._of.get(key, 0)

    def add(self, key: Hashable) -> None:
        """One more."""
        self._of[key] = self._of.get(key, 0) + 1
        self.total += 1

    def remove(self, key: Hashable) -> None:
        """One less; there must be one."""
        left = self._of[key] - 1
        self.total -= 1
        if left:
            self._of[key] = left
        else:
            del self._of[key]

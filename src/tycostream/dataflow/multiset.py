"""Cells and how often each occurs: what counting the different ones, and finding the extreme ones, takes."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

_BLOCK: Final = 1000  # to add or remove a cell moves one block's, not all


class Multiset:
    """Of hashable values. Memory follows the different ones."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}

    def __len__(self) -> int:
        """How many different values there are."""
        return len(self._counts)

    def add(self, value: Any) -> None:
        """One more."""
        counts = self._counts
        if value in counts:
            counts[value] += 1
        else:
            counts[value] = 1
            self._appeared(value)

    def remove(self, value: Any) -> None:
        """One less; LookupError if there is none."""
        counts = self._counts
        count = counts[value]
        if count > 1:
            counts[value] = count - 1
        else:
            del counts[value]
            self._vanished(value)

    def replace(self, old: Any, new: Any) -> None:
        """``remove`` and ``add``."""
        self.remove(old)
        self.add(new)

    def containers(self) -> list[dict[Any, Any] | list[Any]]:
        """What it consists of."""
        return [self._counts]

    def _appeared(self, value: Any) -> None:
        pass

    def _vanished(self, value: Any) -> None:
        pass


class Sorted(Multiset):
    """A multiset that knows its first and its last value; the different ones lie in sorted blocks."""

    __slots__ = ("_blocks", "_lasts")

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[list[Any]] = []  # none of them empty
        self._lasts: list[Any] = []  # the last value of each

    def containers(self) -> list[dict[Any, Any] | list[Any]]:
        """See Multiset."""
        return [self._counts, *self._blocks]

    def first(self) -> Any:
        """The smallest value; None if there is none."""
        return self._blocks[0][0] if self._blocks else None

    def last(self) -> Any:
        """The largest value; None if there is none."""
        return self._lasts[-1] if self._lasts else None

    def _appeared(self, value: Any) -> None:
        blocks, lasts = self._blocks, self._lasts
        if not blocks:
            blocks.append([value])
            lasts.append(value)
            return
        b = min(bisect_left(lasts, value), len(blocks) - 1)
        block = blocks[b]
        block.insert(bisect_left(block, value), value)
        if len(block) > 2 * _BLOCK:
            blocks[b : b + 1] = [block[:_BLOCK], block[_BLOCK:]]
            lasts[b : b + 1] = [block[_BLOCK - 1], block[-1]]
        else:
            lasts[b] = block[-1]

    def _vanished(self, value: Any) -> None:
        b = bisect_left(self._lasts, value)
        block = self._blocks[b]
        del block[bisect_left(block, value)]
        if block:
            self._lasts[b] = block[-1]
        else:
            del self._blocks[b], self._lasts[b]

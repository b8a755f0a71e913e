"""Arrays that hold one another: PostgreSQL's ``@>`` and ``<@``, as conditions on a cell."""

from __future__ import annotations

from dataclasses import dataclass

from tycostream.array_text import Array, contains


@dataclass(frozen=True, slots=True)
class Contains:
    """``column @> part``."""

    part: Array

    def __call__(self, cell: Array) -> bool:
        """Whether ``cell`` has every element of the part."""
        return contains(cell, self.part)


@dataclass(frozen=True, slots=True)
class ContainedIn:
    """``column <@ whole``."""

    whole: Array

    def __call__(self, cell: Array) -> bool:
        """Whether the whole has every element of ``cell``."""
        return contains(self.whole, cell)

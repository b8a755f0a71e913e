"""Conditions on the text of a cell that is more than its text, or less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tycostream.dataflow.predicate import Predicate, compile_predicate
from tycostream.rows import Cell, Row


@dataclass(frozen=True, slots=True)
class AsText:
    """A condition on ``cell::text``: ``condition`` is one of a row whose only cell is the text that ``text`` makes.

    Which text that is depends on the column alone, so that equal conditions on one column are equal.
    """

    condition: Predicate
    text: Callable[[Cell], str] = field(repr=False, compare=False)
    _test: Callable[[Row], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_test", compile_predicate(self.condition))

    def __call__(self, cell: Cell) -> bool:
        """Whether the cell's text satisfies the condition."""
        return self._test((self.text(cell),))

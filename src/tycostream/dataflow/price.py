"""What it costs to ask a row whether a condition holds: a step of rows is fewer rows if there is much to ask."""

from __future__ import annotations

from typing import Final

from tycostream.dataflow.predicate import Aggregated, And, Exists, Matches, Or, Predicate

_COMPARISONS_PER_ROW: Final = 20  # about 50 ns each; a row of a step costs a microsecond besides
_PATTERN: Final = 20  # in comparisons: a regular expression, a document
_LOOK: Final = 10  # at related rows, most of which are remembered


def price(predicate: Predicate) -> int:
    """How many plain rows a row under ``predicate`` is worth, at least 1."""
    return 1 + _comparisons(predicate) // _COMPARISONS_PER_ROW


def _comparisons(predicate: Predicate) -> int:
    match predicate:
        case And(parts) | Or(parts):
            return sum(map(_comparisons, parts))
        case Matches():
            return _PATTERN
        case Exists(predicate=inner) | Aggregated(predicate=inner):
            return _LOOK + _comparisons(inner)
        case _:
            return 1

"""Conditions on the columns of an order that cut one stretch out of it: pages by key, found instead of filtered.

``x < 5`` over ``ORDER BY x DESC`` says where to begin, and so does ``x < 5 OR (x = 5 AND id > 7)`` over ``x DESC, id``.
What is left of the condition may then be the same for all pages, so that they share one arrangement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tycostream.dataflow.members import Members, place_from
from tycostream.dataflow.order import OrderBy, SortKey, Term, compile_prefix, ranked, total
from tycostream.dataflow.predicate import And, Compare, Or, Predicate, conjunction
from tycostream.rows import Cell, RowType


@dataclass(frozen=True, slots=True)
class Bound:
    """A place in an order: before the rows whose sort keys begin with ``prefix``, or behind them."""

    prefix: SortKey
    behind: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """A stretch of an order: behind all of ``lower``, before all of ``upper``."""

    lower: tuple[Bound, ...] = ()
    upper: tuple[Bound, ...] = ()

    def places(self, members: Members) -> tuple[int, int]:
        """The place of its first row, and the first one behind it; not the other way round."""
        start = max((members.place_from(each.prefix, behind=each.behind) for each in self.lower), default=0)
        stop = min((members.place_from(each.prefix, behind=each.behind) for each in self.upper), default=-1)
        return start, len(members) if stop < 0 else max(start, stop)

    def begin(self, sorts: Sequence[SortKey]) -> int:
        """The place of the first of some sort keys, which are in order, that is behind all of ``lower``."""
        return max((place_from(sorts, each.prefix, behind=each.behind) for each in self.lower), default=0)


EVERYTHING: Final = Bounds()
_BEYOND = {"lt": -1, "le": -1, "gt": 1, "ge": 1}  # on which side of the constant the cells are


def split(predicate: Predicate, order: tuple[Term, ...], row_type: RowType) -> tuple[Predicate, Bounds]:
    """``predicate`` as what must be asked of each row, and a stretch of the order; all of it asked if none is found."""
    terms = _own(total(order, row_type))
    parts = predicate.parts if isinstance(predicate, And) else (predicate,)
    lower: list[Bound] = []
    upper: list[Bound] = []
    residual: list[Predicate] = []
    for part in parts:
        steps = _steps(part, terms, row_type)
        if steps is None:
            residual.append(part)
            continue
        bound, below = _bound(steps, terms, row_type)
        (upper if below else lower).append(bound)
        # NULL satisfies no comparison
        if ranked(terms[0], row_type):
            (lower if below else upper).append(Bound((0.5,), False) if below else Bound((1,), True))
    if not lower and not upper:
        return predicate, EVERYTHING
    return conjunction(residual), Bounds(tuple(lower), tuple(upper))


def _own(terms: tuple[Term, ...]) -> tuple[OrderBy, ...]:
    """The first terms as far as they are the row's own columns: a condition says nothing of what comes later."""
    own: list[OrderBy] = []
    for term in terms:
        if not isinstance(term, OrderBy):
            break
        own.append(term)
    return tuple(own)


def _steps(part: Predicate, terms: tuple[OrderBy, ...], row_type: RowType) -> list[Compare] | None:
    """``part`` as one comparison for each of the first terms, of which the last decides if the others are equal."""
    branches = part.parts if isinstance(part, Or) else (part,)
    found = sorted(([*each.parts] if isinstance(each, And) else [each] for each in branches), key=len)
    steps: list[Compare] = []
    for depth, branch in enumerate(found):
        step = _step(branch, depth, terms, steps)
        if step is None or (depth and terms[depth].column not in _never_null(row_type)):
            return None
        steps.append(step)
    if not steps or any(step.op not in ("lt", "gt") for step in steps[:-1]):
        return None
    sides = {
        _BEYOND[step.op] * (-1 if term.descending else 1) for step, term in zip(steps, terms, strict=False)
    }
    return steps if len(sides) == 1 else None


def _step(
    branch: Sequence[Predicate], depth: int, terms: tuple[OrderBy, ...], before: Sequence[Compare]
) -> Compare | None:
    """The one comparison of a branch that is not an equality with what the branches before it compare with."""
    if len(branch) != depth + 1 or depth >= len(terms):
        return None
    equal = {Compare(step.column, "eq", step.value) for step in before}
    others = [leaf for leaf in branch if leaf not in equal]
    if len(others) != 1 or not isinstance(others[0], Compare):
        return None
    leaf = others[0]
    return leaf if leaf.column == terms[depth].column and leaf.op in _BEYOND else None


def _never_null(row_type: RowType) -> frozenset[int]:
    return frozenset(place for place in row_type.key or () if not row_type.columns[place].nullable)


def _bound(steps: Sequence[Compare], terms: tuple[OrderBy, ...], row_type: RowType) -> tuple[Bound, bool]:
    """Where the stretch ends on its one side, and whether it lies below that in the order."""
    cells: list[Cell] = [None] * len(row_type.columns)
    for step in steps:
        cells[step.column] = step.value
    prefix = compile_prefix(terms[: len(steps)], row_type)(None, tuple(cells))
    last = steps[-1]
    below = (_BEYOND[last.op] < 0) is not terms[len(steps) - 1].descending
    with_equals = last.op in ("le", "ge")
    return Bound(prefix, below is with_equals), below

"""How rows of one source lead to rows of another: values that predicates, orders and plans are made of.

Nothing here looks at a row; ``related.py`` does, with the stores at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from tycostream.rows import Cell, Row

if TYPE_CHECKING:
    from tycostream.dataflow.predicate import Predicate

Veil = tuple[
    tuple[int, "Predicate"], ...
]  # the cells in these places are NULL to who asks where their conditions are not TRUE, in the order of places
Value = Cell | tuple[Cell, ...]  # what a join compares: the cell, or of several columns the cells


@dataclass(frozen=True, slots=True)
class Join:
    """The rows of ``source`` whose cells in ``remote`` equal ours in ``local``, place by place; NULL equals nothing."""

    source: str
    local: tuple[int, ...]
    remote: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate over rows: its function, as GraphQL names it, and the places of the columns it reads.

    ``count`` without columns counts rows, and with them the rows in which none of them is NULL; ``distinct`` counts
    the different ones among those. Every other function reads one column; of those that take numbers ``distinct``
    is of its different cells, and of the others it changes nothing. ``veil`` is over the rows.
    """

    function: str
    columns: tuple[int, ...] = ()
    distinct: bool = False
    veil: Veil = ()


@dataclass(frozen=True, slots=True)
class Masked:
    """A cell of the row itself, where ``seen`` is TRUE for it; else NULL."""

    column: int
    seen: Predicate


@dataclass(frozen=True, slots=True)
class Via:
    """A cell of a related row: of the one row that ``join`` leads to, or an aggregate over all of them.

    Of an aggregate, ``cell`` is over the rows of ``join``; of several rows where one was expected, the first by key.
    NULL if there is no row (an aggregate says itself what it is of no rows). A row that does not satisfy ``predicate``
    (None: any does) is as if it were not there.
    """

    join: Join
    cell: int | Masked | Via | Aggregate
    predicate: Predicate | None = None


def value_of(places: tuple[int, ...]) -> Callable[[Row], Value]:
    """A function from a row to what it has in ``places``; None if that equals nothing: a cell of it is NULL."""
    if len(places) == 1:
        return itemgetter(places[0])
    cells = itemgetter(*places)

    def value(row: Row) -> Value:
        found = cells(row)
        return None if None in found else found

    return value

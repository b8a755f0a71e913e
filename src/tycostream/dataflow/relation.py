"""How rows of one source lead to rows of another: values that predicates, orders and plans are made of.

Nothing here looks at a row; ``related.py`` does, with the stores at hand.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    the different ones among those. Every other function reads one column.
    """

    function: str
    columns: tuple[int, ...] = ()
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Via:
    """A cell of a related row: of the one row that ``join`` leads to, or an aggregate over all of them.

    Of an aggregate, ``cell`` is over the rows of ``join``; of several rows where one was expected, the first by key.
    NULL if there is no row (an aggregate says itself what it is of no rows).
    """

    join: Join
    cell: int | Via | Aggregate

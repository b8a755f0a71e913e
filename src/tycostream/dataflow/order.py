"""Total orders: PostgreSQL's ORDER BY, with the key always appended, so that no two rows are ever equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tycostream.rows import Cell, Key, Row, RowType


@dataclass(frozen=True, slots=True)
class OrderBy:
    """One term: a column's place, its direction, and where its NULLs go (PostgreSQL: last for asc, first for desc)."""

    column: int
    descending: bool = False
    nulls_first: bool = False


class _Reversed:
    """A cell that sorts backwards; numbers are negated instead, which is cheaper, where that is exact."""

    __slots__ = ("cell",)

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.cell < self.cell)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.cell == other.cell)

    __hash__ = None  # type: ignore[assignment]


SortKey = tuple[Any, ...]
# types whose cells are integers, or infinities: negated they sort backwards exactly, and cost no object of their own
_NEGATED: Final = frozenset({"int2", "int4", "int8", "date", "timestamp", "timestamptz"})


def compile_order(terms: tuple[OrderBy, ...], row_type: RowType) -> Callable[[Key, Row], SortKey]:
    """A function from a key and its row to a value that sorts as ``ORDER BY terms, key`` does.

    A multiset's rows are told apart by all their cells in order and then by their copy's number, which ends the key.
    """
    named = {term.column for term in terms}
    tail = row_type.key or tuple(range(len(row_type.columns)))
    appended = (OrderBy(column) for column in tail if column not in named)
    plain = [_term(term, row_type) for term in (*terms, *appended)]
    if row_type.keyed:
        if len(plain) == 1:
            only = plain[0]
            return lambda key, row: (only(row),)
        return lambda key, row: tuple([part(row) for part in plain])
    return lambda key, row: (*[part(row) for part in plain], key[-1])  # type: ignore[index]


def _term(term: OrderBy, row_type: RowType) -> Callable[[Row], Any]:
    i = term.column
    column = row_type.columns[i]
    nullable = column.nullable or i not in row_type.key
    negated = column.scalar.name in _NEGATED
    if not nullable:
        if not term.descending:
            return lambda row: row[i]
        return (lambda row: -row[i]) if negated else (lambda row: _Reversed(row[i]))
    null_rank = 0 if term.nulls_first else 2  # a present cell ranks 1

    def rank(row: Row) -> Any:
        cell = row[i]
        if cell is None:
            return (null_rank,)
        return (1, cell)

    def rank_down(row: Row) -> Any:
        cell = row[i]
        if cell is None:
            return (null_rank,)
        return (1, -cell) if negated else (1, _Reversed(cell))

    return rank_down if term.descending else rank

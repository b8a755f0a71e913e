"""Total orders: PostgreSQL's ORDER BY, with the key always appended, so that no two rows are ever equal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tycostream.json_text import sort_key
from tycostream.rows import Cell, Key, Row, RowType
from tycostream.scalars import NAN


@dataclass(frozen=True, slots=True)
class OrderBy:
    """One term: a column's place, its direction, and where its NULLs go (PostgreSQL: last for asc, first for desc)."""

    column: int
    descending: bool = False
    nulls_first: bool = False


class _Reversed:
    """A cell that sorts backwards; numbers are negated instead, which is cheaper."""

    __slots__ = ("cell",)

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def __lt__(self, other: _Reversed) -> bool:
        return other.cell < self.cell  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return self.cell == other.cell  # type: ignore[attr-defined, no-any-return]

    __hash__ = None  # type: ignore[assignment]


def _negated(cell: Cell) -> Cell:
    """A numeric that sorts backwards, to the last digit: a minus sign would round to the context's precision."""
    return cell.copy_negate() if type(cell) is Decimal else -cell


SortKey = tuple[Any, ...]
_INTEGERS: Final = frozenset(
    {
        "int2",
        "int4",
        "int8",
        "oid",
        "date",
        "timestamp",
        "timestamptz",
        "interval",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
    }
)  # or infinities
_NUMBERS: Final = frozenset({"numeric", "float4", "float8"})  # or NaN, the largest
_NAMES: Final = {
    "__builtins__": {},
    "str": str,
    "NAN": NAN,
    "Reversed": _Reversed,
    "negated": _negated,
    "meaning": sort_key,
}


def total(terms: tuple[OrderBy, ...], row_type: RowType) -> tuple[OrderBy, ...]:
    """``terms`` and what is appended to them, so that no two rows of a keyed source are equal: the key's columns.

    Rows of a multiset are told apart by all their cells.
    """
    named = {term.column for term in terms}
    tail = row_type.key or tuple(range(len(row_type.columns)))
    return (*terms, *(OrderBy(column) for column in tail if column not in named))


def compile_order(terms: tuple[OrderBy, ...], row_type: RowType) -> Callable[[Key, Row], SortKey]:
    """A function from a key and its row to a value that sorts as ``ORDER BY terms, key`` does.

    A multiset's rows of equal cells are told apart by their texts (1.0 and 1.00) and then by their copy's number: the
    two parts of its keys.
    The value is a flat tuple of cells wherever that is possible: half a million nested ones, or objects, would be as
    many for the garbage collector to walk over.
    """
    items = [item for term in total(terms, row_type) for item in _items(term, row_type)]
    if not row_type.keyed:
        loose = [place for place, column in enumerate(row_type.columns) if column.scalar.loose]
        items += [f"key[0][{place}]" for place in loose]
        items.append("key[1]")
    function: Callable[[Key, Row], SortKey] = _compiled(items)
    return function


def compile_prefix(terms: tuple[OrderBy, ...], row_type: RowType) -> Callable[[Key, Row], SortKey]:
    """As ``compile_order``, but only what ``terms`` themselves give: where the sort keys of such rows begin."""
    function: Callable[[Key, Row], SortKey] = _compiled(
        [item for term in terms for item in _items(term, row_type)]
    )
    return function


def prefix_length(terms: tuple[OrderBy, ...], row_type: RowType) -> int:
    """How many items of a sort key ``terms`` give."""
    return sum(len(_items(term, row_type)) for term in terms)


def ranked(term: OrderBy, row_type: RowType) -> bool:
    """Whether the term gives two items, a rank and the cell: the rank of what is not NULL is 0.5 to 1."""
    return len(_items(term, row_type)) > 1


def _compiled(items: list[str]) -> Any:
    source = f"lambda key, row: ({','.join(items)},)"
    return eval(source, dict(_NAMES))  # noqa: S307 - places and names of ours only


def _items(term: OrderBy, row_type: RowType) -> list[str]:
    """A term as Python: the cell, after its rank (1, or where NULLs and a reversed NaN go) if it may need one.

    A document is parsed for its place in the order once, not at each comparison.
    """
    column = row_type.columns[term.column]
    cell = f"row[{term.column}]"
    numbers = term.descending and column.scalar.name in _NUMBERS
    value = "meaning(str(c))" if column.scalar.name == "jsonb" else "c"
    if term.descending:
        value = "-c" if column.scalar.name in _INTEGERS else "negated(c)" if numbers else f"Reversed({value})"
    if not numbers and not column.nullable and term.column in row_type.key:
        return [re.sub(r"\bc\b", cell, value)]
    null_rank = 0 if term.nulls_first else 2
    if numbers:
        rank = f"{null_rank} if (c := {cell}) is None else 0.5 if c is NAN else 1"
        return [f"({rank})", f"(0 if c is None or c is NAN else {value})"]
    return [f"({null_rank} if (c := {cell}) is None else 1)", f"(0 if c is None else {value})"]

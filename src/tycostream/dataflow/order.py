"""Total orders: PostgreSQL's ORDER BY, with the key always appended, so that no two rows are ever equal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tycostream.dataflow.relation import Masked, Via
from tycostream.json_text import sort_key
from tycostream.rows import Cell, Key, Row, RowType
from tycostream.scalars import NAN


@dataclass(frozen=True, slots=True)
class OrderBy:
    """One term: a column's place, its direction, and where its NULLs go (PostgreSQL: last for asc, first for desc)."""

    column: int
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class OrderVia:
    """A term that is a cell of a related row, an aggregate over related rows, or a cell that is not always seen."""

    via: Via | Masked
    descending: bool = False
    nulls_first: bool = False


Term = OrderBy | OrderVia


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
CellOf = Callable[
    [Via | Masked], tuple[Callable[[Row], Cell], str]
]  # such a cell of a row, and its SQL type; that of the row's own column is known


def unrelated(via: Via | Masked) -> tuple[Callable[[Row], Cell], str]:
    """The ``CellOf`` of who has no other source's rows: such a term must not come here."""
    raise LookupError(f"an order by {via!r} where only one source is read")


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


def total(terms: tuple[Term, ...], row_type: RowType) -> tuple[Term, ...]:
    """``terms`` and what is appended to them, so that no two rows of a keyed source are equal: the key's columns.

    Rows of a multiset are told apart by all their cells.
    """
    named = {term.column for term in terms if isinstance(term, OrderBy)}
    tail = row_type.key or tuple(range(len(row_type.columns)))
    return (*terms, *(OrderBy(column) for column in tail if column not in named))


def compile_order(
    terms: tuple[Term, ...], row_type: RowType, cell_of: CellOf = unrelated
) -> Callable[[Key, Row], SortKey]:
    """A function from a key and its row to a value that sorts as ``ORDER BY terms, key`` does.

    A multiset's rows of equal cells are told apart by their texts (1.0 and 1.00) and then by their copy's number: the
    two parts of its keys.
    The value is a flat tuple of cells wherever that is possible: half a million nested ones, or objects, would be as
    many for the garbage collector to walk over.
    """
    names = dict(_NAMES)
    items: list[str] = []
    for term in total(terms, row_type):
        if isinstance(term, OrderVia):
            cell, scalar = cell_of(term.via)
            if isinstance(term.via, Masked):
                scalar = row_type.columns[term.via.column].scalar.name
            names[name := f"via{len(names)}"] = cell
            items += _ranked_items(term, f"{name}(row)", scalar)
        else:
            items += _items(term, row_type)
    if not row_type.keyed:
        loose = [place for place, column in enumerate(row_type.columns) if column.scalar.loose]
        items += [f"key[0][{place}]" for place in loose]
        items.append("key[1]")
    function: Callable[[Key, Row], SortKey] = _compiled(items, names)
    return function


def compile_prefix(terms: tuple[Term, ...], row_type: RowType) -> Callable[[Key, Row], SortKey]:
    """As ``compile_order``, but only what ``terms`` themselves give: where the sort keys of such rows begin."""
    items = [item for term in terms for item in _items(term, row_type)]
    function: Callable[[Key, Row], SortKey] = _compiled(items, dict(_NAMES))
    return function


def prefix_length(terms: tuple[Term, ...], row_type: RowType) -> int:
    """How many items of a sort key ``terms`` give."""
    return sum(len(_items(term, row_type)) for term in terms)


def ranked(term: Term, row_type: RowType) -> bool:
    """Whether the term gives two items, a rank and the cell: the rank of what is not NULL is 0.5 to 1."""
    return len(_items(term, row_type)) > 1


def _compiled(items: list[str], names: dict[str, Any]) -> Any:
    source = f"lambda key, row: ({','.join(items)},)"
    return eval(source, names)  # noqa: S307 - places and names of ours only


def _items(term: Term, row_type: RowType) -> list[str]:
    """A term as Python: the cell, after its rank if it may need one."""
    if isinstance(term, OrderVia):
        return ["", ""]  # only counted: what it says takes the other source's rows
    column = row_type.columns[term.column]
    cell, scalar = f"row[{term.column}]", column.scalar.name
    numbers = term.descending and scalar in _NUMBERS
    if not numbers and not column.nullable and term.column in row_type.key:
        return [re.sub(r"\bc\b", cell, _value(term, scalar))]
    return _ranked_items(term, cell, scalar)


def _value(term: Term, scalar: str) -> str:
    """The cell ``c`` as Python that sorts as the term says.

    A document is parsed for its place in the order once, not at each comparison.
    """
    value = "meaning(str(c))" if scalar == "jsonb" else "c"
    if not term.descending:
        return value
    if scalar in _INTEGERS:
        return "-c"
    return "negated(c)" if scalar in _NUMBERS else f"Reversed({value})"


def _ranked_items(term: Term, cell: str, scalar: str) -> list[str]:
    """The rank (1, or where NULLs and a reversed NaN go), and the cell."""
    value = _value(term, scalar)
    null_rank = 0 if term.nulls_first else 2
    if term.descending and scalar in _NUMBERS:
        rank = f"{null_rank} if (c := {cell}) is None else 0.5 if c is NAN else 1"
        return [f"({rank})", f"(0 if c is None or c is NAN else {value})"]
    return [f"({null_rank} if (c := {cell}) is None else 1)", f"(0 if c is None else {value})"]

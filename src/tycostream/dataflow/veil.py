"""Cells that are not seen in every row: conditions, rows and aggregates as who asks sees them.

A veil says of some columns in which rows their cells are seen; elsewhere they are NULL, whatever is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tycostream.dataflow.predicate import (
    And,
    Bind,
    Compare,
    In,
    IsNull,
    Matches,
    Or,
    Predicate,
    compile_predicate,
    conjunction,
    disjunction,
    leaves_of,
    unbound,
    untrue,
)
from tycostream.dataflow.relation import Aggregate, Veil
from tycostream.rows import Row

Look = Callable[[Row], Row]


def through(predicate: Predicate, seen: Mapping[int, Predicate]) -> Predicate:
    """``predicate`` over rows as they are seen: of the columns in ``seen`` a cell is NULL where its condition is not TRUE.

    What the predicate says of related rows is theirs, and stays; so do the cells by which they are found.
    """
    match predicate:
        case And(parts):
            return conjunction(through(part, seen) for part in parts)
        case Or(parts):
            return disjunction(through(part, seen) for part in parts)
        case IsNull(column, False) if column in seen:
            return disjunction([untrue(seen[column]), predicate])
        case In(_, values, _) if not values:
            return predicate  # it reads no cell
        case Compare(column=column) | In(column=column) | IsNull(column=column) | Matches(column=column):
            return conjunction([seen[column], predicate]) if column in seen else predicate
        case _:
            return predicate


def beyond_row(veil: Veil) -> bool:
    """Whether a row alone does not decide what of it is seen."""
    return any(next(leaves_of(seen), None) is not None for _, seen in veil)


def look(veil: Veil, bind: Bind = unbound) -> Look | None:
    """A function from a row to the row as it is seen, the same object where nothing is hidden; None: all is seen."""
    if not veil:
        return None
    places: dict[Predicate, list[int]] = {}
    for place, seen in veil:
        places.setdefault(seen, []).append(place)
    tests = [(compile_predicate(seen, bind), hidden) for seen, hidden in places.items()]

    def seen_of(row: Row) -> Row:
        cells: list[object] | None = None
        for test, hidden in tests:
            if not test(row):
                cells = list(row) if cells is None else cells
                for place in hidden:
                    cells[place] = None
        return row if cells is None else tuple(cells)

    return seen_of


def veil_of(specs: Sequence[Aggregate]) -> Veil:
    """The veil of all that aggregates over one source's rows read: a column has one in all of them."""
    found = {place: seen for spec in specs for place, seen in spec.veil}
    return tuple(sorted(found.items(), key=lambda item: item[0]))


def lens(specs: Sequence[Aggregate], bind: Bind = unbound) -> tuple[tuple[Aggregate, ...], Look | None]:
    """Aggregates as they are of rows that were looked at, and how to look; None: rows as they are."""
    plain = tuple(replace(spec, veil=()) for spec in specs)
    return plain, look(veil_of(specs), bind)

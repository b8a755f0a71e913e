"""Arguments to meaning: ``where`` to predicates, ``order_by`` to orders, keys to equalities; Hasura's words for errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphql import Undefined

from tycostream.dataflow.order import OrderBy, OrderVia, Term
from tycostream.dataflow.predicate import (
    FALSE,
    Compare,
    Exists,
    Predicate,
    conjunction,
    disjunction,
    negate,
)
from tycostream.dataflow.relation import Join, Masked, Via
from tycostream.errors import RequestError
from tycostream.graphql.aggregate_inputs import aggregated, aggregates_ordered
from tycostream.graphql.budget import Budget
from tycostream.graphql.comparisons import cell_of, comparison, null
from tycostream.graphql.rights import Rights, ordered
from tycostream.graphql.source import Source
from tycostream.rows import RowType

_INT32_MAX = 2**31 - 1
_VIAS_MAX = 100  # in one order: each is looked up for every row that comes or goes
_ORDER_DEPTH_MAX = 10
_DEPTH_MAX = 30  # CPython's parser takes 200 parentheses, and a level can take several


def where(source: Source, value: Mapping[str, Any], path: str, budget: Budget, rights: Rights) -> Predicate:
    """``T_bool_exp``: its fields are and-ed, ``{}`` is true. Related rows count as far as ``rights`` lets them be seen."""
    return _where(source, value, path, 1, budget, rights)


def _where(
    source: Source, value: Mapping[str, Any], path: str, depth: int, budget: Budget, rights: Rights
) -> Predicate:
    if depth > _DEPTH_MAX:
        raise RequestError(
            "validation-failed", f"a condition nested deeper than {_DEPTH_MAX} levels", path=path
        )

    def inside(item: Mapping[str, Any], here: str, of: Source = source) -> Predicate:
        return _where(of, item, here, depth + 1, budget, rights)

    parts: list[Predicate] = []
    for name, inner in value.items():
        here = f"{path}.{name}"
        if inner is None:
            raise null(_input_type(source, name), here)
        if name == "_and":
            parts.append(conjunction(inside(item, f"{here}[{n}]") for n, item in enumerate(inner)))
        elif name == "_or":
            parts.append(disjunction(inside(item, f"{here}[{n}]") for n, item in enumerate(inner)))
        elif name == "_not":
            parts.append(negate(inside(inner, here)))
        elif name in source.related:
            budget.condition(here)
            relationship, target = source.related[name]
            parts.append(_exists(relationship.join, rights.rows(target, inside(inner, here, target))))
        elif name in source.totals:
            budget.condition(here)
            relationship, target = source.totals[name]
            parts.append(aggregated(relationship.join, target, inner, here, inside, budget, rights))
        else:
            parts.append(_comparison(source.row_type, name, inner, here, budget))
    return conjunction(parts)


def _exists(join: Join, predicate: Predicate) -> Predicate:
    """That there is such a row: known to be false where no row could be."""
    return FALSE if predicate == FALSE else Exists(join, predicate)


def _input_type(source: Source, name: str) -> str:
    if name in ("_and", "_or"):
        return f"[{source.row_type.source}_bool_exp!]"
    if name == "_not":
        return f"{source.row_type.source}_bool_exp"
    if name in source.related:
        return f"{source.related[name][1].row_type.source}_bool_exp"
    if name in source.totals:
        return f"{source.totals[name][1].row_type.source}_aggregate_bool_exp"
    return source.row_type.columns[source.place_of[name]].scalar.comparison


def field_index(row_type: RowType, field: str) -> int:
    """The place of the column that GraphQL calls ``field``."""
    return next(i for i, column in enumerate(row_type.columns) if column.field == field)


def _comparison(
    row_type: RowType, field: str, operators: Mapping[str, Any], path: str, budget: Budget
) -> Predicate:
    place = field_index(row_type, field)
    scalar = row_type.columns[place].scalar
    parts: list[Predicate] = []
    for operator, value in operators.items():
        budget.condition(f"{path}.{operator}", operator, value)
        parts.append(comparison(scalar, place, operator, value, f"{path}.{operator}"))
    return conjunction(parts)


def order_by(
    source: Source, value: Sequence[Mapping[str, Any]], path: str, rights: Rights
) -> tuple[Term, ...]:
    """``[T_order_by!]``: Hasura's defaults are PostgreSQL's, asc puts NULLs last and desc puts them first.

    What is ordered by twice counts where it stands first. ``path`` is that of the argument.
    """
    terms: dict[int | Masked | Via, Term] = {}
    vias = 0
    for item in value:
        for cell, direction in _ordered(source, item, path, 0, rights):
            descending = direction.startswith("desc")
            nulls_first = direction.endswith("_nulls_first") or direction == "desc"
            vias += isinstance(cell, Via)
            if vias > _VIAS_MAX:
                raise RequestError(
                    "validation-failed",
                    f"an order by more than {_VIAS_MAX} columns of related rows",
                    path=path,
                )
            if isinstance(cell, int):
                terms.setdefault(cell, OrderBy(cell, descending, nulls_first))
            else:
                terms.setdefault(cell, OrderVia(cell, descending, nulls_first))
    return tuple(terms.values())


def _ordered(
    source: Source, item: Mapping[str, Any], path: str, depth: int, rights: Rights
) -> Iterator[tuple[int | Masked | Via, str]]:
    """What a ``T_order_by`` orders by, as it was written, and in which direction."""
    if depth > _ORDER_DEPTH_MAX:
        raise RequestError(
            "validation-failed", f"an order through more than {_ORDER_DEPTH_MAX} relationships", path=path
        )
    for name, inner in item.items():
        if inner is None or inner is Undefined:  # Undefined: a variable that was not given
            continue
        if name in source.related:
            relationship, target = source.related[name]
            for cell, direction in _ordered(target, inner, path, depth + 1, rights):
                yield Via(relationship.join, cell, rights.filter(target)), direction
        elif name in source.totals:
            relationship, target = source.totals[name]
            for aggregate, direction in aggregates_ordered(target, inner, rights):
                yield Via(relationship.join, aggregate, rights.filter(target)), direction
        else:
            yield rights.cell(source, source.place_of[name]), inner


def distinct_on(
    source: Source, value: Sequence[str] | None, order: tuple[Term, ...], path: str, rights: Rights
) -> tuple[tuple[int, ...], tuple[Term, ...]]:
    """``[T_select_column!]``: the places of the columns of which each combination is shown once, and the order it takes.

    The first row of each combination in that order is the one. Given an order, its first columns must be these, in any
    sequence; without one the combinations are in their own order, as PostgreSQL's sort leaves them. ``path`` is that
    of the arguments: Hasura reports the mismatch there.
    """
    row_type = source.row_type
    places = tuple(dict.fromkeys(field_index(row_type, field) for field in value or ()))
    for place in places:
        if "_eq" not in row_type.columns[place].scalar.operators:
            column = row_type.columns[place]
            raise RequestError(
                "validation-failed",
                f"the column '{column.field}' of type '{column.scalar.graphql}' cannot be in \"distinct_on\"",
                path=path,
                detail="values of that type have no equality here",
            )
    if not order:
        return places, tuple(ordered(rights.cell(source, place)) for place in places)
    first = {_own_column(term) for term in order[: len(places)]}
    if first != set(places):
        raise RequestError(
            "validation-failed", '"distinct_on" columns must match initial "order_by" columns', path=path
        )
    return places, order


def _own_column(term: Term) -> int | None:
    if isinstance(term, OrderBy):
        return term.column
    return term.via.column if isinstance(term.via, Masked) else None


def window_bound(value: object, path: str) -> int | None:
    """``limit`` and ``offset``: null is absent, negative is refused."""
    if value is None:
        return None
    assert isinstance(value, int)
    if not 0 <= value <= _INT32_MAX:
        raise RequestError(
            "validation-failed",
            f"expected a non-negative 32-bit integer for type 'Int', but found {value}",
            path=path,
        )
    return value


def by_pk(row_type: RowType, arguments: Mapping[str, Any], path: str) -> Predicate:
    """The equality on every key column."""
    parts = []
    for place in row_type.key:
        column = row_type.columns[place]
        cell = cell_of(column.scalar, arguments[column.field], f"{path}.{column.field}")
        parts.append(Compare(place, "eq", cell))
    return conjunction(parts)

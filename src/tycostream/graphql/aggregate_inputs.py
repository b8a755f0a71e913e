"""Aggregates over related rows in conditions and orders: ``R_aggregate_bool_exp`` and ``R_aggregate_order_by``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphql import Undefined

from tycostream.dataflow.aggregate import NUMERIC, scalar_of
from tycostream.dataflow.predicate import TRUE, Aggregated, Predicate, conjunction
from tycostream.dataflow.relation import Aggregate, Join
from tycostream.errors import RequestError
from tycostream.graphql.aggregate_selections import count
from tycostream.graphql.budget import Budget
from tycostream.graphql.comparisons import comparison, null
from tycostream.graphql.rights import Rights
from tycostream.graphql.source import Source
from tycostream.scalars import SCALARS

Inside = Callable[
    [Mapping[str, Any], str, Source], Predicate
]  # a condition on rows, its path, and whose rows


def aggregated(
    join: Join,
    target: Source,
    value: Mapping[str, Any],
    path: str,
    inside: Inside,
    budget: Budget,
    rights: Rights,
) -> Predicate:
    """``R_aggregate_bool_exp``: one function over those rows of ``join`` that its filter lets through, compared."""
    name = f"{target.row_type.source}_aggregate_bool_exp"
    if len(value) != 1:
        raise RequestError(
            "validation-failed",
            f"exactly one function is expected in '{name}', but found {len(value)}",
            path=path,
        )
    ((function, given),) = value.items()
    path = f"{path}.{function}"
    if given is None:
        raise null(f"{name}_{function}", path)
    aggregate = rights.aggregate(target, _aggregate(target, function, given, f"{path}.arguments"))
    predicate: Predicate = TRUE
    if "filter" in given:
        if given["filter"] is None:
            raise null(f"{target.row_type.source}_bool_exp", f"{path}.filter")
        predicate = inside(given["filter"], f"{path}.filter", target)
    scalar = SCALARS[scalar_of(aggregate, target.row_type).name]
    conditions: list[Predicate] = []
    for operator, operand in given["predicate"].items():
        here = f"{path}.predicate.{operator}"
        budget.condition(here, operator, operand)
        conditions.append(comparison(scalar, 0, operator, operand, here))
    return Aggregated(join, rights.rows(target, predicate), aggregate, conjunction(conditions))


def _aggregate(target: Source, function: str, given: Mapping[str, Any], path: str) -> Aggregate:
    if function == "count":
        return count(target.row_type, given, path, "arguments")
    # of the others the different values give what all values do
    distinct = bool(given.get("distinct")) and function in NUMERIC
    return Aggregate(function, (target.place_of[given["arguments"]],), distinct)


def aggregates_ordered(
    target: Source, value: Mapping[str, Any], rights: Rights
) -> Iterator[tuple[Aggregate, str]]:
    """``R_aggregate_order_by``: what is ordered by, as it was written, and in which direction."""
    for function, inner in value.items():
        if inner is None or inner is Undefined:
            continue
        if function == "count":
            yield Aggregate("count"), inner
            continue
        for field, direction in inner.items():
            if direction is not None and direction is not Undefined:
                aggregate = Aggregate(function, (target.place_of[field],))
                yield rights.aggregate(target, aggregate), direction

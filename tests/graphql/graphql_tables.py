"""The tables that the GraphQL tests share."""

from __future__ import annotations

from typing import Any

import pytest

from tycostream.auth.session import Session
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import RootPlan
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, enum_scalar

SIDE = enum_scalar("side", ["buy", "sell"], lambda label: None)
TRADES = RowType(
    "trades",
    (
        Column("id", SCALARS["int8"], nullable=False),
        Column("symbol", SCALARS["text"]),
        Column("price", SCALARS["numeric"]),
        Column("qty", SCALARS["int4"]),
        Column("side", SIDE),
        Column("ratio", SCALARS["float4"]),
        Column("info", SCALARS["jsonb"]),
    ),
    key=(0,),
)
POSITIONS = RowType(
    "positions",
    (
        Column("book", SCALARS["text"], nullable=False),
        Column("Isin", SCALARS["text"], nullable=False, comment="who"),
    ),
    key=(0, 1),
)
PLANNER = Planner([TRADES, POSITIONS])


def root(query: str, variables: dict[str, object] | None = None, planner: Planner = PLANNER) -> Any:
    """The only root of a valid operation."""
    (found,) = planner.plan(query, None, variables, Session()).roots
    assert isinstance(found, RootPlan)
    return found


def refusals(
    query: str, variables: dict[str, object] | None = None, planner: Planner = PLANNER
) -> list[dict[str, Any]]:
    """The error entries of an operation that is refused."""
    with pytest.raises(InvalidRequest) as caught:
        planner.plan(query, None, variables, Session())
    return [dict(error.to_graphql()) for error in caught.value.errors]

"""Sources that lead to each other, and a planner of them: instruments, their trades, and the fills of these."""

from __future__ import annotations

from typing import Any

import pytest

from tycostream.auth.session import Session
from tycostream.config.load import loads
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import RootPlan
from tycostream.rows import Column, RowType
from tycostream.scalars import scalar_for

CONFIG = loads(
    """
databases: {main: {url: 'host=db'}}
sources:
  instruments:
    relationships:
      trades: {array: trades, on: {id: instrument_id}}
  trades:
    column_config: {instrument_id: {name: instrumentId}}
    relationships:
      instrument: {object: instruments, on: {instrument_id: id}, comment: what was traded}
      fills: {array: fills, on: {id: trade_id}}
      parent: {object: trades, on: {parent_id: id}}
  fills:
    relationships:
      trade: {object: trades, on: {trade_id: id}, required: true}
""",
    environ={},
)


def _row_type(source: str, **columns: str) -> RowType:
    made = [
        Column(
            name,
            scalar_for(text.removesuffix("!")),
            nullable=not text.endswith("!"),
            field="instrumentId" if name == "instrument_id" else "",
        )
        for name, text in columns.items()
    ]
    return RowType(source, tuple(made), (0,))


INSTRUMENTS = _row_type("instruments", id="int4!", symbol="text!", sector="text", doc="json")
TRADES = _row_type("trades", id="int8!", instrument_id="int4", price="numeric", parent_id="int8")
FILLS = _row_type("fills", id="int8!", trade_id="int8!", qty="int4", note="jsonb")
PLANNER = Planner([INSTRUMENTS, TRADES, FILLS], sources=CONFIG.sources)


def root(query: str, variables: dict[str, object] | None = None) -> RootPlan:
    """The only root of a valid operation."""
    (found,) = PLANNER.plan(query, None, variables, Session()).roots
    assert isinstance(found, RootPlan)
    return found


def refusal(query: str, variables: dict[str, object] | None = None) -> dict[str, Any]:
    """The first error of an operation that is refused: message, path, code and hint."""
    with pytest.raises(InvalidRequest) as caught:
        PLANNER.plan(query, None, variables, Session())
    entry = caught.value.errors[0].to_graphql()
    assert isinstance(entry["extensions"], dict)
    return {"message": entry["message"], **entry["extensions"]}

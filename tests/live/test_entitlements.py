"""Who may see the same shares the work: as many cohorts as entitlements, however many users there are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.live_harness import Client
from tycostream.auth.session import Session
from tycostream.config.model import LiveConfig, SourceConfig
from tycostream.graphql.execute import Planner
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Column, Position, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.clock import FakeClock

DESKS, USERS = 10, 1000
TRADES = RowType(
    "trades",
    tuple(
        Column(name, SCALARS[kind], nullable=name != "id")
        for name, kind in (("id", "int4"), ("desk", "int4"), ("note", "text"), ("secret", "text"))
    ),
    key=(0,),
)
MINE = {"desk": {"_eq": "X-Hasura-Desk"}}
PERMISSIONS: dict[str, dict[str, Any]] = {
    "trader": {"columns": ["id", "desk", "note"], "where": MINE, "aggregate": True},
    "auditor": {"columns": ["id", "secret"], "where": {"note": {"_eq": "n1"}} | MINE},
}
SOURCES = {"trades": SourceConfig.model_validate({"name": "trades", "permissions": PERMISSIONS})}
QUERIES = (
    "subscription {root: trades_changes {phase changes {operation row {id}}}}",
    "subscription {root: trades {id}}",
    "subscription {root: trades_aggregate {aggregate {count}}}",
    "subscription {root: trades_stream(batch_size: 5, cursor: {initial_value: {id: 0}}) {id}}",
)


@pytest.mark.parametrize("role", ["trader", "both"])
@pytest.mark.parametrize("query", QUERIES)
def test_users_of_equal_entitlements_share_a_cohort(role: str, query: str) -> None:
    planner = Planner((TRADES,), sources=SOURCES, role=role, inherited={"both": ("trader", "auditor")})
    clock = FakeClock()
    hub = Hub(clock, silent, CursorBox(["test"]), outbox_bytes_max=1 << 20)
    hub.add_source(TRADES, LiveConfig())
    rows: list[Row] = [(n, n % DESKS, f"n{n % 3}", "s") for n in range(100)]
    hub.load("trades", rows, Position("life", 0, 1))
    clients: list[Client] = []
    for n in range(USERS):
        session = Session(role, {"desk": str(n % DESKS), "user-id": str(n)})
        clients.append(Client(hub, planner.plan(query, None, None, session)))
    clock.run()
    assert len(hub._cohorts.known) == DESKS
    assert {len(cohort.members) for cohort in hub._cohorts.known.values()} == {USERS // DESKS}
    assert hub.sources["trades"].router.scanned == 0, "a row finds who may see it, and asks nobody else"
    told = [len(client.sink.messages()) for client in clients]
    hub.apply(Batch(Position("life", 0, 2), {"trades": [Change(1000, None, (1000, 3, "n", "s"))]}))
    clock.advance(1)
    news = {n % DESKS for n, client in enumerate(clients) if len(client.sink.messages()) > told[n]}
    assert news == {3}

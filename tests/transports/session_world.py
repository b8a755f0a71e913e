"""A port over two sources with permissions and tokens of one secret, whose time of day can be set forward."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.auth.tokens import NAMESPACE, SECRET, token
from tests.transports.test_port import ITEMS, Port, serving, subscribe
from tycostream.clock import SystemClock
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.scripted import ScriptedEngine

NOTES = RowType(
    "notes",
    (Column("id", SCALARS["int8"], nullable=False), Column("text", SCALARS["text"])),
    key=(0,),
)
ADMIN = {"X-Hasura-Admin-Secret": "the secret of the admin"}
YAML = f"""
databases: {{main: {{url: host=scripted}}}}
sources:
  items:
    permissions:
      user: {{columns: [id, name], where: {{id: {{_lte: X-Hasura-Top}}}}}}
      reader: {{columns: [id, name]}}
  notes:
    permissions: {{user: {{columns: [id, text]}}, reader: {{columns: [id, text]}}}}
server: {{port: 0}}
auth:
  admin_secrets: {ADMIN["X-Hasura-Admin-Secret"]}
  jwt: [{{type: HS256, key: "{SECRET}"}}]
"""
ITEMS_FEED = "subscription {items_changes {phase changes {row {id name}}}}"
ITEMS_LIVE = "subscription {items(order_by: {id: asc}) {id name}}"
ITEMS_STREAM = "subscription {items_stream(cursor: {initial_value: {id: -1}}, batch_size: 9) {id name}}"
NOTES_LIVE = "subscription {notes {id text}}"


class Wall(SystemClock):
    """The machine's clock, with the time of day set forward by ``ahead_s``."""

    ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


def shown(role: str = "user", user: str = "7", top: str = "1", **more: Any) -> dict[str, str]:
    """The headers of a token."""
    claims = {
        "x-hasura-default-role": role,
        "x-hasura-allowed-roles": [role],
        "x-hasura-user-id": user,
        "x-hasura-top": top,
    }
    namespace: dict[str, Any] = {NAMESPACE: {**claims, **more.pop("claims", {})}}
    return {"Authorization": f"Bearer {token(**namespace, **more)}"}


@asynccontextmanager
async def world(
    monkeypatch: pytest.MonkeyPatch, yaml: str = YAML, wall: Wall | None = None
) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS, NOTES])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    engine.tables["notes"] = [(1, "a note")]
    async with serving(engine, monkeypatch, yaml, clock=wall or Wall()) as port:
        yield port


async def greet(ws: Any, headers: dict[str, str]) -> None:
    await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": headers}}))
    assert json.loads(await ws.recv()) == {"type": "connection_ack"}


async def start(ws: Any, query: str, operation_id: str) -> Any:
    """Subscribe; gives the first payload's data."""
    await ws.send(subscribe(query, operation_id))
    message = json.loads(await ws.recv())
    assert (message["type"], message["id"]) == ("next", operation_id), message
    return message["payload"]["data"]


async def refresh(ws: Any, headers: Any) -> None:
    await ws.send(json.dumps({"type": "ping", "payload": {"headers": headers}}))


async def closed(ws: Any) -> tuple[int, str]:
    """How the server closes it, whatever it says before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await ws.recv()
    return ws.close_code, ws.close_reason


def idle(port: Port) -> bool:
    """Whether nothing is left of any client."""
    authenticator = port.app.authenticator
    return not (len(authenticator.expiries) or authenticator._watchers or len(port.app.clients))

"""What operations tell of themselves, over both transports, and that it is in the audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.transports.session_world import (
    ADMIN,
    ITEMS_FEED,
    ITEMS_LIVE,
    YAML,
    greet,
    refresh,
    shown,
    start,
    world,
)
from tests.transports.test_port import Port, subscribe
from tycostream.observe.events import OperationEnded, OperationRefused, OperationStarted

QUERY = "query Mine {items {id name}}"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, log: Path) -> AsyncIterator[Port]:
    async with world(monkeypatch, f"{YAML}audit: {{file: {log}}}\n") as port:
        yield port


async def ended(port: Port, count: int = 1) -> list[OperationEnded]:
    async with asyncio.timeout(5):
        while len(found := [each for each in port.events if isinstance(each, OperationEnded)]) < count:
            await asyncio.sleep(0.005)
    return found


def began(port: Port) -> list[OperationStarted]:
    return [each for each in port.events if isinstance(each, OperationStarted)]


async def post(port: Port, query: str, headers: dict[str, str], name: str | None = None) -> Any:
    async with httpx2.AsyncClient() as client:
        body = {"query": query, "operationName": name}
        return (await client.post(f"{port.url}/graphql", json=body, headers=headers)).json()


async def test_a_query_over_http(port: Port) -> None:
    await post(port, QUERY, shown(jti="t-1"), "Mine")
    (start_event,), (end,) = began(port), await ended(port)
    asked = end.asked
    assert asked == start_event.asked
    assert (asked.transport, asked.client_ip, asked.role, asked.user) == ("http", "127.0.0.1", "user", "7")
    assert (asked.token, asked.name, asked.document) == ("t-1", "Mine", sha256(QUERY.encode()).hexdigest())
    assert (end.operation, end.kind, end.sources) == (start_event.operation, "query", ("items",))
    assert (end.reason, end.rows) == ("completed", 2)
    assert end.seconds >= 0


async def test_what_a_role_may_not_ask_is_a_denial(port: Port) -> None:
    await post(port, "{items {id secret}}", shown())
    (refused,) = [each for each in port.events if isinstance(each, OperationRefused)]
    assert (refused.asked.role, refused.code) == ("user", "validation-failed")
    assert refused.message == "field 'secret' not found in type: 'items'"
    assert began(port) == []


async def test_subscriptions_and_every_way_in_which_they_end(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, shown())
        await start(ws, ITEMS_LIVE, "live")
        await start(ws, ITEMS_FEED, "feed")
        await ws.send('{"id":"feed","type":"complete"}')
        (feed,) = await ended(port)
        assert (feed.kind, feed.sources, feed.reason, feed.rows) == ("feed", ("items",), "client", 2)
        await refresh(ws, shown(top="0"))
        live = (await ended(port, 2))[1]
        assert (live.kind, live.reason, live.rows) == ("live", "session-changed", 2)
        await ws.send(subscribe(QUERY, "query"))
        query = (await ended(port, 3))[2]
        assert (query.kind, query.reason, query.rows) == ("query", "completed", 1)
        assert query.asked.connection == feed.asked.connection
    async with port.connect() as ws:
        await greet(ws, shown())
        await start(ws, ITEMS_LIVE, "live")
    assert (await ended(port, 4))[3].reason == "disconnected"
    assert sorted(each.operation for each in began(port)) == sorted(
        each.operation for each in await ended(port, 4)
    )


async def test_a_source_that_fails_ends_what_reads_it(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, ADMIN)
        await start(ws, ITEMS_LIVE, "live")
        config = port.app.config
        sources = {name: source for name, source in config.sources.items() if name != "items"}
        await port.app.reload(config.model_copy(update={"sources": sources}))
        assert (await ended(port))[0].reason == "source-removed"


async def test_it_is_in_the_audit_log_with_who_came_and_went(port: Port, log: Path) -> None:
    await post(port, QUERY, {"X-Hasura-Admin-Secret": "guessed"})
    async with port.connect() as ws:
        await greet(ws, shown())
        await start(ws, ITEMS_LIVE, "live")
    await port.closed(1)
    await ended(port)
    await port.app._audit.close()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [line["event"] for line in lines]
    for event in (
        "authentication_failed",
        "connection_opened",
        "authenticated",
        "operation_started",
        "operation_ended",
        "connection_closed",
    ):
        assert event in told
    assert "guessed" not in log.read_text()
    assert "Bearer" not in log.read_text()

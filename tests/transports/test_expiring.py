"""A session ends at its second, and with it whatever was going on for it, over WebSockets and over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.transports.session_world import (
    ITEMS_FEED,
    ITEMS_LIVE,
    ITEMS_STREAM,
    Wall,
    closed,
    greet,
    idle,
    shown,
    start,
    world,
)
from tests.transports.test_port import Port, subscribe

NEW = "application/graphql-response+json"
OVER = (4403, "Forbidden: the token has expired")


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, wall: Wall) -> AsyncIterator[Port]:
    async with world(monkeypatch, wall=wall) as port:
        yield port


@pytest.mark.parametrize("query", [ITEMS_FEED, ITEMS_LIVE, ITEMS_STREAM])
async def test_a_subscription_ends_and_nothing_is_told_afterwards(port: Port, query: str) -> None:
    ends_s = time.time() + 1
    async with port.connect() as ws:
        await greet(ws, shown(exp=ends_s))
        await start(ws, query, "a")
        members = [each for cohort in port.app.hub._cohorts.known.values() for each in cohort.members]
        assert len(members) == 1
        assert await closed(ws) == OVER
        assert 0 <= time.time() - ends_s < 1, "at the second it happens"
        assert members[0].ended
        port.engine.commit({"items": [((0, "name 0"), (0, "zero"))]})
    await port.closed(1)
    assert idle(port)


class Held:
    """The App's query, held back until ``free``."""

    def __init__(self, port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = port.app.query
        self.free, self.begun = asyncio.Event(), asyncio.Event()
        self.ended: list[str] = []
        monkeypatch.setattr(port.app, "query", self._query)

    async def _query(self, *given: Any) -> bytes:
        self.begun.set()
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("answered")
        return await self._real(*given)


async def test_a_query_on_a_websocket_is_given_up(
    port: Port, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(port, monkeypatch)
    async with port.connect() as ws:
        await greet(ws, shown(exp=int(time.time()) + 100))
        await ws.send(subscribe("{items {id}}", "a"))
        await held.begun.wait()
        wall.ahead_s = 100
        assert await closed(ws) == OVER
    await port.closed(1)
    assert held.ended == ["cancelled"]
    assert idle(port)


@pytest.mark.parametrize(("accept", "status"), [("application/json", 200), (NEW, 401)])
async def test_a_query_over_http_is_given_up(
    port: Port, wall: Wall, monkeypatch: pytest.MonkeyPatch, accept: str, status: int
) -> None:
    held = Held(port, monkeypatch)
    headers = {**shown(exp=int(time.time()) + 100), "Accept": accept}
    async with httpx2.AsyncClient() as client:
        asking = asyncio.create_task(
            client.post(f"{port.url}/graphql", json={"query": "{items {id}}"}, headers=headers)
        )
        await held.begun.wait()
        assert len(port.app.authenticator.expiries) == 1
        wall.ahead_s = 100
        answer = await asking
    assert answer.status_code == status
    assert answer.json()["errors"][0]["extensions"]["code"] == "invalid-jwt"
    assert answer.json()["errors"][0]["message"] == "Could not verify JWT: JWTExpired"
    assert held.ended == ["cancelled"]
    assert idle(port)


async def test_a_body_that_comes_too_late(port: Port, wall: Wall) -> None:
    held = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"query": "{items'
        await held.wait()
        yield b' {id}}"}'

    headers = {**shown(exp=int(time.time()) + 100), "Content-Type": "application/json"}
    async with httpx2.AsyncClient() as client:
        asking = asyncio.create_task(client.post(f"{port.url}/graphql", content=body(), headers=headers))
        while not len(port.app.authenticator.expiries):
            await asyncio.sleep(0.005)
        wall.ahead_s = 100
        while len(port.app.authenticator.expiries):
            await asyncio.sleep(0.005)
        held.set()
        assert (await asking).json()["errors"][0]["message"] == "Could not verify JWT: JWTExpired"


async def test_an_answer_before_the_end_leaves_nothing(port: Port) -> None:
    headers = shown(exp=int(time.time()) + 100)
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"{port.url}/graphql", json={"query": "{notes {id}}"}, headers=headers)
        assert answer.json() == {"data": {"notes": [{"id": 1}]}}
        refused = await client.post(f"{port.url}/graphql", json={"query": "{nope}"}, headers=headers)
        assert "errors" in refused.json()
    assert idle(port)


async def test_a_thousand_operations_take_one_timer_and_end_together(port: Port, wall: Wall) -> None:
    async with port.connect() as ws, port.connect() as lasting:
        await greet(ws, shown(exp=int(time.time()) + 100))
        await greet(lasting, shown(exp=int(time.time()) + 10**12))
        for n in range(300):
            await start(ws, ITEMS_LIVE, str(n))
        assert len(port.app.authenticator.expiries) == 2
        wall.ahead_s = 100
        assert await closed(ws) == OVER
        await start(lasting, ITEMS_LIVE, "a")
        (cohort,) = port.app.hub._cohorts.known.values()
        assert len(cohort.members) == 1
        await lasting.send('{"type":"ping"}')
        assert json.loads(await lasting.recv()) == {"type": "pong"}

"""A cookie that says who it is, and the pages that would like to use it: on the port, over HTTP and WebSockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.auth.tokens import SECRET, token
from tests.transports.test_port import ITEMS, Port, serving
from tycostream.observe.events import RequestRefused
from tycostream.testing.scripted import ScriptedEngine

ROLES: Any = {"x-hasura-default-role": "admin", "x-hasura-allowed-roles": ["admin"]}
NAMESPACE: Any = {"https://hasura.io/jwt/claims": ROLES}
COOKIE = {"Cookie": f"theme=dark; session={token(**NAMESPACE)}"}
YAML = f"""
databases: {{main: {{url: host=scripted}}}}
sources: {{items: {{}}}}
server:
  port: 0
  cors: {{origins: ["https://app.example"], credentials: %s}}
auth:
  jwt: [{{type: HS256, key: "{SECRET}", header: {{type: Cookie, name: session}}}}]
"""
QUERY = {"query": "{items_by_pk(id: 1) {name}}"}
ROW = {"data": {"items_by_pk": {"name": "name 1"}}}
INIT = '{"type":"connection_init"}'


async def _serving(credentials: bool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, YAML % str(credentials).lower()) as port:
        yield port


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    async for port in _serving(False, monkeypatch):
        yield port


@pytest.fixture
async def trusting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    async for port in _serving(True, monkeypatch):
        yield port


async def greeting(port: Port, **headers: str) -> Any:
    """What connection_init is answered with, its cookie in the upgrade: the message, or the close code."""
    origin: Any = headers.pop("origin", None)
    async with port.connect(origin=origin, additional_headers={**COOKIE, **headers}) as ws:
        await ws.send(INIT)
        try:
            return json.loads(await ws.recv())["type"]
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else closed


async def post(port: Port, **headers: str) -> Any:
    async with httpx2.AsyncClient() as client:
        return (await client.post(f"{port.url}/graphql", json=QUERY, headers={**COOKIE, **headers})).json()


async def test_a_page_of_ours_uses_the_cookie(port: Port) -> None:
    assert await post(port, origin=port.url) == ROW
    assert await greeting(port, origin=port.url) == "connection_ack"
    assert await greeting(port) == "connection_ack"


async def test_a_foreign_page_hijacks_nothing(port: Port) -> None:
    assert (await post(port, origin="https://evil.example"))["errors"][0]["extensions"]["code"] == (
        "origin-not-allowed"
    )
    with pytest.raises(InvalidStatus, match="403"):
        await greeting(port, origin="https://evil.example")
    refused = [event for event in port.events if isinstance(event, RequestRefused)]
    assert [(event.transport, event.client_ip, event.status) for event in refused] == [
        ("http", "127.0.0.1", 403),
        ("websocket", "127.0.0.1", 403),
    ]


async def test_a_page_that_may_come_without_cookies_comes_without(port: Port) -> None:
    """A browser sends them with a WebSocket whatever was said."""
    assert (await post(port, origin="https://app.example"))["errors"][0]["extensions"]["code"] == (
        "invalid-headers"
    )
    assert await greeting(port, origin="https://app.example") == 4403


async def test_a_page_that_may_come_with_them(trusting: Port) -> None:
    assert await post(trusting, origin="https://app.example") == ROW
    assert await greeting(trusting, origin="https://app.example") == "connection_ack"
    with pytest.raises(InvalidStatus, match="403"):
        await greeting(trusting, origin="https://evil.example")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "preflight-required"),
        ({"X-Requested-With": "x"}, "preflight-required"),
        ({"Content-Type": "text/plain"}, "preflight-required"),
        ({"Sec-Fetch-Site": "cross-site"}, "origin-not-allowed"),
        ({"Sec-Fetch-Site": "same-site"}, "origin-not-allowed"),
        ({"GraphQL-Require-Preflight": "1"}, None),
        ({"X-Hasura-Role": "admin"}, None),
        ({"Content-Type": "application/json"}, None),
        ({"Sec-Fetch-Site": "same-origin"}, None),
    ],
)
async def test_a_get_with_a_cookie(port: Port, headers: dict[str, str], code: str | None) -> None:
    async with httpx2.AsyncClient() as client:
        for path in ("/graphql", "/v1/graphql"):
            answer = await client.get(port.url + path, params=QUERY, headers={**COOKIE, **headers})
            assert answer.status_code == (403 if code else 200)
            assert (
                answer.json() == ROW
                if code is None
                else code == (answer.json()["errors"][0]["extensions"]["code"])
            )
            head = await client.head(port.url + path, params=QUERY, headers={**COOKIE, **headers})
            assert head.status_code == answer.status_code


async def test_a_get_with_another_cookie_needs_nothing(port: Port) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{port.url}/graphql", params=QUERY, headers={"Cookie": "theme=dark"})
    assert answer.json()["errors"][0]["extensions"]["code"] == "invalid-headers"


async def test_only_queries_run_by_get(port: Port) -> None:
    async with httpx2.AsyncClient() as client:
        for query in ("mutation {x}", "subscription {items {id}}"):
            answer = await client.get(
                f"{port.url}/graphql",
                params={"query": query},
                headers={**COOKIE, "GraphQL-Require-Preflight": "1"},
            )
            assert "data" not in answer.json()

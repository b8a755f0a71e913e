"""Every route, and what somebody who shows nothing gets from it: a route that is not in the table fails here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.routing import Mount, Route
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.transports.test_port import ITEMS, Port, serving, subscribe
from tycostream.demo.pages import routes as demo_routes
from tycostream.testing.scripted import ScriptedEngine
from tycostream.transports.http import make_app

ADMIN = {"X-Hasura-Admin-Secret": "the secret of the admin"}
YAML = """
databases: {ledger: {url: host=scripted}}
sources: {items: {}}
server: {port: 0}
auth: {admin_secrets: the secret of the admin}
"""
SECRETS = ("items", "ledger", "scripted", "Traceback", "tycostream/")
# route → status and body of a plain GET, or None where the tests below look
OPEN: dict[str, tuple[int, str] | None] = {
    "/": (307, ""),  # to the page
    "/graphql": None,
    "/v1/graphql": None,
    "/graphiql-examples.json": (200, "[]"),
    "/healthz": (200, "OK"),
    "/readyz": (200, '{"ready":true}'),
    "/v1/version": None,
    "/graphiql": None,  # files of GraphiQL
    "/v1/admin/sessions": None,
    "/v1/admin/state": None,
    "/v1/admin/revoke": None,
}
OPEN_IN_THE_DEMO = {"/demo", "/demo/static"}


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, YAML) as port:
        yield port


async def test_every_route_is_known_here(port: Port) -> None:
    app = make_app(port.app, port.app.settings, port.events.append, extra_routes=demo_routes())
    known = {route.path for route in app.routes if isinstance(route, (Route, Mount))}
    assert len(known) == len(app.routes)
    assert known == OPEN.keys() | OPEN_IN_THE_DEMO


async def test_what_nobody_gets(port: Port) -> None:
    async with httpx2.AsyncClient(base_url=port.url) as client:
        for path, expected in OPEN.items():
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD"):
                answer = await client.request(method, path)
                said = answer.text + json.dumps(dict(answer.headers))
                assert not [secret for secret in SECRETS if secret in said], (method, path)
                assert answer.status_code != 500
                if method == "GET" and expected is not None:
                    assert (answer.status_code, answer.text) == expected
                if method not in ("GET", "POST", "HEAD"):
                    assert answer.status_code in (307, 404, 405), (method, path)
        assert (await client.get("/v1/version")).json().keys() == {"version"}


async def test_nobody_administers(port: Port) -> None:
    async with httpx2.AsyncClient(base_url=port.url) as client:
        for answer in (
            await client.get("/v1/admin/sessions"),
            await client.get("/v1/admin/state"),
            await client.post("/v1/admin/revoke", json={"role": "admin"}),
        ):
            assert answer.status_code == 401
            assert answer.json()["errors"][0]["extensions"]["code"] == "access-denied"


@pytest.mark.parametrize("path", ["/graphql", "/v1/graphql"])
async def test_nobody_asks_anything_of_the_api(port: Port, path: str) -> None:
    async with httpx2.AsyncClient(base_url=port.url) as client:
        for query in (
            "{items {id}}",
            "{__typename}",
            "{__schema {types {name}}}",
            "{",
            "subscription {items {id}}",
        ):
            for answer in (
                await client.post(path, json={"query": query}),
                await client.get(path, params={"query": query}),
                await client.get(path, params={"query": query}, headers={"accept": "text/html"}),
            ):
                assert answer.json()["errors"][0]["extensions"]["code"] == "access-denied", query
                assert "data" not in answer.json()
        page = await client.get(path, headers={"accept": "text/html"})
        assert "GraphiQL" in page.text
        assert "items" not in page.text
    port.ws = port.url.replace("http", "ws") + path
    for messages in (
        ['{"type":"connection_init"}'],
        ['{"type":"connection_init","payload":{"headers":{}}}', subscribe("{items {id}}")],
        [subscribe("{items {id}}")],
    ):
        async with port.connect() as ws:
            for message in messages:
                await ws.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in (4401, 4403)


@pytest.mark.parametrize(
    "path",
    [
        "/graphiql/../http.py",
        "/graphiql/%2e%2e/http.py",
        "/graphiql/..%2fhttp.py",
        "/graphiql/assets/..%2f..%2f..%2fhttp.py",
        "/graphiql/%2fetc%2fpasswd",
        "/graphiql//etc/passwd",
        "/graphiql/assets",
        "/graphiql/\0",
        "/graphiql/%00",
        "/metrics",
        "/admin",
        "/v1/metadata",
        "/v1/query",
        "/v1/admin",
        "/v1/admin/",
        "/v1/admin/nope",
        "/console",
        "/graphql/",
        "//graphql",
    ],
)
async def test_nothing_else_is_there(port: Port, path: str) -> None:
    host = port.url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    # by hand: clients mend such paths
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    status = int(answer.split()[1])
    assert status in (307, 400, 404)
    assert "import" not in answer
    assert "root:" not in answer


async def test_websockets_are_nowhere_else(port: Port) -> None:
    for path in ("/", "/readyz", "/graphiql", "/graphql/x", "/v1/admin/state"):
        port.ws = port.url.replace("http", "ws") + path
        with pytest.raises(InvalidStatus, match="404"):
            await port.connect(additional_headers=ADMIN)


async def test_an_admin_is_told_what_readyz_waits_for(port: Port) -> None:
    async with httpx2.AsyncClient(base_url=port.url) as client:
        assert (await client.get("/readyz", headers=ADMIN)).json()["sources"][0]["source"] == "items"

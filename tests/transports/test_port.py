"""The port, really listening: HTTP's rules, WebSockets that misbehave, and a drain; over a scripted database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tycostream.app import App
from tycostream.clock import Clock, SystemClock
from tycostream.config.load import loads
from tycostream.config.model import ServerConfig
from tycostream.engines.base import Engine
from tycostream.observe.events import ConnectionClosed as ClosedEvent
from tycostream.observe.events import Event, RequestRefused
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.scripted import ScriptedEngine
from tycostream.transports.http import make_app
from tycostream.transports.http_protocol import http_class
from tycostream.transports.server import PortServer
from tycostream.transports.websocket import websocket_class

ITEMS = RowType(
    "items",
    (Column("id", SCALARS["int8"], nullable=False), Column("name", SCALARS["text"])),
    key=(0,),
)
YAML = """
databases: {main: {url: host=scripted}}
sources: {items: {}}
server: {port: 0, message_bytes_max: 20000, connection_init_timeout: 300ms, operations_max: 3}
"""
PROTOCOL = [Subprotocol("graphql-transport-ws")]


class Port:
    """A running server over a scripted database."""

    def __init__(
        self, app: App, engine: ScriptedEngine, url: str, server: PortServer, events: list[Event]
    ) -> None:
        self.app, self.engine, self.url, self.server, self.events = app, engine, url, server, events
        self.ws = url.replace("http", "ws") + "/graphql"

    def connect(self, **arguments: Any) -> websockets.connect:
        return websockets.connect(self.ws, subprotocols=PROTOCOL, **arguments)

    async def closed(self, count: int) -> list[ClosedEvent]:
        while len(found := [e for e in self.events if isinstance(e, ClosedEvent)]) < count:
            await asyncio.sleep(0.005)
        return found


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch) as port:
        yield port


@contextlib.asynccontextmanager
async def serving(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, yaml: str = YAML, clock: Clock | None = None
) -> AsyncIterator[Port]:
    """A server whose database is ``engine``, with the one source ``items``."""

    def make_engine(*_: object) -> Engine:
        return engine

    monkeypatch.setattr("tycostream.upstreams.make_engine", make_engine)
    config = loads(yaml, environ={})
    events: list[Event] = []
    clock = clock or SystemClock()
    app = App(config, clock, events.append)
    async with app.running():
        http = make_app(app, app.settings, app.emit)
        server = PortServer(
            http,
            http_class(app.settings, app.limiter, clock, app.emit),
            websocket_class(app, app.settings, clock, app.emit),
            config.server,
            clock,
            app.emit,
        )
        url = await server.start()
        while not app.ready()[0]:
            await asyncio.sleep(0.005)
        yield Port(app, engine, url, server, events)
        await server.stop(2)


async def init(ws: Any) -> None:
    await ws.send('{"type":"connection_init"}')
    assert json.loads(await ws.recv()) == {"type": "connection_ack"}


async def drained(ws: Any) -> None:
    while True:
        await asyncio.wait_for(ws.recv(), 5)


def subscribe(query: str, operation_id: str = "1", variables: Mapping[str, object] | None = None) -> str:
    payload = {"query": query, "variables": variables}
    return json.dumps({"id": operation_id, "type": "subscribe", "payload": payload})


async def test_a_subscription_from_snapshot_to_live(port: Port) -> None:
    async with port.connect() as ws:
        await init(ws)
        await ws.send(subscribe("subscription {items_changes {phase changes {operation row {id name}}}}"))
        phases = [json.loads(await ws.recv())["payload"]["data"]["items_changes"]["phase"] for _ in range(2)]
        assert phases == ["snapshot", "ready"]
        port.engine.commit({"items": [((0, "name 0"), (0, "zero")), ((1, "name 1"), None)]})
        live = json.loads(await ws.recv())["payload"]["data"]["items_changes"]
        assert live["changes"] == [
            {"operation": "update", "row": {"id": 0, "name": "zero"}},
            {"operation": "delete", "row": None},
        ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long the queue may be")
async def test_as_many_may_wait_to_be_accepted_as_the_kernel_lets(port: Port) -> None:
    [bound] = port.server._server.servers
    [listening] = bound.sockets
    told = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    [queue] = struct.unpack_from("I", told, 28)  # of a listening socket tcpi_sacked is the bound of its queue
    assert queue == min(65535, int(Path("/proc/sys/net/core/somaxconn").read_text()))


async def test_several_operations_queries_and_errors_on_one_socket(port: Port) -> None:
    async with port.connect() as ws:
        await init(ws)
        await ws.send(subscribe("subscription {items(where: {id: {_eq: 1}}) {name}}", "a"))
        assert json.loads(await ws.recv())["payload"] == {"data": {"items": [{"name": "name 1"}]}}
        await ws.send(subscribe("{items_by_pk(id: 2) {name}}", "b"))
        assert json.loads(await ws.recv())["payload"] == {"data": {"items_by_pk": {"name": "name 2"}}}
        assert json.loads(await ws.recv()) == {"id": "b", "type": "complete"}
        await ws.send(subscribe("{nope}", "b"))
        assert json.loads(await ws.recv())["type"] == "error"
        await ws.send('{"type":"complete","id":"a"}')
        await ws.send(subscribe("subscription {items_by_pk(id: 9) {name}}", "a"))
        assert json.loads(await ws.recv())["payload"] == {"data": {"items_by_pk": None}}
        await ws.send('{"type":"ping"}')
        assert json.loads(await ws.recv()) == {"type": "pong"}
        for n in range(3):
            await ws.send(subscribe("subscription {items {id}}", f"more {n}"))
        kinds = [json.loads(await ws.recv())["type"] for _ in range(3)]
        assert sorted(kinds) == ["error", "next", "next"]


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["{"], 4400),
        ([b"binary"], 4400),
        ([subscribe("{items {id}}")], 4401),
        (['{"type":"connection_init"}'] * 2, 4429),
        (['{"type":"connection_init"}', *[subscribe("subscription {items {id}}")] * 2], 4409),
        (["x" * 30_000], 1009),
        ([], 4408),
    ],
)
async def test_close_codes(port: Port, messages: list[str | bytes], code: int) -> None:
    async with port.connect() as ws:
        for message in messages:
            with contextlib.suppress(ConnectionClosed):
                await ws.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            await drained(ws)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == code


async def test_a_missing_subprotocol_is_4406(port: Port) -> None:
    async with websockets.connect(port.ws) as ws:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4406


async def test_foreign_pages_and_other_paths_are_refused(port: Port) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        await port.connect(origin="http://evil.example")
    with pytest.raises(InvalidStatus, match="404"):
        await websockets.connect(port.ws + "/x", subprotocols=PROTOCOL)


async def test_a_client_that_vanishes_leaves_nothing(port: Port) -> None:
    ws = await port.connect()
    await init(ws)
    await ws.send(subscribe("subscription {items_changes {phase}}"))
    await ws.recv()
    ws.transport.abort()
    await port.closed(1)
    assert not any(cohort.members for cohort in port.app.hub._cohorts.known.values())
    async with port.connect() as other:
        await init(other)


async def test_a_drain_tells_clients_to_come_back(port: Port) -> None:
    async with port.connect() as ws:
        await init(ws)
        await asyncio.wait_for(port.server.stop(2), 5)
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012


GRAPHQL = "application/graphql-response+json"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "arguments", "status", "text"),
    [
        ("POST", {"json": {"query": "{items_by_pk(id: 1) {name}}"}}, 200, '{"data":{"items_by_pk":{"name":"name 1"}}}'),
        ("GET", {"params": {"query": "{items(limit: 1) {id}}"}}, 200, '{"data":{"items":[{"id":0}]}}'),
        ("POST", {"json": {"query": "{nope}"}}, 200, "field 'nope' not found"),
        ("POST", {"json": {"query": "{nope}"}, "headers": {"accept": GRAPHQL}}, 400, "field 'nope' not found"),
        ("POST", {"content": "{", "headers": JSON}, 400, "not valid JSON"),
        ("POST", {"content": "[{}]", "headers": JSON}, 400, "batches"),
        ("POST", {"content": "1", "headers": JSON}, 400, "not a JSON object"),
        ("POST", {"json": {}}, 400, "the query is missing"),
        ("POST", {"json": {"query": "{x}", "variables": 1}}, 400, "variables is not an object"),
        ("POST", {"content": "query={x}"}, 415, "application/json"),
        ("POST", {"content": "{}", "headers": {"content-type": "text/plain"}}, 415, "not text/plain"),
        ("POST", {"data": {"query": "{x}"}}, 415, "not application/x-www-form-urlencoded"),
        ("POST", {"files": {"query": b"{x}"}}, 415, "not multipart/form-data"),
        ("POST", {"content": "{}", "headers": {"content-type": "text/plain; application/json"}}, 415, "not text/plain"),
        ("POST", {"content": "{}", "headers": [*JSON.items(), *JSON.items()]}, 415, "not none"),
        ("POST", {"content": "{}", "headers": {"content-type": "application/json; charset=utf-7"}}, 415, "is UTF-8"),
        ("POST", {"content": "{}", "headers": {**JSON, "content-encoding": "gzip"}}, 415, "as it is, not gzip"),
        (
            "POST",
            {"content": '{"query":"{items_by_pk(id: 2) {id}}"}', "headers": {"content-type": "application/graphql+json; charset=UTF-8"}},
            200,
            '{"id":2}',
        ),
        ("GET", {"params": [("query", "{x}"), ("query", "{y}")]}, 400, "query is there several times"),
        ("POST", {"content": " " * 30_000, "headers": JSON}, 413, "more than 20000 bytes"),
        ("POST", {"json": {"query": "{x}"}, "headers": {"accept": "image/png"}}, 406, "answers with"),
        ("POST", {"json": {"query": "{x}"}, "headers": {"origin": "http://evil.example"}}, 403, "may not use"),
        ("POST", {"json": {"query": "subscription {items {id}}"}}, 200, "subscriptions need a WebSocket"),
        ("GET", {"params": {"query": "{x}", "variables": "{"}}, 400, "variables is not valid JSON"),
        ("PUT", {}, 405, ""),
    ],
)  # fmt: skip
async def test_http(port: Port, method: str, arguments: dict[str, Any], status: int, text: str) -> None:
    async with httpx2.AsyncClient(base_url=port.url) as client:
        response = await client.request(method, "/v1/graphql", **arguments)
    assert response.status_code == status, response.text
    assert text in response.text


async def test_sockets_that_drip_hold_nothing_that_others_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(1, "name 1")]
    text = YAML.replace("port: 0", "port: 0, header_timeout: 500ms, body_timeout: 500ms")
    async with serving(engine, monkeypatch, text) as port:
        address = port.url.removeprefix("http://").split(":")
        slow = [await asyncio.open_connection(*address) for _ in range(100)]
        head = b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        for number, (_, writer) in enumerate(slow):
            writer.write(head[:20] if number % 2 else head + b"Content-Length: 50\r\n\r\n{")
        async with httpx2.AsyncClient(base_url=port.url) as client:
            answer = await client.post("/graphql", json={"query": "{items_by_pk(id: 1) {name}}"})
        assert answer.json() == {"data": {"items_by_pk": {"name": "name 1"}}}
        for reader, writer in slow:
            said = await asyncio.wait_for(reader.read(), 30)
            assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            writer.close()
        assert len([event for event in port.events if isinstance(event, RequestRefused)]) == 100


async def test_health_version_and_graphiql(port: Port) -> None:
    async with httpx2.AsyncClient(base_url=port.url) as client:
        assert (await client.get("/healthz")).text == "OK"
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert [(source["source"], source["state"]) for source in ready.json()["sources"]] == [
            ("items", "live")
        ]
        port.app.hub.sources["items"].state = type(port.app.hub.sources["items"].state).STALE
        assert (await client.get("/readyz")).status_code == 503
        assert "version" in (await client.get("/v1/version")).json()
        page = await client.get("/graphql", headers={"accept": "text/html"})
        assert "GraphiQL" in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]


def test_a_server_config_binds_loopback_by_default() -> None:
    assert ServerConfig().host == "127.0.0.1"

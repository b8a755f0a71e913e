"""Behind a proxy on the same machine, as docs/configuration.md has it: its clients have their own addresses and names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from tests.transports.test_port import ITEMS, PROTOCOL, Port, serving
from tycostream.observe.events import ConnectionOpened, RequestRefused
from tycostream.testing.scripted import ScriptedEngine

ADMIN = {"X-Hasura-Admin-Secret": "the secret of the admin"}
FORGED = {"X-Forwarded-For": "198.51.100.66", "Forwarded": "for=198.51.100.67"}
YAML = """
databases: {main: {url: host=scripted}}
sources: {items: {}}
server: {port: 0, trusted_proxies: 127.0.0.1}
auth: {admin_secrets: the secret of the admin}
"""
CLIENT = "127.0.0.7"  # all of 127/8 is this machine, and one of its addresses is the proxy's


class Proxy:
    """One that adds the address of who asks to X-Forwarded-For, as nginx's $proxy_add_x_forwarded_for, and no more."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.removeprefix("http://").split(":")
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        peer = writer.get_extra_info("peername")[0]
        before = re.findall(r"^x-forwarded-for: (.*?)\r$", head, re.MULTILINE | re.IGNORECASE)
        head = re.sub(r"(?im)^(x-forwarded-for|connection: keep-alive).*\r\n", "", head)
        added = f"X-Forwarded-For: {', '.join([*before, peer])}\r\n"
        if "upgrade: websocket" not in head.lower():
            added += "Connection: close\r\n"
        there, back = await asyncio.open_connection(*self._upstream)
        back.write((head[:-2] + added + "\r\n").encode("latin-1"))
        pipes = [asyncio.ensure_future(self._pipe(*each)) for each in ((reader, back), (there, writer))]
        self._tasks.update(pipes)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, YAML) as port:
        yield port


@pytest.fixture
async def proxy(port: Port) -> AsyncIterator[Proxy]:
    proxy = Proxy(port.url)
    async with proxy.running():
        yield proxy


async def ask(proxy: Proxy, **headers: str) -> Any:
    transport = httpx2.AsyncHTTPTransport(local_address=CLIENT)
    async with httpx2.AsyncClient(transport=transport) as client:
        return await client.post(
            f"http://127.0.0.1:{proxy.port}/graphql",
            json={"query": "{items_by_pk(id: 1) {name}}"},
            headers={**ADMIN, "Host": "api.example", **headers},
        )


async def test_requests_under_the_public_name(port: Port, proxy: Proxy) -> None:
    assert (await ask(proxy)).json() == {"data": {"items_by_pk": {"name": "name 1"}}}
    assert (await ask(proxy, Origin="https://api.example")).status_code == 200  # TLS ends at the proxy
    refused = await ask(proxy, Origin="https://evil.example", **FORGED)
    assert refused.status_code == 403
    assert [event.client_ip for event in port.events if isinstance(event, RequestRefused)] == [CLIENT]


async def test_sockets_under_the_public_name(port: Port, proxy: Proxy) -> None:
    def connect(origin: str) -> websockets.connect:
        return websockets.connect(
            "ws://api.example/graphql",
            host="127.0.0.1",
            port=proxy.port,
            local_addr=(CLIENT, 0),
            subprotocols=PROTOCOL,
            origin=origin,  # type: ignore[arg-type]
            additional_headers=FORGED,
        )

    async with connect("https://api.example") as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": ADMIN}))
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
    (opened,) = (event for event in port.events if isinstance(event, ConnectionOpened))
    assert opened.client_ip == CLIENT
    assert opened.peer.startswith("127.0.0.1:")
    with pytest.raises(InvalidStatus, match="403"):
        await connect("https://evil.example")
    (closed,) = await port.closed(1)
    assert closed.client_ip == CLIENT


async def test_who_comes_past_the_proxy_is_whom_his_address_says(port: Port) -> None:
    """From another address than the proxy's: what he writes is not believed, and he has no public name."""
    transport = httpx2.AsyncHTTPTransport(local_address=CLIENT)
    async with httpx2.AsyncClient(transport=transport) as client:
        answer = await client.get(
            f"{port.url}/graphql?query={{x}}", headers={"Host": "api.example", **FORGED}
        )
    assert answer.status_code == 403
    assert [event.client_ip for event in port.events if isinstance(event, RequestRefused)] == [CLIENT]

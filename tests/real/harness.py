"""The whole server in this process, and clients that fold what it tells over a real WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import websockets
from websockets.typing import Subprotocol

from tycostream.app import App
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.observe.events import Emit, silent
from tycostream.transports.http import make_app
from tycostream.transports.http_protocol import http_class
from tycostream.transports.server import PortServer
from tycostream.transports.websocket import websocket_class

PROTOCOL = [Subprotocol("graphql-transport-ws")]
Rows = dict[tuple[Any, ...], dict[str, Any]]


@dataclass
class Server:
    """A running server."""

    app: App
    url: str

    async def query(self, query: str, **variables: Any) -> Any:
        """The data of a query; an error fails the test."""
        async with httpx2.AsyncClient() as client:
            answer = await client.post(f"{self.url}/graphql", json={"query": query, "variables": variables})
        body = answer.json()
        assert "errors" not in body, body
        return body["data"]

    def states(self) -> dict[str, str]:
        """The state of each source, as /readyz tells it."""
        return {str(entry["source"]): str(entry["state"]) for entry in self.app.ready()[1]}

    def reason(self, source: str) -> str:
        """Why a source is not live, as /readyz tells it."""
        return next(str(e.get("reason", "")) for e in self.app.ready()[1] if e["source"] == source)

    async def until(self, done: Callable[[dict[str, str]], bool], timeout_s: float = 60) -> None:
        """Wait for states of sources."""
        async with asyncio.timeout(timeout_s):
            while not done(self.states()):
                await asyncio.sleep(0.02)

    async def live(self) -> None:
        """Wait until every source is live."""
        await self.until(lambda states: set(states.values()) == {"live"})


@contextlib.asynccontextmanager
async def serving(
    text: str, environ: Mapping[str, str] | None = None, emit: Emit = silent
) -> AsyncIterator[Server]:
    """A server of a configuration, on a free port."""
    config = loads(text, environ=environ or {})
    clock = SystemClock()
    app = App(config, clock, emit)
    server_config = config.server.model_copy(update={"port": 0})
    async with app.running():
        port = PortServer(
            make_app(app, app.settings, silent),
            http_class(app.settings, app.limiter, clock, silent),
            websocket_class(app, app.settings, clock, silent),
            server_config,
            clock,
            silent,
        )
        url = await port.start()
        try:
            yield Server(app, url)
        finally:
            await port.stop(1)


@dataclass
class Feed:
    """A change feed, folded: what a client that keeps every promise's worth of it has on its screen."""

    key: tuple[str, ...]
    rows: Rows = field(default_factory=dict)
    phases: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)  # of everything after the snapshot
    cursor: str | None = None
    sets: int = 0
    _fresh: Rows | None = None

    def take(self, change_set: dict[str, Any]) -> None:
        """Apply one set of changes."""
        phase = change_set["phase"]
        if not self.phases or self.phases[-1] != phase:
            self.phases.append(phase)
        if phase in ("snapshot", "reset") and self._fresh is None:
            self._fresh = {}
        target = self.rows if self._fresh is None else self._fresh
        for change in change_set["changes"]:
            row, old = change["row"], change["old"]
            if change["operation"] != "insert":
                assert target.pop(self._key(old)) == old, f"the old row is the one we have: {change}"
            if change["operation"] != "delete":
                assert self._key(row) not in target, f"no row comes twice: {change}"
                target[self._key(row)] = row
            if phase == "live":
                self.operations.append(change["operation"])
        if phase == "ready":
            self.rows, self._fresh = self._fresh or {}, None
        self.cursor = change_set["cursor"] or self.cursor
        self.sets += 1

    def _key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.key)


class Client:
    """One WebSocket with one change feed."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.error: Any = None
        self._news = asyncio.Event()

    async def run(self, url: str, query: str) -> None:
        """Read until cancelled, or until the server ends the operation."""
        async with websockets.connect(
            url.replace("http", "ws") + "/graphql", subprotocols=PROTOCOL, max_size=None
        ) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            message = json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}})
            async for text in socket:
                answer = json.loads(text)
                match answer["type"]:
                    case "connection_ack":
                        await socket.send(message)
                    case "next":
                        assert "errors" not in answer["payload"], answer
                        self.feed.take(answer["payload"]["data"]["feed"])
                    case "ping":
                        await socket.send(json.dumps({"type": "pong"}))
                    case "error" | "complete":
                        self.error = answer
                        return
                self._news.set()

    async def until(self, done: Callable[[Feed], bool], timeout_s: float = 60) -> None:
        """Wait for the feed to be something."""
        try:
            async with asyncio.timeout(timeout_s):
                while not done(self.feed):
                    assert self.error is None, self.error
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), 1)
        except TimeoutError:
            raise AssertionError(f"the feed stopped at {self.feed.phases}, {self.feed.rows}") from None


@contextlib.asynccontextmanager
async def following(
    server: Server, source: str, columns: str, *, key: tuple[str, ...] = ("id",), after: str | None = None
) -> AsyncIterator[Client]:
    """A client that follows a source's changes."""
    argument = f"(after: {json.dumps(after)})" if after else ""
    query = (
        f"subscription {{ feed: {source}_changes{argument} {{ phase cursor "
        f"changes {{ operation row {{ {columns} }} old {{ {columns} }} }} }} }}"
    )
    client = Client(Feed(key))
    task = asyncio.create_task(client.run(server.url, query))
    try:
        yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

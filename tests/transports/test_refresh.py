"""A client shows a new token on the open socket: what goes on, what ends, and what is refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tests.transports.session_world import (
    ADMIN,
    ITEMS_FEED,
    ITEMS_LIVE,
    NOTES_LIVE,
    YAML,
    Wall,
    closed,
    greet,
    idle,
    refresh,
    shown,
    start,
    world,
)
from tests.transports.test_port import Port, subscribe
from tycostream.observe.events import ConnectionOpened
from tycostream.transports.connection import Connection

CHANGED = {
    "message": "the session that this operation was started with is another one now",
    "extensions": {
        "path": "$",
        "code": "session-changed",
        "hint": "subscribe again: it is planned for the new session",
    },
}


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, wall: Wall) -> AsyncIterator[Port]:
    async with world(monkeypatch, wall=wall) as port:
        yield port
        await port.closed(len([e for e in port.events if isinstance(e, ConnectionOpened)]))
        assert idle(port)


async def pong(ws: Any) -> Any:
    message = json.loads(await ws.recv())
    assert message["type"] == "pong", message
    return message["payload"]


async def test_the_same_rights_for_longer(port: Port, wall: Wall) -> None:
    soon, later = int(time.time()) + 100, int(time.time()) + 1000
    async with port.connect() as ws, port.connect() as other:
        await greet(ws, shown(exp=soon))
        await greet(other, shown(exp=soon))
        assert (await start(ws, ITEMS_LIVE, "a"))["items"] == [
            {"id": 0, "name": "name 0"},
            {"id": 1, "name": "name 1"},
        ]
        await refresh(ws, shown(exp=later, claims={"x-hasura-unread": "new"}))
        told = await pong(ws)
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(later))
        assert told == {"authenticated": True, "expires_at": text}
        wall.ahead_s = 200
        assert await closed(other) == (4403, "Forbidden: the token has expired")
        port.engine.commit({"items": [((0, "name 0"), (0, "zero"))]})
        live = json.loads(await ws.recv())
        assert live["payload"]["data"]["items"][0] == {"id": 0, "name": "zero"}
        wall.ahead_s = 2000
        assert await closed(ws) == (4403, "Forbidden: the token has expired")


async def test_other_rights_end_what_reads_them_and_nothing_else(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, shown())
        await start(ws, ITEMS_LIVE, "a")
        await start(ws, ITEMS_FEED, "b")
        await ws.recv()  # ready
        await start(ws, NOTES_LIVE, "c")
        await refresh(ws, shown(top="2"))
        for operation_id in ("a", "b"):
            assert json.loads(await ws.recv()) == {"type": "error", "id": operation_id, "payload": [CHANGED]}
        assert (await pong(ws))["authenticated"] is True
        port.engine.commit({"items": [((0, "name 0"), None)], "notes": [(None, (2, "more"))]})
        assert json.loads(await ws.recv())["payload"]["data"] == {
            "notes": [{"id": 1, "text": "a note"}, {"id": 2, "text": "more"}]
        }
        assert [row["id"] for row in (await start(ws, ITEMS_LIVE, "a"))["items"]] == [1, 2]


async def test_another_role_ends_everything(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, shown())
        await start(ws, NOTES_LIVE, "a")
        await refresh(ws, shown(role="reader"))
        assert json.loads(await ws.recv())["payload"] == [CHANGED]
        assert (await pong(ws))["authenticated"] is True
        assert len((await start(ws, ITEMS_LIVE, "a"))["items"]) == 3


async def test_a_query_in_flight_ends_if_it_reads_what_changed(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, real = asyncio.Event(), port.app.query

    async def query(*given: Any) -> bytes:
        await held.wait()
        return await real(*given)

    monkeypatch.setattr(port.app, "query", query)
    async with port.connect() as ws:
        await greet(ws, shown())
        await ws.send(subscribe("{items {id}}", "a"))
        await ws.send(subscribe("{notes {id}}", "b"))
        await refresh(ws, shown(top="0"))
        assert json.loads(await ws.recv()) == {"type": "error", "id": "a", "payload": [CHANGED]}
        assert (await pong(ws))["authenticated"] is True
        held.set()
        assert json.loads(await ws.recv())["payload"] == {"data": {"notes": [{"id": 1}]}}
        assert json.loads(await ws.recv()) == {"id": "b", "type": "complete"}


REFUSED: list[Any] = [
    (lambda: shown(exp=5), "invalid-jwt", "Could not verify JWT: JWTExpired"),
    (dict, "invalid-headers", "Missing 'Authorization' or 'Cookie' header in JWT authentication mode"),
    (lambda: shown(user="8"), "access-denied", "a refresh may not change the user: open another connection"),
    (lambda: ADMIN, "access-denied", "a refresh may not change the user: open another connection"),
    (lambda: {"Authorization": 5}, "invalid-headers", "the header 'authorization' is not a text"),
]


@pytest.mark.parametrize(("headers", "code", "message"), REFUSED)
async def test_a_refused_refresh_leaves_the_session_until_its_end(
    port: Port, wall: Wall, headers: Any, code: str, message: str
) -> None:
    soon = int(time.time()) + 100
    async with port.connect() as ws:
        await greet(ws, shown(exp=soon))
        await start(ws, ITEMS_LIVE, "a")
        await refresh(ws, headers())
        told = await pong(ws)
        assert told["authenticated"] is False
        assert told["error"]["message"] == message
        assert told["error"]["extensions"]["code"] == code
        assert told["expires_at"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(soon))
        port.engine.commit({"items": [((0, "name 0"), (0, "zero"))]})
        assert json.loads(await ws.recv())["payload"]["data"]["items"][0]["name"] == "zero"
        wall.ahead_s = 100
        assert await closed(ws) == (4403, "Forbidden: the token has expired")


async def test_a_token_without_an_end(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, shown(exp=int(time.time()) + 100))
        await refresh(ws, shown())
        assert await pong(ws) == {"authenticated": True, "expires_at": None}
        assert len(port.app.authenticator.expiries) == 0


async def test_somebody_logs_in_on_the_socket_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch, YAML + "  unauthorized_role: reader\n") as port, port.connect() as ws:
        await greet(ws, {})
        await start(ws, NOTES_LIVE, "a")
        await refresh(ws, shown())
        assert json.loads(await ws.recv())["payload"] == [CHANGED]
        assert (await pong(ws))["authenticated"] is True
        await refresh(ws, {})
        assert (await pong(ws))["error"]["message"].startswith("a refresh may not change the user")


async def test_pings_that_are_only_pings(port: Port) -> None:
    async with port.connect() as ws:
        await ws.send('{"type":"ping","payload":{"headers":{}}}')
        refused = await pong(ws)
        assert refused["authenticated"] is False
        assert refused["error"]["message"] == "the connection is not acknowledged: wait for its answer"
        await greet(ws, shown())
        for payload in ("", ',"payload":null', ',"payload":{}', ',"payload":{"headers":[]}'):
            await ws.send('{"type":"ping"' + payload + "}")
            assert json.loads(await ws.recv()) == {"type": "pong"}


async def test_one_refresh_at_a_time_and_none_outlives_its_connection(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, shown())
        (shell,) = port.server._server.server_state.connections
        connection: Connection = cast(Any, shell)._connection
        text = json.dumps({"type": "ping", "payload": {"headers": shown()}})
        connection.receive(text)
        connection.receive(text)  # in the same turn
        first, second = await pong(ws), await pong(ws)
        assert first["error"]["message"] == "a refresh is under way: wait for its answer"
        assert second["authenticated"] is True
        connection.receive(text)
        connection.lost()


async def test_without_authentication_there_is_nothing_to_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = "databases: {main: {url: host=scripted}}\nsources: {items: {}, notes: {}}\nserver: {port: 0}\n"
    async with world(monkeypatch, plain) as port, port.connect() as ws:
        await greet(ws, {})
        await refresh(ws, shown())
        assert await pong(ws) == {"authenticated": True, "expires_at": None}

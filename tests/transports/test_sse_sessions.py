"""Who is behind a stream of events: refused like HTTP, held to limits, and ended with his session."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest

from tests.transports.event_source import EventSource, connected, request, stream
from tests.transports.session_world import (
    ADMIN,
    ITEMS_FEED,
    ITEMS_LIVE,
    ITEMS_STREAM,
    YAML,
    Wall,
    idle,
    shown,
    world,
)
from tests.transports.test_client_limits import limited
from tests.transports.test_client_limits import shown as user
from tests.transports.test_expiring import Held
from tests.transports.test_port import Port
from tycostream.auth.credentials import Credentials
from tycostream.config.load import loads
from tycostream.observe.events import (
    Authenticated,
    ConnectionOpened,
    LimitReached,
    OperationEnded,
    OperationRefused,
    OperationStarted,
)


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, wall: Wall) -> AsyncIterator[Port]:
    async with world(monkeypatch, wall=wall) as port:
        yield port


async def told_and_complete(source: EventSource) -> tuple[str, str]:
    """The error that ends a stream."""
    told, complete = await source.rest()
    assert complete.event == "complete"
    assert await source.gone() == b""
    [error] = told.payload["errors"]
    return error["extensions"]["code"], error["message"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_is_nobody_has_a_status(port: Port, method: str) -> None:
    for headers in ({}, {"X-Hasura-Admin-Secret": "wrong"}, {"Authorization": "Bearer x"}):
        async with stream(port, ITEMS_LIVE, method=method, headers=headers) as source:
            assert (source.status, source.headers["www-authenticate"]) == (401, "Bearer")
            assert json.loads(await source.body())["errors"][0]["extensions"]["code"]
    assert not [each for each in port.events if isinstance(each, OperationStarted | ConnectionOpened)]


@pytest.mark.parametrize("query", [ITEMS_FEED, ITEMS_LIVE, ITEMS_STREAM])
async def test_it_ends_with_its_token_and_nothing_is_told_afterwards(
    port: Port, wall: Wall, query: str
) -> None:
    headers = shown(exp=int(time.time()) + 100)
    async with stream(port, query, headers=headers) as source:
        await source.next()
        if query is ITEMS_FEED:
            await source.next()
        wall.ahead_s = 100
        assert await told_and_complete(source) == ("invalid-jwt", "Could not verify JWT: JWTExpired")
    [closed] = await port.closed(1)
    assert (closed.transport, closed.code) == ("sse", 1000)
    assert idle(port)
    [over] = [each for each in port.events if isinstance(each, OperationEnded)]
    assert (over.asked.transport, over.asked.user, over.reason) == ("sse", "7", "invalid-jwt")
    [known] = [each for each in port.events if isinstance(each, Authenticated)]
    assert known.transport == "sse"


async def test_it_is_revoked_where_admins_look(port: Port) -> None:
    async with stream(port, ITEMS_LIVE, headers=shown()) as source:
        await source.next()
        [(number, client)] = port.app.clients.after()
        assert (client.transport, client.client_ip, client.session and client.session.user) == (
            "sse",
            "127.0.0.1",
            "7",
        )
        [started] = [each for each in port.events if isinstance(each, OperationStarted)]
        assert started.asked.connection == number
        client.revoke()
        assert await told_and_complete(source) == ("invalid-jwt", "Could not verify JWT: JWTRevoked")
    await port.closed(1)
    assert idle(port)


async def test_another_authentication_has_it_connect_again(port: Port) -> None:
    async with stream(port, ITEMS_LIVE, headers=ADMIN) as source:
        await source.next()
        await port.app.reload(
            loads(YAML.replace("the secret of the admin", "another secret entirely"), environ={})
        )
        [advice] = await source.rest()
        assert advice.retry is not None
        assert source.ended
    [closed] = await port.closed(1)
    assert closed.code == 1012


async def test_another_authentication_while_the_body_comes(port: Port) -> None:
    raw = request(ITEMS_LIVE, method="POST", headers=ADMIN)
    async with connected(port) as source:
        source.writer.write(raw[:-5])
        while not len(port.app.clients):
            await asyncio.sleep(0.005)
        await port.app.reload(
            loads(YAML.replace("the secret of the admin", "another secret entirely"), environ={})
        )
        source.writer.write(raw[-5:])
        await source.read_head()
        assert "authentication was configured anew" in await source.body()
    assert not [each for each in port.events if isinstance(each, OperationStarted)]


async def test_other_permissions_end_what_asks_for_what_is_not_seen_any_more(port: Port) -> None:
    async with stream(port, ITEMS_LIVE, headers=shown()) as source:
        await source.next()
        narrower = YAML.replace("user: {columns: [id, name], where", "user: {columns: [id], where")
        await port.app.reload(loads(narrower, environ={}))
        code, _ = await told_and_complete(source)
        assert code == "permissions-changed"


async def test_a_feed_that_is_planned_again_still_goes_on_from_the_last_id(port: Port) -> None:
    feed = "subscription {items_changes {phase changes {row {id}}}}"
    async with stream(port, feed, headers=shown()) as source:
        await source.next()
        last = (await source.event()).id
    assert last is not None
    shows = Credentials(shown().items(), transport="sse", client_ip="127.0.0.1")
    session = await port.app.authenticator.authenticate(shows)
    plan = port.app.prepare(feed, None, None, session, last)
    await port.app.reload(
        loads(YAML.replace("reader: {columns: [id, name]}", "reader: {columns: [id]}"), environ={})
    )
    again = port.app._planners.as_permitted(plan)
    assert again is not plan
    assert [root.after for root in again.roots] == [last]  # type: ignore[union-attr]


# limits

LIVE = "subscription {items {id}}"


async def test_operations_that_are_too_many_are_429(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "operations_per_user: 1/h") as port:
        async with stream(port, LIVE, headers=user()) as source:
            await source.next()
        for query in (LIVE, "{items {id}}"):
            async with stream(port, query, headers=user()) as source:
                assert source.status == 429
                assert 3500 < int(source.headers["retry-after"]) <= 3600
                [error] = json.loads(await source.body())["errors"]
                assert error["extensions"]["code"] == "rate-limit-exceeded"
        refusals = [each for each in port.events if isinstance(each, OperationRefused)]
        assert [each.asked.transport for each in refusals] == ["sse", "sse"]


async def test_connections_of_a_user_that_are_too_many_are_429(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "connections_per_user: 1") as port:
        connections = port.app.limiter.connections
        async with stream(port, LIVE, headers=user()) as first:
            await first.next()
            async with stream(port, LIVE, headers=user()) as second:
                assert (second.status, second.headers["connection"]) == (429, "close")
                [error] = json.loads(await second.body())["errors"]
                assert error["message"] == "a user may have 1 connections"
            async with stream(port, LIVE, headers=user("b")) as other:
                await other.next()
        await port.closed(2)
        while connections.turned_away:
            await asyncio.sleep(0.005)
        assert (connections.open, connections.users.total, connections.addresses.total) == (0, 0, 0)
        async with stream(port, LIVE, headers=user()) as again:
            await again.next()
        assert LimitReached("connections_per_user", "user") in port.events


async def test_connections_of_an_address_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        limited(monkeypatch, "connections_per_ip: 1") as port,
        stream(port, LIVE, headers=user()) as first,
    ):
        await first.next()
        async with stream(port, LIVE, headers=user("b")) as second:
            assert second.status == 429
        async with stream(port, LIVE, headers=user("c", ip="10.0.0.2")) as other:
            await other.next()


# clients that go while something is done for them


async def test_a_query_whose_client_goes_is_given_up(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    for accept in ("application/json", "text/event-stream"):
        held = Held(port, monkeypatch)
        async with connected(port) as source:
            headers = {**shown(), "accept": accept}
            source.writer.write(request("{items {id}}", method="POST", headers=headers))
            await held.begun.wait()
        while not held.ended:
            await asyncio.sleep(0.005)
        assert held.ended == ["cancelled"]
        async with asyncio.timeout(10):
            while not idle(port):
                await asyncio.sleep(0.005)
        assert [each.reason for each in port.events if isinstance(each, OperationEnded)][-1] == "disconnected"
    assert not [each for each in port.events if type(each).__name__ == "OperationFailed"]


async def test_a_request_after_one_that_was_answered_is_not_given_up(port: Port) -> None:
    """What is told of a client that goes is told of one request only."""
    async with connected(port) as source:
        for _ in range(2):
            source.writer.write(request("{items {id}}", headers={**ADMIN, "accept": "application/json"}))
            await source.read_head()
            assert "data" in json.loads(await source.body())
    assert [each.reason for each in port.events if isinstance(each, OperationEnded)] == ["completed"] * 2

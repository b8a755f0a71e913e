"""Each limit of what a client may ask, on a real port, over HTTP and on WebSockets: what is said, and who is left alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.transports.test_port import ITEMS, PROTOCOL, Port, serving, subscribe
from tycostream.live.live_source import SourceState
from tycostream.observe.events import AuthenticationFailed, LimitReached
from tycostream.testing.scripted import ScriptedEngine

SECRET = "the secret of the admin"
NEW = "application/graphql-response+json"
QUERY = "{items_by_pk(id: 1) {name}}"
ROW = {"data": {"items_by_pk": {"name": "name 1"}}}
LIVE = "subscription {items {id}}"


@contextlib.asynccontextmanager
async def limited(
    monkeypatch: pytest.MonkeyPatch, limits: str, more: str = "", rows: int = 3
) -> AsyncIterator[Port]:
    """A server with these limits; roles `user` and `ops` see everything, and clients come through a trusted proxy."""
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(rows)]
    seen = "{columns: [id, name], aggregate: true}"
    yaml = f"""
databases: {{main: {{url: host=scripted}}}}
sources: {{items: {{permissions: {{user: {seen}, ops: {seen}}}}}}}
auth: {{admin_secrets: {SECRET}}}
limits: {{{limits}}}
server: {{port: 0, trusted_proxies: 127.0.0.1, {more}}}
"""
    async with serving(engine, monkeypatch, yaml) as port:
        yield port


def shown(
    user: str | None = "a", role: str = "user", ip: str = "10.0.0.1", secret: str = SECRET
) -> dict[str, str]:
    named = {} if user is None else {"X-Hasura-User-Id": user}
    return {"X-Hasura-Admin-Secret": secret, "X-Hasura-Role": role, "X-Forwarded-For": ip, **named}


async def post(
    port: Port, headers: dict[str, str], query: str = QUERY, accept: str = "*/*"
) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.post(
            f"{port.url}/graphql", json={"query": query}, headers={**headers, "accept": accept}, timeout=30
        )


@contextlib.asynccontextmanager
async def socket(port: Port, headers: dict[str, str]) -> AsyncIterator[Any]:
    """A WebSocket that has greeted; what it shows is in the headers of the upgrade."""
    async with websockets.connect(port.ws, subprotocols=PROTOCOL, additional_headers=headers) as ws:
        await ws.send('{"type":"connection_init"}')
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        yield ws


async def ask(ws: Any, query: str = QUERY, operation_id: str = "1") -> Any:
    """The first message of an operation, and of a query that it is complete."""
    await ws.send(subscribe(query, operation_id))
    message = json.loads(await ws.recv())
    if message["type"] == "next" and query.startswith("{"):
        assert json.loads(await ws.recv())["type"] == "complete"
    return message["payload"]


async def closed(ws: Any) -> tuple[int, str]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(ws.recv(), 10)
    return ws.close_code, ws.close_reason


def reached(port: Port) -> list[LimitReached]:
    return [event for event in port.events if isinstance(event, LimitReached)]


def limit_of(errors: Any) -> tuple[str, str]:
    (error,) = errors
    hint: str = error["extensions"]["hint"]
    return error["extensions"]["code"], hint.partition("limits.")[2].partition(" is")[0]


RATES = [
    ("operations_per_user", shown("a", ip="10.0.0.9"), [shown("b"), shown("a", role="ops"), shown(None)]),
    ("operations_per_ip", shown("b"), [shown("a", ip="10.0.0.2"), shown("a", role="ops")]),
    ("operations_per_role", shown("b", ip="10.0.0.2"), [shown("a", role="ops")]),
]


@pytest.mark.parametrize(("limit", "same", "others"), RATES)
async def test_rates_over_http(
    monkeypatch: pytest.MonkeyPatch, limit: str, same: dict[str, str], others: list[dict[str, str]]
) -> None:
    async with limited(monkeypatch, f"{limit}: 1/h") as port:
        assert (await post(port, shown())).json() == ROW
        for accept in ("*/*", NEW):
            refused = await post(port, same, accept=accept)
            assert refused.status_code == 429
            assert 3500 < int(refused.headers["retry-after"]) <= 3600
            (error,) = refused.json()["errors"]
            assert error["message"] == "rate limit of 1 exceeded"
            assert error["extensions"]["retry_after"] == int(refused.headers["retry-after"])
            assert limit_of([error]) == ("rate-limit-exceeded", limit)
        for other in others:
            assert (await post(port, other)).json() == ROW
        assert reached(port) == [LimitReached(limit, "user")] * 2


@pytest.mark.parametrize(("limit", "same", "others"), RATES)
async def test_rates_on_websockets(
    monkeypatch: pytest.MonkeyPatch, limit: str, same: dict[str, str], others: list[dict[str, str]]
) -> None:
    async with limited(monkeypatch, f"{limit}: 2/h") as port:
        async with socket(port, shown()) as ws:
            assert await ask(ws) == ROW
            await ask(ws, LIVE, "live")
            assert limit_of(await ask(ws)) == ("rate-limit-exceeded", limit)
            port.engine.commit({"items": [((0, "name 0"), None)]})
            live = json.loads(await ws.recv())
            assert live["payload"]["data"]["items"] == [{"id": 1}, {"id": 2}], "what runs goes on"
        assert (await post(port, same)).status_code == 429, "what was asked on the socket counts for it"
        for other in others:
            async with socket(port, other) as ws:
                assert await ask(ws) == ROW


async def test_a_role_has_rates_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = "operations_per_user: 1/h, per_role: {ops: {operations_per_user: 2/h}}"
    async with limited(monkeypatch, limits) as port:
        assert [(await post(port, shown(role="ops"))).status_code for _ in range(3)] == [200, 200, 429]
        assert [(await post(port, shown())).status_code for _ in range(2)] == [200, 429]


async def test_requests_of_an_address_before_anybody_is_asked_who_he_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with limited(monkeypatch, "requests_per_ip: 4/h") as port:
        async with httpx2.AsyncClient() as client:
            here = {"X-Forwarded-For": "2001:db8::1"}
            assert (await client.get(f"{port.url}/v1/version", headers=here)).status_code == 200
            await post(port, shown(ip="2001:db8::2", secret="wrong"))
            async with socket(port, shown(ip="2001:db8:0:0:ffff::3")) as ws:
                for n in range(3):
                    assert await ask(ws, operation_id=str(n)) == ROW, "operations on a socket are no requests"
            await client.get(f"{port.url}/readyz", headers=here)
            for path in ("/v1/version", "/readyz", "/graphql", "/nothing"):
                refused = await client.get(f"{port.url}{path}", headers=here)
                assert refused.status_code == 429
                assert limit_of(refused.json()["errors"]) == ("rate-limit-exceeded", "requests_per_ip")
            with pytest.raises(InvalidStatus) as caught:
                await websockets.connect(port.ws, subprotocols=PROTOCOL, additional_headers=here)
            assert caught.value.response.status_code == 429
            assert int(caught.value.response.headers["retry-after"]) <= 900
            assert (await client.get(f"{port.url}/healthz", headers=here)).status_code == 200, (
                "for who balances loads"
            )
        assert (await post(port, shown(ip="2001:db8:0:1::1"))).json() == ROW
        assert set(reached(port)) == {LimitReached("requests_per_ip")}


async def test_secrets_are_not_looked_at_after_too_many_that_were_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with limited(monkeypatch, "wrong_secrets_per_ip: 2/h") as port:
        assert (await post(port, shown(secret="wrong"), accept=NEW)).status_code == 401
        with pytest.raises(ConnectionClosed):
            async with socket(port, shown(secret="also wrong")):
                pass
        refused = await post(port, shown())
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1800")
        assert limit_of(refused.json()["errors"]) == ("rate-limit-exceeded", "wrong_secrets_per_ip")
        async with websockets.connect(port.ws, subprotocols=PROTOCOL, additional_headers=shown()) as ws:
            await ws.send('{"type":"connection_init"}')
            assert await closed(ws) == (4429, "rate limit of 2 exceeded")
        assert (await post(port, shown(ip="10.0.0.2"))).json() == ROW
        failures = [event for event in port.events if isinstance(event, AuthenticationFailed)]
        assert [event.reason for event in failures] == ["secret-wrong"] * 2 + ["too-often"] * 2
        async with httpx2.AsyncClient() as client:
            ready = await client.get(f"{port.url}/readyz", headers=shown())
        assert "sources" not in ready.json(), "nor is anywhere else"


async def test_connections_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = "connections_per_user: 1, per_role: {ops: {connections_per_user: 2}}"
    async with limited(monkeypatch, limits) as port:
        async with socket(port, shown()), socket(port, shown("b")) as other:
            async with websockets.connect(
                port.ws, subprotocols=PROTOCOL, additional_headers=shown(ip="::9")
            ) as ws:
                await ws.send('{"type":"connection_init"}')
                assert await closed(ws) == (4429, "a user may have 1 connections")
            assert await ask(other) == ROW
            assert (await post(port, shown())).json() == ROW, "over HTTP there are other limits"
            async with socket(port, shown(role="ops")) as second:
                assert await ask(second) == ROW
        await port.closed(4)
        async with socket(port, shown()) as ws:
            assert await ask(ws) == ROW
        assert reached(port) == [LimitReached("connections_per_user", "user")]


async def test_connections_of_an_address_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "connections_per_ip: 1") as port:
        async with socket(port, shown(ip="2001:db8::1")) as first, socket(port, shown(ip="10.0.0.2")):
            async with websockets.connect(
                port.ws, subprotocols=PROTOCOL, additional_headers=shown("b", ip="2001:db8::2")
            ) as ws:
                assert await closed(ws) == (4429, "an address may have 1 connections")
            assert (await post(port, shown(ip="2001:db8::1"))).json() == ROW, "that connection is the proxy's"
            assert await ask(first) == ROW
        assert reached(port) == [LimitReached("connections_per_ip")]


async def test_connections_of_an_address_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "connections_per_ip: 1", "forwarded_header: Forwarded") as port:
        await port.app.reload(
            port.app.config.model_copy(
                update={"server": port.app.config.server.model_copy(update={"trusted_proxies": ()})}
            )
        )
        async with socket(port, shown()) as ws:
            refused = await post(port, shown())
            assert (refused.status_code, refused.text) == (429, "an address may have 1 connections")
            async with websockets.connect(port.ws, subprotocols=PROTOCOL) as second:
                assert await closed(second) == (4429, "an address may have 1 connections")
            assert await ask(ws) == ROW
        await port.closed(1)
        answer = await post(port, shown())
        assert answer.json() == ROW


async def test_connections_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "connections: 2") as port:
        async with socket(port, shown()) as first, socket(port, shown("b")):
            refused = await post(port, shown("c"))
            assert (refused.status_code, refused.text) == (503, "the server has 2 connections")
            assert refused.headers["retry-after"] == "1"
            async with websockets.connect(port.ws, subprotocols=PROTOCOL) as ws:
                assert await closed(ws) == (4429, "the server has 2 connections")
            assert await ask(first) == ROW
        await port.closed(2)
        assert (await post(port, shown("c"))).json() == ROW
        connections = port.app.limiter.connections
        while connections.open or connections.turned_away:
            await asyncio.sleep(0.005)
        assert set(reached(port)) == {LimitReached("connections")}


async def test_a_flood_of_connections_is_cut_off_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tycostream.auth.connections.TURNED_AWAY_MAX", 2)
    async with limited(monkeypatch, "connections: 1") as port:
        host, number = port.url.removeprefix("http://").split(":")
        pairs = [await asyncio.open_connection(host, int(number)) for _ in range(5)]
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(pairs[4][0].read(), 10) == b""
        assert port.app.limiter.connections.turned_away <= 3
        for _, writer in pairs:
            writer.close()


async def test_operations_of_a_connection_by_role(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = "per_role: {ops: {operations_max: 2}}"
    async with limited(monkeypatch, limits, "operations_max: 1") as port:
        for role, most in (("user", 1), ("ops", 2)):
            async with socket(port, shown(role=role)) as ws:
                for n in range(most):
                    await ask(ws, LIVE, str(n))
                (error,) = await ask(ws, LIVE, "one more")
                assert error["message"] == f"a connection may run {most} operations"
                await ws.send('{"type":"complete","id":"0"}')
                assert "data" in await ask(ws, LIVE, "again")
        assert reached(port) == [
            LimitReached("operations_max", "user"),
            LimitReached("operations_max", "ops"),
        ]


async def test_the_size_of_messages_by_role(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = "per_role: {ops: {message_bytes_max: 8KiB}, user: {message_bytes_max: 2KiB}}"
    async with limited(monkeypatch, limits, "message_bytes_max: 4KiB") as port:
        for role, good, bad in (("user", 1500, 3000), ("ops", 7000, 9000), ("admin", 3000, 7000)):
            query = QUERY + "#" + "x" * good
            assert (await post(port, shown(role=role), query)).json() == ROW
            refused = await post(port, shown(role=role), QUERY + "#" + "x" * bad)
            assert refused.status_code == 413
            async with socket(port, shown(role=role)) as ws:
                assert await ask(ws, query) == ROW
                await ws.send(subscribe(QUERY + "#" + "x" * bad))
                assert (await closed(ws))[0] == 1009


async def test_the_size_of_results_by_role(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = "per_role: {ops: {outbox_bytes_max: 64KiB}, user: {outbox_bytes_max: 1KiB}}"
    async with limited(monkeypatch, limits, "outbox_bytes_max: 8KiB", rows=1000) as port:
        for role, good, bad in (("user", 20, 100), ("admin", 200, 1000), ("ops", 1000, 0)):
            async with socket(port, shown(role=role)) as ws:
                for kind in ("query", "subscription"):
                    text = kind + " {items(limit: %d) {id name}}"
                    await ws.send(subscribe(text % good, "good"))
                    assert len(json.loads(await ws.recv())["payload"]["data"]["items"]) == good
                    if kind == "query":
                        await ws.recv()
                    if bad:
                        await ws.send(subscribe(text % bad, "bad"))
                        message = json.loads(await ws.recv())
                        assert message["payload"][0]["extensions"]["code"] == "result-too-large"


class Held:
    """The hub's queries, which do not end before they are told to."""

    def __init__(self, port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = port.app.hub.query
        self.free, self.waiting = asyncio.Event(), 0
        monkeypatch.setattr(port.app.hub, "query", self._query)

    async def _query(self, *given: Any) -> bytes:
        self.waiting += 1
        await self.free.wait()
        return await self._real(*given)

    async def are(self, count: int) -> None:
        while self.waiting < count:
            await asyncio.sleep(0.005)


async def test_queries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "queries_at_once: 3, queries_at_once_per_user: 2") as port:
        held = Held(port, monkeypatch)
        async with socket(port, shown()) as ws:
            over_http = asyncio.create_task(post(port, shown()))
            await held.are(1)
            await ws.send(subscribe(QUERY, "on the socket"))
            await held.are(2)
            refused = await post(port, shown())
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert limit_of(refused.json()["errors"]) == ("limit-exceeded", "queries_at_once_per_user")
            assert limit_of(await ask(ws)) == ("limit-exceeded", "queries_at_once_per_user")
            other = asyncio.create_task(post(port, shown("b")))
            await held.are(3)
            busy = await post(port, shown("c"))
            assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
            assert limit_of(busy.json()["errors"]) == ("limit-exceeded", "queries_at_once")
            held.free.set()
            assert [(await each).json() for each in (over_http, other)] == [ROW, ROW]
            assert json.loads(await ws.recv())["payload"] == ROW
        assert (await post(port, shown())).json() == ROW


@pytest.mark.parametrize(("accept", "status"), [("*/*", 200), (NEW, 400)])
async def test_the_time_of_a_query(monkeypatch: pytest.MonkeyPatch, accept: str, status: int) -> None:
    limits = "time_limit: 50ms, per_role: {ops: {time_limit: 1h}}"
    async with limited(monkeypatch, limits) as port:
        held = Held(port, monkeypatch)
        patient = asyncio.create_task(post(port, shown(role="ops")))
        late = await post(port, shown(), accept=accept)
        assert late.status_code == status
        expected = {
            "message": "the query took longer than 0.05 s",
            "extensions": {
                "path": "$",
                "code": "time-limit-exceeded",
                "hint": "ask for less; limits.time_limit is the limit",
            },
        }
        assert late.json() == {"errors": [expected]}
        async with socket(port, shown()) as ws:
            assert await ask(ws) == [expected]
            held.free.set()
            assert await ask(ws) == ROW
        assert (await patient).json() == ROW


async def test_the_time_to_the_first_result_of_a_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = "first_result_limit: 50ms, per_role: {ops: {first_result_limit: 1h}}"
    async with limited(monkeypatch, limits) as port:
        hub = port.app.hub
        async with socket(port, shown()) as ws, socket(port, shown(role="ops")) as patient:
            await ask(ws, LIVE, "answered")
            hub.mark("items", SourceState.STARTING)
            await patient.send(subscribe(LIVE, "patient"))
            for query in (LIVE, "subscription {items_changes {phase}}"):
                assert await ask(ws, query) == [
                    {
                        "message": "the subscription had no result for 0.05 s",
                        "extensions": {
                            "path": "$",
                            "code": "time-limit-exceeded",
                            "hint": "ask for less, or try again; limits.first_result_limit is the limit",
                        },
                    }
                ]
            hub.mark("items", SourceState.LIVE)
            assert "data" in json.loads(await patient.recv())["payload"]
            port.engine.commit({"items": [((0, "name 0"), None)]})
            assert json.loads(await ws.recv())["id"] == "answered", (
                "what was answered once is not ended by it"
            )


async def test_a_stream_of_nothing_has_no_first_result_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "first_result_limit: 50ms", rows=0) as port, socket(port, shown()) as ws:
        await ws.send(
            subscribe(
                "subscription {items_stream(batch_size: 5, cursor: {initial_value: {id: 0}}) {id}}", "stream"
            )
        )
        assert await ask(ws, QUERY, "after it") == {"data": {"items_by_pk": None}}
        port.app.hub.mark("items", SourceState.STARTING)
        assert (await ask(ws, LIVE, "late"))[0]["extensions"]["code"] == "time-limit-exceeded", "it is past"
        port.app.hub.mark("items", SourceState.LIVE)
        port.engine.commit({"items": [(None, (7, "seven"))]})
        assert json.loads(await ws.recv())["payload"] == {"data": {"items_stream": [{"id": 7}]}}


async def test_a_refused_upgrade_leaves_no_place_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "connections: 3, connections_per_ip: 3") as port:
        for headers in ({"Origin": "https://evil.example"}, {"X-Forwarded-For": "10.0.0.1, nothing"}):
            for _ in range(4):
                with contextlib.suppress(InvalidStatus):
                    async with websockets.connect(
                        port.ws + ("?x" if "Origin" in headers else ""), additional_headers=headers
                    ) as ws:
                        await closed(ws)
        connections = port.app.limiter.connections
        while connections.open or connections.turned_away:
            await asyncio.sleep(0.005)
        assert (len(connections.addresses), len(connections.users)) == (0, 0)
        assert reached(port) == []


async def test_each_limit_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (
        "depth_limit: 2, live_rows_limit: 2, rows_limit: 2, token_limit: 60, list_limit: 2, value_limit: 9"
    )
    deep = "{items_aggregate {nodes {id}}}"
    many = "{items {id}}"
    wide = "{items(where: {id: {_in: [1, 2, 3]}}) {id}}"
    long = "{" + " ".join(f"a{n}: __typename" for n in range(40)) + "}"
    expected = [(deep, "depth_limit"), (many, "rows_limit"), (wide, "list_limit"), (long, "token_limit")]
    async with limited(monkeypatch, limits) as port, socket(port, shown()) as ws:
        for n, (query, _) in enumerate(expected):
            assert "errors" in (await post(port, shown(), query)).json()
            assert "message" in (await ask(ws, query, str(n)))[0]
        assert reached(port) == [LimitReached(limit, "user") for _, limit in expected for _ in range(2)]
        assert (await ask(ws, LIVE, "live"))[0]["extensions"]["code"] == "result-too-large"
        assert reached(port)[-1] == LimitReached("live_rows_limit", "user")


async def test_limits_of_a_reload_hold_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(monkeypatch, "operations_per_user: 1/h") as port, socket(port, shown()) as ws:
        assert await ask(ws) == ROW
        assert limit_of(await ask(ws))[0] == "rate-limit-exceeded"
        limits = port.app.config.limits.model_copy(update={"operations_per_user": None})
        await port.app.reload(port.app.config.model_copy(update={"limits": limits}))
        for _ in range(3):
            assert await ask(ws) == ROW

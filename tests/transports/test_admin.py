"""The admin API on the port: who is connected, the end of it here and on another server, how it is, and who may ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.auth.tokens import SECRET
from tests.transports.session_world import (
    ADMIN,
    ITEMS_FEED,
    ITEMS_LIVE,
    ITEMS_STREAM,
    NOTES_LIVE,
    YAML,
    Wall,
    closed,
    greet,
    idle,
    shown,
    start,
    world,
)
from tests.transports.test_port import Port, subscribe
from tycostream.auth.api_token import digest, new_secret
from tycostream.observe.events import SessionsRevoked
from tycostream.state.opening import open_state
from tycostream.state.tokens import ApiToken, add, listed

REVOKED = (4403, "Forbidden: the session was revoked")


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    async with world(monkeypatch) as port:
        yield port


async def get(port: Port, path: str, headers: Any = ADMIN, **parameters: Any) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.get(f"{port.url}/v1/admin/{path}", params=parameters, headers=headers)


async def revoke(port: Port, body: Any, headers: Any = ADMIN) -> Any:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"{port.url}/v1/admin/revoke", json=body, headers=headers)
    return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json()["errors"][0])


async def sessions(port: Port, **parameters: Any) -> Any:
    answer = await get(port, "sessions", **parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


async def asked(port: Port, headers: Any) -> Any:
    """A query's result: what a token is good for."""
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"{port.url}/graphql", json={"query": "{notes {id}}"}, headers=headers)
    return answer.json()


# who is connected


async def test_who_is_connected_and_what_runs_for_him(port: Port) -> None:
    ends = int(time.time()) + 1000
    async with port.connect() as ws, port.connect() as waiting:
        await greet(ws, shown(exp=ends, jti="t-1"))
        await ws.send(
            json.dumps(
                {
                    "id": "a",
                    "type": "subscribe",
                    "payload": {"query": f"subscription Mine {ITEMS_LIVE[12:]}", "operationName": "Mine"},
                }
            )
        )
        await ws.recv()
        await start(ws, ITEMS_FEED, "b")
        await ws.recv()  # ready
        await start(ws, ITEMS_STREAM, "c")
        await waiting.send(json.dumps({"type": "ping"}))
        await waiting.recv()
        found = await sessions(port)
        assert (found["total"], found["next"]) == (2, None)
        mine, nobody = found["connections"]
        operations = mine.pop("operations")
        since = mine.pop("since")
        assert abs(time.mktime(time.strptime(since, "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())) < 60
        assert mine.pop("id").endswith("-1")
        assert mine == {
            "transport": "graphql-transport-ws",
            "client_ip": "127.0.0.1",
            "role": "user",
            "user": "7",
            "token": "t-1",
            "expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends)),
            "unsent_bytes": 0,
            "operations_total": 3,
        }
        shown_of = [
            (each["id"], each["name"], each["kind"], each["sources"], each["messages"], each["rows"])
            for each in operations
        ]
        assert shown_of == [
            ("a", "Mine", "live", ["items"], 1, 2),
            ("b", "", "feed", ["items"], 2, 2),
            ("c", "", "stream", ["items"], 1, 2),
        ]
        assert (nobody["role"], nobody["user"], nobody["operations"]) == (None, "", [])
    await port.closed(2)
    assert (await sessions(port))["connections"] == []
    assert idle(port)


async def test_what_is_counted_is_what_came(port: Port) -> None:
    rows: dict[str, int] = {}
    messages: dict[str, int] = {}

    async def read(ws: Any) -> None:
        message = json.loads(await ws.recv())
        data = next(iter(message["payload"]["data"].values()))
        count = len(data["changes"]) if isinstance(data, dict) else len(data)
        rows[message["id"]] = rows.get(message["id"], 0) + count
        messages[message["id"]] = messages.get(message["id"], 0) + 1

    async with port.connect() as ws:
        await greet(ws, shown(top="1000"))
        for operation_id, query, first in (
            ("live", ITEMS_LIVE, 1),
            ("feed", ITEMS_FEED, 2),
            ("stream", ITEMS_STREAM, 1),
            ("paced", ITEMS_FEED.replace("subscription", "subscription @coalesce(ms: 1)"), 2),
        ):
            await ws.send(subscribe(query, operation_id))
            for _ in range(first):
                await read(ws)
        for n in range(3, 23):
            changes: list[Any] = [(None, (n + 100 * m, f"name {n}")) for m in range(n % 3 + 1)]
            port.engine.commit({"items": changes})
            if n == 10:  # by a pull
                port.engine.commit({"items": [(None, (5000 + m, "far")) for m in range(300)]})
            reached = {name: count for name, count in messages.items() if name != "paced"}
            while any(messages[name] <= count for name, count in reached.items()):
                await read(ws)
        found = await sessions(port)
        while True:  # what was on its way
            told = {
                each["id"]: (each["messages"], each["rows"]) for each in found["connections"][0]["operations"]
            }
            if all(told[name] == (messages[name], rows[name]) for name in told):
                break
            async with asyncio.timeout(5):
                await read(ws)
            found = await sessions(port)
        assert told["live"][0] > 20


async def test_pages_and_filters(port: Port) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for n in range(5):
            ws = await stack.enter_async_context(port.connect())
            await greet(ws, shown(role="reader" if n == 3 else "user", user=str(n), jti=f"t-{n}"))
            if n == 4:
                await start(ws, NOTES_LIVE, "a")
        users, after, pages = [], "", 0
        while pages < 10:
            page = await sessions(port, limit=2, **({"after": after} if after else {}))
            users += [each["user"] for each in page["connections"]]
            pages += 1
            assert page["total"] == 5
            if page["next"] is None:
                break
            after = page["next"]
        assert (users, pages) == (["0", "1", "2", "3", "4"], 3)
        for parameters, expected in (
            ({"role": "reader"}, ["3"]),
            ({"user": "2"}, ["2"]),
            ({"token": "t-1"}, ["1"]),
            ({"source": "notes"}, ["4"]),
            ({"transport": "http"}, []),
            ({"client_ip": "127.0.0.1", "role": "user"}, ["0", "1", "2", "4"]),
            ({"id": after}, [users[3]]),
        ):
            found = await sessions(port, **parameters)
            assert [each["user"] for each in found["connections"]] == expected
    for wrong in (
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"limit": "0000000059999"},
        {"nope": "1"},
    ):
        answer = await get(port, "sessions", **wrong)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["extensions"]["code"] == "bad-request"
    assert (await sessions(port, after="x-" + 5000 * "9"))["connections"] == [], "nobody came after that one"


async def test_a_query_over_http_is_a_client_while_it_runs(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, real = asyncio.Event(), port.app.query

    async def query(*given: Any) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return await real(*given)

    monkeypatch.setattr(port.app, "query", query)
    asking = asyncio.create_task(asked(port, shown(jti="t-1")))
    await begun.wait()
    (client,) = (await sessions(port))["connections"]
    assert (client["transport"], client["user"], client["operations"][0]["kind"]) == ("http", "7", "query")
    assert (await revoke(port, {"token": "t-1"}))["connections"] == 1
    assert (await asking)["errors"][0]["message"] == "Could not verify JWT: JWTRevoked"
    assert idle(port)


# the end of it


@pytest.mark.parametrize(
    "body",
    [
        {"token": "t-1"},
        {"user": "7"},
        {"user": "sub-1"},
        {"role": "user"},
        {"variables": {"X-Hasura-Org": "5"}},
        {"user": "7", "variables": {"x-hasura-org": "5"}},
    ],
)
async def test_sessions_end_and_their_tokens_are_good_no_more(port: Port, body: Any) -> None:
    mine = shown(jti="t-1", sub="sub-1", claims={"x-hasura-org": "5"}, exp=int(time.time()) + 1000)
    others = shown(role="reader", user="8", jti="t-2")
    async with port.connect() as ws, port.connect() as again, port.connect() as other:
        for socket, headers in ((ws, mine), (again, mine), (other, others)):
            await greet(socket, headers)
            await start(socket, NOTES_LIVE, "a")
        answer = await revoke(port, body)
        assert (answer["connections"], answer["api_tokens"], answer["shared"]) == (2, 0, False)
        assert await closed(ws) == REVOKED
        assert await closed(again) == REVOKED
        port.engine.commit({"notes": [(None, (2, "more"))]})
        assert len(json.loads(await other.recv())["payload"]["data"]["notes"]) == 2
        refused = (await asked(port, mine))["errors"][0]
        assert (refused["message"], refused["extensions"]["code"]) == (
            "Could not verify JWT: JWTRevoked",
            "invalid-jwt",
        )
        async with port.connect() as late:
            await late.send(json.dumps({"type": "connection_init", "payload": {"headers": mine}}))
            assert await closed(late) == (4403, "Forbidden: Could not verify JWT: JWTRevoked")
        await other.send(json.dumps({"type": "ping", "payload": {"headers": mine}}))
        assert json.loads(await other.recv())["payload"]["authenticated"] is False
        assert "data" in await asked(port, others)
    fresh = shown(jti="t-9", sub="sub-1", claims={"x-hasura-org": "5"}, iat=int(time.time()) - 3600)
    assert ("errors" in await asked(port, fresh)) is ("token" not in body), (
        "issued before: by another token too"
    )


async def test_who_logs_in_after_a_revocation_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = Wall()
    async with world(monkeypatch, wall=wall) as port:
        await revoke(port, {"user": "7"})
        assert "errors" in await asked(port, shown(iat=int(wall.time())))
        wall.ahead_s = 5
        assert "data" in await asked(port, shown(iat=int(wall.time())))


async def test_the_token_of_a_connection_goes_with_it(port: Port) -> None:
    mine = shown(jti="t-1")
    async with port.connect() as ws, port.connect() as again:
        await greet(ws, mine)
        await greet(again, mine)
        (first, second) = [each["id"] for each in (await sessions(port))["connections"]]
        assert (await revoke(port, {"connection": first}))["connections"] == 1
        assert await closed(ws) == REVOKED
        assert await closed(again) == REVOKED, "it is the same token"
        assert "errors" in await asked(port, mine)
        assert second
    async with port.connect() as ws:
        await greet(ws, ADMIN)
        (number,) = [each["id"] for each in (await sessions(port))["connections"]]
        assert (await revoke(port, {"connection": number}))["connections"] == 1
        assert await closed(ws) == REVOKED
        assert "data" in await asked(port, ADMIN), "a secret is no token: rotate it"
    assert (await revoke(port, {"connection": "gone"}))["connections"] == 0


async def test_how_long_it_is_remembered(port: Port) -> None:
    ends = int(time.time()) + 1000
    async with port.connect() as ws:
        await greet(ws, shown(jti="t-1", exp=ends))
        until = (await revoke(port, {"token": "t-1"}))["remembered_until"]
        assert until == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends + 1)), (
            "no longer than it is good"
        )
    until = (await revoke(port, {"user": "7"}))["remembered_until"]
    kept_s = time.mktime(time.strptime(until, "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())
    assert 29.9 < kept_s / 86400 < 30.1
    assert (await get(port, "state")).json()["revocations"] == 2
    told = [event for event in port.events if isinstance(event, SessionsRevoked)]
    assert told == [SessionsRevoked("t-1", "", "", "", 1), SessionsRevoked("", "7", "", "", 0)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "say whose: token, user, role, variables or connection"),
        ({"user": ""}, "say whose: token, user, role, variables or connection"),
        ({"user": 5}, "the body is no revocation: Expected `str`, got `int` - at `$.user`"),
        ({"usr": "5"}, "the body is no revocation: Object contains unknown field `usr`"),
        ({"variables": {"org": "5"}}, "'org' is no session variable"),
        ([], "the body is no revocation: Expected `object`, got `array`"),
        ({"user": "x" * 2000}, "a text of more than 1024 characters, or too many of them"),
    ],
)
async def test_a_revocation_of_nobody_in_particular(port: Port, body: Any, message: str) -> None:
    status, error = await revoke(port, body)
    assert (status, error["message"], error["extensions"]["code"]) == (400, message, "bad-request")


# several servers


@contextlib.asynccontextmanager
async def two(monkeypatch: pytest.MonkeyPatch, path: Path) -> AsyncIterator[tuple[Port, Port]]:
    yaml = f'{YAML}state: "sqlite:///{path}/state.db"\n'
    async with world(monkeypatch, yaml) as here, world(monkeypatch, yaml) as there:
        yield here, there


@pytest.mark.parametrize("by", ["token", "user", "role", "connection", "api token", "api token's user"])
async def test_another_server_ends_them_within_a_second(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str
) -> None:
    async with two(monkeypatch, tmp_path) as (here, there):
        mine = shown(jti="t-1")
        if by.startswith("api"):
            store = open_state(f"sqlite:///{tmp_path}/state.db")
            secret = new_secret()
            token = ApiToken("k1", "job", "user", {"user-id": "7", "top": "1"}, time.time() - 5)
            await store.write(add(token, digest(secret) or ""))
            mine = {"Authorization": f"Bearer {secret}"}
        async with there.connect() as ws:
            await greet(ws, mine)
            await start(ws, ITEMS_LIVE, "a")
            (number,) = [each["id"] for each in (await sessions(there))["connections"]]
            body = {
                "token": {"token": "t-1"},
                "user": {"user": "7"},
                "role": {"role": "user"},
                "connection": {"connection": number},
                "api token": {"token": "k1"},
                "api token's user": {"user": "7"},
            }[by]
            answer = await revoke(here, body)
            assert (answer["connections"], answer["shared"]) == (0, True)
            assert answer["api_tokens"] == by.startswith("api")
            began = time.monotonic()
            code, _ = await closed(ws)
            assert (code, time.monotonic() - began < 1.5) == (4403, True)  # a second, and a busy machine
        async with asyncio.timeout(5):
            for port in (here, there):
                while "errors" not in await asked(port, mine):  # the token of a connection comes back to us
                    await asyncio.sleep(0.05)
        await there.closed(1)
        assert idle(there)
        if by.startswith("api"):
            (kept,) = await store.read(listed())
            assert kept.revoked_s is not None, "for good, though revocations are forgotten"
            await store.close()


async def test_a_server_that_is_started_later_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    yaml = f'{YAML}state: "sqlite:///{tmp_path}/state.db"\n'
    async with world(monkeypatch, yaml) as here:
        await revoke(here, {"user": "7"})
    async with world(monkeypatch, yaml) as there:
        assert "errors" in await asked(there, shown())


# how it is


async def test_how_a_server_is(port: Port) -> None:
    async with port.connect() as ws, port.connect() as other:
        await greet(ws, shown())
        await greet(other, shown(user="8"))
        await start(ws, ITEMS_LIVE, "a")
        await start(other, ITEMS_LIVE, "a")
        await start(ws, NOTES_LIVE, "b")
        port.engine.commit({"items": [((0, "name 0"), (0, "zero"))]})
        await ws.recv()
        await other.recv()
        answer = await get(port, "state")
        assert answer.headers["cache-control"] == "no-store"
        for secret in (ADMIN["X-Hasura-Admin-Secret"], SECRET, "host=scripted"):
            assert secret not in answer.text
        state = answer.json()
    assert (state["ready"], state["connections"], state["operations"]) == (True, 2, 3)
    assert state["databases"] == [
        {
            "name": "main",
            "engine": "postgres",
            "state": "live",
            "reason": "",
            "breaker": "closed",
            "sources": 2,
        }
    ]
    items, notes = state["sources"]
    assert (items["name"], items["state"], items["rows"], items["cohorts"]) == ("items", "live", 3, 1)
    assert 300 < items["bytes"] < 1500
    assert items["log_bytes"] > 0
    assert items["encoded_bytes"] > 0
    assert (notes["name"], notes["rows"]) == ("notes", 1)
    assert state["cohorts"] == [
        {"kind": "live", "sources": ["items"], "role": "user", "members": 2, "stale": False},
        {"kind": "live", "sources": ["notes"], "role": "user", "members": 1, "stale": False},
    ]
    assert state["totals"]["changes"] == 1
    assert state["totals"]["messages"] == 5
    assert state["totals"]["bytes"] > 200
    assert 0 < state["rates"]["messages"] <= 5


# who may ask

NOBODIES: list[Any] = [
    (dict, 401, "invalid-headers"),
    (lambda: {"X-Hasura-Admin-Secret": "wrong"}, 401, "access-denied"),
    (lambda: shown(exp=5), 401, "invalid-jwt"),
    (shown, 403, "access-denied"),
    (lambda: {**ADMIN, "X-Hasura-Role": "user"}, 403, "access-denied"),
]


@pytest.mark.parametrize(("headers", "status", "code"), NOBODIES)
@pytest.mark.parametrize("path", ["sessions", "state", "revoke"])
async def test_who_is_no_admin(port: Port, headers: Any, status: int, code: str, path: str) -> None:
    async with httpx2.AsyncClient() as client:
        address = f"{port.url}/v1/admin/{path}"
        if path == "revoke":
            answer = await client.post(address, json={"user": "7"}, headers=headers())
        else:
            answer = await client.get(address, headers=headers())
    assert answer.status_code == status
    assert answer.json()["errors"][0]["extensions"]["code"] == code
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert len(port.app.authenticator.revocations) == 0


async def test_a_token_of_the_role_admin_may(port: Port) -> None:
    assert (await get(port, "state", shown(role="admin"))).status_code == 200


async def test_a_secret_is_not_guessed_here_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch, YAML + "limits: {wrong_secrets_per_ip: 2/h}\n") as port:
        for status in (401, 401, 429):
            answer = await get(port, "state", {"X-Hasura-Admin-Secret": "wrong"})
            assert answer.status_code == status
        assert int(answer.headers["retry-after"]) > 60
        assert (await get(port, "state")).status_code == 429, "not even the right one is looked at"


async def test_a_form_of_another_page_revokes_nothing(port: Port) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(
            f"{port.url}/v1/admin/revoke",
            content=b'{"user": "7"}',
            headers={**ADMIN, "content-type": "text/plain"},
        )
        assert answer.status_code == 415
        assert (await client.get(f"{port.url}/v1/admin/revoke", headers=ADMIN)).status_code == 405
    assert len(port.app.authenticator.revocations) == 0


OPEN = "databases: {main: {url: host=scripted}}\nsources: {items: {}, notes: {}}\nserver: {port: 0%s}\n"


async def test_without_authentication_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch, OPEN % "") as port, port.connect() as ws:
        await greet(ws, {})
        (number,) = [each["id"] for each in (await get(port, "sessions", {})).json()["connections"]]
        assert (await revoke(port, {"connection": number}, {}))["connections"] == 1
        assert await closed(ws) == REVOKED
    async with world(monkeypatch, OPEN % ", host: 0.0.0.0, insecure_public: true") as port:
        answer = await get(port, "state", {})
        assert answer.status_code == 403
        assert (
            answer.json()["errors"][0]["message"] == "without `auth` the admin API is for this machine alone"
        )

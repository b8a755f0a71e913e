"""Who is asking, on the port: HTTP and WebSockets, tokens as Auth0, Keycloak and Hasura have them, expiry, reloads."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from aiohttp import web
from websockets.exceptions import ConnectionClosed

from tests.auth.tokens import EC, OTHER_RSA, RSA, SECRET, jwk, token
from tests.transports.test_port import ITEMS, Port, serving, subscribe
from tycostream.config.load import loads
from tycostream.testing.scripted import ScriptedEngine

ADMIN = {"X-Hasura-Admin-Secret": "the secret of the admin"}
NEW = "application/graphql-response+json"
QUERY = {"query": "{items_by_pk(id: 1) {name}}"}
ROW = {"data": {"items_by_pk": {"name": "name 1"}}}
NOTHING = "no_queries_available"


@dataclass
class Issuers:
    """A server of keys: by path, and how often each was asked for."""

    url: str
    keys: dict[str, list[dict[str, Any]]]
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def issuers() -> AsyncIterator[Issuers]:
    served = Issuers(
        "",
        {
            "/.well-known/jwks.json": [jwk(RSA, kid="auth0", alg="RS256", use="sig")],
            "/realms/shop/protocol/openid-connect/certs": [
                jwk(OTHER_RSA, kid="enc", use="enc", alg="RSA-OAEP"),
                jwk(EC, kid="keycloak", use="sig", alg="ES256"),
            ],
        },
    )

    async def keys(request: web.Request) -> web.Response:
        served.asked.append(request.path)
        return web.json_response({"keys": served.keys[request.path]}, headers={"Cache-Control": "max-age=60"})

    application = web.Application()
    application.router.add_get("/{path:.*}", keys)
    runner: Any = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


def yaml(issuers: Issuers, more: str = "") -> str:
    return f"""
databases: {{main: {{url: host=scripted}}}}
sources: {{items: {{}}}}
server: {{port: 0}}
auth:
  admin_secrets: the secret of the admin
  jwt:
    - {{jwk_url: "{issuers.url}/.well-known/jwks.json", issuer: "https://x.auth0.com/", audience: my-api}}
    - jwk_url: "{issuers.url}/realms/shop/protocol/openid-connect/certs"
      issuer: "https://sso/realms/shop"
      claims_map:
        x-hasura-allowed-roles: {{path: $.realm_access.roles}}
        x-hasura-default-role: {{path: $.main_role, default: trader}}
        x-hasura-user-id: {{path: $.sub}}
    - {{type: HS256, key: "{SECRET}"}}
{more}"""


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, issuers: Issuers) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, yaml(issuers)) as port:
        yield port


def auth0(role: str = "user", **more: object) -> str:
    claims = {"x-hasura-default-role": role, "x-hasura-allowed-roles": [role]}
    common: dict[str, Any] = {
        "iss": "https://x.auth0.com/",
        "aud": ["my-api", "https://x.auth0.com/userinfo"],
    }
    times = {"iat": int(time.time()) - 1, "exp": int(time.time()) + 600}
    namespace = {"https://hasura.io/jwt/claims": claims}
    return token(RSA, "RS256", {"kid": "auth0"}, **{**common, **times, **namespace, **more})


def keycloak(*roles: str, **more: object) -> str:
    claims: dict[str, Any] = {
        "iss": "https://sso/realms/shop",
        "sub": "u-1",
        "realm_access": {"roles": list(roles)},
    }
    return token(EC, "ES256", {"kid": "keycloak"}, **{**claims, **more})


def hasura(role: str = "user", **more: Any) -> str:
    claims = {"x-hasura-default-role": role, "x-hasura-allowed-roles": [role]}
    namespace: dict[str, Any] = {"https://hasura.io/jwt/claims": claims}
    return token(**namespace, **more)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def post(port: Port, headers: Any, **more: object) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.post(f"{port.url}/graphql", json={**QUERY, **more}, headers=headers)


ADMINS: list[Any] = [
    lambda: ADMIN,
    lambda: bearer(auth0("admin")),
    lambda: bearer(keycloak("admin", main_role="admin")),
]
OTHERS: list[Any] = [
    lambda: {**ADMIN, "X-Hasura-Role": "user"},
    lambda: bearer(auth0()),
    lambda: bearer(keycloak("trader", "ops")),
    lambda: {**bearer(keycloak("trader", "ops")), "X-Hasura-Role": "ops"},
    lambda: bearer(hasura()),
]
REFUSED: list[Any] = [
    (dict, "invalid-headers", "Missing 'Authorization' or 'Cookie' header in JWT authentication mode"),
    (lambda: {"x-hasura-admin-secret": "wrong"}, "access-denied", 'invalid "x-hasura-admin-secret"/"x-hasura-access-key"'),
    (lambda: bearer(auth0(exp=5)), "invalid-jwt", "Could not verify JWT: JWTExpired"),
    (lambda: bearer(auth0(aud="other")), "invalid-jwt", "Could not verify JWT: JWTNotInAudience"),
    (lambda: {**bearer(auth0()), "X-Hasura-Role": "admin"}, "access-denied", "Your requested role is not in allowed roles"),
    (lambda: bearer(keycloak()), "access-denied", "Your requested role is not in allowed roles"),
    (lambda: bearer(hasura() + "x"), "invalid-jwt", "Could not verify JWT: JWSError JWSInvalidSignature"),
]  # fmt: skip


@pytest.mark.parametrize("headers", ADMINS)
async def test_admins_see_everything(port: Port, headers: Any) -> None:
    assert (await post(port, headers())).json() == ROW
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": headers()}}))
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        await ws.send(subscribe("subscription {items_by_pk(id: 1) {name}}"))
        assert json.loads(await ws.recv())["payload"] == ROW
    async with port.connect(additional_headers=headers()) as ws:  # of the upgrade
        await ws.send('{"type":"connection_init"}')
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}


@pytest.mark.parametrize("headers", OTHERS)
async def test_other_roles_see_nothing_until_there_are_permissions(port: Port, headers: Any) -> None:
    answer = (await post(port, headers())).json()
    assert answer["errors"][0]["message"] == "field 'items_by_pk' not found in type: 'query_root'"
    assert (await post(port, headers(), query="{items_nope}")).json()["errors"][0]["extensions"] == {
        "path": "$.selectionSet.items_nope",
        "code": "validation-failed",
    }
    schema = "{__schema {types {name fields {name}}}}"
    types = (await post(port, headers(), query=schema)).json()["data"]["__schema"]["types"]
    assert [each["fields"] for each in types if each["name"] == "query_root"] == [[{"name": NOTHING}]]
    assert not [each["name"] for each in types if "items" in each["name"]]
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": headers()}))  # flat, as GraphiQL
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        for query in (
            "subscription {items_by_pk(id: 1) {name}}",
            "{items {id}}",
            "subscription {items_changes {phase}}",
        ):
            await ws.send(subscribe(query))
            assert json.loads(await ws.recv())["type"] == "error"


@pytest.mark.parametrize(("headers", "code", "message"), REFUSED)
async def test_who_is_nobody_is_told_so(port: Port, headers: Any, code: str, message: str) -> None:
    for accept, status in (("application/json", 200), (NEW, 401)):
        answer = await post(port, {**headers(), "Accept": accept})
        assert answer.status_code == status
        assert answer.json() == {"errors": [{"message": message, "extensions": {"path": "$", "code": code}}]}
        assert answer.headers.get("www-authenticate") == (None if status == 200 else "Bearer")
    async with httpx2.AsyncClient() as client:
        got = await client.get(f"{port.url}/v1/graphql", params=QUERY, headers=headers())
        assert got.json()["errors"][0]["extensions"]["code"] == code
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": headers()}}))
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4403, f"Forbidden: {message}")


@pytest.mark.parametrize(
    "payload",
    [
        {"headers": []},
        {"headers": {"x-hasura-admin-secret": 5}},
        {"headers": {"Authorization": "Bearer x", "authorization": "Bearer y"}},
        {"x-hasura-admin-secret": 5},
    ],
)
async def test_a_payload_that_is_malformed(port: Port, payload: Mapping[str, object]) -> None:
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": payload}))
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403


async def test_a_header_sent_twice(port: Port) -> None:
    twice = [*ADMIN.items(), ("x-hasura-admin-secret", "wrong")]
    answer = await post(port, twice)
    said = "the header 'x-hasura-admin-secret' is there 2 times"
    assert answer.json()["errors"][0]["message"] == said


async def test_nothing_starts_before_it_is_known_who_asks(port: Port) -> None:
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": bearer(auth0("admin"))}))
        await ws.send(subscribe("subscription {items {id}}"))  # while keys are fetched
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_keys_are_fetched_once_and_rotated(port: Port, issuers: Issuers) -> None:
    await asyncio.gather(*(post(port, bearer(auth0("admin"))) for _ in range(5)))
    assert issuers.asked == ["/.well-known/jwks.json"]
    issuers.keys["/realms/shop/protocol/openid-connect/certs"] = []
    answer = (await post(port, bearer(keycloak("trader")))).json()
    assert answer["errors"][0]["message"] == "the keys of the token's issuer cannot be had at present"


async def test_a_connection_ends_when_its_token_does(port: Port) -> None:
    ends_s = time.time() + 1
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": bearer(hasura("admin", exp=ends_s))}))
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        await ws.send(subscribe("subscription {items {id}}"))
        assert json.loads(await ws.recv())["type"] == "next"
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert time.time() >= ends_s
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4403, "Forbidden: the token has expired")


async def test_secrets_that_were_rotated_end_what_they_let_in(port: Port, issuers: Issuers) -> None:
    async with port.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": ADMIN}))
        assert json.loads(await ws.recv()) == {"type": "connection_ack"}
        text = yaml(issuers).replace("the secret of the admin", "another secret entirely")
        changes = await port.app.reload(loads(text, environ={}))
        assert list(changes.settings) == ["auth.admin_secrets"]
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert (await post(port, ADMIN)).json()["errors"][0]["extensions"]["code"] == "access-denied"
    assert (await post(port, {"x-hasura-admin-secret": "another secret entirely"})).json() == ROW


async def test_taking_authentication_out_waits_for_a_restart(port: Port) -> None:
    text = "databases: {main: {url: host=scripted}}\nsources: {items: {}}\nserver: {port: 0}\n"
    changes = await port.app.reload(loads(text, environ={}))
    assert changes.restart == ("auth",)
    assert "errors" in (await post(port, {})).json()
    assert (await post(port, ADMIN)).json() == ROW


async def test_what_is_told_without_credentials(port: Port) -> None:
    async with httpx2.AsyncClient(base_url=port.url) as client:
        assert (await client.get("/readyz")).json() == {"ready": True}
        assert (await client.get("/readyz", headers=bearer(hasura()))).json() == {"ready": True}
        assert "sources" in (await client.get("/readyz", headers=ADMIN)).json()
        assert (await client.get("/healthz")).text == "OK"
        page = await client.get("/graphql", headers={"accept": "text/html"})
        assert page.headers["content-type"].startswith("text/html")


async def test_a_body_is_not_read_for_nobody(port: Port) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(
            f"{port.url}/graphql", content=b"x" * 2_000_000, headers={"content-type": "application/json"}
        )
    assert answer.json()["errors"][0]["extensions"]["code"] == "invalid-headers"


async def test_a_client_that_leaves_while_it_is_asked(port: Port) -> None:
    for _ in range(3):
        async with port.connect() as ws:
            await ws.send(json.dumps({"type": "connection_init", "payload": bearer(auth0("admin"))}))
            ws.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    assert len(await port.closed(3)) == 3
    assert (await post(port, bearer(auth0("admin")))).json() == ROW

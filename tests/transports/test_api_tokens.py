"""API tokens on the port: HTTP and WebSockets, revoked by another process, and a state that goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed

from tests.transports.test_expiring import Held
from tests.transports.test_port import ITEMS, Port, drained, serving, subscribe
from tests.transports.test_sessions import NEW, ROW, post
from tycostream.cli import cli
from tycostream.observe.events import Authenticated, AuthenticationFailed
from tycostream.testing.scripted import ScriptedEngine

ADMIN_SECRET = "the secret of the admin"
OTHER_SECRET = "another one, to rotate"
YAML = f"""
databases: {{main: {{url: host=scripted}}}}
sources: {{items: {{permissions: {{reader: {{columns: [id, name], where: {{name: {{_eq: X-Hasura-Item}}}}}}}}}}}}
server: {{port: 0}}
auth: {{admin_secrets: [{ADMIN_SECRET}, "{OTHER_SECRET}"]}}
state: STATE
"""


class Served:
    """A server, and the file of its configuration for the commands."""

    def __init__(self, port: Port, config: Path) -> None:
        self.port = port
        self.config = config

    async def token(self, *arguments: str) -> Any:
        command = ["token", *arguments, "--json", "--config", str(self.config)]
        result = await asyncio.to_thread(CliRunner().invoke, cli, command)  # it has an event loop of its own
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async def reader(self, item: str, *more: str) -> dict[str, str]:
        made = await self.token("create", item, "--role", "reader", "-v", f"x-hasura-item={item}", *more)
        return {"Authorization": f"Bearer {made['token']}"}

    async def names(self, headers: dict[str, str]) -> list[str]:
        answer = (await post(self.port, headers, query="{items {name}}")).json()
        return [row["name"] for row in answer["data"]["items"]]

    async def refused(self, headers: dict[str, str]) -> tuple[str, str]:
        error = (await post(self.port, headers)).json()["errors"][0]
        return error["extensions"]["code"], error["message"]


@pytest.fixture(params=["sqlite", "postgres"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    found: str = request.getfixturevalue("database")
    return found


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch, state: str, tmp_path: Path) -> AsyncIterator[Served]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    yaml = YAML.replace("STATE", state)
    config = tmp_path / "tycostream.yaml"
    config.write_text(yaml)
    async with serving(engine, monkeypatch, yaml) as port:
        yield Served(port, config)


async def greeted(ws: Any, headers: dict[str, str]) -> None:
    await ws.send(json.dumps({"type": "connection_init", "payload": {"headers": headers}}))
    assert json.loads(await ws.recv()) == {"type": "connection_ack"}


async def closed(ws: Any) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as error:
        await asyncio.wait_for(drained(ws), 10)
    assert error.value.rcvd is not None
    return error.value.rcvd.code, error.value.rcvd.reason


async def test_a_token_sees_what_its_role_and_variables_may(served: Served) -> None:
    one, two = await served.reader("name 1"), await served.reader("name 2")
    assert await served.names(one) == ["name 1"]
    assert await served.names(two) == ["name 2"]
    assert await served.names({**one, "X-Hasura-Role": "reader"}) == ["name 1"]
    assert await served.names({**one, "X-Hasura-Item": "name 2"}) == ["name 1"]  # no header is a variable
    async with served.port.connect() as ws:
        await greeted(ws, one)
        await ws.send(subscribe("subscription {items {name}}"))
        assert json.loads(await ws.recv())["payload"] == {"data": {"items": [{"name": "name 1"}]}}
    async with served.port.connect(additional_headers=two) as ws:  # of the upgrade
        await greeted(ws, {})
        await ws.send(subscribe("subscription {items {name}}"))
        assert json.loads(await ws.recv())["payload"] == {"data": {"items": [{"name": "name 2"}]}}


async def test_what_is_no_token_is_refused_everywhere(served: Served) -> None:
    one = await served.reader("name 1")
    unknown = ("access-denied", "the token is not known")
    assert await served.refused({"Authorization": "Bearer tyco_" + "x" * 43}) == unknown
    assert await served.refused({"Authorization": "Bearer anything"}) == unknown
    assert await served.refused({"Authorization": one["Authorization"] + "x"}) == unknown
    not_allowed = ("access-denied", "Your requested role is not in allowed roles")
    assert await served.refused({**one, "X-Hasura-Role": "admin"}) == not_allowed
    missing = ("invalid-headers", "Missing 'Authorization' or 'Cookie' header in JWT authentication mode")
    assert await served.refused({}) == missing
    assert await served.refused({"Authorization": "Basic eDp5"}) == missing
    async with served.port.connect() as ws:
        await ws.send(
            json.dumps({"type": "connection_init", "payload": {"Authorization": "Bearer tyco_nobody"}})
        )
        assert await closed(ws) == (4403, "Forbidden: the token is not known")


async def test_revoked_by_another_process_its_connections_end(served: Served) -> None:
    one, two = await served.reader("name 1"), await served.reader("name 2")
    async with served.port.connect() as ws, served.port.connect() as other:
        await greeted(ws, one)
        await greeted(other, two)
        await ws.send(subscribe("subscription {items {name}}"))
        await ws.recv()
        await served.token("revoke", "name 1")
        assert await closed(ws) == (4403, "Forbidden: the token was revoked")
        await other.send(subscribe("subscription {items {name}}"))
        assert json.loads(await other.recv())["type"] == "next"
    assert await served.refused(one) == ("access-denied", "the token was revoked")
    assert await served.names(two) == ["name 2"]


async def test_a_query_over_http_that_goes_on_is_given_up_when_its_token_is_revoked(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await served.reader("name 1")
    held = Held(served.port, monkeypatch)
    asking = asyncio.create_task(served.refused(headers))
    await held.begun.wait()
    await served.token("revoke", "name 1")
    assert await asking == ("access-denied", "the token was revoked")
    assert held.ended == ["cancelled"]
    tokens = served.port.app.authenticator.tokens
    assert tokens is not None
    assert tokens._known.borne == frozenset()  # nothing is left of it


async def test_a_token_that_expires_ends_its_connection(served: Served) -> None:
    headers = await served.reader("name 1", "--expires", "1500ms")
    async with served.port.connect() as ws:
        await greeted(ws, headers)
        assert await closed(ws) == (4403, "Forbidden: the token has expired")
    assert await served.refused(headers) == ("access-denied", "the token has expired")


async def test_every_admin_secret_is_good_and_events_tell_who_came(served: Served) -> None:
    one = await served.reader("name 1")
    served.port.events.clear()
    for secret in (ADMIN_SECRET, OTHER_SECRET):
        assert (await post(served.port, {"X-Hasura-Admin-Secret": secret})).json() == ROW
    await served.names(one)
    wrong = "a wrong secret that nobody must see"
    await served.refused({"X-Hasura-Admin-Secret": wrong})
    await served.refused({})
    async with served.port.connect() as ws:
        await greeted(ws, {"X-Hasura-Admin-Secret": ADMIN_SECRET, "X-Hasura-User-Id": "7"})
    told = [each for each in served.port.events if isinstance(each, (Authenticated, AuthenticationFailed))]
    (listed,) = await served.token("list")
    assert told == [
        Authenticated("http", "127.0.0.1", "admin", "admin-secret"),
        Authenticated("http", "127.0.0.1", "admin", "admin-secret"),
        Authenticated("http", "127.0.0.1", "reader", "token", token=listed["id"]),
        AuthenticationFailed("http", "127.0.0.1", "access-denied", "secret-wrong"),
        AuthenticationFailed("http", "127.0.0.1", "invalid-headers", "credentials-missing"),
        Authenticated("graphql-transport-ws", "127.0.0.1", "admin", "admin-secret", user="7"),
    ]
    shown = repr(served.port.events)
    assert not [text for text in (wrong, ADMIN_SECRET, one["Authorization"].split()[1]) if text in shown]


async def test_a_probe_without_credentials_is_no_failure_and_one_with_wrong_ones_is(served: Served) -> None:
    served.port.events.clear()
    async with httpx2.AsyncClient(base_url=served.port.url) as client:
        assert (await client.get("/readyz")).json() == {"ready": True}
        assert not [each for each in served.port.events if isinstance(each, AuthenticationFailed)]
        assert (await client.get("/readyz", headers={"X-Hasura-Admin-Secret": "a guess"})).json() == {
            "ready": True
        }
        failed = [each.reason for each in served.port.events if isinstance(each, AuthenticationFailed)]
        assert failed == ["secret-wrong"]
        admin = await client.get("/readyz", headers={"X-Hasura-Admin-Secret": OTHER_SECRET})
        assert "sources" in admin.json()


# one kind of state is enough for these


@pytest.fixture
async def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Port]:
    """A server whose state is a folder that is not there."""
    folder = tmp_path / "gone"
    folder.mkdir()
    yaml = YAML.replace("STATE", f"sqlite:///{folder}/state.db")
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, yaml) as port:
        folder.rename(tmp_path / "elsewhere")
        yield port


async def test_while_the_state_is_away_a_client_is_told_to_try_again(away: Port) -> None:
    headers = {"Authorization": "Bearer tyco_" + "x" * 43}
    answer = await post(away, {**headers, "Accept": NEW})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    error = answer.json()["errors"][0]
    assert error == {
        "message": "tokens cannot be looked up at present",
        "extensions": {"path": "$", "code": "unavailable", "hint": "try again in a moment"},
    }
    assert (await post(away, headers)).status_code == 200  # who reads the old media type reads the errors
    async with away.connect() as ws:
        await ws.send(json.dumps({"type": "connection_init", "payload": headers}))
        assert await closed(ws) == (1013, "Try again later: tokens cannot be looked up at present")
    assert (await post(away, {"X-Hasura-Admin-Secret": ADMIN_SECRET})).json() == ROW
    async with httpx2.AsyncClient() as client:
        assert (await client.get(f"{away.url}/healthz")).text == "OK"


async def test_a_server_without_state_takes_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine([ITEMS])
    yaml = YAML.replace("state: STATE", "").replace("auth: {", "auth: {unauthorized_role: anonymous, ")
    async with serving(engine, monkeypatch, yaml) as port:
        answer = await post(port, {"Authorization": "Bearer tyco_" + "x" * 43})
        assert answer.json()["errors"][0]["message"] == "this server takes no API tokens"
        anonymous = (await post(port, {})).json()["errors"][0]["message"]
        assert anonymous == "field 'items_by_pk' not found in type: 'query_root'"


async def test_a_token_and_another_in_a_cookie_are_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    jwt = f"jwt: [{{type: HS256, key: {secret}, header: {{type: Cookie, name: session}}}}], "
    yaml = YAML.replace("STATE", f"sqlite:///{tmp_path}/s.db").replace("auth: {", "auth: {" + jwt)
    async with serving(ScriptedEngine([ITEMS]), monkeypatch, yaml) as port:
        answer = await post(port, {"Authorization": "Bearer tyco_x", "Cookie": "session=eyJ"})
        assert (
            answer.json()["errors"][0]["message"]
            == "there are several tokens, in different headers; send one"
        )
        answer = await post(port, {"Authorization": "Bearer tyco_x"})
        assert answer.json()["errors"][0]["message"] == "the token is not known"

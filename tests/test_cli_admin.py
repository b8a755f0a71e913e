"""`tycostream sessions`, `state` and `revoke` against a running server, as people and scripts use them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from tests.transports.session_world import ADMIN, ITEMS_LIVE, closed, greet, shown, start, world
from tests.transports.test_port import Port
from tycostream.cli import cli
from tycostream.errors import TycoError

SECRET = {"TYCOSTREAM_ADMIN_SECRET": ADMIN["X-Hasura-Admin-Secret"]}


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    monkeypatch.setenv("COLUMNS", "200")
    async with world(monkeypatch) as port:
        yield port


async def run(url: str, *arguments: str, env: dict[str, str] | None = None) -> Result:
    """A command, beside the server that it asks."""
    variables = {"TYCOSTREAM_URL": url} | (SECRET if env is None else env)
    return await asyncio.to_thread(lambda: CliRunner().invoke(cli, list(arguments), env=variables))


async def ok(port: Port, *arguments: str) -> Any:
    result = await run(port.url, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def refused(url: str, *arguments: str, env: dict[str, str] | None = None) -> TycoError:
    error = (await run(url, *arguments, env=env)).exception
    assert isinstance(error, TycoError), error
    return error


async def test_who_is_connected(port: Port) -> None:
    async with port.connect() as ws, port.connect() as other:
        await greet(ws, shown())
        await greet(other, shown(role="reader", user="8"))
        await start(ws, ITEMS_LIVE, "a")
        found = await ok(port, "sessions")
        assert [each["user"] for each in found["connections"]] == ["7", "8"]
        assert found["connections"][0]["operations"][0]["rows"] == 2
        found = await ok(port, "sessions", "--role", "reader", "--limit", "1")
        assert [each["user"] for each in found["connections"]] == ["8"]
        text = (await run(port.url, "sessions")).stdout
        assert "live items 2" in text
        assert text.endswith("2 of 2 connections\n")
        text = (await run(port.url, "sessions", "--limit", "1")).stdout
        assert text.endswith("1 of 2 connections; --limit shows more\n")


async def test_nothing_that_a_client_says_reaches_the_terminal_as_it_is(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, shown(user="\x1b[31m[bold]x"))
        text = (await run(port.url, "sessions")).stdout
        assert "?[31m[bold]x" in text
        assert "\x1b[31m" not in text


async def test_the_end_of_a_session(port: Port) -> None:
    async with port.connect() as ws:
        await greet(ws, shown(claims={"x-hasura-org": "5"}))
        answer = await ok(port, "revoke", "--user", "7", "-v", "x-hasura-org=5")
        assert (answer["connections"], answer["shared"]) == (1, False)
        assert (await closed(ws))[0] == 4403
    text = (await run(port.url, "revoke", "--user", "7")).stdout
    assert text.startswith(
        "ended 0 sessions of this server alone: it has no state; 0 API tokens revoked for good\n"
    )


async def test_how_a_server_is(port: Port) -> None:
    assert (await ok(port, "state"))["ready"] is True
    async with port.connect() as ws:
        await greet(ws, shown())
        await start(ws, ITEMS_LIVE, "a")
        text = (await run(port.url, "state")).stdout
    assert "every source is live; 1 connection, 1 operation, 1 cohort" in text
    for word in ("main", "postgres", "items", "notes", "user"):
        assert word in text


async def test_with_a_token_of_the_role_admin(port: Port) -> None:
    token = shown(role="admin")["Authorization"].removeprefix("Bearer ")
    result = await run(port.url, "state", "--json", env={"TYCOSTREAM_TOKEN": token})
    assert json.loads(result.stdout)["ready"] is True


async def test_refusals_have_a_remedy(port: Port) -> None:
    error = await refused(port.url, "state", env={})
    assert (error.code, error.hint) == ("invalid-headers", "set TYCOSTREAM_ADMIN_SECRET, or TYCOSTREAM_TOKEN")
    assert (await refused(port.url, "state", env={"TYCOSTREAM_ADMIN_SECRET": "x"})).code == "access-denied"
    assert (await refused(port.url, "revoke")).message.startswith("say whose: --token-id, --user")
    assert (await refused(port.url, "revoke", "-v", "x")).message == "--variable 'x' is not NAME=VALUE"
    assert (await refused("http://api.example.com", "state")).code == "url-insecure"
    assert (await refused("nowhere", "state")).code == "url-invalid"
    assert (await refused("http://127.0.0.1:1", "state")).code == "server-unreachable"


async def test_a_redirect_gets_no_secret() -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner: Any = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    error = await refused(f"http://127.0.0.1:{runner.addresses[0][1]}", "state")
    await runner.cleanup()
    assert error.message == "there is no admin API of tycostream at --url: it answers 302"
    assert seen == ["/v1/admin/state"]

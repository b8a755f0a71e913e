"""HTTP's rules without a network: headers that protect, files that are cached, requests that are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2
import pytest

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.limiter import Limiter
from tycostream.clock import SystemClock
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import ServerConfig
from tycostream.live.clients import Clients
from tycostream.observe.events import Event, OperationFailed, silent
from tycostream.transports.http import Served, make_app

HOST = "http://127.0.0.1:4000"
PAGE = {"accept": "text/html,*/*;q=0.8"}


class Ready:
    """Operations that are never ready and always crash."""

    authenticator = Authenticator(None, SystemClock(), silent)
    clients = Clients()
    admin: Any = None
    limiter = Limiter(LimitsConfig(), SystemClock(), silent)

    def ready(self) -> tuple[bool, list[dict[str, object]]]:
        return False, [{"source": "items", "state": "failed", "reason": "no such table at db.internal"}]

    def prepare(self, *arguments: object) -> Any:
        raise RuntimeError("a secret of the inside")


def client_of(config: ServerConfig, events: list[Event] | None = None) -> httpx2.AsyncClient:
    sink = events if events is not None else []
    app = make_app(cast(Served, Ready()), lambda: config, sink.append, examples=["{x}"])
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=HOST)


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(ServerConfig()) as client:
        yield client


@pytest.mark.parametrize("path", ["/graphql", "/graphiql/index.html"])
async def test_the_page_is_guarded_wherever_it_is_served(client: httpx2.AsyncClient, path: str) -> None:
    page = await client.get(path, headers=PAGE)
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["vary"] == "accept, Origin"
    assert "https://" not in page.text


async def test_the_page_loads_only_files_that_are_there_and_kept(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/graphql", headers=PAGE)).text
    names = [part.split('"')[0] for part in page.split('="') if part.startswith("/graphiql/assets/")]
    assert names
    for name in names:
        file = await client.get(name)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["x-content-type-options"] == "nosniff"
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        assert file.headers["content-type"].startswith(kind)


async def test_graphiql_can_be_switched_off_whole() -> None:
    async with client_of(ServerConfig(graphiql=False)) as client:
        assert (await client.get("/graphiql/index.html")).status_code == 404
        assert (await client.get("/graphql", headers=PAGE)).status_code == 400


@pytest.mark.parametrize("path", ["/healthz", "/v1/version", "/readyz", "/graphql", "/nowhere"])
async def test_nothing_is_sniffed(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"


async def test_reasons_are_not_told_under_a_foreign_name(client: httpx2.AsyncClient) -> None:
    told = await client.get("/readyz")
    assert (told.status_code, "db.internal" in told.text) == (503, True)
    rebound = await client.get("/readyz", headers={"host": "evil.example:4000"})
    assert (rebound.status_code, "db.internal" in rebound.text) == (403, False)
    assert (await client.get("/healthz", headers={"host": "evil.example:4000"})).text == "OK"


@pytest.mark.parametrize("headers", [{"host": "["}, {"origin": "http://["}, {"origin": "null"}])
async def test_broken_names_are_refused_not_crashed_on(
    client: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await client.post("/graphql", json={"query": "{x}"}, headers=headers)).status_code == 403


async def test_another_method_is_405_and_says_which_are_allowed(client: httpx2.AsyncClient) -> None:
    response = await client.delete("/graphql")
    assert response.status_code == 405
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


async def test_a_body_that_is_not_utf8_or_too_deep_is_400(client: httpx2.AsyncClient) -> None:
    for body in (
        b'{"query":"\xff"}',
        b'{"a":' * 100_000,
        b'{"query":"{x}","variables":{"a":1e99999999999999999999}}',
    ):
        response = await client.post("/graphql", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 400
        assert response.json()["errors"][0]["extensions"]["code"] == "bad-request"


async def test_an_internal_error_tells_the_client_nothing_and_the_log_everything() -> None:
    events: list[Event] = []
    async with client_of(ServerConfig(), events) as client:
        response = await client.post("/graphql", json={"query": "{x}"})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["errors"][0] == {
        "message": "internal error",
        "extensions": {"path": "$", "code": "unexpected"},
    }
    (failed,) = [event for event in events if isinstance(event, OperationFailed)]
    assert "secret" in failed.internal

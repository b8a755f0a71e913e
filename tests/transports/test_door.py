"""What every request meets first, and what every answer carries."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tycostream.auth.limiter import Limiter
from tycostream.clock import SystemClock
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import ServerConfig
from tycostream.observe.events import Event, RequestRefused, silent
from tycostream.transports.door import Door

PAGE = "https://app.example"
ALLOWS = "access-control-allow-origin"
LIMITER = Limiter(LimitsConfig(), SystemClock(), silent)


async def _seen(request: Request) -> JSONResponse:
    return JSONResponse({"ip": request.state.client_ip, "cookies": request.state.cookies})


def client_of(
    events: list[Event] | None = None,
    *,
    base_url: str = "http://127.0.0.1:4000",
    peer: tuple[str, int] | None = ("127.0.0.1", 5),
    **server: Any,
) -> httpx2.AsyncClient:
    config = ServerConfig.model_validate(server)
    inner = Starlette(
        routes=[Route(path, _seen, methods=["GET", "POST", "PUT"]) for path in ("/graphql", "/healthz")]
    )
    door = Door(inner, lambda: config, LIMITER, (events if events is not None else []).append)
    transport = httpx2.ASGITransport(app=door, client=peer)  # type: ignore[arg-type]
    return httpx2.AsyncClient(transport=transport, base_url=base_url)


async def test_an_allowed_page_may_read_the_answer() -> None:
    async with client_of(cors=[PAGE]) as client:
        answer = await client.post("/graphql", headers={"origin": PAGE})
        assert answer.json() == {"ip": "127.0.0.1", "cookies": False}
        assert answer.headers[ALLOWS] == PAGE
        assert answer.headers["access-control-expose-headers"] == "Retry-After, WWW-Authenticate"
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["vary"] == "Origin"
        plain = await client.get("/graphql")
        assert plain.json()["cookies"] is True
        assert ALLOWS not in plain.headers
        assert plain.headers["vary"] == "Origin"  # a cache must not give this one to that page


async def test_with_credentials_the_origin_is_named_and_never_a_star() -> None:
    async with client_of(cors={"origins": [PAGE], "credentials": True}) as client:
        answer = await client.get("/graphql", headers={"origin": PAGE})
        assert answer.headers[ALLOWS] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.json()["cookies"] is True
    async with client_of(cors="*") as client:
        answer = await client.get("/graphql", headers={"origin": PAGE})
        assert answer.headers[ALLOWS] == PAGE
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.json()["cookies"] is False


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil.example", "["])
async def test_other_pages_are_refused_and_told_nothing(origin: str) -> None:
    events: list[Event] = []
    async with client_of(events, cors=[PAGE]) as client:
        for method in ("GET", "POST", "OPTIONS"):
            answer = await client.request(
                method, "/graphql", headers={"origin": origin, "access-control-request-method": "POST"}
            )
            assert answer.status_code == 403
            assert answer.json()["errors"][0]["extensions"]["code"] == "origin-not-allowed"
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert events == [
        RequestRefused("http", "127.0.0.1", 403, "origin-not-allowed", event.message)
        for event in events
        if isinstance(event, RequestRefused)
    ]
    assert len(events) == 3


async def test_health_is_for_all_but_pages_do_not_read_it() -> None:
    async with client_of(cors=[PAGE]) as client:
        answer = await client.get(
            "/healthz", headers={"origin": "https://evil.example", "host": "evil.example"}
        )
        assert answer.status_code == 200
        assert ALLOWS not in answer.headers


async def test_a_preflight() -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-hasura-role,x-other",
    }
    async with client_of(cors={"origins": [PAGE], "max_age": "1h"}) as client:
        answer = await client.options("/graphql", headers=asked)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers[ALLOWS] == PAGE
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-headers"] == "content-type, x-hasura-role"
        assert answer.headers["access-control-max-age"] == "3600"
        assert answer.headers["vary"] == (
            "Access-Control-Request-Method, Access-Control-Request-Headers, Origin"
        )
        ours = await client.options("/graphql", headers={**asked, "origin": "http://127.0.0.1:4000"})
        assert ours.status_code == 204
        assert ALLOWS not in ours.headers
        assert (await client.options("/graphql", headers={"origin": PAGE})).status_code == 405  # no preflight


async def test_a_page_uses_only_methods_that_it_may() -> None:
    async with client_of(cors={"origins": [PAGE], "methods": ["POST"]}) as client:
        assert (await client.post("/graphql", headers={"origin": PAGE})).status_code == 200
        refused = await client.get("/graphql", headers={"origin": PAGE})
        assert refused.status_code == 403
        assert "may not use GET" in refused.json()["errors"][0]["message"]
        assert (await client.get("/graphql")).status_code == 200  # no page


async def test_what_every_answer_carries() -> None:
    async with client_of() as client:
        for path in ("/graphql", "/nowhere"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none';")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"
            assert "strict-transport-security" not in headers
    async with client_of(base_url="https://127.0.0.1:4000") as client:
        headers = (await client.get("/graphql")).headers
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert (await client.get("/graphql", headers={"origin": "http://127.0.0.1:4000"})).status_code == 403


async def test_the_clients_address() -> None:
    forged = {"x-forwarded-for": "1.1.1.1, 198.51.100.1", "forwarded": "for=2.2.2.2"}
    async with client_of(peer=("203.0.113.9", 5), host="0.0.0.0") as client:
        assert (await client.get("/graphql", headers=forged)).json()["ip"] == "203.0.113.9"
    async with client_of(peer=("10.0.0.1", 5), host="0.0.0.0", trusted_proxies="10.0.0.0/8") as client:
        assert (await client.get("/graphql", headers=forged)).json()["ip"] == "198.51.100.1"
    async with client_of(peer=None, trusted_proxies="10.0.0.0/8") as client:
        assert (await client.get("/graphql", headers=forged)).json()["ip"] == ""


async def test_a_header_that_is_there_twice() -> None:
    async with client_of(cors=[PAGE]) as client:
        twice = [("origin", PAGE), ("origin", "https://evil.example")]
        answer = await client.get("/graphql", headers=twice)
        assert answer.json()["errors"][0]["message"] == "the Origin header is there 2 times"


async def test_what_is_no_http_goes_by() -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await Door(inner, ServerConfig, LIMITER, seen.append)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]

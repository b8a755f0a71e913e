"""Fetching a document: what it refuses to do, against a real server on loopback."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tycostream.auth.fetch import fetch, forbidden
from tycostream.auth.keys import FetchError


@pytest.fixture
async def server() -> AsyncIterator[str]:
    seen: list[web.Request] = []

    async def keys(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(body=b'{"keys": []}', headers={"Cache-Control": "max-age=5"})

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("/keys")

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=b" " * (256 * 1024 + 1))

    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"})

    async def broken(request: web.Request) -> web.Response:
        raise web.HTTPInternalServerError

    application = web.Application()
    application.router.add_get("/keys", keys)
    for handler in (moved, large, bomb, broken):
        application.router.add_get(f"/{handler.__name__}", handler)
    runner: Any = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_document(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # not asked
    found = await fetch(f"{server}/keys")
    assert found.body == b'{"keys": []}'
    assert found.headers["cache-control"] == "max-age=5"
    assert (await fetch(f"{server.replace('127.0.0.1', 'localhost')}/keys")).body == found.body


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("moved", r"status 302 \(redirects are not followed\)"),
        ("large", "larger than 262144 bytes"),
        ("bomb", "larger than 262144 bytes"),
        ("broken", "status 500"),
        ("absent", "status 404"),
    ],
)
async def test_what_is_refused(server: str, path: str, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        await fetch(f"{server}/{path}")


@pytest.mark.parametrize(
    ("url", "insecure", "why"),
    [
        ("https://169.254.169.254/latest", False, "no keys are taken from that address"),
        ("http://169.254.169.254/latest", True, "no keys are taken from that address"),
        ("http://[::ffff:169.254.169.254]/", True, "no keys are taken from that address"),
        ("http://[fe80::1]/", True, "no keys are taken from that address"),
        ("http://0.0.0.0/", True, "no keys are taken from that address"),
        ("http://10.0.0.1/", False, "no keys are taken from that address"),
        ("http://issuer.example/", False, "the address is not https"),
        ("http://127.0.0.1:1/", False, "Connect"),
        ("http://2852039166/", True, "canonical|from which no keys are taken"),
    ],
)
async def test_addresses_that_are_never_asked(url: str, insecure: bool, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        await fetch(url, insecure=insecure)


async def test_a_name_that_leads_where_it_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(self: object, host: str, *_: object) -> list[dict[str, object]]:
        return [
            {"hostname": host, "host": "169.254.169.254", "port": 443, "family": 2, "proto": 0, "flags": 0}
        ]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    with pytest.raises(FetchError, match="resolves to addresses from which no keys are taken"):
        await fetch("https://rebound.example/keys")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", (False, False)),
        ("::1", (False, False)),
        ("::ffff:127.0.0.1", (False, False)),
        ("10.1.2.3", (False, True)),
        ("93.184.216.34", (False, True)),
        ("2606:4700::1111", (False, True)),
        ("169.254.169.254", (True, True)),
        ("fe80::1%eth0", (True, True)),
        ("224.0.0.1", (True, True)),
        ("0.0.0.0", (True, True)),
        ("::", (True, True)),
        ("240.0.0.1", (True, True)),
        ("no address", (True, True)),
    ],
)
def test_where_keys_may_come_from(address: str, expected: tuple[bool, bool]) -> None:
    assert tuple(forbidden(address, loopback_only=only) for only in (False, True)) == expected

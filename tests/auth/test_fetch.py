"""Fetching a document: what it refuses to do, against a real server on loopback."""

from __future__ import annotations

import asyncio
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
        ("http://10.0.0.1/", False, "the address is not https"),
        ("http://[2002:a9fe:a9fe::1]/", True, "no keys are taken from that address"),
        ("http://[64:ff9b::169.254.169.254]/", True, "no keys are taken from that address"),
        ("http://[fd00:ec2::254]/latest", True, "no keys are taken from that address"),
        ("http://100.100.100.200/latest", True, "no keys are taken from that address"),
        ("http://0xa9.0xfe.0xa9.0xfe/", True, "no keys are taken from that address"),
        ("http://0xa9fea9fe/", True, "no keys are taken from that address"),
        ("http://0251.0376.0251.0376/", True, "the address is none"),
        ("http://\uff10.\uff10.\uff10.\uff10/", True, "no keys are taken from that address"),
        ("http://\u2460\u2465\u2468.254.169.254/", True, "no keys are taken from that address"),
        ("http://issuer.example/", False, "the address is not https"),
        ("http://127.0.0.1:1/", False, "Connect"),
        ("http://2852039166/", True, "the address is none"),
    ],
)
async def test_addresses_that_are_never_asked(url: str, insecure: bool, why: str) -> None:
    with pytest.raises(FetchError, match=why):
        await fetch(url, insecure=insecure)


async def test_a_name_that_leads_where_it_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(self: object, host: str, *_: object, **__: object) -> list[dict[str, object]]:
        return [
            {"hostname": host, "host": "169.254.169.254", "port": 443, "family": 2, "proto": 0, "flags": 0}
        ]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    with pytest.raises(FetchError, match="no keys are taken from that address"):
        await fetch("https://rebound.example/keys")


async def test_a_name_that_leads_elsewhere_when_it_is_asked_again(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at and used are one moment: whatever a name led to before, the connection's own address is judged."""
    answers = iter(["127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254"])

    async def resolve(self: object, host: str, port: int, **_: object) -> list[dict[str, object]]:
        found = next(answers)
        family = 10 if ":" in found else 2
        return [{"hostname": host, "host": found, "port": port, "family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    url = server.replace("127.0.0.1", "rebound.example") + "/keys"
    assert (await fetch(url, insecure=True)).body == b'{"keys": []}'
    for _ in range(2):
        with pytest.raises(FetchError, match="no keys are taken from that address"):
            await fetch(url, insecure=True)


async def test_an_answer_that_is_none_is_told_without_the_address() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"this is no HTTP\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        with pytest.raises(FetchError) as caught:
            await fetch(f"http://127.0.0.1:{port}/keys?api_key=CANARY")
    assert "CANARY" not in str(caught.value)
    assert "Bad status line" in str(caught.value)


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
        ("2002:7f00:1::", (False, False)),  # 127.0.0.1, through a tunnel
        ("2002:a9fe:a9fe::1", (True, True)),
        ("2001:0:4136:e378:8000:63bf:5601:5601", (True, True)),  # 169.254.169.254, through another
        ("64:ff9b::a9fe:a9fe", (True, True)),
        ("::169.254.169.254", (True, True)),
        ("fd00:ec2::254", (True, True)),
        ("fd00::1", (False, True)),
        ("168.63.129.16", (True, True)),
        ("no address", (True, True)),
    ],
)
def test_where_keys_may_come_from(address: str, expected: tuple[bool, bool]) -> None:
    assert tuple(forbidden(address, loopback_only=only) for only in (False, True)) == expected

"""Connections through libpq: TLS, logins, settings and products, and no password in any message."""

from __future__ import annotations

import asyncio
import datetime
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.certificates import Authority
from tests.engines.materialize_upstream import make_engine, materialize
from tycostream.config.model import DatabaseConfig
from tycostream.engines import libpq
from tycostream.errors import Action, UpstreamError

SECRET = "pass word%'\\é"
SECRET_IN_URL = "pass%20word%25%27%5C%C3%A9"
UTC = datetime.UTC


def config(**more: Any) -> DatabaseConfig:
    return DatabaseConfig(url="postgresql://x", **more)


async def connect(url: str, shows: dict[str, str] | None = None, **more: Any) -> libpq.Connection:
    return await libpq.open_connection(
        url, config(**more), options={}, shows=shows or {}, product="Materialize"
    )


async def refused(url: str, **more: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await connect(url, **more)
    return caught.value


# TLS and logins


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


def verified(port: int, authority: Authority, login: str = "materialize") -> str:
    query = f"sslmode=verify-full&sslrootcert={authority.file}"
    return f"postgresql://{login}@127.0.0.1:{port}/materialize?{query}"


async def test_tls_is_verified_to_the_name_and_passwords_are_asked_for(authority: Authority) -> None:
    context = authority.context("127.0.0.1")
    async with materialize(ssl_context=context, require_tls=True, password=SECRET) as fake:
        fake.create_table("t", {"id": "int4"})
        url = verified(fake.port, authority, f"materialize:{SECRET_IN_URL}")
        connection = await connect(url)
        assert connection.pgconn.ssl_in_use
        await connection.close()
        engine = make_engine(url)
        await engine.probe()
        await engine.close()
        plain = await refused(url.replace("verify-full", "disable"))
        assert plain.action in (Action.RETRY, Action.FAIL)
        assert SECRET not in str(plain)


async def test_a_foreign_authority_or_another_name_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "theirs")
    async with materialize(ssl_context=authority.context("127.0.0.1")) as fake:
        error = await refused(verified(fake.port, other))
        assert "certificate verify failed" in error.detail
    async with materialize(ssl_context=authority.context("127.0.0.9")) as fake:
        error = await refused(verified(fake.port, authority))
        assert "127.0.0.1" in error.detail
        assert "does not match" in error.detail


@pytest.mark.parametrize("timeout", [False, True])
async def test_an_attempt_that_is_given_up_leaves_no_socket_open(timeout: bool, monkeypatch) -> None:
    monkeypatch.setattr(libpq, "_ROUND_TRIPS_S", 0.05 - 10 if timeout else 5)
    asked, left = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read(-1)
        left.set()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        attempt = asyncio.create_task(connect(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable"))
        await asked.wait()
        if not timeout:
            attempt.cancel()
        await asyncio.wait([attempt])  # and the task, with what it ended with, is still here
        async with asyncio.timeout(5):
            await left.wait()
        if timeout:
            assert isinstance(error := attempt.exception(), UpstreamError)
            assert error.code == "connect-timeout"


@pytest.mark.parametrize("given", [f":{SECRET_IN_URL}x", "", ":"])
async def test_a_wrong_password_is_auth_and_is_never_told(given: str) -> None:
    async with materialize(password="right") as fake:
        url = f"postgresql://materialize{given}@127.0.0.1:{fake.port}/materialize?sslmode=disable&passfile=/nowhere"
        error = await refused(url)
        assert (error.code, error.action) == ("auth", Action.FAIL)
        assert f"127.0.0.1:{fake.port} refused the login" in error.message
        assert "`url`" in error.hint
        for told in (str(error), repr(error), error.detail):
            assert SECRET not in told
            assert SECRET_IN_URL not in told
            assert "right" not in told


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sec%zzret@127.0.0.1:1/d",  # libpq's own message repeats what it cannot decode
        "postgresql://u:secret-zz@127.0.0.1:1/d?nonsense=secret-zz",
        "host=127.0.0.1 password='sec%zzret",
        "host=127.0.0.1 password=x sec%zzret",
        "postgresql://u:p@secret@127.0.0.1:1/d",  # libpq takes "secret@127.0.0.1" for the host
        "postgresql://u:sec/ret@127.0.0.1:1/d",  # and "u:sec" for host and port
        "postgresql://u:123/secret@127.0.0.1:1/d",  # and "secret@…" for the database
        "postgresql://u:s%ec@127.0.0.1/d",  # which is no UTF-8
        "host=127.0.0.1 port=secret",
    ],
)
async def test_a_url_that_does_not_read_is_not_repeated(url: str) -> None:
    error = await refused(url)
    assert (error.code, error.action) == ("url-invalid", Action.FAIL)
    assert "sec" not in str(error)
    assert "percent-encode" in error.hint


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u@a,b/d", "a,b:5432"),
        ("postgresql://u@a:1,b:2/d", "a,b:1,2"),
        ("host=@abstract user=u", "@abstract:5432"),
        ("postgresql://u@[::1]:7/d%40d", "::1:7"),
        ("", "localhost:5432"),
        ("service=shop", "service shop"),
        ("service=shop host=a port=7", "a:7"),
    ],
)
def test_a_place_that_reads_is_told(url: str, place: str) -> None:
    error = libpq.translate(psycopg.OperationalError("gone"), url, "reading")
    assert f"the connection to {place} failed" in error.message


# what is wrong


async def test_nobody_there_may_pass() -> None:
    error = await refused("postgresql://u:topsecret@127.0.0.1:1/d")
    assert (error.code, error.action) == ("connection-lost", Action.RETRY)
    assert "is Materialize reachable at 127.0.0.1:1?" in error.hint
    assert "topsecret" not in str(error)


async def test_a_server_that_says_nothing_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpq, "_ROUND_TRIPS_S", 0)
    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: silent.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = await refused(f"postgresql://u@127.0.0.1:{port}/d", connect_timeout=timedelta(seconds=0.2))
    assert (error.code, error.action) == ("connect-timeout", Action.RETRY)
    assert f"127.0.0.1:{port}" in error.message
    for writer in silent:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_a_setting_that_is_not_honoured_is_an_error_and_leaves_nothing() -> None:
    async with materialize() as fake:
        with pytest.raises(UpstreamError) as caught:
            await connect(fake.url, {"TimeZone": "Europe/Vienna"})
        assert (caught.value.code, caught.value.action) == ("output-settings", Action.FAIL)
        assert "TimeZone=Europe/Vienna: it shows UTC" in caught.value.message
        await fake.until(lambda: fake.connections == 0)
        await (await connect(fake.url, {"DateStyle": "ISO"})).close()  # shows ISO, MDY


async def test_a_database_that_does_not_exist(postgres: Any) -> None:
    error = await refused(postgres.url_of("nowhere"))
    assert (error.code, error.action) == ("database-missing", Action.FAIL)


async def test_products_tell_themselves(postgres: Any) -> None:
    assert await libpq.product_at(postgres.url, config()) == "postgres"
    async with materialize() as fake:
        assert await libpq.product_at(fake.url, config()) == "materialize"
        await fake.until(lambda: fake.connections == 0)


def test_states_of_the_server_and_what_follows() -> None:
    def translated(kind: type[psycopg.Error], text: str = "it says pw1234") -> UpstreamError:
        return libpq.translate(kind(text), "postgresql://u:pw1234@h:1/d", "reading")

    assert translated(psycopg.errors.InsufficientPrivilege).code == "no-rights"
    assert translated(psycopg.errors.InvalidPassword).code == "auth"
    assert translated(psycopg.errors.InvalidCatalogName).code == "database-missing"
    assert translated(psycopg.errors.UndefinedTable).code == "query-failed"
    for passing in (
        psycopg.errors.AdminShutdown,
        psycopg.errors.TooManyConnections,
        psycopg.OperationalError,
    ):
        error = translated(passing)
        assert (error.code, error.action) == ("connection-lost", Action.RETRY)
        assert "pw1234" not in str(error)
        assert "it says ****" in error.detail

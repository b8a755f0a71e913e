"""Connections through libpq, whatever speaks PostgreSQL's protocol: output settings asserted, errors with remedies.

TCP keepalive and a user timeout end a connection whose other side has vanished; name resolution, password files and
certificates are libpq's own work and are done anew for every connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import conninfo

from tycostream.config.model import DatabaseConfig
from tycostream.errors import Action, UpstreamError

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# libpq gives no SQLSTATE of a refused connection. PostgreSQL's texts, and Materialize's "invalid password".
_LOGIN = re.compile(
    r'authentication failed|no password supplied|invalid password|role "[^"]*" does not exist|no pg_hba\.conf entry'
)
_ROUND_TRIPS_S = 5  # what libpq may need beyond its own connect timeout: several addresses, the last answers


def fail(code: str, message: str, *, detail: str = "", hint: str = "") -> UpstreamError:
    """An error that only a person can mend."""
    return UpstreamError(code, message, action=Action.FAIL, detail=detail, hint=hint)


def retry(code: str, message: str, *, detail: str = "", hint: str = "") -> UpstreamError:
    """An error that may pass by itself."""
    return UpstreamError(code, message, action=Action.RETRY, detail=detail, hint=hint)


def _parts(url: str) -> dict[str, str] | None:
    """What a connection string says; None if it does not read.

    libpq reads an unescaped "@" or "/" of a password as the start of the host or of the path: what it then takes for
    host and port is a piece of the password, so such a string counts as one that does not read.
    """
    try:
        parts = {name: str(value) for name, value in conninfo.conninfo_to_dict(url).items()}
    except (psycopg.Error, ValueError):  # ValueError: bytes that are no UTF-8
        return None
    if any("@" in host[1:] for host in parts.get("host", "").split(",")):  # "@name" is an abstract socket
        return None
    if not re.fullmatch(r"[\d,]*", parts.get("port", "")):
        return None
    if "://" in url and "@" in parts.get("dbname", "") and "user" not in parts:
        return None
    return parts


def _place(url: str) -> tuple[str, str]:
    """host:port for messages, and the password, which must never be in one."""
    parts = _parts(url)
    if parts is None:
        return "the server", ""
    if "service" in parts and not {"host", "hostaddr"} & set(parts):  # libpq reads the place in a file
        return f"service {parts['service']}", parts.get("password", "")
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts.get('port', '').strip(',') or 5432}", parts.get("password", "")


def safe(text: str, url: str) -> str:
    """``text`` without the password of ``url``."""
    password = _place(url)[1]
    return text.replace(password, "****").strip() if password else text.strip()


def translate(error: psycopg.Error, url: str, doing: str, *, product: str = "PostgreSQL") -> UpstreamError:
    """What libpq or the server said, with the action that follows."""
    text, state, where = safe(str(error), url), error.sqlstate or "", _place(url)[0]
    if state.startswith("28") or _LOGIN.search(text):
        return fail(
            "auth", f"{where} refused the login", detail=text, hint="correct user and password in `url`"
        )
    if state == "3D000" or ('database "' in text and "does not exist" in text):
        return fail(
            "database-missing",
            f"{where} has no such database",
            detail=text,
            hint="correct the database in `url`",
        )
    if state == "42501":
        return fail(
            "no-rights", f"no right: {doing}", detail=text, hint="GRANT the right to the role in `url`"
        )
    if state and not state.startswith(("08", "53", "57", "40", "55", "58", "XX")):
        return fail("query-failed", f"the server refused: {doing}", detail=text)
    return retry(
        "connection-lost",
        f"the connection to {where} failed: {doing}",
        detail=text,
        hint=f"is {product} reachable at {where}?",
    )


async def _attempt(url: str, **settings: Any) -> Connection:
    """One attempt to connect; one that is given up ends at once.

    The frames of a cancelled attempt hold its socket, and their exception is kept by the task that ran it: the server
    would wait for us, and a DROP DATABASE, of whatever database, for the server's process.
    """
    try:
        return await psycopg.AsyncConnection.connect(url, **settings)
    except BaseException as error:
        raise error.with_traceback(None) from None


def _escaped(value: str) -> str:
    """A setting's value among start-up options, where white space separates and a backslash escapes."""
    return re.sub(r"([\\\s])", r"\\\1", value)


async def open_connection(
    url: str,
    config: DatabaseConfig,
    *,
    options: Mapping[str, str],
    shows: Mapping[str, str],
    product: str = "PostgreSQL",
    **extra: Any,
) -> Connection:
    """An autocommit connection with the start-up ``options``, whose settings are what ``shows`` says.

    The value of a setting is compared up to a comma: DateStyle shows its field order too ("ISO, MDY"), which concerns
    input only. UpstreamError if the connection, or a setting, is refused.
    """
    timeout_s = config.connect_timeout.total_seconds()
    parts = _parts(url)
    if (
        parts is None
    ):  # libpq's text is not shown: it repeats what could not be read, which may be the password
        raise fail(
            "url-invalid",
            "the database's url is not a libpq connection string",
            hint="write postgresql://user:password@host:port/database, and percent-encode special characters in it",
        )
    try:
        wanted = " ".join(
            [parts.get("options", ""), *(f"-c {name}={_escaped(value)}" for name, value in options.items())]
        ).strip()
        # not wait_for: on Python 3.11 that may lose the connection, or a cancellation
        async with asyncio.timeout(timeout_s + _ROUND_TRIPS_S):
            connection = await _attempt(
                url,
                autocommit=True,
                prepare_threshold=None,
                options=wanted,
                client_encoding="UTF8",
                application_name="tycostream",
                connect_timeout=max(2, round(timeout_s)),
                keepalives=1,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                tcp_user_timeout=30_000,  # with data in flight keepalives are not sent; this bounds the wait
                **extra,
            )
    except TimeoutError:
        raise retry(
            "connect-timeout", f"no answer from {_place(url)[0]}", hint="see `connect_timeout`"
        ) from None
    except psycopg.Error as error:
        raise translate(error, url, "connecting", product=product) from None
    try:
        async with asyncio.timeout(timeout_s + _ROUND_TRIPS_S):
            await _assert_settings(connection, shows, product)
    except TimeoutError:
        connection.pgconn.finish()
        raise retry(
            "connect-timeout", f"{_place(url)[0]} stopped answering", hint="is it overloaded?"
        ) from None
    except psycopg.Error as error:
        await connection.close()
        raise translate(error, url, "checking output settings", product=product) from None
    except BaseException:
        await connection.close()
        raise
    return connection


async def _assert_settings(connection: Connection, shows: Mapping[str, str], product: str) -> None:
    for name, wanted in {**shows, "client_encoding": "UTF8"}.items():
        row = await (await connection.execute(f"SHOW {name}".encode())).fetchone()
        if row is None or str(row[0]).split(",")[0] != wanted:
            raise fail(
                "output-settings",
                f"the server does not honour {name}={wanted}: it shows {row[0] if row else None}",
                hint=f"connect to {product} itself: a pooler must not drop start-up options",
            )


async def product_at(url: str, config: DatabaseConfig) -> str:
    """Which engine a URL leads to, as the server tells it at start-up: postgres, materialize or risingwave."""
    connection = await open_connection(url, config, options={}, shows={})
    try:
        if connection.pgconn.parameter_status(b"mz_version") is not None:
            return "materialize"
        row = await (await connection.execute(b"SELECT version()")).fetchone()
    except psycopg.Error as error:
        raise translate(error, url, "asking which database this is", product="the server") from None
    finally:
        await connection.close()
    return "risingwave" if row is not None and "RisingWave" in str(row[0]) else "postgres"

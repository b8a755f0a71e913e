"""Connections to PostgreSQL: one list of output settings, set and asserted, and errors that say what to do."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import psycopg
from psycopg import conninfo

from tycostream.config.model import DatabaseConfig
from tycostream.errors import Action, UpstreamError

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# Scalars parse the text that these settings give, and nothing else.
OUTPUT: Final = {
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}


def fail(code: str, message: str, *, detail: str = "", hint: str = "") -> UpstreamError:
    """An error that only a person can mend."""
    return UpstreamError(code, message, action=Action.FAIL, detail=detail, hint=hint)


def retry(code: str, message: str, *, detail: str = "", hint: str = "") -> UpstreamError:
    """An error that may pass by itself."""
    return UpstreamError(code, message, action=Action.RETRY, detail=detail, hint=hint)


def _place(url: str) -> tuple[str, str]:
    """host:port for messages, and the password, which must never be in one."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        return "the server", ""
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts.get('port') or 5432}", str(parts.get("password") or "")


def safe(text: str, url: str) -> str:
    """``text`` without the password of ``url``."""
    password = _place(url)[1]
    return text.replace(password, "****").strip() if password else text.strip()


def translate(error: psycopg.Error, url: str, doing: str) -> UpstreamError:
    """What libpq or the server said, with the action that follows."""
    text, state, where = safe(str(error), url), error.sqlstate or "", _place(url)[0]
    if state.startswith("28") or "authentication failed" in text or "no password supplied" in text:
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
        hint=f"is PostgreSQL reachable at {where}?",
    )


async def connect(url: str, config: DatabaseConfig, *, replication: bool = False) -> Connection:
    """An autocommit connection whose output settings are what we asked for; UpstreamError otherwise."""
    timeout_s = config.connect_timeout.total_seconds()
    settings = dict(OUTPUT)
    if not replication:
        settings["statement_timeout"] = str(int(config.statement_timeout.total_seconds() * 1000))
    extra: dict[str, Any] = {"replication": "database"} if replication else {}
    try:
        parts = conninfo.conninfo_to_dict(url)
        given = str(parts.get("options") or "")
        options = " ".join([given, *(f"-c {name}={value}" for name, value in settings.items())]).strip()
        connection: Connection = await asyncio.wait_for(
            psycopg.AsyncConnection.connect(
                url,
                autocommit=True,
                options=options,
                client_encoding="UTF8",
                application_name="tycostream",
                connect_timeout=max(2, round(timeout_s)),
                keepalives=1,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                tcp_user_timeout=30_000,  # with data in flight keepalives are not sent; this bounds the wait
                **extra,
            ),
            timeout_s + 5,
        )
    except TimeoutError:
        raise retry(
            "connect-timeout", f"no answer from {_place(url)[0]}", hint="see `connect_timeout`"
        ) from None
    except psycopg.Error as error:
        raise translate(error, url, "connecting") from None
    try:
        for name, wanted in {**OUTPUT, "client_encoding": "UTF8"}.items():
            row = await (await connection.execute(f"SHOW {name}".encode())).fetchone()
            # DateStyle shows its field order too ("ISO, MDY"); that concerns input only.
            if row is None or str(row[0]).split(",")[0] != wanted:
                raise fail(
                    "output-settings",
                    f"the server does not honour {name}={wanted}: it shows {row[0] if row else None}",
                    hint="connect to PostgreSQL itself: a pooler must not drop start-up options",
                )
    except psycopg.Error as error:
        await connection.close()
        raise translate(error, url, "checking output settings") from None
    except BaseException:
        await connection.close()
        raise
    return connection

"""Who is connected, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from tycostream.admin.answers import ConnectionAnswer, OperationAnswer, SessionsAnswer
from tycostream.auth.session import time_text
from tycostream.live.clients import Client, Clients

PAGE: Final = 100
PAGE_MAX: Final = 1000
_OPERATIONS_MAX: Final = 100  # shown of one client


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of them: those for which all holds that is not empty. ``source``: one runs over it."""

    after: str = ""
    limit: int = PAGE
    id: str = ""
    transport: str = ""
    role: str = ""
    user: str = ""
    token: str = ""
    client_ip: str = ""
    source: str = ""


def sessions_of(clients: Clients, wanted: Wanted) -> SessionsAnswer:
    """A page of them, in the order in which they came."""
    found = (
        (number, client) for number, client in clients.after(wanted.after) if _matches(number, client, wanted)
    )
    page = list(islice(found, wanted.limit + 1))
    more = len(page) > wanted.limit
    shown = page[: wanted.limit]
    return SessionsAnswer(
        [_connection(number, client) for number, client in shown],
        len(clients),
        shown[-1][0] if more else None,
    )


def _matches(number: str, client: Client, wanted: Wanted) -> bool:
    session = client.session
    token = session.token.id if session is not None and session.token is not None else ""
    return (
        wanted.id in ("", number)
        and wanted.transport in ("", client.transport)
        and wanted.client_ip in ("", client.client_ip)
        and (not wanted.role or (session is not None and session.role == wanted.role))
        and (not wanted.user or (session is not None and session.user == wanted.user))
        and wanted.token in ("", token)
        and (not wanted.source or any(wanted.source in each.sources for each in client.operations()))
    )


def _connection(number: str, client: Client) -> ConnectionAnswer:
    session = client.session
    operations = list(client.operations())
    return ConnectionAnswer(
        number,
        client.transport,
        client.client_ip,
        time_text(client.since_s),
        None if session is None else session.role,
        "" if session is None else session.user,
        "" if session is None or session.token is None else session.token.id,
        None if session is None else time_text(session.expires_at_s),
        client.unsent_bytes,
        [
            OperationAnswer(
                each.id,
                each.name,
                each.kind,
                each.sources,
                time_text(each.since_s),
                each.told.messages,
                each.told.rows,
                each.waiting,
            )
            for each in operations[:_OPERATIONS_MAX]
        ],
        len(operations),
    )

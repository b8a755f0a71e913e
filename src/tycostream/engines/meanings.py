"""What a server's error means to a source: a table per product, the first entry that fits counts.

Servers share a few SQLSTATEs over many errors, so some are told apart by their text.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from psycopg import pq

from tycostream.engines.libpq import fail, retry, safe
from tycostream.errors import Action, UpstreamError

_PASSING = ("08", "25", "40", "53", "55", "57", "58", "XX")  # classes of what may go by itself


class ServerError(NamedTuple):
    """An ErrorResponse: its SQLSTATE ("" if the connection broke), message and detail."""

    state: str
    message: str
    detail: str = ""

    @property
    def text(self) -> str:
        """Message and detail in one line."""
        return " ".join(f"{self.message} {self.detail}".split())


@dataclass(frozen=True, slots=True)
class Meaning:
    """A code, for the errors of some SQLSTATEs (none: of all) whose text matches. ``{role}`` in the hint is who asked."""

    states: str
    pattern: str
    code: str
    message: str
    hint: str = ""
    action: Action = Action.FAIL

    def fits(self, error: ServerError) -> bool:
        """Whether this is what the server said."""
        known = not self.states or error.state in self.states.split()
        return known and re.search(self.pattern, error.text) is not None

    def raised(self, source: str, role: str, detail: str) -> UpstreamError:
        """The error of a source."""
        hint = self.hint.replace("{role}", role or "the role in `url`")
        message = f"source {source}: {self.message}"
        return UpstreamError(self.code, message, action=self.action, detail=detail, hint=hint)


def meaning_of(
    meanings: Sequence[Meaning], error: ServerError, source: str, url: str, role: str, product: str
) -> UpstreamError:
    """What a server's error means to a source; one that no entry knows may pass by itself, or the SQL is refused."""
    detail = safe(error.text, url)
    for each in meanings:
        if each.fits(error):
            return each.raised(source, role, detail)
    if not error.state or error.state.startswith(_PASSING):
        return retry("connection-lost", f"source {source}: its connection ended", detail=detail)
    return fail(
        "query-failed", f"source {source}: {product} refused it", detail=detail, hint="tycostream check"
    )


def server_error(error: psycopg.Error) -> ServerError:
    """psycopg's exception as what the server said."""
    return ServerError(
        error.sqlstate or "", error.diag.message_primary or str(error), error.diag.message_detail or ""
    )


def error_of(result: pq.abc.PGresult | None) -> ServerError:
    """What a result that is no success says; None: there is none, for the connection broke."""
    if result is None:
        return ServerError("", "the connection was closed")

    def field_of(which: pq.DiagnosticField) -> str:
        with contextlib.suppress(UnicodeDecodeError):
            return (result.error_field(which) or b"").decode()
        return ""

    return ServerError(
        field_of(pq.DiagnosticField.SQLSTATE),
        field_of(pq.DiagnosticField.MESSAGE_PRIMARY) or result.get_error_message(),
        field_of(pq.DiagnosticField.MESSAGE_DETAIL),
    )

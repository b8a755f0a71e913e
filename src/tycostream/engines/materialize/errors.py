"""What Materialize says when something goes wrong, and what follows from it.

Its errors share a few SQLSTATEs, so some are told apart by their text; the texts of two generations of servers are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import psycopg

from tycostream.engines import libpq
from tycostream.engines.libpq import fail, retry, safe
from tycostream.errors import Action, UpstreamError

PRODUCT: Final = "Materialize"


class ServerError(NamedTuple):
    """An ErrorResponse: its SQLSTATE ("" if the connection broke), message and detail."""

    state: str
    message: str
    detail: str = ""

    @property
    def text(self) -> str:
        """Message and detail in one line."""
        return " ".join(f"{self.message} {self.detail}".split())


_COMPACTED: Final = re.compile(
    r"could not find a valid timestamp for the query|Timestamp \(\d+\) is not valid for all inputs"
)


@dataclass(frozen=True, slots=True)
class _Meaning:
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


# The first that fits counts.
_MEANINGS: Final = (
    _Meaning(
        "22000",
        _COMPACTED.pattern,
        "history-gone",
        "what happened since we left is not known to Materialize any more",
        "keep more history: ALTER … SET (RETAIN HISTORY FOR '10m')",
        Action.RESYNC,
    ),
    _Meaning(
        "42704 XX000",
        r"cluster ('[^']*'|\"[^\"]*\") was dropped|unknown cluster",
        "cluster-dropped",
        "the cluster that computes it is gone",
        "name another in `cluster:` of the database, or CREATE CLUSTER: the source starts by itself",
    ),
    _Meaning(
        "XX000",
        r"target replica failed or was dropped",
        "replica-gone",
        "the replica that computed it is gone",
        action=Action.RETRY,
    ),
    _Meaning(
        "42704 42P01 XX000",
        r"was dropped|unknown catalog item|does not exist|unknown schema|unknown database",
        "source-dropped",
        "what it reads is gone",
        "create it again: the source starts by itself; or correct the configuration",
    ),
    _Meaning("42703", "", "column-missing", "a column is gone", "tycostream check"),
    _Meaning(
        "42501",
        "",
        "no-rights",
        "no right to read it",
        "GRANT USAGE ON SCHEMA …, USAGE ON CLUSTER … and SELECT ON … TO {role};",
    ),
    _Meaning(
        "0A000",
        r"has no replicas",
        "no-replicas",
        "its cluster has no replica to compute with",
        "ALTER CLUSTER … SET (REPLICATION FACTOR 1), or name another `cluster`",
    ),
    _Meaning(
        "XX000 53200",
        r"fell behind",
        "fell-behind",
        "Materialize sent faster than we read",
        action=Action.RETRY,
    ),
    _Meaning(
        "",
        r"result exceeds max size",
        "max-result-size",
        "its snapshot is larger than Materialize hands out",
        "ALTER SYSTEM SET max_result_size = '4GB', or follow a smaller view",
    ),
    _Meaning(
        "XX000 22012 22003 22P02",
        r"Evaluation error|division by zero",
        "source-poisoned",
        "Materialize cannot compute it",
        "correct the row or the view that raises the error: the source goes on by itself",
    ),
    _Meaning(
        "42601 42P10 42883 42804 0A000",
        "",
        "query-failed",
        "Materialize refuses its SQL",
        "correct `query` or `fields` of the source",
    ),
)


def compacted(error: ServerError) -> bool:
    """Whether a SUBSCRIBE asked for history that is gone; both generations of the text."""
    return error.state == "22000" and _COMPACTED.search(error.text) is not None


def meaning(error: ServerError, source: str, url: str, role: str = "") -> UpstreamError:
    """What a server's error means to a source."""
    detail = safe(error.text, url)
    for each in _MEANINGS:
        if each.fits(error):
            return each.raised(source, role, detail)
    if not error.state or error.state.startswith(("08", "25", "40", "53", "55", "57", "58", "XX")):
        return retry("connection-lost", f"source {source}: its connection ended", detail=detail)
    return fail(
        "query-failed", f"source {source}: Materialize refused it", detail=detail, hint="tycostream check"
    )


def server_error(error: psycopg.Error) -> ServerError:
    """psycopg's exception as what the server said."""
    return ServerError(
        error.sqlstate or "", error.diag.message_primary or str(error), error.diag.message_detail or ""
    )


def translate(error: psycopg.Error, url: str, doing: str) -> UpstreamError:
    """An error that concerns the database, not one source."""
    return libpq.translate(error, url, doing, product=PRODUCT)

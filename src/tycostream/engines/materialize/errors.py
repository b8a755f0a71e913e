"""What Materialize says when something goes wrong, and what follows from it.

Its errors share a few SQLSTATEs, so some are told apart by their text; the texts of two generations of servers are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
_Make = Callable[[str, str, str], UpstreamError]
# (SQLSTATEs, text, what it means); the first that fits counts.
_MEANINGS: Final[tuple[tuple[str, str, _Make], ...]] = (
    (
        "22000",
        _COMPACTED.pattern,
        lambda source, _, detail: UpstreamError(
            "history-gone",
            f"source {source}: what happened since we left is not known to Materialize any more",
            action=Action.RESYNC,
            detail=detail,
            hint="keep more history: ALTER … SET (RETAIN HISTORY FOR '10m')",
        ),
    ),
    (
        "42704 XX000",
        r"cluster ('[^']*'|\"[^\"]*\") was dropped|unknown cluster",
        lambda source, _, detail: fail(
            "cluster-dropped",
            f"source {source}: the cluster that computes it is gone",
            detail=detail,
            hint="name another in `cluster:` of the database, or CREATE CLUSTER: the source starts by itself",
        ),
    ),
    (
        "XX000",
        r"target replica failed or was dropped",
        lambda source, _, detail: retry(
            "replica-gone", f"source {source}: the replica that computed it is gone", detail=detail
        ),
    ),
    (
        "42704 42P01 XX000",
        r"was dropped|unknown catalog item|does not exist|unknown schema|unknown database",
        lambda source, _, detail: fail(
            "source-dropped",
            f"source {source}: what it reads is gone",
            detail=detail,
            hint="create it again: the source starts by itself; or correct the configuration",
        ),
    ),
    (
        "42703",
        "",
        lambda source, _, detail: fail(
            "column-missing", f"source {source}: a column is gone", detail=detail, hint="tycostream check"
        ),
    ),
    (
        "42501",
        "",
        lambda source, role, detail: fail(
            "no-rights",
            f"source {source}: no right to read it",
            detail=detail,
            hint=f"GRANT USAGE ON SCHEMA …, USAGE ON CLUSTER … and SELECT ON … TO {role or 'the role in `url`'};",
        ),
    ),
    (
        "0A000",
        r"has no replicas",
        lambda source, _, detail: fail(
            "no-replicas",
            f"source {source}: its cluster has no replica to compute with",
            detail=detail,
            hint="ALTER CLUSTER … SET (REPLICATION FACTOR 1), or name another `cluster`",
        ),
    ),
    (
        "XX000 53200",
        r"fell behind",
        lambda source, _, detail: retry(
            "fell-behind", f"source {source}: Materialize sent faster than we read", detail=detail
        ),
    ),
    (
        "",
        r"result exceeds max size",
        lambda source, _, detail: fail(
            "max-result-size",
            f"source {source}: its snapshot is larger than Materialize hands out",
            detail=detail,
            hint="ALTER SYSTEM SET max_result_size = '4GB', or follow a smaller view",
        ),
    ),
    (
        "XX000 22012 22003 22P02",
        r"Evaluation error|division by zero",
        lambda source, _, detail: fail(
            "source-poisoned",
            f"source {source}: Materialize cannot compute it",
            detail=detail,
            hint="correct the row or the view that raises the error: the source goes on by itself",
        ),
    ),
    (
        "42601 42P10 42883 42804 0A000",
        "",
        lambda source, _, detail: fail(
            "query-failed",
            f"source {source}: Materialize refuses its SQL",
            detail=detail,
            hint="correct `query` or `fields` of the source",
        ),
    ),
)


def compacted(error: ServerError) -> bool:
    """Whether a SUBSCRIBE asked for history that is gone; both generations of the text."""
    return error.state == "22000" and _COMPACTED.search(error.text) is not None


def meaning(error: ServerError, source: str, url: str, role: str = "") -> UpstreamError:
    """What a server's error means to a source."""
    detail = safe(error.text, url)
    for states, pattern, make in _MEANINGS:
        if (not states or error.state in states.split()) and re.search(pattern, error.text):
            return make(source, role, detail)
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

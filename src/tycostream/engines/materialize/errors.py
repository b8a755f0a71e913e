"""What Materialize says when something goes wrong, and what follows from it.

Its errors share a few SQLSTATEs, so some are told apart by their text; the texts of two generations of servers are known.
"""

from __future__ import annotations

import re
from typing import Final

import psycopg

from tycostream.engines import libpq
from tycostream.engines.meanings import Meaning, ServerError, meaning_of
from tycostream.errors import Action, UpstreamError

PRODUCT: Final = "Materialize"


_COMPACTED: Final = re.compile(
    r"could not find a valid timestamp for the query|Timestamp \(\d+\) is not valid for all inputs"
)


# The first that fits counts.
_MEANINGS: Final = (
    Meaning(
        "22000",
        _COMPACTED.pattern,
        "history-gone",
        "what happened since we left is not known to Materialize any more",
        "keep more history: ALTER … SET (RETAIN HISTORY FOR '10m')",
        Action.RESYNC,
    ),
    Meaning(
        "42704 XX000",
        r"cluster ('[^']*'|\"[^\"]*\") was dropped|unknown cluster",
        "cluster-dropped",
        "the cluster that computes it is gone",
        "name another in `cluster:` of the database, or CREATE CLUSTER: the source starts by itself",
    ),
    Meaning(
        "XX000",
        r"target replica failed or was dropped",
        "replica-gone",
        "the replica that computed it is gone",
        action=Action.RETRY,
    ),
    Meaning(
        "42704 42P01 XX000",
        r"was dropped|unknown catalog item|does not exist|unknown schema|unknown database",
        "source-dropped",
        "what it reads is gone",
        "create it again: the source starts by itself; or correct the configuration",
    ),
    Meaning("42703", "", "column-missing", "a column is gone", "tycostream check"),
    Meaning(
        "42501",
        "",
        "no-rights",
        "no right to read it",
        "GRANT USAGE ON SCHEMA …, USAGE ON CLUSTER … and SELECT ON … TO {role};",
    ),
    Meaning(
        "0A000",
        r"has no replicas",
        "no-replicas",
        "its cluster has no replica to compute with",
        "ALTER CLUSTER … SET (REPLICATION FACTOR 1), or name another `cluster`",
    ),
    Meaning(
        "XX000 53200",
        r"fell behind",
        "fell-behind",
        "Materialize sent faster than we read",
        action=Action.RETRY,
    ),
    Meaning(
        "",
        r"result exceeds max size",
        "max-result-size",
        "its snapshot is larger than Materialize hands out",
        "ALTER SYSTEM SET max_result_size = '4GB', or follow a smaller view",
    ),
    Meaning(
        "XX000 22012 22003 22P02",
        r"Evaluation error|division by zero",
        "source-poisoned",
        "Materialize cannot compute it",
        "correct the row or the view that raises the error: the source goes on by itself",
    ),
    Meaning(
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
    return meaning_of(_MEANINGS, error, source, url, role, PRODUCT)


def translate(error: psycopg.Error, url: str, doing: str) -> UpstreamError:
    """An error that concerns the database, not one source."""
    return libpq.translate(error, url, doing, product=PRODUCT)

"""What RisingWave says when something goes wrong, and what follows from it.

Errors of cursors carry no SQLSTATE of their own (they come as XX000), so they are told apart by their texts.
"""

from __future__ import annotations

from typing import Final

import psycopg

from tycostream.engines import libpq
from tycostream.engines.meanings import Meaning, ServerError, meaning_of
from tycostream.errors import Action, UpstreamError

PRODUCT: Final = "RisingWave"


class Refused(Exception):
    """The server refused a statement, or the connection broke while it ran."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.text)
        self.error = error


# The first that fits counts.
_MEANINGS: Final = (
    Meaning(
        "",
        r"No data found for rw_timestamp|rw_timestamp is too small",
        "history-gone",
        "what happened since we left is not known to RisingWave any more",
        "keep more: ALTER SUBSCRIPTION … SET RETENTION TO '1 day', or `retention` of the database",
        Action.RESYNC,
    ),
    Meaning(
        "",
        r"rw_timestamp is too large",
        "clocks-differ",
        "the clocks of RisingWave's nodes differ: what one has written lies in the future of another",
        "synchronise their clocks; it is tried again",
        Action.RETRY,
    ),
    Meaning(
        "",
        r"exceeded its maximum lifetime",
        "cursor-expired",
        "its cursor has lived as long as the subscription's retention",
        "if it repeats while the snapshot is read, the retention is too short for it",
        Action.RETRY,
    ),
    Meaning(
        "",
        r"Cursor is in invalid state|Cannot find cursor|cursor \S+ don't exist",
        "cursor-lost",
        "its cursor is gone",
        action=Action.RETRY,
    ),
    Meaning(
        "",
        r"can't start from specified query epoch|don't support read uncommitted",
        "session-settings",
        "a session setting keeps cursors from reading",
        "ALTER USER {role} SET query_epoch = 0; and visibility_mode must be 'checkpoint' or 'default'",
    ),
    Meaning(
        "",
        r"has been dropped",
        "source-dropped",
        "what it reads is gone",
        "create it again: the source starts by itself; or correct the configuration",
    ),
    Meaning(
        "",
        r"[Pp]ermission denied|[Dd]o not have the privilege|must be owner|not the owner",
        "no-rights",
        "no right to read it",
        "GRANT USAGE ON SCHEMA …, SELECT ON … and SELECT ON SUBSCRIPTION … TO {role};",
    ),
    Meaning(
        "42704 42P01 XX000",
        r"not found|does not exist",
        "source-dropped",
        "what it reads is gone",
        "create it again: the source starts by itself; or correct the configuration",
    ),
    Meaning(
        "42501",
        "",
        "no-rights",
        "no right to read it",
        "GRANT USAGE ON SCHEMA …, SELECT ON … and SELECT ON SUBSCRIPTION … TO {role};",
    ),
    Meaning("42703", "", "column-missing", "a column is gone", "tycostream check"),
    Meaning(
        "XX000",
        r"sql parser error|[Ff]ailed to bind|Invalid (input|column)|[Nn]ot (yet )?(implemented|supported)",
        "query-failed",
        "RisingWave refuses its SQL",
        "correct `query` or `fields` of the source",
    ),
    Meaning(
        "42601 42P10 42883 42804 0A000 22P02",
        "",
        "query-failed",
        "RisingWave refuses its SQL",
        "correct `query` or `fields` of the source",
    ),
)


def meaning(error: ServerError, source: str, url: str, role: str = "") -> UpstreamError:
    """What a server's error means to a source."""
    return meaning_of(_MEANINGS, error, source, url, role, PRODUCT)


def translate(error: psycopg.Error, url: str, doing: str) -> UpstreamError:
    """An error that concerns the database, not one source."""
    return libpq.translate(error, url, doing, product=PRODUCT)

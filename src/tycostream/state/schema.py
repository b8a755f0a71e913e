"""Our tables, and their version: made when they are not there, refused when a later tycostream made them."""

from __future__ import annotations

import secrets
from typing import Final

from tycostream.errors import StateError
from tycostream.state.base import Script

VERSION: Final = 1
NAMES: Final = ("tycostream_state", "tycostream_tokens", "tycostream_revocations")
PRESENT: Final = "SELECT version FROM tycostream_state"
_TABLES: Final = (
    # one row. `life` says which state this is: a copy that was made anew is another one. `revision` counts what others
    # must be told, and whoever counts holds its row until the commit: so the order of revisions is that of commits.
    "CREATE TABLE IF NOT EXISTS tycostream_state"
    " (version INTEGER NOT NULL, life TEXT NOT NULL, revision BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tycostream_tokens ("
    " id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL,"
    " variables TEXT NOT NULL, created_s DOUBLE PRECISION NOT NULL, expires_s DOUBLE PRECISION,"
    " used_s DOUBLE PRECISION, revoked_s DOUBLE PRECISION, revision BIGINT)",
    "CREATE INDEX IF NOT EXISTS tycostream_tokens_revision ON tycostream_tokens (revision)",
    "CREATE TABLE IF NOT EXISTS tycostream_revocations ("
    " id TEXT PRIMARY KEY, about TEXT NOT NULL, made_s DOUBLE PRECISION NOT NULL, until_s DOUBLE PRECISION NOT NULL,"
    " revision BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS tycostream_revocations_revision ON tycostream_revocations (revision)",
)


def make() -> Script[None]:
    """Make what is missing."""
    for statement in _TABLES:
        yield statement, ()
    if not (yield PRESENT, ()):
        life = secrets.token_hex(16)
        yield "INSERT INTO tycostream_state (version, life, revision) VALUES (?, ?, 0)", (VERSION, life)


def expect(version: int) -> None:
    """StateError unless these tables are ours to use."""
    if version > VERSION:
        raise StateError(
            "state-newer",
            f"the state was written by a later tycostream (its version is {version}, this one knows {VERSION})",
            hint="run that tycostream, or name another place in `state`",
        )


def next_revision() -> Script[int]:
    """A number for something that others must be told; what is written with it is theirs to see when it is there."""
    yield "UPDATE tycostream_state SET revision = revision + 1", ()
    rows = yield "SELECT revision FROM tycostream_state", ()
    revision: int = rows[0][0]
    return revision

"""The tokens that a state holds, as scripts: how they are added, found, listed, revoked, and noted as used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tycostream.state.base import Script
from tycostream.state.schema import next_revision

FIND_MAX: Final = 500  # at once; SQLite takes some thousand values in a statement
_COLUMNS: Final = "t.id, t.name, t.role, t.variables, t.created_s, t.expires_s, t.used_s, t.revoked_s"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as it is known to us: all but its secret. Times are seconds since 1970; ``id`` tells it in lists and logs."""

    id: str
    name: str
    role: str
    variables: Mapping[str, str]  # lower-case names without prefix, as in a session
    created_s: float
    expires_s: float | None = None
    used_s: float | None = None
    revoked_s: float | None = None

    def state(self, now_s: float) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_s is not None:
            return "revoked"
        return "expired" if self.expires_s is not None and now_s >= self.expires_s else "active"


@dataclass(frozen=True, slots=True)
class Mark:
    """How much of a state's revocations is known: all up to ``revision``, in that ``life`` of it."""

    life: str
    revision: int


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens by digest, of those asked for that are there, and the mark at that moment."""

    tokens: Mapping[str, ApiToken]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Revoked:
    """The tokens revoked since a mark, and the mark of now. If that is of another life, or earlier, nothing follows."""

    ids: frozenset[str]
    mark: Mark


def add(token: ApiToken, digest: str) -> Script[None]:
    """A new token. Run twice it is there once."""
    variables = msgspec.json.encode(dict(token.variables)).decode()
    yield (
        "INSERT INTO tycostream_tokens (id, digest, name, role, variables, created_s, expires_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (token.id, digest, token.name, token.role, variables, token.created_s, token.expires_s),
    )


def find(digests: Sequence[str]) -> Script[Found]:
    """The tokens with these digests, revoked and expired ones too. One statement: the mark is that of the tokens."""
    rows = yield (
        f"SELECT s.life, s.revision, t.digest, {_COLUMNS} FROM tycostream_state s"  # noqa: S608 - no value is in it
        f" LEFT JOIN tycostream_tokens t ON t.digest IN ({_places(digests)})",
        digests,
    )
    return Found(
        {row[2]: _token(row[3:]) for row in rows if row[2] is not None}, Mark(rows[0][0], rows[0][1])
    )


def listed() -> Script[list[ApiToken]]:
    """Every token, the oldest first."""
    rows = yield f"SELECT {_COLUMNS} FROM tycostream_tokens t ORDER BY t.created_s, t.id", ()  # noqa: S608
    return [_token(row) for row in rows]


def revoke(ids: Sequence[str], now_s: float) -> Script[frozenset[str]]:
    """Revoke tokens; gives those that were not revoked before."""
    rows = yield (
        f"SELECT id FROM tycostream_tokens WHERE revoked_s IS NULL AND id IN ({_places(ids)})",  # noqa: S608
        ids,
    )
    standing = [row[0] for row in rows]
    if standing:
        revision = yield from next_revision()
        yield (
            "UPDATE tycostream_tokens SET revoked_s = ?, revision = ?"  # noqa: S608
            f" WHERE revoked_s IS NULL AND id IN ({_places(standing)})",
            (now_s, revision, *standing),
        )
    return frozenset(standing)


def revoked_since(revision: int) -> Script[Revoked]:
    """What was revoked after ``revision``."""
    rows = yield (
        "SELECT s.life, s.revision, t.id FROM tycostream_state s"
        " LEFT JOIN tycostream_tokens t ON t.revision > ?",
        (revision,),
    )
    return Revoked(frozenset(row[2] for row in rows if row[2] is not None), Mark(rows[0][0], rows[0][1]))


def standing(ids: Sequence[str]) -> Script[frozenset[str]]:
    """Those of ``ids`` that are there and not revoked."""
    rows = yield (
        f"SELECT id FROM tycostream_tokens WHERE revoked_s IS NULL AND id IN ({_places(ids)})",  # noqa: S608
        ids,
    )
    return frozenset(row[0] for row in rows)


def note_uses(uses: Sequence[tuple[str, float]]) -> Script[None]:
    """When tokens, by id, were last used, ``FIND_MAX`` at once; several servers may tell, and the latest holds."""
    yield (
        "UPDATE tycostream_tokens AS t SET used_s = v.column2"  # noqa: S608
        f" FROM (VALUES {', '.join(['(?, ?)'] * len(uses))}) AS v"
        " WHERE t.id = v.column1 AND (t.used_s IS NULL OR t.used_s < v.column2)",
        [value for use in uses for value in use],
    )


def _places(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


def _token(row: Sequence[Any]) -> ApiToken:
    token_id, name, role, variables, created_s, expires_s, used_s, revoked_s = row
    return ApiToken(
        token_id, name, role, msgspec.json.decode(variables), created_s, expires_s, used_s, revoked_s
    )

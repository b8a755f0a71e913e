"""What was revoked by what it says rather than by a token of ours, as scripts: kept until no token can be left of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tycostream.state.base import Script
from tycostream.state.schema import next_revision
from tycostream.state.tokens import Mark


@dataclass(frozen=True, slots=True)
class About:
    """Whose sessions end: those for which all of it holds that is not empty.

    ``token`` a token's id, ``user`` a user's, ``connection`` a connection's; ``variables`` session variables with their
    texts, lower-case names without prefix.
    """

    token: str = ""
    user: str = ""
    role: str = ""
    connection: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revocation:
    """What was issued up to ``made_s`` is good no more; forgotten after ``until_s``. Both are seconds since 1970."""

    id: str
    about: About
    made_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class News:
    """What was revoked since a mark, and the mark of now; see ``Revoked``."""

    revocations: Sequence[Revocation]
    mark: Mark


def deny(revocation: Revocation, now_s: float) -> Script[None]:
    """Write it down, and forget those that are over. Run twice it is there once."""
    yield "DELETE FROM tycostream_revocations WHERE until_s < ?", (now_s,)
    revision = yield from next_revision()
    about = msgspec.json.encode(revocation.about).decode()
    yield (
        "INSERT INTO tycostream_revocations (id, about, made_s, until_s, revision) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO NOTHING",
        (revocation.id, about, revocation.made_s, revocation.until_s, revision),
    )


def denied_since(revision: int) -> Script[News]:
    """What was written down after ``revision``. One statement: the mark is that of what it gives."""
    rows = yield (
        "SELECT s.life, s.revision, r.id, r.about, r.made_s, r.until_s FROM tycostream_state s"
        " LEFT JOIN tycostream_revocations r ON r.revision > ?",
        (revision,),
    )
    return News([_revocation(row[2:]) for row in rows if row[2] is not None], Mark(rows[0][0], rows[0][1]))


def _revocation(row: Sequence[Any]) -> Revocation:
    number, about, made_s, until_s = row
    return Revocation(number, msgspec.json.decode(about, type=About), made_s, until_s)

"""Who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

ADMIN = "admin"
USER = "user-id"  # the session variable that says which user it is: x-hasura-user-id


@dataclass(frozen=True, slots=True)
class Token:
    """What a session's token says of itself. ``id``: of an API token its id, of a JWT its ``jti``, or a digest of it.

    ``issued_at_s``: seconds since 1970, at the earliest; None: it does not say. ``api``: it is an API token.
    """

    id: str
    subject: str = ""
    issued_at_s: float | None = None
    api: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A role, its session variables (lower-case names, without prefix) and when it ends (None: never).

    ``expires_at_s`` is seconds since 1970. ``token``: by which it was let in, if it was by one. ``client_ip`` is where it
    comes from, "" if that is not known.
    """

    role: str = ADMIN
    variables: Mapping[str, str] = field(default_factory=dict)
    expires_at_s: float | None = None
    token: Token | None = None
    client_ip: str = ""

    @property
    def admin(self) -> bool:
        """Whether it sees everything."""
        return self.role == ADMIN

    @property
    def user(self) -> str:
        """Whose it is: the variable X-Hasura-User-Id, or the token's subject; empty: nobody's in particular."""
        return self.variables.get(USER) or (self.token.subject if self.token is not None else "")


def time_text(at_s: float | None) -> str | None:
    """A time of day in ISO 8601, in UTC; None for never, and for what no calendar has."""
    if at_s is None:
        return None
    try:
        return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None

"""Who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Session:
    """A role, its session variables (lower-case names, without prefix) and when it ends (None: never).

    ``expires_at_s`` is seconds since 1970. ``token_id`` names the API token that it came with, if it was one:
    ``Authenticator.watch_token`` tells of its revocation.
    """

    role: str = ADMIN
    variables: Mapping[str, str] = field(default_factory=dict)
    expires_at_s: float | None = None
    token_id: str | None = None

    @property
    def admin(self) -> bool:
        """Whether it sees everything."""
        return self.role == ADMIN

"""Which sessions were revoked, and which tokens are good no more for it. Pure."""

from __future__ import annotations

from typing import Final

from tycostream.auth.session import Session
from tycostream.state.revocations import About, Revocation

MOST: Final = 100_000  # some 50 MB
_VARIABLE: Final = "variable "


def concerns(about: About, session: Session, connection: str = "") -> bool:
    """Whether a session, of a connection with that id, is among those that end."""
    token = session.token
    return (
        about.connection in ("", connection)
        and (not about.token or (token is not None and token.id == about.token))
        and (not about.user or about.user in _users(session))
        and about.role in ("", session.role)
        and all(session.variables.get(name) == text for name, text in about.variables.items())
    )


def _users(session: Session) -> set[str]:
    return {session.user, session.token.subject if session.token is not None else ""} - {""}


class Denylist:
    """What was revoked and is not forgotten; the one question to it costs the same however long it is."""

    def __init__(self) -> None:
        self._all: dict[str, Revocation] = {}  # by id
        self._by: dict[tuple[str, str], dict[str, Revocation]] = {}  # by what each names first

    def __len__(self) -> int:
        return len(self._all)

    def add(self, revocation: Revocation) -> bool:
        """Whether that is news."""
        if revocation.id in self._all:
            return False
        self._all[revocation.id] = revocation
        if not revocation.about.connection:  # else it is of a connection, and none of a token
            self._by.setdefault(_first(revocation.about), {})[revocation.id] = revocation
        return True

    def forget(self, now_s: float) -> None:
        """Those of which no token can be left."""
        for gone in [each for each in self._all.values() if each.until_s < now_s]:
            del self._all[gone.id]
            among = self._by.get(_first(gone.about), {})
            among.pop(gone.id, None)
            if not among:
                self._by.pop(_first(gone.about), None)

    def denies(self, session: Session, now_s: float) -> bool:
        """Whether the token of a session was revoked. Only tokens are: nothing else says when it was given out."""
        token = session.token
        if token is None:
            return False
        names = [("token", token.id), *(("user", user) for user in _users(session)), ("role", session.role)]
        names += [(_VARIABLE + name, text) for name, text in session.variables.items()]
        return any(
            (token.issued_at_s is None or token.issued_at_s <= each.made_s)
            and now_s <= each.until_s
            and concerns(each.about, session)
            for name in names
            for each in self._by.get(name, {}).values()
        )


def _first(about: About) -> tuple[str, str]:
    if about.token:
        return "token", about.token
    if about.user:
        return "user", about.user
    if about.role or not about.variables:
        return "role", about.role
    name, text = min(about.variables.items())
    return _VARIABLE + name, text

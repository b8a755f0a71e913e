"""The end of a session that was let in: it expires, or somebody revokes what it was let in by."""

from __future__ import annotations

from collections.abc import Callable

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.denied import expired, revoked
from tycostream.auth.expiry import Expiry
from tycostream.auth.session import Session
from tycostream.errors import RequestError


class SessionWatch:
    """Has ``over`` called with the error of why a session ends, when it does: at once if it has, before this is made."""

    def __init__(
        self, authenticator: Authenticator, session: Session, over: Callable[[RequestError], None]
    ) -> None:
        self._over = over
        self._api = session.token is not None and session.token.api
        self._expiry: Expiry | None = None
        if session.expires_at_s is not None:
            end = expired(api=self._api)
            self._expiry = authenticator.expiries.at(session.expires_at_s, lambda: over(end))
        self._unwatch = authenticator.watch_token(session, self.revoke)

    def revoke(self) -> None:
        """Somebody revoked it."""
        self._over(revoked(api=self._api))

    def cancel(self) -> None:
        """Nobody asks any more. Idempotent."""
        self._unwatch()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

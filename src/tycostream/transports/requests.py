"""One operation of an HTTP request: it ends when its session does, before its answer if need be."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.denied import expired, revoked
from tycostream.auth.expiry import Expiry
from tycostream.auth.session import Session
from tycostream.live.deadline import Interruptible


class RunningRequest(Interruptible):
    """A context around what is done for a session: the error that ends it is raised from it at the moment the session does."""

    def __init__(self, authenticator: Authenticator, session: Session) -> None:
        super().__init__()
        self._authenticator = authenticator
        self.session = session
        self._expiry: Expiry | None = None
        self._unwatch: Callable[[], None] = _nothing
        self._api = session.token is not None and session.token.api

    def __enter__(self) -> RunningRequest:
        if self.session.expires_at_s is not None:
            self._expiry = self._authenticator.expiries.at(
                self.session.expires_at_s, lambda: self.end(expired(api=self._api))
            )
        self._unwatch = self._authenticator.watch_token(
            self.session, lambda: self.end(revoked(api=self._api))
        )
        try:
            super().__enter__()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        self._leave()
        super().__exit__(kind, raised, where)

    def _leave(self) -> None:
        self._unwatch()
        if self._expiry is not None:
            self._expiry.cancel()


def _nothing() -> None:
    """What ends a watch that was never begun."""

"""One operation of an HTTP request: it ends when its session does, before its answer if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.denied import expired, revoked
from tycostream.auth.expiry import Expiry
from tycostream.auth.session import Session
from tycostream.errors import RequestError


class RunningRequest:
    """A context around what is done for a session: the error that ends it is raised from it at the moment the session does."""

    def __init__(self, authenticator: Authenticator, session: Session) -> None:
        self._authenticator = authenticator
        self.session = session
        self._task: asyncio.Task[object] | None = None
        self._expiry: Expiry | None = None
        self._unwatch: Callable[[], None] = _nothing
        self._over: RequestError | None = None
        self._api = session.token is not None and session.token.api

    def __enter__(self) -> RunningRequest:
        if self.session.expires_at_s is not None:
            self._expiry = self._authenticator.expiries.at(
                self.session.expires_at_s, lambda: self.end(expired(api=self._api))
            )
        self._unwatch = self._authenticator.watch_token(
            self.session, lambda: self.end(revoked(api=self._api))
        )
        if self._over is not None:
            self._leave()
            raise self._over
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        self._leave()
        task, self._task = self._task, None
        mine = self._over is not None and task is not None and not task.uncancel()
        if mine and kind is asyncio.CancelledError:  # else somebody else cancelled it too: that goes on
            assert self._over is not None
            raise self._over from None

    def _leave(self) -> None:
        self._unwatch()
        if self._expiry is not None:
            self._expiry.cancel()

    def end(self, error: RequestError) -> None:
        """The session is over. Idempotent; nothing once the operation is answered."""
        if self._over is None:
            self._over = error
            if self._task is not None:
                self._task.cancel()


def _nothing() -> None:
    """What ends a watch that was never begun."""

"""The end of a connection's session: it expires, its token is revoked, or it was let in by rules that are others now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.session import Session
from tycostream.clock import Clock, Timer
from tycostream.live.framing import Sink

_LOOK_S: Final = 30.0  # the time of day may be set, and a machine may sleep: one long timer would not notice


class SessionWatch:
    """Closes a connection when its session ends: its operations end with it, and the client may come back with a new token."""

    def __init__(self, authenticator: Authenticator, clock: Clock, sink: Sink) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._sink = sink
        self._unwatch: Callable[[], None] | None = None
        self._unwatch_token: Callable[[], None] = _nothing
        self._timer: Timer | None = None
        self._expires_at_s: float | None = None

    def begin(self) -> None:
        """From now on the session is void when the configuration of ``auth`` is another one."""
        self._unwatch = self._authenticator.watch(self._void)

    def follow(self, session: Session) -> None:
        """It ends when ``session`` expires, and when its API token is revoked."""
        if self._unwatch is None:  # the connection has ended already
            return
        self._expires_at_s = session.expires_at_s
        self._unwatch_token = self._authenticator.watch_token(session, self._revoked)
        if (
            session.expires_at_s is not None and self._unwatch is not None
        ):  # it may have been revoked just now
            self._look()

    def _look(self) -> None:
        assert self._expires_at_s is not None
        left_s = self._expires_at_s - self._clock.time()
        if left_s <= 0:
            self._timer = None
            self._sink.abort(4403, "Forbidden: the token has expired")
        else:
            self._timer = self._clock.call_later(min(left_s, _LOOK_S), self._look)

    def _void(self) -> None:
        self._sink.abort(1012, "authentication was configured anew: connect again")

    def _revoked(self) -> None:
        self._sink.abort(4403, "Forbidden: the token was revoked")

    def end(self) -> None:
        """The connection has ended. Idempotent."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._unwatch_token()
        self._unwatch_token = _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nothing() -> None:
    """What ends a watch that was never begun."""

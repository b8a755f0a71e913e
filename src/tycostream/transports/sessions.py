"""The end of a connection's session: it expires, or the rules by which it was let in are others now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tycostream.auth.authenticator import Authenticator
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
        self._timer: Timer | None = None
        self._expires_at_s: float | None = None

    def begin(self) -> None:
        """From now on the session is void when the configuration of ``auth`` is another one."""
        self._unwatch = self._authenticator.watch(self._void)

    def until(self, expires_at_s: float | None) -> None:
        """It ends at that second (since 1970; None: not by itself)."""
        self._expires_at_s = expires_at_s
        if expires_at_s is not None and self._unwatch is not None:  # else the connection has ended already
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

    def end(self) -> None:
        """The connection has ended. Idempotent."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""Revocations: who is not let in any more, on this server at once and on all that share its state within a second."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from tycostream.auth.denied import revoked, unavailable
from tycostream.auth.denylist import MOST, Denylist
from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.errors import RequestError, StateError
from tycostream.observe.events import Emit, OperationFailed, SessionsRevoked
from tycostream.state.base import StateStore
from tycostream.state.revocations import About, Revocation, denied_since, deny
from tycostream.state.tokens import Mark

_ASK_EVERY_S: Final = 0.5
_RETRY_S: Final = 1.0
_STALE_MAX_S: Final = 3600.0  # as of API tokens: by then one that we cannot hear of has had an hour
CONNECTION_S: Final = 60.0  # how long it is told that a connection is to end
Told = Callable[[Revocation], int]


class Revocations:
    """Without a store they are this process's own, and gone with it."""

    def __init__(self, store: StateStore | None, clock: Clock, emit: Emit) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._list = Denylist()
        self._mark: Mark | None = None
        self._confirmed_s = float("-inf")  # when we last heard what was revoked
        self._tried = asyncio.Event()
        self._away = False
        self._following: asyncio.Task[None] | None = None
        self.told: Told = lambda _: 0  # ends the sessions that are there; gives how many

    def __len__(self) -> int:
        return len(self._list)

    @property
    def shared(self) -> bool:
        """Whether others hear of them, and a restart leaves them."""
        return self._store is not None

    def start(self) -> None:
        """Hear from now on what others revoke."""
        if self._store is not None:
            self._following = asyncio.create_task(self._follow(self._store), name="revocations")

    async def close(self) -> None:
        """Give up what is under way."""
        task, self._following = self._following, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def check(self, session: Session) -> None:
        """Denied if the session's token was revoked, or that cannot be said for now."""
        if session.token is None:
            return
        if self._following is not None:
            if self._mark is None:
                await self._tried.wait()
            if self._clock.monotonic() - self._confirmed_s > _STALE_MAX_S:
                raise unavailable("what was revoked cannot be looked up at present")
        if self._list.denies(session, self._clock.time()):
            raise revoked(api=session.token.api)

    async def revoke(self, about: About, keep_s: float, *, number: str = "") -> tuple[Revocation, int]:
        """Revoke, and end the sessions that are there; gives how many those were, of this process.

        ``keep_s``: how long tokens of that kind may live. ``number``: under which others may revoke the same. StateError if
        it cannot be written down: then nothing was revoked. RequestError if too much is.
        """
        now_s = self._clock.time()
        self._list.forget(now_s)
        if len(self._list) >= MOST:
            raise RequestError("limit-exceeded", f"{MOST} revocations are remembered; no more can be")
        revocation = Revocation(number or secrets.token_hex(8), about, now_s, now_s + keep_s)
        if self._store is not None:
            await self._store.write(deny(revocation, now_s))
        return revocation, self._apply(revocation)

    def _apply(self, revocation: Revocation) -> int:
        if not self._list.add(revocation):
            return 0
        ended = self.told(revocation)
        about = revocation.about
        self._emit(SessionsRevoked(about.token, about.user, about.role, about.connection, ended))
        return ended

    async def _follow(self, store: StateStore) -> None:
        while True:
            try:
                await self._ask(store)
            except StateError:
                self._away = True  # who looks up API tokens tells of it
            except Exception as error:
                self._emit(
                    OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}")
                )
            self._tried.set()
            await self._clock.sleep(_RETRY_S if self._away else _ASK_EVERY_S)

    async def _ask(self, store: StateStore) -> None:
        mark = self._mark
        news = await store.read(denied_since(0 if mark is None else mark.revision))
        if mark is not None and (news.mark.life != mark.life or news.mark.revision < mark.revision):
            news = await store.read(denied_since(0))  # another state, or one of before: what we know stays
        now_s = self._clock.time()
        for each in news.revocations:
            if each.until_s >= now_s:
                self._apply(each)
        self._list.forget(now_s)
        self._mark, self._confirmed_s = news.mark, self._clock.monotonic()
        self._away = False

"""API tokens: the session of one, and the end of all its sessions within a second of its revocation, wherever that was.

Tokens are looked up in the state once, in batches, and remembered. What was revoked since is asked for twice a second: one
number of one row, the same question to SQLite and to PostgreSQL, so that there is one way to hear of it rather than two.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from tycostream.auth.api_token import digest
from tycostream.auth.denied import Denied, Reason, expired, revoked, unavailable
from tycostream.auth.known_tokens import KnownTokens
from tycostream.auth.session import Session, Token
from tycostream.clock import Clock
from tycostream.errors import StateError
from tycostream.observe.events import Emit, OperationFailed, StateAvailable, StateUnavailable, TokenRevoked
from tycostream.state.base import StateStore
from tycostream.state.tokens import (
    FIND_MAX,
    ApiToken,
    Mark,
    find,
    listed,
    note_uses,
    revoke,
    revoked_since,
    standing,
)

_ASK_EVERY_S: Final = 0.5
_RETRY_S: Final = 1.0
_NOTE_EVERY_S: Final = 60.0
_STALE_MAX_S: Final = 3600.0  # by then a revocation that we cannot hear of has had an hour
_WANTED_MAX: Final = 20_000  # some 8 MB: ten thousand clients may come back at once, but who shows tokens that nobody made must not fill the memory
_USES_MAX: Final = 10_000
_CLOSE_MAX_S: Final = 2.0

T = TypeVar("T")


class Tokens:
    """Sessions of those who show an API token, out of a state. While it is away, tokens that are known go on for an hour."""

    def __init__(self, store: StateStore, clock: Clock, emit: Emit) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._known = KnownTokens()
        self._wanted: dict[str, asyncio.Future[ApiToken | StateError | None]] = {}  # by digest
        self._looking: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._mark: Mark | None = None
        self._confirmed_s = float("-inf")  # when we last heard what was revoked
        self._away = False
        self._not_before_s = float("-inf")
        self._uses: dict[str, float] = {}
        self._noted_s = clock.monotonic()

    def start(self) -> None:
        """Begin to hear of revocations, and tell at once if the state is away. Idempotent."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="tokens: what was revoked")

    async def session(self, secret: str) -> Session:
        """Whose token that is; Denied if it is nobody's, or that cannot be said for now."""
        shown = digest(secret)
        token = None
        if shown is not None:
            token = self._known.get(shown) if self._heard_lately() else None
            token = token or await self._looked_up(shown)
        if token is None:
            raise Denied("access-denied", "the token is not known", Reason.TOKEN_UNKNOWN)
        now_s = self._clock.time()
        if token.revoked_s is not None:
            raise revoked(api=True)
        if token.expires_s is not None and now_s >= token.expires_s:
            raise expired(api=True)
        if token.id in self._uses or len(self._uses) < _USES_MAX:
            self._uses[token.id] = now_s
        return _session(token)

    def watch(self, token_id: str, told: Callable[[], None]) -> Callable[[], None]:
        """Have ``told`` called when a token is revoked, at once if it was; gives what ends that."""
        return self._known.watch(token_id, told)

    async def revoke(self, ids: Sequence[str]) -> frozenset[str]:
        """Revoke tokens and end their sessions, here at once, elsewhere within a second; gives those that were good before.

        StateError if that cannot be written down: then nothing was revoked.
        """
        found: set[str] = set()
        for some in _some(ids):
            fresh = await self._store.write(revoke(some, self._clock.time()))
            self._revoked(fresh)
            found |= fresh
        return frozenset(found)

    async def revoke_where(self, matches: Callable[[Session], bool]) -> frozenset[str]:
        """Revoke all that are good and whose sessions match. See ``revoke``."""
        every = await self._store.read(listed())
        return await self.revoke(
            [each.id for each in every if each.revoked_s is None and matches(_session(each))]
        )

    async def close(self) -> None:
        """Write down what was used, and give up what is under way."""
        for task in (self._looking, self._following):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        with contextlib.suppress(TimeoutError):  # a state that is away must not hold up the end
            async with asyncio.timeout(_CLOSE_MAX_S):
                await self._note_uses()
        await self._store.close()

    # looking up

    def _heard_lately(self) -> bool:
        return self._clock.monotonic() - self._confirmed_s < _STALE_MAX_S

    async def _looked_up(self, shown: str) -> ApiToken | None:
        waiting = self._wanted.get(shown)
        if waiting is None:
            if self._clock.monotonic() < self._not_before_s or len(self._wanted) >= _WANTED_MAX:
                raise _unavailable()
            waiting = self._wanted[shown] = asyncio.get_running_loop().create_future()
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="tokens: look up")
        found = await asyncio.shield(waiting)  # who waits may give up, and another may wait for the same
        if isinstance(found, StateError):
            raise _unavailable()
        return found

    async def _look(self) -> None:
        error = StateError("state-unavailable", "the server stops")
        try:
            while self._wanted:
                some = list(islice(self._wanted, FIND_MAX))
                found = await self._store.read(find(some))
                self._reached()
                mark = self._mark or self._begin(found.mark)
                for shown in some:
                    token = found.tokens.get(shown)
                    if token is not None and found.mark.life == mark.life:  # else _ask is about to see that
                        token = self._known.put(shown, token, self._clock.time())
                    self._wanted.pop(shown).set_result(token)
                self.start()
        except StateError as failed:
            error = failed
            self._lost(failed)
        except Exception as failed:
            self._emit(OperationFailed("unexpected", "internal error", f"{type(failed).__name__}: {failed}"))
        finally:
            self._looking = None
            wanted, self._wanted = self._wanted, {}
            for waiting in wanted.values():
                waiting.set_result(error)

    # hearing of revocations

    def _begin(self, mark: Mark) -> Mark:
        self._mark, self._confirmed_s = mark, self._clock.monotonic()
        return mark

    async def _follow(self) -> None:
        while True:
            try:
                await self._ask()
                if len(self._uses) >= _USES_MAX or self._clock.monotonic() - self._noted_s >= _NOTE_EVERY_S:
                    await self._note_uses()
            except StateError as error:
                self._lost(error)
            except Exception as error:
                self._emit(
                    OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}")
                )
            await self._clock.sleep(_RETRY_S if self._away else _ASK_EVERY_S)

    async def _ask(self) -> None:
        if self._mark is None:
            found = await self._store.read(find([]))
            if (
                self._mark is None
            ):  # else somebody showed a token meanwhile, and that mark may be an earlier one
                self._begin(found.mark)
                self._reached()
            return
        news = await self._store.read(revoked_since(self._mark.revision))
        if news.mark.life != self._mark.life or news.mark.revision < self._mark.revision:
            # the state is another one, or one of before: what is in it of those that we know is anybody's guess
            self._known.forget()
            for some in _some(self._known.borne):
                self._revoked(frozenset(some) - await self._store.read(standing(some)))
        else:
            self._revoked(news.ids)
        self._mark, self._confirmed_s = news.mark, self._clock.monotonic()
        self._reached()

    def _revoked(self, ids: frozenset[str]) -> None:
        for token_id in self._known.revoke(ids):
            self._emit(TokenRevoked(token_id))

    def _reached(self) -> None:
        if self._away:
            self._away = False
            self._not_before_s = float("-inf")
            self._emit(StateAvailable())

    def _lost(self, error: StateError) -> None:
        self._not_before_s = self._clock.monotonic() + _RETRY_S
        if not self._away:
            self._away = True
            self._emit(StateUnavailable(error.code, error.told, error.hint))

    async def _note_uses(self) -> None:
        self._noted_s = self._clock.monotonic()
        uses, self._uses = self._uses, {}
        try:
            for some in _some(uses.items()):
                await self._store.write(note_uses(some))
        except StateError as error:
            self._uses = {**uses, **self._uses}  # again later; what was written already is written again
            self._lost(error)


def _session(token: ApiToken) -> Session:
    said = Token(token.id, issued_at_s=token.created_s, api=True)
    return Session(token.role, token.variables, token.expires_s, said)


def _some(values: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(values)
    while found := list(islice(rest, FIND_MAX)):
        yield found


def _unavailable() -> Denied:
    return unavailable("tokens cannot be looked up at present")

"""The key that a token's signature is verified with: fixed, or out of a set that its issuer publishes and rotates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from tycostream.auth.denied import unavailable
from tycostream.auth.freshness import fresh_for_s
from tycostream.auth.jwks import PublishedKey, published_keys
from tycostream.clock import Clock
from tycostream.config.jwt_keys import PublicKey
from tycostream.observe.events import Emit, KeysFetched, KeysUnavailable

# A token with a key that we do not know may be the first one after a rotation, or an attack on the issuer.
_UNKNOWN_EVERY_S: Final = 10.0
_RETRY_S: Final = 60.0  # after a failure; the keys that we have are used meanwhile
_STALE_MAX_S: Final = 24 * 3600.0  # beyond that a withdrawn key could be trusted for ever by cutting us off


class FetchError(Exception):
    """Why there is no document; the text may be logged."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document and its headers, by lower-case name."""

    body: bytes
    headers: Mapping[str, str]


Fetch = Callable[[], Awaitable[Fetched]]


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key, and the algorithms that it may be used with: chosen by us, never by the token."""

    key: bytes | PublicKey
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """Where keys come from."""

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The key for a token that names ``kid`` and ``algorithm``; None if there is none.

        RequestError if the keys are not known at present.
        """

    async def close(self) -> None:
        """Give up what is under way."""


class FixedKey:
    """See Keys: the one of the configuration, whatever a token says."""

    def __init__(self, key: bytes | PublicKey, algorithm: str) -> None:
        self._key = VerifyingKey(key, (algorithm,))

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """See Keys."""
        return self._key if algorithm in self._key.algorithms else None

    async def close(self) -> None:
        """See Keys."""


class KeySet:
    """See Keys: a set that is fetched when it is needed, kept as long as its headers say, and longer while it cannot be had.

    One fetch at a time, for all who wait. ``only``: the algorithm of the configuration, if it names one.
    """

    def __init__(self, url: str, fetch: Fetch, clock: Clock, emit: Emit, only: str | None = None) -> None:
        parts = urlsplit(url)
        self._shown = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))  # a query may hold a key
        self._fetch = fetch
        self._clock = clock
        self._emit = emit
        self._only = only
        self._keys: tuple[PublishedKey, ...] = ()
        self._fresh_until_s = float("-inf")
        self._usable_until_s = float("-inf")
        self._not_before_s = float("-inf")  # no attempt earlier, after one that failed
        self._asked_s = float("-inf")
        self._running: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """See Keys."""
        if self._clock.monotonic() >= self._fresh_until_s:
            await self._refresh()
        found = self._known(kid, algorithm)
        if found is None and self._clock.monotonic() - self._asked_s >= _UNKNOWN_EVERY_S:
            await self._refresh()
            found = self._known(kid, algorithm)
        if found is None and not self._usable():
            raise unavailable("the keys of the token's issuer cannot be had at present")
        return found

    def _usable(self) -> bool:
        return self._clock.monotonic() < self._usable_until_s

    def _known(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        if not self._usable() or self._only not in (None, algorithm):
            return None
        fitting = [key for key in self._keys if algorithm in key.algorithms and kid in (None, key.kid)]
        if len(fitting) != 1:  # without a kid only the one that there is can be meant
            return None
        return VerifyingKey(fitting[0].key, (algorithm,))

    async def _refresh(self) -> None:
        if self._running is None:
            if self._clock.monotonic() < self._not_before_s:
                return
            self._running = asyncio.create_task(self._fetched(), name="keys of an issuer")
        # shielded: who waits may give up, and the others still want it
        await asyncio.shield(self._running)

    async def _fetched(self) -> None:
        try:
            answer = await self._fetch()
            keys = published_keys(answer.body)
        except (FetchError, ValueError) as error:
            now_s = self._clock.monotonic()
            self._asked_s = now_s
            # without any keys nobody gets in, so it is tried sooner
            self._not_before_s = now_s + (_RETRY_S if self._usable() else _UNKNOWN_EVERY_S)
            self._emit(KeysUnavailable(self._shown, str(error), self._usable()))
        else:
            now_s = self._clock.monotonic()
            self._asked_s = now_s
            self._keys = keys
            self._not_before_s = float("-inf")
            self._fresh_until_s = now_s + fresh_for_s(answer.headers, self._clock.time())
            self._usable_until_s = self._fresh_until_s + _STALE_MAX_S
            self._emit(KeysFetched(self._shown, len(keys)))
        finally:
            self._running = None

    async def close(self) -> None:
        """See Keys."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

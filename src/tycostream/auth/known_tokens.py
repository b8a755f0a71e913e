"""The API tokens that this server has seen: those it need not look up again, and who is told when one is revoked. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from tycostream.state.tokens import ApiToken

_TOKENS_MAX: Final = 10_000  # some 5 MB
_REVOKED_MAX: Final = 10_000

Told = Callable[[], None]


class KnownTokens:
    """Tokens by digest, the least lately shown forgotten first, and the bearers of tokens by id.

    A look-up and the news of a revocation may cross, and a session begins a moment after its token was found good.
    So the ids that were revoked last are remembered, and whoever comes late is told at once.
    """

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, ApiToken] = OrderedDict()
        self._digests: dict[str, str] = {}  # by id
        self._bearers: dict[str, set[Told]] = {}
        self._revoked: OrderedDict[str, None] = OrderedDict()

    def get(self, digest: str) -> ApiToken | None:
        """The token, if it is known."""
        token = self._tokens.get(digest)
        if token is not None:
            self._tokens.move_to_end(digest)
        return token

    def put(self, digest: str, token: ApiToken, now_s: float) -> ApiToken:
        """Remember a token; gives it as it is, by all that is known."""
        if token.revoked_s is None and token.id in self._revoked:
            token = replace(token, revoked_s=now_s)
        self._tokens[digest] = token
        self._tokens.move_to_end(digest)
        self._digests[token.id] = digest
        while len(self._tokens) > _TOKENS_MAX:
            _, oldest = self._tokens.popitem(last=False)
            del self._digests[oldest.id]
        return token

    def revoke(self, ids: Iterable[str]) -> list[str]:
        """These are good no more: tell those who bear them. Gives the ids of which that is news."""
        news = sorted(token_id for token_id in ids if token_id not in self._revoked)
        for token_id in news:
            self._revoked[token_id] = None
            digest = self._digests.pop(token_id, None)
            if digest is not None:
                del self._tokens[digest]
            for told in list(self._bearers.get(token_id, ())):
                told()
        while len(self._revoked) > _REVOKED_MAX:
            self._revoked.popitem(last=False)
        return news

    def forget(self) -> None:
        """Every token is to be looked up again."""
        self._tokens.clear()
        self._digests.clear()
        self._revoked.clear()  # in another life of the state an id may be good again

    def watch(self, token_id: str, told: Told) -> Callable[[], None]:
        """Have ``told`` called when a token is revoked, at once if it was; gives what ends that."""
        if token_id in self._revoked:
            told()
            return lambda: None
        self._bearers.setdefault(token_id, set()).add(told)

        def unwatch() -> None:
            bearers = self._bearers.get(token_id)
            if bearers is not None:
                bearers.discard(told)
                if not bearers:
                    del self._bearers[token_id]

        return unwatch

    @property
    def borne(self) -> frozenset[str]:
        """The ids of tokens that somebody bears now."""
        return frozenset(self._bearers)

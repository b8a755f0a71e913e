"""The issuers of the configuration: which of them verifies a token, and what it says then."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from tycostream.auth.claims import role_and_variables
from tycostream.auth.credentials import ROLE, Credentials
from tycostream.auth.denied import Reason, several_tokens
from tycostream.auth.jwt import Unverified, Verifier, refused, time_of, unverified
from tycostream.auth.keys import FixedKey, Keys, KeySet
from tycostream.auth.session import Session, Token
from tycostream.clock import Clock
from tycostream.config.auth import HeaderConfig, HeaderType, JwtConfig
from tycostream.config.jwt_keys import fixed_key
from tycostream.observe.events import Emit

_ID_CHARACTERS_MAX: Final = 256


class Issuers:
    """Sessions of those who show a token."""

    def __init__(self, configs: Sequence[JwtConfig], clock: Clock, emit: Emit) -> None:
        self._verifiers = [Verifier(config, _keys(config, clock, emit), clock) for config in configs]
        self._places = {_place(config.header): config.header for config in configs}

    @property
    def headers(self) -> frozenset[str]:
        """The headers, by lower-case name, in which a token may be."""
        return frozenset(
            name if kind is HeaderType.CUSTOM else kind.value.lower() for kind, name in self._places
        )

    def shown_beside(self, credentials: Credentials) -> bool:
        """Whether there is a token elsewhere than in the header Authorization."""
        return any(
            credentials.token(header) is not None
            for header in self._places.values()
            if header.type is not HeaderType.AUTHORIZATION
        )

    async def authenticate(self, credentials: Credentials) -> Session | None:
        """The session of a token; None if none is shown. RequestError if it is not good."""
        found = [
            (token, place)
            for place, header in self._places.items()
            if (token := credentials.token(header)) is not None
        ]
        if not found:
            return None
        if len(found) > 1:
            raise several_tokens()
        token, place = found[0]
        wanted = credentials.get(ROLE)
        said = unverified(token)
        verifier = _issuer_of(said, [each for each in self._verifiers if _place(each.config.header) == place])
        claims, expires_at_s = await verifier.verify(said)
        role, variables = role_and_variables(claims, verifier.config, wanted)
        return Session(role, variables, expires_at_s, _said(token, claims, verifier.config.leeway))

    async def close(self) -> None:
        """Give up what is under way."""
        for verifier in self._verifiers:
            await verifier.keys.close()


def _keys(config: JwtConfig, clock: Clock, emit: Emit) -> Keys:
    if config.jwk_url is not None:
        from tycostream.auth.fetch import fetch  # its library takes a while to import

        get = functools.partial(fetch, config.jwk_url, insecure=config.insecure_url)
        return KeySet(config.jwk_url, get, clock, emit, config.algorithm)
    algorithm = config.algorithm or ""
    return FixedKey(fixed_key(algorithm, config.key_text or ""), algorithm)


def _issuer_of(token: Unverified, verifiers: Sequence[Verifier]) -> Verifier:
    """The one that must verify it: never one after the other until one is content."""
    named = [
        each for each in verifiers if each.config.issuer is not None and each.config.issuer == token.issuer
    ]
    any_issuer = [each for each in verifiers if each.config.issuer is None]
    for candidates in (named, any_issuer):
        if candidates:
            return candidates[0]
    raise refused("JWTNotInIssuer", Reason.TOKEN_FOR_OTHERS)


def _said(token: str, claims: Mapping[str, Any], leeway: timedelta) -> Token:
    """What a verified token says of itself; one without an id, or with one that is no text, goes by its digest."""
    named, subject = claims.get("jti"), claims.get("sub")
    if not isinstance(named, str) or not 0 < len(named) <= _ID_CHARACTERS_MAX:
        named = f"sha256:{sha256(token.encode()).hexdigest()}"
    issued_s = time_of(claims, "iat")
    # the issuer's clock may be ahead of ours by the leeway: what it gave out before we revoked must not look later
    earliest_s = None if issued_s is None else issued_s - leeway.total_seconds()
    return Token(named, subject if isinstance(subject, str) else "", earliest_s)


def _place(header: HeaderConfig) -> tuple[HeaderType, str]:
    return header.type, (header.name or "").lower()

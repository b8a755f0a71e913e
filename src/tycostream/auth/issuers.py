"""The issuers of the configuration: which of them verifies a token, and what it says then."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from tycostream.auth.claims import role_and_variables
from tycostream.auth.credentials import ROLE, Credentials
from tycostream.auth.jwt import Unverified, Verifier, refused, unverified
from tycostream.auth.keys import FixedKey, Keys, KeySet
from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.config.auth import HeaderConfig, HeaderType, JwtConfig
from tycostream.config.jwt_keys import fixed_key
from tycostream.errors import RequestError
from tycostream.observe.events import Emit


class Issuers:
    """Sessions of those who show a token."""

    def __init__(self, configs: Sequence[JwtConfig], clock: Clock, emit: Emit) -> None:
        self._verifiers = [Verifier(config, _keys(config, clock, emit), clock) for config in configs]

    async def authenticate(self, credentials: Credentials) -> Session | None:
        """The session of a token; None if none is shown. RequestError if it is not good."""
        places = {_place(verifier.config.header): verifier.config.header for verifier in self._verifiers}
        found = [
            (token, place)
            for place, header in places.items()
            if (token := credentials.token(header)) is not None
        ]
        if not found:
            return None
        if len(found) > 1:
            raise RequestError("invalid-headers", "there are several tokens, in different headers; send one")
        token, place = found[0]
        wanted = credentials.get(ROLE)
        said = unverified(token)
        verifier = _issuer_of(said, [each for each in self._verifiers if _place(each.config.header) == place])
        claims, expires_at_s = await verifier.verify(said)
        role, variables = role_and_variables(claims, verifier.config, wanted)
        return Session(role, variables, expires_at_s)

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
    raise refused("JWTNotInIssuer")


def _place(header: HeaderConfig) -> tuple[HeaderType, str]:
    return header.type, (header.name or "").lower()

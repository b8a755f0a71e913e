"""From what a request shows to who is asking: one way for HTTP and WebSockets."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from tycostream.auth.claims import role_and_variables
from tycostream.auth.credentials import ADMIN_SECRETS, ROLE, Credentials
from tycostream.auth.jwt import Unverified, Verifier, refused, unverified
from tycostream.auth.keys import FixedKey, Keys, KeySet
from tycostream.auth.session import ADMIN, Session
from tycostream.clock import Clock
from tycostream.config.auth import AuthConfig, HeaderConfig, HeaderType, JwtConfig
from tycostream.config.jwt_keys import fixed_key
from tycostream.errors import RequestError
from tycostream.observe.events import Emit

_SECRET_WRONG: Final = f'invalid "{ADMIN_SECRETS[0]}"/"{ADMIN_SECRETS[1]}"'
_SECRET_MISSING: Final = f"{ADMIN_SECRETS[0]}/{ADMIN_SECRETS[1]} required, but not found"
_TOKEN_MISSING: Final = "Missing 'Authorization' or 'Cookie' header in JWT authentication mode"  # noqa: S105


class Authenticator:
    """Says who is asking. Without a configuration everybody is admin, and the server keeps to this machine."""

    def __init__(self, config: AuthConfig | None, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._watchers: set[Callable[[], None]] = set()
        self._former: list[Keys] = []
        self._use(config)

    def _use(self, config: AuthConfig | None) -> None:
        self._config = config
        self._secrets = [_digest(secret) for secret in config.admin_secrets] if config is not None else []
        self._verifiers = [self._verifier(jwt) for jwt in config.jwt] if config is not None else []

    def _verifier(self, config: JwtConfig) -> Verifier:
        keys: Keys
        if config.jwk_url is not None:
            from tycostream.auth.fetch import fetch  # its library takes a while to import

            get = functools.partial(fetch, config.jwk_url, insecure=config.insecure_url)
            keys = KeySet(config.jwk_url, get, self._clock, self._emit, config.algorithm)
        else:
            algorithm = config.algorithm or ""
            keys = FixedKey(fixed_key(algorithm, config.key_text or ""), algorithm)
        return Verifier(config, keys, self._clock)

    @property
    def open(self) -> bool:
        """Whether nobody is asked who he is."""
        return self._config is None

    def reconfigure(self, config: AuthConfig | None) -> None:
        """Take on another configuration. What was let in by the old one has to ask again: ``watch`` tells."""
        self._former += [verifier.keys for verifier in self._verifiers]
        self._use(config)
        for told in list(self._watchers):
            told()

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Have ``told`` called whenever sessions are void because of ``reconfigure``; gives what ends that."""
        self._watchers.add(told)
        return lambda: self._watchers.discard(told)

    async def close(self) -> None:
        """Give up what is under way."""
        for keys in [*self._former, *(verifier.keys for verifier in self._verifiers)]:
            await keys.close()

    async def authenticate(self, credentials: Credentials) -> Session:
        """Who shows these. RequestError, with Hasura's codes and words, if that is nobody."""
        if self._config is None:
            return Session()
        secret = credentials.admin_secret()
        if secret is not None:
            return self._by_secret(secret, credentials)
        found = self._token(credentials)
        if found is not None:
            return await self._by_token(*found, credentials.get(ROLE))
        if self._config.unauthorized_role is not None:
            return Session(role=self._config.unauthorized_role)
        if self._verifiers:
            raise RequestError("invalid-headers", _TOKEN_MISSING)
        raise RequestError("access-denied", _SECRET_MISSING)

    def _by_secret(self, secret: str, credentials: Credentials) -> Session:
        given = _digest(secret)
        # all of them, and digests: the time taken tells neither which one nor how much of it was right
        if not sum(hmac.compare_digest(given, known) for known in self._secrets):
            raise RequestError("access-denied", _SECRET_WRONG)
        return Session(credentials.get(ROLE) or ADMIN, credentials.session_variables())

    def _token(self, credentials: Credentials) -> tuple[str, HeaderConfig] | None:
        places = {_place(verifier.config.header): verifier.config.header for verifier in self._verifiers}
        found = [
            (token, place) for place in places.values() if (token := credentials.token(place)) is not None
        ]
        if len(found) > 1:
            raise RequestError("invalid-headers", "there are several tokens, in different headers; send one")
        return found[0] if found else None

    async def _by_token(self, token: str, place: HeaderConfig, wanted: str | None) -> Session:
        said = unverified(token)
        verifier = _issuer_of(said, [v for v in self._verifiers if _place(v.config.header) == _place(place)])
        claims, expires_at_s = await verifier.verify(said)
        role, variables = role_and_variables(claims, verifier.config, wanted)
        return Session(role, variables, expires_at_s)


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


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()

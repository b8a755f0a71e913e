"""From what a request shows to who is asking: one way for HTTP and WebSockets."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from tycostream.auth.api_token import PREFIX
from tycostream.auth.credentials import ADMIN_SECRETS, ROLE, Credentials
from tycostream.auth.denied import Denied, Reason, not_allowed, several_tokens
from tycostream.auth.expiry import Expiries
from tycostream.auth.limiter import Limiter
from tycostream.auth.revocations import Revocations
from tycostream.auth.session import ADMIN, Session
from tycostream.auth.tokens import Tokens
from tycostream.clock import Clock
from tycostream.config.auth import AuthConfig, HeaderType
from tycostream.errors import RequestError, TooMany
from tycostream.observe.events import Authenticated, AuthenticationFailed, Emit

if TYPE_CHECKING:
    from tycostream.auth.issuers import Issuers

_SECRET_WRONG: Final = f'invalid "{ADMIN_SECRETS[0]}"/"{ADMIN_SECRETS[1]}"'
_SECRET_MISSING: Final = f"{ADMIN_SECRETS[0]}/{ADMIN_SECRETS[1]} required, but not found"
_TOKEN_MISSING: Final = "Missing 'Authorization' or 'Cookie' header in JWT authentication mode"  # noqa: S105


class Authenticator:
    """Says who is asking. Without a configuration everybody is admin, and the server keeps to this machine.

    ``tokens``: the API tokens of ``state``, if there is one. ``limiter``: counts secrets that are wrong.
    ``revocations``: absent: this process's own.
    """

    def __init__(
        self,
        config: AuthConfig | None,
        clock: Clock,
        emit: Emit,
        tokens: Tokens | None = None,
        limiter: Limiter | None = None,
        revocations: Revocations | None = None,
    ) -> None:
        self._limiter = limiter
        self._clock = clock
        self._emit = emit
        self.expiries = Expiries(clock)
        self._watchers: set[Callable[[], None]] = set()
        self._former: list[Issuers] = []
        self.era = 0  # how often it was configured anew; what was let in by an earlier one is void
        self.tokens = tokens
        self.revocations = Revocations(None, clock, emit) if revocations is None else revocations
        self._use(config)

    def _use(self, config: AuthConfig | None) -> None:
        self._config = config
        self._secrets = [_digest(secret) for secret in config.admin_secrets] if config is not None else []
        self._issuers: Issuers | None = None
        if config is not None and config.jwt:
            from tycostream.auth.issuers import Issuers  # only who takes tokens pays for their libraries

            self._issuers = Issuers(config.jwt, self._clock, self._emit)

    @property
    def open(self) -> bool:
        """Whether nobody is asked who he is."""
        return self._config is None

    @property
    def now_s(self) -> float:
        """The time of day by which sessions end: seconds since 1970."""
        return self._clock.time()

    @property
    def keep_s(self) -> float:
        """How long a token may live that does not say it."""
        return (self._config or AuthConfig()).revocations_keep.total_seconds()

    @property
    def cookies(self) -> frozenset[str]:
        """The names of the cookies that may hold a token."""
        issuers = self._config.jwt if self._config is not None else ()
        return frozenset(each.header.name or "" for each in issuers if each.header.type is HeaderType.COOKIE)

    def reconfigure(self, config: AuthConfig | None) -> None:
        """Take on another configuration. What was let in by the old one has to ask again: ``watch`` tells."""
        if self._issuers is not None:
            self._former.append(self._issuers)
        self._use(config)
        self.era += 1
        for told in list(self._watchers):
            told()

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Have ``told`` called whenever sessions are void because of ``reconfigure``; gives what ends that."""
        self._watchers.add(told)
        return lambda: self._watchers.discard(told)

    def watch_token(self, session: Session, told: Callable[[], None]) -> Callable[[], None]:
        """Have ``told`` called when the API token of a session is revoked, at once if it was; gives what ends that."""
        if session.token is None or not session.token.api or self.tokens is None:
            return lambda: None
        return self.tokens.watch(session.token.id, told)

    def start(self) -> None:
        """Begin to hear of what other processes revoke."""
        if self.tokens is not None:
            self.tokens.start()
        self.revocations.start()

    async def close(self) -> None:
        """Give up what is under way."""
        for issuers in (*self._former, self._issuers):
            if issuers is not None:
                await issuers.close()
        await self.revocations.close()
        if self.tokens is not None:
            await self.tokens.close()

    async def authenticate(self, credentials: Credentials) -> Session:
        """Who shows these. RequestError, with Hasura's codes and words, if that is nobody."""
        if self._config is None:
            return Session()
        try:
            by, session = await self._identified(self._config, credentials)
            await self.revocations.check(session)
        except RequestError as error:
            self._emit(
                AuthenticationFailed(
                    credentials.transport, credentials.client_ip, error.code, _reason(error).value
                )
            )
            raise
        token = session.token.id if session.token is not None else ""
        shown = credentials.transport, credentials.client_ip
        self._emit(Authenticated(*shown, session.role, by, session.user, token))
        return replace(session, client_ip=credentials.client_ip)

    async def is_admin(self, credentials: Credentials) -> bool:
        """Whether an admin shows these. That somebody shows nothing is no failure where nothing is asked for."""
        if self._config is None:
            return True
        names = {
            *ADMIN_SECRETS,
            "authorization",
            *(self._issuers.headers if self._issuers is not None else ()),
        }
        if not any(credentials.has(name) for name in names):
            return False
        try:
            return (await self.authenticate(credentials)).admin
        except RequestError:
            return False

    async def _identified(self, config: AuthConfig, credentials: Credentials) -> tuple[str, Session]:
        secret = credentials.admin_secret()
        if secret is not None:
            return "admin-secret", self._by_secret(secret, credentials)
        issuers = self._issuers  # those of now, whatever happens while keys are fetched
        bearer = credentials.bearer()
        if bearer is not None and (
            bearer.startswith(PREFIX) or (issuers is None and self.tokens is not None)
        ):
            if issuers is not None and issuers.shown_beside(credentials):
                raise several_tokens()
            return "token", await self._by_token(bearer, credentials)
        session = await issuers.authenticate(credentials) if issuers is not None else None
        if session is not None:
            return "jwt", session
        if config.unauthorized_role is not None:
            return "nothing", Session(config.unauthorized_role)
        if issuers is not None or self.tokens is not None:
            raise Denied("invalid-headers", _TOKEN_MISSING, Reason.MISSING)
        raise Denied("access-denied", _SECRET_MISSING, Reason.MISSING)

    def _by_secret(self, secret: str, credentials: Credentials) -> Session:
        if self._limiter is not None:
            self._limiter.secret(credentials.client_ip)
        given = _digest(secret)
        # all of them, and digests: the time taken tells neither which one nor how much of it was right
        if not sum(hmac.compare_digest(given, known) for known in self._secrets):
            if self._limiter is not None:
                self._limiter.wrong_secret(credentials.client_ip)
            raise Denied("access-denied", _SECRET_WRONG, Reason.SECRET_WRONG)
        return Session(credentials.get(ROLE) or ADMIN, credentials.session_variables())

    async def _by_token(self, secret: str, credentials: Credentials) -> Session:
        if self.tokens is None:
            raise Denied("access-denied", "this server takes no API tokens", Reason.TOKEN_UNKNOWN)
        wanted = credentials.get(ROLE)  # looked at before the state is asked
        session = await self.tokens.session(secret)
        if wanted not in (None, session.role):
            raise not_allowed()
        return session


def _reason(error: RequestError) -> Reason:
    if isinstance(error, Denied):
        return error.reason
    return Reason.TOO_OFTEN if isinstance(error, TooMany) else Reason.MALFORMED


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()

"""How much each client may ask: rates of requests, operations and wrong secrets, and queries at once.

A client is a user, by the session variable that ``limits.user`` names, or an address. Of IPv6 an address is its /64: who
has one such address has them all. Each role has rates of its own, so one role's clients never use up another's.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
from collections.abc import Hashable, Iterator
from hashlib import sha256
from typing import Final

from tycostream.auth.buckets import Buckets
from tycostream.auth.connections import Connections
from tycostream.auth.counts import Counts
from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.config.limits import LimitsConfig, OwnLimits
from tycostream.config.rates import Rate
from tycostream.errors import RequestError, TooMany
from tycostream.observe.events import Emit, LimitReached

_PREFIX: Final = "x-hasura-"
_KEY_CHARACTERS_MAX: Final = 64  # of what is kept of a user's name: it may be as long as a token
_RATES: Final = ("operations_per_user", "operations_per_ip", "operations_per_role")


class Limiter:
    """One for the whole process. Refusals are TooMany, and events."""

    def __init__(self, limits: LimitsConfig, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self.connections = Connections(self)
        self._answering = Counts()
        self._use(limits)

    def _use(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self._common = limits.of("")
        self._own = {role: limits.of(role) for role in limits.per_role}
        self._user = limits.user.removeprefix(_PREFIX)
        self._buckets = {
            name: Buckets(self._clock) for name in (*_RATES, "requests_per_ip", "wrong_secrets_per_ip")
        }

    def reconfigure(self, limits: LimitsConfig) -> None:
        """Take on other limits. All buckets are full then; what is open or at work stays counted."""
        if limits != self._limits:
            self._use(limits)

    @property
    def limits(self) -> LimitsConfig:
        """The limits of now."""
        return self._limits

    def of(self, role: str) -> OwnLimits:
        """The limits of a role."""
        return self._own.get(role, self._common)

    # who

    def client(self, session: Session) -> Hashable:
        """Whom a session counts for: the user that it names; the address that it comes from, if it names none."""
        user = session.variables.get(self._user) or session.user
        if not user:
            return "ip", network(session.client_ip)
        return "user", user if len(user) <= _KEY_CHARACTERS_MAX else sha256(user.encode()).digest()

    # rates

    def request(self, client_ip: str) -> None:
        """A request came in. TooMany if its address sends too many."""
        if self._limits.requests_per_ip is not None:
            self._take("requests_per_ip", self._limits.requests_per_ip, network(client_ip))

    def operation(self, session: Session) -> None:
        """An operation is to start. TooMany if its user, address or role starts too many.

        What is refused by one limit has cost a token of those before it, never of the role: a client that is refused
        takes nothing from the others.
        """
        limits, role = self.of(session.role), session.role
        if limits.operations_per_ip is not None:
            key = role, network(session.client_ip)
            self._take("operations_per_ip", limits.operations_per_ip, key, role)
        if limits.operations_per_user is not None:
            self._take("operations_per_user", limits.operations_per_user, (role, self.client(session)), role)
        if limits.operations_per_role is not None:
            self._take("operations_per_role", limits.operations_per_role, role, role)

    def secret(self, client_ip: str) -> None:
        """An admin secret is to be looked at. TooMany if its address was wrong too often.

        Only secrets can be guessed. To refuse tokens too would let anybody shut out who shares an address with him.
        """
        rate = self._limits.wrong_secrets_per_ip
        if rate is not None:
            wait_s = self._buckets["wrong_secrets_per_ip"].wait_s(network(client_ip), rate)
            if wait_s:
                raise self._too_often("wrong_secrets_per_ip", rate, wait_s)

    def wrong_secret(self, client_ip: str) -> None:
        """An address has shown an admin secret that is none."""
        rate = self._limits.wrong_secrets_per_ip
        if rate is not None:
            self._buckets["wrong_secrets_per_ip"].take(network(client_ip), rate)

    def _take(self, name: str, rate: Rate, key: Hashable, role: str = "") -> None:
        wait_s = self._buckets[name].take(key, rate)
        if wait_s:
            raise self._too_often(name, rate, wait_s, role)

    def _too_often(self, name: str, rate: Rate, wait_s: float, role: str = "") -> TooMany:
        # Hasura's words
        error = TooMany(
            "rate-limit-exceeded", f"rate limit of {rate.count} exceeded", limit=name, retry_after_s=wait_s
        )
        return self.refused(error, role)

    # at once

    @contextlib.contextmanager
    def answering(self, session: Session) -> Iterator[None]:
        """A query is at work until the block ends. TooMany if too many are."""
        most = self.of(session.role).queries_at_once_per_user
        client = self.client(session)
        if self._answering.total >= self._limits.queries_at_once:
            said = f"the server answers {self._limits.queries_at_once} queries at once"
            raise self.refused(
                TooMany("limit-exceeded", said, limit="queries_at_once", busy=True), session.role
            )
        if most is not None and self._answering.of(client) >= most:
            said = f"{most} queries of one user may be answered at once"
            raise self.refused(
                TooMany("limit-exceeded", said, limit="queries_at_once_per_user"), session.role
            )
        self._answering.add(client)
        try:
            yield
        finally:
            self._answering.remove(client)

    def refused(self, error: TooMany, role: str = "") -> TooMany:
        """``error``, told to whoever counts."""
        self._emit(LimitReached(error.limit, role))
        return error

    def note(self, role: str, error: RequestError) -> None:
        """Tell of an error that others made, if a limit is its reason."""
        if error.limit and not isinstance(error, TooMany):
            self._emit(LimitReached(error.limit, role))


@functools.lru_cache(maxsize=4096)
def network(client_ip: str) -> str:
    """What an address counts as: itself, and of IPv6 its /64. What is no address counts as it is written."""
    if ":" not in client_ip:
        return client_ip
    try:
        address = ipaddress.IPv6Address(client_ip.partition("%")[0])
    except ValueError:
        return client_ip
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else f"{int(address) >> 64:016x}::/64"

"""The admin API's values, as JSON has them. Times are ISO 8601 in UTC; docs/admin.md is made for readers of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field


class OperationAnswer(Struct, frozen=True):
    """One operation of a client. ``kind``: query, live, feed or stream; ``waiting``: it has more to send than the socket takes."""

    id: str
    name: str
    kind: str
    sources: Sequence[str]
    since: str | None
    messages: int
    rows: int
    waiting: bool


class ConnectionAnswer(Struct, frozen=True):
    """One client. ``expires_at``: null if its session does not end by itself; ``token``: its id, never the token."""

    id: str
    transport: str
    client_ip: str
    since: str | None
    role: str | None
    user: str
    token: str
    expires_at: str | None
    unsent_bytes: int
    operations: Sequence[OperationAnswer]
    operations_total: int


class SessionsAnswer(Struct, frozen=True):
    """A page of the clients of this process. ``next``: what to pass as ``after`` for the next one; null: there is none."""

    connections: Sequence[ConnectionAnswer]
    total: int
    next: str | None


class RevokeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose sessions are to end: those for which all of it holds; one of them is there at least."""

    token: str = ""
    user: str = ""
    role: str = ""
    connection: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


class RevokedAnswer(Struct, frozen=True):
    """What a revocation did. ``shared``: other servers of the same `state` hear of it within a second."""

    id: str
    connections: int
    api_tokens: int
    remembered_until: str | None
    shared: bool


class DatabaseAnswer(Struct, frozen=True):
    """A database: its feed's state, why if it is not live, and its circuit breaker's."""

    name: str
    engine: str
    state: str
    reason: str
    breaker: str
    sources: int


class SourceAnswer(Struct, frozen=True):
    """A source. ``bytes``: about what its rows take; ``log_bytes`` and ``encoded_bytes``: what is kept besides."""

    name: str
    database: str
    state: str
    reason: str
    remark: str
    rows: int
    bytes: int
    log_bytes: int
    encoded_bytes: int
    cohorts: int


class CohortAnswer(Struct, frozen=True):
    """Operations that are answered together."""

    kind: str
    sources: Sequence[str]
    role: str
    members: int
    stale: bool


class RatesAnswer(Struct, frozen=True):
    """A second, over the last ten."""

    changes: float
    messages: float
    bytes: float


class StateAnswer(Struct, frozen=True):
    """A whole server. ``cohorts``: those with the most members; ``totals``: since the start."""

    version: str
    ready: bool
    uptime_s: float
    connections: int
    operations: int
    cohorts_total: int
    databases: Sequence[DatabaseAnswer]
    sources: Sequence[SourceAnswer]
    cohorts: Sequence[CohortAnswer]
    rates: RatesAnswer
    totals: RatesAnswer
    revocations: int

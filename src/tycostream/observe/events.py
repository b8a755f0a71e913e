"""What the core tells the world: typed events, per batch or per state, never per row. Sinks are one file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedStateChanged:
    """A database's feed, or one source of it (``source`` set), changed its state."""

    database: str
    state: str
    source: str | None = None
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamNotice:
    """A database sent a notice, such as a replica's change of status."""

    database: str
    text: str


@dataclass(frozen=True, slots=True)
class SlotKeepsLog:
    """How many bytes of its log a PostgreSQL keeps for our permanent slot; ``warn``: from now on more than `slot_warn`."""

    database: str
    slot: str
    bytes: int
    warn: bool


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """The circuit breaker of a database (or of one failed source) opened, tries again, or closed."""

    database: str
    state: str
    source: str | None = None
    failures: int = 0


@dataclass(slots=True)
class BatchApplied:
    """A batch went through the hub. Not frozen, for one is made of every batch, and that would take three times as long."""

    database: str
    changes: int
    cohorts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CohortQuarantined:
    """An exception inside one cohort ended its operations; nothing else was disturbed."""

    source: str
    error: str


@dataclass(frozen=True, slots=True)
class EnumLabelUnlisted:
    """The database holds a label that the configuration does not list; it is shown as null."""

    enum: str
    label: str


@dataclass(frozen=True, slots=True)
class RelationshipUnfit:
    """A relationship of the configuration does not fit the columns that the databases have; ``served``: it is nullable."""

    source: str
    relationship: str
    reason: str
    hint: str
    served: bool


@dataclass(frozen=True, slots=True)
class PermissionUnfit:
    """A permission of the configuration does not fit the columns that the database has: nobody sees anything by it."""

    source: str
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceRerun:
    """A view or query was run again, and its difference is told. ``lag_s``: since the first change that it shows."""

    database: str
    source: str
    rows: int
    changes: int
    seconds: float
    lag_s: float


@dataclass(frozen=True, slots=True)
class RerunsBehind:
    """The re-runs of a source cannot keep up: each takes longer than `live.interval` and more is due at its end."""

    database: str
    source: str
    behind: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class KeysFetched:
    """The keys of a token issuer were fetched. ``url`` is without its query."""

    url: str
    keys: int


@dataclass(frozen=True, slots=True)
class KeysUnavailable:
    """The keys of a token issuer could not be fetched; ``kept``: those of before are used meanwhile."""

    url: str
    reason: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Somebody was let in. ``by``: admin-secret, jwt, token or nothing (the unauthorized role); ``token``: its id."""

    transport: str
    client_ip: str
    role: str
    by: str
    user: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class AuthenticationFailed:
    """Somebody was not let in: the error's code, and the reason, one of docs/errors.md. Nothing of what was shown."""

    transport: str
    client_ip: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """An API token was revoked, here or by another process: its sessions have ended. ``token`` is its id."""

    token: str


@dataclass(frozen=True, slots=True)
class SessionsRevoked:
    """Sessions were revoked, here or by another process: by what, and how many of this process ended."""

    token: str
    user: str
    role: str
    connection: str
    ended: int


@dataclass(frozen=True, slots=True)
class StateUnavailable:
    """What `state` names does not answer: API tokens that are known go on for an hour, others are refused."""

    code: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class StateAvailable:
    """What `state` names answers again."""


@dataclass(frozen=True, slots=True)
class CertificateServed:
    """The port serves this certificate from now on. ``days_left``: until it expires, whole ones."""

    names: str
    days_left: int


@dataclass(frozen=True, slots=True)
class CertificateExpires:
    """The port's certificate expires soon, or has: told once a day. What is served is not changed by it."""

    names: str
    days_left: int
    expired: bool


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A client connected. ``peer`` is the other end of the socket; ``client_ip`` whom it asks for, if that is a proxy."""

    transport: str
    peer: str
    client_ip: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A client's connection ended, with its close code (0: none)."""

    transport: str
    peer: str
    code: int
    reason: str
    client_ip: str = ""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request, or the upgrade to a WebSocket, that was refused before anybody was asked who sent it."""

    transport: str
    client_ip: str
    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LimitReached:
    """Something was refused because a client, or all of them, asked for too much. ``limit`` is the setting's name."""

    limit: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class OperationFailed:
    """A client's operation was refused or ended with an error."""

    code: str
    message: str
    internal: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked for. ``connection`` is its id in the admin API; ``document`` the SHA-256 of the text, ``name``
    what the client calls the operation.
    """

    connection: str
    transport: str
    client_ip: str
    role: str
    user: str
    token: str
    name: str
    document: str


@dataclass(frozen=True, slots=True)
class OperationStarted:
    """An operation of a client began. ``operation`` is a number of this process: its end has the same one."""

    operation: int
    asked: Asked
    kind: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperationEnded:
    """An operation ended. ``reason``: completed, client, disconnected, or the code of the error that ended it.

    ``rows``: those sent, or changes, each as often as it was; rows nested in others do not count.
    """

    operation: int
    asked: Asked
    kind: str
    sources: tuple[str, ...]
    reason: str
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class OperationRefused:
    """An operation was refused before it began: a field that the role has not, a limit, a document that is not allowed."""

    asked: Asked
    code: str
    message: str
    path: str


@dataclass(frozen=True, slots=True)
class AuditUnavailable:
    """The audit log cannot be written."""

    reason: str
    hint: str


Event = (
    FeedStateChanged
    | UpstreamNotice
    | SlotKeepsLog
    | BreakerChanged
    | BatchApplied
    | CohortQuarantined
    | EnumLabelUnlisted
    | RelationshipUnfit
    | PermissionUnfit
    | SourceRerun
    | RerunsBehind
    | KeysFetched
    | KeysUnavailable
    | Authenticated
    | AuthenticationFailed
    | TokenRevoked
    | SessionsRevoked
    | StateUnavailable
    | StateAvailable
    | CertificateServed
    | CertificateExpires
    | ConnectionOpened
    | ConnectionClosed
    | RequestRefused
    | LimitReached
    | OperationFailed
    | OperationStarted
    | OperationEnded
    | OperationRefused
    | AuditUnavailable
)
Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """An Emit that tells nobody: for tests and tools."""


def event_name(event: Event) -> str:
    """What logs call an event: its class in small letters, operation_ended."""
    words = [letter if letter.islower() else f"_{letter.lower()}" for letter in type(event).__name__]
    return "".join(words).lstrip("_")

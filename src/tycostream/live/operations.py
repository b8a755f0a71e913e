"""What a transport needs of the core: prepare an operation, answer it, subscribe to it, and say whether all is well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.limiter import Limiter
from tycostream.auth.session import Session
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan
from tycostream.graphql.trusted import DocumentId
from tycostream.live.clients import Clients
from tycostream.live.framing import Framing, Sink
from tycostream.live.outbox import Outbox
from tycostream.live.subscriber import Told


class Subscription(Protocol):
    """A running subscription, from its connection's side."""

    def cancel(self) -> None:
        """The client ended it, or is gone. Idempotent; nothing is sent for it afterwards."""

    def keeps(self, session: Session) -> bool:
        """Its client is another session now, of the same user: whether it goes on as it is, for that sees the same."""

    def fail(self, error: RequestError) -> None:
        """The server ends it with an error, its last message. Idempotent."""

    @property
    def outcome(self) -> str:
        """How it ended, once it has: ``completed``, or the code of its error."""

    @property
    def told(self) -> Told:
        """What it was sent."""

    @property
    def waiting(self) -> bool:
        """Whether it has something to send that its turn, or the socket, holds up."""


class Operations(Protocol):
    """The core, from the transports' side. Nothing here awaits, but a query over many rows."""

    @property
    def authenticator(self) -> Authenticator:
        """Says who is asking."""

    @property
    def clients(self) -> Clients:
        """Everybody who is connected: a transport says who comes and goes."""

    @property
    def limiter(self) -> Limiter:
        """Says how much each may ask."""

    def prepare(
        self,
        query: str | DocumentId,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
        after: str | None = None,
    ) -> Plan:
        """Compile and bind an operation; InvalidRequest lists what is wrong with it.

        ``after``: the cursor that a change feed goes on from, whatever its own argument says; nothing to other operations.

        TooMany if the session's user, address or role starts too many.
        """

    async def query(self, plan: Plan, session: Session, count: Callable[[int], None]) -> bytes:
        """Answer a one-shot query: the whole payload as JSON, true at one moment. Raises RequestError.

        ``session``: whose limits of time and of queries at once hold. ``count`` is told how many rows it has.

        Over few rows it never awaits; over many it lets the event loop go on between slices. May be cancelled.
        """

    def outbox(self, framing: Framing, sink: Sink) -> Outbox:
        """The way out of a new connection."""

    def subscribe(
        self,
        plan: Plan,
        outbox: Outbox,
        operation_id: bytes,
        on_end: Callable[[], None],
        session: Session,
    ) -> Subscription:
        """Start a subscription. ``operation_id`` is JSON-escaped, without quotes.

        ``on_end`` is called when the server ends it, its last message already queued. Raises RequestError.
        """

    def ready(self) -> tuple[bool, list[dict[str, object]]]:
        """Whether every source is live, and for each source its state and the reason."""

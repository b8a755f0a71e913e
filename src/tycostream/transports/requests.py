"""One operation of an HTTP request: it ends when its session does, before its answer if need be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

from tycostream.auth.denied import expired, revoked
from tycostream.auth.expiry import Expiry
from tycostream.auth.session import Session
from tycostream.graphql.plan import Plan
from tycostream.graphql.trusted import DocumentId
from tycostream.live.clients import RunningOperation, running_operation
from tycostream.live.deadline import Interruptible
from tycostream.live.operations import Operations
from tycostream.live.subscriber import Told
from tycostream.observe.events import Emit
from tycostream.transports.activity import Activity


class RunningRequest(Interruptible):
    """A context around what is done for a session, and a Client as long: the error that ends it is raised from it at the moment the session does."""

    transport = "http"
    unsent_bytes = 0

    def __init__(self, operations: Operations, session: Session) -> None:
        super().__init__()
        self._clients = operations.clients
        self._authenticator = operations.authenticator
        self.session = session
        self.client_ip = session.client_ip
        self.since_s = operations.authenticator.now_s
        self.name = ""
        self.plan: Plan | None = None  # once it is known
        self._number = ""
        self._activity: Activity | None = None
        self._expiry: Expiry | None = None
        self._unwatch: Callable[[], None] = _nothing
        self._api = session.token is not None and session.token.api

    def __enter__(self) -> RunningRequest:
        if self.session.expires_at_s is not None:
            self._expiry = self._authenticator.expiries.at(
                self.session.expires_at_s, lambda: self.end(expired(api=self._api))
            )
        self._unwatch = self._authenticator.watch_token(
            self.session, lambda: self.end(revoked(api=self._api))
        )
        try:
            super().__enter__()
        except BaseException:
            self._leave()
            raise
        self._number = self._clients.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        self._leave()
        if self._activity is not None:  # and it was not answered
            self._activity.ended("disconnected" if self._over is None else self._over.code, 0)
        super().__exit__(kind, raised, where)

    def _leave(self) -> None:
        self._clients.leave(self._number)
        self._unwatch()
        if self._expiry is not None:
            self._expiry.cancel()

    def asks(self, emit: Emit, query: str | DocumentId, name: str) -> Activity:
        """What it asks for is known."""
        self._activity = Activity(
            emit,
            lambda: self._authenticator.now_s,
            connection=self._number,
            transport=self.transport,
            client_ip=self.client_ip,
            session=self.session,
            query=query,
            name=name,
        )
        return self._activity

    def operations(self) -> Iterator[RunningOperation]:
        """See Client."""
        if self.plan is not None:
            yield running_operation("", self.name, self.plan, self.since_s, Told(0, 0), waiting=False)

    def revoke(self) -> None:
        """See Client."""
        self.end(revoked(api=self._api))


def _nothing() -> None:
    """What ends a watch that was never begun."""

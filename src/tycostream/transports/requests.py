"""One operation of an HTTP request: it ends when its session does or its client goes, before its answer if need be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from tycostream.auth.session import Session
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan
from tycostream.graphql.trusted import DocumentId
from tycostream.live.clients import Client, RunningOperation, running_operation
from tycostream.live.deadline import Interruptible
from tycostream.live.operations import Operations
from tycostream.live.subscriber import Told
from tycostream.observe.events import Emit
from tycostream.transports.activity import Activity
from tycostream.transports.session_watch import SessionWatch


class Requested(Protocol):
    """The socket that a request came by."""

    def watch(self, gone: Callable[[], None] | None) -> None:
        """Have ``gone`` called when its client goes, at once if he has; None: have nothing called any more."""


def _gone() -> RequestError:
    """The error of what is done for somebody who is not there any more: for the audit log, nobody is told."""
    return RequestError("disconnected", "the client is gone")


class RunningRequest(Interruptible):
    """A context around what is done for a session, and a Client as long: the error that ends it is raised from it at the moment the session does."""

    unsent_bytes = 0

    def __init__(
        self,
        operations: Operations,
        session: Session,
        socket: Requested | None = None,
        transport: str = "http",
    ) -> None:
        """``socket``: None where nothing tells that a client goes."""
        super().__init__()
        self._clients = operations.clients
        self._authenticator = operations.authenticator
        self.transport = transport
        self.session = session
        self.client_ip = session.client_ip
        self.since_s = operations.authenticator.now_s
        self.name = ""
        self.plan: Plan | None = None  # once it is known
        self.number = ""
        self._socket = socket
        self._handed_over = False
        self._activity: Activity | None = None
        self._watch: SessionWatch | None = None

    def __enter__(self) -> RunningRequest:
        self._watch = SessionWatch(self._authenticator, self.session, self.end)
        if self._socket is not None:
            self._socket.watch(lambda: self.end(_gone()))
        try:
            super().__enter__()
        except BaseException:
            self._leave()
            raise
        self.number = self._clients.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        self._leave()
        if self._activity is not None:  # and it was not answered
            self._activity.ended("disconnected" if self._over is None else self._over.code, 0)
        super().__exit__(kind, raised, where)

    def _leave(self) -> None:
        if not self._handed_over:
            self._clients.leave(self.number)
        if self._socket is not None:
            self._socket.watch(None)
        if self._watch is not None:
            self._watch.cancel()

    def hand_over(self, client: Client) -> None:
        """``client`` goes on in its place, under its number, with an activity of its own."""
        self._clients.replace(self.number, client)
        self._handed_over = True
        self._activity = None

    def asks(self, emit: Emit, query: str | DocumentId, name: str, transport: str = "") -> Activity:
        """What it asks for is known. ``transport``: by what it will be answered, if that is another one."""
        self._activity = Activity(
            emit,
            lambda: self._authenticator.now_s,
            connection=self.number,
            transport=transport or self.transport,
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
        assert self._watch is not None, "it is a client as long as it is entered"
        self._watch.revoke()

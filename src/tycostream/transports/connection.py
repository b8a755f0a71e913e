"""One client's connection, whatever carries it: its operations, from protocol events to frames."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tycostream.auth.connections import Slot
from tycostream.auth.credentials import Credentials
from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.config.model import ServerConfig
from tycostream.errors import RequestError
from tycostream.graphql.execute import InvalidRequest
from tycostream.graphql.plan import Plan
from tycostream.live.clients import RunningOperation, running_operation
from tycostream.live.framing import Sink
from tycostream.live.operations import Operations, Subscription
from tycostream.observe.events import Emit, LimitReached, OperationFailed
from tycostream.transports.activity import Activity
from tycostream.transports.answers import Answers
from tycostream.transports.sessions import ClientSession, changed_session
from tycostream.transports.wire.transport_ws import (
    ACK,
    FRAMING,
    PONG,
    SUBPROTOCOL,
    Close,
    Complete,
    Init,
    Ping,
    Subscribe,
    TransportWsProtocol,
    escaped,
    pong,
)


class Socket(Sink, Protocol):
    """The Sink of a connection."""

    @property
    def unsent_bytes(self) -> int:
        """What it was handed and has not sent yet."""


@dataclass(frozen=True, slots=True)
class Running:
    """An operation that goes on, as its client knows it."""

    subscription: Subscription
    plan: Plan
    name: str
    since_s: float
    activity: Activity

    def ended(self, reason: str) -> None:
        """It is over."""
        self.activity.ended(reason, self.subscription.told.rows)


class Connection:
    """Feeds messages to the protocol and runs what they ask for. Never awaits; ``lost`` frees everything.

    A query is an operation like a subscription: it counts, it can be ended, and it is sent when its turn comes.
    """

    def __init__(
        self,
        operations: Operations,
        sink: Socket,
        clock: Clock,
        emit: Emit,
        *,
        config: ServerConfig,
        headers: Credentials,
        client_ip: str,
        slot: Slot,
        bound: Callable[[int], None],
    ) -> None:
        """``slot``: its place among all; ``bound``: takes on another bound of messages, in bytes."""
        self.transport = SUBPROTOCOL
        self.client_ip = client_ip  # see Caller
        self.since_s = clock.time()
        self._clock = clock
        self.outbox = operations.outbox(FRAMING, sink)
        self.protocol = TransportWsProtocol()
        self._operations = operations
        self._sink = sink
        self._emit = emit
        self._config = config
        self._slot = slot
        self._bound = bound
        self._operations_max = config.operations_max
        self._client = ClientSession(operations.authenticator, sink, emit, headers)
        self._answers = Answers(self.outbox, emit)
        self._running: dict[str, Running] = {}
        self.number = operations.clients.enter(self)

    @property
    def initialised(self) -> bool:
        """Whether connection_init was seen."""
        return self.protocol.initialised

    def receive(self, text: str | bytes) -> None:
        """One text message of the client."""
        match self.protocol.feed(text):
            case Init(payload):
                self._greet(payload)
            case Ping(payload):
                if not self._client.refresh(payload, self._changed, self._pong):
                    self.outbox.control(PONG)
            case Subscribe() as request:
                self._start(request)
            case Complete(operation_id):
                self.protocol.active.discard(operation_id)
                ended = self._running.pop(operation_id, None)
                if ended is not None:
                    ended.subscription.cancel()
                    ended.ended("client")
            case Close(code, reason):
                self._sink.abort(code, reason)

    def _greet(self, payload: Mapping[str, object]) -> None:
        self.protocol.waiting = True
        self._client.greet(payload, self._known)

    def _known(self) -> None:
        if self._may_stay():
            self.protocol.waiting = False
            self.outbox.control(ACK)

    def _may_stay(self) -> bool:
        """Hold the connection to the limits of its session; it is closed if its user has too many."""
        session = self._client.session
        self._slot.belongs_to(session)
        if self._slot.refusal is not None:
            self._sink.abort(4429, self._slot.refusal.message)
            return False
        limits, config = self._operations.limiter.of(session.role), self._config
        self._operations_max = limits.operations_max or config.operations_max
        self.outbox.bytes_max = limits.outbox_bytes_max or config.outbox_bytes_max
        self._bound(limits.message_bytes_max or config.message_bytes_max)
        return True

    def _changed(self, before: Session) -> None:
        """The session is another one: what it sees otherwise than ``before`` ends."""
        if not self._may_stay():
            return
        session = self._client.session
        for running in list(self._running.values()):
            if not running.subscription.keeps(session):
                running.subscription.fail(changed_session())

    def _pong(self, payload: Mapping[str, object]) -> None:
        self.outbox.control(pong(payload))

    def _start(self, request: Subscribe) -> None:
        wire_id = escaped(request.id)
        activity = self._activity(request)
        try:
            if len(self._running) >= self._operations_max:
                raise self._too_many()
            plan = self._operations.prepare(
                request.query, request.operation_name, request.variables, self._client.session
            )
            activity.began(plan)
            # active before it starts: a source that fails at once ends it again
            self.protocol.active.add(request.id)
            running: Subscription
            if plan.subscription:
                session, ender = self._client.session, self._ender(request.id)
                running = self._operations.subscribe(plan, self.outbox, wire_id, ender, session)
            else:
                query = functools.partial(self._operations.query, plan, self._client.session)
                running = self._answers.answer(wire_id, query, self._ender(request.id), plan)
            if request.id in self.protocol.active:
                named = request.operation_name or ""
                self._running[request.id] = Running(running, plan, named, self._clock.time(), activity)
            else:
                activity.ended(running.outcome, running.told.rows)
        except InvalidRequest as invalid:
            self._refuse(request.id, wire_id, invalid.errors, activity)
        except RequestError as error:
            self._refuse(request.id, wire_id, (error,), activity)
        except Exception as error:
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            self._refuse(request.id, wire_id, (RequestError("unexpected", "internal error"),), activity)

    def _activity(self, request: Subscribe) -> Activity:
        return Activity(
            self._emit,
            self._clock.monotonic,
            connection=self.number,
            transport=self.transport,
            client_ip=self.client_ip,
            session=self._client.session,
            query=request.query,
            name=request.operation_name or "",
        )

    def _too_many(self) -> RequestError:
        self._emit(LimitReached("operations_max", self._client.session.role))
        return RequestError(
            "limit-exceeded",
            f"a connection may run {self._operations_max} operations",
            hint="end some, or open another connection; server.operations_max is the limit",
        )

    def _refuse(
        self, operation_id: str, wire_id: bytes, errors: tuple[RequestError, ...], activity: Activity
    ) -> None:
        activity.refused(errors)
        self.protocol.active.discard(operation_id)
        self._running.pop(operation_id, None)
        self.outbox.control(FRAMING.error(wire_id, errors))

    def _ender(self, operation_id: str) -> Callable[[], None]:
        def ended() -> None:
            self.protocol.active.discard(operation_id)
            running = self._running.pop(operation_id, None)
            if running is not None:
                running.ended(running.subscription.outcome)

        return ended

    # see Client

    @property
    def session(self) -> Session | None:
        """See Client."""
        return self._client.session if self._client.known else None

    @property
    def unsent_bytes(self) -> int:
        """See Client."""
        return self._sink.unsent_bytes

    def operations(self) -> Iterator[RunningOperation]:
        """See Client."""
        for operation_id, each in self._running.items():
            told, waiting = each.subscription.told, each.subscription.waiting
            yield running_operation(operation_id, each.name, each.plan, each.since_s, told, waiting=waiting)

    def revoke(self) -> None:
        """See Client."""
        self._client.revoke()

    def lost(self) -> None:
        """The socket is gone: end every operation, send nothing."""
        self._operations.clients.leave(self.number)
        self._client.end()
        running, self._running = self._running, {}
        for each in running.values():
            each.subscription.cancel()
            each.ended("disconnected")
        self.outbox.close()

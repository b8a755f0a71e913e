"""One client's connection, whatever carries it: its operations, from protocol events to frames."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping

from tycostream.auth.credentials import Credentials, of_payload
from tycostream.auth.denied import Denied, Reason
from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.errors import RequestError
from tycostream.graphql.execute import InvalidRequest
from tycostream.live.framing import Sink
from tycostream.live.operations import Operations, Subscription
from tycostream.observe.events import Emit, OperationFailed
from tycostream.transports.answers import Answers
from tycostream.transports.sessions import SessionWatch
from tycostream.transports.wire.transport_ws import (
    ACK,
    FRAMING,
    PONG,
    Close,
    Complete,
    Init,
    Ping,
    Subscribe,
    TransportWsProtocol,
    escaped,
)


class Connection:
    """Feeds messages to the protocol and runs what they ask for. Never awaits; ``lost`` frees everything.

    A query is an operation like a subscription: it counts, it can be ended, and it is sent when its turn comes.
    """

    def __init__(
        self,
        operations: Operations,
        sink: Sink,
        clock: Clock,
        emit: Emit,
        *,
        operations_max: int,
        headers: Credentials,
        client_ip: str,
    ) -> None:
        self.client_ip = client_ip  # see Caller
        self.outbox = operations.outbox(FRAMING, sink)
        self.protocol = TransportWsProtocol()
        self._operations = operations
        self._sink = sink
        self._emit = emit
        self._operations_max = operations_max
        self._headers = headers
        self._session = Session()
        self._greeting: asyncio.Task[None] | None = None  # asks who the client is
        self._watch = SessionWatch(operations.authenticator, clock, sink)
        self._answers = Answers(self.outbox, emit)
        self._running: dict[str, Subscription] = {}

    @property
    def initialised(self) -> bool:
        """Whether connection_init was seen."""
        return self.protocol.initialised

    def receive(self, text: str | bytes) -> None:
        """One text message of the client."""
        match self.protocol.feed(text):
            case Init(payload):
                self._greet(payload)
            case Ping():
                self.outbox.control(PONG)
            case Subscribe() as request:
                self._start(request)
            case Complete(operation_id):
                self.protocol.active.discard(operation_id)
                subscription = self._running.pop(operation_id, None)
                if subscription is not None:
                    subscription.cancel()
            case Close(code, reason):
                self._sink.abort(code, reason)

    def _greet(self, payload: Mapping[str, object]) -> None:
        if self._operations.authenticator.open:
            self.outbox.control(ACK)
            return
        self.protocol.waiting = True
        self._watch.begin()  # before the question: what is asked by rules that are void meanwhile must not be let in
        self._greeting = asyncio.get_running_loop().create_task(self._authenticate(payload))

    async def _authenticate(self, payload: Mapping[str, object]) -> None:
        try:
            credentials = of_payload(payload).over(self._headers)
            self._session = await self._operations.authenticator.authenticate(credentials)
        except RequestError as error:
            self._greeting = None
            if isinstance(error, Denied) and error.reason is Reason.UNAVAILABLE:
                self._sink.abort(1013, f"Try again later: {error.message}")
            else:
                self._sink.abort(4403, f"Forbidden: {error.message}")
        except Exception as error:
            self._greeting = None
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            self._sink.abort(1011, "internal error")
        else:
            self._greeting = None
            self.protocol.waiting = False
            self.outbox.control(ACK)
            self._watch.follow(self._session)

    def _start(self, request: Subscribe) -> None:
        wire_id = escaped(request.id)
        try:
            if len(self._running) >= self._operations_max:
                raise RequestError(
                    "limit-exceeded",
                    f"a connection may run {self._operations_max} operations",
                    hint="end some, or open another connection; server.operations_max is the limit",
                )
            plan = self._operations.prepare(
                request.query, request.operation_name, request.variables, self._session
            )
            # active before it starts: a source that fails at once ends it again
            self.protocol.active.add(request.id)
            running: Subscription
            if plan.subscription:
                running = self._operations.subscribe(plan, self.outbox, wire_id, self._ender(request.id))
            else:
                query = functools.partial(self._operations.query, plan)
                running = self._answers.answer(wire_id, query, self._ender(request.id))
            if request.id in self.protocol.active:
                self._running[request.id] = running
        except InvalidRequest as invalid:
            self._refuse(request.id, wire_id, invalid.errors)
        except RequestError as error:
            self._refuse(request.id, wire_id, (error,))
        except Exception as error:
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            self._refuse(request.id, wire_id, (RequestError("unexpected", "internal error"),))

    def _refuse(self, operation_id: str, wire_id: bytes, errors: tuple[RequestError, ...]) -> None:
        self.protocol.active.discard(operation_id)
        self._running.pop(operation_id, None)
        self.outbox.control(FRAMING.error(wire_id, errors))

    def _ender(self, operation_id: str) -> Callable[[], None]:
        def ended() -> None:
            self.protocol.active.discard(operation_id)
            self._running.pop(operation_id, None)

        return ended

    def lost(self) -> None:
        """The socket is gone: end every operation, send nothing."""
        self._watch.end()
        if self._greeting is not None:
            self._greeting.cancel()
        running, self._running = self._running, {}
        for subscription in running.values():
            subscription.cancel()
        self.outbox.close()

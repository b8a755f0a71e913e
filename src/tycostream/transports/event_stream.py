"""A subscription over Server-Sent Events, and its client: a stream has one operation, and lives as long as that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tycostream.config.model import ServerConfig
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan
from tycostream.live.clients import RunningOperation, running_operation
from tycostream.live.framing import Sink
from tycostream.live.operations import Operations, Subscription
from tycostream.live.outbox import Outbox
from tycostream.observe.events import Emit, OperationFailed
from tycostream.transports.activity import Activity
from tycostream.transports.requests import RunningRequest
from tycostream.transports.session_watch import SessionWatch
from tycostream.transports.wire.sse import SseFraming

TRANSPORT = "sse"


class StreamSink(Sink, Protocol):
    """The Sink of a stream."""

    @property
    def unsent_bytes(self) -> int:
        """What it was handed and has not sent yet."""

    def finish(self) -> None:
        """The operation is over: end the stream, once what this turn of the loop writes is written."""


class EventStream:
    """One stream, in the place of the request that asked for it. See Client.

    It is made while that request is held to its session, and begins when the answer's head is written. ``lost`` frees
    everything.
    """

    transport = TRANSPORT

    def __init__(
        self,
        operations: Operations,
        running: RunningRequest,
        plan: Plan,
        activity: Activity,
        emit: Emit,
        framing: SseFraming,
        config: ServerConfig,
    ) -> None:
        self.session = running.session
        self.client_ip = running.client_ip
        self.since_s = running.since_s
        self.number = running.number
        self.outbox: Outbox | None = None
        self.framing = framing
        self._operations = operations
        self._name = running.name
        self._plan = plan
        self._activity = activity
        self._emit = emit
        self._config = config
        self._sink: StreamSink | None = None
        self._subscription: Subscription | None = None
        self._refusal: RequestError | None = None  # what ended it before it began
        self._void = False  # authentication was configured anew, so it was
        self._over = False
        self._unwatch = operations.authenticator.watch(self._voided)
        self._watch = SessionWatch(operations.authenticator, self.session, self._end)
        running.hand_over(self)

    def begin(self, sink: StreamSink) -> None:
        """The head is written, and ``sink`` takes what follows."""
        self._sink = sink
        limits = self._operations.limiter.of(self.session.role)
        self.outbox = self._operations.outbox(self.framing, sink)
        self.outbox.bytes_max = limits.outbox_bytes_max or self._config.outbox_bytes_max
        self._activity.began(self._plan)
        if self._void:
            self._voided()
            return
        try:
            if self._refusal is not None:
                raise self._refusal
            subscription = self._operations.subscribe(self._plan, self.outbox, b"", self._ended, self.session)
        except RequestError as error:
            self._refuse(error)
        except Exception as error:
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
            self._refuse(RequestError("unexpected", "internal error"))
        else:
            self._subscription = subscription
            if self._over:  # its source failed at once
                self._activity.ended(subscription.outcome, subscription.told.rows)

    def _refuse(self, error: RequestError) -> None:
        assert self.outbox is not None
        self.outbox.control(self.framing.error(b"", [error]))
        self._activity.ended(error.code, 0)
        self._ended()

    def _ended(self) -> None:
        """The server ended the operation, its last message is queued."""
        assert self._sink is not None
        assert self.outbox is not None
        self._over = True
        if self._subscription is not None:
            self._activity.ended(self._subscription.outcome, self._subscription.told.rows)
        self.outbox.close()  # what else was due in this turn comes too late
        self._sink.finish()

    def _end(self, error: RequestError) -> None:
        """Its session is over, with what it may see."""
        if self._subscription is not None:
            self._subscription.fail(error)
        elif self._sink is None:
            self._refusal = error

    def _voided(self) -> None:
        self._void = True
        if self._sink is not None:
            self._sink.abort(1012, "authentication was configured anew: connect again")

    def lost(self) -> None:
        """The socket is gone, or takes nothing any more. Idempotent."""
        self._operations.clients.leave(self.number)
        self._unwatch()
        self._watch.cancel()
        subscription, self._subscription = self._subscription, None
        if subscription is not None and not self._over:
            self._over = True
            subscription.cancel()
            self._activity.ended("disconnected", subscription.told.rows)
        self._activity.ended("disconnected", 0)
        if self.outbox is not None:
            self.outbox.close()
        self._sink = None

    # see Client

    @property
    def unsent_bytes(self) -> int:
        """See Client."""
        return 0 if self._sink is None else self._sink.unsent_bytes

    def operations(self) -> Iterator[RunningOperation]:
        """See Client."""
        each = self._subscription
        if each is not None:
            yield running_operation("", self._name, self._plan, self.since_s, each.told, waiting=each.waiting)

    def revoke(self) -> None:
        """See Client."""
        self._watch.revoke()

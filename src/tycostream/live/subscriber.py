"""What all subscribers of a connection share: how they end, how they are framed, and what they were told of staleness."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol, TypeVar

from tycostream.auth.session import Session
from tycostream.clock import Clock, Timer
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan, with_stale
from tycostream.live.outbox import Outbox

NOTHING: Final = Plan(True, (), None)


class Told(NamedTuple):
    """What an operation was sent: messages, and rows or changes in them. Rows nested in others do not count."""

    messages: int
    rows: int


COMPLETED: Final = "completed"


def uncounted(rows: int) -> None:
    """Who asks for a query's rows and not for their number."""


class BaseSubscriber:
    """One client's operation on one connection."""

    def __init__(self, outbox: Outbox, operation_id: bytes, on_end: Callable[[], None]) -> None:
        self.outbox = outbox
        self.operation_id = operation_id
        self.plan = NOTHING  # what it was planned as, for this client; set at once by who makes it
        self.ended = False
        self.outcome = COMPLETED  # see Subscription
        self.told_stale = False  # what the client last heard of its source's staleness; nothing is good news
        self.messages_told = 0
        self.rows_told = 0  # or changes; a row that is told again counts again
        self._timer: Timer | None = None
        self._first: Timer | None = None  # until its first result is sent, if that may take only so long
        self._on_end = on_end
        self.failed: Callable[[RequestError], None] | None = None  # is told of the error that ends it

    def expect_first(self, clock: Clock, limit_s: float) -> None:
        """End it with an error unless its first result is sent within a time."""

        def late() -> None:
            self._first = None
            self.fail(too_late(limit_s))

        if not self.ended:
            self._first = clock.call_later(limit_s, late)

    def answered(self) -> None:
        """Its first result is sent, or there is none to send."""
        if self._first is not None:
            self._first.cancel()
            self._first = None

    def framed(self, payload: bytes, stale: bool) -> bytes:
        """The frame of a payload for this subscriber alone, with the staleness if that is news to it."""
        if self._first is not None:
            self.answered()
        if stale is not self.told_stale:
            self.told_stale = stale
            payload = with_stale(payload, stale)
        parts = self.outbox.framing.next_parts([payload], len(self.operation_id))
        return self.operation_id.join(parts)

    def stop_timer(self) -> None:
        """Forget what was due later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def keeps(self, session: Session) -> bool:
        """See Subscription."""
        if not self.plan.holds_for(session):
            return False
        if self.plan.request is not None:  # what it is planned again for, if what it may see changes
            self.plan = replace(self.plan, request=replace(self.plan.request, session=session))
        return True

    def cancel(self) -> None:
        """The client ended it, or its connection is gone. Idempotent."""
        if not self.ended:
            self.ended = True
            self.stop_timer()
            self.answered()
            self.outbox.forget(self)
            self.left()

    def fail(self, error: RequestError) -> None:
        """The server ends it with an error."""
        if not self.ended:
            self.outcome = error.code
            self.cancel()
            self.outbox.control(self.outbox.framing.error(self.operation_id, [error]))
            if self.failed is not None:
                self.failed(error)
            self._on_end()

    @property
    def told(self) -> Told:
        """See Subscription."""
        return Told(self.messages_told, self.rows_told)

    @property
    def waiting(self) -> bool:
        """See Subscription."""
        return self.outbox.holds(self)

    def pull(self) -> bytes | None:
        """See Puller."""
        raise NotImplementedError

    def left(self) -> None:
        """It has ended: tell the cohort."""
        raise NotImplementedError


def too_late(limit_s: float) -> RequestError:
    """The error of a subscription whose first result takes longer than it may."""
    return RequestError(
        "time-limit-exceeded",
        f"the subscription had no result for {limit_s:g} s",
        hint="ask for less, or try again; limits.first_result_limit is the limit",
        limit="first_result_limit",
    )


class _Member(Protocol):
    outbox: Outbox
    operation_id: bytes


M = TypeVar("M", bound=_Member)


def offer_all(members: Iterable[M], payloads: Sequence[bytes]) -> list[M]:
    """Send payloads to members: parts are made once per framing and id length. Returns those whose socket is busy."""
    shared: dict[tuple[Hashable, int], list[bytes]] = {}
    parts: list[bytes] = []
    framing, length = None, -1  # of the member before, and of most of them
    busy = []
    for member in members:
        outbox, operation_id = member.outbox, member.operation_id
        if not outbox.idle:
            busy.append(member)
            continue
        if outbox.framing is not framing or len(operation_id) != length:
            framing, length = outbox.framing, len(operation_id)
            key = (framing.key, length)
            parts = shared.get(key) or framing.next_parts(payloads, length)
            shared[key] = parts
        outbox.offer(operation_id.join(parts))
    return busy

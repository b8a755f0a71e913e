"""One-shot queries of a WebSocket connection: several in flight, none started that the client would not read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tycostream.auth.session import Session
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan
from tycostream.live.outbox import Outbox
from tycostream.live.query_subscriber import too_large
from tycostream.live.subscriber import COMPLETED, Told
from tycostream.observe.events import Emit, LimitReached, OperationFailed

_STARTED_MAX: Final = (
    4  # answers held for one connection at a time: each may be as large as the outbox's bound
)


Query = Callable[[Callable[[int], None]], Awaitable[bytes]]  # its payload; it is given what counts its rows


class Answers:
    """The queries of one connection, in the order they came; ``_STARTED_MAX`` of them at work at a time."""

    def __init__(self, outbox: Outbox, emit: Emit) -> None:
        self.outbox = outbox
        self.emit = emit
        self._started: set[Answer] = set()
        self._waiting: dict[Answer, None] = {}

    def answer(
        self,
        wire_id: bytes,
        query: Query,
        on_end: Callable[[], None],
        plan: Plan | None = None,
    ) -> Answer:
        """Answer ``query`` when the socket takes bytes and others are done. ``on_end``: its last message is queued."""
        answer = Answer(self, wire_id, query, on_end, plan)
        self.outbox.enqueue(answer)
        return answer

    def may_start(self, answer: Answer) -> bool:
        """Whether it may start now; else it is asked again when another has ended."""
        if len(self._started) < _STARTED_MAX:
            self._started.add(answer)
            return True
        self._waiting[answer] = None
        return False

    def ended(self, answer: Answer) -> None:
        """It was sent, or will never be."""
        self._started.discard(answer)
        self._waiting.pop(answer, None)
        while self._waiting and len(self._started) < _STARTED_MAX:
            following = next(iter(self._waiting))
            del self._waiting[following]
            if not following.ended:
                self.outbox.enqueue(following)
                break


class Answer:
    """One query: started by its first turn to pull, sent by its second. See Puller and Subscription."""

    def __init__(
        self,
        answers: Answers,
        wire_id: bytes,
        query: Query,
        on_end: Callable[[], None],
        plan: Plan | None,
    ) -> None:
        self._plan = plan
        self._answers = answers
        self._wire_id = wire_id
        self._query = query
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self._frames: bytes | None = None
        self.ended = False
        self.outcome = COMPLETED  # see Subscription
        self.rows = 0  # in its answer

    @property
    def told(self) -> Told:
        """See Subscription: nothing, until it is over with its answer."""
        return Told(1, self.rows) if self.ended and self.outcome == COMPLETED else Told(0, 0)

    @property
    def waiting(self) -> bool:
        """See Subscription."""
        return self._answers.outbox.holds(self)

    def pull(self) -> bytes | None:
        """See Puller."""
        if self._frames is not None:
            frames = self._frames
            self._end()
            return frames
        if not self.ended and self._task is None and self._answers.may_start(self):
            self._task = asyncio.get_running_loop().create_task(self._run())
        return None

    async def _run(self) -> None:
        outbox, wire_id = self._answers.outbox, self._wire_id
        framing = outbox.framing
        try:
            payload = await self._query(self._count)
            if len(payload) > outbox.bytes_max:
                refused = too_large(len(payload), outbox.bytes_max)
                self._answers.emit(LimitReached(refused.limit))
                raise refused
            self._frames = wire_id.join(framing.next_parts([payload], len(wire_id))) + framing.complete(
                wire_id
            )
        except RequestError as error:
            self.outcome = error.code
            self._frames = framing.error(wire_id, [error])
        except Exception as error:
            self.outcome = "unexpected"
            self._answers.emit(
                OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}")
            )
            self._frames = framing.error(wire_id, [RequestError("unexpected", "internal error")])
        outbox.enqueue(self)

    def keeps(self, session: Session) -> bool:
        """See Subscription."""
        return self._plan is None or self._plan.holds_for(session)

    def _count(self, rows: int) -> None:
        self.rows = rows

    def cancel(self) -> None:
        """See Subscription: the client ended it, or is gone."""
        if not self.ended:
            self.ended = True
            self._frames = None
            self._answers.outbox.forget(self)
            if self._task is not None:
                self._task.cancel()
            self._answers.ended(self)

    def fail(self, error: RequestError) -> None:
        """See Subscription."""
        if not self.ended:
            self.outcome = error.code
            self.cancel()
            self._answers.outbox.control(self._answers.outbox.framing.error(self._wire_id, [error]))
            self._on_end()

    def _end(self) -> None:
        self.ended = True
        self._frames = None
        self._answers.ended(self)
        self._on_end()

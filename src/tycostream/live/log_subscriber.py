"""One client's place on a source's log: at its head, or behind and pulling; when it is told is a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tycostream.graphql.plan import Coalesce, RootPlan, Strategy
from tycostream.live.outbox import Outbox
from tycostream.live.standing import Standing
from tycostream.live.subscriber import BaseSubscriber, Told

if TYPE_CHECKING:
    from tycostream.live.log_cohort import LogCohort

_DEBOUNCE_LIMIT = 10  # a debounced feed that is never quiet is told after this many periods


class LogSubscriber(BaseSubscriber):
    """A member of a LogCohort: a position and a delivery policy.

    At the head it does nothing: the cohort hands its outbox shared bytes. Behind, it pulls until it is level.
    """

    def __init__(
        self,
        cohort: LogCohort[Any],
        outbox: Outbox,
        operation_id: bytes,
        coalesce: Coalesce | None,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(outbox, operation_id, on_end)
        self.paced = coalesce is not None and coalesce.ms > 0
        self.cohort = cohort
        self._coalesce = coalesce
        self.seq = 0  # it has everything up to here; of no meaning while it is at the head
        self._first_s: float | None = None  # debounce: when the first untold change came
        self._last_s = float("-inf")  # throttle: when the last set was sent
        self.untold = False
        self._entered: Told | None = None  # what its cohort had told at the head when it came there
        self._spoken = False  # whether anything was sent
        self._standing: Standing | None = None  # what it had seen in the cohort that it came from
        cohort.enter(self)

    def start(self) -> None:
        """Begin where its operation asks for; RequestError if that cannot be."""
        raise NotImplementedError

    def move(self, cohort: Any, root: RootPlan) -> None:
        """Go on in another cohort of its kind, by ``root``; ``start`` follows, and tells the difference."""
        raise NotImplementedError

    def _leave_for(self, cohort: LogCohort[Any]) -> None:
        self.stop_timer()
        self.outbox.forget(self)
        self.left()
        self.cohort = cohort
        self._first_s, self.untold = None, False
        cohort.enter(self)

    def fall_behind(self, seq: int) -> None:
        """It has everything up to ``seq`` and must pull the rest."""
        self.seq = seq
        self.outbox.enqueue(self)

    def pull(self) -> bytes | None:
        """See Puller."""
        payload = None if self.ended else self._next_payload()
        if not payload:
            return payload
        self._spoken = True
        self.messages_told += 1
        return self.framed(payload, self.cohort.stale)

    @property
    def told(self) -> Told:
        """See Subscription."""
        if self._entered is None:
            return super().told
        now, then = self.cohort.told, self._entered
        return Told(self.messages_told + now.messages - then.messages, self.rows_told + now.rows - then.rows)

    def at_head(self, told: Told) -> None:
        """It is at the head now, whose members were ``told`` that much: what they are told from now on, it is too."""
        self._entered = told

    def off_head(self) -> None:
        """It is at the head no more."""
        self.messages_told, self.rows_told = self.told
        self._entered = None

    def _next_payload(self) -> bytes | None:
        """The next result; empty if it is still being made; None if there is none: it is level, or is woken."""
        raise NotImplementedError

    def _level(self) -> None:
        """It has everything."""
        if self._first is not None:
            self.answered()
        self._last_s = self.cohort.clock.monotonic()
        self.cohort.join_head(self)

    # pacing: a timer over the same log

    def published(self, base_seq: int) -> None:
        """Something came after ``base_seq`` while this paced member was level; its policy says when it is told."""
        assert self._coalesce is not None
        if not self.untold:
            self.untold = True
            self.seq = base_seq  # until now it was level with the head, wherever that was
        clock = self.cohort.clock
        now, ms = clock.monotonic(), self._coalesce.ms
        period = ms / 1000
        match self._coalesce.strategy:
            case Strategy.THROTTLE:
                due = max(now, self._last_s + period)
            case Strategy.WINDOW:
                due = (int(now * 1000) // ms + 1) * period
            case Strategy.DEBOUNCE:
                if self._first_s is None:
                    self._first_s = now
                due = min(now + period, self._first_s + _DEBOUNCE_LIMIT * period)
                self.stop_timer()
        if due <= now:
            self.stop_timer()
            self._due()
        elif self._timer is None:
            self._timer = clock.call_later(due - now, self._due)

    def _due(self) -> None:
        self._timer = None
        self._first_s = None
        self.untold = False
        self.cohort.leave_head(self)
        self.outbox.enqueue(self)

    def hurry(self) -> None:
        """The staleness changed: tell now, with whatever else waits."""
        if not self.untold:
            self.seq = self.cohort.head
        self.stop_timer()
        self._due()

    # how it ends

    def left(self) -> None:
        """See BaseSubscriber."""
        self.cohort.leave(self)

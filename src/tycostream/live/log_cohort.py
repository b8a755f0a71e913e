"""Cohorts that follow a source's log: what is published goes to the members at its head, everybody else pulls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from tycostream.clock import Clock, Timer
from tycostream.dataflow.log import Entry, Log
from tycostream.dataflow.predicate import Predicate
from tycostream.dataflow.unkeyed import Same
from tycostream.graphql.plan import Coalesce, Plan, RootPlan, with_stale
from tycostream.live.log_subscriber import LogSubscriber
from tycostream.live.outbox import Outbox, Ticker
from tycostream.live.standing import Images, Standing
from tycostream.live.subscriber import Told, offer_all
from tycostream.rows import Change, Key, Row

BROADCAST_CHANGES_MAX = 200  # a larger transaction is sliced: members pull it in shared chunks
M = TypeVar("M", bound=LogSubscriber)


class Logged(Protocol):
    """What such a cohort reads of its source."""

    log: Log

    def images(self) -> Images:
        """All rows that it has, as they are at the head of the log."""

    def given(self, predicate: Predicate, /) -> list[Key] | None:
        """The keys of the rows for which ``predicate`` may hold, if they are few and can be looked up; None: all may."""


class LogCohort(Generic[M]):
    """All subscribers of one plan over one source's log.

    Members at the head get the bytes of each set as it is published; the others, for whatever reason they are behind,
    pull what happened since their position.
    """

    def __init__(
        self,
        plan: Plan,
        predicate: Predicate,
        source: Logged,
        ticker: Ticker,
        clock: Clock,
        on_empty: Callable[[LogCohort[Any]], None],
    ) -> None:
        self.key = plan.cohort_key
        self.same: Same | None = None  # see Moves
        self.predicate = predicate
        self.clock = clock
        self.plan = plan
        self._logged = source
        self._ticker = ticker
        self._on_empty = on_empty
        self.members: set[M] = set()
        self.at_head: dict[M, None] = {}
        self._pacing: dict[M, None] = {}  # coalescing members, told that something was published
        self._published: list[bytes] = []
        self._published_rows = 0
        # At the head: what a member was told is the difference, so that telling many costs no more than telling one.
        self.told = Told(0, 0)
        self._base_seq = 0  # where members at the head stood before anything in _published
        self.stale = False
        self._telling = False  # the staleness is among what was published
        self.linger: Timer | None = None

    # what the hub calls

    def follower(
        self,
        root: RootPlan,
        outbox: Outbox,
        operation_id: bytes,
        coalesce: Coalesce | None,
        on_end: Callable[[], None],
    ) -> M:
        """A new member, that begins as ``root`` says; see BaseSubscriber."""
        raise NotImplementedError

    def push(self, changes: Sequence[Change], entry: Entry) -> None:
        """Publish a batch as this cohort sees it."""
        raise NotImplementedError

    def tell_stale(self, stale: bool) -> None:
        """The source went stale, or is live again: every member learns it, those that are behind when they pull."""
        if stale is self.stale:
            return
        self.stale = stale
        if self.at_head:
            self._telling = True
            self._offer([with_stale(self.nothing(), stale)], self.head, 0)
        for member in list(self._pacing):
            member.hurry()

    def nothing(self) -> bytes:
        """A result that says that nothing happened."""
        raise NotImplementedError

    @property
    def _attended(self) -> bool:
        """Whether what is published now would reach anybody."""
        return bool(self.at_head or self._pacing)

    def _publish(self, payloads: Sequence[bytes], base_seq: int, rows: int) -> None:
        """Send results of what happened after ``base_seq``, ``rows`` in all, to each member as its policy says."""
        for member in list(self._pacing):
            member.published(base_seq)
        self._offer(payloads, base_seq, rows)

    def _offer(self, payloads: Sequence[bytes], base_seq: int, rows: int) -> None:
        if self.at_head:
            if not self._published:
                self._base_seq = base_seq
            self._published += payloads
            self._published_rows += rows
            self._ticker.flush_cohort(self)

    def _fall_behind(self, members: Sequence[M], base_seq: int) -> None:
        """These members of the head must pull what was published in this tick, and what happened after ``base_seq``."""
        base_seq = self._base_seq if self._published else base_seq
        for member in members:
            self._leave_head(member)
            member.fall_behind(base_seq)

    def _leave_head(self, member: M) -> None:
        del self.at_head[member]
        member.off_head()

    def _all_fall_behind(self, base_seq: int) -> None:
        for member in list(self._pacing):
            member.published(base_seq)
        self._fall_behind(list(self.at_head), base_seq)
        self._published.clear()
        self._published_rows = 0
        self._telling = False

    def close(self) -> None:
        """The hub forgets it: give back what it holds."""

    def flush(self) -> None:
        """Send what was published to the members at the head; whoever's socket is busy falls behind instead."""
        payloads, self._published = self._published, []
        rows, self._published_rows = self._published_rows, 0
        if not payloads:
            return
        for member in offer_all(self.at_head, payloads):
            self._leave_head(member)
            member.fall_behind(self._base_seq)
        self.told = Told(self.told.messages + len(payloads), self.told.rows + rows)
        meter = self._ticker.meter
        meter.messages += len(payloads) * len(self.at_head)
        meter.bytes += sum(map(len, payloads)) * len(self.at_head)
        if self._telling:
            self._telling = False
            for member in self.at_head:
                member.told_stale = self.stale

    # what subscribers call

    def enter(self, member: M) -> None:
        """``member`` is one of its own from now on."""
        self.members.add(member)

    @property
    def head(self) -> int:
        """The sequence number of the newest batch."""
        return self._logged.log.head

    def on_log(self, seq: int) -> bool:
        """Whether what happened since ``seq`` can still be told."""
        return seq >= self._logged.log.floor

    def seen(self, row: Row) -> Row | None:
        """The row as it is seen, if it is in sight."""
        raise NotImplementedError

    def standing(self, member: M) -> Standing | None:
        """What ``member`` has seen where it stands; None if the log does not reach back so far."""
        seq = self._seq_of(member)
        if not self.on_log(seq):
            return None
        changes, _ = self._logged.log.net(seq)
        changed = {key: old for key, old, _ in changes}
        return Standing(
            self._logged.images(), changed, self.seen, self.same, self._logged.given(self.predicate)
        )

    def _seq_of(self, member: M) -> int:
        if member in self.at_head:
            return self._base_seq if self._published else self.head
        return self.head if member in self._pacing and not member.untold else member.seq

    def join_head(self, member: M) -> None:
        """``member`` has everything up to the head."""
        if member.paced:
            self._pacing[member] = None
        else:
            self.at_head[member] = None
            member.at_head(self.told)

    def leave_head(self, member: M) -> None:
        """``member`` pulls now; it joins again when it is level."""
        self._pacing.pop(member, None)

    def leave(self, member: M) -> None:
        """``member`` ended."""
        self.members.discard(member)
        if member in self.at_head:
            self._leave_head(member)
        self._pacing.pop(member, None)
        if not self.members:
            self._deserted()
            self._on_empty(self)

    def _deserted(self) -> None:
        """Let go of what was kept for members. It may refer to this, which the collector may not look at."""
        raise NotImplementedError

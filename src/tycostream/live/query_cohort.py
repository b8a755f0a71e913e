"""Cohorts of live queries: one view, one result, encoded once; whoever is behind gets the latest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from tycostream.clock import Clock, Timer
from tycostream.dataflow.log import Entry
from tycostream.dataflow.view import View
from tycostream.errors import RequestError
from tycostream.graphql.plan import Mode, Plan, RootPlan, RowEncoder
from tycostream.live.outbox import Outbox, Ticker
from tycostream.rows import Change, Key, Row

_ENCODING_SHARE = 20  # a result is pushed at most once per 20 × its encoding time: 5 % of a core


class Fragments:
    """Encoded rows of one source and projection, shared by all its views and bounded in bytes."""

    def __init__(self, encoder: RowEncoder, bytes_max: int) -> None:
        self._encoder = encoder
        self._bytes_max = bytes_max
        self._cache: dict[Key, tuple[Row, bytes]] = {}
        self.bytes = 0

    def of(self, key: Key, row: Row) -> bytes:
        """The row's JSON; a fragment is good as long as the key has the very same row."""
        hit = self._cache.get(key)
        if hit is not None and hit[0] is row:
            return hit[1]
        fragment = self._encoder.row(row)
        if hit is not None:
            self.bytes -= len(hit[1])
        self._cache[key] = (row, fragment)
        self.bytes += len(fragment)
        while self.bytes > self._bytes_max and self._cache:
            oldest = next(iter(self._cache))
            self.bytes -= len(self._cache.pop(oldest)[1])
        return fragment


@dataclass(frozen=True, slots=True)
class LiveRoot:
    """One root field of a live query: its view and how its rows are encoded."""

    plan: RootPlan
    encoder: RowEncoder
    view: View
    fragments: Fragments

    def value(self) -> bytes:
        """The root's JSON value now."""
        window = self.view.window()
        if self.plan.mode is Mode.BY_PK:
            window = window[:1]
        of = self.fragments.of
        return self.encoder.result([of(key, row) for key, row in window])


class QueryCohort:
    """All subscribers of one live query."""

    def __init__(
        self,
        plan: Plan,
        roots: list[LiveRoot],
        statics: dict[int, bytes],
        ticker: Ticker,
        clock: Clock,
        on_empty: Callable[[QueryCohort], None],
        *,
        floor_s: float,
    ) -> None:
        self.key = plan.key
        self.clock = clock
        self.roots = roots
        self._plan = plan
        self._statics = statics
        self._ticker = ticker
        self._on_empty = on_empty
        self._floor_s = floor_s
        self.members: set[QuerySubscriber] = set()
        self.at_head: dict[QuerySubscriber, None] = {}
        self.hydrated = False
        self.version = 0
        self._delivered = 0
        self._payload = b""
        self._dirty = True
        self._due_s = float("-inf")
        self._timer: Timer | None = None
        self.linger: Timer | None = None

    def hydrate(self) -> None:
        """Compute every view from its store."""
        self.hydrated = True
        for root in self.roots:
            root.view.hydrate()
        self.touch()

    def push(self, root: LiveRoot, changes: Sequence[Change], entry: Entry) -> None:
        """Follow a batch of one root's source."""
        if self.hydrated and root.view.push(changes):
            self.touch()

    def touch(self) -> None:
        """The result may be another now."""
        self._dirty = True
        self._ticker.flush_cohort(self)

    def flush(self) -> None:
        """Push the result to the members at the head, unless the last push was too short ago."""
        if not self.members:
            return
        if self._dirty:
            now = self.clock.monotonic()
            if now < self._due_s:
                if self._timer is None:
                    self._timer = self.clock.call_later(self._due_s - now, self._timer_due)
                return
            self._render()
        if self._delivered != self.version:
            self._delivered = self.version
            self._deliver()

    def _timer_due(self) -> None:
        self._timer = None
        self._ticker.flush_cohort(self)

    def _render(self) -> None:
        started = self.clock.monotonic()
        values = iter([root.value() for root in self.roots])
        payload = self._plan.payload(
            [self._statics[i] if i in self._statics else next(values) for i in range(len(self._plan.roots))]
        )
        self._dirty = False
        ended = self.clock.monotonic()
        self._due_s = started + max(self._floor_s, _ENCODING_SHARE * (ended - started))
        if payload != self._payload:
            self._payload = payload
            self.version += 1

    def _deliver(self) -> None:
        shared: dict[tuple[Hashable, int], list[bytes]] = {}
        for member in list(self.at_head):
            if member.version == self.version:
                continue  # it joined after the rendering and has this result already
            outbox = member.outbox
            if not outbox.idle or member.paced:
                del self.at_head[member]
                member.fall_behind()
                continue
            length = len(member.operation_id)
            key = (outbox.framing.key, length)
            parts = shared.get(key)
            if parts is None:
                parts = shared[key] = outbox.framing.next_parts([self._payload], length)
            member.version = self.version
            outbox.offer(member.operation_id.join(parts))

    def latest(self) -> tuple[int, bytes]:
        """The newest result and its version, for a member that is behind."""
        if self._dirty:  # whoever joins may just have written: it must not see less than a query would
            self._render()
            self._ticker.flush_cohort(self)
        return self.version, self._payload

    def leave(self, member: QuerySubscriber) -> None:
        """``member`` ended."""
        self.members.discard(member)
        self.at_head.pop(member, None)
        if not self.members:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._on_empty(self)


class QuerySubscriber:
    """A member of a QueryCohort: behind means the latest result, nothing in between."""

    def __init__(
        self,
        cohort: QueryCohort,
        outbox: Outbox,
        operation_id: bytes,
        coalesce_ms: int,
        on_end: Callable[[], None],
    ) -> None:
        self.outbox = outbox
        self.operation_id = operation_id
        self.version = 0
        self.paced = coalesce_ms > 0
        self._period_s = coalesce_ms / 1000
        self._last_s = float("-inf")
        self._timer: Timer | None = None
        self.cohort = cohort
        self._on_end = on_end
        self.ended = False
        cohort.members.add(self)

    def start(self) -> None:
        """Get the result as it is."""
        self.outbox.enqueue(self)

    def fall_behind(self) -> None:
        """There is a newer result; get it when the socket and the policy allow."""
        wait_s = self._last_s + self._period_s - self.cohort.clock.monotonic()
        if self.paced and wait_s > 0:
            if self._timer is None:
                self._timer = self.cohort.clock.call_later(wait_s, self._due)
        else:
            self.outbox.enqueue(self)

    def _due(self) -> None:
        self._timer = None
        self.outbox.enqueue(self)

    def pull(self) -> bytes | None:
        """See Puller."""
        if self.ended:
            return None
        version, payload = self.cohort.latest()
        if version == self.version:
            self.cohort.at_head[self] = None
            return None
        if len(payload) > self.outbox.bytes_max:
            self.fail(
                RequestError(
                    "result-too-large",
                    f"the result has {len(payload)} bytes; a connection may hold {self.outbox.bytes_max}",
                    hint="ask for less with limit and where, or subscribe to the change feed, which is sent in parts",
                )
            )
            return None
        self.version = version
        self._last_s = self.cohort.clock.monotonic()
        parts = self.outbox.framing.next_parts([payload], len(self.operation_id))
        return self.operation_id.join(parts)

    def cancel(self) -> None:
        """The client ended it, or its connection is gone. Idempotent."""
        if self.ended:
            return
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
        self.outbox.forget(self)
        self.cohort.leave(self)

    def fail(self, error: RequestError) -> None:
        """The server ends it with an error."""
        if not self.ended:
            self.cancel()
            self.outbox.control(self.outbox.framing.error(self.operation_id, [error]))
            self._on_end()

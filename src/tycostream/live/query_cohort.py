"""Cohorts of live queries: one view a root, one result, encoded once; whoever is behind gets the latest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tycostream.clock import Clock, Timer
from tycostream.dataflow.hydration import ROWS_PER_STEP
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan, StaticRoot, with_stale
from tycostream.live.outbox import Ticker
from tycostream.live.query_subscriber import QuerySubscriber
from tycostream.live.rendering import LiveRoot, Rendering, payload_at_once
from tycostream.live.slices import Slices
from tycostream.live.subscriber import offer_all

_ENCODING_SHARE = 20  # a result is pushed at most once per 20 × its encoding time: 5 % of a core
ROWS_AT_ONCE = 4 * ROWS_PER_STEP  # arrangements of fewer rows are made in one go


_STATE = (
    "key clock roots plan statics floor_s members at_head queries linger closed error stale version too_large refused "
    "_ticker _slices _on_empty _on_error _bytes_max _joined _joining _awaiting _delivered _payload rows _dirty _captured "
    "_rendered _rendering _waiting _held _live_again _pause_s _due_s _timer __weakref__"
)


class QueryCohort:
    """All subscribers of one live query, and the one-shot queries that ask the same."""

    # Of more than 30 attributes Python makes a dictionary for each object, in which every look takes three times as long.
    __slots__ = tuple(_STATE.split())

    def __init__(
        self,
        plan: Plan,
        statics: dict[int, StaticRoot],
        ticker: Ticker,
        slices: Slices,
        clock: Clock,
        on_empty: Callable[[QueryCohort], None],
        on_error: Callable[[QueryCohort, Exception], None],
        *,
        floor_s: float,
        bytes_max: int,
    ) -> None:
        self.key = plan.cohort_key
        self.clock = clock
        self.roots: list[LiveRoot] = []  # set once, by who made it, before anything else
        self.plan = plan
        self.statics = statics
        self._ticker = ticker
        self._slices = slices
        self._on_empty = on_empty
        self._on_error = on_error
        self.floor_s = floor_s
        self._bytes_max = bytes_max
        self.members: set[QuerySubscriber] = set()
        self.at_head: dict[QuerySubscriber, None] = {}
        self.queries = 0  # one-shot queries at work on it
        self.linger: Timer | None = None
        self.closed = False
        self.error: RequestError | None = None  # why it was closed
        self.stale = False
        self._joined = False  # whether nested rows can be found: once they can, it stays so
        self._joining: _Joining | None = None
        self._awaiting: list[asyncio.Future[None]] = []
        # the result
        self.version = 0
        self.too_large = False
        self.refused: RequestError | None = None  # why there is no result, if it has more rows than it may
        self._delivered = (0, False)
        self._payload = b""
        self.rows = 0  # in it; of one that took many steps, as it is now
        self._dirty = True
        self._captured = 0  # how often the views were captured; _rendered: which capture the payload is of
        self._rendered = 0
        self._rendering: _Encoding | None = None
        self._waiting: dict[QuerySubscriber, None] = {}  # for a hydration or a capture
        self._held = False  # the result was made for who joined; the others get it when the next push is due
        self._live_again = 0  # the first capture since all sources are live again; 0: they are not
        self._pause_s = 0.0  # from one push to the next
        self._due_s = float("-inf")
        self._timer: Timer | None = None

    # from the arrangements to the views

    @property
    def hydrated(self) -> bool:
        """Whether all views stand at one moment, that of the stores."""
        for root in self.roots:  # asked at every flush: no generator
            if root.arranged is None or not root.arranged.current:
                return False
        return self._joined and not self.closed

    @property
    def lasting(self) -> bool:
        """See Reader."""
        return bool(self.members)

    def hydrate(self) -> None:
        """Have every arrangement made: at once if that is little work, else in slices."""
        left = ROWS_AT_ONCE
        for root in self.roots:
            if root.arranged is not None:
                left -= root.arranged.bring(left)
        if not self._joined and self._joining is None and not self._join():
            self._joining = _Joining(self, self._join)
            self._slices.add(self._joining)

    def _join(self) -> bool:
        """Whether nested rows can be found; the indexes for that are made meanwhile."""
        self._joined = all(root.fragments is None or root.fragments.ready for root in self.roots)
        return self._joined

    async def hydration(self) -> None:
        """Return when the views are there, or the cohort was closed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaiting.append(done)
        await done

    def fell_behind(self) -> None:
        """See Reader."""
        self._dirty = True

    def caught_up(self) -> None:
        """See Reader."""
        if self.hydrated:
            self.touch()
            self._tell_hydrated()

    def _tell_hydrated(self) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for done in awaiting:
            if not done.done():  # cancelled
                done.set_result(None)

    # from the views to the members

    def touch(self) -> None:
        """The result may be another now."""
        self._dirty = True
        self._ticker.flush_cohort(self)

    def tell_stale(self, stale: bool) -> None:
        """A source went stale, or all are live again: every member is told with the latest result.

        That all are live again is told with a result that is as new: an older one may hold one source as it was before
        the gap and the other as it was after it, which only who believes it stale expects.
        """
        if stale is not self.stale:
            self.stale = stale
            self._live_again = 0 if stale else self._newest
            for member in self.members:  # one whose time runs is not at the head
                member.hurry()
            self._ticker.flush_cohort(self)

    @property
    def _newest(self) -> int:
        """The first capture that shows everything that has happened up to now."""
        return self._captured + self._dirty

    def flush(self) -> None:
        """Push the result to the members at the head, unless the last push was too short ago."""
        version, stale = self._delivered
        if not self.members:
            self._delivered = (version, self.stale)  # who joins is told of it when it joins
            return
        if self._rendering is None and (self._held or (self._dirty and self.hydrated)):
            now = self.clock.monotonic()
            if now >= self._due_s or self._rendered < self._live_again:
                if not self._held or (self._dirty and self.hydrated):
                    self._render(now, held=False)
                else:
                    self._held, self._due_s = False, now + self._pause_s
            elif self._timer is None:
                self._timer = self.clock.call_later(self._due_s - now, self._timer_due)
        if not self.version or self._rendered < self._live_again:
            return
        if stale is not self.stale or (version != self.version and not self._held):
            self._delivered = (self.version, self.stale)
            self._deliver()

    def _timer_due(self) -> None:
        self._timer = None
        self._ticker.flush_cohort(self)

    def _render(self, started: float, *, held: bool) -> None:
        self._dirty = False
        self._captured += 1
        payload = payload_at_once(self.plan, self.roots, self.statics)
        if payload is not None:
            self._show(payload, len(payload) > self._bytes_max, None, self._captured, started, held)
            return
        rendering = Rendering(self.plan, self.roots, self.statics, bytes_max=self._bytes_max)
        if rendering.small and rendering.step():
            self._finish(rendering, self._captured, started, held)
        else:
            self._rendering = _Encoding(self, rendering, self._captured, held)
            self._slices.add(self._rendering)

    def _finish(self, rendering: Rendering, capture: int, started: float, held: bool) -> None:
        payload = b"" if rendering.too_large else rendering.payload()
        self._show(payload, rendering.too_large, rendering.refused, capture, started, held)

    def _show(
        self,
        payload: bytes,
        too_large: bool,
        refused: RequestError | None,
        capture: int,
        started: float,
        held: bool,
    ) -> None:
        ended = self.clock.monotonic()
        self._pause_s = max(self.floor_s, _ENCODING_SHARE * (ended - started))
        self._held = held
        if not held:
            self._due_s = started + self._pause_s
        self._rendered = capture
        if payload != self._payload or too_large:
            self._payload = payload
            self.rows = sum(root.view.length for root in self.roots)
            self.too_large, self.refused = too_large, refused
            self.version += 1
        if self._waiting:
            self._wake()

    def rendering(self) -> Rendering:
        """The result as it is now, for a one-shot query; only when hydrated."""
        return Rendering(self.plan, self.roots, self.statics, kept=False)

    def while_hydrated(self, step: Callable[[], bool]) -> Callable[[], bool]:
        """``step``, as long as the views show a moment; raises when the cohort was closed."""

        def guarded() -> bool:
            if self.closed:
                raise self.error or RequestError("unexpected", "internal error: this operation was ended")
            return self.hydrated and step()

        return guarded

    def encoded(self, rendering: Rendering, capture: int, spent_s: float, held: bool) -> None:
        """A large result is encoded."""
        self._rendering = None
        self._finish(rendering, capture, self.clock.monotonic() - spent_s, held)
        self._ticker.flush_cohort(self)

    def broken(self, error: Exception) -> None:
        """A slice of its work raised."""
        self._on_error(self, error)

    def _deliver(self) -> None:
        news: list[QuerySubscriber] = []  # members to whom the staleness is news: nobody, or most
        others: list[QuerySubscriber] = []
        stale = self.stale
        for member in list(self.at_head):
            told = member.told_stale is stale
            if member.version == self.version and told:
                continue  # it joined after the rendering and has this result already
            if not member.outbox.idle or member.paced or self.too_large:
                del self.at_head[member]
                member.fall_behind()
            else:
                (others if told else news).append(member)
        for group, told in ((others, True), (news, False)):
            if not group:
                continue
            payload = self._payload if told else with_stale(self._payload, stale)
            busy = offer_all(group, [payload])  # one socket may have filled up by what another was sent
            for member in busy:
                del self.at_head[member]
                member.fall_behind()
            for member in set(group).difference(busy) if busy else group:
                member.version, member.told_stale = self.version, stale
                member.messages_told += 1
                member.rows_told += self.rows
            reached = len(group) - len(busy)
            meter = self._ticker.meter
            meter.messages += reached
            meter.bytes += reached * len(payload)

    def latest(self, member: QuerySubscriber) -> tuple[int, bytes] | None:
        """The newest result and its version, for a member that is behind; None: it is woken when there is one.

        Whoever joins may just have written: it must not see less than a query would. The others keep to the pace.
        And what was captured while a source was stale is shown to nobody who is told, or believes, that none is.
        """
        if member.version and self._rendered >= self._live_again:
            return self.version, self._payload
        if self._dirty and self.hydrated and self._rendering is None:
            now = self.clock.monotonic()
            self._render(now, held=now < self._due_s)
            self._ticker.flush_cohort(self)
        if member.wanted is None:
            member.wanted = self._live_again if member.version else self._newest
        if self._rendered < member.wanted:
            self._waiting[member] = None
            return None
        member.wanted = None
        return self.version, self._payload

    def shown(self, member: QuerySubscriber) -> bytes | None:
        """The result that ``member`` has, if it is the newest one."""
        return self._payload if member.version and member.version == self.version else None

    def _wake(self) -> None:
        """Let those that waited for a result pull it."""
        waiting, self._waiting = self._waiting, {}
        for member in waiting:
            member.outbox.enqueue(member)

    # how it ends

    def leave(self, member: QuerySubscriber) -> None:
        """``member`` ended."""
        self.members.discard(member)
        self.at_head.pop(member, None)
        self._waiting.pop(member, None)
        if not self.members:
            self._stop_timer()
            self._on_empty(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self, error: RequestError | None = None) -> None:
        """The hub forgets it, and gives back what its roots hold: stop what goes on."""
        self.closed, self.error = True, error
        self._stop_timer()
        if self._rendering is not None:
            self._rendering.cancelled = True
            self._rendering = None
        self._tell_hydrated()


class _Encoding:
    """A large result in the making. See Job."""

    def __init__(self, cohort: QueryCohort, rendering: Rendering, capture: int, held: bool) -> None:
        self._cohort = cohort
        self._rendering = rendering
        self._capture = capture
        self._held = held
        self._spent_s = 0.0
        self.cancelled = False

    def step(self) -> bool:
        """See Job."""
        if self.cancelled:
            return True
        if not (self._rendering.captured or self._cohort.hydrated):
            return False  # its views show no moment now; when they do again, it goes on
        started = self._cohort.clock.monotonic()
        done = self._rendering.step()
        self._spent_s += self._cohort.clock.monotonic() - started
        if done:
            self._cohort.encoded(self._rendering, self._capture, self._spent_s, self._held)
        return done

    def failed(self, error: Exception) -> None:
        """See Job."""
        self._cohort.broken(error)


class _Joining:
    """Waits for the indexes by which nested rows are found; they are jobs of their own. See Job."""

    def __init__(self, cohort: QueryCohort, ready: Callable[[], bool]) -> None:
        self._cohort = cohort
        self._ready = ready

    def step(self) -> bool:
        """See Job."""
        if self._cohort.closed:
            return True
        done = self._ready()
        if done:
            self._cohort.caught_up()
        return done

    def failed(self, error: Exception) -> None:
        """See Job."""
        self._cohort.broken(error)

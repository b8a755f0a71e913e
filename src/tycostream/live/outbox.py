"""The way out: one bounded queue per connection, one write per socket and tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from tycostream.clock import Clock
from tycostream.live.framing import Framing, Sink
from tycostream.live.meter import Meter

CHUNK_BYTES = 64 * 1024  # what one operation may send before the next has its turn
TURNS_PER_TICK = 4  # chunks one connection may send before the others have their tick
TURNS_OF_ALL_PER_TICK = 48  # chunks all connections may send before sockets are looked at again


class Puller(Protocol):
    """An operation with something to send. What it sends is made when the socket can take it, not before."""

    def pull(self) -> bytes | None:
        """The next framed piece, about CHUNK_BYTES at most; None when there is nothing left.

        Empty: it is still being made, ask again in the next turn.
        """


class Flushable(Protocol):
    """A cohort with something published in this tick."""

    def flush(self) -> None:
        """Hand what was published to the members that are at the head."""


class Ticker:
    """One step at the end of each turn of the event loop: cohorts first, then connections.

    Outboxes pull only here, after all cohorts are flushed: a subscriber that has caught up is then level with its
    cohort, and nothing published in this tick can reach it twice.
    """

    def __init__(self, clock: Clock, quarantine: Callable[[Flushable | Puller, Exception], None]) -> None:
        self._clock = clock
        self.meter = Meter(clock.monotonic())
        self.quarantine = quarantine  # what to do with a cohort or an operation that raised
        self._cohorts: dict[Flushable, None] = {}
        self._outboxes: dict[Outbox, None] = {}
        self._due = False
        self.direct = 0  # the number of the tick, while it has one cohort to flush and nothing else; else 0
        self._tick = 0

    def flush_cohort(self, cohort: Flushable) -> None:
        """Have ``cohort`` flushed at the end of this turn."""
        self._cohorts[cohort] = None
        if not self._due:
            self._schedule()

    def flush_outbox(self, outbox: Outbox) -> None:
        """Have ``outbox`` written at the end of this turn."""
        self._outboxes[outbox] = None
        if not self._due:
            self._schedule()

    def _schedule(self) -> None:
        self._due = True
        self._clock.call_soon(self.run)

    def run(self) -> None:
        """Flush everything that asked for it; what asks meanwhile has the next turn."""
        self._due = False
        self.meter.look(self._clock.monotonic())
        cohorts, self._cohorts = self._cohorts, {}
        self._tick += 1
        self.direct = self._tick if len(cohorts) == 1 and not self._outboxes else 0
        for cohort in cohorts:
            try:
                cohort.flush()
            except Exception as error:
                self.quarantine(cohort, error)
        self.direct = 0
        outboxes, self._outboxes = self._outboxes, {}
        turns = TURNS_OF_ALL_PER_TICK
        starved = []
        for outbox in outboxes:
            if not turns:
                starved.append(outbox)
            turns -= outbox.flush(min(TURNS_PER_TICK, turns))
        if starved:  # who had no turn is first in the next tick
            later = self._outboxes
            self._outboxes = {outbox: None for outbox in starved if outbox in later} | later


class Outbox:
    """One connection's queue.

    Frames of this tick wait in a buffer and go out in one write. Operations that are behind wait in a queue of
    *pullers*: while the socket is full nothing is encoded for it, so that what it holds is bounded by the socket's
    own write buffer and one tick's frames. Control frames overtake.
    """

    def __init__(self, framing: Framing, sink: Sink, ticker: Ticker, *, bytes_max: int) -> None:
        self.framing = framing
        self.bytes_max = bytes_max
        self._sink = sink
        self._ticker = ticker
        self._buffer: list[bytes] = []
        self._queue: deque[Puller] = deque()
        self._queued: set[Puller] = set()
        self._direct = 0  # the last tick whose first frames went out without waiting
        self.writable = True
        self.closed = False

    @property
    def idle(self) -> bool:
        """Whether a frame offered now would leave in this tick, in order."""
        return self.writable and not self._queue

    def offer(self, frames: bytes) -> None:
        """Send frames in this tick; only for an ``idle`` outbox, or to end an operation."""
        if not self._buffer:
            tick = self._ticker.direct
            if tick and self._direct != tick:  # nothing else is due to this socket: they need not wait for it
                self._direct = tick
                self._sink.write(frames)
                return
            self._ticker.flush_outbox(self)
        self._buffer.append(frames)

    def holds(self, puller: Puller) -> bool:
        """Whether ``puller`` waits for its turn, or for the socket."""
        return puller in self._queued

    def enqueue(self, puller: Puller) -> None:
        """Let ``puller`` send when its turn comes; harmless if it already waits."""
        if not self.closed and puller not in self._queued:
            self._queued.add(puller)
            self._queue.append(puller)
            self._ticker.flush_outbox(self)

    def forget(self, puller: Puller) -> None:
        """``puller`` has nothing to send any more."""
        if puller in self._queued:
            self._queued.discard(puller)
            self._queue.remove(puller)

    def control(self, frame: bytes) -> None:
        """Send a control frame at once, before whatever is queued."""
        if not self.closed:
            self._sink.write(frame)

    def pause(self) -> None:
        """The socket's buffer is full."""
        self.writable = False

    def resume(self) -> None:
        """The socket's buffer has drained. Nothing is pulled here: see Ticker."""
        self.writable = True
        if self._queue:
            self._ticker.flush_outbox(self)

    def flush(self, turns_max: int = TURNS_PER_TICK) -> int:
        """Write this tick's frames, then let operations that are behind send in turn; gives the turns they took."""
        if self.closed:
            return 0
        if self._buffer:
            buffer, self._buffer = self._buffer, []
            self._sink.write(buffer[0] if len(buffer) == 1 else b"".join(buffer))
        turns = turns_max
        while self._queue and self.writable and turns and not self.closed:
            turns -= 1
            puller = self._queue[0]
            try:
                frame = puller.pull()
            except Exception as error:
                self._ticker.quarantine(puller, error)
                frame = None
            if frame is None:
                self.forget(puller)
                continue
            if self._queue and self._queue[0] is puller:
                self._queue.rotate(-1)
            if frame:
                self._sink.write(frame)
                self._ticker.meter.messages += 1
                self._ticker.meter.bytes += len(frame)
        if self._queue and self.writable and not self.closed:
            self._ticker.flush_outbox(self)
        return turns_max - turns

    def close(self) -> None:
        """The connection is gone: drop everything."""
        self.closed = True
        self._buffer.clear()
        self._queue.clear()
        self._queued.clear()

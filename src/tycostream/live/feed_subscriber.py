"""One client's change feed: a position and a delivery policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tycostream.errors import RequestError
from tycostream.graphql.plan import Coalesce, Phase, RootPlan
from tycostream.live.log_subscriber import LogSubscriber
from tycostream.live.outbox import Outbox

if TYPE_CHECKING:
    from tycostream.live.feed_cohort import Chunks, FeedCohort


class FeedSubscriber(LogSubscriber):
    """A member of a FeedCohort.

    Behind, it pulls: first the set it is in the middle of, then the snapshot's `ready`, then the net since its
    position, until it is level with the head.
    """

    cohort: FeedCohort

    def __init__(
        self,
        cohort: FeedCohort,
        outbox: Outbox,
        operation_id: bytes,
        coalesce: Coalesce | None,
        on_end: Callable[[], None],
        root: RootPlan,
    ) -> None:
        super().__init__(cohort, outbox, operation_id, coalesce, on_end)
        self._root = root
        self._opening: list[Phase] = []  # empty sets to send: `reset` before a snapshot, `ready` after it
        self._unbegun = False  # it is due a snapshot that is not made before its socket can take it
        self._sending: Chunks | None = None
        self._place = 0
        self._cursor: str | None = None  # of the snapshot just sent, for its `ready`

    # how it starts

    def start(self) -> None:
        """Begin at the cursor, with a snapshot, or now; RequestError CURSOR_EXPIRED if that cannot be.

        Where it came from another cohort: go on with the difference, or anew if that cannot be told.
        """
        if self._spoken:
            if self._standing is None:
                self._begin_snapshot(reset=True)
            self.outbox.enqueue(self)
            return
        after, snapshot = self._root.after, self._root.snapshot
        seq = None if after is None else self.cohort.seq_of(after)
        if seq is not None:
            self.seq = seq
            net = self.cohort.net(seq)
            if net is not None:
                self._take(net)
            else:
                self.seq = self.cohort.head
                self._opening = [Phase.LIVE]
                self._cursor = self.cohort.cursor()
        elif after is not None and not snapshot:
            raise RequestError(
                "CURSOR_EXPIRED",
                "the cursor cannot be resumed: what it missed is no longer known",
                hint="subscribe without `after`, or with `snapshot: true` to get a reset and a new snapshot",
            )
        elif snapshot:
            self._begin_snapshot(reset=after is not None)
        else:
            self.seq = self.cohort.head
            self._opening = [Phase.READY]
            self._cursor = self.cohort.cursor()
        self.outbox.enqueue(self)

    def move(self, cohort: FeedCohort, root: RootPlan) -> None:
        """See LogSubscriber. In the middle of a set, or with a socket that takes nothing, it has to start again."""
        midway = self._sending is not None and (self._place > 0 or self._sending.phase is Phase.SNAPSHOT)
        opening = self._unbegun or any(phase is not Phase.LIVE for phase in self._opening)
        if midway or opening or not self._spoken or not self.outbox.writable:
            self._standing = None
        elif self._standing is None:  # else it has moved already, and was told nothing since
            self._standing = self.cohort.standing(self)
        self._leave_for(cohort)
        self._root = root
        self._sending, self._opening, self._unbegun = None, [], False

    def _begin_snapshot(self, *, reset: bool) -> None:
        self._opening = [Phase.RESET] if reset else []
        self._unbegun = True

    def _take(self, chunks: Chunks) -> None:
        self._sending = chunks
        self._place = 0
        chunks.enter()

    # how it follows

    def _next_payload(self) -> bytes | None:
        cohort = self.cohort
        if self._standing is not None:
            standing, self._standing = self._standing, None
            self._take(cohort.difference(standing))
        if self._opening and self._opening[0] is Phase.RESET:
            return self._empty(self._opening.pop(0))
        if self._unbegun:
            snapshot = cohort.snapshot()
            if snapshot is None:
                return b""
            self._unbegun = False
            self._take(snapshot)
        while True:
            if self._sending is not None:
                payload = self._sending.next(self._place)
                if payload is not None:
                    if payload:
                        self.rows_told += self._sending.rows(self._place)
                        self._place += 1
                    return payload
                self._finish()
            if self._opening:
                return self._empty(self._opening.pop(0))
            if self.seq == cohort.head:
                break
            if not cohort.on_log(self.seq):
                self._begin_snapshot(reset=True)
                return self._next_payload()
            net = cohort.net(self.seq)
            if net is None:
                self.seq = cohort.head
                break
            self._take(net)
        if self.told_stale is not cohort.stale:
            self._cursor = cohort.cursor()
            return self._empty(Phase.LIVE)
        self._level()
        return None

    def _finish(self) -> None:
        chunks, self._sending = self._sending, None
        assert chunks is not None
        chunks.leave(self._place)
        self.cohort.release(chunks)
        self.seq = chunks.to_seq
        if chunks.phase is Phase.SNAPSHOT:
            self._opening = [Phase.READY]
            self._cursor = chunks.cursor

    def _empty(self, phase: Phase) -> bytes:
        cursor = None if phase is Phase.RESET else self._cursor
        if phase is Phase.READY and self.cohort.stale:
            self.told_stale = False  # a client that swaps its snapshot in learns there and then how old it is
        return self.cohort.payload(phase, (), complete=True, resync=False, cursor=cursor)

    def heartbeat(self) -> None:
        """Level and with nothing untold: a new cursor, so that it does not fall off the log."""
        if not self.untold:
            self.seq = self.cohort.head
            self._opening = [Phase.LIVE]
            self._cursor = self.cohort.cursor()
            self.cohort.leave_head(self)
            self.outbox.enqueue(self)

    # how it ends

    def left(self) -> None:
        """See BaseSubscriber."""
        if self._sending is not None:
            self._sending.leave(self._place)
            self.cohort.release(self._sending)
        super().left()

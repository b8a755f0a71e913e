"""One client's stream: a place on the log, and how far it has read the rows as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tycostream.dataflow.order import SortKey
from tycostream.errors import RequestError
from tycostream.graphql.plan import Coalesce, RootPlan
from tycostream.live.log_subscriber import LogSubscriber
from tycostream.live.outbox import Outbox
from tycostream.live.stream_entering import Entering

if TYPE_CHECKING:
    from tycostream.live.stream_cohort import StreamCohort


class Reading(NamedTuple):
    """Where a stream's reader stands: all there is to remember of it, however far it is behind.

    It has what happened up to the batch ``seq`` of the log, and ``place`` moves of the next one, as far as that
    concerns what it has read of the rows as they are: all before the place ``ahead``, or all if that is None.
    """

    seq: int
    place: int
    ahead: SortKey | None


class Read(NamedTuple):
    """What a reader is told next, where it stands then, and how many rows that is.

    No payload: there is nothing. An empty one: it is still being made.
    """

    payload: bytes | None
    then: Reading
    rows: int = 0


class StreamSubscriber(LogSubscriber):
    """A member of a StreamCohort.

    Behind, it pulls: first what rose since its position on the log, then, when it is level, the next of the rows as they
    are, until it has read them all. It wants what lies beyond ``initial`` only; None: all.
    """

    cohort: StreamCohort

    def __init__(
        self,
        cohort: StreamCohort,
        outbox: Outbox,
        operation_id: bytes,
        coalesce: Coalesce | None,
        on_end: Callable[[], None],
        root: RootPlan,
    ) -> None:
        super().__init__(cohort, outbox, operation_id, coalesce, on_end)
        stream = root.stream
        assert stream is not None
        self._now = stream.now
        self.initial = cohort.initial(stream.initial)
        self._place = 0
        self._ahead: SortKey | None = None
        self._begun = False
        self._entering: Entering | None = None

    def move(self, cohort: StreamCohort, root: RootPlan) -> None:
        """See LogSubscriber. Where the log has forgotten where it stood, it reads all rows again."""
        if self._begun and self._standing is None:
            self._standing = self.cohort.standing(self)
            if self._standing is None or self._entering is not None:
                self._standing, self._ahead = None, ()
        self._leave_for(cohort)
        self._entering, self._place = None, 0

    def start(self) -> None:
        """Begin with the rows as they are, or with what happens from now on; or go on in another cohort."""
        if self._begun:
            if self._standing is None:
                self.seq = self.cohort.head
            self.outbox.enqueue(self)
            return
        self._begun = True
        self.seq = self.cohort.head
        self._ahead = None if self._now else ()
        self.outbox.enqueue(self)

    def _next_payload(self) -> bytes | None:
        try:
            return self._read()
        except RequestError as error:  # there is more in a row than may be sent
            self.fail(error)
            return None

    def _read(self) -> bytes | None:
        cohort = self.cohort
        if self._standing is not None:
            standing, self._standing = self._standing, None
            self._entering = cohort.entering(standing, self._ahead, self.initial)
            self.seq = cohort.head
        if self._entering is not None:
            payload = self._entering.next()
            if payload is not None:
                self.rows_told += self._entering.rows
                return payload
            self._entering = None
        stood = Reading(self.seq, self._place, self._ahead)
        payload, reading, rows = cohort.replayed(stood, self.initial)
        if payload is None and reading.ahead is not None:
            payload, reading, rows = cohort.scanned(self, reading)
        self.seq, self._place, self._ahead = reading
        self.rows_told += rows
        if payload is not None or self._ahead is not None:
            return payload
        cohort.end_scan(self)
        if self.told_stale is not cohort.stale:
            return cohort.nothing()
        self._level()
        return None

    def left(self) -> None:
        """See BaseSubscriber."""
        self.cohort.end_scan(self)
        super().left()

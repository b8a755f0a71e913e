"""The rows as they are, in a stream's order: read from the place that each reader has come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.order import SortKey
from tycostream.dataflow.rises import Moves, after
from tycostream.graphql.plan import RootPlan, RowEncoder
from tycostream.live.live_source import LiveSource
from tycostream.live.query_cohort import ROWS_AT_ONCE
from tycostream.live.slices import Discard, Slices
from tycostream.live.stream_batches import Batches, NestedRows
from tycostream.live.stream_subscriber import Read, Reading, StreamSubscriber

if TYPE_CHECKING:
    from tycostream.live.stream_cohort import StreamCohort

_ROWS_PER_STEP: Final = 1000


class StreamScan:
    """Who reads asks ``next`` until there are no more rows. See Reader.

    The rows lie in an arrangement, which live queries in this order share, and which follows every batch: a reader is
    a place in it, and holds nothing. Made when somebody begins to read, closed when nobody does.
    """

    def __init__(
        self,
        cohort: StreamCohort,
        root: RootPlan,
        source: LiveSource,
        moves: Moves,
        batches: Batches,
        slices: Slices,
        nested: NestedRows | None,
    ) -> None:
        """``nested``: what writes rows with others in them."""
        self.cohort = cohort
        self._encoder = cast(RowEncoder, root.encoder)
        self._source = source
        self._place = moves.place
        self._batches = batches
        self._slices = slices
        self._nested = nested
        self._readers: dict[StreamSubscriber, None] = {}
        self._waiting: dict[StreamSubscriber, None] = {}  # until the arrangement is level with the store
        self._view, self._arranged = source.arrangements.view(root, self)
        self._fragments = source.fragments.lease(self._encoder)
        self._arranged.bring(ROWS_AT_ONCE)

    def next(self, reader: StreamSubscriber, reading: Reading, initial: SortKey | None) -> Read:
        """The next batch of rows beyond ``initial`` for a reader that is level with the log, and where it stands then.

        None: there is none, if ``ahead`` is None then; else the reader is woken when it can be told. Empty: ask again in
        the next turn.
        """
        assert reading.ahead is not None
        self._readers[reader] = None
        fragments = self._fragments
        if not self._arranged.current:
            self._waiting[reader] = None
            return Read(None, reading)
        if not fragments.ready:
            return Read(b"", reading)
        arrangement = self._arranged.arrangement
        assert isinstance(arrangement, Arrangement)
        members = arrangement.members
        start = members.place_from(reading.ahead, behind=False)
        if initial is not None:
            start = max(start, members.place_from(initial, behind=True))
        keys, rows = members.window(start, start + min(self._batches.rows_max, _ROWS_PER_STEP))
        batch = self._batches.new()
        write = fragments.of if self._nested is None else self._nested.write
        for key, row in zip(keys, rows, strict=True):
            if not batch.takes(key):
                break
            batch.add(key, write(key, row))
        count = len(batch.fragments)
        if start + count >= len(members):
            then = Reading(reading.seq, reading.place, None)
        else:
            last = self._place(keys[count - 1], rows[count - 1])
            then = Reading(reading.seq, reading.place, after(last))
        return Read(self._batches.payload(batch.fragments) if count else None, then, count)

    def end(self, reader: StreamSubscriber) -> bool:
        """``reader`` reads no further. Whether anybody else does; if not, it is to be closed."""
        self._readers.pop(reader, None)
        self._waiting.pop(reader, None)
        return bool(self._readers)

    def close(self) -> None:
        """Give back what it holds."""
        source = self._source
        source.arrangements.release(self._view, self._arranged, source.config.linger.total_seconds())
        self._slices.add(Discard(*source.fragments.give_back(self._encoder)))

    # see Reader

    @property
    def lasting(self) -> bool:
        """See Reader."""
        return bool(self._readers)

    def touch(self) -> None:
        """See Reader: what its readers have passed, the log tells them."""

    def fell_behind(self) -> None:
        """See Reader: who asks meanwhile waits."""

    def caught_up(self) -> None:
        """See Reader."""
        waiting, self._waiting = self._waiting, {}
        for reader in waiting:
            reader.outbox.enqueue(reader)

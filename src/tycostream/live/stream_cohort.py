"""Cohorts of streams: rows in batches, each when its value of the cursor rises, encoded once for all who are level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from tycostream.clock import Clock
from tycostream.dataflow.log import Entry
from tycostream.dataflow.order import OrderBy, SortKey
from tycostream.dataflow.predicate import TRUE, Bind, Predicate, compile_predicate, unbound
from tycostream.dataflow.rises import Lows, Moves, beyond
from tycostream.dataflow.unkeyed import Same, alike
from tycostream.dataflow.veil import look
from tycostream.graphql.plan import Coalesce, Plan, RootPlan, RowEncoder
from tycostream.live.fragments import Failed
from tycostream.live.live_source import LiveSource
from tycostream.live.log_cohort import BROADCAST_CHANGES_MAX, LogCohort, Logged
from tycostream.live.outbox import Outbox, Ticker
from tycostream.live.slices import Discard, Slices
from tycostream.live.standing import Standing
from tycostream.live.stream_batches import Batches, NestedRows
from tycostream.live.stream_entering import Entering
from tycostream.live.stream_replay import StreamReplay
from tycostream.live.stream_scan import StreamScan
from tycostream.live.stream_subscriber import Read, Reading, StreamSubscriber
from tycostream.rows import Cell, Change, Key, Row, RowType


class StreamCohort(LogCohort[StreamSubscriber]):
    """All subscribers of one stream plan, wherever each began.

    Members at the head get the bytes of each batch. Who is behind is told the moves of the log one by one; who has not
    read the rows as they are is told only of those that it will not come by any more. Who is so far behind that the
    log has forgotten reads again from the first place that something moved to meanwhile: nothing is lost, but
    rows behind that place come once more.
    """

    def __init__(
        self,
        plan: Plan,
        root: RootPlan,
        predicate: Predicate,
        source: LiveSource,
        logged: Logged,
        ticker: Ticker,
        slices: Slices,
        clock: Clock,
        on_empty: Callable[[LogCohort[Any]], None],
        *,
        bytes_max: int,
        bind: Bind = unbound,
    ) -> None:
        """``root`` has the whole condition; of what ``logged`` has, the rows are in sight for which ``predicate`` holds."""
        super().__init__(plan, predicate, logged, ticker, clock, on_empty)
        assert root.stream is not None
        assert isinstance(root.order[0], OrderBy)
        encoder = cast(RowEncoder, root.encoder)
        self._encoder = encoder
        self._source = source
        self._slices = slices
        # rows with others in them: encoded when the whole batch is in all stores, and true at that moment only
        self._nested = (
            NestedRows(root, source.fragments.lease(encoder), bytes_max) if encoder.nested else None
        )
        self._fragment: Callable[[Key, Row], bytes] = (
            (lambda _, row: encoder.row(row)) if self._nested is None else self._nested.write
        )
        self.same = _same(root, source.row_type, bind)
        self._moves = Moves(source.row_type, root.order[0], self.same)
        self._lows = Lows()
        self._batches = Batches(
            plan, encoder, root.stream.batch_size, None if self._nested is None else self._nested.effort
        )
        self._match = match = None if predicate == TRUE else compile_predicate(predicate)
        self._replay = StreamReplay(
            logged, self._moves, match, self._batches, self._fragment, kept=self._nested is None
        )
        self._root = root
        self._scan: StreamScan | None = None
        self._initial: SortKey | None = None  # what lies beyond it is for all members at the head

    # what the hub calls

    def follower(
        self,
        root: RootPlan,
        outbox: Outbox,
        operation_id: bytes,
        coalesce: Coalesce | None,
        on_end: Callable[[], None],
    ) -> StreamSubscriber:
        """See LogCohort."""
        return StreamSubscriber(self, outbox, operation_id, coalesce, on_end, root)

    def listen(self, failed: Failed) -> None:
        """``failed`` is told when rows nested in those of the stream can be followed no more."""
        if self._nested is not None:
            self._nested.listen(failed)

    def initial(self, cell: Cell) -> SortKey | None:
        """A cursor's initial value as places begin with it; of None, which is before all, None."""
        return None if cell is None else self._moves.value(cell)

    def push(self, changes: Sequence[Change], entry: Entry) -> None:
        """See LogCohort: it publishes the rows that rose."""
        moves = self._moves.of(changes) if self.members else ()
        if not moves:
            return
        self._lows.add(entry.seq, moves[0].now)
        rose = [move for move in moves if move.rose]
        if not rose or not self._attended:
            return
        if self._nested is not None or len(rose) > BROADCAST_CHANGES_MAX:
            self._replay.know(entry.seq, moves)
            self._all_fall_behind(entry.seq - 1)
            return
        self._set_aside(rose[0].now, entry.seq - 1)
        fragment = self._fragment
        rows = [(move.key, fragment(move.key, move.row)) for move in rose] if self.at_head else []
        self._publish(self._batches.payloads(rows), entry.seq - 1, len(rows))

    def _set_aside(self, first: SortKey, base_seq: int) -> None:
        """Let members pull whose initial value lies beyond some of what is published: they get the rest."""
        if beyond(first, self._initial):
            return
        self._fall_behind([each for each in self.at_head if not beyond(first, each.initial)], base_seq)
        self._initial = max((each.initial for each in self.at_head if each.initial is not None), default=None)

    def nothing(self) -> bytes:
        """See LogCohort."""
        return self._batches.payload(())

    def close(self) -> None:
        """See LogCohort."""
        self._close_scan()
        if self._nested is not None:
            self._nested.unlisten()
            self._nested = None
            self._slices.add(Discard(*self._source.fragments.give_back(self._encoder)))

    # what subscribers call

    def seen(self, row: Row) -> Row | None:
        """See LogCohort: whether it is in sight; which cells of it are, who writes it knows."""
        return row if self._match is None or self._match(row) else None

    def entering(self, standing: Standing, ahead: SortKey | None, initial: SortKey | None) -> Entering:
        """What rises for a reader that comes from another cohort, and stood there."""
        return Entering(
            standing,
            self._logged.images(),
            self._logged.given(self.predicate),
            self.seen,
            self.same,
            self._moves,
            self._batches,
            self._fragment,
            ahead=ahead,
            initial=initial,
        )

    def join_head(self, member: StreamSubscriber) -> None:
        """See LogCohort."""
        super().join_head(member)
        if member.initial is not None and (self._initial is None or self._initial < member.initial):
            self._initial = member.initial
        if len(self.at_head) + len(self._pacing) == len(self.members):
            self._replay.clear()  # nobody is behind any more

    def replayed(self, reading: Reading, initial: SortKey | None) -> Read:
        """The next batch of what happened, for a reader of what lies beyond ``initial``. See StreamReplay.next."""
        if not self.on_log(reading.seq):
            reading = self._recovered(reading)
        if self._nested is not None and not self._nested.ready:
            return Read(b"", reading)
        return self._replay.next(reading, initial)

    def _recovered(self, reading: Reading) -> Reading:
        """Where a reader goes on that the log does not reach back to."""
        floor, ahead = self._logged.log.floor, reading.ahead
        low = self._lows.between(reading.seq, floor)
        if low is not None and (ahead is None or low < ahead):
            ahead = low
        return Reading(floor, 0, ahead)

    def scanned(self, member: StreamSubscriber, reading: Reading) -> Read:
        """The next batch of the rows as they are, for a member that is level with the log. See StreamScan.next."""
        if self._scan is None:
            self._scan = StreamScan(
                self, self._root, self._source, self._moves, self._batches, self._slices, self._nested
            )
        return self._scan.next(member, reading, member.initial)

    def end_scan(self, member: StreamSubscriber) -> None:
        """``member`` has read all rows, or ended."""
        if self._scan is not None and not self._scan.end(member):
            self._close_scan()

    def _close_scan(self) -> None:
        scan, self._scan = self._scan, None
        if scan is not None:
            scan.close()

    def _deserted(self) -> None:
        self._replay.clear()
        self._lows = Lows()
        self._initial = None


def _same(root: RootPlan, row_type: RowType, bind: Bind) -> Same | None:
    """What rows have in common that are the same row to who asks; None if he knows them by their key."""
    if root.alike is None:
        return None
    same, seen = alike(row_type, root.alike), look(root.veil, bind)
    return same if seen is None else lambda row: same(seen(row))

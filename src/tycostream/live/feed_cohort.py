"""Cohorts of change feeds: computed once, encoded once, however many subscribe."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

from tycostream.changes import images
from tycostream.clock import Clock
from tycostream.dataflow.log import Entry, Log
from tycostream.dataflow.predicate import TRUE, Predicate, compile_predicate
from tycostream.dataflow.router import mask
from tycostream.dataflow.unkeyed import Pair, apart
from tycostream.dataflow.veil import look
from tycostream.graphql.plan import ChangeEncoder, Coalesce, Phase, Plan, Resumable, RootPlan
from tycostream.live.change_chunks import ChangeChunks
from tycostream.live.cursor import CursorBox, plan_digest
from tycostream.live.feed_subscriber import FeedSubscriber
from tycostream.live.log_cohort import BROADCAST_CHANGES_MAX, LogCohort
from tycostream.live.outbox import Outbox, Ticker
from tycostream.live.standing import Images, Standing
from tycostream.rows import Change, Key, Row

Chunks = ChangeChunks[Row] | ChangeChunks[Key] | ChangeChunks[tuple[Row | None, Row | None]]


class Finds(Protocol):
    """What finds the rows that a condition may hold for."""

    def ready(self, predicate: Predicate, /) -> bool:
        """See Indexes."""

    def rows(self, predicate: Predicate, /) -> list[Row]:
        """See Indexes."""


class Changes(Protocol):
    """What a cohort reads of its source."""

    log: Log

    def images(self) -> Images:
        """See Logged."""

    def given(self, predicate: Predicate, /) -> list[Key] | None:
        """See Logged."""

    @property
    def indexes(self) -> Finds:
        """See Indexes."""

    @property
    def definition(self) -> Hashable:
        """See LiveSource."""


class FeedCohort(LogCohort[FeedSubscriber]):
    """All subscribers of one change feed plan: who is behind gets the net of the log from its position.

    No member list of rows is kept: sight is predicate(old), predicate(new).
    """

    def __init__(
        self,
        plan: Plan,
        root: RootPlan,
        encoder: ChangeEncoder,
        source: Changes,
        ticker: Ticker,
        clock: Clock,
        cursors: CursorBox,
        on_empty: Callable[[LogCohort[Any]], None],
    ) -> None:
        super().__init__(plan, root.predicate, source, ticker, clock, on_empty)
        self.encoder = encoder
        self.source_name = root.source
        self._source = source
        self._cursors = cursors
        self._root_key = root.key
        self._digested: tuple[Hashable, bytes] | None = None
        self._match: Callable[[Row], bool] | None = (
            None if root.predicate == TRUE else compile_predicate(root.predicate)
        )
        self._look = look(root.veil)
        self._unkeyed = root.alike is not None
        self._tellers = 0  # members whose framing tells the cursor, selected or not
        self._snapshot: ChangeChunks[Row] | None = None
        self._nets: dict[tuple[int, int], ChangeChunks[tuple[Row | None, Row | None]]] = {}

    # what the hub calls

    def follower(
        self,
        root: RootPlan,
        outbox: Outbox,
        operation_id: bytes,
        coalesce: Coalesce | None,
        on_end: Callable[[], None],
    ) -> FeedSubscriber:
        """See LogCohort."""
        return FeedSubscriber(self, outbox, operation_id, coalesce, on_end, root)

    def push(self, changes: Sequence[Change], entry: Entry) -> None:
        """See LogCohort."""
        if not self._attended:
            return
        if len(changes) > BROADCAST_CHANGES_MAX:
            self._all_fall_behind(entry.seq - 1)
            return
        encoder = self.encoder
        if self._look is None and not self._unkeyed:
            encoded = [
                encoder.change(old, new)
                for old, new in images(changes)
                if old is None or new is None or encoder.differs(old, new)
            ]
        else:
            encoded = [encoder.change(old, new) for old, new in self._told(changes)]
        if encoded:
            cursor = self.cursor()
            payload = self.payload(Phase.LIVE, encoded, complete=True, resync=entry.resync, cursor=cursor)
            self._publish([payload], entry.seq - 1, len(encoded))

    def _told(self, changes: Iterable[Change]) -> list[Pair]:
        """What is to be told of changes in sight: the images as they are seen."""
        look, differs = self._look, self.encoder.differs
        pairs: Iterable[Pair] = ((old, new) for _, old, new in changes)
        if look is not None:
            pairs = (
                (old and look(old), new and look(new)) for old, new in pairs
            )  # a row has a cell at least
        if self._unkeyed:
            return apart(pairs, self.encoder.same)
        return [(old, new) for old, new in pairs if old is None or new is None or differs(old, new)]

    def heartbeat(self) -> None:
        """Publish an empty set with a new cursor: on a fixed clock, so it tells nothing about hidden rows."""
        if self.encoder.wants_cursor:
            if self.at_head:
                self._offer([self.nothing()], self.head, 0)
            for member in list(self._pacing):
                member.heartbeat()
        elif self._tellers and not self._published:  # else they are about to be told
            for member in [each for each in (*self.at_head, *self._pacing) if _tells(each)]:
                if member in self.at_head:
                    self._leave_head(member)
                member.heartbeat()

    def nothing(self) -> bytes:
        """See LogCohort."""
        return self.payload(Phase.LIVE, (), complete=True, resync=False, cursor=self.cursor())

    # what subscribers call

    def enter(self, member: FeedSubscriber) -> None:
        """See LogCohort."""
        super().enter(member)
        if _tells(member):
            if not self._tellers:  # what was encoded till now says nothing of cursors
                self._deserted()
            self._tellers += 1

    def leave(self, member: FeedSubscriber) -> None:
        """See LogCohort."""
        self._tellers -= _tells(member)
        super().leave(member)

    def _deserted(self) -> None:
        self._nets.clear()
        self._snapshot = None

    def snapshot(self) -> ChangeChunks[Row] | None:
        """The rows in sight as they are now, in shared chunks; joiners of one tick and later share one in progress.

        None while an index that finds them is being made: ask again in the next turn.
        """
        current = self._snapshot
        if current is not None and current.read and self.on_log(current.to_seq):
            return current
        indexes = self._source.indexes
        if not indexes.ready(self.predicate):
            return None
        rows = indexes.rows(self.predicate)
        self._snapshot = ChangeChunks(
            rows, self._inserted(), self.payload, Phase.SNAPSHOT, self.head, self.cursor()
        )
        return self._snapshot

    def _inserted(self) -> Callable[[Row], bytes | None]:
        change, match, look = self.encoder.change, self._match, self._look
        if match is None and look is None:
            return lambda row: change(None, row)

        def inserted(row: Row) -> bytes | None:
            if match is not None and not match(row):
                return None
            return change(None, row if look is None else look(row))

        return inserted

    def release(self, chunks: Chunks) -> None:
        """A reader of ``chunks`` is done; a snapshot that nobody reads is not kept."""
        if chunks is self._snapshot and not chunks.read:
            self._snapshot = None

    def net(self, seq: int) -> Chunks | None:
        """The net of (seq, head] as this cohort sees it, shared by all who ask for it; None: nothing to tell."""
        key = (seq, self.head)
        if key in self._nets:
            return self._nets[key]
        changes, resync = self._source.log.net(seq)
        if self._match is not None:
            masked = (mask(change, self._match) for change in changes)
            changes = [change for change in masked if change is not None]
        visible = self._told(changes)
        if not visible:
            return None
        if any(to != self.head for _, to in self._nets):
            self._nets.clear()  # only nets up to the present head can be asked for again
        change = self.encoder.change
        self._nets[key] = chunks = ChangeChunks(
            visible,
            lambda pair: change(*pair),
            self.payload,
            Phase.LIVE,
            self.head,
            self.cursor(),
            resync=resync,
        )
        return chunks

    def seen(self, row: Row) -> Row | None:
        """See LogCohort."""
        if self._match is not None and not self._match(row):
            return None
        return row if self._look is None else self._look(row)

    def difference(self, standing: Standing) -> ChangeChunks[Key]:
        """From what was seen by another plan to what is seen now: nothing at all if that is the same."""
        rows, encoder = self._source.images(), self.encoder

        def encode(key: Key) -> bytes | None:
            row = rows.get(key)
            old, new = standing.before(key), None if row is None else self.seen(row)
            if old is None or new is None:
                return None if old is new else encoder.change(old, new)
            if self._unkeyed:
                same = encoder.same(old) == encoder.same(new)
                return None if same else encoder.change(old, None) + b"," + encoder.change(None, new)
            return encoder.change(old, new) if encoder.differs(old, new) else None

        keys = standing.keys(rows, self._source.given(self.predicate))
        return ChangeChunks(keys, encode, self.payload, Phase.LIVE, self.head, self.cursor(), quiet=True)

    def cursor(self) -> str | None:
        """The cursor of the source's present position, if anybody is told: to seal one costs."""
        if not (self.encoder.wants_cursor or self._tellers):
            return None
        return self._cursors.seal(self._source.log.position, self._digest())

    def seq_of(self, cursor: str) -> int | None:
        """Where a client's cursor stands on the log; None: start again."""
        position = self._cursors.open(cursor, self._digest())
        return None if position is None else self._source.log.seq_at(position)

    def payload(
        self, phase: Phase, changes: Sequence[bytes], *, complete: bool, resync: bool, cursor: str | None
    ) -> bytes:
        """A whole execution result with one change set."""
        value = self.encoder.result(phase, changes, complete=complete, resync=resync, cursor=cursor)
        payload = self.plan.payload([value])
        return Resumable(payload, cursor) if self._tellers and cursor is not None else payload

    def _digest(self) -> bytes:
        """What a cursor is good for: this plan, over these rows."""
        definition = self._source.definition
        if self._digested is None or self._digested[0] != definition:
            self._digested = definition, plan_digest((self._root_key, definition))
        return self._digested[1]


def _tells(member: FeedSubscriber) -> bool:
    return member.outbox.framing.tells_cursor

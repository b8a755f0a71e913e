"""Cohorts of change feeds: computed once, encoded once, however many subscribe."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from tycostream.clock import Clock, Timer
from tycostream.dataflow.log import Entry, Log
from tycostream.dataflow.predicate import TRUE, Predicate, compile_predicate
from tycostream.dataflow.router import mask
from tycostream.graphql.plan import ChangeEncoder, Phase, Plan, RootPlan, with_stale
from tycostream.live.change_chunks import ChangeChunks
from tycostream.live.cursor import CursorBox, plan_digest
from tycostream.live.feed_subscriber import FeedSubscriber
from tycostream.live.outbox import Ticker
from tycostream.live.subscriber import offer_all
from tycostream.rows import Change, Row

_BROADCAST_CHANGES_MAX = 200  # a larger transaction is sliced: members pull it in shared chunks


Chunks = ChangeChunks[Row] | ChangeChunks[tuple[Row | None, Row | None]]


class Finds(Protocol):
    """What finds the rows that a condition may hold for."""

    def ready(self, predicate: Predicate, /) -> bool:
        """See Indexes."""

    def rows(self, predicate: Predicate, /) -> list[Row]:
        """See Indexes."""


class Changes(Protocol):
    """What a cohort reads of its source."""

    log: Log

    @property
    def indexes(self) -> Finds:
        """See Indexes."""

    @property
    def definition(self) -> Hashable:
        """See LiveSource."""


class FeedCohort:
    """All subscribers of one change feed plan.

    Members at the head get the bytes of each set as it is published; the others, for whatever reason they are behind,
    get the net of the log from their position. No member list of rows is kept: sight is predicate(old), predicate(new).
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
        on_empty: Callable[[FeedCohort], None],
    ) -> None:
        self.key = plan.cohort_key
        self.predicate = root.predicate
        self.encoder = encoder
        self.source_name = root.source
        self.clock = clock
        self._plan = plan
        self._source = source
        self._ticker = ticker
        self._cursors = cursors
        self._on_empty = on_empty
        self._root_key = root.key
        self._digested: tuple[Hashable, bytes] | None = None
        self._match: Callable[[Row], bool] | None = (
            None if root.predicate == TRUE else compile_predicate(root.predicate)
        )
        self.members: set[FeedSubscriber] = set()
        self.at_head: dict[FeedSubscriber, None] = {}
        self._pacing: dict[FeedSubscriber, None] = {}  # coalescing members, told that something was published
        self._published: list[bytes] = []
        self._base_seq = 0  # where members at the head stood before anything in _published
        self._snapshot: ChangeChunks[Row] | None = None
        self._nets: dict[tuple[int, int], ChangeChunks[tuple[Row | None, Row | None]]] = {}
        self.stale = False
        self._telling = False  # the staleness is among what was published
        self.linger: Timer | None = None

    # what the hub calls

    def push(self, changes: Sequence[Change], entry: Entry) -> None:
        """Publish a batch as this cohort sees it."""
        if len(changes) > _BROADCAST_CHANGES_MAX:
            self._all_fall_behind(entry.seq - 1)
            return
        encoder = self.encoder
        encoded = [
            encoder.change(old, new)
            for _, old, new in changes
            if old is None or new is None or encoder.differs(old, new)
        ]
        if encoded:
            cursor = self.cursor()
            payload = self.payload(Phase.LIVE, encoded, complete=True, resync=entry.resync, cursor=cursor)
            self._publish(payload, entry.seq - 1)

    def heartbeat(self) -> None:
        """Publish an empty set with a new cursor: on a fixed clock, so it tells nothing about hidden rows."""
        if not self.encoder.wants_cursor:
            return
        if self.at_head:
            payload = self.payload(Phase.LIVE, (), complete=True, resync=False, cursor=self.cursor())
            self._offer(payload, self._source.log.head)
        for member in list(self._pacing):
            member.heartbeat()

    def tell_stale(self, stale: bool) -> None:
        """The source went stale, or is live again: every member learns it, those that are behind when they pull."""
        if stale is self.stale:
            return
        self.stale = stale
        if self.at_head:
            payload = self.payload(Phase.LIVE, (), complete=True, resync=False, cursor=self.cursor())
            self._telling = True
            self._offer(with_stale(payload, stale), self._source.log.head)
        for member in list(self._pacing):
            member.hurry()

    def _publish(self, payload: bytes, base_seq: int) -> None:
        for member in list(self._pacing):
            member.published(base_seq)
        self._offer(payload, base_seq)

    def _offer(self, payload: bytes, base_seq: int) -> None:
        if self.at_head:
            if not self._published:
                self._base_seq = base_seq
            self._published.append(payload)
            self._ticker.flush_cohort(self)

    def _all_fall_behind(self, base_seq: int) -> None:
        for member in list(self._pacing):
            member.published(base_seq)
        base_seq = self._base_seq if self._published else base_seq
        self._published.clear()
        self._telling = False
        behind, self.at_head = self.at_head, {}
        for member in behind:
            member.fall_behind(base_seq)

    def flush(self) -> None:
        """Send what was published to the members at the head; whoever's socket is busy falls behind instead."""
        payloads, self._published = self._published, []
        if not payloads:
            return
        for member in offer_all(self.at_head, payloads):
            del self.at_head[member]
            member.fall_behind(self._base_seq)
        if self._telling:
            self._telling = False
            for member in self.at_head:
                member.told_stale = self.stale

    # what subscribers call

    @property
    def head(self) -> int:
        """The sequence number of the newest batch."""
        return self._source.log.head

    def on_log(self, seq: int) -> bool:
        """Whether the net since ``seq`` can still be told."""
        return seq >= self._source.log.floor

    def join_head(self, member: FeedSubscriber) -> None:
        """``member`` has everything up to the head."""
        if member.paced:
            self._pacing[member] = None
        else:
            self.at_head[member] = None

    def leave_head(self, member: FeedSubscriber) -> None:
        """``member`` pulls now; it joins again when it is level."""
        self._pacing.pop(member, None)

    def leave(self, member: FeedSubscriber) -> None:
        """``member`` ended."""
        self.members.discard(member)
        self.at_head.pop(member, None)
        self._pacing.pop(member, None)
        if not self.members:
            self._nets.clear()  # nobody reads them; and they refer to this, which the collector may not look at
            self._snapshot = None
            self._on_empty(self)

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
        change, match = self.encoder.change, self._match
        if match is None:
            return lambda row: change(None, row)
        return lambda row: change(None, row) if match(row) else None

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
        differs = self.encoder.differs
        visible = [(old, new) for _, old, new in changes if old is None or new is None or differs(old, new)]
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

    def cursor(self) -> str | None:
        """The cursor of the source's present position, if the selection asks for one."""
        if not self.encoder.wants_cursor:
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
        return self._plan.payload([value])

    def _digest(self) -> bytes:
        """What a cursor is good for: this plan, over these rows."""
        definition = self._source.definition
        if self._digested is None or self._digested[0] != definition:
            self._digested = definition, plan_digest((self._root_key, definition))
        return self._digested[1]

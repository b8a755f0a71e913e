"""Replication messages to whole transactions of the followed sources. Pure: no connection, no waiting.

While a source is read late its changes are held back here with their transaction numbers, and folded into what was
read once the stream has passed everything that read can have seen (design 4).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event, Progress, SnapshotPart
from tycostream.engines.decode import pgoutput
from tycostream.engines.decode.netting import weight
from tycostream.engines.libpq import retry
from tycostream.engines.postgres.catalogue import Table
from tycostream.engines.postgres.reading import LateRead
from tycostream.engines.postgres.rewind import Held, Prior, rewound
from tycostream.engines.postgres.tables import UNKNOWN, Mapper, fold
from tycostream.engines.postgres.watch import Mark
from tycostream.errors import Action, UpstreamError
from tycostream.rows import TRUNCATE, Batch, Change, Position, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.reruns import Reruns

PART_ROWS: Final = 5_000
_AT: Final = 25  # where the plugin's message begins in an XLogData
_ROW_BYTES_MIN: Final = _AT + 7
_XLOG: Final = 0x77
_ROWS: Final = b"IUD"
_RECENT: Final = 4096  # transactions that may be streamed and not to be seen yet: one a connection at most
_HELD_BYTES_MAX = 256 * 2**20  # of one source's changes while it is read
_TRANSACTION_BYTES_MAX = 256 * 2**20  # of one transaction, which is yielded whole


@dataclass(eq=False)
class Followed:
    """A source of the stream. While ``held`` is a list, its changes wait there with their transaction numbers.

    ``mark``: its table as it was before it was read, to be compared with what it is later. ``after``: what ends up to
    there is known already. ``rewinds``: its snapshot is to be as old as the stream's history allows. ``before``: the
    numbers of transactions that the stream had passed when it was added, which its read must see.
    """

    row_type: RowType
    config: SourceConfig
    table: Table
    mark: Mark
    held: list[Held] | None = None
    held_bytes: int = 0
    late: LateRead | None = None
    task: asyncio.Task[None] | None = None
    after: int = 0
    rewinds: bool = False
    before: tuple[int, ...] = ()
    mappers: dict[int, Mapper] = field(default_factory=dict)

    width: int = 0  # how many columns its rows have

    def __post_init__(self) -> None:
        self.width = len(self.row_type.columns)
        self.mappers = {oid: Mapper(self.row_type, self.table) for oid in self.table.oids}


class Assembly:
    """The sources that a stream follows, and the transactions that it puts together for them.

    ``push`` is given each event, in order; ``failed`` each source that cannot go on, with the reason; ``reshaped`` is
    called when the stream has told a table's shape anew, which it does after more than it says.
    """

    def __init__(
        self,
        position: Position,
        sources: dict[str, Followed],
        push: Callable[[Event], None],
        failed: Callable[[str, UpstreamError], None],
        reshaped: Callable[[], None],
    ) -> None:
        self.position = position
        self._push, self._failed, self._reshaped = push, failed, reshaped
        self.sources = sources
        self.reruns: Reruns | None = None  # told which tables a transaction changed
        self._touched: set[int] = set()
        self._routes: dict[int, list[tuple[str, Followed, Mapper]]] = {}  # of the sources, by relation
        self._relations: dict[int, pgoutput.Relation] = {}
        self._inside = False  # between Begin and Commit: neither positions nor releases may happen there
        self._xid, self._bytes = 0, 0
        self._changes: dict[str, list[Change]] = {}
        self._kept: dict[str, list[tuple[Change | UpstreamError, Prior]]] = {}  # the same of held sources
        self._start = position
        self._recent: deque[int] = deque(maxlen=_RECENT)

    def begin(self, lsn: int) -> None:
        """The stream begins after ``lsn``, later than it might."""
        self.position = self._start = self.position._replace(offset=lsn)

    def add(self, name: str, followed: Followed) -> None:
        """Follow a source from here on."""
        self.sources[name] = followed
        followed.before = self.recent
        for oid, mapper in followed.mappers.items():
            self._routes.setdefault(oid, []).append((name, followed, mapper))
            if (relation := self._relations.get(oid)) is not None:
                mapper.relation(relation)

    def remove(self, name: str) -> Followed | None:
        """Follow it no more: nothing of it leaves from here on, not even what has arrived of a transaction."""
        self._changes.pop(name, None)
        self._kept.pop(name, None)
        followed = self.sources.pop(name, None)
        for oid in followed.mappers if followed is not None else ():
            left = [route for route in self._routes[oid] if route[1] is not followed]
            if left:
                self._routes[oid] = left
            else:
                del self._routes[oid]
        return followed

    @property
    def recent(self) -> tuple[int, ...]:
        """The numbers of the last transactions that the stream has passed, or is in: a read need not see them yet."""
        return (*self._recent, self._xid) if self._inside else tuple(self._recent)

    @property
    def waiting(self) -> bool:
        """Whether a source waits for the stream to pass its read."""
        late = any(followed.late is not None for followed in self.sources.values())
        return late or (self.reruns is not None and self.reruns.waiting)

    def take(self, data: bytes) -> bool:
        """One message of the connection; whether the server wants an answer at once. UpstreamError ends the stream."""
        if len(data) > _ROW_BYTES_MIN and data[_AT] in _ROWS and data[0] == _XLOG:
            self._row(data)
            return False
        outer = pgoutput.decode_copy(data)
        if isinstance(outer, pgoutput.Keepalive):
            if not self._inside:
                self._advance(outer.end_lsn)
            return outer.reply_now
        message = pgoutput.decode(outer.payload)
        if isinstance(message, pgoutput.Begin):
            self._inside, self._xid, self._bytes = True, message.xid, 0
            self._changes, self._kept = {}, {}
        elif isinstance(message, pgoutput.Commit):
            self._commit(message)
        elif isinstance(message, pgoutput.Relation):
            self._relation(message)
        elif isinstance(message, pgoutput.Truncate):
            if self.reruns is not None:
                self._touched.update(oid for oid in message.oids if oid in self.reruns.watched)
            self._truncate(frozenset(message.oids))
        return False

    def _row(self, data: bytes) -> None:
        """A row was inserted, updated or deleted; of a table that nobody reads that is all there is to know."""
        oid = int.from_bytes(data[_AT + 1 : _AT + 5])
        if self.reruns is not None and oid in self.reruns.watched:
            self._touched.add(oid)
        for name, followed, mapper in self._routes.get(oid, ()):
            prior: Prior = UNKNOWN
            try:
                change: Change | UpstreamError = mapper.change(data, _AT)
                if followed.rewinds:
                    prior = mapper.before(data, _AT)
            except UpstreamError as error:
                change = error
            self._change(name, followed, change, weight(len(data), followed.width), prior)

    def _commit(self, commit: pgoutput.Commit) -> None:
        self._inside = False
        self._advance(commit.end_lsn)
        for name, kept in self._kept.items():
            if (held := self.sources[name].held) is not None:
                held.append(Held(self._xid, commit.end_lsn, kept))
        for name in [name for name in self._changes if commit.end_lsn <= self.sources[name].after]:
            del self._changes[name]
        if self._changes:
            self._push(Batch(self.position, self._changes))
        self._changes, self._kept = {}, {}
        if self._touched and self.reruns is not None:
            self.reruns.committed(self._xid, self._touched)
        self._touched = set()
        self._recent.append(self._xid)
        # Released here, at a transaction's end, a source's snapshot stands between whole transactions.
        self.release()

    def _relation(self, relation: pgoutput.Relation) -> None:
        self._relations[relation.oid] = relation
        self._replaced(relation)
        for name, followed, mapper in list(self._routes.get(relation.oid, ())):
            mapper.relation(relation)
            if mapper.misfit is not None and followed.held is None:
                self._failed(name, mapper.misfit)
        self._reshaped()

    def _replaced(self, relation: pgoutput.Relation) -> None:
        """A table made again under its name: its source must not stand still while the others go on, until we look."""
        for name, followed in list(self.sources.items()):
            table = followed.table
            if (table.schema, table.name) == (relation.schema, relation.name) and table.oid != relation.oid:
                said = f"source {name}: {table.sql} is another table now"
                self._failed(name, retry("source-altered", said, hint="it is read anew"))

    def _truncate(self, oids: frozenset[int]) -> None:
        named = {name: followed for oid in oids for name, followed, _ in self._routes.get(oid, ())}
        for name, followed in named.items():
            leaves = {part.oid for part in followed.table.leaves}
            change: Change | UpstreamError = TRUNCATE
            if (
                followed.table.oid not in oids and not leaves <= oids
            ):  # which rows those were, nobody knows here
                change = retry("source-altered", f"source {name}: a partition of it was truncated")
            self._change(name, followed, change, weight(0, 0))

    def _advance(self, lsn: int) -> None:
        if lsn > self.position.offset:
            self.position = self.position._replace(offset=lsn)

    def _change(
        self, name: str, followed: Followed, change: Change | UpstreamError, size: int, prior: Prior = UNKNOWN
    ) -> None:
        """Keep a change until its transaction is whole, or its source is read. ``size``: about how many bytes.

        A change that cannot be understood is an error: of no account if the read of the table turns out to be later.
        """
        if followed.held is not None:
            followed.held_bytes += size
            if followed.held_bytes > _HELD_BYTES_MAX:
                said = (
                    f"{followed.table.sql} changed by more than {_HELD_BYTES_MAX >> 20} MiB while it was read"
                )
                self._failed(name, retry("held-back", said, hint="it is tried again"))
                return
            self._kept.setdefault(name, []).append((change, prior))
        elif isinstance(change, UpstreamError):
            self._failed(name, change)
        else:
            self._bytes += size
            if self._bytes > _TRANSACTION_BYTES_MAX:
                raise UpstreamError(
                    "transaction-too-large",
                    f"a transaction changed more than {_TRANSACTION_BYTES_MAX >> 20} MiB of the followed tables",
                    action=Action.RESYNC,
                    detail=f"transaction {self._xid}; the last change was of {followed.table.sql}",
                    hint="the tables are read anew, and the difference is told; write in smaller transactions",
                )
            self._changes.setdefault(name, []).append(change)

    def release(self) -> None:
        """Tell what was read beside the stream and is no newer than it: snapshots of late sources, results of re-runs."""
        if self._inside:
            return
        if self.reruns is not None:
            self.reruns.release(self.position)
        for name, followed in list(self.sources.items()):
            late, held = followed.late, followed.held
            if held is None or late is None or self.position.offset < late.lsn:
                continue
            if not all(late.seen.visible(xid) for xid in followed.before):
                # Streamed before we held changes back, and not to be seen yet: a commit may wait for a standby.
                said = f"{followed.table.sql} was read before transactions could be seen that were streamed already"
                self._failed(name, retry("read-too-early", said, hint="it is tried again"))
                continue
            try:
                self._told(name, followed, late, held)
            except UpstreamError as error:
                self._failed(name, error)

    def _told(self, name: str, followed: Followed, late: LateRead, held: list[Held]) -> None:
        if followed.rewinds:
            rows, left = rewound(followed.row_type, late.rows, held, late.seen)
            position = self._start if not left else self._start._replace(offset=held[left - 1].lsn)
            again = [(one.lsn, list(one.told())) for one in held[left:]]
        else:
            fresh = [change for one in held if not late.seen.visible(one.xid) for change in one.told()]
            rows, position, again = fold(followed.row_type, late.rows, fresh), self.position, []
        followed.held, followed.late, followed.task, followed.rewinds = None, None, None, False
        last = max(0, (len(rows) - 1) // PART_ROWS * PART_ROWS)
        for start in range(0, last, PART_ROWS):
            self._push(SnapshotPart(name, rows[start : start + PART_ROWS]))
        self._push(SnapshotPart(name, rows[last:], position))
        for lsn, changes in again:
            self._push(Batch(position._replace(offset=lsn), {name: changes}))
        if self.position > position:
            self._push(Progress(self.position, name))

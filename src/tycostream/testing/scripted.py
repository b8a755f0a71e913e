"""A scripted upstream and a recording client: real implementations of Engine, Stream, Framing and Sink, in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Mapping, Sequence

import msgspec

from tycostream.config.model import SourceConfig
from tycostream.engines.base import (
    CatalogueTable,
    Event,
    Finding,
    Finished,
    Leftover,
    Progress,
    SnapshotPart,
    SourceFailed,
    without,
)
from tycostream.errors import Action, RequestError, UpstreamError
from tycostream.live.outbox import Outbox
from tycostream.rows import TRUNCATE, Batch, Change, Position, Row, RowType


class ScriptedEngine:
    """A database in memory: ``commit`` makes a transaction, ``cut`` loses the connection. One stream at a time.

    ``share_positions`` False gives each source batches and progress of its own. ``history`` is how many transactions
    can be resumed over (None: none, every added source gets a snapshot). ``refuse`` is what ``open`` and ``probe``
    raise while it is set; ``unreadable`` is what the ``describe`` of a source raises.
    """

    def __init__(
        self,
        row_types: Sequence[RowType],
        incarnation: str = "scripted",
        *,
        share_positions: bool = True,
        history: int | None = None,
    ) -> None:
        self.row_types = {row_type.source: row_type for row_type in row_types}
        self.tables: dict[str, list[Row]] = {name: [] for name in self.row_types}
        self.incarnation = incarnation
        self.share_positions = share_positions
        self.level_first = False
        self.offset = 0
        self.stream: ScriptedStream | None = None
        self.opened = 0
        self.probed = 0
        self.refuse: UpstreamError | None = None
        self.unreadable: dict[str, UpstreamError] = {}
        self.url = ""
        self.enums: Mapping[str, tuple[str, ...]] = {}
        self.asked_at = 0  # positions below count as the past, which sources catch up with
        self._history: deque[Batch] = deque(maxlen=history or 0)
        self._resumable = history is not None
        self._floor = 0  # what was committed after this offset is in the history

    @property
    def position(self) -> Position:
        """The newest commit, or progress."""
        return Position(self.incarnation, 0, self.offset)

    def commit(self, changes: Mapping[str, Sequence[tuple[Row | None, Row | None]]]) -> None:
        """A transaction of (old, new) rows per table; None, None truncates."""
        self.offset += 1
        made: dict[str, list[Change]] = {}
        for name, pairs in changes.items():
            table, row_type = self.tables[name], self.row_types[name]
            for old, new in pairs:
                if old is None and new is None:
                    table.clear()
                    made.setdefault(name, []).append(TRUNCATE)
                    continue
                if old is not None:
                    table.remove(old)
                if new is not None:
                    table.append(new)
                key = row_type.key_of(old if old is not None else new) if row_type.keyed else None  # type: ignore[arg-type]
                made.setdefault(name, []).append(Change(key, None if row_type.keyed else old, new))
        batch = Batch(self.position, made)
        if len(self._history) == self._history.maxlen:
            self._floor = self._history[0].position.offset if self._history else self.offset
        self._history.append(batch)
        if self.stream is not None:
            self.stream.deliver(batch)

    def since(self, after: Position) -> list[Batch] | None:
        """What was committed after ``after``; None if that is not known any more."""
        if not self._resumable or not after.comparable(self.position):
            return None
        if not self._floor <= after.offset <= self.offset:
            return None
        return [batch for batch in self._history if batch.position > after]

    def progress(self, source: str | None = None) -> None:
        """A sign of life: an idle database moves on, and says so of one source or of all."""
        self.offset += 1
        if self.stream is not None:
            self.stream.progress(source)

    def cut(self) -> None:
        """Lose the connection; commits go on unseen."""
        if self.stream is not None:
            self.stream.end(UpstreamError("connection-lost", "the connection was cut", action=Action.RETRY))

    def stall(self) -> None:
        """The connection stays open and nothing arrives; a new one works. The database itself lives and commits."""
        if self.stream is not None:
            self.stream.stalled = True

    def resume(self) -> None:
        """What stalled arrives after all."""
        if self.stream is not None:
            self.stream.stalled = False
            self.stream.wake()

    def fail(self, source: str, error: UpstreamError) -> None:
        """One source fails; the others go on."""
        if self.stream is not None:
            self.stream.fail(source, error)

    def finish(self, source: str) -> None:
        """One source is complete and will never change."""
        if self.stream is not None:
            self.stream.finish(source)

    async def probe(self) -> None:
        """See Engine."""
        self.probed += 1
        if self.refuse is not None:
            raise self.refuse

    async def describe(self, source: SourceConfig) -> RowType:
        """See Engine."""
        if (error := self.unreadable.get(source.name)) is not None:
            raise error
        if source.name not in self.row_types:
            raise UpstreamError(
                "source-missing",
                f"source {source.name}: there is no table {source.name}",
                action=Action.FAIL,
                detail=f"tables that exist: {', '.join(sorted(self.row_types)) or 'none'}",
                hint="create the table, or correct `table:`",
            )
        return self.row_types[source.name]

    async def open(self) -> ScriptedStream:
        """See Engine."""
        if self.refuse is not None:
            raise self.refuse
        self.opened += 1
        self.stream = ScriptedStream(self)
        return self.stream

    async def check(self, sources: Sequence[SourceConfig]) -> Sequence[Finding]:
        """See Engine."""
        return [Finding("database scripted", True, "in memory")]

    async def catalogue(self) -> Sequence[CatalogueTable]:
        """See Engine."""
        return []

    async def leftovers(self) -> Sequence[Leftover]:
        """See Engine: nothing is ever made here."""
        return []

    async def remove(self, leftovers: Sequence[Leftover]) -> Sequence[Leftover]:
        """See Engine."""
        return []

    def remark(self, source: str) -> str:
        """See Engine."""
        return ""

    def catching_up(self, source: str, position: Position) -> bool:
        """See Engine."""
        return position.offset < self.asked_at

    def forget(self, source: str) -> None:
        """See Engine: nothing is kept of a source but its table."""

    def renew(self, url: str) -> None:
        """See Engine."""
        self.url = url

    async def close(self) -> None:
        """See Engine."""
        self.cut()


class ScriptedStream:
    """See Stream. What was added before the first ``read`` starts together there, at one position."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.stalled = False
        self._engine = engine
        self._sources: set[str] = set()
        self._starting: dict[str, Position | None] = {}  # added, not started: where to resume
        self._began = False
        self._events: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._error: UpstreamError | None = None

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """See Stream."""
        if self._error is not None:
            raise self._error
        name = row_type.source
        await self.remove(name)
        if (error := self._engine.unreadable.get(name)) is not None:
            self._push(SourceFailed(name, error))
            return
        self._starting[name] = after
        if self._began:
            self._start()
        self.wake()

    def _start(self) -> None:
        """Snapshots at the position of now, and what those that resume have missed, transactions kept whole."""
        resumed: dict[str, list[Batch]] = {}
        for name, after in self._starting.items():
            missed = None if after is None else self._engine.since(after)
            if missed is not None:
                resumed[name] = missed
                continue
            rows = list(self._engine.tables[name])
            half = len(rows) // 2
            self._events.append(SnapshotPart(name, rows[:half]))
            self._events.append(SnapshotPart(name, rows[half:], self._engine.position))
        self._sources |= self._starting.keys()
        self._starting = {}
        batches = {batch.position: batch for missed in resumed.values() for batch in missed}
        for position in sorted(batches):
            wanted = {name for name, missed in resumed.items() if batches[position] in missed}
            self._yield(batches[position], wanted)
        for name in resumed:
            self._events.append(Progress(self._engine.position, name))

    async def remove(self, source: str) -> None:
        """See Stream."""
        self._sources.discard(source)
        self._starting.pop(source, None)
        self._events = without(self._events, source)

    def deliver(self, batch: Batch) -> None:
        """Yield a transaction's changes of the sources that have started."""
        self._yield(batch, self._sources)
        self.wake()

    def _yield(self, batch: Batch, wanted: set[str]) -> None:
        mine = {name: changes for name, changes in batch.changes.items() if name in wanted and changes}
        if self._engine.share_positions:
            if mine:
                self._events.append(Batch(batch.position, mine))
            return
        for name, changes in mine.items():
            self._events.append(Batch(batch.position, {name: changes}))

    def progress(self, source: str | None) -> None:
        """A sign of life of the sources that have started."""
        position = self._engine.position
        if source is None and self._engine.share_positions:
            self._push(Progress(position))
            return
        for name in self._sources if source is None else self._sources & {source}:
            self._push(Progress(position, name))

    def fail(self, source: str, error: UpstreamError) -> None:
        """One source yields nothing more."""
        if source in self._sources or source in self._starting:
            self._sources.discard(source)
            self._starting.pop(source, None)
            self._push(SourceFailed(source, error))

    def finish(self, source: str) -> None:
        """One source is complete."""
        if source in self._sources:
            self._push(Finished(source))

    def end(self, error: UpstreamError) -> None:
        """End the stream."""
        self._error = self._error or error
        if self._engine.stream is self:
            self._engine.stream = None
        self.wake()

    def _push(self, event: Event) -> None:
        self._events.append(event)
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        self._ready.set()

    async def read(self) -> Sequence[Event]:
        """See Stream."""
        self._began = True
        if self._starting and not self.stalled:
            self._start()
        while not self._events or self.stalled:
            if self._error is not None:
                raise self._error
            self._ready.clear()
            await self._ready.wait()
        events = list(self._events)
        self._events.clear()
        return events

    async def close(self) -> None:
        """See Stream."""
        self.end(UpstreamError("closed", "the stream was closed", action=Action.RETRY))


class LineFraming:
    """One JSON message a line: a Framing for tests."""

    key: Hashable = "line"
    tells_cursor = False

    def next_parts(self, payloads: Sequence[bytes], id_length: int) -> list[bytes]:
        """See Framing."""
        parts = [b'{"id":"']
        for i, payload in enumerate(payloads):
            start = b'{"id":"' if i + 1 < len(payloads) else b""
            parts.append(b'","next":' + payload + b"}\n" + start)
        return parts

    def error(self, operation_id: bytes, errors: Sequence[RequestError]) -> bytes:
        """See Framing."""
        entries = msgspec.json.encode([error.to_graphql() for error in errors])
        return b'{"id":"' + operation_id + b'","error":' + entries + b"}\n"

    def complete(self, operation_id: bytes) -> bytes:
        """See Framing."""
        return b'{"id":"' + operation_id + b'","complete":true}\n'


class RecordingSink:
    """A socket that keeps what it is given; ``room`` bytes fit before it asks the outbox to pause."""

    def __init__(self, room: int | None = None) -> None:
        self.data = bytearray()
        self.writes = 0
        self.room = room
        self.outbox: Outbox | None = None
        self.aborted: tuple[int, str] | None = None
        self._unread = 0

    def write(self, data: bytes) -> None:
        """See Sink."""
        self.data += data
        self.writes += 1
        self._unread += len(data)
        if self.room is not None and self._unread >= self.room and self.outbox is not None:
            self.outbox.pause()

    def drain(self) -> None:
        """The client read everything."""
        self._unread = 0
        if self.outbox is not None:
            self.outbox.resume()

    def abort(self, code: int, reason: str) -> None:
        """See Sink."""
        self.aborted = (code, reason)

    def messages(self) -> list[dict[str, object]]:
        """What was written so far, decoded."""
        return [msgspec.json.decode(line) for line in bytes(self.data).splitlines()]

"""A scripted upstream and a recording client: real implementations of Engine, Stream, Framing and Sink, in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Mapping, Sequence

import msgspec

from tycostream.config.model import SourceConfig
from tycostream.engines.base import CatalogueTable, Event, Finding, SnapshotPart
from tycostream.errors import Action, RequestError, UpstreamError
from tycostream.live.outbox import Outbox
from tycostream.rows import TRUNCATE, Batch, Change, Position, Row, RowType


class ScriptedEngine:
    """A database in memory: ``commit`` makes a transaction, ``cut`` loses the connection. One stream at a time."""

    def __init__(self, row_types: Sequence[RowType], incarnation: str = "scripted") -> None:
        self.row_types = {row_type.source: row_type for row_type in row_types}
        self.tables: dict[str, list[Row]] = {name: [] for name in self.row_types}
        self.incarnation = incarnation
        self.offset = 0
        self.stream: ScriptedStream | None = None
        self.opened = 0
        self.refuse: UpstreamError | None = None

    @property
    def position(self) -> Position:
        """The newest commit."""
        return Position(self.incarnation, 0, self.offset)

    def commit(self, changes: Mapping[str, Sequence[tuple[Row | None, Row | None]]]) -> None:
        """A transaction of (old, new) rows per table; None, None truncates."""
        self.offset += 1
        batch: dict[str, list[Change]] = {}
        for name, pairs in changes.items():
            table, row_type = self.tables[name], self.row_types[name]
            for old, new in pairs:
                if old is None and new is None:
                    table.clear()
                    batch.setdefault(name, []).append(TRUNCATE)
                    continue
                if old is not None:
                    table.remove(old)
                if new is not None:
                    table.append(new)
                key = row_type.key_of(old if old is not None else new) if row_type.keyed else None  # type: ignore[arg-type]
                batch.setdefault(name, []).append(Change(key, None if row_type.keyed else old, new))
        if self.stream is not None:
            self.stream.deliver(batch)

    def cut(self) -> None:
        """Lose the connection; commits go on unseen."""
        if self.stream is not None:
            self.stream.fail(UpstreamError("connection-lost", "the connection was cut", action=Action.RETRY))

    async def describe(self, source: SourceConfig) -> RowType:
        """See Engine."""
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

    async def close(self) -> None:
        """See Engine."""
        self.cut()


class ScriptedStream:
    """See Stream."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine
        self._sources: set[str] = set()
        self._events: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._error: UpstreamError | None = None

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """See Stream."""
        self._sources.add(row_type.source)
        rows = list(self._engine.tables[row_type.source])
        half = len(rows) // 2
        self._push(SnapshotPart(row_type.source, rows[:half]))
        self._push(SnapshotPart(row_type.source, rows[half:], self._engine.position))

    async def remove(self, source: str) -> None:
        """See Stream."""
        self._sources.discard(source)

    def deliver(self, changes: Mapping[str, Sequence[Change]]) -> None:
        """Yield a transaction's changes of the sources that were added."""
        mine = {name: rows for name, rows in changes.items() if name in self._sources}
        if mine:
            self._push(Batch(self._engine.position, mine))

    def fail(self, error: UpstreamError) -> None:
        """End the stream."""
        self._error = error
        if self._engine.stream is self:
            self._engine.stream = None
        self._ready.set()

    def _push(self, event: Event) -> None:
        self._events.append(event)
        self._ready.set()

    async def read(self) -> Sequence[Event]:
        """See Stream."""
        while not self._events:
            if self._error is not None:
                raise self._error
            self._ready.clear()
            await self._ready.wait()
        events = list(self._events)
        self._events.clear()
        return events

    async def close(self) -> None:
        """See Stream."""
        self.fail(UpstreamError("closed", "the stream was closed", action=Action.RETRY))


class LineFraming:
    """One JSON message a line: a Framing for tests."""

    key: Hashable = "line"

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

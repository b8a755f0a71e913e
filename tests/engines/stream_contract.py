"""What base.py promises, for any engine: follow a stream, and fold it into what the tables hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tycostream.engines.base import Event, SnapshotPart, SourceFailed, Stream
from tycostream.rows import TRUNCATE, UNCHANGED, Batch, Position, Row, RowType


class Follower:
    """Reads a stream, asserts its promises, and keeps each keyed source's rows."""

    def __init__(self, stream: Stream, *row_types: RowType) -> None:
        self.stream = stream
        self.row_types = {row_type.source: row_type for row_type in row_types}
        self.rows: dict[str, dict[object, Row]] = {name: {} for name in self.row_types}
        self.snapshots: dict[str, Position] = {}
        self.failed: dict[str, SourceFailed] = {}
        self.batches: list[Batch] = []
        self.position: Position | None = None

    async def until(self, done: Callable[[], bool], timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while not done():
                events = await self.stream.read()
                assert events, "promise 7: at least one event"
                for event in events:
                    self.take(event)

    def take(self, event: Event) -> None:
        if isinstance(event, SourceFailed):
            assert event.source not in self.failed, "promise 6: once"
            self.failed[event.source] = event
            return
        if isinstance(event, SnapshotPart):
            assert event.source not in self.snapshots, "promise 3: one snapshot"
            row_type = self.row_types[event.source]
            for row in event.rows:
                key = row_type.key_of(row) if row_type.keyed else (len(self.rows[event.source]), row)
                assert key not in self.rows[event.source], "promise 3: a snapshot has each row once"
                self.rows[event.source][key] = row
            if event.position is not None:
                self.snapshots[event.source] = event.position
            return
        assert self.position is None or event.position >= self.position, "promise 4: in order"
        self.position = event.position
        if not isinstance(event, Batch):
            return
        assert event.changes, "promise 4: no empty batch"
        self.batches.append(event)
        for source, changes in event.changes.items():
            assert event.position > self.snapshots[source], "promise 3: only after the snapshot"
            for change in changes:
                self.apply(source, change)

    def apply(self, source: str, change) -> None:
        rows, row_type = self.rows[source], self.row_types[source]
        if change == TRUNCATE:
            rows.clear()
            return
        if not row_type.keyed:
            return
        old = rows.pop(change.key, None)
        if change.new is not None:
            new = change.new
            if old is not None:
                new = tuple(o if n is UNCHANGED else n for o, n in zip(old, new, strict=True))
            assert row_type.key_of(new) not in rows, "promise 3: no duplicate"
            rows[row_type.key_of(new)] = new

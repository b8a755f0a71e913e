"""What base.py promises, for any engine: follow a stream, assert each promise, and fold it into what the tables hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tycostream.engines.base import Event, Finished, Progress, SnapshotPart, SourceFailed, Stream
from tycostream.rows import TRUNCATE, UNCHANGED, Batch, Change, Position, Row, RowType


class Follower:
    """Reads a stream, asserts its promises, and keeps each source's rows: by key, or a multiset as a Counter."""

    def __init__(self, stream: Stream, *row_types: RowType) -> None:
        self.stream = stream
        self.row_types: dict[str, RowType] = {}
        self.rows: dict[str, Any] = {}
        self.snapshots: dict[str, Position] = {}
        self.positions: dict[
            str, Position
        ] = {}  # of each source that has started: all up to it has been seen
        self.failed: dict[str, SourceFailed] = {}
        self.finished: set[str] = set()
        self.removed: set[str] = set()
        self.resuming: set[str] = set()
        self.batches: list[Batch] = []
        self.progress: list[Progress] = []
        self.check: Callable[[Batch], None] = lambda batch: None  # called after every batch
        for row_type in row_types:
            self.expect(row_type)

    def expect(self, row_type: RowType) -> None:
        """A source is added, or added again: its snapshot comes first."""
        name = row_type.source
        self.row_types[name] = row_type
        self.rows[name] = {} if row_type.keyed else Counter()
        for known in (self.snapshots, self.positions, self.failed):
            known.pop(name, None)
        for marked in (self.finished, self.removed, self.resuming):
            marked.discard(name)

    def expect_resumed(self, row_type: RowType, rows: Any, after: Position) -> None:
        """A source is added with ``after``: it goes on from ``rows``, unless its engine sends a snapshot."""
        self.expect(row_type)
        self.rows[row_type.source] = rows.copy()
        self.positions[row_type.source] = after
        self.resuming.add(row_type.source)

    async def until(self, done: Callable[[], bool], timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while not done():
                await self.step()

    async def step(self) -> None:
        events = await self.stream.read()
        assert events, "promise 7: at least one event"
        for event in events:
            self.take(event)

    def multiset(self, source: str) -> Counter[Row]:
        rows = self.rows[source]
        return (
            Counter(rows.values()) if isinstance(rows, Mapping) and not isinstance(rows, Counter) else +rows
        )

    def take(self, event: Event) -> None:
        match event:
            case SourceFailed(source, error):
                assert source not in self.failed, "promise 6: once"
                assert error.message
                self.failed[source] = event
                self.positions.pop(source, None)
            case SnapshotPart(source, rows, position):
                self._part(source, rows, position)
            case Progress(position, source):
                self.progress.append(event)
                for name in [source] if source is not None else list(self.positions):
                    if name not in self.removed:
                        assert name not in self.failed, "promise 6: nothing after the failure"
                        assert position >= self.positions[name], "promise 4: positions never go back"
                        self.positions[name] = position
            case Finished(source):
                self.finished.add(source)
            case Batch():
                self._batch(event)

    def _part(self, source: str, rows: Any, position: Position | None) -> None:
        assert source not in self.removed, "nothing of a source that was removed, not even what had been read"
        assert source not in self.failed, "promise 6: nothing after the failure"
        assert source not in self.snapshots, "promise 3: one snapshot, and nothing of it after its last part"
        if source in self.resuming:  # it could not resume
            assert self.positions[source] is not None
            self.expect(self.row_types[source])
        assert source not in self.positions, "promise 3: a source's first events are its snapshot"
        for row in rows:
            self._insert(source, row)
        if position is not None:
            self.snapshots[source] = self.positions[source] = position

    def _batch(self, batch: Batch) -> None:
        assert batch.changes, "promise 4: no empty batch"
        self.batches.append(batch)
        for source, changes in batch.changes.items():
            assert source not in self.removed, (
                "nothing of a source that was removed, not even what had been read"
            )
            assert source in self.row_types, "promise 4: only sources that were added"
            assert source not in self.failed, "promise 6: nothing after the failure"
            assert source in self.positions, "promise 3: no change before the whole snapshot"
            assert batch.position > self.positions[source], "promises 3, 4, 5: after all that was told"
            assert changes, "promise 4: no source without a change"
            self.positions[source] = batch.position
            for change in changes:
                self._apply(source, change)
        self.check(batch)

    def _insert(self, source: str, row: Row) -> None:
        rows, row_type = self.rows[source], self.row_types[source]
        assert len(row) == len(row_type.columns)
        assert UNCHANGED not in row
        if not row_type.keyed:
            rows[row] += 1
            return
        assert row_type.key_of(row) not in rows, "promise 3: once"
        rows[row_type.key_of(row)] = row

    def _apply(self, source: str, change: Change) -> None:
        rows, row_type = self.rows[source], self.row_types[source]
        if change == TRUNCATE:
            rows.clear()
            return
        new = change.new
        if not row_type.keyed:
            if change.old is not None:
                assert rows[change.old] > 0, "promise 3: a row goes that never came"
                rows[change.old] -= 1
        else:
            old = rows.pop(change.key, None)
            assert new is not None or old is not None, "promise 3: a row goes that never came"
            if new is not None and old is not None:
                new = tuple(o if n is UNCHANGED else n for o, n in zip(old, new, strict=True))
        if new is not None:
            self._insert(source, new)

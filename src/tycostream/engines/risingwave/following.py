"""One source followed: what a cursor is declared for, its snapshot or where it goes on, then epoch by epoch.

A FETCH that waits returns as soon as there is something, and may then have stopped inside an epoch; one that does not wait
and returns less than it might has read to the end. So whatever comes is followed by fetches that do not wait, until
one comes back short: nothing waits for a second that a change could use.
"""

from __future__ import annotations

from asyncio import Event as Signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from psycopg import pq

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event, Progress, SnapshotPart
from tycostream.engines.decode.subscribe import Closed, Rows, SnapshotEnd
from tycostream.engines.decode.subscription import CursorDecoder
from tycostream.engines.libpq import Connection, retry
from tycostream.engines.risingwave.cursor import FETCH_ROWS, Cursor, Layout
from tycostream.engines.risingwave.errors import Refused, meaning
from tycostream.engines.risingwave.reach import Reach, next_label
from tycostream.engines.risingwave.subscriptions import load, prepared
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Batch, Position, RowType

if TYPE_CHECKING:
    from tycostream.engines.risingwave.engine import RisingWaveEngine

_WAITS_PER_STALL: Final = 4  # signs of life within `stall_after`
_WAIT_MAX_S: Final = 3
_RENEWED_AT: Final = 5 / 8  # of a cursor's life; the next one begins half a life ago, see ``Reach``


class Following:
    """Follows one source over ``connection``. ``tell`` takes its events; ``room`` is set while they are read."""

    def __init__(
        self,
        engine: RisingWaveEngine,
        source: SourceConfig,
        row_type: RowType,
        connection: Connection,
        tell: Callable[[Event], None],
        room: Signal,
    ) -> None:
        self._engine, self._clock = engine, engine.clock
        self._source, self._row_type = source, row_type
        self._connection, self._tell, self._room = connection, tell, room
        stall_s = engine.config.stall_after.total_seconds()
        self._wait_s = max(1, min(_WAIT_MAX_S, int(stall_s / _WAITS_PER_STALL)))
        self._ahead_ms = 0.0  # RisingWave's time less our monotonic clock's
        self._fresh_s = 0.0  # when the cursor's life began, or began anew
        self._position: Position | None = None

    async def run(self, after: Position | None) -> None:
        """Follow until it fails: UpstreamError, or Refused with what the server said."""
        source = self._source
        relation = await self._engine.relation_of(source)
        self._layout = Layout(source, self._row_type, relation)
        self._target = await prepared(self._engine, source, relation, self._connection)
        self._incarnation = f"{self._target.identity}/{self._engine.life}"
        self._retention_ms = self._target.subscription.retention_s * 1000
        self._cursor = Cursor(self._connection, self._target.subscription.sql, self._engine.statement_s)
        await self._look_at_clock()
        if not await self._resumed(after):
            await self._snapshot()
        await self._drain()
        while True:
            await self._wait()

    # beginning

    async def _resumed(self, after: Position | None) -> bool:
        """Go on after a position; False if a snapshot must be read instead."""
        name, reach = self._source.name, self._engine.reached.get(self._source.name)
        if after is None or reach is None or {reach.incarnation, after.incarnation} != {self._incarnation}:
            return False
        since = reach.since(after.offset, self._retention_ms)
        if since is None:
            return False
        if after.offset < reach.offset:
            reach.offset, reach.drained_ms = after.offset, 0
        self._decoder = CursorDecoder(self._row_type, after.offset, snapshot=False)
        self._reach, self._position = reach, after
        self._engine.behind.add(name)
        try:
            await self._declare(since)
            result = await self._cursor.fetch(None)
        except Refused as refused:
            error = meaning(refused.error, name, self._engine.url, self._engine.role)
            self._engine.behind.discard(name)
            if error.action is not Action.RESYNC:
                raise
            await self._cursor.close()
            return False  # the history is gone, the rows are not
        await self._take(result)
        return True

    async def _snapshot(self) -> None:
        """Read all rows. Nothing marks their end, and a table that was altered may cut one fetch short."""
        engine, name = self._engine, self._source.name
        known = engine.reached.get(name)
        label = next_label(known if known is not None and known.incarnation == self._incarnation else None)
        engine.behind.discard(name)
        self._decoder = CursorDecoder(self._row_type, label, snapshot=True)
        self._position = None
        await self._cursor.declare(None)
        self._fresh_s = self._clock.monotonic()
        taken_ms = await self._look_at_clock()
        self._reach = engine.reached[name] = Reach(self._incarnation, label, label, taken_ms, 0)
        short = 0
        while self._decoder.in_snapshot:
            result = await self._cursor.fetch(None)
            await self._take(result)
            short = short + 1 if result.ntuples < FETCH_ROWS else 0
            if short == 2:
                self._decoder.snapshot_done()
                self._give()

    async def _declare(self, since_ms: int) -> None:
        """A cursor that goes on. A subscription made anew meanwhile would hide what came before it, so it is looked at."""
        await self._cursor.declare(since_ms)
        self._fresh_s = self._clock.monotonic()
        mine = self._target.subscription
        if not any(each.id == mine.id for each in await load(self._engine.control, mine.schema, mine.name)):
            raise UpstreamError(
                "subscription-changed",
                f"source {self._source.name}: its subscription {mine.schema}.{mine.name} is another one now",
                action=Action.RESYNC,
                hint="it is read again, and the difference is told",
            )

    # going on

    async def _wait(self) -> None:
        """Until something comes, or nothing has for a while, which is a sign of life too."""
        asked_ms = self._now_ms()
        result = await self._cursor.fetch(self._wait_s)
        await self._take(result)
        if result.ntuples:
            await self._drain()
            return
        # the fetch before this one came back short, so this is no altered table but the end of the log
        self._reach.drained_ms = max(self._reach.drained_ms, asked_ms)
        self._tell_progress()
        if (self._clock.monotonic() - self._fresh_s) * 1000 > self._retention_ms * _RENEWED_AT:
            await self._renew()

    async def _drain(self) -> None:
        """Read to the end of the log: what is open then is complete."""
        while True:
            result = await self._cursor.fetch(None)
            await self._take(result)
            if result.ntuples < FETCH_ROWS:
                break
        self._decoder.drained()
        self._engine.behind.discard(self._source.name)
        self._give()
        self._tell_progress()

    async def _renew(self) -> None:
        """A cursor on a quiet table expires; another one takes over where this one stands, none of its epochs missed.

        The new one is declared first, from a moment before all that was not told; the old one is then read to its end, and
        what both have is dropped.
        """
        assert self._position is not None
        since = self._reach.since(self._position.offset, self._retention_ms)
        if since is None:
            raise retry("cursor-expired", f"source {self._source.name}: its cursor cannot be renewed")
        await self._declare(since)
        short = 0
        while short < 2:
            result = await self._cursor.fetch(None, former=True)
            await self._take(result)
            short = short + 1 if result.ntuples < FETCH_ROWS else 0
        self._decoder.again()
        self._give()
        await self._cursor.close(former=True)
        await self._drain()

    async def _take(self, result: pq.abc.PGresult) -> None:
        fetched = self._layout.read(result)
        if fetched.stamps and fetched.stamps[-1] is not None:
            self._fresh_s = self._clock.monotonic()
        await self._room.wait()
        self._decoder.feed(fetched)
        self._give()

    def _give(self) -> None:
        """Turn what the decoder knows into events."""
        name = self._source.name
        for item in self._decoder.take():
            match item:
                case Rows(rows):
                    self._tell(SnapshotPart(name, rows))
                case SnapshotEnd(label):
                    self._position = Position(self._incarnation, 0, label)
                    self._tell(SnapshotPart(name, [], self._position))
                case Closed(stamp, changes):
                    self._position = Position(self._incarnation, 0, stamp)
                    self._reach.offset = stamp
                    if changes:
                        self._tell(Batch(self._position, {name: changes}))
                    else:
                        self._tell_progress()

    def _tell_progress(self) -> None:
        if self._position is not None:
            self._tell(Progress(self._position, self._source.name))

    # time

    async def _look_at_clock(self) -> int:
        now_ms = await self._engine.now(self._connection)
        self._ahead_ms = now_ms - self._clock.monotonic() * 1000
        return now_ms

    def _now_ms(self) -> int:
        """RisingWave's time, or less."""
        return int(self._clock.monotonic() * 1000 + self._ahead_ms)

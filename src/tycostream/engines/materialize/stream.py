"""All SUBSCRIBEs of one Materialize: a connection each, read as their sockets have something.

Materialize allows one SUBSCRIBE a connection and sends as fast as we read: what we do not read waits in the kernel's
buffers, then in Materialize, which ends a stream that stays behind. A source that fails takes its own connection along
and nothing else; the feed adds it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import repeat
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import pq

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event, Finished, Progress, SnapshotPart, SourceFailed, without
from tycostream.engines.decode.netting import TOO_LARGE
from tycostream.engines.decode.subscribe import (
    Closed,
    Frontier,
    Rows,
    SnapshotEnd,
    SubscribeDecoder,
)
from tycostream.engines.libpq import Connection, retry
from tycostream.engines.materialize.catalogue import Relation, Subscription, subscription
from tycostream.engines.materialize.errors import compacted, meaning
from tycostream.engines.materialize.frontier import CommonFrontier
from tycostream.engines.meanings import ServerError, error_of
from tycostream.errors import UpstreamError
from tycostream.observe.events import UpstreamNotice
from tycostream.rows import Batch, Position, RowType

if TYPE_CHECKING:
    from tycostream.engines.materialize.engine import MaterializeEngine

_READ_LINES: Final = 1_000  # of all sources at a time: no source, and no stream, ever hogs the loop
_COMMON_DELAY_MS: Final = 100  # how far ahead the common start of a group lies: time to send every SUBSCRIBE
_OVERFULL_LAG_S: Final = 1.0  # how long a laggard is waited for when much waits for it


class _State(Enum):
    PREPARED = "prepared"  # connected, nothing asked yet
    ASKED = "asked"  # SUBSCRIBE sent, COPY has not begun
    COPYING = "copying"
    ENDING = "ending"  # the last row was read, how the command ended is to come
    ENDED = "ended"  # complete for ever
    DRAINING = (
        "draining"  # refused: what comes of the refusal is to be read before the connection is asked again
    )


@dataclass(eq=False)
class _Source:
    """A source's connection and what has come over it."""

    name: str
    row_type: RowType
    target: Subscription
    keep_ms: int
    identity: str
    incarnation: str
    connection: Connection
    group: CommonFrontier
    after: int | None
    ahead_ms: float  # Materialize's time less our monotonic clock's, when it was asked
    state: _State = _State.PREPARED
    decoder: SubscribeDecoder | None = None

    @property
    def pgconn(self) -> pq.abc.PGconn:
        return self.connection.pgconn


class MaterializeStream:
    """See Stream. Made by ``MaterializeEngine.open``."""

    def __init__(self, engine: MaterializeEngine, environment: str) -> None:
        self._engine = engine
        self._environment = environment
        self._clock = engine.clock
        self._sources: dict[str, _Source] = {}
        self._ready: dict[_Source, None] = {}
        self._watched: dict[_Source, int] = {}  # sockets that the loop watches for us
        self._shared = CommonFrontier() if engine.share_positions else None
        self._group_incarnation = ""
        self._turns: dict[str, int] = {}  # how often each source was added or removed
        self._budget = 0  # lines that this read may still take
        self._lagging_s: dict[str, float] = {}
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._error: UpstreamError | None = None

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._error is not None

    # Stream

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """See Stream."""
        if self._error is not None:
            raise self._error
        await self.remove(source.name)
        turn = self._turns[source.name]
        relation = await self._engine.relation_of(source)
        incarnation = self._incarnation(relation)
        connection = await self._engine.connect()
        connection.add_notice_handler(self._notice)
        try:
            ahead_ms = await self._engine.now(connection) - self._clock.monotonic() * 1000
            if self._error is not None:
                raise retry("closed", "the stream was closed meanwhile")
        except BaseException:
            await connection.close()
            raise
        if self._turns[source.name] != turn:  # removed, or added again, while this one connected
            await connection.close()
            return
        group = self._shared if self._shared is not None else CommonFrontier()
        mine = _Source(
            source.name,
            row_type,
            subscription(relation, source, row_type),
            int(source.live.log.keep.total_seconds() * 1000),
            relation.identity,
            incarnation,
            connection,
            group,
            after.offset if after is not None and self._resumable(source.name, relation, after) else None,
            ahead_ms,
        )
        self._sources[source.name] = mine
        group.join(source.name, -1 if mine.after is None else mine.after)
        self._wake.set()

    async def remove(self, source: str) -> None:
        """See Stream."""
        self._turns[source] = self._turns.get(source, 0) + 1
        mine = self._sources.get(source)
        if mine is not None:
            self._forget(mine)
            self._release(mine.group)
            self._events = without(self._events, source)
            self._wake.set()
            await mine.connection.close()

    async def read(self) -> Sequence[Event]:
        """See Stream."""
        while self._error is None:
            self._wake.clear()
            if prepared := [mine for mine in self._sources.values() if mine.state is _State.PREPARED]:
                self._ask(prepared)
            self._budget = _READ_LINES
            for mine in list(self._ready):  # those that come first have their turn last, next time
                if mine in self._ready and self._budget > 0:
                    self._drain(mine)
            if self._events:
                events = list(self._events)
                self._events.clear()
                return events
            if self._error is None and not self._ready:
                await self._wake.wait()
            elif self._ready:
                await asyncio.sleep(0)  # what libpq holds already is not announced by the socket again
        raise self._error

    async def close(self) -> None:
        """See Stream."""
        if self._error is None:
            self._error = retry("closed", "the stream was closed")
        self._wake.set()
        sources = list(self._sources.values())
        for mine in sources:
            self._forget(mine)
        for mine in sources:
            await mine.connection.close()

    # asking

    def _incarnation(self, relation: Relation) -> str:
        """Another object of the same name has another history.

        Positions of a group are its members' alike, so they have one incarnation while the stream lives, also if a
        member is made anew meanwhile; the next stream has another then.
        """
        if self._shared is None:
            return f"{self._environment}/{relation.identity}"
        if not self._group_incarnation:
            self._group_incarnation = f"{self._environment}/{self._engine.group_identity()}"
        return self._group_incarnation

    def _resumable(self, name: str, relation: Relation, after: Position) -> bool:
        """Whether ``after`` is a place in the history of what the source reads now.

        A group's incarnation names what all its members read. If another one of them was made anew, this one's
        history is the same all the same.
        """
        if self._shared is None:
            return after.incarnation == self._incarnation(relation)
        environment, _, _ = after.incarnation.rpartition("/")
        return environment == self._environment and self._engine.knows(name, relation.identity, after.offset)

    def _ask(self, prepared: Sequence[_Source]) -> None:
        """Send what is prepared. Members of a group that start together do so at one timestamp."""
        now = int(self._clock.monotonic() * 1000 + max(mine.ahead_ms for mine in prepared))
        for mine in prepared:
            self._engine.asked_ms[mine.name] = now
            if mine.after is not None:
                self._subscribe(mine, f"AS OF {mine.after}")
            elif self._shared is not None:
                self._subscribe(mine, f"AS OF {now + _COMMON_DELAY_MS}")
            else:
                # as far back as the log reaches and Materialize remembers: one stream fills store and log
                least = now if mine.name in self._engine.flooded else max(0, now - mine.keep_ms)
                reached = self._engine.reached.get(mine.name)
                if reached is not None and reached.incarnation == mine.incarnation:
                    least = max(least, reached.offset)  # read again, it must not be set back to a past state
                self._subscribe(mine, f"AS OF AT LEAST {least}")

    def _subscribe(self, mine: _Source, as_of: str) -> None:
        snapshot = "false" if mine.after is not None else "true"
        statement = (
            f"COPY (SUBSCRIBE {mine.target.target} WITH (PROGRESS, SNAPSHOT = {snapshot}) {as_of}) TO STDOUT"
        )
        mine.decoder = SubscribeDecoder(
            mine.row_type, mine.target.width, mine.target.places, resumed=mine.after
        )
        mine.state = _State.ASKED
        try:
            mine.pgconn.send_query(statement.encode())
            mine.pgconn.flush()
        except psycopg.Error as error:
            self._lost(mine, error)
            return
        self._watch(mine)

    # reading

    def _watch(self, mine: _Source) -> None:
        """Have the loop tell when the socket has something."""
        if mine not in self._watched and self._sources.get(mine.name) is mine:
            descriptor = mine.pgconn.socket
            self._watched[mine] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._readable, mine)

    def _unwatch(self, mine: _Source) -> None:
        descriptor = self._watched.pop(mine, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)

    def _readable(self, mine: _Source) -> None:
        if (
            mine in self._ready
        ):  # we do not keep up: what comes now waits in the kernel, not in libpq without bound
            self._unwatch(mine)
            return
        try:
            mine.pgconn.consume_input()
        except psycopg.Error:  # told by the next one to read from it, which is not here
            self._unwatch(mine)
        self._ready[mine] = None
        self._wake.set()

    def _drain(self, mine: _Source) -> None:
        del self._ready[mine]
        try:
            if mine not in self._watched:  # else its socket was read from when it had something
                mine.pgconn.consume_input()
            if mine.state is _State.ASKED:
                mine.pgconn.flush()
            more = self._step(mine)
        except psycopg.Error as error:
            self._lost(mine, error)
            return
        except UpstreamError as error:
            if error.code == TOO_LARGE:
                self._engine.flooded.add(mine.name)  # else the same would come again, for ever
            self._failed(mine, error)
            return
        self._give(mine)
        if self._sources.get(mine.name) is not mine:
            return
        if more:
            self._ready[mine] = None
        elif mine.state not in (_State.PREPARED, _State.ENDED):
            self._watch(mine)

    def _step(self, mine: _Source) -> bool:
        """Go as far as what libpq holds allows; whether it holds more lines. Nothing here waits for the socket."""
        if mine.state is _State.ASKED:
            self._begin(mine)
        if mine.state is _State.COPYING and self._copy(mine):
            return True
        if mine.state is _State.ENDING:
            self._end(mine)
        if mine.state is _State.DRAINING:
            self._drained(mine)
        return False

    def _begin(self, mine: _Source) -> None:
        """Once COPY has begun; UpstreamError if the server refused."""
        if mine.pgconn.is_busy():
            return
        result = mine.pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.COPY_OUT:
            mine.state = _State.COPYING
        else:
            self._refused(mine, error_of(result))

    def _copy(self, mine: _Source) -> bool:
        """Decode some lines; whether there may be more."""
        assert mine.decoder is not None
        get, lines, more = mine.pgconn.get_copy_data, list[memoryview](), True
        for size, data in map(get, repeat(1, self._budget)):
            if size <= 0:
                more = False
                if size < 0:
                    mine.state = _State.ENDING
                break
            lines.append(data)  # Materialize puts one row into each CopyData message
        self._budget -= len(lines)
        mine.decoder.feed(lines)
        return more

    def _end(self, mine: _Source) -> None:
        """After the last row: the source is complete, or UpstreamError says why no more comes."""
        if mine.pgconn.is_busy():
            return
        result = mine.pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            self._give(mine)  # what was complete before the error is true
            error = error_of(result)
            if not error.state:
                raise psycopg.OperationalError(error.message or "the connection was closed")
            self._refused(mine, error)
            return
        assert mine.decoder is not None
        mine.decoder.finish()
        mine.state = _State.ENDED
        self._unwatch(mine)

    def _refused(self, mine: _Source, error: ServerError) -> None:
        alone = self._shared is None or self._shared.begun
        if compacted(error) and mine.after is not None and alone:
            # the history is gone, the rows are not: the same connection asks for a snapshot instead
            mine.after = None
            mine.group.join(mine.name)
            mine.state = _State.DRAINING
            return
        raised = meaning(error, mine.name, self._engine.url, self._engine.role)
        if compacted(error) and not alone:
            self._error = raised  # one of those that start together would start at another moment
        raise raised

    def _drained(self, mine: _Source) -> None:
        """Ask again once the connection is free."""
        while not mine.pgconn.is_busy():
            if mine.pgconn.get_result() is None:
                mine.state = _State.PREPARED
                self._unwatch(mine)
                self._wake.set()
                return

    def _lost(self, mine: _Source, error: psycopg.Error) -> None:
        self._failed(mine, meaning(ServerError("", str(error)), mine.name, self._engine.url))

    def _failed(self, mine: _Source, error: UpstreamError) -> None:
        if self._sources.get(mine.name) is mine:
            self._forget(mine)
            mine.pgconn.finish()
            self._engine.forget(mine.name)
            self._events.append(SourceFailed(mine.name, error))
            self._release(mine.group)  # what waited for it waits no more

    def _forget(self, mine: _Source) -> None:
        self._unwatch(mine)
        self._ready.pop(mine, None)
        self._lagging_s.pop(mine.name, None)
        mine.group.remove(mine.name)
        if self._sources.get(mine.name) is mine:
            del self._sources[mine.name]

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._engine.emit(UpstreamNotice(self._engine.name, diagnostic.message_primary or ""))

    # giving

    def _give(self, mine: _Source) -> None:
        """Turn what the decoder knows into events."""
        assert mine.decoder is not None
        group, name = mine.group, mine.name
        for item in mine.decoder.take():
            match item:
                case Rows(rows):
                    self._events.append(SnapshotPart(name, rows))
                case SnapshotEnd(timestamp):
                    group.start(name, timestamp)
                case Closed(timestamp, changes, size):
                    group.closed(name, timestamp, changes, size)
                case Frontier(timestamp):
                    group.advance(name, timestamp)
        if mine.state is _State.ENDED:
            group.finish(name)
        if self._shared is not None:
            if not group.starting(name):
                self._lagging_s.pop(name, None)  # it is not silent
            self._let_go(group)
        self._release(group)

    def _release(self, group: CommonFrontier) -> None:
        """Tell what is due."""
        if self._error is not None:
            return
        for release in group.release():
            for name in release.started:
                mine = self._sources[name]
                position = self._position(mine, release.timestamp)
                self._engine.began(name, mine.identity, position)
                self._events.append(SnapshotPart(name, [], position))
            if not release.sources:
                continue
            position = self._position(self._sources[release.sources[0]], release.timestamp)
            self._engine.reached.update(dict.fromkeys(release.sources, position))
            if release.changes:
                self._events.append(Batch(position, release.changes))
            else:
                self._events.extend(Progress(position, source) for source in release.sources)
        for name, told in group.ended():
            mine = self._sources[name]
            if told == mine.after:  # resumed, and nothing was to tell: it has to begin all the same
                self._events.append(Progress(self._position(mine, told), name))
            self._events.append(Finished(name))

    def _position(self, mine: _Source, timestamp: int) -> Position:
        return Position(mine.incarnation, 0, timestamp)

    def _let_go(self, group: CommonFrontier) -> None:
        """A member that is silent too long leaves the group: the others must not seem silent too.

        It fails, so that it is known to be stale before the others go on without it; added again it catches up. One
        whose snapshot is still being computed keeps its stream, and is a member when it has come.
        """
        now, laggards = self._clock.monotonic(), group.laggards()
        self._lagging_s = {name: self._lagging_s.get(name, now) for name in laggards}
        patience_s = self._engine.patience_s
        if group.overfull:
            patience_s = min(patience_s, _OVERFULL_LAG_S)
        for name, since in list(self._lagging_s.items()):
            if now - since <= patience_s:
                continue
            if group.starting(name):
                group.leave(name)
                continue
            self._failed(
                self._sources[name],
                retry(
                    "lagging",
                    f"source {name}: the others of its database are ahead of it",
                    detail=f"for {now - since:.1f} s",
                    hint="is its replica restarting? It is consistent with the others again once it has caught up",
                ),
            )

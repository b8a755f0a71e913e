"""All subscription cursors of one RisingWave: a connection and a task each.

A task fetches, waiting where nothing is ready, and puts whole epochs among the events that ``read`` gives. A source that
fails takes its own connection along and nothing else; the feed adds it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event, SourceFailed, without
from tycostream.engines.libpq import Connection, retry
from tycostream.engines.meanings import server_error
from tycostream.engines.risingwave.errors import Refused, meaning
from tycostream.engines.risingwave.following import Following
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import UpstreamNotice
from tycostream.rows import Position, RowType

if TYPE_CHECKING:
    from tycostream.engines.risingwave.engine import RisingWaveEngine

_EVENTS_MAX: Final = (
    64  # not read yet: a fetch's worth of rows each, or an epoch, which has a bound of its own
)


@dataclass(eq=False)
class _Source:
    """A source's connection and what has come over it."""

    name: str
    connection: Connection
    task: asyncio.Task[None] | None = None


class RisingWaveStream:
    """See Stream. Made by ``RisingWaveEngine.open``."""

    def __init__(self, engine: RisingWaveEngine) -> None:
        self._engine = engine
        self._sources: dict[str, _Source] = {}
        self._turns: dict[str, int] = {}  # how often each source was added or removed
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ending: set[asyncio.Task[None]] = set()
        self._error: UpstreamError | None = None

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._error is not None

    async def add(self, row_type: RowType, source: SourceConfig, after: Position | None = None) -> None:
        """See Stream."""
        if self._error is not None:
            raise self._error
        await self.remove(source.name)
        turn = self._turns[source.name]
        connection = await self._engine.connect()
        if self.closed:
            connection.pgconn.finish()
            raise retry("closed", "the stream was closed meanwhile")
        if self._turns[source.name] != turn:  # removed, or added again, while this one connected
            connection.pgconn.finish()
            return
        connection.add_notice_handler(self._notice)
        mine = _Source(source.name, connection)
        following = Following(
            self._engine,
            source,
            row_type,
            connection,
            lambda event: self._tell(mine, event),
            self._room,
        )
        self._sources[source.name] = mine
        mine.task = asyncio.ensure_future(self._run(mine, following.run(after)))

    async def remove(self, source: str) -> None:
        """See Stream."""
        self._turns[source] = self._turns.get(source, 0) + 1
        mine = self._sources.pop(source, None)
        if mine is not None:
            self._events = without(self._events, source)
            self._have_room()
            await self._end([mine])

    async def read(self) -> Sequence[Event]:
        """See Stream."""
        while self._error is None:
            if self._events:
                events = list(self._events)
                self._events.clear()
                self._have_room()
                return events
            self._wake.clear()
            await self._wake.wait()
        raise self._error

    async def close(self) -> None:
        """See Stream."""
        if self._error is None:
            self._error = retry("closed", "the stream was closed")
        self._wake.set()
        sources = list(self._sources.values())
        self._sources.clear()
        await self._end(sources)

    async def _end(self, sources: Sequence[_Source]) -> None:
        for mine in sources:
            if mine.task is not None:
                mine.task.cancel()
                self._ending.add(mine.task)
                mine.task.add_done_callback(self._ending.discard)
        if self._ending:
            await asyncio.wait(set(self._ending))

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._engine.emit(UpstreamNotice(self._engine.name, diagnostic.message_primary or ""))

    # events

    def _tell(self, mine: _Source, event: Event) -> None:
        if self._sources.get(mine.name) is mine and self._error is None:
            self._events.append(event)
            self._wake.set()
            if len(self._events) >= _EVENTS_MAX:
                self._room.clear()

    def _have_room(self) -> None:
        if len(self._events) < _EVENTS_MAX:
            self._room.set()

    async def _run(self, mine: _Source, following: Coroutine[Any, Any, None]) -> None:
        """Follow a source until it fails or is removed."""
        engine = self._engine
        try:
            await following
        except Refused as refused:
            self._failed(mine, meaning(refused.error, mine.name, engine.url, engine.role))
        except psycopg.Error as error:  # of the catalogue
            self._failed(mine, meaning(server_error(error), mine.name, engine.url, engine.role))
        except UpstreamError as error:
            self._failed(mine, error)
        except Exception as error:  # a bug of ours: nothing can be taken for granted after it
            said = f"source {mine.name}: internal error in its stream"
            wrong = UpstreamError("unexpected", said, action=Action.RESYNC, detail=repr(error))
            self._failed(mine, wrong)
        finally:
            following.close()  # cancelled before it began, it would complain
            mine.connection.pgconn.finish()

    def _failed(self, mine: _Source, error: UpstreamError) -> None:
        self._tell(mine, SourceFailed(mine.name, error))
        if self._sources.get(mine.name) is mine:
            del self._sources[mine.name]
            self._engine.forget(mine.name)

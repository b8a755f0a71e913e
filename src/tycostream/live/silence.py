"""Sources that give no sign of life: silence is no error that anybody sends, so it is looked for.

A database that answers may only be slow: we are patient with it, longer each time. One that does not is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tycostream.clock import Clock, Timer
from tycostream.engines.base import Engine
from tycostream.errors import Action, UpstreamError
from tycostream.live.intake import Intake
from tycostream.live.live_source import SourceState
from tycostream.live.source_feed import SourceFeed
from tycostream.observe.events import Emit, FeedStateChanged

_PATIENCE_S: Final = 600.0  # the longest silence of a database that answers before a source connects anew
_CHECKS_PER_STALL: Final = 4  # how often silence is looked for within `stall_after`


class Silence:
    """What one feed knows of its silent sources. ``wake`` lets the feed look at them; nothing else rings a bell."""

    def __init__(
        self,
        database: str,
        sources: Mapping[str, SourceFeed],
        intake: Intake,
        engine: Engine,
        clock: Clock,
        emit: Emit,
        stall_s: float,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._sources = sources
        self._intake = intake
        self._engine = engine
        self._clock = clock
        self._emit = emit
        self._stall_s = stall_s
        self._wake = wake
        self._timer: Timer | None = None
        self._probing: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Wake the feed a few times within ``stall_after``, from now on."""
        self._wake()
        self._timer = self._clock.call_later(self._stall_s / _CHECKS_PER_STALL, self.look)

    def stop(self) -> list[asyncio.Task[None]]:
        """Look no more; gives what is still under way, for the feed to end."""
        if self._timer is not None:
            self._timer.cancel()
        probing, self._probing = self._probing, None
        return [] if probing is None else [probing]

    def of(self, source: SourceFeed, now: float) -> UpstreamError | None:
        """Mark a source that was silent for too long; gives the error if the database should be asked (``ask``)."""
        silent_s = source.silent_s(now)
        error = UpstreamError(
            "stalled",
            f"source {source.name}: no sign of life for {silent_s:.0f} s",
            action=Action.RETRY,
            hint="is a replica restarting, or a network path broken? See `stall_after`",
        )
        if source.state is SourceState.LIVE:
            self._intake.mark(source, SourceState.STALE, error)
            self._emit(FeedStateChanged(self._database, "stale", source.name, error.told, error.hint))
        elif source.error is None:
            source.error = error
        if source.asking or silent_s <= source.ask_after_s:
            return None
        source.asking = True
        return error

    async def ask(self, source: SourceFeed, error: UpstreamError) -> UpstreamError | None:
        """Ask the database for a sign of life. Gives why the source is to be connected anew; None: it is not."""
        first, heard_s = source.ask_after_s <= self._stall_s, source.heard_s
        source.ask_after_s = min(2 * source.ask_after_s, _PATIENCE_S)
        try:
            await self._probe()
        except UpstreamError as lost:
            error = lost
        else:
            if first or (not source.loaded and source.ask_after_s < _PATIENCE_S):
                return None  # a first snapshot may take long
        finally:
            source.asking = False
        spoke = source.heard_s != heard_s
        return None if spoke or not source.added or source.trying or source.gone else error

    async def _probe(self) -> None:
        """Once, however many sources want to know."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(self._engine.probe())
        await asyncio.shield(self._probing)

"""The feeds at work: started and stopped one by one, every task owned here."""

from __future__ import annotations

import asyncio
from typing import Any

from tycostream.live.feed import Feed


class Feeds:
    """Feeds that run side by side until they are stopped."""

    def __init__(self) -> None:
        self._tasks: dict[Feed, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[None] | None = None

    def start(self, feed: Feed) -> None:
        """Run a feed until it is stopped."""
        task = self._tasks[feed] = asyncio.create_task(feed.run(), name=f"feed {feed.database}")
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception() or RuntimeError(f"{task.get_name()} ended")
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    async def stop(self, feed: Feed) -> None:
        """End a feed, and wait for its end; one that does not run is none."""
        task = self._tasks.pop(feed, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """End them all."""
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def ended(self) -> Any:
        """Raise when a feed ends by itself. That is a bug, and a server without it serves old data."""
        for task in self._tasks.values():
            if task.done():
                task.result()
        self._ended = asyncio.get_running_loop().create_future()
        await self._ended

"""What every fake database is to a test: where it listens, who is connected, and a way to wait for either."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from tycostream.testing.pgwire import WireServer


def system_ms() -> int:
    """The machine's time in milliseconds."""
    return time.time_ns() // 1_000_000


class FakeServer:
    """A listening fake. ``waiting`` holds whoever must be woken when something changes.

    ``database`` is its database's name; ``user`` who logs in by ``url``; ``tick`` is called each ``every_s`` seconds
    (None: never).
    """

    def __init__(
        self,
        server: WireServer,
        waiting: set[asyncio.Event],
        *,
        database: str,
        user: str,
        every_s: float | None,
        tick: Callable[[], object],
    ) -> None:
        self._server = server
        self._waiting = waiting
        self._database = database
        self._user = user
        self._every_s = every_s
        self._tick = tick
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._server.listen(True)
        if self._every_s is not None:
            self._ticker = asyncio.create_task(self._pass_time(self._every_s))

    async def stop(self) -> None:
        """End every connection and stop listening."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        await self._server.stop()

    async def _pass_time(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self._tick()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def url(self) -> str:
        """How to connect."""
        gate = self._server.gate
        login = self._user if gate.password is None else f"{self._user}:{gate.password}"
        mode = "disable" if gate.ssl_context is None else "require"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{self._database}?sslmode={mode}"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._server.connections)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        """Until a condition on what the fake tells (connections, statements …) holds; TimeoutError."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    event.clear()
                    await event.wait()
        finally:
            self._waiting.discard(event)

    def refuse(self, on: bool = True) -> None:
        """Refuse new connections, or accept them again; the port stays the same."""
        self._server.listen(not on)

    def cut(self) -> None:
        """End every connection without a word."""
        self._server.abort_all()

    def cancel_all(self) -> None:
        """An administrator cancels every running statement."""
        for connection in list(self._server.connections.values()):
            connection.cancel()

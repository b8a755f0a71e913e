"""A listening loopback socket that can stop and start at once, between two steps of a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Listener:
    """Accepts on 127.0.0.1 and serves each connection in a task of its own; ``port`` stays the same."""

    def __init__(self, serve: Serve) -> None:
        self.port = 0
        self._serve = serve
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, on: bool) -> None:
        """Start or stop accepting; connections that exist live on."""
        if on == (self._socket is not None):
            return
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if on:
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setblocking(False)
            made.bind(("127.0.0.1", self.port))
            made.listen(128)
            self.port = made.getsockname()[1]
            self._socket = made
            loop.add_reader(made, self._accept, made)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client, _ = listening.accept()
            client.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._begin(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = loop.create_future()
        protocol = asyncio.StreamReaderProtocol(
            asyncio.StreamReader(), lambda reader, writer: made.set_result((reader, writer))
        )
        await loop.connect_accepted_socket(lambda: protocol, client)
        reader, writer = await made
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()

    async def stop(self) -> None:
        """Stop accepting and end what is served."""
        self.listen(False)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the turn after

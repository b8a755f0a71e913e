"""The server's side of PostgreSQL's wire protocol (version 3, text format), for fake databases.

``WireServer`` owns the sockets; each connection has a ``Backend`` that knows what statements mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from tycostream.testing.pgwire_connection import Backend, Connection, Gate, Output, Prepared
from tycostream.testing.pgwire_messages import Cells, Field, WireError

__all__ = ["Backend", "Cells", "Connection", "Field", "Output", "Prepared", "WireError", "WireServer"]


class WireServer:
    """The listening socket and its connections. ``on_change`` is called when a connection comes or goes."""

    def __init__(
        self,
        backend: Callable[[], Backend],
        *,
        ssl_context: ssl.SSLContext | None = None,
        require_tls: bool = False,
        password: str | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.gate = Gate(backend, self._cancel, ssl_context, require_tls, password)
        self.connections: dict[int, Connection] = {}
        self.port = 0
        self._on_change = on_change
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_pid = 0

    def listen(self, on: bool) -> None:
        """Start or stop accepting, at once; connections that exist live on. The port stays the same."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        if on:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(128)
            self.port = listener.getsockname()[1]
            self._listener = listener
            loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client, _ = listener.accept()
            client.setblocking(False)
            self._own(self._serve(client))

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        self.listen(False)
        self.abort_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the turn after

    def abort_all(self) -> None:
        """Close every connection at once, without a message."""
        for connection in list(self.connections.values()):
            connection.abort()

    def _cancel(self, pid: int, secret: int) -> None:
        """Serve a CancelRequest; a wrong key is ignored, as the protocol wants."""
        connection = self.connections.get(pid)
        if connection is not None and connection.secret == secret:
            connection.cancel()

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = loop.create_future()
        protocol = asyncio.StreamReaderProtocol(
            asyncio.StreamReader(), lambda reader, writer: made.set_result((reader, writer))
        )
        await loop.connect_accepted_socket(lambda: protocol, client)
        reader, writer = await made
        self._last_pid += 1
        connection = Connection(self.gate, self._last_pid, reader, writer)
        self.connections[connection.pid] = connection
        self._on_change()
        try:
            await connection.run()
        finally:
            del self.connections[connection.pid]
            self._on_change()

"""The server's side of PostgreSQL's wire protocol (version 3, text format), for fake databases.

``WireServer`` owns the sockets; each connection has a ``Backend`` that knows what statements mean.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from tycostream.testing.listener import Listener
from tycostream.testing.pgwire_connection import Backend, Connection, Gate, Output, Prepared
from tycostream.testing.pgwire_messages import Cells, Field, WireError

__all__ = ["Backend", "Cells", "Connection", "Field", "Output", "Prepared", "WireError", "WireServer"]


class WireServer:
    """The listening socket and its connections, by pid. ``on_change`` is called when one comes or goes."""

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
        self._on_change = on_change
        self._listener = Listener(self._serve)
        self._last_pid = 0

    @property
    def port(self) -> int:
        """Where it listens, or did."""
        return self._listener.port

    def listen(self, on: bool) -> None:
        """Start or stop accepting, at once; connections that exist live on. The port stays the same."""
        self._listener.listen(on)

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        self.abort_all()
        await self._listener.stop()

    def abort_all(self) -> None:
        """Close every connection at once, without a message."""
        for connection in list(self.connections.values()):
            connection.abort()

    def _cancel(self, pid: int, secret: int) -> None:
        """Serve a CancelRequest; a wrong key is ignored, as the protocol wants."""
        connection = self.connections.get(pid)
        if connection is not None and connection.secret == secret:
            connection.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._last_pid += 1
        connection = Connection(self.gate, self._last_pid, reader, writer)
        self.connections[connection.pid] = connection
        self._on_change()
        try:
            await connection.run()
        finally:
            del self.connections[connection.pid]
            self._on_change()

"""The socket of a stream of events, from the head of its answer on: no HTTP is read from it any more, only events go out.

What goes out is written straight to the event loop's transport, as with WebSockets: one write per socket and tick, made
once for all who are told the same, and the transport's buffer says who is behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import MutableSet
from typing import Any, Final, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tycostream.auth.connections import Slot
from tycostream.clock import Clock, Timer
from tycostream.config.model import ServerConfig
from tycostream.observe.events import ConnectionClosed, ConnectionOpened, Emit
from tycostream.transports.event_stream import TRANSPORT, EventStream
from tycostream.transports.taken import bytes_taken
from tycostream.transports.wire.sse import HEADERS

_WRITE_BUFFER_BYTES: Final = 256 * 1024
_CLOSE_TIMEOUT_S: Final = 5.0
# Browsers come back after some three seconds, all at once. So long after they are told, each at a moment of his own:
_RETRY_MS: Final = (1000, 5000)
_UNACKNOWLEDGED_BEATS: Final = 2  # a peer that acknowledges nothing for so many is gone


class EventStreamSocket(asyncio.Protocol):
    """One socket. Also the Sink of its stream."""

    def __init__(
        self,
        stream: EventStream,
        clock: Clock,
        emit: Emit,
        config: ServerConfig,
        *,
        reconnecting: bool,
    ) -> None:
        """``reconnecting``: the client is one that comes back by itself, and takes advice when."""
        self._stream = stream
        self._clock = clock
        self._emit = emit
        self._reconnecting = reconnecting
        self._interval_s = config.ping_interval.total_seconds()
        self._transport: asyncio.Transport | None = None
        self._slot: Slot | None = None
        self._connections: MutableSet[Any] = set()
        self._peer = ""
        self._full = False  # the transport's buffer is over its high-water mark
        self._unread_bytes = 0  # what was in it at the last beat, if it was full then
        self._taken_bytes = 0  # by the client, at that beat
        self._closing = False
        self._timer: Timer | None = None
        self.close_code = 0
        self.close_reason = ""

    def take(self, transport: asyncio.Transport, slot: Slot, connections: MutableSet[Any]) -> None:
        """The socket is this protocol's from now on, with its place among all. ``connections``: the server's."""
        if transport.is_closing():  # who asked is gone, and what was his protocol is told of that
            slot.leave()
            self._stream.lost()
            return
        self._transport, self._slot, self._connections = transport, slot, connections
        connections.add(self)
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else ""
        self._emit(ConnectionOpened(TRANSPORT, self._peer, self._stream.client_ip))
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._bound_silence(transport)
        self._beat_later()
        self._stream.begin(self)

    def _bound_silence(self, transport: asyncio.Transport) -> None:
        """Have the kernel end a connection whose peer is gone without a word: nobody answers a beat."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            timeout_ms = int(_UNACKNOWLEDGED_BEATS * self._interval_s * 1000)
            with contextlib.suppress(OSError, AttributeError):  # no TCP
                transport.get_extra_info("socket").setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms
                )

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Whatever comes after the request: nothing may, for it would wait for the end of an answer that has none."""
        if data.strip(b"\r\n"):
            self._close(1002, "there is nothing to ask on the connection of a stream")

    def eof_received(self) -> bool:
        """The client will send no more, which is how it ends the stream."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        if self._transport is None:
            return
        self._transport = None
        self._connections.discard(self)
        if self._slot is not None:
            self._slot.leave()
        self._stop_timer()
        self._stream.lost()
        code = self.close_code or (1000 if exc is None else 1006)
        self._emit(ConnectionClosed(TRANSPORT, self._peer, code, self.close_reason, self._stream.client_ip))

    def pause_writing(self) -> None:
        """The transport's buffer is over its high-water mark."""
        self._full = True
        if self._stream.outbox is not None:
            self._stream.outbox.pause()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self._full = False
        self._unread_bytes = 0
        if self._stream.outbox is not None:
            self._stream.outbox.resume()

    # keep-alive: proxies close what is silent; who reads nothing for an interval is gone

    def _beat_later(self) -> None:
        self._timer = self._clock.call_later(self._interval_s, self._beat)

    def _beat(self) -> None:
        self._timer = None
        if self._full and self._transport is not None:
            unread_bytes, taken_bytes = self.unsent_bytes, bytes_taken(self._transport)
            # Of what the kernel holds some may be taken before it asks for more of ours.
            if 0 < self._unread_bytes <= unread_bytes and taken_bytes <= self._taken_bytes:
                self.close_code, self.close_reason = 1006, "nothing was read for an interval"
                self._abort()
                return
            self._unread_bytes, self._taken_bytes = unread_bytes, taken_bytes
        else:
            self.write(self._stream.framing.beat)
        self._beat_later()

    # see StreamSink

    def write(self, data: bytes) -> None:
        """See Sink."""
        if self._transport is not None and not self._closing:
            self._transport.write(data)

    @property
    def unsent_bytes(self) -> int:
        """See StreamSink."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def finish(self) -> None:
        """See StreamSink."""
        self._clock.call_soon(lambda: self._close(1000, "the operation is over"))

    def abort(self, code: int, reason: str) -> None:
        """See Sink: the client is to connect again. It is not told that the operation is complete, for it is not."""
        if self._reconnecting:
            least, most = _RETRY_MS
            self.write(self._stream.framing.retry(least + int(self._clock.random() * (most - least))))
        self._close(code, reason)

    def shutdown(self) -> None:
        """The server stops: uvicorn calls this on every connection."""
        self.abort(1012, "the server restarts: connect again")

    # the end

    def _close(self, code: int, reason: str) -> None:
        """End the answer as HTTP has it; what is in the transport's buffer goes out first, if it is read in time."""
        if self._closing or self._transport is None:
            return
        self.close_code, self.close_reason = code, reason
        if self._stream.framing.end:
            self.write(self._stream.framing.end)
        self._closing = True
        self._stream.lost()
        self._stop_timer()
        self._timer = self._clock.call_later(_CLOSE_TIMEOUT_S, self._abort)
        self._transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Streaming(Protocol):
    """The socket that a request came by, as far as a stream needs it."""

    def become(self, protocol: EventStreamSocket) -> None:
        """Be another protocol's, the head of the answer being written."""


class EventStreamResponse(Response):
    """The answer that has no end: its head goes the way of all answers, what follows is the socket's."""

    def __init__(self, stream: EventStream, events: EventStreamSocket, by: Streaming) -> None:
        self.status_code = 200
        self.background = None
        self._stream = stream
        self._events = events
        self._by = by
        self.init_headers({**HEADERS, "connection": "close"})  # nothing can be asked on it any more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self._by.become(self._events)
        except BaseException:
            self._stream.lost()
            raise

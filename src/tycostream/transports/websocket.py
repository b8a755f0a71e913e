"""The WebSocket shell: a uvicorn protocol class.

websockets' sans-IO ``ServerProtocol`` does the handshake, what comes in, and closing. What goes out are our own
prebuilt frames, written straight to the event loop's transport: one write per socket and tick, and no library between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, cast

from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tycostream.auth.connections import Slot
from tycostream.auth.credentials import Credentials
from tycostream.auth.limiter import network
from tycostream.clock import Clock, Timer
from tycostream.config.model import ServerConfig, ServerSettings
from tycostream.errors import TooMany
from tycostream.live.operations import Operations
from tycostream.observe.events import ConnectionClosed, ConnectionOpened, Emit, RequestRefused
from tycostream.transports.caller import Caller, caller
from tycostream.transports.connection import Connection
from tycostream.transports.origin import Verdict, judge
from tycostream.transports.taken import bytes_taken
from tycostream.transports.wire.transport_ws import SUBPROTOCOL

_PATHS = ("/graphql", "/v1/graphql")
_WRITE_BUFFER_BYTES = 256 * 1024
_CLOSE_TIMEOUT_S = 5.0
_MESSAGES_PER_TURN = (
    4  # one read may bring a thousand subscriptions: what is due to others leaves between them
)
_LOGGER = logging.getLogger("tycostream.websockets")


class WebSocketShell(asyncio.Protocol):
    """One socket. Also the Sink of its connection."""

    def __init__(
        self, operations: Operations, config: ServerConfig, clock: Clock, emit: Emit, state: ServerState
    ) -> None:
        self._operations = operations
        self._config = config
        self._clock = clock
        self._emit = emit
        self._state = state
        self._wire = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=config.message_bytes_max,
            logger=_LOGGER,
        )
        # the protocol text wants a close code for a missing subprotocol, which needs a handshake that succeeds
        self._wire.select_subprotocol = self._choose  # type: ignore[method-assign]
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._fragments = (
            bytearray()
        )  # of a message that is not whole: no object for each, there may be half a million
        # What came in and waits for its turn, or for the client to read answers. Reading stops meanwhile: it is about
        # one read's worth.
        self._backlog: deque[Any] = deque()
        self._unread_bytes_max = max(_WRITE_BUFFER_BYTES, config.outbox_bytes_max)
        self._full = False  # the transport's buffer is over its high-water mark
        self._reading = True
        self._work_due = False
        self._timer: Timer | None = None
        self._awaiting_pong = False
        self._taken = 0  # by the client, when it was last pinged
        self._closing = False
        self._peer = ""
        self._caller = Caller("", proxied=False)
        self._slot: Slot | None = None
        self.close_code = 0
        self.close_reason = ""

    @staticmethod
    def _choose(subprotocols: Any) -> Subprotocol | None:
        return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in (subprotocols or ()) else None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The HTTP server hands its transport over."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._state.connections.add(cast(Any, self))
        self._slot = self._operations.limiter.connections.take(transport)
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else ""

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._wire.receive_data(data)
        self._backlog.extend(self._wire.events_received())
        self._work()

    def eof_received(self) -> bool:
        """The client will send no more."""
        self._wire.receive_eof()
        self._flush_wire()
        self._begin_close()  # with its timeout: a peer that does not read keeps the transport from closing
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._state.connections.discard(cast(Any, self))
        if self._slot is not None:
            self._slot.leave()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is not None:
            self._connection.lost()
            sent = self._wire.close_sent  # by the parser, if what came was broken
            code = self.close_code or (sent.code if sent is not None else self._wire.close_code) or 1006
            self._emit(ConnectionClosed(SUBPROTOCOL, self._peer, code, self.close_reason, self._caller.ip))
            self._connection = None
        self._backlog.clear()
        self._transport = None

    def pause_writing(self) -> None:
        """The transport's buffer is over its high-water mark."""
        self._full = True
        if self._connection is not None:
            self._connection.outbox.pause()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self._full = False
        if self._connection is not None:
            self._connection.outbox.resume()
        if not self._reading:
            self._work_later()

    # what came in

    def _glutted(self) -> bool:
        # Answers and pongs do not wait in the outbox, so a client that asks and never reads would fill the transport
        # without end. Not at the high-water mark already: a slow reader must be able to end its operations.
        return (
            self._full
            and self._transport is not None
            and self._transport.get_write_buffer_size() > self._unread_bytes_max
        )

    def _work(self) -> None:
        """Handle some of what came in, as long as the client reads what it gets for it."""
        left = _MESSAGES_PER_TURN
        while self._backlog and left and not self._glutted():
            event = self._backlog.popleft()
            left -= not isinstance(event, Frame) or event.fin  # the pieces of a message ask for nothing
            if isinstance(event, Request):
                self._accept(event)
            elif isinstance(event, Frame) and not self._closing:
                self._frame(event)
        self._flush_wire()
        glutted = self._glutted()
        over = self._wire.parser_exc is not None or self._wire.close_expected()
        if over and (glutted or not self._backlog):
            self._begin_close()
        if self._backlog and not glutted:
            self._work_later()
        reading = not (self._backlog or glutted)
        if reading is not self._reading and self._transport is not None:
            self._reading = reading
            if not self._transport.is_closing():
                (self._transport.resume_reading if reading else self._transport.pause_reading)()

    def _work_later(self) -> None:
        if not self._work_due:
            self._work_due = True
            self._clock.call_soon(self._work_now)

    def _work_now(self) -> None:
        self._work_due = False
        if self._transport is not None:
            self._work()

    # handshake

    def _accept(self, request: Request) -> None:
        assert self._transport is not None
        headers = list(request.headers.raw_items())
        peer = self._transport.get_extra_info("peername")
        self._caller = caller(peer[0] if isinstance(peer, tuple) else None, headers, self._config)
        verdict = self._judge(request)
        response = self._refusal(request, verdict) or self._wire.accept(request)
        self._wire.send_response(response)
        self._flush_wire()
        if response.status_code != 101 or self._transport is None:
            if self._transport is not None:
                self._transport.close()
            return
        assert self._slot is not None
        self._slot.comes_from(network(self._caller.ip))
        if (
            self._slot.refusal is not None
        ):  # told by a close code: of a refused upgrade a browser's page learns nothing
            self.abort(4429, self._slot.refusal.message)
            return
        credentials = Credentials(headers, transport=SUBPROTOCOL, client_ip=self._caller.ip)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._connection = Connection(
            self._operations,
            self,
            self._clock,
            self._emit,
            config=self._config,
            headers=credentials if verdict.cookies else credentials.without_cookies(),
            client_ip=self._caller.ip,
            slot=self._slot,
            bound=self._bound,
        )
        self._emit(ConnectionOpened(SUBPROTOCOL, self._peer, self._caller.ip))
        if self._wire.subprotocol is None:
            self.abort(4406, "Subprotocol not acceptable")
            return
        timeout_s = self._config.connection_init_timeout.total_seconds()
        self._timer = self._clock.call_later(timeout_s, self._init_due)

    def _judge(self, request: Request) -> Verdict:
        assert self._transport is not None
        return judge(
            request.headers.get_all("Host"),
            request.headers.get_all("Origin"),
            self._config,
            secure=self._transport.get_extra_info("sslcontext") is not None,
            proxied=self._caller.proxied,
        )

    def _refusal(self, request: Request, verdict: Verdict) -> Response | None:
        if request.path.partition("?")[0] not in _PATHS:
            return _response(404, "Not Found", "WebSockets are at /graphql\n")
        try:
            self._operations.limiter.request(self._caller.ip)
        except TooMany as error:
            return _response(429, "Too Many Requests", error.message + "\n", error.retry_after_s)
        if verdict.refusal is None:
            return None
        refused = RequestRefused("websocket", self._caller.ip, 403, "origin-not-allowed", verdict.refusal)
        self._emit(refused)
        return _response(403, "Forbidden", verdict.refusal + "\n")

    def _bound(self, message_bytes_max: int) -> None:
        self._wire.max_message_size = message_bytes_max

    def _init_due(self) -> None:
        self._timer = None
        if self._connection is not None and not self._connection.initialised:
            self.abort(4408, "Connection initialisation timeout")
        else:
            self._ping_later()

    # keep-alive: a peer that answers no ping within an interval, and takes nothing meanwhile, is gone

    def _ping_later(self) -> None:
        self._timer = self._clock.call_later(self._config.ping_interval.total_seconds(), self._ping)

    def _ping(self) -> None:
        self._timer = None
        if self._closing or self._transport is None:
            return
        before, self._taken = self._taken, bytes_taken(self._transport)
        if not self._awaiting_pong:
            self._awaiting_pong = True
            self._wire.send_ping(b"")
            self._flush_wire()
        elif (
            self._taken <= before
        ):  # a slow reader has yet to come to the ping: what it is sent stands before it
            self.close_code, self.close_reason = 1006, "no answer to a ping"
            self._transport.abort()
            return
        self._ping_later()

    # frames

    def _frame(self, frame: Frame) -> None:
        assert self._connection is not None
        self._awaiting_pong = False
        if frame.opcode is Opcode.BINARY:
            self.abort(4400, "Invalid message: binary")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            if not frame.fin:
                self._fragments += frame.data
            else:
                message: bytes | bytearray = bytes(frame.data)
                if self._fragments:
                    message = self._fragments + frame.data
                    self._fragments.clear()
                try:
                    text = message.decode()
                except UnicodeDecodeError:
                    self.abort(1007, "a text message is not UTF-8")
                else:
                    self._connection.receive(text)

    def _flush_wire(self) -> None:
        if self._transport is None:
            return
        for data in self._wire.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()

    # Sink

    def write(self, data: bytes) -> None:
        """See Sink."""
        if self._transport is not None and not self._closing:
            self._transport.write(data)

    @property
    def unsent_bytes(self) -> int:
        """See Socket."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def abort(self, code: int, reason: str) -> None:
        """See Sink."""
        if self._closing or self._transport is None:
            return
        if self._wire.state is State.OPEN:  # else the client or the parser closes already: that code stands
            self.close_code, self.close_reason = code, reason
            self._wire.send_close(code, reason.encode()[:123].decode(errors="ignore"))
        self._flush_wire()
        self._begin_close()

    def _begin_close(self) -> None:
        """Operations end now; the client has a while to answer the close."""
        if self._closing:
            return
        self._closing = True
        self._backlog.clear()
        if self._connection is not None:
            self._connection.lost()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(_CLOSE_TIMEOUT_S, self._close_due)

    def _close_due(self) -> None:
        self._timer = None
        if self._transport is not None:
            self._transport.abort()

    def shutdown(self) -> None:
        """The server stops: uvicorn calls this on every connection."""
        if self._connection is None:
            if self._transport is not None:
                self._transport.close()
        else:
            self.abort(1012, "the server restarts: connect again")


def _response(status: int, phrase: str, text: str, retry_after_s: int | None = None) -> Response:
    body = text.encode()
    headers = Headers(
        {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
    )
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return Response(status, phrase, headers, body)


def websocket_class(operations: Operations, settings: ServerSettings, clock: Clock, emit: Emit) -> type:
    """The class that uvicorn makes a protocol of for each upgrade, with what it needs bound in.

    A connection keeps the settings that it was made with.
    """

    class Bound(WebSocketShell):
        def __init__(
            self,
            config: UvicornConfig,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(operations, settings(), clock, emit, server_state)

    return Bound

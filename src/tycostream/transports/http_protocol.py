"""HTTP/1.1 on a socket: uvicorn's protocol, and what it does not look at itself.

A request has to come whole in time and within bounds, and its answer to be read: else a few sockets that send a byte
now and then hold what others need. Whatever is wrong with the bytes ends the connection, for what follows on it might
be read otherwise by a proxy before us than by us (request smuggling).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from tycostream.auth.connections import Slot
from tycostream.auth.limiter import Limiter, network
from tycostream.auth.session import Session
from tycostream.clock import Clock, Timer
from tycostream.config.model import ServerConfig, ServerSettings
from tycostream.errors import RequestError
from tycostream.observe.events import Emit, RequestRefused
from tycostream.transports.caller import caller
from tycostream.transports.event_stream_socket import EventStreamSocket
from tycostream.transports.responses import status_of

_HEADERS_MAX: Final = 100
_UNREAD_TIMEOUT_S: Final = 60.0  # a client reads some 50 KB in it, or is gone
_CLOSE_TIMEOUT_S: Final = 5.0
# Bytes of chunks' sizes and the like, for each byte of a body: a chunk of one byte takes five more.
_OVERHEAD_MAX: Final = 8
# Handlers refuse what is larger than server.message_bytes_max, in their own words. This is for what none of them reads.
_BODY_FACTOR_MAX: Final = 2
_BODY_BYTES_MORE: Final = 64 * 2**10
_BODIES: Final = (b"content-length", b"transfer-encoding")
_LOGGER: Final = logging.getLogger("tycostream.http")
_LOGGER.setLevel(
    logging.ERROR
)  # it warns of every malformed request, and anybody can send as many as he likes


class _Awaited(Enum):
    REQUEST = auto()
    HEAD = auto()  # its beginning came
    BODY = auto()
    NOTHING = auto()  # the request is whole


class HttpShell(HttpToolsProtocol):
    """One socket. Handlers find it at ``request.state.socket``."""

    def __init__(
        self,
        settings: ServerSettings,
        limiter: Limiter,
        clock: Clock,
        emit: Emit,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self.logger = _LOGGER
        self.settings: ServerConfig = settings()
        self._connections = limiter.connections
        self._slot: Slot | None = None
        self.clock = clock
        self._emit = emit
        self._awaited = _Awaited.REQUEST
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_raw_bytes = 0
        self._deadline: Timer | None = None
        self._unread: Timer | None = None
        self._gone: Callable[[], None] | None = None
        self._problem = (400, "the request is malformed")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._slot = self._connections.enter()
        who = caller(self.client[0] if self.client else None, (), self.settings)
        if not who.proxied:  # else it is told with the request for whom the proxy asks
            self._slot.comes_from(network(who.ip))
        self._wait(self.settings.header_timeout.total_seconds())
        if self._slot.refusal is not None and self._connections.crowded:
            self._abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._wait(None)
        if self._slot is not None:
            self._slot.leave()
        self.resume_writing()
        super().connection_lost(exc)
        self._forget_request()
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        before = self._awaited
        super().data_received(data)
        if self.transport.is_closing() or before is not self._awaited:
            return
        if before is _Awaited.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.header_bytes_max:
                self._refuse(431, self._too_large())
        elif before is _Awaited.BODY:
            self._body_raw_bytes += len(data)
            overhead = self._body_raw_bytes - self._body_bytes
            if overhead > self.settings.header_bytes_max + _OVERHEAD_MAX * self._body_bytes:
                self._refuse(400, "the body has more around it than in it")

    def pause_writing(self) -> None:
        """The transport's buffer is over its high-water mark."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.clock.call_later(_UNREAD_TIMEOUT_S, self._abort)

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self._forget_unread()
        super().resume_writing()

    # the parser's callbacks

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self.scope["state"]["socket"] = self
        self._awaited = _Awaited.HEAD
        self._head_bytes = 0
        self._wait(self.settings.header_timeout.total_seconds())

    def on_headers_complete(self) -> None:
        """See httptools."""
        if problem := self._head_problem():
            self._problem = problem
            raise ValueError(problem[1])  # stops the parser; see send_400_response
        if self._slot is not None and self._slot.refusal is not None and not self._should_upgrade():
            raise ValueError(self._slot.refusal.message)
        self._awaited = _Awaited.BODY
        self._body_bytes = self._body_raw_bytes = 0
        self._wait(self.settings.body_timeout.total_seconds())
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body_bytes += len(body)
        if self._body_bytes > _BODY_FACTOR_MAX * self.settings.message_bytes_max + _BODY_BYTES_MORE:
            self._problem = (413, "the body is too large")
            raise ValueError(self._problem[1])  # as above
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self._awaited = _Awaited.NOTHING
        self._wait(None)
        super().on_message_complete()
        self._look_for_another()

    # uvicorn's

    def on_response_complete(self) -> None:
        """The answer is written."""
        super().on_response_complete()
        self._look_for_another()

    def _look_for_another(self) -> None:
        """A request that is whole, and answered, is followed by another or by nothing: not by a drop now and then."""
        answered = self.cycle is not None and self.cycle.response_complete
        if self._awaited is _Awaited.NOTHING and answered and not self.pipeline:
            self._awaited = _Awaited.REQUEST
            self._wait(self.settings.header_timeout.total_seconds())

    def handle_websocket_upgrade(self) -> None:
        """The socket is another protocol's from now on, with its place among the connections."""
        self._wait(None)
        self._forget_unread()
        slot, self._slot = self._slot, None
        assert slot is not None
        self._connections.hand_over(self.transport, slot)
        super().handle_websocket_upgrade()

    # see Requested and Streaming

    def watch(self, gone: Callable[[], None] | None) -> None:
        """See Requested."""
        self._gone = gone
        if gone is not None and self.transport.is_closing():
            gone()

    def reserve(self, client_ip: str, session: Session) -> bool:
        """Make ready for an answer without an end to the present request; gives whether it goes in chunks.

        TooMany if there are as many connections as may be of its address or user.
        """
        if self.pipeline or self._awaited is not _Awaited.NOTHING:
            said = "what follows a request for a stream on its connection would never be answered"
            raise RequestError("bad-request", said)
        assert self._slot is not None, "it is not handed over twice"
        self._slot.comes_from(network(client_ip))
        self._slot.belongs_to(session)
        if self._slot.refusal is not None:
            self.cycle.keep_alive = False
            raise self._slot.refusal
        chunks = self.scope["http_version"] != "1.0"
        if not chunks:
            self.cycle.chunked_encoding = False  # else uvicorn says that there are
        return chunks

    def become(self, protocol: EventStreamSocket) -> None:
        """See Streaming."""
        self._wait(None)
        self._forget_unread()
        self._unset_keepalive_if_required()
        self._forget_request()
        self.connections.discard(self)
        self.cycle.disconnected = True  # nothing more is written for it
        slot, self._slot = self._slot, None
        assert slot is not None, "it is not handed over twice"
        if not self.transport.is_closing():
            self.transport.set_protocol(protocol)
            self.flow.resume_reading()
        protocol.take(self.transport, slot, self.connections)

    def _forget_request(self) -> None:
        """Let go of what refers to this: it would be in the way of freeing it at once."""
        if self.scope is not None:
            self.scope["state"].pop("socket", None)

    def send_400_response(self, msg: str) -> None:
        """The parser was stopped."""
        refusal = self._slot.refusal if self._slot is not None else None
        if refusal is None:
            self._refuse(*self._problem)
        else:
            self._end_with(
                status_of(refusal), refusal.message, b"retry-after: %d\r\n" % refusal.retry_after_s
            )

    # the end

    def _head_problem(self) -> tuple[int, str] | None:
        """What the parser lets pass, and others may read otherwise."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.settings.header_bytes_max or len(self.headers) > _HEADERS_MAX:
            return 431, self._too_large()
        version = self.parser.get_http_version()
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version != "1.0"):
            return 400, f"the Host header is there {len(hosts)} times"
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or version == "1.0"):
            return 400, "the only Transfer-Encoding is chunked, and HTTP/1.0 has none"
        if self._should_upgrade():
            if any(name in _BODIES for name, _ in self.headers):
                return 400, "an upgrade has no body"
            if self.cycle is not None and not self.cycle.response_complete:
                return 400, "an upgrade waits for the answer before it"  # it would be written between frames
        return None

    def _too_large(self) -> str:
        return (
            f"a request's head has at most {self.settings.header_bytes_max} bytes and {_HEADERS_MAX} headers"
        )

    def _wait(self, timeout_s: float | None, then: Callable[[], None] | None = None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if timeout_s is not None:
            self._deadline = self.clock.call_later(timeout_s, then or self._late)

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():  # it does not read what is left
            self.transport.abort()
        elif self._awaited is _Awaited.REQUEST:
            self._close()
        else:
            part = "head" if self._awaited is _Awaited.HEAD else "body"
            self._refuse(408, f"the {part} of the request did not come in time")

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        peer = self.client[0] if self.client else None
        who = caller(peer, (), self.settings)
        self._emit(RequestRefused("http", who.ip, status, "bad-request", message))
        self._end_with(status, message)

    def _end_with(self, status: int, message: str, header: bytes = b"") -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            started = self.cycle.response_started
            self.cycle.disconnected = True  # nothing more is written for it
            self.cycle.message_event.set()
        if not (answering and started):
            body = message.encode()
            self.transport.write(
                STATUS_LINE[status]
                + b"content-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n"
                + header
                + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
                + body
            )
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self._wait(_CLOSE_TIMEOUT_S, self._abort)

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _abort(self) -> None:
        self.transport.abort()


def http_class(
    settings: ServerSettings, limiter: Limiter, clock: Clock, emit: Emit
) -> type[asyncio.Protocol]:
    """The class that uvicorn makes a protocol of for each socket, with what it needs bound in.

    A connection keeps the settings that it was made with.
    """

    class Bound(HttpShell):
        def __init__(
            self,
            config: UvicornConfig,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(settings, limiter, clock, emit, config, server_state, app_state, _loop)

    return Bound

"""The port: uvicorn around the application and our protocol classes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from tycostream.clock import Clock
from tycostream.config.model import ServerConfig
from tycostream.errors import TycoError
from tycostream.observe.events import Emit

if TYPE_CHECKING:
    from tycostream.transports.tls import TlsPort


# The kernel takes net.core.somaxconn if that is less. When everybody comes back at once, who finds the queue full is not
# told: his kernel tries again after 1, 3, 7, 15 and 31 seconds, however soon there is a place. Nothing is held for a
# place that is not taken.
_BACKLOG: Final = 65535


class PortServer:
    """A listening uvicorn inside our own event loop and signal handling."""

    def __init__(
        self,
        app: Any,
        http: type[asyncio.Protocol],
        websocket: type,
        config: ServerConfig,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._config = config
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._tls: TlsPort | None = None
        if config.tls is not None:
            from tycostream.transports.tls import TlsPort  # only who has a certificate pays for its libraries

            self._tls = TlsPort(config.tls, clock, emit)
        self._server = _Server(
            self._tls.context if self._tls is not None else None,
            config.header_timeout.total_seconds(),
            uvicorn.Config(
                app,
                ws=websocket,
                http=http,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                backlog=_BACKLOG,  # asyncio and uvloop listen once more with it
                proxy_headers=False,  # it would believe whatever stands in them; see caller.py
                timeout_graceful_shutdown=5,
            ),
        )

    async def start(self) -> str:
        """Listen; gives the base URL. A port that is taken is an error with a remedy."""
        config = self._config
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((config.host, config.port))
            self._socket.listen(_BACKLOG)
        except OSError as error:
            self._socket.close()
            raise TycoError(
                "port-unavailable",
                f"cannot listen on {config.host}:{config.port}: {error.strerror}",
                hint="stop what listens there, or choose another port with --port",
            ) from None
        self._socket.setblocking(False)
        self._task = asyncio.create_task(self._server.serve([self._socket]), name="port")
        await self._server.listening.wait()
        port = self._socket.getsockname()[1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        return f"http{'s' if self._tls is not None else ''}://{host}:{port}"

    def check(self, config: ServerConfig) -> None:
        """TycoError if ``renew`` would not take it."""
        if self._tls is not None and config.tls is not None:
            self._tls.prepared(config.tls)

    def renew(self, config: ServerConfig) -> None:
        """Take on another configuration. What a connection was made with stays as it was."""
        if self._tls is not None and config.tls is not None:
            self._tls.renew(config.tls)

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, tell clients to reconnect, flush, close."""
        if self._tls is not None:
            self._tls.close()
        self._server.should_exit = True
        self._server.ending.set()
        if self._task is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._task), grace_s)
            except TimeoutError:
                self._server.force_exit = True
                await self._task
        if self._socket is not None:
            self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, and with an event for being up."""

    def __init__(
        self, tls: ssl.SSLContext | None, handshake_timeout_s: float, config: uvicorn.Config
    ) -> None:
        super().__init__(config)
        self._tls = tls
        self._handshake_timeout_s = handshake_timeout_s
        self.listening = asyncio.Event()
        self.ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but a TLS handshake has no more time than the head of a request."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        timeout_s = self._handshake_timeout_s if self._tls is not None else None

        def made() -> asyncio.Protocol:
            factory: Any = self.config.http_protocol_class
            protocol: asyncio.Protocol = factory(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )
            return protocol

        self.servers = [
            await loop.create_server(
                made,
                sock=each,
                ssl=self._tls,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=timeout_s,
                backlog=self.config.backlog,
            )
            for each in sockets or ()
        ]
        self.started = True
        self.listening.set()

    async def main_loop(self) -> None:
        """As uvicorn's, but an idle process wakes once a second, for the date of answers, and not ten times."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Signals are the command line's."""
        yield

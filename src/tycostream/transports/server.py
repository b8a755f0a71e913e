"""The port: uvicorn around the application and our protocol classes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn

from tycostream.config.model import ServerConfig
from tycostream.errors import TycoError


class PortServer:
    """A listening uvicorn inside our own event loop and signal handling."""

    def __init__(self, app: Any, http: type[asyncio.Protocol], websocket: type, config: ServerConfig) -> None:
        self._config = config
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                ws=websocket,
                http=http,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # it would believe whatever stands in them; see caller.py
                timeout_graceful_shutdown=5,
            )
        )

    async def start(self) -> str:
        """Listen; gives the base URL. A port that is taken is an error with a remedy."""
        config = self._config
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((config.host, config.port))
            self._socket.listen(2048)
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
        return f"http://{host}:{port}"

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, tell clients to reconnect, flush, close."""
        self._server.should_exit = True
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

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Signals are the command line's."""
        yield

"""An App and its port, from start to drain: what `serve`, `dev` and `demo` have in common."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from tycostream.app import App
    from tycostream.cli.reloading import Reloader
    from tycostream.config.model import Config

_GRACE_S: Final = 5
_SETTLE_S: Final = 10
_STRICT_S: Final = 600  # a first snapshot may take minutes; a deployment must not wait for ever
Work = Callable[[], Coroutine[Any, Any, None]]


async def serving(
    config: Config,
    *,
    page: str,
    routes: Sequence[Any] = (),
    examples: Sequence[str] = (),
    strict: bool = False,
    renew: Callable[[], Mapping[str, str]] | None = None,
    prepare: Callable[[App], Awaitable[Work]] | None = None,
    reloader: Reloader | None = None,
    watch: Work | None = None,
) -> bool:
    """Run an App and its port until SIGTERM or SIGINT, then drain: clients are told to reconnect.

    ``prepare`` runs before the sources are read, and gives what runs beside the server once it is ready. With a
    ``reloader`` SIGHUP takes on the configuration of now; ``watch`` runs beside it from the start. Gives whether the
    process is to start itself anew, for what the reloader could not take on.
    """
    from tycostream.app import App
    from tycostream.clock import SystemClock
    from tycostream.observe.log import log_sink, setup
    from tycostream.transports.http import make_app
    from tycostream.transports.http_protocol import http_class
    from tycostream.transports.server import PortServer
    from tycostream.transports.websocket import websocket_class

    setup(config.server.log_level, config.server.log_format)
    clock = SystemClock()
    app = App(config, clock, log_sink, renew)
    beside = None
    if prepare is not None:
        try:
            beside = await prepare(app)
        except BaseException:
            await app.upstreams.close()
            raise
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with app.running():
        port = make_app(app, app.settings, app.emit, extra_routes=routes, examples=examples)
        server = PortServer(
            port,
            http_class(app.settings, app.limiter, clock, app.emit),
            websocket_class(app, app.settings, clock, app.emit),
            config.server,
            clock,
            app.emit,
        )
        url = await server.start()
        try:
            typer.echo(f"listening {url}")
            waits = [
                stop.wait(),
                app.feeds_end(),
                _announced(app, f"{url}/{page}", stop, beside, strict=strict),
            ]
            if reloader is not None:
                _reload_on_hangup(reloader, stop)
                waits += [
                    reloader.run(app, server),
                    reloader.restart.wait(),
                    *([watch()] if watch is not None else []),
                ]
            await first(*waits)
        finally:
            await server.stop(_GRACE_S)
    return reloader is not None and reloader.restart.is_set() and not stop.is_set()


def _reload_on_hangup(reloader: Reloader, stop: asyncio.Event) -> None:
    """SIGHUP asks for a reload; but if our terminal was closed, it means what it says."""
    terminal = os.isatty(0)

    def hangup() -> None:
        if terminal and not os.isatty(0):
            stop.set()
        else:
            reloader.ask()

    if hasattr(signal, "SIGHUP"):  # not on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup)


async def _announced(app: App, page: str, stop: asyncio.Event, beside: Work | None, *, strict: bool) -> None:
    """Say when everything is there, and go on with what runs beside the server."""
    await _settle(app, stop, strict)
    typer.echo(f"ready {page}")
    await (beside() if beside is not None else stop.wait())


async def _settle(app: App, stop: asyncio.Event, strict: bool) -> None:
    """Wait for the sources, or the signal to stop. What takes longer than a moment goes on behind: /readyz tells when."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(first(app.settled(), stop.wait()), _STRICT_S if strict else _SETTLE_S)
    if (missing := not_live(app)) and not stop.is_set():
        typer.echo(missing, err=True)
        if strict:
            raise typer.Exit(1)


def not_live(app: App) -> str:
    """What is not there, a line each, or nothing."""
    entries = [entry for entry in app.ready()[1] if entry["state"] != "live"]
    return "\n".join(
        f"source {entry['source']} is {entry['state']}: {entry.get('reason', 'no snapshot yet')}"
        for entry in entries
    )


async def first(*waits: Awaitable[Any]) -> None:
    """Wait for the first, and end the others; an exception of it is raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()

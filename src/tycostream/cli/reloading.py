"""Taking on what the configuration says now: one mechanism for SIGHUP and for `tycostream dev`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import typer

from tycostream.cli.serving import not_live
from tycostream.config.reload import Changes, compare, report
from tycostream.errors import TycoError

if TYPE_CHECKING:
    from tycostream.app import App
    from tycostream.clock import Clock
    from tycostream.config.model import Config
    from tycostream.transports.server import PortServer

_SETTLE_S: Final = 10.0
KEPT: Final = "the configuration in force stays"


class Reloader:
    """Reads the configuration when it is asked to, and has the App take it on. Reloads never overlap.

    ``restarts``: what a running process cannot take on is a reason to set ``restart``; else it is only reported.
    """

    def __init__(self, load: Callable[[], Config], clock: Clock, *, restarts: bool) -> None:
        self.restart = asyncio.Event()
        self._load = load
        self._clock = clock
        self._restarts = restarts
        self._asked = asyncio.Event()
        self._anew = False  # another process is to take over, as soon as the configuration is right

    def ask(self, *, anew: bool = False) -> None:
        """Reload soon; several wishes at once are one. ``anew``: in another process, if the configuration is right."""
        self._anew |= anew
        self._asked.set()

    async def run(self, app: App, port: PortServer | None = None) -> None:
        """Do what is asked for, until cancelled. ``port``: where the App is served."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._reload(app, port)

    async def _reload(self, app: App, port: PortServer | None) -> None:
        started_s = self._clock.monotonic()
        try:
            config = await asyncio.to_thread(self._load)  # a file of hundreds of sources takes a while
            if self._anew or (self._restarts and compare(app.config, config).restart):
                for line in [*report(compare(app.config, config)), "restarting"]:
                    typer.echo(line)
                self.restart.set()
                return
            if port is not None:
                port.check(config.server)
            changes = await app.reload(config)
            if port is not None:
                port.renew(app.config.server)
        except TycoError as error:
            typer.echo(f"{error}\n{KEPT}", err=True)
            return
        _set_up_log(app, changes)
        for line in told(changes, self._clock.monotonic() - started_s):
            typer.echo(line)
        await self._tell_what_is_missing(app, changes)

    async def _tell_what_is_missing(self, app: App, changes: Changes) -> None:
        """What the databases say to it: told when it is known, unless another reload is asked for before."""
        if not changes:
            return
        again = asyncio.ensure_future(self._asked.wait())
        settled = asyncio.ensure_future(app.settled())
        try:
            await asyncio.wait([again, settled], timeout=_SETTLE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (again, settled):
                task.cancel()
            await asyncio.wait([again, settled])
        if not self._asked.is_set() and (missing := not_live(app)):
            typer.echo(missing, err=True)


def told(changes: Changes, took_s: float) -> Sequence[str]:
    """What a reload did, in lines."""
    if not changes:
        return [f"reloaded in {took_s * 1000:.0f} ms: nothing is different"]
    counts = [
        sum(len(section.added) for section in changes.sections.values()),
        len(changes.settings) + sum(len(section.revised) for section in changes.sections.values()),
        sum(len(section.removed) for section in changes.sections.values()),
    ]
    summary = ", ".join(
        f"{n} {what}" for n, what in zip(counts, ("added", "changed", "removed"), strict=True) if n
    )
    return [*report(changes), f"reloaded in {took_s * 1000:.0f} ms: {summary}"]


def _set_up_log(app: App, changes: Changes) -> None:
    if not changes.settings.keys().isdisjoint(("server.log_level", "server.log_format")):
        from tycostream.observe.log import setup

        setup(app.config.server.log_level, app.config.server.log_format)


def start_anew() -> None:
    """Become the same command again, as another process image with the same number; never returns."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line

"""`tycostream dev`: the server that follows its file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, run
from tycostream.cli.serve import Host, Port, reader
from tycostream.cli.serving import serving
from tycostream.errors import ConfigError

if TYPE_CHECKING:
    from tycostream.config.model import Config


def dev(config: ConfigPath = DEFAULT_CONFIG, host: Host = None, port: Port = None) -> None:
    """Serve a configuration and follow its file: a valid change is applied at once, without dropping what it leaves alone.

    A mistake is reported with its place, and the configuration in force stays. When `.env` changes, or a setting that
    a running server cannot take on, the process starts itself anew.

    Example: tycostream dev --config tycostream.yaml
    """
    read = reader(config, host, port)
    if not config.is_file():
        read()  # says what is wrong with the path: nothing to wait for
    if run(_dev(config, read)):
        from tycostream.cli.reloading import start_anew

        start_anew()


async def _dev(path: Path, read: Callable[[], Config]) -> bool:
    from tycostream.cli.reloading import Reloader
    from tycostream.clock import SystemClock
    from tycostream.config.load import credentials
    from tycostream.config.watch import Watch

    clock = SystemClock()
    env = path.parent / ".env"
    watch = Watch([path, env], clock)  # before the first reading: an edit meanwhile is not missed
    reloader = Reloader(read, clock, restarts=True)

    async def follow() -> None:
        while True:
            changed = await watch.changed()
            reloader.ask(anew=env in changed)

    return await serving(
        await _first_valid(read, watch.changed),
        page="graphql",
        renew=lambda: credentials(path),
        reloader=reloader,
        watch=follow,
    )


async def _first_valid(read: Callable[[], Config], changed: Callable[[], Awaitable[object]]) -> Config:
    """The configuration, as soon as there is one without mistakes."""
    while True:
        try:
            return await asyncio.to_thread(read)
        except ConfigError as error:
            typer.echo(f"{error}\nwaiting for a change", err=True)
            await changed()

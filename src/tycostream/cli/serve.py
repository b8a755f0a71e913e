"""`tycostream serve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, load, run
from tycostream.cli.serving import serving
from tycostream.errors import TycoError

if TYPE_CHECKING:
    from tycostream.config.model import Config

Host = Annotated[str | None, typer.Option(help="Overrides server.host.")]
Port = Annotated[int | None, typer.Option(help="Overrides server.port.")]


def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    host: Host = None,
    port: Port = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 unless every source is live within 10 minutes.")
    ] = False,
) -> None:
    """Serve the API of a configuration. A database that is down is waited for; /readyz says what is missing.

    SIGHUP reloads the file without dropping what it did not change; SIGTERM drains.

    Example: tycostream serve --config tycostream.yaml --port 4000
    """
    read = reader(config, host, port)
    run(_serve(config, read, strict=strict))


async def _serve(path: Path, read: Callable[[], Config], *, strict: bool) -> None:
    from tycostream.cli.reloading import Reloader
    from tycostream.clock import SystemClock
    from tycostream.config.load import credentials

    reloader = Reloader(read, SystemClock(), restarts=False)
    await serving(read(), page="graphql", strict=strict, renew=lambda: credentials(path), reloader=reloader)


def reader(path: Path, host: str | None, port: int | None) -> Callable[[], Config]:
    """Reads the configuration in a file, the command line's settings over it."""
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}

    def read() -> Config:
        loaded = load(path)
        if not changes:
            return loaded
        from tycostream.config.hosts import public_host_problem
        from tycostream.config.model import ServerConfig

        server = ServerConfig.model_validate({**loaded.server.model_dump(), **changes})
        if problem := public_host_problem(server, loaded.auth):
            raise TycoError("host-public", f"--host: {problem}")
        return loaded.model_copy(update={"server": server})

    return read

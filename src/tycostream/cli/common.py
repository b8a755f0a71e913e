"""What all commands share: the root, the option that names the file, and the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tycostream.config.model import Config
    from tycostream.upstreams import Upstreams

cli = typer.Typer(
    name="tycostream",
    help="A real-time, Hasura-compatible GraphQL API over streaming SQL databases.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_cli = typer.Typer(help="Work with the configuration.", no_args_is_help=True)
cli.add_typer(config_cli, name="config")

ConfigPath = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="TYCO_CONFIG", help="The configuration file.", show_default=True),
]
DEFAULT_CONFIG = Path("tycostream.yaml")


def _version(wanted: bool) -> None:
    if wanted:
        from tycostream import __version__

        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Only --version lives here."""


def load(path: Path) -> Config:
    """The configuration in a file."""
    from tycostream.config.load import load as load_config

    config: Config = load_config(path)
    return config


def upstreams(config: Config) -> Upstreams:
    """The engines of a configuration, for a command that asks them something and ends."""
    from tycostream.clock import SystemClock
    from tycostream.observe.events import silent
    from tycostream.upstreams import Upstreams

    return Upstreams(config, SystemClock(), silent)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a command's work on the fastest loop there is."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    return uvloop.run(work)

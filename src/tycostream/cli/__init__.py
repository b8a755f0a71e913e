"""The command line, a module a command. Heavy modules are imported inside commands: ``--version`` and ``--help`` are instant."""

from __future__ import annotations

import sys

import typer

from tycostream.cli.admin import revoke_sessions, sessions, state
from tycostream.cli.check import check
from tycostream.cli.cleanup import cleanup
from tycostream.cli.common import cli, config_cli
from tycostream.cli.demo import demo
from tycostream.cli.dev import dev
from tycostream.cli.init import init
from tycostream.cli.metadata import export_metadata, import_metadata, metadata_cli
from tycostream.cli.schema import config_json_schema, schema
from tycostream.cli.serve import serve
from tycostream.cli.token import create, list_tokens, revoke, token_cli
from tycostream.errors import TycoError

for command in (demo, init, check, dev, serve, schema, cleanup, sessions, state):
    cli.command()(command)
cli.command("revoke")(revoke_sessions)
config_cli.command("json-schema")(config_json_schema)
metadata_cli.command("import")(import_metadata)
metadata_cli.command("export")(export_metadata)
cli.add_typer(metadata_cli, name="metadata")
token_cli.command("create")(create)
token_cli.command("list")(list_tokens)
token_cli.command("revoke")(revoke)
cli.add_typer(token_cli, name="token")

__all__ = ["cli", "main"]


def main() -> None:
    """The console script: errors with a remedy, and an exit code that scripts can use (1 failed, 2 wrong usage)."""
    try:
        cli()
    except TycoError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        raise SystemExit(1) from None

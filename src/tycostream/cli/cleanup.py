"""`tycostream cleanup`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, load, run, upstreams


def cleanup(
    config: ConfigPath = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed and not in use.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List what tycostream has left in the databases; with --yes, remove it. What is in use stays.

    Example: tycostream cleanup --config tycostream.yaml --yes
    """
    loaded = load(config)

    async def work() -> list[dict[str, object]]:
        asked = upstreams(loaded)
        try:
            return [
                {"database": database, "kind": left.kind, "name": left.name, "in_use": left.in_use}
                | {"sql": left.sql, "removed": left in removed}
                for database, found, removed in await asked.cleanup(remove=yes)
                for left in found
            ]
        finally:
            await asked.close()

    rows = run(work())
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = "removed" if row["removed"] else "in use" if row["in_use"] else f"left; {row['sql']}"
        typer.echo(f"{row['database']}: {row['kind']} {row['name']}: {state}")
    if not rows:
        typer.echo("nothing of ours is left")

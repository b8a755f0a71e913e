"""`tycostream schema` and `tycostream config json-schema`."""

from __future__ import annotations

import json

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, load, run, upstreams


def schema(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Print the GraphQL schema (SDL) of a configuration."""
    loaded = load(config)

    async def work() -> str:
        from tycostream.graphql.schema import build_schema, print_sdl

        asked = upstreams(loaded)
        try:
            row_types = await asked.describe()
        finally:
            await asked.close()
        ordered = [row_types[name] for name in loaded.sources]
        return print_sdl(
            build_schema(ordered, sources=loaded.sources, stringify_numbers=loaded.server.stringify_numbers)
        )

    typer.echo(run(work()))


def config_json_schema() -> None:
    """Print the JSON Schema of tycostream.yaml, for editors."""
    from tycostream.config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))

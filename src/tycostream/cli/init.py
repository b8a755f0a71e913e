"""`tycostream init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tycostream.cli.common import run
from tycostream.errors import TycoError

if TYPE_CHECKING:
    from tycostream.engines.base import CatalogueTable


def init(
    database_url: Annotated[str, typer.Option(help="The database to read.", envvar="DATABASE_URL")],
    source: Annotated[
        list[str] | None, typer.Option(help="[schema.]table; repeatable; absent: all tables with a key.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; absent: standard output.")
    ] = None,
) -> None:
    """Write a configuration from a database's catalogue.

    Example: tycostream init --database-url postgresql://localhost/shop > tycostream.yaml
    """
    from tycostream.config.render import TableFacts, render_yaml

    engine, tables = run(_catalogue(database_url))
    facts = [
        TableFacts(t.schema, t.name, t.columns, t.primary_key, t.enums, t.comment)
        for t in _chosen(tables, source or [], keyless=engine == "materialize")
    ]
    text = render_yaml("${DATABASE_URL}", engine, facts)
    if output is None:
        typer.echo(text, nl=False)
    elif output.exists():
        raise TycoError("file-exists", f"{output} exists already", hint="name another file with --output")
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(
            f"wrote {output}: {len(facts)} sources; now: export DATABASE_URL=… && tycostream check", err=True
        )


async def _catalogue(url: str) -> tuple[str, list[CatalogueTable]]:
    """What a database is, and what it offers as sources."""
    from tycostream.clock import SystemClock
    from tycostream.config.model import Config, DatabaseConfig, EngineName
    from tycostream.engines.libpq import product_at
    from tycostream.observe.events import silent
    from tycostream.upstreams import make_engine

    product = EngineName(await product_at(url, DatabaseConfig(url=url)))
    config = DatabaseConfig(url=url, engine=product)
    engine = make_engine("main", config, Config(databases={"main": config}), silent, SystemClock())
    try:
        return product.value, list(await engine.catalogue())
    finally:
        await engine.close()


def _chosen(tables: list[CatalogueTable], wanted: list[str], *, keyless: bool) -> list[CatalogueTable]:
    if not wanted:
        return [table for table in tables if table.primary_key or keyless]
    by_name = {f"{table.schema}.{table.name}": table for table in tables}
    by_name |= {table.name: table for table in tables if table.schema == "public"}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise TycoError(
            "source-missing",
            f"no readable table is called {', '.join(missing)}",
            hint="there are: " + ", ".join(sorted(by_name)),
        )
    return [by_name[name] for name in wanted]

"""`tycostream init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tycostream.cli.common import run
from tycostream.errors import TycoError

if TYPE_CHECKING:
    from tycostream.config.table_facts import Reference, TableFacts
    from tycostream.engines.base import CatalogueTable


def init(
    database_url: Annotated[str, typer.Option(help="The database to read.", envvar="DATABASE_URL")],
    source: Annotated[
        list[str] | None, typer.Option(help="[schema.]table; repeatable; absent: all tables with a key.")
    ] = None,
    schema: Annotated[
        list[str] | None, typer.Option(help="All tables with a key in this schema; repeatable.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Tables without a key too; alone, or with --schema.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; absent: standard output.")
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add the database to the file, which stays as it is otherwise.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="What to call it; absent: main, or with --append by its engine.")
    ] = None,
) -> None:
    """Write a configuration from a database's catalogue: tables, keys, enums, comments, relationships by foreign keys.

    Example: tycostream init --database-url postgresql://localhost/shop --schema public --schema sales > tycostream.yaml
    """
    from tycostream.config.append import appended, taken
    from tycostream.config.names import identifier
    from tycostream.config.render import draft_of

    if source and everything:
        raise TycoError("options", "--all and --source contradict each other", hint="give one of them")
    if output is not None and output.exists() and not append:
        raise TycoError(
            "file-exists",
            f"{output} exists already",
            hint="name another file with --output, or add this database to it with --append",
        )
    if append and (output is None or not output.exists()):
        raise TycoError(
            "options",
            "--append adds to a file that exists",
            hint="name it: --append --output tycostream.yaml",
        )
    kept = output.read_text(encoding="utf-8") if append and output is not None else ""
    there = taken(kept, str(output)) if append else None
    engine, tables = run(catalogue(database_url))
    keyless = everything or engine == "materialize"
    named = _named(tables, source or [])
    chosen = named + [table for table in _in_schemas(tables, schema, source) if table not in named]
    facts = [
        _facts(table, wanted=table in named)
        for table in chosen
        if table in named or table.primary_key or table.view or keyless
    ]
    called = name or (engine if there else "main")
    if there and called in there.databases:
        raise TycoError(
            "database-exists",
            f"{output} has a database {called!r} already",
            hint="give this one another name with --name",
        )
    variable = "DATABASE_URL" if called == "main" and not there else f"{identifier(called).upper()}_URL"
    draft = draft_of(called, f"${{{variable}}}", engine, facts, there)
    if output is None:
        typer.echo(draft.file(), nl=False)
        return
    output.write_text(appended(kept, str(output), draft) if there else draft.file(), encoding="utf-8")
    count = sum(1 for fact in facts if not fact.left_out)
    done = f"added {called} to {output}" if there else f"wrote {output}"
    typer.echo(f"{done}: {count} sources; now: export {variable}=… && tycostream check", err=True)


def _facts(table: CatalogueTable, *, wanted: bool) -> TableFacts:
    from tycostream.config.table_facts import TableFacts

    return TableFacts(
        table.schema,
        table.name,
        table.columns,
        table.primary_key,
        table.enums,
        table.comment,
        table.comments,
        references(table),
        table.remedy,
        wanted,
        table.view,
    )


def references(table: CatalogueTable) -> tuple[Reference, ...]:
    """A table's foreign keys."""
    from tycostream.config.table_facts import Reference

    return tuple(
        Reference(key.columns, key.schema, key.table, key.referenced, key.always)
        for key in table.foreign_keys
    )


async def catalogue(url: str) -> tuple[str, list[CatalogueTable]]:
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


def _named(tables: list[CatalogueTable], wanted: list[str]) -> list[CatalogueTable]:
    """The tables of these names, each once."""
    by_name = {f"{table.schema}.{table.name}": table for table in tables}
    by_name |= {table.name: table for table in tables if table.schema == "public"}
    if missing := [name for name in wanted if name not in by_name]:
        raise TycoError(
            "source-missing",
            f"no readable table is called {', '.join(missing)}",
            hint="there are: " + ", ".join(sorted(by_name)),
        )
    found: list[CatalogueTable] = []
    for name in wanted:
        if by_name[name] not in found:
            found.append(by_name[name])
    return found


def _in_schemas(
    tables: list[CatalogueTable], wanted: list[str] | None, sources: list[str] | None
) -> list[CatalogueTable]:
    """The tables of these schemas; of all if neither schemas nor sources are named."""
    if not wanted:
        return [] if sources else tables
    there = {table.schema for table in tables}
    if missing := [name for name in wanted if name not in there]:
        raise TycoError(
            "schema-missing",
            f"there is no readable table in schema {', '.join(missing)}",
            hint="schemas with tables: " + (", ".join(sorted(there)) or "none"),
        )
    return [table for table in tables if table.schema in wanted]

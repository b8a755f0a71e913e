"""The command line. Heavy modules are imported inside commands, so that ``--version`` and ``--help`` are instant."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tycostream.errors import TycoError

if TYPE_CHECKING:
    from tycostream.app import App
    from tycostream.config.model import Config
    from tycostream.engines.base import CatalogueTable

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
_GRACE_S = 5
_SETTLE_S = 10
_STRICT_S = 600  # a first snapshot may take minutes; a deployment must not wait for ever


def main() -> None:
    """The console script: errors with a remedy, and an exit code that scripts can use (1 failed, 2 wrong usage)."""
    try:
        cli()
    except TycoError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        raise SystemExit(1) from None


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


@cli.command()
def demo(
    port: Annotated[int, typer.Option(help="The port of the page and the API; 0: a free one.")] = 4000,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="Trades per second.")] = 50.0,
    data: Annotated[Path, typer.Option(help="The folder of the demo's PostgreSQL.")] = Path(
        ".tycostream/demo"
    ),
    seed: Annotated[int | None, typer.Option(help="Make the market repeat itself.")] = None,
) -> None:
    """A live market on an embedded PostgreSQL: watch real rows change.

    Example: tycostream demo --port 4000 --rate 50
    """
    from tycostream.config.load import load
    from tycostream.demo.market import Simulator, create_schema
    from tycostream.demo.pages import EXAMPLES, routes

    file = Path(__file__).parent / "demo" / "demo.yaml"
    config = load(file)
    database = config.databases["main"].model_copy(update={"data": str(data)})
    server = config.server.model_copy(update={"port": port})
    config = config.model_copy(update={"databases": {"main": database}, "server": server})

    async def prepare(app: App) -> Callable[[], Coroutine[Any, Any, None]]:
        from tycostream.clock import SystemClock
        from tycostream.engines.postgres import PostgresEngine

        engine = app.engine("main")
        assert isinstance(engine, PostgresEngine)
        url = await engine.start()
        await create_schema(url)
        typer.echo(f"database {url}")
        return Simulator(url, rate, SystemClock(), seed).run

    _run(_serve(config, routes(), EXAMPLES, page="demo", prepare=prepare))


@cli.command()
def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    host: Annotated[str | None, typer.Option(help="Overrides server.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Overrides server.port.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 unless every source is live within 10 minutes.")
    ] = False,
) -> None:
    """Serve the API of a configuration. A database that is down is waited for; /readyz says what is missing.

    Example: tycostream serve --config tycostream.yaml --port 4000
    """
    from tycostream.config.load import credentials

    loaded = _load(config)
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    if changes:
        from tycostream.config.model import ServerConfig
        from tycostream.config.rules import public_host_problem

        server = ServerConfig.model_validate({**loaded.server.model_dump(), **changes})
        if problem := public_host_problem(server):
            raise TycoError("host-public", f"--host: {problem}")
        loaded = loaded.model_copy(update={"server": server})
    _run(_serve(loaded, [], [], page="graphql", strict=strict, renew=lambda: credentials(config)))


@cli.command()
def check(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Compare the configuration with the real databases; each problem comes with the command that mends it."""
    loaded = _load(config)

    async def work() -> int:
        from tycostream.app import App
        from tycostream.clock import SystemClock
        from tycostream.observe.events import silent

        app = App(loaded, SystemClock(), silent)
        try:
            findings = await app.check()
        finally:
            await app.close()
        if as_json:
            fields = ("subject", "ok", "message", "hint", "fatal")
            typer.echo(json.dumps([{name: getattr(f, name) for name in fields} for f in findings], indent=2))
        else:
            _print_findings(findings)
        return sum(1 for finding in findings if not finding.ok and finding.fatal)

    raise typer.Exit(1 if _run(work()) else 0)


def _print_findings(findings: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "subject", "finding", "remedy"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]FAIL[/]" if finding.fatal else "[yellow]warn[/]"
        from rich.markup import escape

        table.add_row(mark, escape(finding.subject), escape(finding.message), escape(finding.hint))
    Console().print(table)


@cli.command()
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

    engine, tables = _run(_catalogue(database_url))
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
    from tycostream.app import make_engine
    from tycostream.clock import SystemClock
    from tycostream.config.model import Config, DatabaseConfig, EngineName
    from tycostream.engines.libpq import product_at
    from tycostream.observe.events import silent

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


@cli.command()
def cleanup(
    config: ConfigPath = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed and not in use.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """List what tycostream has left in the databases; with --yes, remove it. What is in use stays.

    Example: tycostream cleanup --config tycostream.yaml --yes
    """
    loaded = _load(config)

    async def work() -> list[dict[str, object]]:
        from tycostream.app import App
        from tycostream.clock import SystemClock
        from tycostream.observe.events import silent

        app = App(loaded, SystemClock(), silent)
        try:
            return [
                {"database": database, "kind": left.kind, "name": left.name, "in_use": left.in_use}
                | {"sql": left.sql, "removed": left in removed}
                for database, found, removed in await app.cleanup(remove=yes)
                for left in found
            ]
        finally:
            await app.close()

    rows = _run(work())
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = "removed" if row["removed"] else "in use" if row["in_use"] else f"left; {row['sql']}"
        typer.echo(f"{row['database']}: {row['kind']} {row['name']}: {state}")
    if not rows:
        typer.echo("nothing of ours is left")


@cli.command()
def schema(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Print the GraphQL schema (SDL) of a configuration."""
    loaded = _load(config)

    async def work() -> str:
        from tycostream.app import App
        from tycostream.clock import SystemClock
        from tycostream.graphql.schema import build_schema, print_sdl
        from tycostream.observe.events import silent

        app = App(loaded, SystemClock(), silent)
        try:
            row_types = await app.describe()
        finally:
            await app.close()
        ordered = [row_types[name] for name in loaded.sources]
        return print_sdl(build_schema(ordered, stringify_numbers=loaded.server.stringify_numbers))

    typer.echo(_run(work()))


@config_cli.command("json-schema")
def config_json_schema() -> None:
    """Print the JSON Schema of tycostream.yaml, for editors."""
    from tycostream.config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def _load(path: Path) -> Config:
    from tycostream.config.load import load

    config: Config = load(path)
    return config


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    return uvloop.run(work)


async def _serve(
    config: Config,
    extra_routes: list[Any],
    examples: list[str],
    *,
    page: str,
    strict: bool = False,
    renew: Callable[[], Mapping[str, str]] | None = None,
    prepare: Callable[[App], Awaitable[Callable[[], Coroutine[Any, Any, None]]]] | None = None,
) -> None:
    """Run an App and its port until SIGTERM or SIGINT, then drain: clients are told to reconnect.

    ``prepare`` runs before the sources are read, and gives what runs beside the server.
    """
    from tycostream.app import App
    from tycostream.clock import SystemClock
    from tycostream.observe.log import log_sink, setup
    from tycostream.transports.http import make_app
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
            await app.close()
            raise
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with app.running():
        port = make_app(app, config.server, log_sink, extra_routes=extra_routes, examples=examples)
        server = PortServer(port, websocket_class(app, config.server, clock, log_sink), config.server)
        url = await server.start()
        try:
            typer.echo(f"listening {url}")
            await _settle(app, stop, strict)
            typer.echo(f"ready {url}/{page}")
            await _first(stop.wait(), app.feeds_end(), *([beside()] if beside is not None else []))
        finally:
            await server.stop(_GRACE_S)


async def _settle(app: App, stop: asyncio.Event, strict: bool) -> None:
    """Wait for the sources, or the signal to stop. What takes longer than a moment goes on behind: /readyz tells when."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_first(app.settled(), stop.wait()), _STRICT_S if strict else _SETTLE_S)
    if (missing := _not_live(app)) and not stop.is_set():
        typer.echo(missing, err=True)
        if strict:
            raise typer.Exit(1)


def _not_live(app: App) -> str:
    """What is not there, a line each, or nothing."""
    entries = [entry for entry in app.ready()[1] if entry["state"] != "live"]
    return "\n".join(
        f"source {entry['source']} is {entry['state']}: {entry.get('reason', 'no snapshot yet')}"
        for entry in entries
    )


async def _first(*waits: Awaitable[Any]) -> None:
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

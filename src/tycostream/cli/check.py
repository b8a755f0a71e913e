"""`tycostream check`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, load, run, upstreams

if TYPE_CHECKING:
    from rich.console import Console

    from tycostream.config.model import Config
    from tycostream.engines.base import Finding
    from tycostream.rows import RowType
    from tycostream.upstreams import Upstreams

SCHEMA = "schema"  # what is said of all databases together


def check(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Compare the configuration with the real databases; each problem comes with the command that mends it."""
    loaded = load(config)

    async def work() -> int:
        asked = upstreams(loaded)
        try:
            found = await asked.check()
            together = await _together(loaded, asked, found)
        finally:
            await asked.close()
        if as_json:
            _print_json(found, together)
        else:
            _print_sections(loaded, found, together)
        every = [*together, *(finding for some in found.values() for finding in some)]
        return sum(1 for finding in every if not finding.ok and finding.fatal)

    raise typer.Exit(1 if run(work()) else 0)


async def _together(config: Config, asked: Upstreams, found: dict[str, Sequence[Finding]]) -> list[Finding]:
    """Whether what the databases tell fits into one schema. What cannot be read has been told of, and is left out."""
    from tycostream.engines.base import Finding
    from tycostream.errors import Action, TycoError, UpstreamError
    from tycostream.graphql.schema import presentable
    from tycostream.graphql.type_names import TypeNames

    names, findings = TypeNames(), []
    row_types: dict[str, RowType] = {}
    for database, engine in asked.engines.items():
        fatal = {finding.subject for finding in found[database] if not finding.ok and finding.fatal}
        if f"database {database}" in fatal:
            continue
        for source in asked.sources_of(database):
            if f"source {source.name}" in fatal:
                continue
            try:
                row_type = await engine.describe(source)
            except UpstreamError as error:
                if error.action is Action.RETRY:  # it is away: its other sources would say the same
                    break
                continue  # it went between two looks
            try:
                names.claim(source.name, presentable(row_type))
                row_types[source.name] = row_type
            except TycoError as error:
                findings.append(Finding(f"source {source.name}", False, error.told, error.hint))
    return findings + _relationships(config, row_types)


def _relationships(config: Config, row_types: dict[str, RowType]) -> list[Finding]:
    """Whether the relationships of the sources that can be read fit their columns, and lead to one that can be read."""
    from tycostream.engines.base import Finding
    from tycostream.graphql.relationships import resolved

    relationships, misfits = resolved(config.sources, row_types)
    findings = [Finding(each.subject, False, each.message, each.hint, each.fatal) for each in misfits]
    for source in row_types:
        for name, each in config.sources[source].relationships.items():
            if each.target not in row_types:
                said = f"it leads to {each.target}, which cannot be read: it is left out until it can"
                subject = f"relationship {source}.{name}"
                findings.append(
                    Finding(subject, False, said, f"see what is said of {each.target}", fatal=False)
                )
    if fitting := sum(map(len, relationships.values())):
        said = "1 relationship fits" if fitting == 1 else f"{fitting} relationships fit"
        findings.append(Finding("relationships", True, f"{said} the columns of both ends"))
    return findings


def _print_json(found: dict[str, Sequence[Finding]], together: Sequence[Finding]) -> None:
    fields = ("subject", "ok", "message", "hint", "fatal")
    every = [(database, finding) for database, some in found.items() for finding in some]
    every += [("", finding) for finding in together]
    listed = [
        {"database": database} | {name: getattr(finding, name) for name in fields}
        for database, finding in every
    ]
    typer.echo(json.dumps(listed, indent=2))


def _print_sections(config: Config, found: dict[str, Sequence[Finding]], together: Sequence[Finding]) -> None:
    from rich.console import Console

    console = Console()
    for name, findings in found.items():
        sources = sum(1 for source in config.sources.values() if source.database == name)
        counted = "1 source" if sources == 1 else f"{sources} sources"
        _print_section(console, f"{name}: {config.databases[name].engine.value}, {counted}", findings)
    if together:
        _print_section(console, f"{SCHEMA}: all databases together", together)


def _print_section(console: Console, title: str, findings: Sequence[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "subject", "finding", "remedy"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]FAIL[/]" if finding.fatal else "[yellow]warn[/]"
        table.add_row(mark, escape(finding.subject), escape(finding.message), escape(finding.hint))
    console.print(f"[bold]{escape(title)}[/]")
    console.print(table)
    console.print()

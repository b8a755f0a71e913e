"""`tycostream check`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, load, run, upstreams


def check(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Compare the configuration with the real databases; each problem comes with the command that mends it."""
    loaded = load(config)

    async def work() -> int:
        asked = upstreams(loaded)
        try:
            findings = await asked.check()
        finally:
            await asked.close()
        if as_json:
            fields = ("subject", "ok", "message", "hint", "fatal")
            typer.echo(json.dumps([{name: getattr(f, name) for name in fields} for f in findings], indent=2))
        else:
            _print_findings(findings)
        return sum(1 for finding in findings if not finding.ok and finding.fatal)

    raise typer.Exit(1 if run(work()) else 0)


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

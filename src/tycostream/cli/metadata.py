"""`tycostream metadata import` and `tycostream metadata export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, run
from tycostream.errors import TycoError

if TYPE_CHECKING:
    from tycostream.metadata.ledger import Left
    from tycostream.metadata.world import ForeignKeys

metadata_cli = typer.Typer(help="Move from Hasura, and back.", no_args_is_help=True)
SOME_LEFT = 3


class ReportForm(StrEnum):
    """How to tell what was not carried."""

    TABLE = "table"
    JSON = "json"


Strict = Annotated[
    bool, typer.Option("--strict", help=f"Exit with {SOME_LEFT} unless everything was carried.")
]
Form = Annotated[ReportForm, typer.Option("--report", help="How to tell on stderr what was not carried.")]


def import_metadata(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A directory of Hasura's CLI, or a JSON file of export_metadata; -: standard input.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; absent: standard output.")
    ] = None,
    database_url: Annotated[
        list[str] | None,
        typer.Option(
            help="[NAME=]URL of a database to ask for its foreign keys; repeatable; NAME as in the metadata."
        ),
    ] = None,
    permissions: Annotated[
        bool,
        typer.Option(
            "--permissions/--no-permissions",
            help="Leave out all that is said of roles: this version can serve the rest.",
        ),
    ] = True,
    strict: Strict = False,
    report: Form = ReportForm.TABLE,
) -> None:
    """Write a configuration from Hasura's metadata. What is not carried over is listed, with the reason.

    Example: tycostream metadata import hasura/metadata --database-url "$PG_DATABASE_URL" -o tycostream.yaml
    """
    from tycostream.config.load import mistakes
    from tycostream.config.yaml_text import block
    from tycostream.metadata.importing import imported
    from tycostream.metadata.report import comments

    if output is not None and output.exists():
        raise TycoError("file-exists", f"{output} exists already", hint="name another file with --output")
    metadata = _read(source)
    found = imported(metadata, _foreign_keys(metadata, database_url or []), permissions=permissions)
    head = [
        "# Written by `tycostream metadata import`; `tycostream check` compares it with the databases.",
        "",
    ]
    tail = ["", "# Not carried over from the metadata:", *comments(found.left)] if found.left else []
    text = "\n".join([*head, *block(found.tree), *tail, ""])
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {output}: {len(found.tree['sources'])} sources", err=True)
    _tell(found.left, report)
    if problems := mistakes(text, str(output or "tycostream.yaml")):
        typer.echo("what the metadata says makes mistakes in a configuration; mend them there:", err=True)
        for problem in problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(1)
    _warn_unserved(found.tree)
    _leave(found.left, strict)


def export_metadata(
    config: ConfigPath = DEFAULT_CONFIG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A JSON file; absent: standard output.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", help="A directory in the layout of Hasura's CLI, instead of JSON."),
    ] = None,
    strict: Strict = False,
    report: Form = ReportForm.TABLE,
) -> None:
    """Write Hasura's metadata (version 3) from a configuration. What Hasura has no words for is listed.

    Example: tycostream metadata export --directory hasura/metadata
    """
    from tycostream.config.load import written
    from tycostream.metadata.directory import write_directory
    from tycostream.metadata.document import write_json
    from tycostream.metadata.exporting import exported

    if output is not None and directory is not None:
        raise TycoError("options", "--output and --directory contradict each other", hint="give one of them")
    if output is not None and output.exists():
        raise TycoError("file-exists", f"{output} exists already", hint="name another file with --output")
    found = exported(written(config))
    if directory is not None:
        write_directory(found.metadata, directory)
    elif output is not None:
        output.write_text(write_json(found.metadata), encoding="utf-8")
    else:
        typer.echo(write_json(found.metadata), nl=False)
    if place := directory or output:
        typer.echo(f"wrote {place}", err=True)
    _tell(found.left, report)
    _leave(found.left, strict)


def _read(source: str) -> dict[str, Any]:
    from tycostream.metadata.directory import read_directory
    from tycostream.metadata.document import read_json

    if source == "-":
        return read_json(sys.stdin.read(), "standard input")
    path = Path(source)
    if path.is_dir():
        return read_directory(path)
    try:
        return read_json(path.read_text(encoding="utf-8-sig"), source)
    except (OSError, UnicodeDecodeError) as error:
        why = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise TycoError(
            "metadata-missing", f"{source} {why}", hint="name a directory or a JSON file"
        ) from None


def _warn_unserved(tree: dict[str, Any]) -> None:
    """A file that cannot be served yet should not be a surprise of the next command."""
    from tycostream.config.unenforced import for_nobody

    if keys := for_nobody(tree):
        said = f"{', '.join(keys)}: for nobody until `auth` says who is asking, so a file without it is not served"
        typer.echo(f"{said}; --no-permissions leaves them out", err=True)


def _foreign_keys(metadata: dict[str, Any], urls: Sequence[str]) -> ForeignKeys:
    """The foreign keys of the databases whose urls were given."""
    from tycostream.cli.init import catalogue, references
    from tycostream.metadata.names import TableName

    names = [one.get("name") for one in metadata.get("sources") or () if isinstance(one, dict)]
    found: dict[str, dict[TableName, Any]] = {}
    for given in urls:
        name, url = _named(given, [name for name in names if isinstance(name, str)])
        _, tables = run(catalogue(url))
        found[name] = {TableName(table.schema, table.name): references(table) for table in tables}
    return found


def _named(given: str, names: Sequence[str]) -> tuple[str, str]:
    name, equals, url = given.partition("=")
    if equals and name in names:
        return name, url
    if len(names) == 1:
        return names[0], given
    raise TycoError(
        "options",
        "the metadata has several databases; --database-url must say which it means",
        hint=f"write --database-url NAME=URL; names: {', '.join(names) or 'none'}",
    )


def _tell(left: Sequence[Left], form: ReportForm) -> None:
    from tycostream.metadata.report import as_json

    if form is ReportForm.JSON:
        typer.echo(as_json(left), err=True)
    elif left:
        _print_table(left)


def _print_table(left: Sequence[Left]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("not carried over", "why"):
        table.add_column(column, overflow="fold")
    for one in left:
        table.add_row(escape(one.name), escape(one.reason))
    Console(stderr=True).print(table)


def _leave(left: Sequence[Left], strict: bool) -> None:
    if strict and left:
        raise typer.Exit(SOME_LEFT)

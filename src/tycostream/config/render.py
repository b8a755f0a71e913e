"""What ``tycostream init`` writes: a configuration that loads, with the types as comments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as the catalogue knows it; ``enums`` maps a column to (enum's name, labels)."""

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]
    primary_key: tuple[str, ...]
    enums: Mapping[str, tuple[str, tuple[str, ...]]]
    comment: str | None = None


def render_yaml(url: str, engine: str, tables: Sequence[TableFacts]) -> str:
    """A whole file. Names that GraphQL cannot hold are rewritten, with a column_config or a table to say so."""
    enums = {
        _identifier(enum): labels
        for table in tables
        for enum, labels in table.enums.values()
        if all(_PLAIN.fullmatch(label) and label not in _WORDS for label in labels)
    }
    lines = [
        "databases:",
        "  main:",
        f"    engine: {engine}",
        f"    url: {_quoted(url)}",
        "    manage: true              # tycostream may create and alter its own publication",
        "",
        "server:",
        "  stringify_numbers: true     # bigint and numeric as strings: exact in browsers too",
        "",
    ]
    if enums:
        lines += ["enums:", *(f"  {name}: [{', '.join(labels)}]" for name, labels in enums.items()), ""]
    lines.append("sources:" if tables else "sources: {}")
    taken: set[str] = set()
    for table in tables:
        lines += _source(table, enums, taken)
    return "\n".join(lines) + "\n"


def _source(table: TableFacts, enums: Mapping[str, object], taken: set[str]) -> list[str]:
    full = table.name if table.schema == "public" else f"{table.schema}_{table.name}"
    name = _unique(_identifier(full), taken)
    lines = [f"  {name}:"]
    if table.schema != "public" or name != table.name:
        lines.append(f"    table: {_quoted(f'{_sql(table.schema)}.{_sql(table.name)}')}")
    if table.comment:
        lines.append(f"    comment: {_quoted(table.comment)}")
    if table.primary_key:
        lines.append(f"    primary_key: [{', '.join(_quoted(column) for column in table.primary_key)}]")
    lines.append("    columns:")
    renamed: list[str] = []
    fields: set[str] = set()
    for column, sql_type in table.columns:
        enum = _identifier(table.enums[column][0]) if column in table.enums else ""
        type_name = f" {enum}" if enum in enums and enum else ""
        lines.append(f"      {_quoted(column)}:{type_name}   # {' '.join(sql_type.split())}")
        field = _unique(_identifier(column), fields)
        if field != column:
            renamed.append(f"      {_quoted(column)}: {{name: {field}}}")
    return lines + (["    column_config:", *renamed] if renamed else [])


def _identifier(name: str) -> str:
    text = re.sub(r"[^0-9A-Za-z_]", "_", name).lstrip("_") or "t"
    return f"_{text}" if text[0].isdigit() else text if not name.startswith("_") else f"_{text}"


def _unique(name: str, taken: set[str]) -> str:
    found, n = name, 2
    while found in taken:
        found, n = f"{name}_{n}", n + 1
    taken.add(found)
    return found


def _sql(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    """A YAML scalar that reads back as ``text``; JSON strings are YAML. A dollar of data is doubled."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text if text.startswith("${") else text.replace("$", "$$"), ensure_ascii=False)

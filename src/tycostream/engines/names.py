"""SQL identifiers and constants: for statements, always quoted, and as a person would write them."""

from __future__ import annotations

from typing import Final

# What PostgreSQL does not take as a name without quotes (pg_get_keywords(), categories R and T; version 18).
_RESERVED: Final = frozenset(
    [
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "authorization",
        "binary",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "collation",
        "column",
        "concurrently",
        "constraint",
        "create",
        "cross",
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "freeze",
        "from",
        "full",
        "grant",
        "group",
        "having",
        "ilike",
        "in",
        "initially",
        "inner",
        "intersect",
        "into",
        "is",
        "isnull",
        "join",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "natural",
        "not",
        "notnull",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "overlaps",
        "placing",
        "primary",
        "references",
        "returning",
        "right",
        "select",
        "session_user",
        "similar",
        "some",
        "symmetric",
        "system_user",
        "table",
        "tablesample",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "verbose",
        "when",
        "where",
        "window",
        "with",
    ]
)


def quoted(*names: str) -> str:
    """An SQL identifier for statements: quoted whatever it is."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def shown(*names: str) -> str:
    """The same for messages and for statements that a person runs: quoted where it must be."""

    def one(name: str) -> str:
        plain = name.isascii() and name.isidentifier() and name.islower() and name not in _RESERVED
        return name if plain else quoted(name)

    return ".".join(one(name) for name in names)


def literal(text: str) -> str:
    """An SQL string constant (standard_conforming_strings is on wherever we connect)."""
    return "'" + text.replace("'", "''") + "'"

"""What ``tycostream init`` writes: a configuration that loads as it is, with the SQL types as comments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tycostream.config.names import CLAUSES, GRAPHQL_NAME, free_field, identifier
from tycostream.config.schema_names import FIXED_TYPES, SOURCE_FIELDS, types_of, types_of_enum
from tycostream.config.suggested import suggested
from tycostream.config.table_facts import TableFacts, comment_text
from tycostream.config.table_name import written
from tycostream.scalars import config_scalar

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
# Words that some reader of YAML, old or new, takes for something other than a text.
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_SETTINGS: Final = {
    "postgres": ("    manage: true              # tycostream may create and alter its own publication",),
    "materialize": (
        "    # cluster: my_cluster     # which one computes; absent: the default of the user in the url",
        "    # consistency: database   # all sources of this database at one moment, not each at its own",
    ),
    "risingwave": (
        "    manage: true              # tycostream may create its own subscriptions; or name yours: `subscription:`",
        "    # retention: 1h           # how long they keep changes",
    ),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """The names that a configuration has already; ``enums`` by their labels."""

    databases: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    enums: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()  # root fields that are not called after their source


@dataclass(frozen=True, slots=True)
class Draft:
    """The lines of a database's sections; each entry is indented by two."""

    database: Sequence[str]
    enums: Sequence[str]
    sources: Sequence[str]

    def section(self, name: str) -> Sequence[str]:
        """The lines below ``databases:``, ``enums:`` or ``sources:``."""
        return {"databases": self.database, "enums": self.enums, "sources": self.sources}[name]

    def text(self) -> str:
        """A file of these alone."""
        return "\n".join([*self._head("databases"), *self._head("enums"), *self._head("sources"), ""])

    def _head(self, name: str) -> list[str]:
        lines = self.section(name)
        # Comments alone would leave `sources:` null, which reads as missing.
        empty = not any(line[:1] == " " and line.lstrip()[:1] != "#" for line in lines)
        return [f"{name}: {{}}" if empty else f"{name}:", *lines]

    def file(self) -> str:
        """A whole file, for a person."""
        lines = [
            "# Written by `tycostream init` from the database's catalogue. Remove what the API should not expose;",
            "# `tycostream check` compares the rest with the database.",
            "",
            *self._head("databases"),
            "",
            "server:",
            "  stringify_numbers: true     # bigint and numeric as strings: exact in browsers too",
            "",
        ]
        if self.enums:
            lines += ["enums:                        # ordered", *self.enums, ""]
        return "\n".join([*lines, *self._head("sources")]) + "\n"


def draft_of(
    name: str, url: str, engine: str, tables: Sequence[TableFacts], taken: Taken | None = None
) -> Draft:
    """What a database offers, as sections. ``url`` stands as it is, so ``${DATABASE_URL}`` stays a reference.

    Names that GraphQL cannot hold are rewritten, and ``table`` or ``column_config`` says what they stand for. An
    enum whose labels GraphQL cannot hold stays a text. With ``taken`` it is a further database of a configuration:
    every source says that it is of this one, and a name that is taken is put behind the database's.
    """
    names = _Names(name if taken else "", taken or Taken())
    enums = _enums(tables, names)
    new = {labels: enum for labels, enum in enums.items() if labels not in names.taken.enums}
    claimed = ["" if table.left_out else names.source(_wanted_name(table)) for table in tables]
    named = {source: table for table, source in zip(tables, claimed, strict=True) if source}
    body: list[str] = []
    for table, source in zip(tables, claimed, strict=True):
        if source:
            lines = _source(table, source, enums, engine)
            of = [f"    database: {yaml_key(name)}"] if taken else []
            body += [lines[0], *of, *lines[1:], *_relationships(table, named)]
        else:
            body.append(f"  # {table.title} is left out: {table.left_out}")
    database = [
        f"  {yaml_key(name)}:",
        f"    engine: {engine}",
        f"    url: {json.dumps(url, ensure_ascii=False)}",
        *_SETTINGS.get(engine, ()),
    ]
    listed = [f"  {yaml_key(enum)}: [{', '.join(map(scalar, labels))}]" for labels, enum in new.items()]
    return Draft(database, listed, body)


def render_yaml(url: str, engine: str, tables: Sequence[TableFacts]) -> str:
    """A whole file of one database, ``main``; see ``draft_of``."""
    return draft_of("main", url, engine, tables).file()


def scalar(text: str) -> str:
    """A YAML scalar that reads back as ``text``, on one line."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return _quoted(text.replace("${", "$${"))


def yaml_key(text: str) -> str:
    """A key that reads back as ``text``."""
    # Keys are not substituted, so nothing is escaped in them.
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else _quoted(text)


def _quoted(text: str) -> str:
    # A JSON string is a YAML one; what does not print is escaped, for YAML forbids some of it.
    return "".join(
        c if c.isprintable() or c == " " else json.dumps(c)[1:-1] if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
        for c in json.dumps(text, ensure_ascii=False)
    )


def _enums(tables: Sequence[TableFacts], names: _Names) -> dict[tuple[str, ...], str]:
    """Labels → name. Two enums of the same labels are one here: order and text are all that counts."""
    found = dict(names.taken.enums)
    for table in tables:
        for name, labels in table.enums.values():
            if labels and labels not in found and all(map(_is_label, labels)):
                found[labels] = names.enum(name.rpartition(".")[2])
    return found


def _is_label(label: str) -> bool:
    fits = GRAPHQL_NAME.fullmatch(label) and not label.startswith("__")
    return bool(fits) and label not in ("true", "false", "null")


class _Names:
    """The names that the schema will hold; ``prefix`` goes before one that is taken."""

    def __init__(self, prefix: str, taken: Taken) -> None:
        self.taken = taken
        self._prefix = prefix
        self._types = {*FIXED_TYPES, *taken.types}
        self._types |= {each for name in taken.enums.values() for each in types_of_enum(name)}
        self._types |= {each for name in taken.sources for each in types_of(name)}
        self._fields = {name + end for name in taken.sources for end in SOURCE_FIELDS} | {*taken.fields}

    def source(self, name: str) -> str:
        """A free name like ``name`` for a source."""
        return self._claim(name, types_of, SOURCE_FIELDS)

    def enum(self, name: str) -> str:
        """A free name like ``name`` for an enum."""
        return self._claim(name, types_of_enum, ())

    def _claim(self, name: str, brought: Callable[[str], Iterable[str]], field_ends: Sequence[str]) -> str:
        """A free GraphQL name, with all the names that the schema makes of it."""
        base, number = identifier(name), 1
        free = base
        while True:
            types, fields = set(brought(free)), {free + end for end in field_ends}
            if not (types & self._types or fields & self._fields or (not field_ends and config_scalar(free))):
                self._types |= types
                self._fields |= fields
                return free
            if self._prefix and free == identifier(name):
                free = base = identifier(f"{self._prefix}_{name}")
                continue
            number += 1
            free = f"{base}_{number}"


def _wanted_name(table: TableFacts) -> str:
    return table.name if table.schema == "public" else f"{table.schema}_{table.name}"


def _source(table: TableFacts, name: str, enums: Mapping[tuple[str, ...], str], engine: str) -> list[str]:
    lines = [f"  {yaml_key(name)}:"]
    if table.remedy:
        lines.append(f"    # first: {comment_text(table.remedy)}")
    if table.schema != "public":
        lines.append(f"    table: {scalar(written(table.schema, table.name))}")
    elif name != table.name:
        lines.append(f"    table: {scalar(written(table.name))}")
    if table.comment:
        lines.append(f"    comment: {scalar(table.comment)}")
    if table.primary_key:
        keys = [scalar(column) for column in table.primary_key]
        lines.append(f"    primary_key: {keys[0] if len(keys) == 1 else '[' + ', '.join(keys) + ']'}")
    elif engine == "materialize" or table.view:
        lines += [
            f"    # {'No key of a view is known here' if table.view else 'Materialize knows no key here'}. Name the columns that make a row unique, for updates and _by_pk;",
            "    # without them equal rows are only counted, and a change is a delete and an insert.",
            "    # primary_key: …",
        ]
    return lines + _columns(table, enums)


def _columns(table: TableFacts, enums: Mapping[tuple[str, ...], str]) -> list[str]:
    lines, shown_otherwise = ["    columns:"], []
    fields = _fields(table)
    width = max(len(yaml_key(name)) for name, _ in table.columns)
    for name, sql_type in table.columns:
        enum = enums.get(table.enums[name][1]) if name in table.enums else None
        shown = f"{yaml_key(name)}:{f' {scalar(enum)}' if enum else ''}"
        lines.append(f"      {shown:<{width + 1}}  # {comment_text(sql_type)}")
        settings = []
        if fields[name] != name:
            settings.append(f"name: {scalar(fields[name])}")
        if name in table.comments:
            settings.append(f"comment: {scalar(table.comments[name])}")
        if settings:
            shown_otherwise.append(f"      {yaml_key(name)}: {{{', '.join(settings)}}}")
    return [*lines, *(["    column_config:", *shown_otherwise] if shown_otherwise else [])]


def _fields(table: TableFacts) -> dict[str, str]:
    """What each column is called in GraphQL."""
    # Names that need no change come first in the claim: no renamed column may take theirs.
    taken = {name for name, _ in table.columns if identifier(name) == name} | CLAUSES
    fields = {}
    for name, _ in table.columns:
        fields[name] = name
        if identifier(name) != name or name in CLAUSES:
            taken.add(free := free_field(name, taken))
            fields[name] = free
    return fields


def _relationships(table: TableFacts, named: Mapping[str, TableFacts]) -> list[str]:
    lines = []
    for each in suggested(table, named, set(_fields(table).values())):
        on = ", ".join(f"{yaml_key(mine)}: {scalar(its)}" for mine, its in each.on)
        kind = f"{'array' if each.many else 'object'}: {scalar(each.source)}"
        lines.append(f"      {each.name}: {{{kind}, on: {{{on}}}{', required: true' * each.required}}}")
    return ["    relationships:            # by foreign keys", *lines] if lines else []

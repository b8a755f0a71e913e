"""Relationships. A foreign key's columns are known to the database alone: it is asked, or they are not carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tycostream.config.table_facts import Reference
from tycostream.metadata.ledger import Entry, Untranslatable
from tycostream.metadata.names import TableName, table_of
from tycostream.metadata.world import ForeignKeys, Tracked, World

_KINDS: Final = {"object_relationships": "object", "array_relationships": "array"}
_WHY: Final = {
    "insertion_order": "it is for mutations, which this version does not have",
}
_NOT_ASKED: Final = "the columns of a foreign key are known to the database only; import again with --database-url to have it asked"


def relationships_of(tracked: Tracked, world: World, keys: ForeignKeys) -> dict[str, Any]:
    """The entries below ``relationships:``. Where they lead is noted in ``tracked``; what is not carried is listed."""
    found: dict[str, Any] = {}
    for key, kind in _KINDS.items():
        for entry in tracked.entry.entries(key, lambda item: item.get("name")):
            name = entry.text("name") or ""
            try:
                target, made = _relationship(entry, kind, tracked, world, keys)
            except Untranslatable as why:
                tracked.unknown[name] = "that relationship is not carried"
                entry.skip(why.reason)
            else:
                tracked.relationships[name] = target
                found[name] = made | _comment(entry)
                entry.close()
    for entry in tracked.entry.entries("remote_relationships", lambda item: item.get("name")):
        name = entry.text("name") or ""
        try:
            target, made = _remote(entry, world)
        except Untranslatable as why:
            tracked.unknown[name] = "that relationship is not carried"
            entry.skip(why.reason)
        else:
            tracked.relationships[name] = target
            found[name] = made
            entry.close()
    return found


def _comment(entry: Entry) -> dict[str, Any]:
    comment = entry.text("comment")
    return {} if comment is None else {"comment": comment}


def _relationship(
    entry: Entry, kind: str, tracked: Tracked, world: World, keys: ForeignKeys
) -> tuple[Tracked, dict[str, Any]]:
    with entry.entry("using") as using:
        if "manual_configuration" in using:
            with using.entry("manual_configuration") as manual:
                manual.because(_WHY)
                table = table_of(manual.take("remote_table"), f"{manual.name}.remote_table")
                on = _pairs(manual.take("column_mapping"))
            return _made(kind, tracked.database, table, on, world)
        constraint = using.take("foreign_key_constraint_on")
        if constraint is None:
            raise Untranslatable("it says neither foreign_key_constraint_on nor manual_configuration")
    asked = keys.get(tracked.database)
    if asked is None:
        raise Untranslatable(_NOT_ASKED)
    if isinstance(constraint, Mapping):
        other = table_of(constraint.get("table"), f"{entry.name}.using.foreign_key_constraint_on.table")
        columns = _columns(constraint.get("columns", constraint.get("column")))
        key = _key(asked.get(other, ()), columns, other, tracked.table)
        return _made(
            kind, tracked.database, other, dict(zip(key.referenced, key.columns, strict=True)), world
        )
    key = _key(asked.get(tracked.table, ()), _columns(constraint), tracked.table, None)
    on = dict(zip(key.columns, key.referenced, strict=True))
    target, made = _made(kind, tracked.database, TableName(key.schema, key.table), on, world)
    return target, made | ({"required": True} if kind == "object" and key.always else {})


def _columns(value: object) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(name, str) for name in listed):
        raise Untranslatable(f"its foreign key is over {value!r}, which are no columns")
    return tuple(listed)


def _key(
    references: Sequence[Reference], columns: tuple[str, ...], table: TableName, to: TableName | None
) -> Reference:
    """The foreign key over these columns; where there are several, all that is asked is that it leads to ``to``."""
    for key in references:
        if set(key.columns) == set(columns) and to in (None, TableName(key.schema, key.table)):
            return key
    towards = f" to {to}" if to else ""
    raise Untranslatable(f"the database has no foreign key over {', '.join(columns)} of {table}{towards}")


def _pairs(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(its, str) for its in value.values()):
        raise Untranslatable(f"its columns are {value!r}, and not pairs of ours and theirs")
    if len(set(value.values())) < len(value):
        raise Untranslatable("it compares one column with two")
    return dict(value)


def _made(
    kind: str, database: str, table: TableName, on: dict[str, str], world: World
) -> tuple[Tracked, dict[str, Any]]:
    target = world.table(database, table)
    if target is None:
        raise Untranslatable(f"it leads to {table} of {database}, which is not tracked, or not carried")
    return target, {kind: target.source, "on": on}


def _remote(entry: Entry, world: World) -> tuple[Tracked, dict[str, Any]]:
    """A relationship to a table of another database."""
    with entry.entry("definition") as definition:
        if "to_source" not in definition:
            raise Untranslatable("it leads to a remote schema, and those are not joined by this version")
        with definition.entry("to_source") as to:
            kind = to.text("relationship_type") or ""
            if kind not in ("object", "array"):
                raise Untranslatable(f"its relationship_type is {kind!r}, and neither object nor array")
            table = table_of(to.take("table"), f"{to.name}.table")
            return _made(kind, to.text("source") or "", table, _pairs(to.take("field_mapping")), world)


def relationship_entries(tracked: Tracked, world: World) -> dict[str, list[dict[str, Any]]]:
    """The lists of relationships in metadata, by their keys; what has no counterpart is listed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, entry in tracked.entry.mappings("relationships"):
        kind = "object" if "object" in entry else "array"
        source, on = str(entry.take(kind)), dict(entry.take("on", {}))
        target = world.source(source)
        if target is None:
            entry.skip(f"it leads to {source}, which is not carried")
            tracked.unknown[name] = "that relationship is not carried"
            continue
        tracked.relationships[name] = target
        if entry.take("required"):
            said = "Hasura knows it of a relationship over a foreign key only: there, it may be null"
            entry.leave(said, "required")
        if target.database == tracked.database:
            manual = {"remote_table": target.table.metadata, "column_mapping": on}
            made = {"name": name, "using": {"manual_configuration": manual}} | _comment(entry)
            found.setdefault(f"{kind}_relationships", []).append(made)
        else:
            to = {
                "source": target.database,
                "table": target.table.metadata,
                "relationship_type": kind,
                "field_mapping": on,
            }
            made = {"name": name, "definition": {"to_source": to}}
            found.setdefault("remote_relationships", []).append(made)
        entry.because({"comment": "a relationship to another database has none there"})
        entry.close()
    return found

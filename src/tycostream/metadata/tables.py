"""A tracked table and the source that it is: its name, its columns' names and comments, its root fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tycostream.metadata.ledger import Entry
from tycostream.metadata.names import TableName

_ROOTS: Final = ("select", "select_by_pk", "select_aggregate", "select_stream")
_MUTATIONS: Final = "mutations are not built into this version"
_WHY: Final = {
    "insert_permissions": _MUTATIONS,
    "update_permissions": _MUTATIONS,
    "delete_permissions": _MUTATIONS,
    "event_triggers": "triggers are not run by this version; a change feed tells the same changes",
    "computed_fields": "functions are not called by this version; a custom field (`fields:`) takes an SQL expression",
    "apollo_federation_config": "this version is no subgraph of a federation",
    "is_enum": "an enum is written in the file (`enums:`), and a column is of it (`columns:`)",
}
_EVERY_COLUMN: Final = "Hasura has every column of a table that is tracked; permissions choose among them"
_NOT_IN_HASURA: Final = {
    "primary_key": "Hasura takes the database's",
    "fields": "Hasura computes nothing by an expression; a generated column, or a function, does it there",
    "live": "a setting of tycostream, which Hasura does not have",
    "subscription": "a setting of tycostream, which Hasura does not have",
}


def source_of(entry: Entry, table: TableName, name: str) -> dict[str, Any]:
    """The entry below ``sources:``, but for what leads to other tables and for permissions."""
    entry.because(_WHY)
    found: dict[str, Any] = {} if name == table.name and name == table.default else {"table": table.written}
    if entry.peek("is_enum") is False:
        entry.take("is_enum")
    with entry.entry("configuration") as configuration:
        configuration.text("custom_name")  # by which the source is called already
        if (comment := configuration.text("comment")) is not None:
            found["comment"] = comment
        if columns := _columns(configuration):
            found["column_config"] = columns
        if roots := _roots(configuration, {}, _MUTATIONS):
            found["custom_root_fields"] = roots
    return found


def _columns(configuration: Entry) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for column, entry in configuration.mappings("column_config"):
        settings = {"name": entry.text("custom_name"), "comment": entry.text("comment")}
        entry.close()
        if said := {key: value for key, value in settings.items() if value is not None}:
            found[column] = said
    older = configuration.entry("custom_column_names")
    for column in older.rest:
        name = older.text(column) or ""
        settings_now = found.setdefault(column, {})
        if settings_now.setdefault("name", name) != name:
            older.leave(f"column_config calls it {settings_now['name']}, which holds", column)
    return found


def _roots(holder: Entry, others: Mapping[str, str], rest: str) -> dict[str, Any]:
    """``custom_root_fields``, which both sides write alike: a name, or a name and a comment."""
    found: dict[str, Any] = {}
    with holder.entry("custom_root_fields") as roots:
        roots.because(others)
        roots.because_all(rest)
        for root in _ROOTS:
            if isinstance(name := roots.peek(root), str):
                roots.take(root)
                found[root] = name
                continue
            with roots.entry(root) as entry:
                settings = {"name": entry.text("name"), "comment": entry.text("comment")}
            if said := {key: one for key, one in settings.items() if one is not None}:
                found[root] = settings["name"] if list(said) == ["name"] else said
    return found


def table_entry(source: Entry, table: TableName, name: str) -> dict[str, Any]:
    """The entry below ``tables`` of metadata, but for relationships and permissions."""
    source.because(_NOT_IN_HASURA)
    if source.take("columns") is not None:  # names without types, which look as if they said nothing
        source.leave(_EVERY_COLUMN, "columns")
    configuration: dict[str, Any] = {}
    if (comment := source.text("comment")) is not None:
        configuration["comment"] = comment
    if name != table.default:
        configuration["custom_name"] = name
    if roots := _roots(
        source, {"select_changes": "change feeds are tycostream's own"}, "Hasura does not know it"
    ):
        configuration["custom_root_fields"] = roots
    columns: dict[str, Any] = {}
    for column, entry in source.mappings("column_config"):
        settings = {"custom_name": entry.text("name"), "comment": entry.text("comment")}
        entry.close()
        if said := {key: value for key, value in settings.items() if value is not None}:
            columns[column] = said
    if columns:
        configuration["column_config"] = columns
    return {"table": table.metadata} | ({"configuration": configuration} if configuration else {})

"""Metadata to a configuration: what is carried, and a list of all that is not.

Tables are named first, then their relationships are made, then permissions: each leads to what the one before has made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tycostream.config.names import identifier
from tycostream.metadata.databases import database_of, kind_problem
from tycostream.metadata.ledger import Entry, Ledger, Left
from tycostream.metadata.limits import limits_of
from tycostream.metadata.names import TableName, table_of, title_of
from tycostream.metadata.permissions import permissions_of
from tycostream.metadata.relationships import relationships_of
from tycostream.metadata.roles import roles_of
from tycostream.metadata.tables import source_of
from tycostream.metadata.world import ForeignKeys, Tracked, World

_WHY: Final = {
    "actions": "actions are not called by this version",
    "custom_types": "they are the types of actions",
    "actions.graphql": "they are the types of actions",
    "remote_schemas": "remote schemas are not joined by this version",
    "cron_triggers": "triggers are not run by this version",
    "rest_endpoints": "there are no REST endpoints in this version; every operation can be asked for by POST",
    "opentelemetry": "traces are not sent by this version",
    "metrics_config": "a setting of Hasura's own metrics",
    "network": "certificates are libpq's business: sslrootcert in the url",
    "backend_configs": "a setting of Hasura's other backends",
}
_NO_PERMISSIONS: Final = "left out by --no-permissions"
_OF_ROLES: Final = ("inherited_roles", "query_collections", "allowlist", "graphql_schema_introspection")


@dataclass(frozen=True, slots=True)
class Imported:
    """A configuration as plain values, in the shape of its file; ``left``: what it lacks of the metadata, in its order."""

    tree: dict[str, Any]
    left: Sequence[Left]


def imported(
    metadata: Mapping[str, Any], keys: ForeignKeys | None = None, *, permissions: bool = True
) -> Imported:
    """What a metadata of version 3 says. ``keys``: the foreign keys of the databases that were asked, by database.

    Without ``permissions`` there are no roles in it, and this version serves it: everything is for whoever may ask.
    TycoError if the metadata is malformed.
    """
    ledger = Ledger()
    root = Entry(metadata, ledger)
    root.because(_WHY)
    root.take("version")
    world = World()
    databases: dict[str, Any] = {}
    sources: dict[str, dict[str, Any]] = {}
    for source in root.entries("sources", lambda item: item.get("name")):
        with source:
            databases |= _database(source, world, sources)
    for tracked in world:
        made = sources[tracked.source]
        if len(databases) > 1:
            made = {"database": tracked.database} | made
        if found := relationships_of(tracked, world, keys or {}):
            made["relationships"] = found
        sources[tracked.source] = made
    for tracked in world:
        if not permissions:
            tracked.entry.because({"select_permissions": _NO_PERMISSIONS})
        elif found := permissions_of(tracked, world):
            sources[tracked.source]["permissions"] = found
        tracked.entry.close()
    if permissions:
        sections = roles_of(root)
    else:
        sections = {}
        root.because(dict.fromkeys(_OF_ROLES, _NO_PERMISSIONS))
    limits = limits_of(root)
    root.close()
    tree = {"databases": databases, "sources": sources} | sections | ({"limits": limits} if limits else {})
    return Imported(tree, ledger.ordered(metadata))


def _database(source: Entry, world: World, sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    name, kind = source.text("name") or "default", source.text("kind") or "postgres"
    if problem := kind_problem(kind):
        source.skip(problem)
        return {}
    for entry in source.entries("tables", lambda item: title_of(item.get("table"))):
        table = table_of(entry.take("table"), f"{entry.name}.table")
        if world.table(name, table) is not None:
            entry.skip("this table is tracked already")
            continue
        called = _name(entry, name, table, sources)
        tracked = Tracked(name, table, called, entry)
        for field in entry.peek("computed_fields") or ():
            if isinstance(field, dict) and isinstance(field.get("name"), str):
                tracked.unknown[field["name"]] = "that computed field is not carried"
        world.add(tracked)
        sources[called] = source_of(entry, table, called)
    return {name: database_of(source, name, kind)}


def _name(entry: Entry, database: str, table: TableName, taken: Mapping[str, object]) -> str:
    """What the source is called: as Hasura calls the table, unless that is no name or another's."""
    configuration = entry.peek("configuration")
    custom = configuration.get("custom_name") if isinstance(configuration, Mapping) else None
    wanted = custom if isinstance(custom, str) else table.default
    free = identifier(wanted)
    if free != wanted:
        entry.leave(f"{wanted!r} is not a name in GraphQL: it is called {free}", "table")
    if free in taken:
        base, number = identifier(f"{database}_{free}"), 1
        was, free = free, base
        while free in taken:
            number += 1
            free = f"{base}_{number}"
        entry.leave(f"{was} is the name of another source already: it is called {free}", "table")
    return free

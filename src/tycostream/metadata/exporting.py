"""A configuration to metadata, and a list of all that Hasura has no words for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tycostream.metadata.databases import database_entry
from tycostream.metadata.document import VERSION
from tycostream.metadata.ledger import Entry, Ledger, Left
from tycostream.metadata.limits import limit_entry
from tycostream.metadata.names import TableName, table_read_by
from tycostream.metadata.permissions import permission_entries
from tycostream.metadata.relationships import relationship_entries
from tycostream.metadata.roles import role_entries
from tycostream.metadata.tables import table_entry
from tycostream.metadata.world import Tracked, World

_OURS: Final = "a setting of tycostream, which Hasura does not have"
_NO_TABLE: Final = "it reads a query; make it a view, or a native query, in Hasura"
_THREE_PARTS: Final = "its table's name has three parts, and Hasura knows two"


@dataclass(frozen=True, slots=True)
class Exported:
    """Metadata of version 3; ``left``: what it lacks of the configuration, in the configuration's order."""

    metadata: dict[str, Any]
    left: Sequence[Left]


def exported(config: Mapping[str, Any]) -> Exported:
    """The metadata that a configuration makes. ``config``: what its file says, as ``config.load.written`` gives it."""
    ledger = Ledger()
    root = Entry(config, ledger)
    root.because_all(_OURS)
    world = World()
    databases = list(root.mappings("databases"))
    only = databases[0][0] if len(databases) == 1 else ""
    for name, entry in root.mappings("sources"):
        table = _table(entry, name)
        database = entry.text("database") or only
        if table is not None:
            world.add(Tracked(database, table, name, entry))
    tables: dict[str, list[dict[str, Any]]] = {}
    for tracked in world:
        made = table_entry(tracked.entry, tracked.table, tracked.source)
        tables.setdefault(tracked.database, []).append(made | relationship_entries(tracked, world))
    places = {name: iter(some) for name, some in tables.items()}
    for tracked in world:
        made = next(places[tracked.database])
        if permissions := permission_entries(tracked, world):
            made["select_permissions"] = permissions
        tracked.entry.close()
    metadata: dict[str, Any] = {
        "version": VERSION,
        "sources": [
            database_entry(entry, name) | {"tables": tables.get(name, [])} for name, entry in databases
        ],
    }
    metadata |= role_entries(root)
    if limits := limit_entry(root, _OURS):
        metadata["api_limits"] = limits
    root.close()
    return Exported(metadata, ledger.ordered(config))


def _table(entry: Entry, name: str) -> TableName | None:
    """The table that a source reads; one that reads none in Hasura's sense is listed."""
    if "query" in entry:
        entry.skip(_NO_TABLE)
        return None
    table = table_read_by(name, entry.text("table") or "")
    if table is None:
        entry.skip(_THREE_PARTS)
    return table

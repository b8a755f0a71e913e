"""What a translation knows of all tables at once: relationships and conditions lead from one to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tycostream.config.table_facts import Reference
from tycostream.metadata.ledger import Entry
from tycostream.metadata.names import TableName

# Of each database that was asked: its tables' foreign keys.
ForeignKeys = Mapping[str, Mapping[TableName, Sequence[Reference]]]


@dataclass(slots=True, eq=False)
class Tracked:
    """A table on its way: where it is from, what it is called, and where its relationships lead as far as they are carried."""

    database: str
    table: TableName
    source: str
    entry: Entry
    relationships: dict[str, Tracked] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)  # names that no condition can use here, and why


class World:
    """Every tracked table, by its place and by its source's name."""

    def __init__(self) -> None:
        self._by_table: dict[tuple[str, TableName], Tracked] = {}
        self._by_source: dict[str, Tracked] = {}

    def add(self, tracked: Tracked) -> None:
        """One more; its name must be free."""
        self._by_table.setdefault((tracked.database, tracked.table), tracked)
        self._by_source[tracked.source] = tracked

    def table(self, database: str, table: TableName) -> Tracked | None:
        """The tracked table of this name."""
        return self._by_table.get((database, table))

    def source(self, name: str) -> Tracked | None:
        """The tracked table that is the source of this name."""
        return self._by_source.get(name)

    def __iter__(self) -> Iterator[Tracked]:
        return iter(self._by_source.values())

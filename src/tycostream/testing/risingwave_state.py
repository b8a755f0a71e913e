"""What all sessions of a fake RisingWave share: names to relations, queries, cursors and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tycostream.testing.pgwire_messages import Cells, WireError
from tycostream.testing.risingwave_catalog import Catalog
from tycostream.testing.risingwave_cursor import SubscriptionCursor
from tycostream.testing.risingwave_data import Compute, Contents, Data, Relation, Subscription
from tycostream.testing.risingwave_errors import INTERNAL, Caused, not_found, permission
from tycostream.testing.risingwave_types import sql_type
from tycostream.testing.sql_items import Cell, SelectItems, whole
from tycostream.testing.sql_text import Select, normal, parse_select
from tycostream.testing.sql_types import ColumnDef, Row

_RECOVERING: Final = Caused(INTERNAL, "Service unavailable: The cluster is starting or recovering")
UNREADABLE: Final = Caused(INTERNAL, "Barrier read is unavailable for now. Likely the cluster is recovering")


@dataclass(frozen=True, slots=True)
class Query:
    """Something to select from. ``compute`` gives rows of which each cell is one of ``cells``; ``key``: its columns."""

    columns: tuple[ColumnDef, ...]
    cells: tuple[Cell, ...]
    places: tuple[int | None, ...]
    compute: Compute
    stored: Callable[[], Sequence[Row]]
    key: tuple[str, ...] = ()
    relation: Relation | None = None

    def poison(self) -> WireError | None:
        """What reading it gives instead of rows."""
        return None if self.relation is None else self.relation.poison

    def project(self, rows: Sequence[Row]) -> list[Row]:
        """The query's rows from those it is made of."""
        return [tuple(cell(row) for cell in self.cells) for row in rows]

    def rows(self) -> list[Cells]:
        """What a SELECT gives."""
        return list(self.project(self.stored()))

    def view(self, tables: Contents) -> list[Row]:
        """What a view of it holds."""
        return self.project(list(self.compute(tables)))


@dataclass(eq=False)
class State:
    """See the module. ``changed`` wakes whoever waits for a count."""

    data: Data
    catalog: Catalog
    version: str
    second_s: float
    settings: Mapping[str, str]
    checkpoint: Callable[[], int]
    database: str = "dev"
    items: SelectItems = field(default_factory=lambda: SelectItems(sql_type))
    queries: dict[str, Query] = field(default_factory=dict)
    cursors: dict[SubscriptionCursor, tuple[int, str]] = field(default_factory=dict)  # with session and user
    statements: list[str] = field(default_factory=list)
    waiting: set[asyncio.Event] = field(default_factory=set)
    recovering: bool = False
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        """Something that tests wait for has changed, and the catalogue shows it."""
        self.catalog.stale = True
        for event in self.waiting:
            event.set()

    def wake(self) -> None:
        """Let every waiting FETCH look again."""
        for cursor in self.cursors:
            cursor.wake()

    def trouble(self) -> WireError | None:
        """Why nothing can be read now."""
        return UNREADABLE if self.recovering else None

    def check_running(self) -> None:
        """What a statement that changes objects needs."""
        if self.recovering:
            raise _RECOVERING

    # -- names ----------------------------------------------------------------------------------------------------

    def full(self, path: tuple[str, ...]) -> tuple[str, str]:
        """Schema and name."""
        return (path[-2] if len(path) > 1 else "public", path[-1])

    def find(self, path: tuple[str, ...]) -> Relation | None:
        """A relation of this database."""
        if len(path) > 3 or (len(path) == 3 and path[0] != self.database):
            return None
        return self.data.relations.get(".".join(self.full(path)))

    def resolve(self, path: tuple[str, ...], kind: str = "table or source") -> Relation:
        """A relation that may be read; 42704, or that the rights are missing."""
        relation = self.find(path)
        if relation is None:
            raise not_found(kind, path[-1])
        if not relation.granted:
            raise permission()
        return relation

    def subscription(self, path: tuple[str, ...]) -> Subscription:
        """A subscription by its name; 42704."""
        found = self.data.subscriptions.get(".".join(self.full(path)))
        if found is None:
            raise not_found("subscription", path[-1])
        return found

    # -- queries --------------------------------------------------------------------------------------------------

    def table(self, relation: Relation) -> Query:
        """All visible columns of a relation, as it is now."""
        names = [column.name for column in relation.columns]
        return Query(
            *whole(relation.columns),
            compute=lambda tables: tables[relation.title],
            stored=relation.snapshot,
            key=() if relation.hidden else tuple(names[place] for place in relation.key),
            relation=relation,
        )

    def query(self, text: str) -> Query:
        """A query that was registered, or a SELECT over a relation or over such a query."""
        registered = self.queries.get(normal(text))
        return registered if registered is not None else self.select(parse_select(text))

    def select(self, select: Select) -> Query:
        """A SELECT's query; 42703 for a column that does not exist."""
        source = self.table(self.resolve(select.path)) if select.path else self.query(select.query or "")
        columns, cells, places = self.items.compile(select.items, source)
        kept = {
            source.columns[place].name: column.name
            for place, column in zip(places, columns, strict=True)
            if place is not None
        }
        key = tuple(kept[name] for name in source.key) if all(name in kept for name in source.key) else ()
        return Query(columns, cells, places, source.compute, source.stored, key, source.relation)

    # -- cursors --------------------------------------------------------------------------------------------------

    def declared(self, name: str | None = None) -> list[SubscriptionCursor]:
        """The cursors, of all relations, or of one and of what reads it, or of one subscription."""
        if name is None:
            return list(self.cursors)
        if (subscription := self.named(name)) is not None:
            return [cursor for cursor in self.cursors if cursor.subscription is subscription]
        relation = self.data.get(name)
        return [cursor for cursor in self.cursors if cursor.relation.depends_on(relation)]

    def named(self, name: str) -> Subscription | None:
        """A subscription by ``name`` or ``schema.name``."""
        return self.data.subscriptions.get(".".join(self.full(tuple(name.split(".")))))

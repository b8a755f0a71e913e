"""A source as the compiler sees it: its row type, and its encoders, made once for each selection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from tycostream.auth.permissions import Permission
from tycostream.config.relationships import AGGREGATE
from tycostream.graphql import encode
from tycostream.graphql.aggregate_encode import Aggregates, AggregateSelection
from tycostream.graphql.relationships import Relationship, Relationships
from tycostream.rows import RowType

_ENCODERS_MAX = 256  # per source and kind
_Encoder = TypeVar("_Encoder", encode.Rows, encode.Changes, Aggregates)


class Source:
    """A source as the compiler sees it: its row type, how its cells are written, and to which sources its rows lead."""

    def __init__(
        self, row_type: RowType, *, stringify_numbers: bool, permission: Permission | None = None
    ) -> None:
        """``permission``: what of it there is for a role; None: everything. Places are those of all columns."""
        self.row_type = row_type
        visible = range(len(row_type.columns)) if permission is None else permission.visible
        self.visible = tuple(visible)
        self.aggregated = permission is None or permission.aggregate
        self._stringify = stringify_numbers
        self._cells = encode.Cells(row_type, stringify_numbers=stringify_numbers)
        documents = tuple(column.document and column.document.made_of for column in row_type.columns)
        self._documents = documents if any(documents) else None
        # Generating code costs 200 µs, a cached encoder 1 µs; selections are equal far more often than arguments.
        self.rows = lru_cache(_ENCODERS_MAX)(self._rows)
        self.changes = lru_cache(_ENCODERS_MAX)(self._changes)
        self.aggregates = lru_cache(_ENCODERS_MAX)(self._aggregates)
        self.place_of = {row_type.columns[i].field: i for i in self.visible}
        self.related: Mapping[str, tuple[Relationship, Source]] = {}  # by the relationship's name
        self.totals: Mapping[str, tuple[Relationship, Source]] = {}  # by the name of its field of aggregates

    def _rows(self, selection: encode.Selection, single: bool) -> encode.Rows:
        return self._keyed(encode.Rows(selection, self._cells, single=single))

    def _changes(self, selection: encode.SetSelection) -> encode.Changes:
        return self._keyed(encode.Changes(selection, self.row_type, self._cells, self.visible))

    def _aggregates(self, selection: AggregateSelection) -> Aggregates:
        encoder = Aggregates(
            selection,
            self.row_type,
            lambda rows: self.rows(rows, False),
            stringify_numbers=self._stringify,
        )
        return self._keyed(encoder)

    def _keyed(self, encoder: _Encoder) -> _Encoder:
        """Other bytes, another key: a reload may change how numbers and documents are written while cohorts live."""
        if self._documents:
            encoder.key = (self._documents, encoder.key)
        if self._stringify:
            encoder.key = ("stringified", encoder.key)
        return encoder


def compiled_sources(
    row_types: Iterable[RowType],
    relationships: Relationships,
    *,
    stringify_numbers: bool,
    permissions: Mapping[str, Permission] | None = None,
) -> dict[str, Source]:
    """The sources of a schema, by name, each knowing those that its rows lead to. ``permissions``: None for admin."""
    sources = {
        each.source: Source(
            each,
            stringify_numbers=stringify_numbers,
            permission=None if permissions is None else permissions[each.source],
        )
        for each in row_types
    }
    for name, source in sources.items():
        mine = [(each, sources[each.join.source]) for each in relationships.get(name, ())]
        source.related = {each.name: (each, target) for each, target in mine}
        source.totals = {
            each.name + AGGREGATE: (each, target) for each, target in mine if each.many and target.aggregated
        }
    return sources

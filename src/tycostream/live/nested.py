"""Rows with related rows in them: found through join indexes, encoded once for all who show them, and again when touched.

The same relationship with the same arguments under the same projection is one ``LiveBranch`` for all live queries.
A query that is answered once has ``PassingRows``: nothing is kept, and nobody is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from tycostream.dataflow.aggregate import aggregated
from tycostream.dataflow.groups import GroupedAggregates, GroupedRows
from tycostream.dataflow.order import compile_order, prefix_length
from tycostream.dataflow.predicate import TRUE, compile_predicate, row_local
from tycostream.dataflow.related import Reach, Related, first_of, lookups, reaches
from tycostream.dataflow.relation import Aggregate, Value, value_of
from tycostream.dataflow.veil import lens, veil_of
from tycostream.graphql.plan import AggregateEncoder, Condition, Mode, Nested, RowEncoder, rows_of
from tycostream.live.backlinks import Backlink, Linked
from tycostream.live.fragments import Effort, FragmentCaches, Fragments
from tycostream.live.slices import Container
from tycostream.rows import Cell, Change, Key, Row


def _specs_of(nested: Nested) -> tuple[Aggregate, ...]:
    return cast(AggregateEncoder, nested.encoder).aggregates if nested.mode is Mode.AGGREGATE else ()


class Encoded(Protocol):
    """Rows of one source and projection as JSON."""

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """The JSON of each row."""


class Source(Linked, Protocol):
    """A source, as far as nested rows read it."""

    fragments: FragmentCaches


class Relative:
    """The rows that a relationship leads to from a row, and their JSON. See Branch."""

    def __init__(
        self, nested: Nested, child: Linked, related: Related, rows: Encoded | None, effort: Effort
    ) -> None:
        """``rows``: how those are written; None if only aggregates over them are asked for."""
        store = child.store
        self._effort = effort
        self._nested = nested
        self._store = store
        self._rows = rows
        self._keys = related.keys(nested.join)
        self._first = first_of(store)
        self._specs, self._look = lens(_specs_of(nested), related.bind)
        self._match = None if nested.predicate == TRUE else compile_predicate(nested.predicate, related.bind)
        self._groups = GroupedRows(
            compile_order(nested.order, store.row_type, related.cell_of),
            value_of(nested.join.remote),
            start=nested.offset,
            end=None if nested.limit is None else nested.offset + nested.limit,
            distinct=prefix_length(nested.order[: len(nested.distinct_on)], store.row_type),
        )

    def value(self, row: Row) -> bytes:
        """See Branch."""
        encoder, written = self._nested.encoder, self._rows
        if self._nested.mode is Mode.AGGREGATE:
            totals = cast(AggregateEncoder, encoder)
            fragments = self._written(written, row) if written is not None else ()
            return totals.value(self.cells(row), fragments)
        assert written is not None
        if self._nested.mode is not Mode.BY_PK:
            return cast(RowEncoder, encoder).result(self._written(written, row))
        pairs = self.pairs(row)
        if not pairs:
            return b"null"
        self._effort.nested(1)
        key = self._first([key for key, _ in pairs])
        return written.all((key,), (self._store.rows[key],))[0]

    def _written(self, written: Encoded, row: Row) -> list[bytes]:
        keys, rows = self.window(row)
        self._effort.nested(len(keys))
        return written.all(keys, rows)

    def cells(self, row: Row) -> tuple[Cell, ...]:
        """The aggregates over the related rows, as far as those are asked for."""
        rows, look = self.window(row)[1], self._look
        return aggregated(self._specs, self._store.row_type, rows if look is None else map(look, rows))

    def window(self, row: Row) -> tuple[Sequence[Key], Sequence[Row]]:
        """The keys and the related rows, in order, as far as they are asked for."""
        pairs = self.pairs(row)
        return self._groups.shown(self._groups.ordered(pairs))

    def pairs(self, row: Row) -> list[tuple[Key, Row]]:
        """The related rows for which the condition holds."""
        there, match = self._store.rows, self._match
        found = [(key, there[key]) for key in self._keys(row)]
        if len(found) > 1:
            self._effort.looked_at(len(found))
        return found if match is None else [pair for pair in found if match(pair[1])]


class Seeing:
    """Whether some cells of a row are seen, where that reads other sources. See Branch."""

    def __init__(self, condition: Condition, related: Related) -> None:
        self._match = compile_predicate(condition.predicate, related.bind)

    def value(self, row: Row) -> bytes:
        """See Branch."""
        return b"1" if self._match(row) else b""


class PassingRows:
    """Rows that are encoded once, with what is nested in them: nothing is kept. See Encoded."""

    def __init__(self, encoder: RowEncoder, relatives: Sequence[Relative | Seeing], effort: Effort) -> None:
        self._encoder = encoder
        self._relatives = relatives
        self.effort = effort

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """See Encoded; TooMuch if there is no allowance for all that goes into them."""
        row, relatives = self._encoder.row, self._relatives
        if not relatives:
            return [row(each) for each in rows]
        written = []
        for each in rows:
            written.append(row(each, *[relative.value(each) for relative in relatives]))
            self.effort.joined(len(written[-1]))
        return written


class LiveBranch(Relative):
    """A relationship of rows that are kept encoded: it tells them when what it leads to has changed. See Branch.

    What a row alone decides is kept group by group, so that a change neither sorts nor adds up a group again.
    """

    def __init__(
        self,
        parent: Linked,
        nested: Nested,
        sources: Mapping[str, Source],
        related: Related,
        fragments: Fragments,
    ) -> None:
        """``fragments``: the rows that it is a branch of."""
        self._child = child = sources[nested.join.source]
        self._leased = rows_of(nested)
        self._inner = None if self._leased is None else child.fragments.lease(self._leased)
        super().__init__(nested, child, related, self._inner, fragments.effort)
        self._local = value_of(nested.join.local)
        read = reaches(nested.predicate, nested.order, veil_of(_specs_of(nested)))
        self._grouped = not read and nested.mode is not Mode.BY_PK
        whole = not (nested.offset or nested.limit is not None or nested.distinct_on)
        self._totals: GroupedAggregates | None = None
        if self._grouped and whole and nested.mode is Mode.AGGREGATE:
            value, look = value_of(nested.join.remote), self._look
            self._totals = GroupedAggregates(self._specs, child.store.row_type, value, look)
        self._backlink = Backlink(
            parent,
            Reach(nested.join, row_local(nested.predicate), read),
            sources,
            fragments.touched,
            fragments.failed,
            follow=self._follow if self._grouped else None,
        )
        if self._inner is not None:
            self._inner.listen(self._backlink.rows, fragments.failed)

    @property
    def ready(self) -> bool:
        """See Branch."""
        return self._backlink.ready and (self._inner is None or self._inner.ready)

    def cells(self, row: Row) -> tuple[Cell, ...]:
        """See Relative."""
        value = self._local(row)
        if self._totals is None or value is None:
            return super().cells(row)
        return self._totals.cells(value, lambda: self.pairs(row))

    def window(self, row: Row) -> tuple[Sequence[Key], Sequence[Row]]:
        """See Relative."""
        value = self._local(row)
        if value is None or not self._grouped:
            return super().window(row)
        return self._groups.window(value, lambda: self.pairs(row))

    def _follow(self, changes: Sequence[Change]) -> set[Value]:
        """Follow a batch of the related rows; gives the values of the groups that look different now."""
        different = self._groups.push(changes) if self._totals is None or self._inner is not None else set()
        return different if self._totals is None else different | self._totals.push(changes)

    def close(self) -> list[Container]:
        """See Branch."""
        self._backlink.close()
        held = self._groups.released()
        if self._totals is not None:
            held += self._totals.released()
        if self._inner is not None and self._leased is not None:
            self._inner.unlisten(self._backlink.rows)
            held += self._child.fragments.give_back(self._leased)
        return held


class LiveSeeing(Seeing):
    """Of rows that are kept encoded: it tells them when what the condition reads has changed. See Branch."""

    def __init__(
        self,
        parent: Linked,
        condition: Condition,
        sources: Mapping[str, Source],
        related: Related,
        fragments: Fragments,
    ) -> None:
        """``fragments``: the rows whose cells it is about."""
        super().__init__(condition, related)
        self._backlinks = [
            Backlink(parent, reach, sources, fragments.touched, fragments.failed)
            for reach in reaches(condition.predicate)
        ]

    @property
    def ready(self) -> bool:
        """See Branch."""
        ready = [link.ready for link in self._backlinks]  # all are asked: each has its indexes made
        return all(ready)

    def close(self) -> list[Container]:
        """See Branch."""
        for link in self._backlinks:
            link.close()
        return []


class Nesting:
    """Makes what encodes the rows of a source, with what is nested in them."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.effort = Effort()
        self.related = Related(lambda name: sources[name].store)

    def kept(self, name: str, encoder: RowEncoder) -> Fragments:
        """Rows of the source ``name`` that are kept encoded, for its ``FragmentCaches``."""
        fragments = Fragments(encoder, self.effort)
        parent, rest = self.sources[name], (self.sources, self.related, fragments)
        fragments.branches = tuple(
            LiveSeeing(parent, nested, *rest)
            if isinstance(nested, Condition)
            else LiveBranch(parent, nested, *rest)
            for nested in encoder.nested
        )
        return fragments

    def passing(self, encoder: RowEncoder) -> PassingRows:
        """Rows that are encoded once; only while ``ready``."""
        relatives: list[Relative | Seeing] = []
        for nested in encoder.nested:
            if isinstance(nested, Condition):
                relatives.append(Seeing(nested, self.related))
                continue
            encoder_of_rows = rows_of(nested)
            rows = None if encoder_of_rows is None else self.passing(encoder_of_rows)
            child = self.sources[nested.join.source]
            relatives.append(Relative(nested, child, self.related, rows, self.effort))
        return PassingRows(encoder, relatives, self.effort)

    def ready(self, encoder: RowEncoder) -> bool:
        """Whether all that nested rows are found by is there; what is not is in the making from now on."""
        return all(self._found(nested) for nested in encoder.nested)

    def _found(self, nested: Nested | Condition) -> bool:
        if isinstance(nested, Condition):
            return self.finds(reaches(nested.predicate))
        encoder = rows_of(nested)
        inner = encoder is None or self.ready(encoder)
        own = self.sources[nested.join.source].indexes.finds(nested.join.remote)
        read = reaches(nested.predicate, nested.order, veil_of(_specs_of(nested)))
        return self.finds(read) and own and inner

    def finds(self, reached: Sequence[Reach]) -> bool:
        """Whether a condition and an order can look up what they read of other sources; see ``ready``."""
        found = [lookup for reach in reached for lookup in lookups(reach)]
        return all(self.sources[source].indexes.finds(columns) for source, columns in found)

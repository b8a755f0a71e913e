"""Rows with related rows in them: found through join indexes, encoded once for all who show them, and again when touched.

The same relationship with the same arguments under the same projection is one ``LiveBranch`` for all live queries.
A query that is answered once has ``PassingRows``: nothing is kept, and nobody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final, Protocol, cast

from tycostream.dataflow.aggregate import Accumulator, aggregated
from tycostream.dataflow.log import Entry as LogEntry
from tycostream.dataflow.members import Entry
from tycostream.dataflow.order import SortKey, compile_order, prefix_length
from tycostream.dataflow.predicate import TRUE, compile_predicate, row_local
from tycostream.dataflow.related import Reach, Related, lookups, reaches
from tycostream.dataflow.relation import Value, value_of
from tycostream.graphql.plan import AggregateEncoder, Mode, Nested, RowEncoder
from tycostream.live.backlinks import Backlink, Linked
from tycostream.live.fragments import Effort, FragmentCaches, Fragments, Held
from tycostream.rows import Cell, Change, Key, Row

_GROUPS_MAX: Final = 100_000  # of one relationship: about half a kilobyte each


class Encoded(Protocol):
    """Rows of one source and projection as JSON."""

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """The JSON of each row."""


class Source(Linked, Protocol):
    """A source, as far as nested rows read it."""

    fragments: FragmentCaches


class TooMuch(Exception):
    """More nested rows than may be encoded in one step."""


def rows_of(nested: Nested) -> RowEncoder | None:
    """How the related rows themselves are written; None if only aggregates over them are."""
    if nested.mode is Mode.AGGREGATE:
        return cast(AggregateEncoder, nested.encoder).nodes
    return cast(RowEncoder, nested.encoder)


class Budget:
    """How many nested rows may still be encoded in this step."""

    def __init__(self, rows: int) -> None:
        self._left = rows

    def spend(self, rows: int) -> None:
        """So many more; TooMuch if there are not that many left."""
        self._left -= rows
        if self._left < 0:
            raise TooMuch


class Relative:
    """The rows that a relationship leads to from a row, and their JSON. See Branch."""

    def __init__(self, nested: Nested, child: Linked, related: Related, rows: Encoded | None) -> None:
        """``rows``: how those are written; None if only aggregates over them are asked for."""
        store = child.store
        self._nested = nested
        self._store = store
        self._rows = rows
        self._keys = related.keys(nested.join)
        self._match = None if nested.predicate == TRUE else compile_predicate(nested.predicate, related.bind)
        self._sort_key = compile_order(nested.order, store.row_type, related.cell_of)
        self._group = prefix_length(nested.order[: len(nested.distinct_on)], store.row_type)
        self._start = nested.offset
        self._end = None if nested.limit is None else nested.offset + nested.limit

    def value(self, row: Row) -> bytes:
        """See Branch."""
        encoder = self._nested.encoder
        if self._nested.mode is Mode.AGGREGATE:
            totals = cast(AggregateEncoder, encoder)
            fragments = self._rows.all(*self.window(row)) if self._rows is not None else ()
            return totals.value(self.cells(row, totals), fragments)
        keys, rows = self.window(row)
        if self._nested.mode is Mode.BY_PK:
            keys, rows = keys[:1], rows[:1]
        return cast(RowEncoder, encoder).result(self._rows.all(keys, rows) if self._rows is not None else ())

    def cells(self, row: Row, encoder: AggregateEncoder) -> tuple[Cell, ...]:
        """The aggregates over the related rows, as far as those are asked for."""
        return aggregated(encoder.aggregates, self._store.row_type, self.window(row)[1])

    def window(self, row: Row) -> tuple[list[Key], list[Row]]:
        """The keys and the related rows, in order, as far as they are asked for."""
        there, match, sort_key = self._store.rows, self._match, self._sort_key
        keys = self._keys(row)
        rows = [there[key] for key in keys]
        pairs = zip(keys, rows, strict=True)
        found = [(sort_key(key, each), key, each) for key, each in pairs if match is None or match(each)]
        found.sort(key=_sort_of)
        if self._group:
            found = self._firsts(found)
        found = found[self._start : self._end]
        return [key for _, key, _ in found], [each for _, _, each in found]

    def _firsts(self, found: list[Entry]) -> list[Entry]:
        firsts: dict[SortKey, Entry] = {}
        for entry in found:
            firsts.setdefault(entry[0][: self._group], entry)
        return list(firsts.values())


class PassingRows:
    """Rows that are encoded once, with what is nested in them: nothing is kept. See Encoded."""

    def __init__(self, encoder: RowEncoder, relatives: Sequence[Relative], budget: Budget) -> None:
        self._encoder = encoder
        self._relatives = relatives
        self._budget = budget

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """See Encoded; TooMuch if that is too much for one step."""
        self._budget.spend(len(rows))
        row, relatives = self._encoder.row, self._relatives
        if not relatives:
            return [row(each) for each in rows]
        return [row(each, *[relative.value(each) for relative in relatives]) for each in rows]


class Groups:
    """The aggregates of the rows of a relationship, for each row that leads to some: kept current change by change.

    A group is made when it is first asked for; of too many the one longest there goes, to be made again.
    """

    def __init__(self, nested: Nested, child: Linked, failed: Callable[[Exception], None]) -> None:
        """``failed`` is told what ``push`` raises."""
        encoder = cast(AggregateEncoder, nested.encoder)
        self._failed = failed
        self._specs, self._row_type = encoder.aggregates, child.store.row_type
        self._child, self._predicate = child, nested.predicate
        self._value = value_of(nested.join.remote)
        self._groups: dict[Value, Accumulator] = {}
        child.router.add(nested.predicate, self.push)

    def cells(self, value: Value, rows: Callable[[], Iterable[Row]]) -> tuple[Cell, ...]:
        """The aggregates of the group with ``value`` in the columns of the join; ``rows`` gives its rows."""
        group = self._groups.get(value)
        if group is None:
            group = Accumulator(self._specs, self._row_type)
            for row in rows():
                group.add(row)
            self._groups[value] = group
            if len(self._groups) > _GROUPS_MAX:
                del self._groups[next(iter(self._groups))]
        return group.cells()

    def push(self, changes: Sequence[Change], _: LogEntry) -> None:
        """Follow a batch of the rows, as the predicate sees them."""
        groups, value = self._groups, self._value
        try:
            for _key, old, new in changes:
                if old is not None and (group := groups.get(value(old))) is not None:
                    group.remove(old)
                if new is not None and (group := groups.get(value(new))) is not None:
                    group.add(new)
        except Exception as error:
            groups.clear()
            self._failed(error)

    def close(self) -> None:
        """Follow no more."""
        self._child.router.remove(self._predicate, self.push)
        self._groups.clear()


class LiveBranch(Relative):
    """A relationship of rows that are kept encoded: it tells them when what it leads to has changed. See Branch."""

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
        super().__init__(nested, child, related, self._inner)
        read = reaches(nested.predicate, nested.order)
        reach = Reach(nested.join, row_local(nested.predicate), read)
        self._backlink = Backlink(parent, reach, sources, fragments.touched, fragments.failed)
        if self._inner is not None:
            self._inner.listen(self._backlink.rows, fragments.failed)
        self._local = value_of(nested.join.local)
        self._groups: Groups | None = None
        whole = not (nested.offset or nested.limit is not None or nested.distinct_on)
        if nested.mode is Mode.AGGREGATE and whole and not reaches(nested.predicate):
            self._groups = Groups(nested, child, fragments.failed)

    @property
    def ready(self) -> bool:
        """See Branch."""
        return self._backlink.ready and (self._inner is None or self._inner.ready)

    def cells(self, row: Row, encoder: AggregateEncoder) -> tuple[Cell, ...]:
        """See Relative."""
        value = self._local(row)
        if self._groups is None or value is None:
            return super().cells(row, encoder)
        return self._groups.cells(value, lambda: self.window(row)[1])

    def close(self) -> list[Held]:
        """See Branch."""
        self._backlink.close()
        if self._groups is not None:
            self._groups.close()
        if self._inner is None or self._leased is None:
            return []
        self._inner.unlisten(self._backlink.rows)
        return self._child.fragments.give_back(self._leased)


class Nesting:
    """Makes what encodes the rows of a source, with what is nested in them."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.effort = Effort()
        self.related = Related(lambda name: sources[name].store)

    def kept(self, name: str, encoder: RowEncoder) -> Fragments:
        """Rows of the source ``name`` that are kept encoded, for its ``FragmentCaches``."""
        fragments = Fragments(encoder, self.effort)
        fragments.branches = tuple(
            LiveBranch(self.sources[name], nested, self.sources, self.related, fragments)
            for nested in encoder.nested
        )
        return fragments

    def passing(self, encoder: RowEncoder, budget: Budget) -> PassingRows:
        """Rows that are encoded once; only while ``ready``."""
        relatives = []
        for nested in encoder.nested:
            encoder_of_rows = rows_of(nested)
            rows = None if encoder_of_rows is None else self.passing(encoder_of_rows, budget)
            relatives.append(Relative(nested, self.sources[nested.join.source], self.related, rows))
        return PassingRows(encoder, relatives, budget)

    def ready(self, encoder: RowEncoder) -> bool:
        """Whether all that nested rows are found by is there; what is not is in the making from now on."""
        return all(self._found(nested) for nested in encoder.nested)

    def _found(self, nested: Nested) -> bool:
        encoder = rows_of(nested)
        inner = encoder is None or self.ready(encoder)
        own = self.sources[nested.join.source].indexes.finds(nested.join.remote)
        return self.finds(reaches(nested.predicate, nested.order)) and own and inner

    def finds(self, reached: Sequence[Reach]) -> bool:
        """Whether a condition and an order can look up what they read of other sources; see ``ready``."""
        found = [lookup for reach in reached for lookup in lookups(reach)]
        return all(self.sources[source].indexes.finds(columns) for source, columns in found)


_sort_of = itemgetter(0)

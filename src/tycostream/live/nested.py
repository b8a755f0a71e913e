"""Rows with related rows in them: found through join indexes, encoded once for all who show them, and again when touched.

The same relationship with the same arguments under the same projection is one ``LiveBranch`` for all live queries.
A query that is answered once has ``PassingRows``: nothing is kept, and nobody is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Protocol, cast

from tycostream.dataflow.members import Entry
from tycostream.dataflow.order import SortKey, compile_order, prefix_length
from tycostream.dataflow.predicate import TRUE, compile_predicate, row_local
from tycostream.dataflow.related import Reach, Related, lookups, reaches
from tycostream.graphql.documents import gathered
from tycostream.graphql.plan import Mode, Nested, RowEncoder
from tycostream.live.backlinks import Backlink, Linked
from tycostream.live.fragments import Effort, FragmentCaches, Fragments, Held
from tycostream.rows import Key, Row


class Encoded(Protocol):
    """Rows of one source and projection as JSON."""

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """The JSON of each row."""


class Source(Linked, Protocol):
    """A source, as far as nested rows read it."""

    fragments: FragmentCaches


class TooMuch(Exception):
    """More nested rows than may be encoded in one step."""


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

    def __init__(self, nested: Nested, child: Linked, related: Related, rows: Encoded) -> None:
        store = child.store
        self._mode = nested.mode
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
        keys, rows = self.window(row)
        if self._mode is Mode.BY_PK:
            return self._rows.all(keys[:1], rows[:1])[0] if rows else b"null"
        fragments = self._rows.all(keys, rows)
        return gathered(b"[%b]" % b",".join(fragments), fragments)

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
        self._leased = cast(RowEncoder, nested.encoder)
        self._inner = child.fragments.lease(self._leased)
        super().__init__(nested, child, related, self._inner)
        reach = Reach(nested.join, row_local(nested.predicate), reaches(nested.predicate, nested.order))
        self._backlink = Backlink(parent, reach, sources, fragments.touched, fragments.failed)
        self._inner.listen(self._backlink.rows, fragments.failed)

    @property
    def ready(self) -> bool:
        """See Branch."""
        return all([self._backlink.ready, self._inner.ready])

    def close(self) -> list[Held]:
        """See Branch."""
        self._inner.unlisten(self._backlink.rows)
        self._backlink.close()
        return self._child.fragments.give_back(self._leased)


class Nesting:
    """Makes what encodes the rows of a source, with what is nested in them."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self.effort = Effort()
        self.related = Related(lambda name: sources[name].store)

    def kept(self, name: str, encoder: RowEncoder) -> Fragments:
        """Rows of the source ``name`` that are kept encoded, for its ``FragmentCaches``."""
        fragments = Fragments(encoder, self.effort)
        fragments.branches = tuple(
            LiveBranch(self._sources[name], nested, self._sources, self.related, fragments)
            for nested in encoder.nested
        )
        return fragments

    def passing(self, encoder: RowEncoder, budget: Budget) -> PassingRows:
        """Rows that are encoded once; only while ``ready``."""
        relatives = []
        for nested in encoder.nested:
            rows = self.passing(cast(RowEncoder, nested.encoder), budget)
            relatives.append(Relative(nested, self._sources[nested.join.source], self.related, rows))
        return PassingRows(encoder, relatives, budget)

    def ready(self, encoder: RowEncoder) -> bool:
        """Whether all that nested rows are found by is there; what is not is in the making from now on."""
        return all(self._found(nested) for nested in encoder.nested)

    def _found(self, nested: Nested) -> bool:
        inner = self.ready(cast(RowEncoder, nested.encoder))
        own = self._sources[nested.join.source].indexes.finds(nested.join.remote)
        return self.finds(reaches(nested.predicate, nested.order)) and own and inner

    def finds(self, reached: Sequence[Reach]) -> bool:
        """Whether a condition and an order can look up what they read of other sources; see ``ready``."""
        found = [lookup for reach in reached for lookup in lookups(reach)]
        return all(self._sources[source].indexes.finds(columns) for source, columns in found)


_sort_of = itemgetter(0)

"""Following joins with the stores at hand: conditions and order terms that a row alone does not decide, as functions of it.

What they give is true of the stores as they are at the call. Where a join goes by an index, that must be ready:
``lookups`` says which ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tycostream.dataflow.aggregate import aggregated, scalar_of
from tycostream.dataflow.order import OrderVia, Term, compile_order
from tycostream.dataflow.predicate import (
    TRUE,
    Aggregated,
    Exists,
    Leaf,
    Predicate,
    compile_predicate,
    leaves_of,
    row_local,
)
from tycostream.dataflow.relation import Aggregate, Join, Masked, Value, Veil, Via, value_of
from tycostream.dataflow.remembered import Remembered
from tycostream.dataflow.store import Store
from tycostream.dataflow.veil import lens
from tycostream.rows import Cell, Key, Row

Lookup = tuple[str, tuple[int, ...]]  # a source, and the columns by which its rows are looked up


class Related:
    """Follows joins from row to row. ``store_of`` gives a source's store by name."""

    def __init__(self, store_of: Callable[[str], Store]) -> None:
        self._store_of = store_of
        self._remembered = Remembered()

    def keys(self, join: Join) -> Callable[[Row], Sequence[Key]]:
        """A function from a row to the keys of the rows that ``join`` leads to."""
        value, find = value_of(join.local), self._store_of(join.source).finder(join.remote)

        def keys(row: Row) -> Sequence[Key]:
            found = value(row)
            return () if found is None else find(found)

        return keys

    def bind(self, leaf: Leaf) -> Callable[[Row], bool]:
        """See Bind."""
        if isinstance(leaf, Exists):
            return self._exists(leaf)
        return self._aggregated(leaf)

    def _exists(self, leaf: Exists) -> Callable[[Row], bool]:
        value_in, store = value_of(leaf.join.local), self._store_of(leaf.join.source)
        find = store.finder(leaf.join.remote)
        match = compile_predicate(leaf.predicate, self.bind)
        negated = leaf.negated

        def holds(value: Value) -> bool:
            rows = store.rows
            for key in find(value):
                if match(rows[key]):
                    return not negated
            return negated

        stores = self._stores(leaf)
        one_look = len(stores) == 1 and store.finds(leaf.join.remote)  # at one row: nothing to remember
        of_value = holds if one_look else self._remembered(holds, stores)

        def exists(row: Row) -> bool:
            value = value_in(row)
            return negated if value is None else of_value(value)

        return exists

    def _aggregated(self, leaf: Aggregated) -> Callable[[Row], bool]:
        value_in, store = value_of(leaf.join.local), self._store_of(leaf.join.source)
        find = store.finder(leaf.join.remote)
        match = compile_predicate(leaf.predicate, self.bind)
        condition = compile_predicate(leaf.condition)
        specs, look = lens((leaf.aggregate,), self.bind)

        def holds(keys: Sequence[Key]) -> bool:
            rows = store.rows
            found: Iterable[Row] = [each for key in keys if match(each := rows[key])]
            return condition(aggregated(specs, store.row_type, map(look, found) if look else found))

        of_value = self._remembered(lambda value: holds(find(value)), self._stores(leaf))

        def satisfied(row: Row) -> bool:
            value = value_in(row)
            return holds(()) if value is None else of_value(value)

        return satisfied

    def _stores(self, leaf: Leaf) -> list[Store]:
        """All that a condition reads."""
        return [self._store_of(name) for name in sorted(_sources(leaf))]

    def cell_of(self, via: Via | Masked) -> tuple[Callable[[Row], Cell], str]:
        """See CellOf."""
        if isinstance(via, Masked):
            return self._masked(via), ""
        if isinstance(via.cell, Aggregate):
            return self._total(via, via.cell)
        keys, store = self._satisfying(via), self._store_of(via.join.source)
        first = first_of(store)
        if isinstance(via.cell, Via):
            inner, scalar = self.cell_of(via.cell)
        elif isinstance(via.cell, Masked):
            inner = self._masked(via.cell)
            scalar = store.row_type.columns[via.cell.column].scalar.name
        else:
            place = via.cell
            inner, scalar = (lambda row: row[place]), store.row_type.columns[place].scalar.name

        def cell(row: Row) -> Cell:
            found = keys(row)
            return inner(store.rows[first(found)]) if found else None

        return cell, scalar

    def _masked(self, cell: Masked) -> Callable[[Row], Cell]:
        match, place = compile_predicate(cell.seen, self.bind), cell.column
        return lambda row: row[place] if match(row) else None

    def _total(self, via: Via, aggregate: Aggregate) -> tuple[Callable[[Row], Cell], str]:
        """An aggregate over the rows that ``via`` leads to, and the scalar of its values."""
        join, predicate = via.join, via.predicate
        store = self._store_of(join.source)
        value_in, find = value_of(join.local), store.finder(join.remote)
        specs, look = lens((aggregate,), self.bind)
        row_type = store.row_type
        match = None if predicate is None else compile_predicate(predicate, self.bind)

        def over(keys: Sequence[Key]) -> Cell:
            rows = store.rows
            found: Iterable[Row] = [rows[key] for key in keys]
            found = found if match is None else filter(match, found)
            return aggregated(specs, row_type, found if look is None else map(look, found))[0]

        read = {join.source} | _sources_of(TRUE if predicate is None else predicate, aggregate.veil)
        stores = [self._store_of(name) for name in sorted(read)]
        of_value = self._remembered(lambda value: over(find(value)), stores)

        def total(row: Row) -> Cell:
            value = value_in(row)
            return over(()) if value is None else of_value(value)

        return total, scalar_of(aggregate, row_type).name

    def _satisfying(self, via: Via) -> Callable[[Row], Sequence[Key]]:
        """As ``keys``, of those rows that satisfy the predicate of ``via``."""
        keys, store = self.keys(via.join), self._store_of(via.join.source)
        if via.predicate is None:
            return keys
        match = compile_predicate(via.predicate, self.bind)

        def satisfying(row: Row) -> Sequence[Key]:
            rows = store.rows
            return [key for key in keys(row) if match(rows[key])]

        return satisfying


def _sources(leaf: Leaf) -> set[str]:
    return {leaf.join.source} | _sources_of(leaf.predicate, _veil_of(leaf))


def _sources_of(predicate: Predicate, veil: Veil) -> set[str]:
    """The other sources that are read to say which rows satisfy a condition, and what of them is seen."""
    parts = (predicate, *(seen for _, seen in veil))
    return {name for part in parts for leaf in leaves_of(part) for name in _sources(leaf)}


def _veil_of(leaf: Leaf) -> Veil:
    return leaf.aggregate.veil if isinstance(leaf, Aggregated) else ()


def first_of(store: Store) -> Callable[[Sequence[Key]], Key]:
    """A function from some keys to the first of them, in the order of the key: where one row was expected, it is that."""
    sort_key = compile_order((), store.row_type)

    def first(keys: Sequence[Key]) -> Key:
        return keys[0] if len(keys) == 1 else min(keys, key=lambda key: sort_key(key, store.rows[key]))

    return first


@dataclass(frozen=True, slots=True)
class Reach:
    """What a condition or an order reads beyond a row: the rows of ``join``, as far as ``predicate`` says by itself."""

    join: Join
    predicate: Predicate
    further: tuple[Reach, ...] = ()  # and what is read beyond those


def reaches(predicate: Predicate, terms: Iterable[Term] = (), veil: Veil = ()) -> tuple[Reach, ...]:
    """All that a condition, an order and a veil read of other sources, each once."""
    found = [
        Reach(leaf.join, row_local(leaf.predicate), reaches(leaf.predicate, veil=_veil_of(leaf)))
        for leaf in leaves_of(predicate)
    ]
    found += [reach for term in terms if isinstance(term, OrderVia) for reach in _of_cell(term.via)]
    found += [reach for _, seen in veil for reach in reaches(seen)]
    return tuple(dict.fromkeys(found))


def _of_cell(cell: int | Masked | Via | Aggregate) -> tuple[Reach, ...]:
    if isinstance(cell, Masked):
        return reaches(cell.seen)
    if isinstance(cell, Aggregate):
        return reaches(TRUE, veil=cell.veil)
    if not isinstance(cell, Via):
        return ()
    predicate = TRUE if cell.predicate is None else cell.predicate
    further = tuple(dict.fromkeys((*reaches(predicate), *_of_cell(cell.cell))))
    return (Reach(cell.join, row_local(predicate), further),)


def lookups(reach: Reach) -> Iterator[Lookup]:
    """What is looked up to follow it from a row."""
    yield reach.join.source, reach.join.remote
    for further in reach.further:
        yield from lookups(further)

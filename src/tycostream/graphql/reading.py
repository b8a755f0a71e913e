"""Which sources a plan reads besides its own: in conditions, in orders, and nested in its rows, at any depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tycostream.dataflow.order import OrderVia, Term
from tycostream.dataflow.predicate import Predicate, leaves_of
from tycostream.dataflow.relation import Via
from tycostream.graphql.plan import AggregateEncoder, Nested, RowEncoder


def sources_read(
    predicate: Predicate, order: Iterable[Term] = (), encoder: RowEncoder | AggregateEncoder | None = None
) -> set[str]:
    """The names of the sources whose rows decide what is shown; that of the plan itself only if it is among them."""
    names = {*_of_predicate(predicate), *_of_order(order)}
    for nested in _nested_of(encoder):
        names.add(nested.join.source)
        names |= sources_read(nested.predicate, nested.order, nested.encoder)
    return names


def _nested_of(encoder: RowEncoder | AggregateEncoder | None) -> tuple[Nested, ...]:
    rows = getattr(encoder, "nodes", encoder)  # of an aggregate, the rows that it shows besides
    nested: tuple[Nested, ...] = getattr(rows, "nested", ())
    return nested


def _of_predicate(predicate: Predicate) -> Iterator[str]:
    for leaf in leaves_of(predicate):
        yield leaf.join.source
        yield from _of_predicate(leaf.predicate)


def _of_order(order: Iterable[Term]) -> Iterator[str]:
    for term in order:
        cell = term.via if isinstance(term, OrderVia) else None
        while isinstance(cell, Via):
            yield cell.join.source
            cell = cell.cell if isinstance(cell.cell, Via) else None

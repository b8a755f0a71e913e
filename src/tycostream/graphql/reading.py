"""Which relationships a plan follows: in conditions, in orders, and nested in its rows, at any depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tycostream.dataflow.order import OrderVia, Term
from tycostream.dataflow.predicate import Predicate, leaves_of
from tycostream.dataflow.relation import Via
from tycostream.graphql.plan import AggregateEncoder, ChangeEncoder, Nested, RowEncoder, Step


def steps_of(
    source: str,
    predicate: Predicate,
    order: Iterable[Term] = (),
    encoder: RowEncoder | AggregateEncoder | ChangeEncoder | None = None,
) -> Iterator[Step]:
    """The steps from the rows of ``source`` to all others that decide what is shown; one may come several times."""
    yield from _of_predicate(source, predicate)
    yield from _of_order(source, order)
    for nested in _nested_of(encoder):
        yield source, nested.join
        yield from steps_of(nested.join.source, nested.predicate, nested.order, nested.encoder)


def _nested_of(encoder: RowEncoder | AggregateEncoder | ChangeEncoder | None) -> tuple[Nested, ...]:
    rows = getattr(
        encoder, "nodes", encoder
    )  # of an aggregate, the rows that it shows besides; a change has none
    nested: tuple[Nested, ...] = getattr(rows, "nested", ())
    return nested


def _of_predicate(source: str, predicate: Predicate) -> Iterator[Step]:
    for leaf in leaves_of(predicate):
        yield source, leaf.join
        yield from _of_predicate(leaf.join.source, leaf.predicate)


def _of_order(source: str, order: Iterable[Term]) -> Iterator[Step]:
    for term in order:
        owner, cell = source, term.via if isinstance(term, OrderVia) else None
        while isinstance(cell, Via):
            yield owner, cell.join
            if cell.predicate is not None:
                yield from _of_predicate(cell.join.source, cell.predicate)
            owner, cell = cell.join.source, cell.cell if isinstance(cell.cell, Via) else None

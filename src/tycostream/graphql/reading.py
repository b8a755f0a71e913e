"""Which relationships a plan follows: in conditions, in orders, and nested in its rows, at any depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tycostream.dataflow.order import OrderVia, Term
from tycostream.dataflow.predicate import Aggregated, Predicate, leaves_of
from tycostream.dataflow.relation import Aggregate, Masked, Veil, Via
from tycostream.graphql.plan import AggregateEncoder, ChangeEncoder, Condition, Mode, Nested, RowEncoder, Step


def steps_of(
    source: str,
    predicate: Predicate,
    order: Iterable[Term] = (),
    encoder: RowEncoder | AggregateEncoder | ChangeEncoder | None = None,
) -> Iterator[Step]:
    """The steps from the rows of ``source`` to all others that decide what is shown; one may come several times."""
    yield from _of_predicate(source, predicate)
    yield from _of_order(source, order)
    for aggregate in getattr(encoder, "aggregates", ()):
        yield from of_veil(source, aggregate.veil)
    for nested in _nested_of(encoder):
        if isinstance(nested, Condition):
            yield from _of_predicate(source, nested.predicate)
            continue
        yield Step(source, nested.join, nested.mode is not Mode.BY_PK)
        yield from steps_of(nested.join.source, nested.predicate, nested.order, nested.encoder)


def of_veil(source: str, veil: Veil) -> Iterator[Step]:
    """The steps that decide what is seen of the rows of ``source``."""
    for _, seen in veil:
        yield from _of_predicate(source, seen)


def _nested_of(
    encoder: RowEncoder | AggregateEncoder | ChangeEncoder | None,
) -> tuple[Nested | Condition, ...]:
    rows = getattr(
        encoder, "nodes", encoder
    )  # of an aggregate, the rows that it shows besides; a change has none
    nested: tuple[Nested | Condition, ...] = getattr(rows, "nested", ())
    return nested


def _of_predicate(source: str, predicate: Predicate) -> Iterator[Step]:
    for leaf in leaves_of(predicate):
        yield Step(source, leaf.join, True if isinstance(leaf, Aggregated) else None)
        yield from _of_predicate(leaf.join.source, leaf.predicate)
        if isinstance(leaf, Aggregated):
            yield from of_veil(leaf.join.source, leaf.aggregate.veil)


def _of_order(source: str, order: Iterable[Term]) -> Iterator[Step]:
    for term in order:
        owner = source
        cell: int | Masked | Via | Aggregate = term.via if isinstance(term, OrderVia) else term.column
        while isinstance(cell, Via):
            yield Step(owner, cell.join, isinstance(cell.cell, Aggregate))
            if cell.predicate is not None:
                yield from _of_predicate(cell.join.source, cell.predicate)
            owner, cell = cell.join.source, cell.cell
        if isinstance(cell, Masked):
            yield from _of_predicate(owner, cell.seen)
        elif isinstance(cell, Aggregate):
            yield from of_veil(owner, cell.veil)

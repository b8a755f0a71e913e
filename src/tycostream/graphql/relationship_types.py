"""Relationships in the schema: fields of rows, of conditions and of orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from graphql import GraphQLField, GraphQLInputField

from tycostream.config.relationships import AGGREGATE
from tycostream.graphql.relationships import Relationship, Relationships

if TYPE_CHECKING:
    from tycostream.graphql.source_types import SourceTypes


class Related:
    """The relationships of a schema, and the types of its sources; ``sources`` is complete when the first are asked for."""

    def __init__(self, relationships: Relationships, sources: Mapping[str, SourceTypes]) -> None:
        self.in_arrays = {each.join.source for mine in relationships.values() for each in mine if each.many}
        self._relationships = relationships
        self._sources = sources

    def of(self, source: str) -> Iterator[tuple[Relationship, SourceTypes]]:
        """The relationships of a source, each with the types of that which it leads to."""
        for relationship in self._relationships.get(source, ()):
            yield relationship, self._sources[relationship.join.source]


def fields(of: SourceTypes) -> dict[str, GraphQLField]:
    """What can be selected on a row besides its columns."""
    found = {}
    for relationship, target in of.related.of(of.name):
        found[relationship.name] = _field(relationship, target)
        if relationship.many and target.aggregated:
            found[relationship.name + AGGREGATE] = GraphQLField(
                target.shared.required(target.object_type("_aggregate")),
                target.arguments,
                description="An aggregate relationship",
            )
    return found


def conditions(of: SourceTypes) -> dict[str, GraphQLInputField]:
    """What ``T_bool_exp`` can say of related rows."""
    found = {}
    for relationship, target in of.related.of(of.name):
        found[relationship.name] = of.shared.input_field(target.bool_exp, None)
        if relationship.many and target.compared:
            condition = target.input_type("_aggregate_bool_exp")
            found[relationship.name + AGGREGATE] = of.shared.input_field(condition, None)
    return found


def orders(of: SourceTypes) -> dict[str, GraphQLInputField]:
    """What ``T_order_by`` can order by: the related row, where there is one, and aggregates over any number."""
    found = {}
    for relationship, target in of.related.of(of.name):
        if relationship.many and target.compared:
            by_aggregates = target.input_type("_aggregate_order_by")
            found[relationship.name + AGGREGATE] = of.shared.input_field(by_aggregates, None)
        elif not relationship.many and target.ordered:
            found[relationship.name] = of.shared.input_field(target.input_type("_order_by"), None)
    return found


def _field(relationship: Relationship, target: SourceTypes) -> GraphQLField:
    types = target.shared
    if relationship.many:
        rows = types.required(types.list_of(target.row))
        description = relationship.comment or "An array relationship"
        return GraphQLField(rows, target.arguments, description=description)
    row = types.required(target.row) if relationship.required else target.row
    return types.field(row, relationship.comment or "An object relationship")

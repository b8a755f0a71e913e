"""Relationships in the schema: fields of rows, of conditions and of orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
)

from tycostream.config.relationships import AGGREGATE
from tycostream.graphql.relationships import Relationship, Relationships


class AggregateInputs(NamedTuple):
    """What can be said of aggregates over a source's rows."""

    bool_exp: GraphQLInputObjectType
    order_by: GraphQLInputObjectType


@dataclass(frozen=True, slots=True)
class SourceTypes:
    """What a source has in the schema that relationships lead to: ``arguments`` are those of a list of its rows."""

    row: GraphQLObjectType
    bool_exp: GraphQLInputObjectType
    order_by: GraphQLInputObjectType | None
    arguments: dict[str, GraphQLArgument]
    aggregate: GraphQLObjectType | None  # None: a role may not ask for aggregates
    inputs: AggregateInputs | None  # only where an array leads to its rows, and aggregates may be asked for

    @property
    def linked(self) -> list[GraphQLNamedType]:
        """The types in which those of other sources stand."""
        return [self.row, self.bool_exp, *([self.order_by] if self.order_by is not None else [])]


class RelationshipTypes:
    """The fields that relationships give to the types of sources. ``sources`` is complete when the first is asked for."""

    def __init__(self, relationships: Relationships) -> None:
        self.sources: dict[str, SourceTypes] = {}
        self.in_arrays = {each.join.source for mine in relationships.values() for each in mine if each.many}
        self._relationships = relationships

    def _of(self, source: str) -> Iterator[tuple[Relationship, SourceTypes]]:
        for relationship in self._relationships.get(source, ()):
            yield relationship, self.sources[relationship.join.source]

    def fields(self, source: str) -> dict[str, GraphQLField]:
        """What can be selected on a row of ``source``."""
        fields = {relationship.name: _field(relationship, types) for relationship, types in self._of(source)}
        for relationship, types in self._of(source):
            if relationship.many and types.aggregate is not None:
                fields[relationship.name + AGGREGATE] = GraphQLField(
                    GraphQLNonNull(types.aggregate), types.arguments, description="An aggregate relationship"
                )
        return fields

    def conditions(self, source: str) -> dict[str, GraphQLInputField]:
        """What ``T_bool_exp`` can say of related rows."""
        fields = {}
        for relationship, types in self._of(source):
            fields[relationship.name] = GraphQLInputField(types.bool_exp)
            if relationship.many and types.inputs is not None:
                fields[relationship.name + AGGREGATE] = GraphQLInputField(types.inputs.bool_exp)
        return fields

    def orders(self, source: str) -> dict[str, GraphQLInputField]:
        """What ``T_order_by`` can order by: the related row, where there is one, and aggregates over any number."""
        fields = {}
        for relationship, types in self._of(source):
            if relationship.many and types.inputs is not None:
                fields[relationship.name + AGGREGATE] = GraphQLInputField(types.inputs.order_by)
            elif not relationship.many and types.order_by is not None:
                fields[relationship.name] = GraphQLInputField(types.order_by)
        return fields


def _field(relationship: Relationship, types: SourceTypes) -> GraphQLField:
    if relationship.many:
        return GraphQLField(
            GraphQLNonNull(GraphQLList(GraphQLNonNull(types.row))),
            types.arguments,
            description=relationship.comment or "An array relationship",
        )
    return GraphQLField(
        GraphQLNonNull(types.row) if relationship.required else types.row,
        description=relationship.comment or "An object relationship",
    )

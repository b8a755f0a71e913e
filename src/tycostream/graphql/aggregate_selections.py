"""What is selected on ``T_aggregate``: from the document's fields to the aggregates that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from graphql import FieldNode, GraphQLSchema

from tycostream.dataflow.relation import Aggregate
from tycostream.errors import RequestError
from tycostream.graphql.aggregate_encode import AggregateSelection, Results
from tycostream.graphql.encode import Selection
from tycostream.graphql.fields import Collector
from tycostream.graphql.rights import Rights
from tycostream.graphql.source import Source
from tycostream.rows import RowType

RowsOf = Callable[[Source, Sequence[FieldNode], str, str], Selection]


def aggregate_selection(
    schema: GraphQLSchema,
    collector: Collector,
    source: Source,
    nodes: Sequence[FieldNode],
    path: str,
    rows_of: RowsOf,
    rights: Rights,
) -> AggregateSelection:
    """The selection at ``path``; ``rows_of`` compiles one of rows, from their source, its nodes, their type and its path."""
    name = source.row_type.source
    fields: list[tuple[str, Results | Selection | None]] = []
    for key, inner in collector.inner(nodes).items():
        field = inner[0].name.value
        here = f"{path}.selectionSet.{field}"
        if field == "aggregate":
            fields.append((key, _results(schema, collector, source, inner, here, rights)))
        else:
            fields.append((key, rows_of(source, inner, name, here) if field == "nodes" else None))
    return AggregateSelection(f"{name}_aggregate", tuple(fields))


def _results(
    schema: GraphQLSchema,
    collector: Collector,
    source: Source,
    nodes: Sequence[FieldNode],
    path: str,
    rights: Rights,
) -> Results:
    name = source.row_type.source
    type_name = f"{name}_aggregate_fields"
    holder: Any = schema.type_map[type_name]
    fields: list[tuple[str, Aggregate | Results | None]] = []
    for key, inner in collector.inner(nodes).items():
        function = inner[0].name.value
        if function == "__typename":
            fields.append((key, None))
        elif function == "count":
            arguments = collector.arguments(holder.fields[function], inner[0])
            counted = count(source.row_type, arguments, f"{path}.selectionSet.count.args")
            fields.append((key, rights.aggregate(source, counted)))
        else:
            over = partial(_over, source, rights, function)
            columns: list[tuple[str, Aggregate | Results | None]] = [
                (each, None if field == "__typename" else over(source.place_of[field]))
                for each, (node, *_) in collector.inner(inner).items()
                for field in (node.name.value,)
            ]
            fields.append((key, Results(f"{name}_{function}_fields", tuple(columns))))
    return Results(type_name, tuple(fields))


def _over(source: Source, rights: Rights, function: str, place: int) -> Aggregate:
    return rights.aggregate(source, Aggregate(function, (place,)))


def count(row_type: RowType, arguments: Mapping[str, Any], path: str, columns: str = "columns") -> Aggregate:
    """``count`` with its arguments, of which ``columns`` names the one that holds columns."""
    places = {column.field: place for place, column in enumerate(row_type.columns)}
    named = tuple(dict.fromkeys(places[field] for field in arguments.get(columns) or ()))
    distinct = bool(arguments.get("distinct"))
    for place in named if distinct else ():
        column = row_type.columns[place]
        if "_eq" not in column.scalar.operators:
            raise RequestError(
                "validation-failed",
                f"different values of the column '{column.field}' of type '{column.scalar.graphql}' cannot be counted",
                path=path,
                detail="values of that type have no equality here",
            )
    return Aggregate("count", named, distinct)

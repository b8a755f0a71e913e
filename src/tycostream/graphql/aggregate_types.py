"""The types of aggregates: Hasura's names, with the functions that are exact for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
)

from tycostream.dataflow.aggregate import EXTREMES, MEANS, NUMERIC, offered
from tycostream.graphql.shared_types import Types
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS

FUNCTIONS: Final = tuple(sorted((*NUMERIC, *EXTREMES)))  # of one column each, under an object of their name
# What conditions ask beside ``count``, by the type of the columns and of the result: Hasura has it of these two alone.
COMPARED: Final = {
    "bool": ("bool_and", "bool_or"),
    "float8": ("avg", "max", "min", "stddev_samp", "sum", "var_samp"),
}


class _OfColumns(GraphQLObjectType):
    """An object type with a field for each of some columns, whose names the type of the row has checked already.

    Eight of a source's types repeat them, and graphql-core looks at a name letter by letter: half of the time that the
    schema of a thousand sources takes.
    """

    @cached_property
    def fields(self) -> dict[str, GraphQLField]:
        """The fields by name."""
        return dict(self.given)

    def __init__(self, name: str, given: Mapping[str, GraphQLField], description: str) -> None:
        self.given = given
        super().__init__(name, {}, description=description)


class _OrderOfColumns(GraphQLInputObjectType):
    """An input type with a field for each of some columns: see _OfColumns."""

    @cached_property
    def fields(self) -> dict[str, GraphQLInputField]:
        """The fields by name."""
        return dict(self.given)

    def __init__(self, name: str, given: Mapping[str, GraphQLInputField], description: str) -> None:
        self.given = given
        super().__init__(name, {}, description=description)


def columns_of(function: str, row_type: RowType) -> list[Column]:
    """The columns that ``function`` is offered for, by name."""
    found = [column for column in row_type.columns if offered(function, column.scalar)]
    return sorted(found, key=lambda column: column.field)


def aggregate_type(row_type: RowType, row: GraphQLObjectType, types: Types) -> GraphQLObjectType:
    """``T_aggregate``: aggregates over rows, and the rows."""
    name, table = row_type.source, types.table(row_type)
    columns = GraphQLList(GraphQLNonNull(types.select_column(row_type)))
    count = GraphQLField(
        GraphQLNonNull(GraphQLInt),
        {"columns": GraphQLArgument(columns), "distinct": GraphQLArgument(GraphQLBoolean)},
    )
    fields = {"count": count}
    # one field for all functions of a column that give a Float: of a thousand sources each object counts
    means = {
        column.field: GraphQLField(GraphQLFloat, description=column.comment) for column in row_type.columns
    }
    for function in FUNCTIONS:
        if found := columns_of(function, row_type):
            fields[function] = GraphQLField(_results(function, row_type, found, means, types))
    results = GraphQLObjectType(
        f"{name}_aggregate_fields", dict(sorted(fields.items())), description=f'aggregate fields of "{table}"'
    )
    return GraphQLObjectType(
        f"{name}_aggregate",
        {
            "aggregate": GraphQLField(results),
            "nodes": GraphQLField(GraphQLNonNull(GraphQLList(GraphQLNonNull(row)))),
        },
        description=f'aggregated selection of "{table}"',
    )


def _results(
    function: str,
    row_type: RowType,
    columns: Sequence[Column],
    means: Mapping[str, GraphQLField],
    types: Types,
) -> GraphQLObjectType:
    """``T_sum_fields`` and its like: what the function gives of each column."""

    def result(column: Column) -> GraphQLField:
        if function in MEANS:
            return means[column.field]
        return GraphQLField(types.output(column.scalar), description=column.comment)

    return _OfColumns(
        f"{row_type.source}_{function}_fields",
        {column.field: result(column) for column in columns},
        f"aggregate {function} on columns",
    )


def aggregate_order_by(row_type: RowType, types: Types) -> GraphQLInputObjectType:
    """``T_aggregate_order_by``: an order by aggregates over the rows that a relationship leads to."""
    name, table = row_type.source, types.table(row_type)
    fields = {"count": GraphQLInputField(types.order_by)}
    shared = {
        column.field: GraphQLInputField(types.order_by, description=column.comment)
        for column in row_type.columns
    }
    for function in FUNCTIONS:
        if found := columns_of(function, row_type):
            by_column = _OrderOfColumns(
                f"{name}_{function}_order_by",
                {column.field: shared[column.field] for column in found},
                f'order by {function}() on columns of table "{table}"',
            )
            fields[function] = GraphQLInputField(by_column)
    return GraphQLInputObjectType(
        f"{name}_aggregate_order_by",
        dict(sorted(fields.items())),
        description=f'order by aggregate values of table "{table}"',
    )


def aggregate_bool_exp(
    row_type: RowType, bool_exp: GraphQLInputObjectType, types: Types
) -> GraphQLInputObjectType:
    """``T_aggregate_bool_exp``: conditions on aggregates over the rows that a relationship leads to; ``bool_exp`` is ``T``'s."""
    name = f"{row_type.source}_aggregate_bool_exp"
    columns = GraphQLList(GraphQLNonNull(types.select_column(row_type)))
    fields = {"count": _condition(f"{name}_count", columns, "int4", bool_exp, types)}
    for result, functions in COMPARED.items():
        found = [column.field for column in row_type.columns if column.scalar.name == result]
        for function in functions if found else ():
            argument = GraphQLEnumType(
                f"{row_type.source}_select_column_{name}_{function}_arguments_columns",
                {field: GraphQLEnumValue(field, description="column name") for field in sorted(found)},
                description=f'select "{name}_{function}_arguments_columns" columns of table "{types.table(row_type)}"',
            )
            fields[function] = _condition(
                f"{name}_{function}", GraphQLNonNull(argument), result, bool_exp, types
            )
    return GraphQLInputObjectType(name, dict(sorted(fields.items())))


def _condition(
    name: str, arguments: Any, result: str, bool_exp: GraphQLInputObjectType, types: Types
) -> GraphQLInputField:
    predicate = GraphQLNonNull(types.comparison(SCALARS[result]))
    return GraphQLInputField(
        GraphQLInputObjectType(
            name,
            {
                "arguments": GraphQLInputField(arguments),
                "distinct": GraphQLInputField(GraphQLBoolean),
                "filter": GraphQLInputField(bool_exp),
                "predicate": GraphQLInputField(predicate),
            },
        )
    )

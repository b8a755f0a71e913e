"""The types of aggregates: Hasura's names, with the functions that are exact for each column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from graphql import (
    GraphQLBoolean,
    GraphQLField,
    GraphQLInputField,
    GraphQLInt,
    GraphQLNamedType,
)

from tycostream.config.schema_names import argument_columns
from tycostream.dataflow.aggregate import EXTREMES, MEANS, NUMERIC, offered
from tycostream.graphql.typed import EnumType, InputType, ObjectType
from tycostream.rows import Column
from tycostream.scalars import SCALARS

if TYPE_CHECKING:
    from tycostream.graphql.source_types import SourceTypes

FUNCTIONS: Final = tuple(sorted((*NUMERIC, *EXTREMES)))  # of one column each, under an object of their name
# What conditions ask beside ``count``, by the type of the columns and of the result: Hasura has it of these two alone.
COMPARED: Final = {
    "bool": ("bool_and", "bool_or"),
    "float8": ("avg", "max", "min", "stddev_samp", "sum", "var_samp"),
}
COUNT: Final = SCALARS["int4"]  # what a count is compared as
Makers = dict[str, Callable[[], GraphQLNamedType]]


def columns_of(function: str, columns: Sequence[Column]) -> list[Column]:
    """The columns among these that ``function`` is offered for."""
    return [column for column in columns if offered(function, column.scalar)]


def results(of: SourceTypes) -> Makers:
    """What makes ``T_aggregate``, ``T_aggregate_fields``, ``T_sum_fields`` and its like, by name."""
    makers: Makers = {
        f"{of.name}_aggregate": lambda: _aggregate(of),
        f"{of.name}_aggregate_fields": lambda: _results(of),
    }
    for function in of.functions:
        makers[f"{of.name}_{function}_fields"] = partial(_results_of, of, function)
    return makers


def _aggregate(of: SourceTypes) -> ObjectType:
    types = of.shared
    return ObjectType(
        f"{of.name}_aggregate",
        lambda: {
            "aggregate": types.field(of.object_type("_aggregate_fields"), None),
            "nodes": types.field(types.required(types.list_of(of.row)), None),
        },
        f'aggregated selection of "{of.table}"',
    )


def _results(of: SourceTypes) -> ObjectType:
    types = of.shared

    def fields() -> dict[str, GraphQLField]:
        columns = types.argument(types.list_of(of.select_column), None)
        arguments = {"columns": columns, "distinct": types.argument(GraphQLBoolean, None)}
        found = {"count": GraphQLField(types.required(GraphQLInt), arguments)}
        for function in of.functions:
            found[function] = types.field(of.object_type(f"_{function}_fields"), None)
        return dict(sorted(found.items()))

    return ObjectType(f"{of.name}_aggregate_fields", fields, f'aggregate fields of "{of.table}"')


def _results_of(of: SourceTypes, function: str) -> ObjectType:
    types = of.shared

    def fields() -> dict[str, GraphQLField]:
        mean = types.built_in("Float") if function in MEANS else None
        return {
            column.field: types.field(mean or types.output(column.scalar), column.comment)
            for column in of.functions[function]
        }

    return ObjectType(f"{of.name}_{function}_fields", fields, f"aggregate {function} on columns")


def inputs(of: SourceTypes) -> Makers:
    """What makes the types of conditions on aggregates and of orders by them, by name: over the rows of an array."""
    condition = f"{of.name}_aggregate_bool_exp"
    makers: Makers = {
        f"{of.name}_aggregate_order_by": lambda: _order_by(of),
        condition: lambda: _conditions(of),
        f"{condition}_count": lambda: _condition(of, "count"),
    }
    for function in of.functions:
        makers[f"{of.name}_{function}_order_by"] = partial(_order_by_of, of, function)
    for function in _compared(of):
        makers[f"{condition}_{function}"] = partial(_condition, of, function)
        makers[argument_columns(of.name, function)] = partial(_argument_columns, of, function)
    return makers


def _order_by(of: SourceTypes) -> InputType:
    """``T_aggregate_order_by``: an order by aggregates over the rows that a relationship leads to."""
    types = of.shared

    def fields() -> dict[str, GraphQLInputField]:
        found = {"count": types.input_field(types.order_by, None)}
        for function in of.functions:
            found[function] = types.input_field(of.input_type(f"_{function}_order_by"), None)
        return dict(sorted(found.items()))

    description = f'order by aggregate values of table "{of.table}"'
    return InputType(f"{of.name}_aggregate_order_by", fields, description)


def _order_by_of(of: SourceTypes, function: str) -> InputType:
    types = of.shared
    return InputType(
        f"{of.name}_{function}_order_by",
        lambda: {
            column.field: types.input_field(types.order_by, column.comment)
            for column in of.functions[function]
        },
        f'order by {function}() on columns of table "{of.table}"',
    )


def _compared(of: SourceTypes) -> dict[str, list[Column]]:
    """The functions that conditions ask beside ``count``, each with the columns that it is of."""
    found: dict[str, list[Column]] = {}
    for kind, functions in COMPARED.items():
        if columns := [column for column in of.columns if column.scalar.name == kind]:
            found |= dict.fromkeys(functions, columns)
    return found


def _conditions(of: SourceTypes) -> InputType:
    """``T_aggregate_bool_exp``: conditions on aggregates over the rows that a relationship leads to."""
    types = of.shared

    def fields() -> dict[str, GraphQLInputField]:
        return {
            function: types.input_field(of.input_type(f"_aggregate_bool_exp_{function}"), None)
            for function in sorted(("count", *_compared(of)))
        }

    return InputType(f"{of.name}_aggregate_bool_exp", fields)


def _condition(of: SourceTypes, function: str) -> InputType:
    types = of.shared

    def fields() -> dict[str, GraphQLInputField]:
        if function == "count":
            arguments, result = types.list_of(of.select_column), COUNT
        else:
            arguments = types.required(of[argument_columns(of.name, function)])
            result = _compared(of)[function][0].scalar
        return {
            "arguments": types.input_field(arguments, None),
            "distinct": types.input_field(GraphQLBoolean, None),
            "filter": types.input_field(of.bool_exp, None),
            "predicate": types.input_field(types.required(types.comparison(result)), None),
        }

    return InputType(f"{of.name}_aggregate_bool_exp_{function}", fields)


def _argument_columns(of: SourceTypes, function: str) -> EnumType:
    return EnumType(
        argument_columns(of.name, function),
        lambda: {column.field: of.shared.column_value(column.field) for column in _compared(of)[function]},
        f'select "{of.name}_aggregate_bool_exp_{function}_arguments_columns" columns of table "{of.table}"',
    )

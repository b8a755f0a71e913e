"""What each source has in the schema, whatever its root fields are: its rows, conditions, orders and lists."""

from __future__ import annotations

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLString,
)

from tycostream.graphql.aggregate_types import aggregate_bool_exp, aggregate_order_by, aggregate_type
from tycostream.graphql.relationship_types import AggregateInputs, RelationshipTypes, SourceTypes
from tycostream.graphql.shared_types import Types
from tycostream.rows import Column, RowType


def source_types(
    row_type: RowType, types: Types, related: RelationshipTypes, *, aggregate: bool = True
) -> SourceTypes:
    """The types of a source. Those of the sources that ``related`` leads to may be made later."""
    row = _row(row_type, types, related)
    bool_exp = _bool_exp(row_type, types, related)
    order_by = _order_by(row_type, types, related)
    inputs = None
    if aggregate and row_type.source in related.in_arrays:
        inputs = AggregateInputs(
            aggregate_bool_exp(row_type, bool_exp, types), aggregate_order_by(row_type, types)
        )
    return SourceTypes(
        row,
        bool_exp,
        order_by,
        _list_arguments(row_type, types, bool_exp, order_by),
        aggregate_type(row_type, row, types) if aggregate else None,
        inputs,
    )


def column_arguments(column: Column) -> dict[str, GraphQLArgument]:
    """What the field of a column takes."""
    if column.scalar.name not in ("json", "jsonb") or column.document is not None:
        return {}
    return {"path": GraphQLArgument(GraphQLString, description="JSON select path")}


def _row(row_type: RowType, types: Types, related: RelationshipTypes) -> GraphQLObjectType:
    # at once: what is wrong with a column's type must not come out of graphql-core's own building
    columns = {
        column.field: GraphQLField(
            types.column(column) if column.nullable else GraphQLNonNull(types.column(column)),
            column_arguments(column),
            description=column.comment,
        )
        for column in row_type.columns
    }

    def fields() -> dict[str, GraphQLField]:
        return dict(sorted((columns | related.fields(row_type.source)).items()))

    return GraphQLObjectType(
        row_type.source,
        fields,
        description=row_type.comment or f'columns and relationships of "{types.table(row_type)}"',
    )


def _bool_exp(row_type: RowType, types: Types, related: RelationshipTypes) -> GraphQLInputObjectType:
    columns = {
        column.field: GraphQLInputField(types.comparison(column.scalar)) for column in row_type.columns
    }

    def fields() -> dict[str, GraphQLInputField]:
        clauses = {
            "_and": GraphQLInputField(GraphQLList(GraphQLNonNull(bool_exp))),
            "_not": GraphQLInputField(bool_exp),
            "_or": GraphQLInputField(GraphQLList(GraphQLNonNull(bool_exp))),
        }
        return dict(sorted((columns | clauses | related.conditions(row_type.source)).items()))

    bool_exp = GraphQLInputObjectType(
        f"{row_type.source}_bool_exp",
        fields,
        description=f'Boolean expression to filter rows from the table "{types.table(row_type)}". '
        "All fields are combined with a logical 'AND'.",
    )
    return bool_exp


def _order_by(row_type: RowType, types: Types, related: RelationshipTypes) -> GraphQLInputObjectType | None:
    """``T_order_by``; None of a source without a column of a type that has an order."""
    columns = {
        column.field: GraphQLInputField(types.order_by)
        for column in row_type.columns
        if "_gt" in column.scalar.operators
    }
    if not columns:
        return None

    def fields() -> dict[str, GraphQLInputField]:
        return dict(sorted((columns | related.orders(row_type.source)).items()))

    return GraphQLInputObjectType(
        f"{row_type.source}_order_by",
        fields,
        description=f'Ordering options when selecting data from "{types.table(row_type)}".',
    )


def _list_arguments(
    row_type: RowType,
    types: Types,
    bool_exp: GraphQLInputObjectType,
    order_by: GraphQLInputObjectType | None,
) -> dict[str, GraphQLArgument]:
    """What a list of its rows takes."""
    arguments = {
        "limit": GraphQLArgument(GraphQLInt, description="limit the number of rows returned"),
        "offset": GraphQLArgument(GraphQLInt, description="skip the first n rows. Use only with order_by"),
        "where": GraphQLArgument(bool_exp, description="filter the rows returned"),
    }
    if order_by is not None:
        arguments["order_by"] = GraphQLArgument(
            GraphQLList(GraphQLNonNull(order_by)), description="sort the rows by one or more columns"
        )
        distinct = GraphQLList(GraphQLNonNull(types.select_column(row_type)))
        arguments["distinct_on"] = GraphQLArgument(distinct, description="distinct select on columns")
    return dict(sorted(arguments.items()))

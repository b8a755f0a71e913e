"""The GraphQL schema of a configuration: Hasura v2's names and shapes, and one change feed per source."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from graphql import (
    DirectiveLocation,
    FloatValueNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDirective,
    GraphQLEnumType,
    GraphQLField,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    IntValueNode,
    ValueNode,
    print_schema,
    specified_directives,
    value_from_ast_untyped,
)

from tycostream.rows import RowType
from tycostream.scalars import Scalar

ORDER_BY: Final = ("asc", "asc_nulls_first", "asc_nulls_last", "desc", "desc_nulls_first", "desc_nulls_last")
_LIST_OPERATORS = ("_in", "_nin")
# A field name that both a type of a source and a helper type could want; rules.py keeps sources off these.
_BUILT_IN = {"Int": GraphQLInt, "Float": GraphQLFloat, "String": GraphQLString, "Boolean": GraphQLBoolean}


def _literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    """Numbers of a document keep every digit: a float would lose them."""
    if isinstance(node, IntValueNode):
        return int(node.value)
    if isinstance(node, FloatValueNode):
        return Decimal(node.value)
    return value_from_ast_untyped(node, variables)


def _same(value: Any) -> Any:
    return value


def raw_scalar(name: str) -> GraphQLScalarType:
    """A scalar that hands its input on as it came; ``Scalar.literal`` judges it, with the column known."""
    return GraphQLScalarType(name, serialize=_same, parse_value=_same, parse_literal=_literal)


class Types:
    """The types made so far, by name: scalars and comparison inputs are shared by all sources."""

    def __init__(self) -> None:
        self._outputs: dict[str, Any] = dict(_BUILT_IN)
        self._inputs: dict[str, Any] = {}
        self._comparisons: dict[str, GraphQLInputObjectType] = {}
        self.order_by = GraphQLEnumType(
            "order_by", {name: name for name in ORDER_BY}, description="column ordering options"
        )
        self.phase = GraphQLEnumType("change_phase", {n: n for n in ("live", "ready", "reset", "snapshot")})
        self.operation = GraphQLEnumType("change_operation", {n: n for n in ("delete", "insert", "update")})

    def output(self, scalar: Scalar) -> Any:
        """The output type of a column."""
        name = scalar.graphql
        if name not in self._outputs:
            if scalar.enum is not None:
                self._outputs[name] = GraphQLEnumType(name, {label: label for label in scalar.enum})
            else:
                self._outputs[name] = raw_scalar(name)
        return self._outputs[name]

    def comparison(self, scalar: Scalar) -> GraphQLInputObjectType:
        """``<Scalar>_comparison_exp`` with the operators that are exact for it."""
        name = scalar.graphql
        if name not in self._comparisons:
            value = self.output(scalar)
            fields = {
                op: GraphQLInputField(
                    GraphQLBoolean
                    if op == "_is_null"
                    else GraphQLList(GraphQLNonNull(value))
                    if op in _LIST_OPERATORS
                    else value
                )
                for op in sorted(scalar.operators)
            }
            self._comparisons[name] = GraphQLInputObjectType(
                f"{name}_comparison_exp",
                fields,
                description=f'Boolean expression to compare columns of type "{name}". '
                "All fields are combined with logical 'AND'.",
            )
        return self._comparisons[name]


def build_schema(row_types: Sequence[RowType], *, stringify_numbers: bool = False) -> GraphQLSchema:
    """The schema of all sources. ``stringify_numbers`` changes values, not types: as in Hasura."""
    types = Types()
    query: dict[str, GraphQLField] = {}
    subscription: dict[str, GraphQLField] = {}
    for row_type in row_types:
        shared, feed = _source_fields(row_type, types)
        query |= shared
        subscription |= shared | feed
    if not query:
        query = {"no_queries_available": GraphQLField(GraphQLNonNull(GraphQLString))}
    directives = [*specified_directives, *_directives()]
    return GraphQLSchema(
        GraphQLObjectType("query_root", dict(sorted(query.items()))),
        subscription=GraphQLObjectType("subscription_root", dict(sorted(subscription.items())))
        if subscription
        else None,
        directives=directives,
    )


def _directives() -> list[GraphQLDirective]:
    strategy = GraphQLEnumType("coalesce_strategy", {n: n for n in ("debounce", "throttle", "window")})
    return [
        GraphQLDirective(
            "coalesce",
            [DirectiveLocation.SUBSCRIPTION, DirectiveLocation.FIELD],
            {
                "ms": GraphQLArgument(
                    GraphQLNonNull(GraphQLInt), description="the least time between two sets"
                ),
                "strategy": GraphQLArgument(strategy, default_value="throttle"),
            },
            description="send the net of what happened, not every change",
        ),
        GraphQLDirective("_multiple_top_level_fields", [DirectiveLocation.SUBSCRIPTION]),
    ]


def _source_fields(
    row_type: RowType, types: Types
) -> tuple[dict[str, GraphQLField], dict[str, GraphQLField]]:
    """The root fields of a source: those of queries and subscriptions alike, and its change feed."""
    name = row_type.source
    columns = sorted(row_type.columns, key=lambda column: column.field)
    row = GraphQLObjectType(
        name,
        {
            column.field: GraphQLField(
                types.output(column.scalar)
                if column.nullable
                else GraphQLNonNull(types.output(column.scalar)),
                description=column.comment,
            )
            for column in columns
        },
        description=row_type.comment or f'columns and relationships of "{name}"',
    )
    comparable = [column for column in columns if column.scalar.operators]
    bool_exp: GraphQLInputObjectType = GraphQLInputObjectType(
        f"{name}_bool_exp",
        lambda: {
            "_and": GraphQLInputField(GraphQLList(GraphQLNonNull(bool_exp))),
            "_not": GraphQLInputField(bool_exp),
            "_or": GraphQLInputField(GraphQLList(GraphQLNonNull(bool_exp))),
            **{column.field: GraphQLInputField(types.comparison(column.scalar)) for column in comparable},
        },
        description=f'Boolean expression to filter rows from the table "{name}". '
        "All fields are combined with a logical 'AND'.",
    )
    where = GraphQLArgument(bool_exp, description="filter the rows returned")
    arguments = {
        "limit": GraphQLArgument(GraphQLInt, description="limit the number of rows returned"),
        "offset": GraphQLArgument(GraphQLInt, description="skip the first n rows. Use only with order_by"),
    }
    if comparable:
        order_by = GraphQLInputObjectType(
            f"{name}_order_by",
            {column.field: GraphQLInputField(types.order_by) for column in comparable},
            description=f'Ordering options when selecting data from "{name}".',
        )
        arguments["order_by"] = GraphQLArgument(
            GraphQLList(GraphQLNonNull(order_by)), description="sort the rows by one or more columns"
        )
    arguments["where"] = where
    shared = {
        name: GraphQLField(
            GraphQLNonNull(GraphQLList(GraphQLNonNull(row))),
            arguments,
            description=f'fetch data from the table: "{name}"',
        )
    }
    if row_type.keyed:
        shared[f"{name}_by_pk"] = GraphQLField(
            row,
            {
                row_type.columns[i].field: GraphQLArgument(
                    GraphQLNonNull(types.output(row_type.columns[i].scalar))
                )
                for i in sorted(row_type.key, key=lambda i: row_type.columns[i].field)
            },
            description=f'fetch data from the table: "{name}" using primary key columns',
        )
    return shared, {f"{name}_changes": _feed_field(row_type, row, where, types)}


def _feed_field(
    row_type: RowType, row: GraphQLObjectType, where: GraphQLArgument, types: Types
) -> GraphQLField:
    name = row_type.source
    columns = sorted(row_type.columns, key=lambda column: column.field)
    old = GraphQLObjectType(
        f"{name}_old",
        {column.field: GraphQLField(types.output(column.scalar)) for column in columns},
        description=f'a row of "{name}" before a change; a type of its own, so that caches keep the present row',
    )
    select_column = GraphQLEnumType(
        f"{name}_select_column",
        {column.field: column.field for column in columns},
        description=f'select columns of table "{name}"',
    )
    boolean = GraphQLNonNull(GraphQLBoolean)
    change = GraphQLObjectType(
        f"{name}_change",
        {
            "changed": GraphQLField(GraphQLNonNull(GraphQLList(GraphQLNonNull(select_column)))),
            "old": GraphQLField(old, description="the row before the change; null for an insert"),
            "operation": GraphQLField(GraphQLNonNull(types.operation)),
            "row": GraphQLField(row, description="the row after the change; null for a delete"),
        },
    )
    change_set = GraphQLObjectType(
        f"{name}_change_set",
        {
            "changes": GraphQLField(GraphQLNonNull(GraphQLList(GraphQLNonNull(change)))),
            "complete": GraphQLField(boolean, description="false on all but the last part of a large set"),
            "cursor": GraphQLField(GraphQLString, description="pass it as `after` to resume exactly here"),
            "phase": GraphQLField(GraphQLNonNull(types.phase)),
            "resync": GraphQLField(
                boolean, description="true for the net of a gap in the upstream's history"
            ),
        },
        description="a whole transaction, or the net of several",
    )
    return GraphQLField(
        GraphQLNonNull(change_set),
        {
            "after": GraphQLArgument(GraphQLString, description="resume after this cursor"),
            "snapshot": GraphQLArgument(
                GraphQLBoolean, default_value=True, description="begin with the rows as they are"
            ),
            "where": where,
        },
        description=f'a snapshot of the table: "{name}", then every change',
    )


def print_sdl(schema: GraphQLSchema) -> str:
    """The schema in GraphQL's own language."""
    return print_schema(schema)

"""The GraphQL schema of a configuration: Hasura v2's names and shapes, and one change feed per source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from graphql import (
    DirectiveLocation,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDirective,
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
    GraphQLSchema,
    GraphQLString,
    print_schema,
    specified_directives,
)

from tycostream.config.model import SourceConfig
from tycostream.errors import TycoError
from tycostream.graphql.comparisons import LISTS
from tycostream.graphql.exact import raw_scalar
from tycostream.graphql.naming import SUBSCRIPTIONS_ONLY, named, root_of, table_of
from tycostream.graphql.plan import Mode
from tycostream.json_shape import ListShape, Shape
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, Scalar

_ORDER_BY: Final = {
    "asc": "in ascending order, nulls last",
    "asc_nulls_first": "in ascending order, nulls first",
    "asc_nulls_last": "in ascending order, nulls last",
    "desc": "in descending order, nulls first",
    "desc_nulls_first": "in descending order, nulls first",
    "desc_nulls_last": "in descending order, nulls last",
}
_PHASES: Final = {
    "live": "a change that just happened",
    "ready": "the snapshot is complete: show it now",
    "reset": "a new snapshot follows: keep what you show until it is ready",
    "snapshot": "a part of the rows as they are",
}
_OPERATIONS: Final = {
    "delete": "the row is gone, or can no longer be seen",
    "insert": "the row is new, or can be seen now",
    "update": "the row changed",
}
_STRATEGIES: Final = {
    "debounce": "after so many quiet milliseconds, at the latest after ten times as many",
    "throttle": "the first change at once, then at most one set in so many milliseconds",
    "window": "at the end of every window of so many milliseconds; the cheapest",
}
_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_SUFFIXES: Final = ("", "_bool_exp", "_order_by", "_change_set", "_change", "_old", "_select_column")
_OPERATORS: Final = {
    "_like": "does the column match the given pattern",
    "_nlike": "does the column NOT match the given pattern",
    "_ilike": "does the column match the given case-insensitive pattern",
    "_nilike": "does the column NOT match the given case-insensitive pattern",
    "_similar": "does the column match the given SQL regular expression",
    "_nsimilar": "does the column NOT match the given SQL regular expression",
    "_regex": "does the column match the given POSIX regular expression, case sensitive",
    "_nregex": "does the column NOT match the given POSIX regular expression, case sensitive",
    "_iregex": "does the column match the given POSIX regular expression, case insensitive",
    "_niregex": "does the column NOT match the given POSIX regular expression, case insensitive",
    "_contains": "does the column contain the given value",
    "_contained_in": "is the column contained in the given value",
    "_has_key": "does the string exist as a top-level key in the column",
    "_has_keys_any": "do any of these strings exist as top-level keys in the column",
    "_has_keys_all": "do all of these strings exist as top-level keys in the column",
}
NO_SOURCES: Final[Mapping[str, SourceConfig]] = MappingProxyType({})
_BUILT_IN = {"Int": GraphQLInt, "Float": GraphQLFloat, "String": GraphQLString, "Boolean": GraphQLBoolean}


def _described_enum(name: str, description: str, values: dict[str, str]) -> GraphQLEnumType:
    described = {value: GraphQLEnumValue(value, description=text) for value, text in values.items()}
    return GraphQLEnumType(name, described, description=description)


def _enum_value(label: str) -> bool:
    """Whether GraphQL can have ``label`` as an enum's value."""
    return bool(_NAME.fullmatch(label)) and label not in ("true", "false", "null") and label[:2] != "__"


def _taken(name: str) -> TycoError:
    return TycoError(
        "type-name-taken",
        f"{name!r} is a type of the configuration, and the type of a column in the database too",
        hint="give the type in `types:` another name",
    )


class Types:
    """The types made so far, by name: scalars and comparison inputs are shared by all sources.

    ``sources``: what the configuration says of those that are not called as they are by default.
    """

    def __init__(self, sources: Mapping[str, SourceConfig]) -> None:
        self._sources = sources
        self._outputs: dict[str, Any] = dict(_BUILT_IN)
        self._inputs: dict[str, Any] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._comparisons: dict[str, GraphQLInputObjectType] = {}
        self._select_columns: dict[str, GraphQLEnumType] = {}
        self.order_by = GraphQLEnumType(
            "order_by",
            {name: GraphQLEnumValue(name, description=text) for name, text in _ORDER_BY.items()},
            description="column ordering options",
        )
        self.phase = _described_enum("change_phase", "where a change set stands in its feed", _PHASES)
        self.operation = _described_enum("change_operation", "what happened to a row", _OPERATIONS)

    def source(self, row_type: RowType) -> SourceConfig:
        """What the configuration says of a source."""
        return self._sources.get(row_type.source) or SourceConfig(name=row_type.source)

    def table(self, row_type: RowType) -> str:
        """The table as descriptions name it."""
        return table_of(self.source(row_type))

    def output(self, scalar: Scalar) -> Any:
        """The output type of a scalar."""
        if scalar.element is not None:
            return GraphQLList(GraphQLNonNull(self.output(scalar.element)))
        name = scalar.graphql
        if scalar.enum is not None and self._labels.setdefault(name, scalar.enum) != scalar.enum:
            raise TycoError(
                "enum-ambiguous",
                f"there are two enums called {name!r} with different labels",
                hint="give the columns an enum of the configuration, in `columns:` and `enums:`",
            )
        if isinstance(self._outputs.get(name), GraphQLObjectType):
            raise _taken(name)
        if name not in self._outputs:
            # a database's labels may be any text; Hasura too makes such an enum a scalar
            if scalar.enum is not None and all(map(_enum_value, scalar.enum)):
                self._outputs[name] = GraphQLEnumType(name, {label: label for label in scalar.enum})
            else:
                self._outputs[name] = raw_scalar(name)
        return self._outputs[name]

    def column(self, column: Column) -> Any:
        """The output type of a column."""
        return self.output(column.scalar) if column.document is None else self._shaped(column.document)

    def _shaped(self, shape: Shape) -> Any:
        """The output type of a JSON value; whatever is in it may be null, for it may not fit."""
        if isinstance(shape, ListShape):
            return GraphQLList(self._shaped(shape.item))
        if isinstance(shape, Scalar):
            return self.output(shape)
        name = shape.name
        if name not in self._outputs:
            self._outputs[name] = GraphQLObjectType(
                name,
                lambda: {key: GraphQLField(self._shaped(each)) for key, each in sorted(shape.fields.items())},
                description=f'"{name}", read from JSON; what does not fit is null, and told in `errors`',
            )
        return self._object(name)

    def _object(self, name: str) -> GraphQLObjectType:
        found = self._outputs[name]
        if not isinstance(found, GraphQLObjectType):
            raise _taken(name)
        return found

    def select_column(self, row_type: RowType) -> GraphQLEnumType:
        """``T_select_column``: the columns by name."""
        name = row_type.source
        if name not in self._select_columns:
            self._select_columns[name] = GraphQLEnumType(
                f"{name}_select_column",
                {
                    field: GraphQLEnumValue(field, description="column name")
                    for field in sorted(column.field for column in row_type.columns)
                },
                description=f'select columns of table "{self.table(row_type)}"',
            )
        return self._select_columns[name]

    def refuse_clash(self, row_type: RowType) -> None:
        """The database names the types of columns, the configuration those of sources: they may meet here first."""
        for suffix in _SUFFIXES:
            if (name := row_type.source + suffix) in self._outputs:
                raise TycoError(
                    "type-name-taken",
                    f"the type {name!r} of a column is also a type of source {row_type.source!r}",
                    hint="rename the source; its `table:` may stay",
                )

    def comparison(self, scalar: Scalar) -> GraphQLInputObjectType:
        """``<Scalar>_comparison_exp`` with the operators that are exact for it."""
        name = scalar.comparison
        if name not in self._comparisons:
            fields = {
                op: GraphQLInputField(self._operand(scalar, op), description=_OPERATORS.get(op))
                for op in sorted(scalar.operators)
            }
            self._comparisons[name] = GraphQLInputObjectType(
                name,
                fields,
                description=f'Boolean expression to compare columns of type "{(scalar.element or scalar).graphql}". '
                "All fields are combined with logical 'AND'.",
            )
        return self._comparisons[name]

    def _operand(self, scalar: Scalar, operator: str) -> Any:
        """The type of an operator's value."""
        if operator == "_is_null":
            return GraphQLBoolean
        if operator == "_cast":
            return self._cast(scalar)
        value = GraphQLString if operator.startswith("_has_key") else self.output(scalar)
        return GraphQLList(GraphQLNonNull(value)) if operator in LISTS else value

    def _cast(self, scalar: Scalar) -> GraphQLInputObjectType:
        """``<Scalar>_cast_exp``: the types whose operators a column has after a cast."""
        name = f"{scalar.graphql}_cast_exp"
        if name not in self._comparisons:
            text = self.comparison(SCALARS["text"])
            self._comparisons[name] = GraphQLInputObjectType(name, {"String": GraphQLInputField(text)})
        return self._comparisons[name]


def build_schema(
    row_types: Sequence[RowType],
    *,
    sources: Mapping[str, SourceConfig] = NO_SOURCES,
    stringify_numbers: bool = False,
) -> GraphQLSchema:
    """The schema of all sources. ``stringify_numbers`` changes values, not types: as in Hasura.

    ``sources``: what the configuration says of them, by name; a source that is not there has nothing said of it.
    """
    types = Types(sources)
    subscription: dict[str, GraphQLField] = {}
    for row_type in row_types:
        subscription |= named(types.source(row_type), _source_fields(row_type, types))
    query = {
        name: field for name, field in subscription.items() if root_of(field).mode not in SUBSCRIPTIONS_ONLY
    }
    for row_type in row_types:
        types.refuse_clash(row_type)
    if not query:
        query = {"no_queries_available": GraphQLField(GraphQLNonNull(GraphQLString))}
    directives = [*specified_directives, *_directives()]
    schema = GraphQLSchema(
        GraphQLObjectType("query_root", dict(sorted(query.items()))),
        subscription=GraphQLObjectType("subscription_root", dict(sorted(subscription.items())))
        if subscription
        else None,
        directives=directives,
    )
    # Hasura introspects in the order of names; sorting the map costs nothing, lexicographic_sort_schema a second schema
    schema.type_map = dict(sorted(schema.type_map.items()))
    return schema


def _directives() -> list[GraphQLDirective]:
    strategy = _described_enum("coalesce_strategy", "how @coalesce spends its milliseconds", _STRATEGIES)
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
        GraphQLDirective(
            "_multiple_top_level_fields",
            [DirectiveLocation.SUBSCRIPTION],
            description="allow several root fields in this subscription",
        ),
    ]


def _arguments(column: Column) -> dict[str, GraphQLArgument]:
    """What the field of a column takes."""
    if column.scalar.name not in ("json", "jsonb") or column.document is not None:
        return {}
    return {"path": GraphQLArgument(GraphQLString, description="JSON select path")}


def _source_fields(row_type: RowType, types: Types) -> dict[Mode, GraphQLField]:
    """The root fields of a source."""
    name, table = row_type.source, types.table(row_type)
    columns = sorted(row_type.columns, key=lambda column: column.field)
    row = GraphQLObjectType(
        name,
        {
            column.field: GraphQLField(
                types.column(column) if column.nullable else GraphQLNonNull(types.column(column)),
                _arguments(column),
                description=column.comment,
            )
            for column in columns
        },
        description=row_type.comment or f'columns and relationships of "{table}"',
    )
    ordered = [column for column in columns if "_gt" in column.scalar.operators]
    bool_exp: GraphQLInputObjectType = GraphQLInputObjectType(
        f"{name}_bool_exp",
        lambda: dict(
            sorted(
                {
                    **{
                        column.field: GraphQLInputField(types.comparison(column.scalar)) for column in columns
                    },
                    "_and": GraphQLInputField(GraphQLList(GraphQLNonNull(bool_exp))),
                    "_not": GraphQLInputField(bool_exp),
                    "_or": GraphQLInputField(GraphQLList(GraphQLNonNull(bool_exp))),
                }.items()
            )
        ),
        description=f'Boolean expression to filter rows from the table "{table}". '
        "All fields are combined with a logical 'AND'.",
    )
    where = GraphQLArgument(bool_exp, description="filter the rows returned")
    arguments = {
        "limit": GraphQLArgument(GraphQLInt, description="limit the number of rows returned"),
        "offset": GraphQLArgument(GraphQLInt, description="skip the first n rows. Use only with order_by"),
    }
    if ordered:
        order_by = GraphQLInputObjectType(
            f"{name}_order_by",
            {column.field: GraphQLInputField(types.order_by) for column in ordered},
            description=f'Ordering options when selecting data from "{table}".',
        )
        arguments["order_by"] = GraphQLArgument(
            GraphQLList(GraphQLNonNull(order_by)), description="sort the rows by one or more columns"
        )
        distinct = GraphQLList(GraphQLNonNull(types.select_column(row_type)))
        arguments["distinct_on"] = GraphQLArgument(distinct, description="distinct select on columns")
    arguments["where"] = where
    arguments = dict(sorted(arguments.items()))
    fields = {
        Mode.LIST: GraphQLField(
            GraphQLNonNull(GraphQLList(GraphQLNonNull(row))),
            arguments,
            description=f'fetch data from the table: "{table}"',
        )
    }
    # where equality is not ours to decide, a key cannot be looked up
    if row_type.keyed and all("_eq" in row_type.columns[i].scalar.operators for i in row_type.key):
        fields[Mode.BY_PK] = GraphQLField(
            row,
            {
                row_type.columns[i].field: GraphQLArgument(
                    GraphQLNonNull(types.output(row_type.columns[i].scalar))
                )
                for i in sorted(row_type.key, key=lambda i: row_type.columns[i].field)
            },
            description=f'fetch data from the table: "{table}" using primary key columns',
        )
    fields[Mode.CHANGES] = _feed_field(row_type, row, where, types)
    return fields


def _feed_field(
    row_type: RowType, row: GraphQLObjectType, where: GraphQLArgument, types: Types
) -> GraphQLField:
    name, table = row_type.source, types.table(row_type)
    columns = sorted(row_type.columns, key=lambda column: column.field)
    old = GraphQLObjectType(
        f"{name}_old",
        {column.field: GraphQLField(types.column(column), _arguments(column)) for column in columns},
        description=f'a row of "{table}" before a change; a type of its own, so that caches keep the present row',
    )
    select_column = types.select_column(row_type)
    boolean = GraphQLNonNull(GraphQLBoolean)
    change = GraphQLObjectType(
        f"{name}_change",
        {
            "changed": GraphQLField(
                GraphQLNonNull(GraphQLList(GraphQLNonNull(select_column))),
                description="the columns that an update changed, selected or not",
            ),
            "old": GraphQLField(old, description="the row before the change; null for an insert"),
            "operation": GraphQLField(
                GraphQLNonNull(types.operation), description="what happened, as far as this client can see"
            ),
            "row": GraphQLField(row, description="the row after the change; null for a delete"),
        },
        description=f'what happened to one row of "{table}"',
    )
    change_set = GraphQLObjectType(
        f"{name}_change_set",
        {
            "changes": GraphQLField(
                GraphQLNonNull(GraphQLList(GraphQLNonNull(change))), description="each row once"
            ),
            "complete": GraphQLField(boolean, description="false on all but the last part of a large set"),
            "cursor": GraphQLField(
                GraphQLString, description="pass it as `after` to resume exactly here; null until ready"
            ),
            "phase": GraphQLField(
                GraphQLNonNull(types.phase), description="where this set stands in its feed"
            ),
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
        description=f'a snapshot of the table: "{table}", then every change',
    )


def print_sdl(schema: GraphQLSchema) -> str:
    """The schema in GraphQL's own language."""
    return print_schema(schema)

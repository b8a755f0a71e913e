"""What one source has in the schema: its types by name and its root fields, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, cast

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLString,
)

from tycostream.config.access import QUERY_ROOTS, SUBSCRIPTION_ROOTS
from tycostream.graphql import aggregate_types, feed_types, relationship_types, stream_types
from tycostream.graphql.naming import branded, root_key
from tycostream.graphql.plan import Mode
from tycostream.graphql.relationship_types import Related
from tycostream.graphql.root_fields import root_field
from tycostream.graphql.shared_types import Types
from tycostream.graphql.typed import InputType
from tycostream.rows import Column, RowType

Maker = Callable[[], GraphQLNamedType]


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a source there is for a role. Root fields go by the keys of ``custom_root_fields``."""

    aggregate: bool = True
    query_roots: frozenset[str] = frozenset(QUERY_ROOTS)
    subscription_roots: frozenset[str] = frozenset(SUBSCRIPTION_ROOTS)


EVERYTHING: Final = Shown()


class SourceTypes(Mapping[str, GraphQLNamedType]):
    """The types of a source by name, those that its schema has: what nothing leads to is not there.

    ``related``: the relationships, and the types of the sources that they lead to.
    """

    def __init__(self, row_type: RowType, shared: Types, related: Related, shown: Shown = EVERYTHING) -> None:
        self.row_type = row_type
        self.shared = shared
        self.related = related
        self.name = row_type.source
        self.table = shared.table(row_type)
        self.in_arrays = row_type.source in related.in_arrays
        self._shown = shown
        self._root_fields: dict[Mode, GraphQLField] = {}

    def __getitem__(self, name: str) -> GraphQLNamedType:
        found = self._types[name]
        if isinstance(found, GraphQLNamedType):
            return found
        made = self._types[name] = found()
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __contains__(self, name: object) -> bool:
        return name in self._types

    @cached_property
    def _types(self) -> dict[str, Maker | GraphQLNamedType]:
        """Each type, or what makes it."""
        name, roots = self.name, self.roots
        listed = self.in_arrays or not roots.keys().isdisjoint((Mode.LIST, Mode.AGGREGATE))
        types: dict[str, Maker | GraphQLNamedType] = {name: self._row, f"{name}_bool_exp": self._bool_exp}
        if self.ordered:
            types[f"{name}_order_by"] = self._order_by
        if self.aggregated:
            types |= aggregate_types.results(self)
        if self.compared:
            types |= aggregate_types.inputs(self)
        if Mode.STREAM in roots:
            types |= stream_types.cursors(self)
        if Mode.CHANGES in roots:
            types |= feed_types.sets(self)
        if (self.ordered and listed) or self.aggregated or Mode.CHANGES in roots:
            types[f"{name}_select_column"] = self._select_column
        return types

    # what there is

    @cached_property
    def columns(self) -> list[Column]:
        """By the names of their fields."""
        return sorted(self.row_type.columns, key=lambda column: column.field)

    @property
    def key(self) -> list[Column]:
        """The columns of the key, by the names of their fields."""
        found = [self.row_type.columns[i] for i in self.row_type.key]
        return sorted(found, key=lambda column: column.field)

    @cached_property
    def ordered(self) -> list[Column]:
        """The columns whose types have an order."""
        return [column for column in self.columns if "_gt" in column.scalar.operators]

    @cached_property
    def functions(self) -> dict[str, list[Column]]:
        """The aggregate functions that can be asked for, each with the columns that it is of; by name."""
        found = {name: aggregate_types.columns_of(name, self.columns) for name in aggregate_types.FUNCTIONS}
        return {name: columns for name, columns in found.items() if columns}

    @property
    def aggregated(self) -> bool:
        """Whether aggregates over its rows can be asked for somewhere."""
        return self._shown.aggregate and (self.in_arrays or Mode.AGGREGATE in self.roots)

    @property
    def compared(self) -> bool:
        """Whether conditions and orders can be about aggregates over its rows."""
        return self._shown.aggregate and self.in_arrays

    @cached_property
    def roots(self) -> dict[Mode, str]:
        """The modes of its root fields, by query or subscription, and what the fields are called."""
        names = self.shared.source(self.row_type).root_fields
        keys = self._shown.query_roots | self._shown.subscription_roots
        return {mode: names[key] for mode in self._modes() if (key := root_key(mode)) in keys}

    def _modes(self) -> Iterator[Mode]:
        yield Mode.LIST
        if self._shown.aggregate:
            yield Mode.AGGREGATE
        # where equality is not ours to decide, a key cannot be looked up
        if self.row_type.keyed and all("_eq" in column.scalar.operators for column in self.key):
            yield Mode.BY_PK
        if self.ordered:
            yield Mode.STREAM
        yield Mode.CHANGES

    def query_fields(self) -> dict[str, Mode]:
        """The names of its fields of queries."""
        return self._fields_of(self._shown.query_roots)

    def subscription_fields(self) -> dict[str, Mode]:
        """The names of its fields of subscriptions."""
        return self._fields_of(self._shown.subscription_roots)

    def _fields_of(self, keys: frozenset[str]) -> dict[str, Mode]:
        return {name: mode for mode, name in self.roots.items() if root_key(mode) in keys}

    # types

    @property
    def row(self) -> GraphQLObjectType:
        """``T``: a row."""
        return cast(GraphQLObjectType, self[self.name])

    @property
    def bool_exp(self) -> GraphQLInputObjectType:
        """``T_bool_exp``: a condition on a row."""
        return self.input_type("_bool_exp")

    @property
    def select_column(self) -> GraphQLEnumType:
        """``T_select_column``: the columns by name."""
        return cast(GraphQLEnumType, self[f"{self.name}_select_column"])

    def object_type(self, end: str) -> GraphQLObjectType:
        """The object type that is called as the source is, and ``end``."""
        return cast(GraphQLObjectType, self[self.name + end])

    def input_type(self, end: str) -> GraphQLInputObjectType:
        """The input type that is called as the source is, and ``end``."""
        return cast(GraphQLInputObjectType, self[self.name + end])

    def _row(self) -> GraphQLObjectType:
        def fields() -> dict[str, GraphQLField]:
            columns = {column.field: self._column(column) for column in self.row_type.columns}
            return dict(sorted((columns | relationship_types.fields(self)).items()))

        # classes of graphql-core's own for this and the columns' enum: they look at the names, letter by letter
        return GraphQLObjectType(
            self.name,
            fields,
            description=self.row_type.comment or f'columns and relationships of "{self.table}"',
        )

    def _column(self, column: Column) -> GraphQLField:
        output = self.shared.column(column)
        if not column.nullable:
            output = self.shared.required(output)
        return self.column_field(column, output, column.comment)

    def column_field(self, column: Column, output: object, description: str | None) -> GraphQLField:
        """The field of a column of a row."""
        if column.scalar.name not in ("json", "jsonb") or column.document is not None:
            return self.shared.field(output, description)
        path = {"path": self.shared.argument(GraphQLString, "JSON select path")}
        return GraphQLField(cast(GraphQLObjectType, output), path, description=description)

    def _bool_exp(self) -> GraphQLInputObjectType:
        types = self.shared

        def fields() -> dict[str, GraphQLInputField]:
            clauses = {
                "_and": types.input_field(types.list_of(bool_exp), None),
                "_not": types.input_field(bool_exp, None),
                "_or": types.input_field(types.list_of(bool_exp), None),
            }
            columns = {
                column.field: types.input_field(types.comparison(column.scalar), None)
                for column in self.columns
            }
            return dict(sorted((columns | clauses | relationship_types.conditions(self)).items()))

        bool_exp = InputType(
            f"{self.name}_bool_exp",
            fields,
            f'Boolean expression to filter rows from the table "{self.table}". '
            "All fields are combined with a logical 'AND'.",
        )
        return bool_exp

    def _order_by(self) -> GraphQLInputObjectType:
        ordered = self.shared.input_field(self.shared.order_by, None)

        def fields() -> dict[str, GraphQLInputField]:
            columns = {column.field: ordered for column in self.ordered}
            return dict(sorted((columns | relationship_types.orders(self)).items()))

        return InputType(
            f"{self.name}_order_by",
            fields,
            f'Ordering options when selecting data from "{self.table}".',
        )

    def _select_column(self) -> GraphQLEnumType:
        return GraphQLEnumType(
            f"{self.name}_select_column",
            lambda: {column.field: self.shared.column_value(column.field) for column in self.columns},
            description=f'select columns of table "{self.table}"',
        )

    # fields

    @cached_property
    def arguments(self) -> dict[str, GraphQLArgument]:
        """What a list of its rows takes, by name."""
        types = self.shared
        arguments = {
            "limit": types.argument(GraphQLInt, "limit the number of rows returned"),
            "offset": types.argument(GraphQLInt, "skip the first n rows. Use only with order_by"),
            "where": self.where,
        }
        if self.ordered:
            order = types.list_of(self.input_type("_order_by"))
            arguments["order_by"] = types.argument(order, "sort the rows by one or more columns")
            distinct = types.list_of(self.select_column)
            arguments["distinct_on"] = types.argument(distinct, "distinct select on columns")
        return dict(sorted(arguments.items()))

    @cached_property
    def where(self) -> GraphQLArgument:
        """The condition that whatever is about its rows takes."""
        return self.shared.argument(self.bool_exp, "filter the rows returned")

    def root(self, mode: Mode) -> GraphQLField:
        """The root field of a mode: one object for queries and subscriptions."""
        if mode not in self._root_fields:
            field = root_field(self, mode)
            self._root_fields[mode] = branded(self.shared.source(self.row_type), mode, field)
        return self._root_fields[mode]

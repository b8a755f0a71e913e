"""The types that sources share: scalars, enums, object types for JSON, comparisons."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
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
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLString,
)

from tycostream.config.model import SourceConfig
from tycostream.config.schema_names import owners
from tycostream.errors import TycoError
from tycostream.graphql.comparisons import LISTS
from tycostream.graphql.exact import raw_scalar
from tycostream.graphql.naming import table_of
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
_CURSOR_ORDERING: Final = {
    "ASC": "ascending ordering of the cursor",
    "DESC": "descending ordering of the cursor",
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
_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
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
_BUILT_IN = {"Int": GraphQLInt, "Float": GraphQLFloat, "String": GraphQLString, "Boolean": GraphQLBoolean}


LABELS: Final = "tycostream.labels"  # among an enum's extensions, in order


def described_enum(name: str, description: str, values: dict[str, str]) -> GraphQLEnumType:
    """An enum whose values are told about."""
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


def _output(name: str, labels: tuple[str, ...] | None) -> GraphQLScalarType | GraphQLEnumType:
    """The type of a column. A database's labels may be any text, or none: Hasura too makes such an enum a scalar."""
    made: GraphQLScalarType | GraphQLEnumType
    if labels and all(map(_enum_value, labels)):
        made = GraphQLEnumType(name, {label: label for label in sorted(labels)})
    else:
        made = raw_scalar(name)
    if labels is not None:  # the schema lists values by name, and their order is what sorts
        made.extensions = {LABELS: labels}
    return made


def _field(output: Any, description: str | None) -> GraphQLField:
    return GraphQLField(output, description=description)


def _input_field(value: Any, description: str | None) -> GraphQLInputField:
    return GraphQLInputField(value, description=description)


def _argument(value: Any, description: str | None) -> GraphQLArgument:
    return GraphQLArgument(value, description=description)


def _column_value(field: str) -> GraphQLEnumValue:
    return GraphQLEnumValue(field, description="column name")


class Types:
    """What sources share, made once: scalars, enums, comparisons, and fields that are the same wherever they stand.

    ``sources``: what the configuration says of those that are not called as they are by default.

    A field does not know its own name nor whose it is, so one of a type and a description is enough: of a thousand
    sources each object counts. ``column_value`` is an enum's, which has its name for a value.
    """

    def __init__(self, sources: Mapping[str, SourceConfig]) -> None:
        self._sources = sources
        self._outputs: dict[str, Any] = {}
        self._comparisons: dict[str, GraphQLInputObjectType] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self.required: Callable[[Any], Any] = cache(GraphQLNonNull)
        self.optional_list: Callable[[Any], Any] = cache(GraphQLList)
        self.field: Callable[[Any, str | None], GraphQLField] = cache(_field)
        self.input_field: Callable[[Any, str | None], GraphQLInputField] = cache(_input_field)
        self.argument: Callable[[Any, str | None], GraphQLArgument] = cache(_argument)
        self.column_value: Callable[[str], GraphQLEnumValue] = cache(_column_value)
        self.cursor_ordering = described_enum(
            "cursor_ordering", "ordering argument of a cursor", _CURSOR_ORDERING
        )
        self.order_by = described_enum("order_by", "column ordering options", _ORDER_BY)
        self.phase = described_enum("change_phase", "where a change set stands in its feed", _PHASES)
        self.operation = described_enum("change_operation", "what happened to a row", _OPERATIONS)

    @property
    def named(self) -> dict[str, GraphQLNamedType]:
        """The scalars, enums, object types and comparisons that have been asked for."""
        return self._outputs | self._comparisons

    def list_of(self, item: Any) -> Any:
        """A list without nulls in it."""
        return self.optional_list(self.required(item))

    def source(self, row_type: RowType) -> SourceConfig:
        """What the configuration says of a source."""
        return self._sources.get(row_type.source) or SourceConfig(name=row_type.source)

    def table(self, row_type: RowType) -> str:
        """The table as descriptions name it."""
        return table_of(self.source(row_type))

    def output(self, scalar: Scalar) -> Any:
        """The output type of a scalar."""
        if scalar.element is not None:
            return self.list_of(self.output(scalar.element))
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
            self._outputs[name] = _BUILT_IN.get(name) or _output(name, scalar.enum)
        return self._outputs[name]

    def built_in(self, name: str) -> Any:
        """One of GraphQL's own scalars, by its name there."""
        return self._outputs.setdefault(name, _BUILT_IN[name])

    def column(self, column: Column) -> Any:
        """The output type of a column."""
        return self.output(column.scalar) if column.document is None else self._shaped(column.document)

    def _shaped(self, shape: Shape) -> Any:
        """The output type of a JSON value; whatever is in it may be null, for it may not fit."""
        if isinstance(shape, ListShape):
            return self.optional_list(self._shaped(shape.item))
        if isinstance(shape, Scalar):
            return self.output(shape)
        name = shape.name
        if name not in self._outputs:
            self._outputs[name] = GraphQLObjectType(
                name,
                lambda: {
                    key: self.field(self._shaped(each), None) for key, each in sorted(shape.fields.items())
                },
                description=f'"{name}", read from JSON; what does not fit is null, and told in `errors`',
            )
            for each in shape.fields.values():  # at once: what is within is in the schema too
                self._shaped(each)
        return self._object(name)

    def _object(self, name: str) -> GraphQLObjectType:
        found = self._outputs[name]
        if not isinstance(found, GraphQLObjectType):
            raise _taken(name)
        return found

    def refuse_clashes(self, sources: Collection[str]) -> None:
        """The database names the types of columns, the configuration those of sources: they may meet here first."""
        for name in self.named:
            if (source := next(filter(sources.__contains__, owners(name)), None)) is not None:
                raise TycoError(
                    "type-name-taken",
                    f"the type {name!r} of a column is also a type of source {source!r}",
                    hint="rename the source; its `table:` may stay",
                )

    def comparison(self, scalar: Scalar) -> GraphQLInputObjectType:
        """``<Scalar>_comparison_exp`` with the operators that are exact for it."""
        name = scalar.comparison
        if name not in self._comparisons:
            fields = {
                op: self.input_field(self._operand(scalar, op), _OPERATORS.get(op))
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
        return self.list_of(value) if operator in LISTS else value

    def _cast(self, scalar: Scalar) -> GraphQLInputObjectType:
        """``<Scalar>_cast_exp``: the types whose operators a column has after a cast."""
        name = f"{scalar.graphql}_cast_exp"
        if name not in self._comparisons:
            text = self.comparison(SCALARS["text"])
            self._comparisons[name] = GraphQLInputObjectType(name, {"String": self.input_field(text, None)})
        return self._comparisons[name]

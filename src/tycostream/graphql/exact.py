"""Numbers on their way through graphql-core, which knows float only, without losing a digit."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from graphql import (
    FloatValueNode,
    GraphQLError,
    GraphQLScalarType,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    ValueNode,
    value_from_ast_untyped,
)

# int() and str() refuse 4,300 digits with a ValueError about sys, in the midst of graphql-core; a Decimal takes them all
_INT_DIGITS_MAX: Final = 1000
_INT_BITS_MAX: Final = 3000


class ExactFloat(float):
    """A float to graphql-core, whose Float and Int refuse a Decimal; to our own scalars the number it stands for."""

    exact: Decimal | int

    def __new__(cls, exact: Decimal | int) -> ExactFloat:
        """The nearest float, or an infinity, with ``exact`` attached."""
        self = super().__new__(
            cls, Decimal(exact)
        )  # float() of a huge Decimal is inf, of a huge int an error
        self.exact = exact
        return self


def exact_floats(value: object) -> Any:
    """Decoded JSON with its Decimals (transports decode fractions so) and huge integers as ExactFloat."""
    if isinstance(value, Decimal):
        return ExactFloat(value)
    if isinstance(value, int) and value.bit_length() > _INT_BITS_MAX:
        return ExactFloat(value)
    if isinstance(value, Mapping):
        return {name: exact_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact_floats(item) for item in value]
    return value


def raw_scalar(name: str) -> GraphQLScalarType:
    """A scalar that hands its input on as it came; ``Scalar.literal`` judges it, with the column known."""
    return GraphQLScalarType(name, serialize=_same, parse_value=_value, parse_literal=_literal)


def _same(value: Any) -> Any:
    return value


def _value(value: Any) -> Any:
    """A variable's value with the numbers that it stands for, at any depth."""
    if isinstance(value, ExactFloat):
        return value.exact
    if isinstance(value, list):
        return [_value(item) for item in value]
    return {name: _value(item) for name, item in value.items()} if isinstance(value, dict) else value


def _literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    if isinstance(node, IntValueNode) and len(node.value) <= _INT_DIGITS_MAX:
        return int(node.value)
    if isinstance(node, IntValueNode | FloatValueNode):
        try:
            return Decimal(node.value)
        except InvalidOperation:  # an exponent beyond 10^18
            raise GraphQLError("the number is out of every range", node) from None
    if isinstance(node, ListValueNode):
        return [_literal(item, variables) for item in node.values]
    if isinstance(node, ObjectValueNode):
        return {field.name.value: _literal(field.value, variables) for field in node.fields}
    return _value(value_from_ast_untyped(node, variables))

"""``<Scalar>_comparison_exp``: one operator of one column and its value, to a predicate; Hasura's words for errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from tycostream.dataflow.containment import ContainedIn, Contains
from tycostream.dataflow.like import Like
from tycostream.dataflow.predicate import Compare, In, IsNull, Matcher, Matches, Predicate
from tycostream.dataflow.regex import Regex, similar
from tycostream.errors import RequestError
from tycostream.rows import Cell
from tycostream.scalars import Scalar

_COMPARE: Final = {"_eq": "eq", "_neq": "ne", "_lt": "lt", "_lte": "le", "_gt": "gt", "_gte": "ge"}
# Operators that hold a pattern, and whether they are the negation of the one that is meant.
_PATTERNS: Final[Mapping[str, tuple[Callable[[str], Matcher], bool]]] = {
    "_like": (Like, False),
    "_nlike": (Like, True),
    "_ilike": (partial(Like, insensitive=True), False),
    "_nilike": (partial(Like, insensitive=True), True),
    "_similar": (similar, False),
    "_nsimilar": (similar, True),
    "_regex": (Regex, False),
    "_nregex": (Regex, True),
    "_iregex": (partial(Regex, insensitive=True), False),
    "_niregex": (partial(Regex, insensitive=True), True),
}
_CONTAINMENT: Final[Mapping[str, Callable[[Cell], Matcher]]] = {
    "_contains": Contains,
    "_contained_in": ContainedIn,
}


def cell_of(scalar: Scalar, value: object, path: str) -> Cell:
    """A constant of a column's type; RequestError if it is none."""
    if value is None:
        raise null(scalar.graphql, path)
    return _checked(scalar.literal, value, path)


def comparison(scalar: Scalar, place: int, operator: str, value: Any, path: str) -> Predicate:
    """What ``operator`` says of the column at ``place``; RequestError if ``value`` is none of its values."""
    if value is None:
        raise null(argument_type(scalar, operator), path)
    if operator == "_is_null":
        return IsNull(place, negated=not value)
    if operator in ("_in", "_nin"):
        return In(place, frozenset(_cells(scalar, value, path)), negated=operator == "_nin")
    if operator in _PATTERNS:
        made, negated = _PATTERNS[operator]
        return Matches(place, _checked(made, cell_of(scalar, value, path), path), negated)
    if operator in _CONTAINMENT:
        return Matches(place, _CONTAINMENT[operator](cell_of(scalar, value, path)))
    return Compare(place, _COMPARE[operator], cell_of(scalar, value, path))


def argument_type(scalar: Scalar, operator: str) -> str:
    """The GraphQL type of an operator's value, as it is written."""
    if operator == "_is_null":
        return "Boolean"
    return f"[{scalar.graphql}!]" if operator in ("_in", "_nin") else scalar.graphql


def null(type_name: str, path: str) -> RequestError:
    """The refusal of an explicit null."""
    return RequestError("validation-failed", f"unexpected null value for type '{type_name}'", path=path)


def _cells(scalar: Scalar, values: Sequence[object], path: str) -> list[Cell]:
    return [cell_of(scalar, item, f"{path}[{n}]") for n, item in enumerate(values)]


def _checked(made: Callable[[Any], Any], value: object, path: str) -> Any:
    try:
        return made(value)
    except ValueError as error:
        raise RequestError("validation-failed", str(error), path=path) from None

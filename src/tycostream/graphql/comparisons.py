"""``<Scalar>_comparison_exp``: one operator of one column and its value, to a predicate; Hasura's words for errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from tycostream.dataflow.as_text import AsText
from tycostream.dataflow.containment import ContainedIn, Contains
from tycostream.dataflow.documents import DocumentContains, HasKeys
from tycostream.dataflow.like import Like
from tycostream.dataflow.predicate import Compare, In, IsNull, Matcher, Matches, Predicate, conjunction
from tycostream.dataflow.regex import Regex, similar
from tycostream.errors import RequestError
from tycostream.rows import Cell
from tycostream.scalars import SCALARS, Scalar

LISTS: Final = frozenset(
    {"_in", "_nin", "_has_keys_any", "_has_keys_all"}
)  # operators that take several values
_TEXT: Final = SCALARS["text"]
_COMPARE: Final = {"_eq": "eq", "_neq": "ne", "_lt": "lt", "_lte": "le", "_gt": "gt", "_gte": "ge"}
# Operators that hold a pattern, and whether they are the negation of the one that is meant.
PATTERNS: Final[Mapping[str, tuple[Callable[[str], Matcher], bool]]] = {
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
# Of arrays, and of documents.
_CONTAINMENT: Final[Mapping[str, tuple[Callable[[Cell], Matcher], Callable[[Cell], Matcher]]]] = {
    "_contains": (Contains, DocumentContains),
    "_contained_in": (ContainedIn, partial(DocumentContains, reverse=True)),
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
    if operator in PATTERNS:
        return _pattern(scalar, place, operator, value, path)
    if operator == "_cast":
        return _cast(scalar, place, value, path)
    if operator in _CONTAINMENT:
        made = _CONTAINMENT[operator][scalar.element is None]
        return Matches(place, _checked(made, cell_of(scalar, value, path), path))
    if operator == "_has_key":
        return Matches(place, HasKeys(frozenset((cell_of(_TEXT, value, path),))))
    if operator in ("_has_keys_any", "_has_keys_all"):
        return Matches(place, HasKeys(frozenset(_cells(_TEXT, value, path)), operator == "_has_keys_any"))
    return Compare(place, _COMPARE[operator], cell_of(scalar, value, path))


def _pattern(scalar: Scalar, place: int, operator: str, value: Any, path: str) -> Predicate:
    made, negated = PATTERNS[operator]
    pattern = scalar.text(cell_of(scalar, value, path))
    matcher = _checked(made, pattern, path)
    if scalar.loose:  # blanks at its end, which no comparison sees, are there for a pattern
        matcher = AsText(Matches(0, matcher), scalar.text)
    return Matches(place, matcher, negated)


def _cast(scalar: Scalar, place: int, value: Mapping[str, Any], path: str) -> Predicate:
    """``{String: {…}}``: what a String_comparison_exp says of the column's text."""
    parts: list[Predicate] = []
    for kind, operators in value.items():
        if operators is None:
            raise null(f"{kind}_comparison_exp", f"{path}.{kind}")
        for operator, item in operators.items():
            condition = comparison(_TEXT, 0, operator, item, f"{path}.{kind}.{operator}")
            if isinstance(condition, IsNull) or (
                isinstance(condition, In) and not condition.values
            ):  # a text is NULL where its column is
                parts.append(replace(condition, column=place))
            else:
                parts.append(Matches(place, AsText(condition, scalar.text)))
    return conjunction(parts)


def argument_type(scalar: Scalar, operator: str) -> str:
    """The GraphQL type of an operator's value, as it is written."""
    if operator == "_is_null":
        return "Boolean"
    if operator == "_cast":
        return f"{scalar.graphql}_cast_exp"
    name = "String" if operator.startswith("_has_key") else scalar.graphql
    return f"[{name}!]" if operator in LISTS else name


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

"""The ``where:`` of a permission, with a session's variables, to a predicate.

It reads as ``T_bool_exp`` does, with three differences. Columns go by their names in the database. A text that begins
with ``X-Hasura-`` stands for a variable of the session, which is a text: PostgreSQL would cast it to the column's type,
and so is it read here. And no row that a relationship leads to is filtered again: a permission says what it says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any, Final

from tycostream.array_text import NULL, array_reader
from tycostream.auth.permissions import Unfit
from tycostream.auth.session import Session
from tycostream.config.messages import did_you_mean
from tycostream.dataflow.predicate import (
    FALSE,
    Exists,
    IsNull,
    Predicate,
    conjunction,
    disjunction,
    negate,
)
from tycostream.errors import RequestError
from tycostream.graphql.comparisons import LISTS, comparison
from tycostream.graphql.source import Source
from tycostream.rows import Cell
from tycostream.scalars import SCALARS, Scalar, array_of

_PREFIX: Final = "x-hasura-"
_TRUE: Final = frozenset({"t", "true", "y", "yes", "on", "1"})  # as PostgreSQL reads a boolean
_FALSE: Final = frozenset({"f", "false", "n", "no", "off", "0"})
_DEPTH_MAX: Final = 30


class _Said(str):
    """The text of a session's variable, where a constant stands."""

    __slots__ = ()


def condition(source: Source, where: Mapping[str, Any], session: Session, read: dict[str, str]) -> Predicate:
    """The rows of ``source`` that ``where`` lets the session see. Variables that it reads are put into ``read``.

    RequestError ``not-found`` if the session lacks a variable that is read, ``data-exception`` if one is no value of
    its column's type; Unfit if the condition itself does not fit the columns.
    """
    return _Condition(session, read).of(source, where)


def fits(source: Source, where: Mapping[str, Any]) -> None:
    """Unfit if no session can be served by ``where``."""
    _Condition(None, {}).of(source, where)


class _Condition:
    """``session``: None only to look whether the condition fits; variables are then left out."""

    def __init__(self, session: Session | None, read: dict[str, str]) -> None:
        self._session = session
        self._read = read

    def of(self, source: Source, where: Mapping[str, Any], depth: int = 1) -> Predicate:
        if depth > _DEPTH_MAX:
            raise Unfit(f"`where` is nested deeper than {_DEPTH_MAX} levels")
        parts: list[Predicate] = []
        for name, inner in where.items():
            if name in ("_and", "_or"):
                listed = inner if isinstance(inner, (list, tuple)) else [inner]
                joined = conjunction if name == "_and" else disjunction
                parts.append(joined([self.of(source, each, depth + 1) for each in listed]))
            elif name == "_not":
                parts.append(negate(self.of(source, inner, depth + 1)))
            elif name in source.related:
                relationship, target = source.related[name]
                found = self.of(target, inner, depth + 1)
                parts.append(FALSE if found == FALSE else Exists(relationship.join, found))
            else:
                parts.append(self._column(source, name, inner))
        return conjunction(parts)

    def _column(self, source: Source, name: str, operators: Mapping[str, Any]) -> Predicate:
        columns = source.row_type.columns
        names = [column.name for column in columns]
        if name not in names:
            if name == "_exists":
                raise Unfit("`where` has _exists, which this version does not know")
            known = [*names, *source.related]
            guess = did_you_mean(name, known)
            raise Unfit(
                f"`where` has {name!r}, which is no column or relationship of {source.row_type.source}{guess}"
            )
        place = names.index(name)
        scalar = columns[place].scalar
        parts = []
        for operator, value in operators.items():
            if operator not in scalar.operators:
                raise Unfit(f"`where` compares {name!r} by {operator}, which its type {scalar.name} has not")
            found = self._comparison(_spoken(scalar), place, operator, value, name)
            parts += [] if found is None else [found]
        return conjunction(parts)

    def _comparison(
        self, scalar: Scalar, place: int, operator: str, value: Any, name: str
    ) -> Predicate | None:
        """None: it reads a variable, and there is no session."""
        variables = _variables_in(value)
        if _buried(operator, value):
            # as a plain text it would be unequal to everything, and beside _not let everybody see everything
            raise Unfit(f"`where` compares {name!r} by {operator} with a value that has a variable inside it")
        if variables and self._session is None:
            return None
        try:
            bound = self._bound(operator, value)
            if operator == "_is_null" and not isinstance(bound, bool):
                return IsNull(place, negated=not _truth(bound))
            return comparison(scalar, place, operator, bound, f"$.{name}.{operator}")
        except (RequestError, ValueError, TypeError, AttributeError) as error:
            said = error.message if isinstance(error, RequestError) else str(error)
            if isinstance(error, RequestError) and error.code == "not-found":
                raise
            if variables:
                named = " or ".join(f'"{each}"' for each in variables)
                raise RequestError(
                    "data-exception", f"the session variable {named} does not fit: {said}", path="$"
                ) from None
            raise Unfit(f"`where` compares {name!r} by {operator} with {value!r}: {said}") from None

    def _bound(self, operator: str, value: Any) -> Any:
        """The value of an operator with the texts of the session in it."""
        if operator == "_cast":
            return {
                kind: {inner: self._bound(inner, item) for inner, item in operators.items()}
                for kind, operators in value.items()
            }
        if operator in LISTS:
            if _is_variable(value):
                return _items(self._text(value))
            return [self._said(item) for item in value]
        return self._said(value)

    def _said(self, value: Any) -> Any:
        return _Said(self._text(value)) if _is_variable(value) else value

    def _text(self, written: str) -> str:
        assert self._session is not None
        name = written.lower()
        key = name.removeprefix(_PREFIX)
        found = self._session.role if key == "role" else self._session.variables.get(key)
        if found is None:
            raise RequestError("not-found", f'missing session variable: "{name}"', path="$")
        if key != "role":  # which is in the plan's key as it is
            self._read[key] = found
        return found


def _is_variable(value: object) -> bool:
    return isinstance(value, str) and value.lower().startswith(_PREFIX)


def _variables_in(value: Any) -> list[str]:
    """The variables that a value reads: it is one, or a list with some, or what a cast is compared with."""
    if isinstance(value, str):
        return [value.lower()] if _is_variable(value) else []
    if isinstance(value, Mapping):
        return [name for inner in value.values() for name in _variables_in(inner)]
    if isinstance(value, (list, tuple)):
        return [name for inner in value for name in _variables_in(inner)]
    return []


def _buried(operator: str, value: Any) -> bool:
    """Whether a variable stands where none is read: inside a document or an array, rather than for it."""
    if operator == "_cast":
        casts = value.values() if isinstance(value, Mapping) else ()
        return any(_buried(*each) for inner in casts if isinstance(inner, Mapping) for each in inner.items())
    items = value if operator in LISTS and isinstance(value, (list, tuple)) else (value,)
    return any(not isinstance(item, str) and bool(_variables_in(item)) for item in items)


def _items(text: str) -> list[_Said]:
    """The items of an array in PostgreSQL's own form, ``{1,2}``; ValueError if it is none.

    An item that is NULL is refused: it equals nothing, and beside it SQL's NOT IN is never true.
    """
    items, _ = array_reader(_Said)(text)
    if NULL in items:
        raise ValueError("an item of the array is NULL")
    return list(items)


def _truth(value: object) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ValueError("expected a boolean")
    return text in _TRUE


@cache
def _spoken(scalar: Scalar) -> Scalar:
    """``scalar`` whose literals may be the text of a variable too, which is then cast as PostgreSQL casts a text."""
    plain, cast = scalar.literal, _cast(scalar)

    def literal(value: object) -> Cell:
        return cast(str(value)) if type(value) is _Said else plain(value)

    return replace(scalar, literal=literal)


def _cast(scalar: Scalar) -> Callable[[str], Cell]:
    if scalar.element is not None:
        return array_of(replace(scalar.element, literal=_text_literal(_cast(scalar.element)))).literal
    if scalar.name in ("jsonb", "json"):
        return lambda text: scalar.literal(_document(text))
    return _truth if scalar is SCALARS["bool"] else scalar.literal


def _text_literal(cast: Callable[[str], Cell]) -> Callable[[object], Cell]:
    return lambda value: cast(str(value))


def _document(text: str) -> Any:
    """A JSON text, exact; ValueError if it is none."""

    def refused(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_float=Decimal, parse_constant=refused)

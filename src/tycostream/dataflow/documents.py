"""Conditions on jsonb beyond comparison: what a document holds, and which keys it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tycostream.json_text import Document, meaning

# Each container of the one may have to be compared with each of the other: a row's may be large, so a client's is not.
_NODES_MAX: Final = 1_000
_LISTED_MAX: Final = 20  # containers inside arrays: each is compared with each container of a row's array


@dataclass(frozen=True, slots=True)
class DocumentContains:
    """``document @> value``, or ``document <@ value`` if ``reverse``. ValueError if the value is too large."""

    value: Document
    reverse: bool = False
    _meaning: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        value = meaning(str(self.value))
        if _nodes(value) > _NODES_MAX:
            raise ValueError(f"a JSON value of more than {_NODES_MAX} members cannot be looked for")
        if _listed(value) > _LISTED_MAX:
            said = f"a JSON value with more than {_LISTED_MAX} arrays and objects inside arrays cannot be looked for"
            raise ValueError(said)
        object.__setattr__(self, "_meaning", value)

    def __call__(self, cell: str) -> bool:
        """Whether the cell's document contains the value, or is contained in it."""
        found = meaning(str(cell))
        return _root_contains(self._meaning, found) if self.reverse else _root_contains(found, self._meaning)


def _root_contains(whole: Any, part: Any) -> bool:
    if type(whole) is list and type(part) is not list and type(part) is not dict:
        return _contains(
            whole, [part]
        )  # an array contains a scalar that is one of its items, here and nowhere deeper
    return _contains(whole, part)


def _contains(whole: Any, part: Any) -> bool:
    kind = type(part)
    if type(whole) is not kind:
        return False
    if kind is dict:
        return len(part) <= len(whole) and all(
            name in whole and _contains(whole[name], value) for name, value in part.items()
        )
    if kind is list:
        scalars = {(type(item), item) for item in whole if type(item) not in _CONTAINERS}
        containers = [item for item in whole if type(item) in _CONTAINERS]
        return all(
            any(_contains(inner, item) for inner in containers)
            if type(item) in _CONTAINERS
            else (type(item), item) in scalars
            for item in part
        )
    return bool(whole == part)


_CONTAINERS: Final = (list, dict)


def _nodes(value: Any) -> int:
    """How many values there are, the value itself included. The value is a constant, which is not deep."""
    if type(value) is dict:
        return 1 + sum(map(_nodes, value.values()))
    return 1 + sum(map(_nodes, value)) if type(value) is list else 1


def _listed(value: Any) -> int:
    """How many arrays and objects stand in arrays, at any depth."""
    if type(value) is dict:
        return sum(map(_listed, value.values()))
    if type(value) is list:
        return sum((type(item) in _CONTAINERS) + _listed(item) for item in value)
    return 0


@dataclass(frozen=True, slots=True)
class HasKeys:
    """``document ?& keys``, or ``?|`` if ``any_of``: names of an object, string items of an array, or the string itself."""

    keys: frozenset[str]
    any_of: bool = False

    def __call__(self, cell: str) -> bool:
        """Whether the cell's document has all of the keys, or any."""
        found = meaning(str(cell))
        if type(found) is dict:
            has: set[str] = set(found)
        elif type(found) is list:
            has = {item for item in found if type(item) is str}
        else:
            has = {found} if type(found) is str else set()
        return not has.isdisjoint(self.keys) if self.any_of else has >= self.keys

"""The condition of a permission. Both sides write it alike but for ``_exists``, which names a table here and a source there.

A condition is carried whole or not at all: with a part left out it would let somebody see more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tycostream.metadata.ledger import Untranslatable
from tycostream.metadata.names import table_of
from tycostream.metadata.world import Tracked, World
from tycostream.scalars import CONTAINMENT, DOCUMENTS, ORDERED, PATTERNS

_COLUMNS: Final = frozenset(
    {"_ceq", "_cneq", "_cgt", "_clt", "_cgte", "_clte"}
)  # compare with another column
_OPERATORS: Final = ORDERED | PATTERNS | CONTAINMENT | DOCUMENTS | _COLUMNS
# Other spellings that Hasura takes.
_SPELLINGS: Final = {"_ne": "_neq", "_cne": "_cneq"}
_DIGITS_MAX: Final = 18  # a longer whole number stays a text in YAML, which is as good in a condition

# What `_table` says on one side → what it says on the other, and the table that it means.
_Exists = Callable[[object], tuple[object, Tracked]]


def condition_of(value: object, tracked: Tracked, world: World) -> dict[str, Any]:
    """A filter of metadata as ``where:``. Untranslatable says which part has no counterpart."""

    def exists(named: object) -> tuple[object, Tracked]:
        table = table_of(named, "_table of _exists")
        target = world.table(tracked.database, table)
        if target is None:
            raise Untranslatable(f"its _exists asks about {table}, which is not tracked")
        return target.source, target

    return _condition(value, tracked, exists)


def filter_of(value: object, tracked: Tracked, world: World) -> dict[str, Any]:
    """A ``where:`` as the filter of metadata. Untranslatable says which part has no counterpart."""

    def exists(named: object) -> tuple[object, Tracked]:
        target = world.source(str(named))
        if target is None or target.database != tracked.database:
            raise Untranslatable(
                f"its _exists asks about {named}, which is no table of the same database there"
            )
        return target.table.metadata, target

    return _condition(value, tracked, exists)


def _condition(value: object, tracked: Tracked, exists: _Exists) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Untranslatable(f"{value!r} is not a condition")
    found: dict[str, Any] = {}
    for written, inner in value.items():
        key = _underscored(written)
        if key in found:
            raise Untranslatable(f"it says {key} twice, as {written} too")
        if key in ("_and", "_or"):
            listed = inner if isinstance(inner, (list, tuple)) else [inner]
            found[key] = [_condition(one, tracked, exists) for one in listed]
        elif key == "_not":
            found[key] = _condition(inner, tracked, exists)
        elif key == "_exists":
            found[key] = _existing(inner, exists)
        elif key in tracked.relationships:
            found[key] = _related(key, inner, tracked, exists)
        elif key in tracked.unknown:
            raise Untranslatable(f"it asks about {key}: {tracked.unknown[key]}")
        elif key.startswith("_") and _is_word(written):
            raise Untranslatable(f"{written} is no condition of this version")
        else:
            found[key] = _column(inner)
    return found


def _is_word(written: str) -> bool:
    return written.startswith("$") or written in _OPERATORS


def _underscored(word: str) -> str:
    """``$eq`` is ``_eq``, and old names are the new ones."""
    spelled = f"_{word[1:]}" if word.startswith("$") and len(word) > 1 else word
    return _SPELLINGS.get(spelled, spelled)


def _existing(value: object, exists: _Exists) -> dict[str, Any]:
    inside = {_underscored(key): inner for key, inner in value.items()} if isinstance(value, Mapping) else {}
    if set(inside) != {"_table", "_where"}:
        raise Untranslatable("its _exists is not {_table: …, _where: …}")
    named, target = exists(inside["_table"])
    return {"_table": named, "_where": _condition(inside["_where"], target, exists)}


def _related(name: str, value: object, tracked: Tracked, exists: _Exists) -> dict[str, Any]:
    target = tracked.relationships[name]
    if target.database != tracked.database:
        raise Untranslatable(f"it asks about {name}, which leads to another database")
    return _condition(value, target, exists)


def _column(value: object) -> dict[str, Any]:
    """A column's operators; a value alone is what it must be equal to."""
    if not isinstance(value, Mapping):
        return {"_eq": _literal(value)}
    found: dict[str, Any] = {}
    for written, operand in value.items():
        key = _underscored(written)
        if key not in _OPERATORS:
            raise Untranslatable(f"{written} is no operator of this version")
        if key in found:
            raise Untranslatable(f"it says {key} twice, as {written} too")
        if key == "_cast":
            found[key] = {name: _column(inner) for name, inner in _mapping(operand).items()}
        else:
            found[key] = _literal(operand)
    return found


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise Untranslatable(f"{value!r} is not a mapping of a type to operators")
    return value


def _literal(value: object) -> Any:
    if isinstance(value, Mapping):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**_DIGITS_MAX:
        return str(value)
    return value

"""What somebody may have meant who wrote a name that is not there, found at a bounded cost.

graphql-core compares with every name that there is, for each name that is wrong and in time square in its length: over the
types of a thousand sources a document of twenty misspelt fragments took a minute.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from tycostream.graphql.lazy_schema import LazySchema

_LENGTH_MAX: Final = 64
_LOOKED_AT_MAX: Final = 20_000  # names, of which most are left aside at once: 2 ms
_COMPARED_MAX: Final = 200  # 3 ms
_OFF_BY: Final = 3  # in length
_TOLD_MAX: Final = 3
_WORDS_MAX: Final = 12  # of a type's name
_CLOSE: Final = 0.7


def suggestion(word: str, names: Iterable[str]) -> str:
    """``Did you mean 'side'?``, or nothing."""
    close = difflib.get_close_matches(word, list(_alike(word, names)), _TOLD_MAX, _CLOSE)
    if not close:
        return ""
    *others, last = [f"'{name}'" for name in close]
    return f"Did you mean {', '.join(others)} or {last}?" if others else f"Did you mean {last}?"


def _alike(word: str, names: Iterable[str]) -> Iterator[str]:
    """Of names, not too many, those that begin or end as ``word`` does and are about as long."""
    if len(word) > _LENGTH_MAX:
        return iter(())
    start, end = word[:2].lower(), word[-2:].lower()
    found = (
        name
        for name in islice(names, _LOOKED_AT_MAX)
        if abs(len(name) - len(word)) <= _OFF_BY and (name[:2].lower() == start or name[-2:].lower() == end)
    )
    return islice(found, _COMPARED_MAX)


class Meant:
    """Suggestions from the names of a schema, for the first that is asked for: the next ones are empty."""

    def __init__(self, schema: LazySchema) -> None:
        self._schema = schema
        self._asked = False

    def _of(self, word: str, names: Iterable[str]) -> str:
        if self._asked:
            return ""
        self._asked = True
        return suggestion(word, names)

    def field(self, type_name: str, word: str) -> str:
        """Of a type's fields."""
        return self._of(word, self._fields(type_name))

    def argument(self, type_name: str, field: str, word: str) -> str:
        """Of a field's arguments."""
        found = self._fields(type_name).get(field)
        return self._of(word, found.args if found is not None else ())

    def value(self, type_name: str, word: str) -> str:
        """Of an enum's values."""
        return self._of(word, getattr(self._schema.get_type(type_name), "values", ()))

    def type(self, word: str) -> str:
        """Of the types that sources share, and those of sources that the name begins with."""
        return self._of(word, self._types(word))

    def _fields(self, type_name: str) -> Mapping[str, Any]:
        return getattr(self._schema.get_type(type_name), "fields", None) or {}

    def _types(self, word: str) -> Iterator[str]:
        sources = self._schema.sources
        words = word.split("_", _WORDS_MAX)
        for count in range(1, len(words)):
            yield from sources.get("_".join(words[:count]), ())
        yield from self._schema.shared
        yield from sources

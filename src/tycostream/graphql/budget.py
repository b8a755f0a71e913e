"""What the arguments of one operation may cost: its comparisons, and the values that they compare with.

A variable can be used in a thousand places, so what counts is what is read there, not what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tycostream.config.limits import RoleLimits
from tycostream.errors import RequestError
from tycostream.graphql.comparisons import PATTERNS

_TEXT_CHARACTERS: Final = 256  # of a text, that cost as much as one value
_PATTERN_MAX: Final = 2_000  # characters; a longer one is refused for itself
_PATTERN_VALUES: Final = 100  # that a pattern costs, besides its characters: to compile one can take 2 ms


def values_in(value: object, most: int) -> int:
    """How many entries the objects and lists in ``value`` have, at any depth, long texts counted as several.

    More than ``most`` are not counted to the end.
    """
    found = 0
    waiting: list[Any] = [value]
    while waiting and found <= most:
        inner = waiting.pop()
        if isinstance(inner, str):
            found += len(inner) // _TEXT_CHARACTERS
        elif isinstance(inner, Mapping):
            found += len(inner)
            waiting += inner.values()
            waiting += inner  # a name can be long too
        elif isinstance(inner, list):
            found += len(inner)
            waiting += inner
    return found


class Budget:
    """Counts over all arguments of one operation. Every refusal names the setting."""

    def __init__(self, limits: RoleLimits) -> None:
        self._limits = limits
        self._conditions = 0
        self._values = 0

    def arguments(self, given: object) -> None:
        """The arguments of one more field, with all that is in them."""
        self._spend(values_in(given, self._limits.value_limit))

    def condition(self, path: str, operator: str = "", value: object = None) -> None:
        """One comparison more, or one more condition of another kind; ``path`` is that of its operator."""
        self._conditions += 1
        if self._conditions > self._limits.condition_limit:
            raise _refusal(
                f"more than {self._limits.condition_limit} comparisons in the conditions of an operation",
                path,
                "condition_limit",
                "many values of one column belong into one _in; ",
            )
        if isinstance(value, list) and len(value) > self._limits.list_limit:
            raise _refusal(f"a list of more than {self._limits.list_limit} values", path, "list_limit")
        if operator == "_cast" and isinstance(value, Mapping):
            for operators in filter(None, value.values()):
                for inner, its in operators.items():
                    self.condition(f"{path}.{inner}", inner, its)
        elif operator in PATTERNS and isinstance(value, str):
            self._spend(_PATTERN_VALUES + min(len(value), _PATTERN_MAX), path)

    def _spend(self, values: int, path: str = "$.variables") -> None:
        """So many values more. A document has not as many tokens: too many can only come from variables used often."""
        self._values += values
        if self._values > self._limits.value_limit:
            said = f"more than {self._limits.value_limit} values in the arguments of an operation"
            raise _refusal(said, path, "value_limit")


def _refusal(message: str, path: str, setting: str, advice: str = "") -> RequestError:
    hint = f"{advice}limits.{setting} is the limit"
    return RequestError("validation-failed", message, path=path, hint=hint, limit=setting)

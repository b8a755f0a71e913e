"""What the arguments of one operation may cost: its comparisons, and the values that they compare with.

A variable can be used in a thousand places, so what counts is what is compared, not what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tycostream.config.limits import RoleLimits
from tycostream.errors import RequestError

_TEXT_CHARACTERS: Final = 256  # of a text, that cost as much as one value


class Budget:
    """Counts over all conditions and orders of one operation; every refusal names the place and the setting."""

    def __init__(self, limits: RoleLimits) -> None:
        self._limits = limits
        self._conditions = 0
        self._values = 0

    def condition(self, path: str, value: object = None) -> None:
        """One comparison more, with ``value``."""
        self._conditions += 1
        if self._conditions > self._limits.condition_limit:
            raise _refusal(
                f"more than {self._limits.condition_limit} comparisons in the conditions of an operation",
                path,
                "condition_limit",
                "many values of one column belong into one _in; ",
            )
        self.values(path, value)

    def values(self, path: str, value: object) -> None:
        """``value`` more, and all that is in it."""
        waiting: list[Any] = [value]
        while waiting:
            inner = waiting.pop()
            self._values += 1
            if isinstance(inner, str):
                self._values += len(inner) // _TEXT_CHARACTERS
            elif isinstance(inner, Mapping):
                waiting += inner.values()
            elif isinstance(inner, list):
                if len(inner) > self._limits.list_limit:
                    raise _refusal(
                        f"a list of more than {self._limits.list_limit} values", path, "list_limit"
                    )
                waiting += inner
            if self._values > self._limits.value_limit:
                said = f"more than {self._limits.value_limit} values in the conditions and orders of an operation"
                raise _refusal(said, path, "value_limit")


def _refusal(message: str, path: str, setting: str, advice: str = "") -> RequestError:
    hint = f"{advice}limits.{setting} is the limit"
    return RequestError("validation-failed", message, path=path, hint=hint)

"""Regular expressions on RE2: in time linear in the text, whatever the pattern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from tycostream.dataflow.regex_syntax import re2_syntax, regex_of_similar

# An automaton grows as it sees texts, up to its bound. The two together bound what all patterns take: 128 MiB.
_BYTES_MAX: Final = 2**18
_COMPILED_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Regex:
    """``text ~ pattern``, or ``~*`` if it is ``insensitive``. ValueError, with the reason, for a pattern that is refused."""

    pattern: str
    insensitive: bool = False

    def __post_init__(self) -> None:
        _search(self.pattern, self.insensitive)

    def __call__(self, text: str) -> bool:
        """Whether ``text`` matches."""
        return _search(self.pattern, self.insensitive)(text.encode()) is not None


def similar(pattern: str) -> Regex:
    """``text SIMILAR TO pattern``. ValueError as for Regex."""
    return Regex(regex_of_similar(pattern))


@lru_cache(_COMPILED_MAX)
def _search(pattern: str, insensitive: bool) -> Callable[[bytes], Any]:
    import re2  # not at the top: it would cost every start 7 ms

    options = re2.Options()
    options.max_mem = _BYTES_MAX
    options.log_errors = False
    options.never_capture = True
    try:
        compiled = re2.compile(re2_syntax(pattern, insensitive=insensitive).encode(), options)
    except re2.error:
        raise ValueError("a regular expression that needs too much memory") from None
    search: Callable[[bytes], Any] = compiled.search
    return search

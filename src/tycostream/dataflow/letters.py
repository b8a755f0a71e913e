"""Upper and lower case, one character for one, as PostgreSQL's C.UTF-8 has it: Unicode's simple mappings.

Python's ``str.lower`` uses the full ones, where one letter may become two and a sigma depends on its neighbours.
"""

from __future__ import annotations

from typing import Final


def lower_of(character: str) -> str:
    """The small letter of a character, or itself."""
    small = character.lower()
    if len(small) == 1:
        return small
    return "i" if character == "\u0130" else character  # the only letter whose full mapping is longer


def upper_of(character: str) -> str:
    """The capital of a character, or itself."""
    capital = character.upper()
    if len(capital) > 1:  # Greek letters with an iota have one capital, and Unicode calls it a title
        capital = character.title()
    return capital if len(capital) == 1 else character


class _Lower(dict[int, str]):
    """What ``str.translate`` asks; filled as letters come along, for all of Unicode would take a third of a second."""

    def __missing__(self, code: int) -> str:
        self[code] = small = lower_of(chr(code))
        return small


_LOWER: Final = _Lower()


def lowered(text: str) -> str:
    """``lower(text)``; as long as ``text``."""
    return text.lower() if text.isascii() else text.translate(_LOWER)

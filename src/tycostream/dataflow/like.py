"""LIKE and ILIKE, exactly and without backtracking.

A pattern is pieces between its ``%``: the first stands at the text's beginning, the last at its end, and each of the
others is looked for after the one before it. Leftmost is right for all of them, since a ``%`` takes what is left over;
so each piece is searched for once. A regular expression with ``.*`` for every ``%`` would try all combinations.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from tycostream.dataflow.letters import lowered

PATTERN_MAX: Final = 2_000  # characters
_SEARCHED_MAX: Final = 256  # of a piece with _ inside it, which is tried at every place of a text
_SHARED_MAX: Final = 256  # equal patterns of different operations are one

_Piece = tuple[str | None, ...]  # characters; None: any one


@dataclass(frozen=True, slots=True)
class Like:
    """``text LIKE pattern``, or ILIKE if it is ``insensitive``. ValueError, with the reason, for a pattern that is refused."""

    pattern: str
    insensitive: bool = False
    _matches: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_matches", _matcher(self.pattern, self.insensitive))

    def __call__(self, text: str) -> bool:
        """Whether ``text`` matches."""
        return self._matches(text)


@lru_cache(_SHARED_MAX)
def _matcher(pattern: str, insensitive: bool) -> Callable[[str], bool]:
    if len(pattern) > PATTERN_MAX:
        raise ValueError(f"a pattern of more than {PATTERN_MAX} characters")
    matches = _compiled(_pieces(lowered(pattern) if insensitive else pattern))
    return (lambda text: matches(lowered(text))) if insensitive else matches


def _pieces(pattern: str) -> list[_Piece]:
    """What stands between the ``%``; a single one if there is none."""
    pieces: list[_Piece] = []
    piece: list[str | None] = []
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            pieces.append(tuple(piece))
            piece = []
        elif character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise ValueError("LIKE pattern must not end with escape character")
            piece.append(escaped)
        else:
            piece.append(None if character == "_" else character)
    return [*pieces, tuple(piece)]


def _compiled(pieces: list[_Piece]) -> Callable[[str], bool]:
    if len(pieces) == 1:
        return _equals(pieces[0])
    head, tail = pieces[0], pieces[-1]
    starts, ends = _at(head), _at(tail)
    finders = [_finder(piece) for piece in pieces[1:-1] if piece]
    shortest = sum(map(len, pieces))

    def matches(text: str) -> bool:
        if len(text) < shortest:
            return False
        place, end = len(head), len(text) - len(tail)
        if not starts(text, 0) or not ends(text, end):
            return False
        for find in finders:
            place = find(text, place, end)
            if place < 0:
                return False
        return True

    return matches


def _equals(piece: _Piece) -> Callable[[str], bool]:
    size, at = len(piece), _at(piece)
    return lambda text: len(text) == size and at(text, 0)


def _at(piece: _Piece) -> Callable[[str, int], bool]:
    """Whether ``piece`` stands at a place of a text that is long enough."""
    if None not in piece:
        literal = _literal(piece)
        return lambda text, place: text.startswith(literal, place)
    match = _expression(piece).match
    return lambda text, place: match(text, place) is not None


def _literal(piece: _Piece) -> str:
    return "".join(character or "" for character in piece)


def _finder(piece: _Piece) -> Callable[[str, int, int], int]:
    """A function that gives the place after the first ``piece`` between two places of a text; -1 if there is none."""
    before = next((n for n, character in enumerate(piece) if character is not None), len(piece))
    after = next((n for n, character in enumerate(reversed(piece)) if character is not None), 0)
    core = piece[before : len(piece) - after]
    size = len(core)
    if None not in core:
        wanted = _literal(core)

        def find(text: str, place: int, end: int) -> int:
            found = text.find(wanted, place + before, end - after)
            return found + size + after if found >= 0 else -1

        return find
    if size > _SEARCHED_MAX:
        raise ValueError(
            f"more than {_SEARCHED_MAX} characters between two % with a _ among them, which would be tried everywhere"
        )
    search = _expression(core).search

    def search_for(text: str, place: int, end: int) -> int:
        found = search(text, place + before, end - after)
        return found.end() + after if found else -1

    return search_for


def _expression(piece: _Piece) -> re.Pattern[str]:
    """A piece as an expression of fixed length: nothing in it can be tried twice at one place."""
    return re.compile("".join("." if c is None else re.escape(c) for c in piece), re.DOTALL)

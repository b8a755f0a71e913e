"""What may be a name in GraphQL."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

GRAPHQL_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
CLAUSES: Final = frozenset({"_and", "_or", "_not"})  # fields of every `where`


def name_problem(name: str) -> str:
    """Why a text is not a GraphQL name of ours, or nothing."""
    if not GRAPHQL_NAME.fullmatch(name):
        return f"{name!r} is not a GraphQL name: letters, digits and underscores, not starting with a digit"
    if name.startswith("__"):
        return f"{name!r} starts with two underscores, which GraphQL keeps for itself"
    return ""


def field_name_problem(name: str) -> str:
    """Why a text cannot be the name of a row's field, or nothing."""
    return name_problem(name) or (f"{name!r} is a word of `where`" if name in CLAUSES else "")


def identifier(name: str) -> str:
    """A GraphQL name as close to ``name`` as may be: accents go, other characters become underscores."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"[^0-9A-Za-z_]+", "_", plain if plain.strip("_ ") else "")
    text = re.sub(r"^__+", "_", text)
    if not text.strip("_"):
        return "unnamed"
    return f"_{text}" if text[0].isdigit() else text


def free_field(name: str, taken: Collection[str]) -> str:
    """A GraphQL name like ``name`` that is not taken."""
    base = identifier(name)
    numbered = (base if number == 1 else f"{base}_{number}" for number in range(1, len(taken) + 2))
    return next(free for free in numbered if free not in taken)

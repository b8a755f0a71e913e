"""What may be a name in GraphQL."""

from __future__ import annotations

import re
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

"""One example of Hasura's documentation, and what PostgreSQL says to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Example:
    """An operation as it stands on a page, and for each key of its ``data`` the SELECT of one JSON value that it must equal.

    ``empty``: keys of which nothing is expected, on our rows; every other answer must tell something. ``note``: what
    was mended where what is printed is refused by Hasura as well.
    """

    page: str
    query: str
    answers: Mapping[str, str]
    variables: Mapping[str, object] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()
    note: str = ""

    @property
    def name(self) -> str:
        """For people who read a failure."""
        return f"{self.page}: {' '.join(self.query.split())}"


def rows(select: str) -> str:
    """A list of rows, in the order of ``select``; of one that has none, by its first column."""
    outside, inside = select, 1
    while inside:  # what is in parentheses has orders of its own
        outside, inside = re.subn(r"\([^()]*\)", "", outside)
    ordered = select if "ORDER BY" in outside else f"{select} ORDER BY 1"
    return f"SELECT coalesce(json_agg(q), '[]') FROM ({ordered}) q"


def row(select: str) -> str:
    """One row, or null."""
    return f"SELECT (SELECT to_json(q) FROM ({select}) q)"


def nested(select: str, order: str = "id") -> str:
    """A column that holds a list of related rows; ``order`` may be a column that is not selected."""
    columns, _, rest = select.removeprefix("SELECT ").partition(" FROM ")
    return f"(SELECT coalesce(json_agg((SELECT to_json(n) FROM (SELECT {columns}) n) ORDER BY {order}), '[]') FROM {rest})"


def one(select: str) -> str:
    """A column that holds one related row, or null."""
    return f"(SELECT to_json(n) FROM ({select}) n)"

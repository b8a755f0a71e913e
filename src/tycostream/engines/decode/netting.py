"""Updates with multiplicities → changes: what goes and what comes, per key or row. Pure.

For databases that tell an update as the row that goes and the row that comes, in whatever order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import zip_longest
from typing import Final

from tycostream.errors import Action, UpstreamError
from tycostream.rows import Change, Row, RowType, Unread

_COPIES_MAX: Final = 1_000_000  # of one row: a multiset keeps each, and ten million equal rows are a mistake
Update = tuple[Hashable, int, Row | Unread]
"""A row of a key (None: of a source without one), and how often it comes, or goes."""
TOO_LARGE: Final = "transaction-too-large"  # code of the error of too much that is not closed


def weight(wire_bytes: int, cells: int, rows: int = 1) -> int:
    """About how many bytes of memory rows take that came in ``wire_bytes``: an estimate, for bounds.

    A Python object of a cell costs some 50 bytes beside its text, the tuples of a change some 200.
    """
    return 200 * rows + wire_bytes + 50 * cells


def net(row_type: RowType, updates: Iterable[Update]) -> list[Change]:
    """The changes that updates of one moment, each (key, count, row), amount to: per key if there is one."""
    if not row_type.keyed:
        minus, plus = split(row_type, ((count, row) for _, count, row in updates))
        return [Change(None, row, None) for row in minus] + [Change(None, None, row) for row in plus]
    found: dict[Hashable, list[tuple[int, Row | Unread]]] = {}
    for key, count, row in updates:
        found.setdefault(key, []).append((count, row))
    changes: list[Change] = []
    for key, entries in found.items():
        minus, plus = split(row_type, entries)
        changes += [Change(key, old, new) for old, new in zip_longest(minus, plus)]
    return changes


def split(row_type: RowType, updates: Iterable[tuple[int, Row | Unread]]) -> tuple[list[Row], list[Row]]:
    """What goes and what comes, each as often as it does: a projection may have made different rows equal."""
    identity = row_type.identity
    counts: dict[Hashable, int] = {}
    images: dict[Hashable, Row] = {}
    for count, image in updates:
        row = image.row() if isinstance(image, Unread) else image
        name = identity(row)
        images[name] = row
        counts[name] = counts.get(name, 0) + count
    minus = [images[name] for name, n in counts.items() if n < 0 for _ in range(copies(row_type, n))]
    plus = [images[name] for name, n in counts.items() if n > 0 for _ in range(copies(row_type, n))]
    return minus, plus


def copies(row_type: RowType, count: int) -> int:
    """How many copies of a row ``count`` says; UpstreamError if they are more than anybody wants."""
    if abs(count) > _COPIES_MAX:
        raise UpstreamError(
            "copies",
            f"source {row_type.source}: {abs(count)} equal rows are more than can be told apart",
            action=Action.FAIL,
            hint="count them upstream: SELECT …, count(*) … GROUP BY …",
        )
    return abs(count)


def unreadable(row_type: RowType, rows: Iterable[tuple[str | None, ...]]) -> UpstreamError:
    """Which of the values, in the order of the row type's columns, does not read; AssertionError if all do."""
    for row in rows:
        for column, text in zip(row_type.columns, row, strict=True):
            try:
                if text is not None:
                    column.scalar.parse(text)
            except (ValueError, ArithmeticError, LookupError) as error:
                shown = text if len(text or "") <= 80 else f"{(text or '')[:79]}…"
                return UpstreamError(
                    "value",
                    f"source {row_type.source}: column {column.name} holds a value that is not a {column.scalar.name}",
                    action=Action.FAIL,
                    # the value stands here and not in the message, which every client of the source is told
                    detail=f"{shown!r}: {str(error)[:200]}",
                    hint="give the column another type in `columns:`",
                )
    raise AssertionError("every cell reads")

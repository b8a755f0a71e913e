"""Changes of rows that have no key, or none that who asks may know: rows that look alike are the same row.

So none is another one's successor, and what goes and comes back looking alike has not happened. Otherwise a change of
what cannot be seen, a column of a source without a key or the key itself, would show as a delete and an insert.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from tycostream.rows import Row, RowType

Pair = tuple[Row | None, Row | None]  # a row before and after
Same = Callable[[Row], Hashable]


def alike(row_type: RowType, places: Sequence[int]) -> Same:
    """A function of a row that gives equal values for rows with the same texts in ``places``, and only for those.

    NULLs are left out: a row looks the same to who does not see a column, and to who sees that there is nothing in it.
    """
    columns = row_type.columns
    texts = [(place, columns[place].scalar.text if columns[place].scalar.loose else None) for place in places]

    def same(row: Row) -> Hashable:
        return tuple(
            [
                (place, row[place]) if text is None else (place, row[place], text(row[place]))
                for place, text in texts
                if row[place] is not None
            ]
        )

    return same


def apart(pairs: Iterable[Pair], same: Same) -> list[Pair]:
    """What comes of changes: all deletes, then all inserts, and nothing of rows that went and came alike."""
    gone: dict[Hashable, list[Row]] = {}
    come: dict[Hashable, list[Row]] = {}
    for old, new in pairs:
        if old is not None:
            gone.setdefault(same(old), []).append(old)
        if new is not None:
            come.setdefault(same(new), []).append(new)
    deletes: list[Pair] = [
        (row, None) for look, rows in gone.items() for row in rows[len(come.get(look, ())) :]
    ]
    inserts: list[Pair] = [
        (None, row) for look, rows in come.items() for row in rows[len(gone.get(look, ())) :]
    ]
    return deletes + inserts

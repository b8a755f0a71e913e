"""A table as it was: what was read now, without the changes that a slot's history tells of since then. Pure.

PostgreSQL reads only the present. A permanent slot tells of the past, so what it tells can be taken back, as far as
the rows before each change are known: from the old image that REPLICA IDENTITY FULL sends, from an earlier change of
the same row, or because the change made the row. Then the changes are told again, and cursors from then are good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from tycostream.engines.postgres.tables import UNKNOWN, Seen, Unknown, fold
from tycostream.errors import UpstreamError
from tycostream.rows import TRUNCATE, UNCHANGED, Change, Row, RowType

Prior = Row | None | Unknown  # the row before a change; None: there was none


class Held(NamedTuple):
    """A transaction's changes of one source, each with the row before it; ``lsn``: where the transaction ends."""

    xid: int
    lsn: int
    changes: list[tuple[Change | UpstreamError, Prior]]

    def told(self) -> Iterator[Change]:
        """The changes; the UpstreamError of the first that could not be understood is raised."""
        for change, _ in self.changes:
            if isinstance(change, UpstreamError):
                raise change
            yield change


def rewound(
    row_type: RowType, rows: Sequence[Row], held: Sequence[Held], seen: Seen
) -> tuple[list[Row], int]:
    """The rows before as many of the last transactions as can be taken back, and how many are left in them.

    ``rows`` show exactly the transactions that ``seen`` says. Transactions left in that the read did not see are folded
    in; UpstreamError if one of those cannot be understood.
    """
    undo = (_Keyed if row_type.keyed else _Multiset)(row_type, rows, held)
    left = len(held)
    while left and (not seen.visible(held[left - 1].xid) or undo.take_back(left - 1)):
        left -= 1
    fresh = [change for one in held[:left] if not seen.visible(one.xid) for change in one.told()]
    return fold(row_type, undo.rows(), fresh), left


class _Keyed:
    def __init__(self, row_type: RowType, rows: Sequence[Row], held: Sequence[Held]) -> None:
        self._key_of, self._held = row_type.key_of, held
        self._store: dict[Hashable, Row] = {row_type.key_of(row): row for row in rows}
        self._priors = self._known()

    def _known(self) -> list[list[Prior]]:
        """The row before each change, as far as the changes before it tell."""
        known: dict[Hashable, Row | None] = {}
        other: Prior = UNKNOWN  # what is known of rows that have not occurred
        found = []
        for one in self._held:
            priors: list[Prior] = []
            for change, prior in one.changes:
                if isinstance(change, UpstreamError) or change == TRUNCATE:
                    known.clear()
                    other = None if change == TRUNCATE else UNKNOWN
                    priors.append(UNKNOWN)
                    continue
                if isinstance(prior, Unknown):
                    prior = known.get(change.key, other)
                priors.append(prior)
                known[change.key] = None
                if change.new is not None:
                    known[self._key_of(change.new)] = _merged(change.new, prior)
            found.append(priors)
        return found

    def take_back(self, i: int) -> bool:
        """Take back the i-th transaction, or nothing of it: whether that could be done."""
        touched: dict[Hashable, Row | None] = {}  # on top of the store, until all of it is known
        steps = zip(reversed(self._held[i].changes), reversed(self._priors[i]), strict=True)
        for (change, _), prior in steps:
            if isinstance(change, UpstreamError) or change == TRUNCATE or isinstance(prior, Unknown):
                return False
            new = change.new
            if new is not None:
                key = self._key_of(new)
                now = touched[key] if key in touched else self._store.get(key)
                if now is None:
                    return False
                touched[key] = None
                if prior is not None:
                    cells = zip(prior, new, now, strict=True)
                    prior = tuple(n if p is UNCHANGED and c is UNCHANGED else p for p, c, n in cells)
            if prior is not None:
                if UNCHANGED in prior:
                    return False
                touched[self._key_of(prior)] = prior
        for key, row in touched.items():
            if row is None:
                self._store.pop(key, None)
            else:
                self._store[key] = row
        return True

    def rows(self) -> list[Row]:
        return list(self._store.values())


def _merged(new: Row, prior: Prior) -> Row:
    if UNCHANGED not in new or prior is None or isinstance(prior, Unknown):
        return new
    return tuple(p if n is UNCHANGED else n for p, n in zip(prior, new, strict=True))


class _Multiset:
    def __init__(self, row_type: RowType, rows: Sequence[Row], held: Sequence[Held]) -> None:
        self._identity, self._held = row_type.identity, held
        self._count: Counter[Hashable] = Counter()
        self._image: dict[Hashable, Row] = {}
        for row in rows:
            self._add(row, 1)

    def _add(self, row: Row, n: int) -> None:
        identity = self._identity(row)
        self._count[identity] += n
        self._image[identity] = row

    def take_back(self, i: int) -> bool:
        """See ``_Keyed``."""
        changes = [change for change, _ in self._held[i].changes]
        if any(isinstance(change, UpstreamError) or change == TRUNCATE for change in changes):
            return False
        for change in changes:
            assert not isinstance(change, UpstreamError)
            if change.new is not None:
                self._add(change.new, -1)
            if change.old is not None:
                self._add(change.old, 1)
        return True

    def rows(self) -> list[Row]:
        return [self._image[identity] for identity, n in self._count.items() for _ in range(n)]

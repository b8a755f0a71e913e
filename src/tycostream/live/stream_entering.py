"""What comes into a stream's sight because it goes on by another plan: found in steps, told in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tycostream.dataflow.order import SortKey
from tycostream.dataflow.rises import Moves, told
from tycostream.dataflow.unkeyed import Same
from tycostream.live.standing import Images, Standing
from tycostream.live.stream_batches import Batches
from tycostream.rows import Change, Key, Row

_ROWS_PER_STEP: Final = 2000


class Entering:
    """The rises of a reader that stood at ``standing``, up to the moment of ``rows``.

    It wants what lies beyond ``initial``, and is about to read all from ``ahead`` on as it is; see ``rises.told``.
    """

    def __init__(
        self,
        standing: Standing,
        rows: Images,
        given: list[Key] | None,
        seen: Callable[[Row], Row | None],
        same: Same | None,
        moves: Moves,
        batches: Batches,
        fragment: Callable[[Key, Row], bytes],
        *,
        ahead: SortKey | None,
        initial: SortKey | None,
    ) -> None:
        """``seen``: a row as it is seen now, if it is in sight."""
        self._standing = standing
        self._rows = rows
        self._seen = seen
        self._same = same
        self._moves = moves
        self._batches = batches
        self._fragment = fragment
        self._ahead, self._initial = ahead, initial
        self._keys = standing.keys(rows, given)
        self._found: list[tuple[SortKey, Key, Row]] = []
        self._sorted = False
        self.rows = 0  # of the batch that was given last

    def next(self) -> bytes | None:
        """The next batch; empty if the search goes on, None if there is no more."""
        if self._keys:
            self._search()
            return b""
        if not self._sorted:
            self._found.sort(key=lambda item: item[0], reverse=True)  # the next one is the last
            self._sorted = True
        batch = self._batches.new()
        while self._found and batch.takes(self._found[-1][1]):
            _, key, row = self._found.pop()
            batch.add(key, self._fragment(key, row))
        self.rows = len(batch.fragments)
        return self._batches.payload(batch.fragments) if batch.fragments else None

    def _before(self, key: Key, now: Row) -> Row | None:
        """What was seen of a row; where no key tells rows apart, one that looked otherwise was another one."""
        was, same, same_then = self._standing.before(key), self._same, self._standing.same
        if was is None or same is None or same_then is None:
            return was
        return was if same_then(was) == same(now) else None

    def _search(self) -> None:
        keys = self._keys[-_ROWS_PER_STEP:]
        del self._keys[-_ROWS_PER_STEP:]
        changes = []
        for key in keys:
            row = self._rows.get(key)
            now = None if row is None else self._seen(row)
            if now is not None:
                changes.append(Change(key, self._before(key, now), now))
        for move in self._moves.of(changes):
            if told(move, self._ahead, self._initial):
                self._found.append((move.now, move.key, move.row))

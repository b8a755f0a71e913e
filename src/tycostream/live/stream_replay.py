"""What rose since a place on the log, batch by batch: for streams that are behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tycostream.dataflow.log import Entry
from tycostream.dataflow.order import SortKey
from tycostream.dataflow.rises import Move, Moves, beyond, told
from tycostream.dataflow.router import mask
from tycostream.live.log_cohort import Logged
from tycostream.live.stream_batches import Batch, Batches
from tycostream.live.stream_subscriber import Read, Reading
from tycostream.rows import Key, Row

_CHANGES_PER_STEP: Final = 2000  # what one step may look at in search of rows that rose
_MOVES_KEPT_MAX: Final = 10_000
_KEPT_BYTES_MAX: Final = 4 * 2**20


class StreamReplay:
    """Tells readers the moves of the log, one by one. What many ask for at one place is found and encoded once."""

    def __init__(
        self,
        logged: Logged,
        moves: Moves,
        match: Callable[[Row], bool] | None,
        batches: Batches,
        fragment: Callable[[Key, Row], bytes],
        *,
        kept: bool,
    ) -> None:
        """``match``: which rows are in sight; None: all. ``kept``: what was encoded stays true."""
        self._logged = logged
        self._moves = moves
        self._match = match
        self._batches = batches
        self._fragment = fragment
        self._kept = kept
        self._known: dict[int, list[Move]] = {}
        self._known_moves = 0
        # by batch of the log and place in it: a payload, where it leads to, and the first place of a row in it
        self._payloads: dict[tuple[int, int], tuple[Read, SortKey]] = {}
        self._bytes = 0

    def next(self, reading: Reading, initial: SortKey | None) -> Read:
        """The next batch for a reader of what lies beyond ``initial``, and where it stands then.

        None: there is none up to the head of the log, which is where it stands. Empty: the search goes on, ask again
        in the next turn. ``reading`` must be on the log.
        """
        if reading.ahead is None and (known := self._payloads.get(reading[:2])) is not None:
            found, first_known = known
            if beyond(first_known, initial):
                return found
        log, at, batch = self._logged.log, reading, self._batches.new()
        shared = self._kept and reading.ahead is None
        first: SortKey | None = None
        looked = 0
        while at.seq < log.head and looked < _CHANGES_PER_STEP:
            entry = log.entry(at.seq + 1)
            looked += len(entry.changes)
            moves = self._moves_of(entry)
            for place in range(at.place, len(moves)):
                move = moves[place]
                if not told(move, at.ahead, None):
                    continue
                if not beyond(move.now, initial):
                    shared = False  # others are told of it
                    continue
                if not batch.takes(move.key):
                    return self._written(
                        batch, reading, Reading(at.seq, place, at.ahead), first if shared else None
                    )
                batch.add(move.key, self._fragment(move.key, move.row))
                first = move.now if first is None or move.now < first else first
            at = Reading(entry.seq, 0, at.ahead)
        if batch.fragments:
            return self._written(batch, reading, at, first if shared else None)
        return Read(None if at.seq == log.head else b"", at)

    def _written(self, batch: Batch, start: Reading, end: Reading, first: SortKey | None) -> Read:
        """``first``: the first place of a row in it, if it is the same for all who stand at ``start``."""
        payload = self._batches.payload(batch.fragments)
        read = Read(payload, end, len(batch.fragments))
        if first is not None:
            self._payloads[start[:2]] = read, first
            self._bytes += len(payload)
            while self._bytes > _KEPT_BYTES_MAX and len(self._payloads) > 1:
                self._bytes -= len(self._payloads.pop(next(iter(self._payloads)))[0].payload or b"")
        return read

    def _moves_of(self, entry: Entry) -> list[Move]:
        known = self._known.get(entry.seq)
        if known is None:
            match, changes = self._match, entry.changes
            if match is not None:
                changes = [visible for change in changes if (visible := mask(change, match))]
            known = self._moves.of(changes)
            self.know(entry.seq, known)
        return known

    def know(self, seq: int, moves: list[Move]) -> None:
        """Remember the moves of a batch that are about to be asked for."""
        self._known[seq] = moves
        self._known_moves += len(moves) + 1
        while self._known_moves > _MOVES_KEPT_MAX and len(self._known) > 1:
            self._known_moves -= len(self._known.pop(next(iter(self._known)))) + 1

    def clear(self) -> None:
        """Forget what was kept for readers."""
        self._known.clear()
        self._payloads.clear()
        self._known_moves = self._bytes = 0

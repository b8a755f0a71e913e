"""How far a source was told, and from where a new cursor may go on without a gap or a repeat. Pure.

SINCE a moment gives every epoch from there on, that moment's too; what is at it or before it and was told is dropped
(``CursorDecoder``). So a new cursor may begin at any moment that lies

- at the last epoch that was told, or
- before everything that was not told, and after the snapshot's epoch, if no epoch was told since the snapshot: nothing
  says which one that was, so what is before it could not be known for a repeat.

The server takes a moment within the retention only. A source that is quiet for longer has no such epoch; but then it is known
that everything that was committed by a moment was told, if a fetch after it found nothing more. An epoch's number is the
moment at which it began, and it is committed a checkpoint later: half the retention is left for that.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Reach:
    """Of one source, by one object and subscription. Moments are RisingWave's clock in milliseconds."""

    incarnation: str
    label: int  # the position of the last snapshot, which is no epoch's number
    offset: int  # the last position that was told
    taken_ms: int  # not before the snapshot's epoch
    drained_ms: int  # when it was last asked for more and had none

    def since(self, after: int, retention_ms: int) -> int | None:
        """Where a cursor begins that goes on after ``after``; None if there is no such place."""
        if not self.label <= after <= self.offset:
            return None
        if after < self.offset:  # its reader has less than was told: only an epoch's number says what
            return after if after > self.label else None
        quiet = self.drained_ms - retention_ms // 2
        if after > self.label:
            return max(after, quiet)
        return quiet if quiet > self.taken_ms else None


def next_label(reach: Reach | None) -> int:
    """The position of another snapshot: after everything that was told, and before what may still come.

    It stands for an epoch that nobody knows, so no cursor resumes there. Epochs are milliseconds and a checkpoint lies
    between two, so the next one has a larger number still.
    """
    return 0 if reach is None else reach.offset + 1

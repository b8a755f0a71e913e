"""A subscription cursor: a snapshot first if it was asked for, then the log's epochs one after the other.

It opens an epoch when it has read the one before, and notes which epoch follows if there is one already; if that is gone
when its turn comes, the log was recycled under the cursor. At the log's end it knows of no next epoch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from tycostream.testing.pgwire_messages import Cells, Field, WireError
from tycostream.testing.risingwave_data import Change, Data, Relation, Subscription
from tycostream.testing.risingwave_errors import Caused, catalog, internal, not_found
from tycostream.testing.risingwave_types import TEXT_OID

_LIFETIME: Final = (
    "The cursor has exceeded its maximum lifetime, please recreate it (close then declare cursor)."
)
_INVALID: Final = "Cursor is in invalid state. Please close and re-create the cursor."


class Reading(Enum):
    """What a cursor reads next; the values are what SHOW SUBSCRIPTION CURSORS says."""

    SNAPSHOT = "Fetch { from_snapshot: true }"
    EPOCH = "Fetch { from_snapshot: false }"
    SEEK = "InitLogStoreQuery"
    INVALID = "Invalid"


def cursor_fields(relation: Relation) -> list[Field]:
    """The visible columns as they are now, then ``op`` and ``rw_timestamp``."""
    columns = [column.type.field(column.name) for column in relation.columns]
    return [*columns, Field("op", TEXT_OID), Field("rw_timestamp", 20)]


class SubscriptionCursor:
    """DECLAREd: ``since`` is the first epoch that is wanted, None the snapshot of this moment and what follows it.

    ``trouble`` gives the error of a cluster that cannot be read now.
    """

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        since: int | None,
        data: Data,
        trouble: Callable[[], WireError | None],
    ) -> None:
        self.name = name
        self.subscription = subscription
        self.relation = subscription.relation
        self.fields = cursor_fields(self.relation)
        self.reading = Reading.SEEK
        self.fetched_ms = data.now_ms()
        self._data = data
        self._trouble = trouble
        self._rows: deque[Cells] = deque()
        self._seek = 0
        self._expected: int | None = None
        self._waiting = False
        self._failure: WireError | None = None
        self.cut = False  # the next answer is to end in the middle of a row
        self._boundary = False  # the columns have changed: this FETCH ends here
        self._wake = asyncio.Event()
        self.expires_ms = self._lifetime()
        if since is None:
            self.reading = Reading.SNAPSHOT
            self._rows.extend((*row, "Insert", None) for row in self.relation.snapshot())
            self._seek = data.epoch
        else:
            self._seek = since

    def _lifetime(self) -> int:
        return self._data.now_ms() + self.subscription.retention_s * 1000

    @property
    def invalid(self) -> bool:
        """Nothing can be read from it any more."""
        return self.reading is Reading.INVALID

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def fail(self, error: WireError) -> None:
        """The cluster failed: a cursor that was reading or waiting ends, one at the log's end has nothing to lose."""
        if self._rows or self._waiting:
            self._failure = error
            self.wake()

    def _invalidate(self) -> None:
        self.reading = Reading.INVALID
        self._rows.clear()
        self.wake()

    async def fetch(self, count: int, wait_s: float) -> list[Cells]:
        """At most ``count`` rows. Waits for the first, at most ``wait_s``, and never for more; WireError."""
        if self._data.now_ms() > self.expires_ms:
            raise internal(_LIFETIME)
        taken: list[Cells] = []
        self._boundary = False
        try:
            async with asyncio.timeout(wait_s or None):
                while len(taken) < count:
                    self._wake.clear()
                    row = self._next()
                    if row is not None:
                        taken.append(row)
                    elif taken or not wait_s or self._boundary or self.cut:
                        break
                    else:
                        self._waiting = True
                        await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting = False
        self.fetched_ms = self._data.now_ms()
        return taken

    def _next(self) -> Cells | None:
        """The next row; None at the end of the log, or where the columns change."""
        if self.reading is Reading.INVALID:
            raise internal(_INVALID)
        if (trouble := self._failure or self._trouble() or self.relation.poison) is not None:
            self._invalidate()
            raise trouble
        while not self._rows:
            if self.reading is Reading.EPOCH or self.reading is Reading.SNAPSHOT:
                self.reading = Reading.SEEK
            if not self._open():
                return None
        return self._rows.popleft()

    def _open(self) -> bool:
        """Begin with the next epoch, if there is one."""
        if self.subscription.dropped:
            self._invalidate()
            if self.relation.dropped:
                raise Caused("XX000", f"table id {self.relation.id} has been dropped")
            raise not_found("subscription", self.subscription.name)
        epochs = self.relation.epochs(self._seek, 2)
        if self._expected is not None and epochs[:1] != [self._expected]:
            self._invalidate()
            raise catalog(
                f" No data found for rw_timestamp {self._expected}, data may have been recycled, "
                "please recreate cursor"
            )
        if not epochs:
            return False
        self.expires_ms = self._lifetime()
        self.reading = Reading.EPOCH
        self._expected = epochs[1] if len(epochs) > 1 else None
        self._seek = self._expected or epochs[0] + 1
        for change in self.relation.changes(epochs[0]):
            self._rows.extend(self._cells(change, epochs[0]))
        fields = cursor_fields(self.relation)
        self._boundary = fields != self.fields
        self.fields = fields
        return not self._boundary

    def _cells(self, change: Change, epoch: int) -> list[Cells]:
        _, old, new = change
        ops = (
            ("UpdateDelete", "UpdateInsert") if old is not None and new is not None else ("Delete", "Insert")
        )
        return [
            (*self.relation.visible(row), op, str(epoch))
            for row, op in zip((old, new), ops, strict=True)
            if row is not None
        ]

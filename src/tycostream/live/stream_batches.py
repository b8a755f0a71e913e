"""How the batches of a stream are cut and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tycostream.graphql.limits import too_many_rows
from tycostream.graphql.plan import Plan, RootPlan, RowEncoder
from tycostream.live.fragments import Allowance, Effort, Failed, Fragments, TooMuch
from tycostream.live.outbox import CHUNK_BYTES
from tycostream.live.query_subscriber import too_large
from tycostream.rows import Key, Row

_EFFORT_PER_STEP: Final = (
    2000  # rows that are encoded, or looked at, for what is nested in those of one message
)


class NestedRows:
    """Writes rows with others in them, each within what one result may cost."""

    def __init__(self, root: RootPlan, fragments: Fragments, bytes_max: int) -> None:
        self._root = root
        self._fragments = fragments
        self._bytes_max = bytes_max

    @property
    def ready(self) -> bool:
        """Whether rows can be written now."""
        return self._fragments.ready

    def listen(self, failed: Failed) -> None:
        """``failed`` is told when what is kept of them is worth nothing, until ``unlisten``. What was sent stays sent."""
        self._fragments.listen(self._touched, failed)

    def unlisten(self) -> None:
        """Undo ``listen``."""
        self._fragments.unlisten(self._touched)

    def _touched(self, keys: Iterable[Key]) -> None:
        """A stream tells of rows that rise, and of no others."""

    @property
    def effort(self) -> Effort:
        """What they have cost."""
        return self._fragments.effort

    def write(self, key: Key, row: Row) -> bytes:
        """The row's JSON; RequestError if more is nested in it than a result may hold."""
        effort, allowance = self.effort, Allowance(self._root.rows_max, self._bytes_max)
        before, effort.paid_by = effort.paid_by, allowance
        try:
            return self._fragments.of(key, row)
        except TooMuch:
            if allowance.rows < 0:
                path = f"$.selectionSet.{self._root.response_key}"
                raise too_many_rows(self._root.rows_max, path, live=True) from None
            raise too_large(0, self._bytes_max) from None
        finally:
            effort.paid_by = before


class Batch:
    """Rows of one message, each at most once: of two states of a row the later one has a message of its own.

    ``effort``: what rows with others in them cost.
    """

    def __init__(self, rows_max: int, effort: Effort | None) -> None:
        self.fragments: list[bytes] = []
        self._rows_max = rows_max
        self._effort = effort
        self._enough = 0 if effort is None else effort.rows + _EFFORT_PER_STEP
        self._keys: set[Key] = set()
        self._bytes = 0

    def takes(self, key: Key) -> bool:
        """Whether there is room and time for one more row, and it is not there yet. An empty one takes any."""
        full = len(self.fragments) >= self._rows_max or self._bytes >= CHUNK_BYTES
        spent = self._effort is not None and self._effort.rows > self._enough and bool(self.fragments)
        return not full and not spent and key not in self._keys

    def add(self, key: Key, fragment: bytes) -> None:
        """Put a row at the end."""
        self.fragments.append(fragment)
        self._keys.add(key)
        self._bytes += len(fragment)


class Batches:
    """The batches of one plan: of at most ``rows_max`` rows, or as many as make about CHUNK_BYTES."""

    def __init__(self, plan: Plan, encoder: RowEncoder, rows_max: int, effort: Effort | None) -> None:
        """``effort``: what its rows cost if they have others in them."""
        self._plan = plan
        self._encoder = encoder
        self._effort = effort
        self.rows_max = rows_max

    def new(self) -> Batch:
        """An empty one."""
        return Batch(self.rows_max, self._effort)

    def payload(self, fragments: Sequence[bytes]) -> bytes:
        """The whole execution result with these rows."""
        return self._plan.payload([self._encoder.result(fragments)])

    def payloads(self, rows: Iterable[tuple[Key, bytes]]) -> list[bytes]:
        """The results that these rows are sent in."""
        batch, payloads = self.new(), []
        for key, fragment in rows:
            if not batch.takes(key):
                payloads.append(self.payload(batch.fragments))
                batch = self.new()
            batch.add(key, fragment)
        if batch.fragments:
            payloads.append(self.payload(batch.fragments))
        return payloads

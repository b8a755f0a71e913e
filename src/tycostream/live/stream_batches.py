"""How the batches of a stream are cut and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tycostream.graphql.plan import Plan, RowEncoder
from tycostream.live.outbox import CHUNK_BYTES
from tycostream.rows import Key


class Batch:
    """Rows of one message, each at most once: of two states of a row the later one has a message of its own."""

    def __init__(self, rows_max: int) -> None:
        self.fragments: list[bytes] = []
        self._rows_max = rows_max
        self._keys: set[Key] = set()
        self._bytes = 0

    def takes(self, key: Key) -> bool:
        """Whether there is room for one more row, and it is not there yet."""
        full = len(self.fragments) >= self._rows_max or self._bytes >= CHUNK_BYTES
        return not full and key not in self._keys

    def add(self, key: Key, fragment: bytes) -> None:
        """Put a row at the end."""
        self.fragments.append(fragment)
        self._keys.add(key)
        self._bytes += len(fragment)


class Batches:
    """The batches of one plan: of at most ``rows_max`` rows, or as many as make about CHUNK_BYTES."""

    def __init__(self, plan: Plan, encoder: RowEncoder, rows_max: int) -> None:
        self._plan = plan
        self._encoder = encoder
        self.rows_max = rows_max

    def new(self) -> Batch:
        """An empty one."""
        return Batch(self.rows_max)

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

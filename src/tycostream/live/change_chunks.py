"""A set of changes in shared payloads of about 64 KiB: made when first asked for, kept while others may need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from tycostream.graphql.plan import Phase
from tycostream.live.outbox import CHUNK_BYTES

_ROWS_PER_CHUNK_MAX = 1000
_ROWS_PER_STEP = 2000  # what one step may look at in search of rows in sight
_KEPT_BYTES_MAX = 8 * 2**20
T = TypeVar("T")


class MakePayload(Protocol):
    """What makes an execution result of encoded changes."""

    def __call__(
        self, phase: Phase, changes: Sequence[bytes], *, complete: bool, resync: bool, cursor: str | None
    ) -> bytes:
        """The whole result as JSON."""


class ChangeChunks(Generic[T]):
    """Chunks of one set, for snapshots and nets alike.

    ``items`` are what the set is made of; ``encode`` gives an item's JSON, or None if it is not in sight. ``to_seq`` is
    where a reader stands when it has read all chunks, and ``cursor`` says so to the client.

    Encoded chunks are kept within a byte bound. Of a snapshot they are forgotten once every reader is past them: who
    comes late, or is too far behind, has them encoded again.
    """

    def __init__(
        self,
        items: Sequence[T],
        encode: Callable[[T], bytes | None],
        payload: MakePayload,
        phase: Phase,
        to_seq: int,
        cursor: str | None,
        *,
        resync: bool = False,
        quiet: bool = False,
    ) -> None:
        """``quiet``: of nothing in sight there is no chunk, rather than an empty one."""
        self._quiet = quiet
        self._items = items
        self._encode = encode
        self._make = payload
        self.phase = phase
        self._resync = resync
        self.to_seq = to_seq
        self.cursor = cursor
        self._at = 0  # the first item that was not looked at
        self._chunks: list[list[T]] = []  # the items in sight, as they were cut
        self._last: int | None = None  # the place of the last chunk, once it is known
        self._open: tuple[list[T], list[bytes], int] = ([], [], 0)  # the chunk in the making, and its bytes
        self._payloads: dict[int, bytes] = {}
        self._bytes = 0
        self._readers: dict[int, int] = {}  # how many readers are at a place
        self._lowest = 0  # no reader is at a place before this one

    @property
    def read(self) -> bool:
        """Whether somebody reads it."""
        return bool(self._readers)

    def enter(self) -> None:
        """A reader begins at place 0."""
        self._readers[0] = self._readers.get(0, 0) + 1
        self._lowest = 0

    def leave(self, place: int) -> None:
        """The reader at ``place`` reads no further."""
        left = self._readers[place] - 1
        if left:
            self._readers[place] = left
        else:
            del self._readers[place]
            self._forget_passed()

    def next(self, place: int) -> bytes | None:
        """The payload at a reader's ``place``, which then moves on by one.

        None: there are no more. Empty: the search for rows in sight goes on, ask again in the next turn.
        """
        payload = self._payloads.get(place)
        if payload is None:
            if self._last is not None and place > self._last:
                return None
            payload = self._again(place) if place < len(self._chunks) else self._further()
            if not payload:
                return b""
            self._keep(place, payload)
        self._readers[place + 1] = self._readers.get(place + 1, 0) + 1
        self.leave(place)
        return payload

    def rows(self, place: int) -> int:
        """How many changes the payload at a place has that was made."""
        return len(self._chunks[place])

    def _further(self) -> bytes:
        """Go on with the chunk in the making; its payload if it is full or the last."""
        items, encoded, size = self._open
        at = self._at
        end = min(len(self._items), at + _ROWS_PER_STEP)
        while at < end and size < CHUNK_BYTES and len(items) < _ROWS_PER_CHUNK_MAX:
            item = self._items[at]
            at += 1
            text = self._encode(item)
            if text is not None:
                items.append(item)
                encoded.append(text)
                size += len(text)
        self._at = at
        if at == len(self._items):
            self._last = len(self._chunks)
            self._items = ()
            self._at = 0
            if self._quiet and not items and not self._chunks:
                self._last = -1
                return b""
        elif size < CHUNK_BYTES and len(items) < _ROWS_PER_CHUNK_MAX:
            self._open = items, encoded, size
            return b""
        self._open = [], [], 0
        self._chunks.append(items)
        return self._payload(len(self._chunks) - 1, encoded)

    def _again(self, place: int) -> bytes:
        return self._payload(
            place, [text for item in self._chunks[place] if (text := self._encode(item)) is not None]
        )

    def _payload(self, place: int, encoded: Sequence[bytes]) -> bytes:
        complete = place == self._last
        # a snapshot's cursor is told by `ready`
        cursor = self.cursor if complete and self.phase is Phase.LIVE else None
        return self._make(self.phase, encoded, complete=complete, resync=self._resync, cursor=cursor)

    def _keep(self, place: int, payload: bytes) -> None:
        self._payloads[place] = payload
        self._bytes += len(payload)
        while self._bytes > _KEPT_BYTES_MAX and len(self._payloads) > 1:
            self._drop(next(iter(self._payloads)))

    def _drop(self, place: int) -> None:
        payload = self._payloads.pop(place, None)
        if payload is not None:
            self._bytes -= len(payload)

    def _forget_passed(self) -> None:
        # A net is asked for again by whoever stands where it begins; it is small, and the byte bound does for it.
        if self.phase is Phase.SNAPSHOT:
            while self._lowest < len(self._chunks) and self._lowest not in self._readers:
                self._drop(self._lowest)
                self._lowest += 1

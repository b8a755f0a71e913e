"""Encoded rows, kept from one push to the next for all live queries of a source with the same projection."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tycostream.graphql.plan import RowEncoder
from tycostream.live.backlinks import Touched
from tycostream.live.slices import Container
from tycostream.rows import Key, Row

Failed = Callable[[Exception], None]

_BYTES_MAX: Final = 64 * 2**20  # of one projection of a source


class Branch(Protocol):
    """A relationship of encoded rows (``nested.py``)."""

    @property
    def ready(self) -> bool:
        """Whether the related rows can be looked up now."""

    def value(self, row: Row) -> bytes:
        """The JSON of the relationship's field for a row."""

    def close(self) -> list[Container]:
        """It is not needed any more; gives what was held for it, for the caller to free at leisure."""


_READS_PER_ROW: Final = 2  # that are read in the time that one is encoded


class TooMuch(Exception):
    """More rows, or more bytes of them, than a result may hold."""


@dataclass(slots=True)
class Allowance:
    """How much a result may still take: rows that are nested in others, and bytes of rows with others in them.

    ``reads``: how many rows may be looked at for it, where it must be made in one step.
    """

    rows: int
    bytes: int
    reads: int | None = None


class Effort:
    """How many rows were encoded or looked at so far: what a step of work is measured in; and who pays for the next ones.

    What is kept already is no work, but a result holds it all the same: its rows and bytes are paid for.
    """

    rows = 0
    inside = 0  # rows that went into others so far
    paid_by: Allowance | None = None

    def nested(self, rows: int) -> None:
        """So many rows go into another one; TooMuch if there is no allowance for them."""
        self.inside += rows
        paid_by = self.paid_by
        if paid_by is not None:
            paid_by.rows -= rows
            if paid_by.rows < 0:
                raise TooMuch

    def looked_at(self, rows: int) -> None:
        """So many rows were read to find what is nested in one; TooMuch if there is no allowance for them.

        Of a window of one row, or of an aggregate, all the others cost as much and are nowhere to be seen.
        """
        self.rows += rows // _READS_PER_ROW
        paid_by = self.paid_by
        if paid_by is not None and paid_by.reads is not None:
            paid_by.reads -= rows
            if paid_by.reads < 0:
                raise TooMuch

    def joined(self, size: int) -> None:
        """A row with others in it has so many bytes; TooMuch if there is no allowance for them."""
        paid_by = self.paid_by
        if paid_by is not None:
            paid_by.bytes -= size
            if paid_by.bytes < 0:
                raise TooMuch


class Fragments:
    """Encoded rows of one source and projection, shared by all its views and bounded in bytes.

    With ``branches`` a row's JSON holds that of related rows: who changes those says so by ``touched``, and whoever
    shows the row is told by what it gave to ``listen``.
    """

    def __init__(self, encoder: RowEncoder, effort: Effort, bytes_max: int = _BYTES_MAX) -> None:
        self.encoder = encoder
        self.branches: tuple[Branch, ...] = ()  # in the order of the encoder's; set once, by who made it
        self.effort = effort
        self._bytes_max = bytes_max
        self._cache: dict[Key, tuple[Row, bytes, int]] = {}  # with how many rows are in it, at any depth
        self._listeners: dict[Touched, Failed] = {}
        self.bytes = 0

    @property
    def ready(self) -> bool:
        """Whether rows can be encoded now."""
        return all(branch.ready for branch in self.branches)

    def of(self, key: Key, row: Row) -> bytes:
        """The row's JSON; a fragment is good as long as the key has the very same row, and was not touched."""
        hit = self._cache.get(key)
        if hit is not None and hit[0] is row:
            if self.branches:
                self._pay((hit,))
            return hit[1]
        effort = self.effort
        before = effort.inside
        if self.branches:
            fragment = self.encoder.row(row, *[branch.value(row) for branch in self.branches])
            effort.joined(len(fragment))
        else:
            fragment = self.encoder.row(row)
        effort.rows += 1
        if hit is not None:
            self.bytes -= len(hit[1])
        self._cache[key] = (row, fragment, effort.inside - before)
        self.bytes += len(fragment)
        while self.bytes > self._bytes_max and self._cache:
            oldest = next(iter(self._cache))
            self.bytes -= len(self._cache.pop(oldest)[1])
        return fragment

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """``of`` each; those that are there without a call."""
        get, of = self._cache.get, self.of
        if not self.branches:
            return [
                hit[1] if (hit := get(key)) is not None and hit[0] is row else of(key, row)
                for key, row in zip(keys, rows, strict=True)
            ]
        hits = []
        found = []
        for key, row in zip(keys, rows, strict=True):
            hit = get(key)
            if hit is not None and hit[0] is row:
                hits.append(hit)
                found.append(hit[1])
            else:
                found.append(of(key, row))
        self._pay(hits)
        return found

    def _pay(self, hits: Sequence[tuple[Row, bytes, int]]) -> None:
        self.effort.nested(sum([inside for _, _, inside in hits]))
        self.effort.joined(sum([len(fragment) for _, fragment, _ in hits]))

    def until(self, rows_done: int, keys: Sequence[Key], rows: Sequence[Row], at: int) -> int:
        """Have rows encoded from place ``at`` on, until ``effort`` has done so many; gives the place where it stopped."""
        get, effort = self._cache.get, self.effort
        for place in range(at, len(keys)):
            hit = get(keys[place])
            if hit is None or hit[0] is not rows[place]:
                self.of(keys[place], rows[place])
                if effort.rows > rows_done:
                    return place + 1
        return len(keys)

    def listen(self, listener: Touched, failed: Failed) -> None:
        """Tell ``listener`` the keys of touched rows, until ``unlisten``; ``failed`` if it can be told so no more."""
        self._listeners[listener] = failed

    def unlisten(self, listener: Touched) -> None:
        """Undo ``listen``."""
        self._listeners.pop(listener, None)

    def touched(self, keys: Sequence[Key]) -> None:
        """What is related to rows with these keys has changed: they look different."""
        self._forget(keys)
        for listener in list(self._listeners):
            listener(keys)

    def failed(self, error: Exception) -> None:
        """Something raised where it should have been told what to touch: what it has is worth nothing."""
        for failed in list(self._listeners.values()):
            failed(error)

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            hit = self._cache.pop(key, None)
            if hit is not None:
                self.bytes -= len(hit[1])

    def released(self) -> list[Container]:
        """Empty the cache, and let the branches go; gives what was held, for the caller to free at leisure."""
        held: list[Container] = [self._cache]
        for branch in self.branches:
            held += branch.close()
        self._cache, self.branches, self.bytes = {}, (), 0
        return held


class FragmentCaches:
    """The caches of one source by projection. Each is there as long as a cohort uses it."""

    def __init__(self, make: Callable[[RowEncoder], Fragments]) -> None:
        self._make = make
        self._caches: dict[Hashable, tuple[Fragments, int]] = {}  # and how many use it

    def __len__(self) -> int:
        return len(self._caches)

    @property
    def bytes(self) -> int:
        """Of all that is encoded."""
        return sum(fragments.bytes for fragments, _ in self._caches.values())

    def lease(self, encoder: RowEncoder) -> Fragments:
        """The cache of a projection, until ``give_back``."""
        fragments, users = self._caches.get(encoder.key) or (self._make(encoder), 0)
        self._caches[encoder.key] = fragments, users + 1
        return fragments

    def give_back(self, encoder: RowEncoder) -> list[Container]:
        """One user less; of the last one it gives what was held, for the caller to free at leisure."""
        fragments, users = self._caches[encoder.key]
        if users > 1:
            self._caches[encoder.key] = fragments, users - 1
            return []
        del self._caches[encoder.key]
        return fragments.released()

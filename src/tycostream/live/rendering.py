"""From a live query's views to its bytes: windows are captured in one step, encoded in as many as it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tycostream.dataflow.view import View
from tycostream.graphql.plan import Mode, Plan, RootPlan, RowEncoder
from tycostream.live.indexes import Indexes
from tycostream.live.pieces import Pieces
from tycostream.rows import Key, Row

ROWS_PER_STEP = 2000


class Fragments:
    """Encoded rows of one source and projection, shared by all its views and bounded in bytes."""

    def __init__(self, encoder: RowEncoder, bytes_max: int) -> None:
        self._encoder = encoder
        self._bytes_max = bytes_max
        self._cache: dict[Key, tuple[Row, bytes]] = {}
        self.bytes = 0

    def of(self, key: Key, row: Row) -> bytes:
        """The row's JSON; a fragment is good as long as the key has the very same row."""
        hit = self._cache.get(key)
        if hit is not None and hit[0] is row:
            return hit[1]
        fragment = self._encoder.row(row)
        if hit is not None:
            self.bytes -= len(hit[1])
        self._cache[key] = (row, fragment)
        self.bytes += len(fragment)
        while self.bytes > self._bytes_max and self._cache:
            oldest = next(iter(self._cache))
            self.bytes -= len(self._cache.pop(oldest)[1])
        return fragment

    def all(self, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        """``of`` each; those that are there without a call."""
        get, of = self._cache.get, self.of
        return [
            hit[1] if (hit := get(key)) is not None and hit[0] is row else of(key, row)
            for key, row in zip(keys, rows, strict=True)
        ]

    def released(self) -> dict[Key, tuple[Row, bytes]]:
        """Empty the cache; gives what it held, for the caller to free at leisure."""
        held, self._cache, self.bytes = self._cache, {}, 0
        return held


@dataclass(frozen=True, slots=True)
class LiveRoot:
    """One root field of a live query: its view and how its rows are encoded."""

    plan: RootPlan
    encoder: RowEncoder
    view: View
    fragments: Fragments
    indexes: Indexes
    pieces: Pieces = field(default_factory=Pieces)

    @property
    def ready(self) -> bool:
        """Whether its view can be hydrated; False while an index that finds its rows is being made."""
        return self.indexes.ready(self.plan.predicate)


class Rendering:
    """One result: all roots as they are at the moment this is made, encoded by ``step``.

    ``bytes_max`` gives up on a result that nobody could be sent (``too_large``). ``kept`` puts the encoded rows into
    the cache, for a live query that will need most of them again.
    """

    def __init__(
        self,
        plan: Plan,
        roots: Sequence[LiveRoot],
        statics: Mapping[int, bytes],
        *,
        kept: bool = True,
        bytes_max: int | None = None,
    ) -> None:
        self._plan = plan
        self._statics = statics
        self.small = sum(root.view.length for root in roots) <= ROWS_PER_STEP
        self._encoding = _Encoding(roots, kept=kept, bytes_max=bytes_max)
        # A generator that held this would be a cycle: a rendering given up halfway would wait for the collector.
        self._steps = self._encoding.work()

    @property
    def too_large(self) -> bool:
        """Whether it was given up because nobody could be sent it."""
        return self._encoding.too_large

    def step(self) -> bool:
        """Encode the next rows; True when there are no more, or too many bytes."""
        return next(self._steps, True)

    def payload(self, stale: bool | None = None) -> bytes:
        """The result, once ``step`` is done."""
        values = iter(self._encoding.values)
        statics = self._statics
        return self._plan.joined(
            [(statics[i],) if i in statics else next(values) for i in range(len(self._plan.roots))], stale
        )


class _Encoding:
    """The values of a result's roots, as far as they are encoded."""

    def __init__(self, roots: Sequence[LiveRoot], *, kept: bool, bytes_max: int | None) -> None:
        self._roots = roots
        self._kept = kept
        self._bytes_max = bytes_max
        # of a root whose last rendering was kept and that can be followed there is no window: its pieces have all
        self._windows = [None if self._followed(root) else root.view.window() for root in roots]
        self.bytes = 0
        self.too_large = False
        self.values: list[Sequence[bytes]] = []

    def _followed(self, root: LiveRoot) -> bool:
        return self._kept and root.plan.mode is Mode.LIST and root.pieces.follow(root.view, root.fragments.of)

    def work(self) -> Iterator[bool]:
        """Encode rows until the next one would be too many for a step."""
        budget = ROWS_PER_STEP
        for root, window in zip(self._roots, self._windows, strict=True):
            if window is None or (self._kept and root.plan.mode is Mode.LIST and len(window[0]) <= budget):
                if window is not None:
                    budget -= len(window[0])
                    root.pieces.fill(root.fragments.all(*window))
                value_pieces = root.pieces.value()
                self.bytes += sum(map(len, value_pieces))
                self.values.append(value_pieces)
                if self._over():
                    return
                continue
            keys, rows = window
            if root.plan.mode is Mode.BY_PK or len(keys) <= budget:
                if root.plan.mode is Mode.BY_PK:
                    keys, rows = keys[:1], rows[:1]
                budget -= len(keys)
                value = root.encoder.result(self._encoded(root, keys, rows))
                self.bytes += len(value)
                self.values.append((value,))
            else:
                # several rows in one piece, the commas between them included: a list of LIST's is only pieces
                pieces = [b"["]
                self.values.append(pieces)
                for at in range(0, len(keys), ROWS_PER_STEP):
                    if at or budget < ROWS_PER_STEP:
                        yield False
                    budget = 0
                    end = at + ROWS_PER_STEP
                    if at:
                        pieces.append(b",")
                    pieces.append(b",".join(self._encoded(root, keys[at:end], rows[at:end])))
                    self.bytes += len(pieces[-1]) + 1
                    if self._over():
                        return
                pieces.append(b"]")
            if self._over():
                return

    def _encoded(self, root: LiveRoot, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        if self._kept:
            return root.fragments.all(keys, rows)
        row = root.encoder.row
        return [row(each) for each in rows]

    def _over(self) -> bool:
        self.too_large = self._bytes_max is not None and self.bytes > self._bytes_max
        return self.too_large

"""From a live query's views to its bytes: windows are captured in one step, encoded in as many as it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tycostream.dataflow.view import View
from tycostream.graphql.documents import gathered
from tycostream.graphql.plan import Mode, Plan, RootPlan, RowEncoder
from tycostream.live.arranged import Arranged
from tycostream.live.fragments import Fragments
from tycostream.live.pieces import Pieces
from tycostream.rows import Key, Row

ROWS_PER_STEP = 2000


@dataclass(frozen=True, slots=True)
class LiveRoot:
    """One root field of a live query: its view and how its rows are encoded."""

    plan: RootPlan
    encoder: RowEncoder
    view: View
    fragments: Fragments | None = None  # what is kept of a live query's rows
    arranged: Arranged | None = None  # what the view of a live query is of
    pieces: Pieces = field(default_factory=Pieces)


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
        return b"".join(self.parts(stale))

    def parts(self, stale: bool | None = None) -> list[bytes]:
        """What the result consists of, once ``step`` is done."""
        values = iter(self._encoding.values)
        statics = self._statics
        return self._plan.parts(
            [(statics[i],) if i in statics else next(values) for i in range(len(self._plan.roots))], stale
        )


class _Encoding:
    """The values of a result's roots, as far as they are encoded."""

    def __init__(self, roots: Sequence[LiveRoot], *, kept: bool, bytes_max: int | None) -> None:
        self._roots = list(roots)
        self._kept = kept
        self._bytes_max = bytes_max
        # of a root whose last rendering was kept and that can be followed there is no window: its pieces have all
        self._windows = [None if self._followed(root) else root.view.window() for root in roots]
        self.bytes = 0
        self.too_large = False
        self.values: list[Sequence[bytes]] = []

    def _followed(self, root: LiveRoot) -> bool:
        if not self._kept or root.fragments is None or root.plan.mode is not Mode.LIST:
            return False
        return root.pieces.follow(root.view, root.fragments.of)

    def work(self) -> Iterator[bool]:
        """Encode rows until the next one would be too many for a step."""
        budget = ROWS_PER_STEP
        for root, window in zip(self._roots, self._windows, strict=True):
            if window is None or (self._kept and root.plan.mode is Mode.LIST and len(window[0]) <= budget):
                if window is not None:
                    budget -= len(window[0])
                    root.pieces.fill(self._encoded(root, *window))
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
                    encoded = self._encoded(root, keys[at:end], rows[at:end])
                    pieces.append(gathered(b",".join(encoded), encoded, first=at))
                    self.bytes += len(pieces[-1]) + 1
                    if self._over():
                        return
                pieces.append(b"]")
            if self._over():
                return

    def _encoded(self, root: LiveRoot, keys: Sequence[Key], rows: Sequence[Row]) -> list[bytes]:
        if self._kept and root.fragments is not None:
            return root.fragments.all(keys, rows)
        row = root.encoder.row
        return [row(each) for each in rows]

    def _over(self) -> bool:
        self.too_large = self._bytes_max is not None and self.bytes > self._bytes_max
        return self.too_large

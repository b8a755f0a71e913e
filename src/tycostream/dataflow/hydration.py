"""Filling an arrangement from its store in steps, with changes arriving in between.

Rows are filtered and sorted a slice at a time; a sample of the sorted slices tells where to cut them, so that each
block of the result is sorted alone and no step touches more than a few thousand rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from tycostream.dataflow.members import BLOCK_ROWS, Entry, Members
from tycostream.dataflow.order import SortKey
from tycostream.rows import Change, Key, Row

ROWS_PER_STEP = 1000
_RUNS_PER_STEP = 4  # to cut a run costs a few comparisons for each block, not for each row
_SAMPLE_STRIDE_MIN = 64
_SAMPLES = 8192
_STAGGER = 41
_ENTRY_BYTES = 400  # what one key in the backlog holds, about
_sort_of: Callable[[Entry], SortKey] = itemgetter(0)


class Backlog:
    """What happened to an arrangement's rows while they were being sorted: the net per key, bounded in bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._net: dict[Key, tuple[Row | None, Row | None]] = {}

    def __len__(self) -> int:
        return len(self._net)

    @property
    def full(self) -> bool:
        """Whether it holds more than it may."""
        return len(self._net) * _ENTRY_BYTES > self._bytes_max

    def add(self, changes: Sequence[Change]) -> None:
        """Keep changes: per key the first old row and the last new one."""
        net = self._net
        for key, old, new in changes:
            known = net.get(key)
            net[key] = (old if known is None else known[0], new)

    def taken(self, count: int) -> list[Change]:
        """At most ``count`` net changes, which are then no longer here.

        One from nothing to nothing is among them: of a row that was looked at again, and then went, it is all there is.
        """
        net = self._net
        return [
            Change(key, *net.pop(key)) for key in [key for key, _ in zip(net, range(count), strict=False)]
        ]


class Hydration:
    """The members of an arrangement, computed by ``step`` from rows as they were when it was made.

    ``effort`` multiplies what one step does: who has to start again because the backlog ran over takes larger steps.
    ``price`` is what it costs to ask a row: of dear ones a step asks fewer.
    With ``group``, ``firsts`` has the first of each run of members whose sort keys agree in so many items; ``sorts``, if
    given, receives the sort key of each member.
    """

    def __init__(
        self,
        keys: list[Key],
        rows: list[Row],
        match: Callable[[Row], bool],
        sort_key: Callable[[Key, Row], SortKey],
        *,
        effort: int = 1,
        price: int = 1,
        group: int = 0,
        sorts: dict[Key, SortKey] | None = None,
    ) -> None:
        self._keys, self._rows = keys, rows
        self._match, self._sort_key = match, sort_key
        self._rows_per_step = ROWS_PER_STEP * effort
        self._asked_per_step = max(1, self._rows_per_step // price)
        self._effort = effort
        self._group = group
        self.sorts = sorts
        self._last: SortKey | None = None  # what the group of the last member is called
        self.members = Members()
        self.firsts = Members() if group else None
        self._runs: list[list[Entry]] = []
        self._steps = self._work()

    def step(self) -> bool:
        """Do the next piece; True when ``members`` is complete."""
        return next(self._steps, True)

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """Give up; gives what it held, for the caller to free at leisure."""
        self._steps = iter(())
        firsts = self.firsts.lists() if self.firsts is not None else []
        sorts = [self.sorts] if self.sorts is not None else []
        return [self._keys, self._rows, *self._runs, *self.members.lists(), *firsts, *sorts]

    def _work(self) -> Iterator[bool]:
        runs = self._runs
        for at in range(0, len(self._rows), self._asked_per_step):
            if at:
                yield False
            runs.append(self._run(at))
        self._keys, self._rows = [], []
        count = sum(map(len, runs))
        if len(runs) <= 1 or count <= self._rows_per_step:
            self._append(sorted((entry for run in runs for entry in run), key=_sort_of))
            return
        yield False
        cuts = self._cuts(runs, count)
        buckets: list[list[Entry]] = [[] for _ in range(len(cuts) + 1)]
        runs += buckets
        for n in range(len(runs) - len(buckets)):
            if n % (_RUNS_PER_STEP * self._effort) == 0:
                yield False
            run, runs[n] = runs[n], []
            _distribute(run, cuts, buckets)
        touched = 0
        for bucket in buckets:
            if touched + len(bucket) > self._rows_per_step:
                touched = 0
                yield False
            touched += len(bucket)
            bucket.sort(key=_sort_of)
            self._append(bucket)
            bucket.clear()

    def _append(self, block: list[Entry]) -> None:
        self.members.append_block(block)
        if self.firsts is None:
            return
        firsts: list[Entry] = []
        for entry in block:
            group = entry[0][: self._group]
            if group != self._last:
                firsts.append(entry)
                self._last = group
        self.firsts.append_block(firsts)

    def _run(self, at: int) -> list[Entry]:
        match, sort_key = self._match, self._sort_key
        keys = self._keys[at : at + self._asked_per_step]
        rows = self._rows[at : at + self._asked_per_step]
        run = [(sort_key(key, row), key, row) for key, row in zip(keys, rows, strict=True) if match(row)]
        run.sort(key=_sort_of)
        if self.sorts is not None:
            self.sorts.update([(key, sort) for sort, key, _ in run])
        return run

    def _cuts(self, runs: list[list[Entry]], count: int) -> list[SortKey]:
        """Sort keys that cut the rows into blocks of about equal length."""
        stride = max(_SAMPLE_STRIDE_MIN, count // _SAMPLES)
        # Runs of like rows are alike: sampled at the same places they would all name the same few values.
        samples = sorted(
            entry[0] for n, run in enumerate(runs) for entry in run[_STAGGER * n % stride :: stride]
        )
        blocks = min(count // BLOCK_ROWS, len(samples))
        return [samples[len(samples) * n // blocks] for n in range(1, blocks)]


def _distribute(run: list[Entry], cuts: list[SortKey], buckets: list[list[Entry]]) -> None:
    start = 0
    for n, cut in enumerate(cuts):
        end = bisect_left(run, cut, start, key=_sort_of)
        buckets[n] += run[start:end]
        start = end
    buckets[-1] += run[start:]

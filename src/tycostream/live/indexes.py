"""The indexes of one source: made when a condition asks for one, in slices where that is long work, dropped when idle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tycostream.clock import Clock
from tycostream.dataflow.index import Index
from tycostream.dataflow.predicate import Predicate
from tycostream.dataflow.store import Store
from tycostream.live.collector import keep_out
from tycostream.live.slices import Discard, Slices
from tycostream.rows import Row

ROWS_MIN = 500  # of fewer rows each is asked: that is less than what an index costs every change
_BYTES_MAX = 256 * 2**20  # of all indexes of a source; over it, all but the one last used go


class Indexes:
    """Finds the rows of a store that a condition may hold for. ``ready`` first, then the store's ``given`` or ``rows``."""

    def __init__(self, store: Store, slices: Slices, clock: Clock) -> None:
        self._store = store
        self._slices = slices
        self._clock = clock
        self._held: Counter[tuple[int, ...]] = Counter()

    def ready(self, predicate: Predicate) -> bool:
        """Whether rows can be looked for now; False while the index that serves the condition is being made."""
        store = self._store
        columns = store.index_columns(predicate)
        if columns is None or (len(store.rows) < ROWS_MIN and columns not in store.indexes):
            return True
        return self._there(columns)

    def finds(self, columns: tuple[int, ...]) -> bool:
        """Whether the store's ``finder`` of ``columns`` serves now; False while its index is being made."""
        return self._store.finds(columns) or self._there(columns)

    def hold(self, columns: tuple[int, ...]) -> None:
        """Keep the index on ``columns``, which ``finds`` makes, until ``release``: a join goes by it."""
        self._held[columns] += 1

    def release(self, columns: tuple[int, ...]) -> None:
        """Undo one ``hold``."""
        self._held[columns] -= 1
        if not self._held[columns]:
            del self._held[columns]

    def _there(self, columns: tuple[int, ...]) -> bool:
        store = self._store
        index = store.indexes.get(columns)
        if index is None:
            self._make_room()
            index = store.add_index(columns)
            if not index.step():
                self._slices.add(_Making(store, index))
        index.used_s = self._clock.monotonic()
        return index.ready

    def rows(self, predicate: Predicate) -> list[Row]:
        """The rows that ``predicate`` may hold for, as they are now, in a list of its own."""
        rows, keys = self._store.rows, self._store.given(predicate)
        # that copies references only; whom the condition holds for is asked of each row when its turn comes
        return list(rows.values()) if keys is None else [rows[key] for key in keys]

    def expire(self, idle_s: float, named: Callable[[int], bool]) -> None:
        """Drop what nobody asked for in so long, unless it is held, or a cohort names a constant of the column."""
        since = self._clock.monotonic() - idle_s
        for columns, index in list(self._store.indexes.items()):
            if (
                index.used_s <= since
                and columns not in self._held
                and not (len(columns) == 1 and named(columns[0]))
            ):
                self._drop(columns)

    def _make_room(self) -> None:
        indexes = self._store.indexes
        while len(indexes) > 1 and sum(index.bytes for index in indexes.values()) > _BYTES_MAX:
            free = [columns for columns in indexes if columns not in self._held]
            if not free:
                break
            self._drop(min(free, key=lambda columns: indexes[columns].used_s))

    def _drop(self, columns: tuple[int, ...]) -> None:
        self._slices.add(Discard(*self._store.indexes.pop(columns).released()))


class _Making:
    """An index in the making. See Job."""

    def __init__(self, store: Store, index: Index) -> None:
        self._store = store
        self._index = index

    def step(self) -> bool:
        """See Job."""
        if self._store.indexes.get(self._index.columns) is not self._index:
            return True  # dropped meanwhile
        done = self._index.step()
        if done:
            keep_out(len(self._store.rows))
        return done

    def failed(self, error: Exception) -> None:
        """See Job. Without the index every row is asked."""
        self._store.indexes.pop(self._index.columns, None)

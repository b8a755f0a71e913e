"""The rows of a join, group by group: each group's window in order, or its aggregates, kept current change by change.

A group is the rows with one value in the columns of the join. It is made when it is first asked for; of too many the
one longest there goes, to be made again. What ``push`` gives are the groups that look different now: a change behind
the end of a window is none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from tycostream.dataflow.aggregate import Accumulator
from tycostream.dataflow.members import Entry
from tycostream.dataflow.order import SortKey
from tycostream.dataflow.relation import Aggregate, Value
from tycostream.rows import Cell, Change, Key, Row, RowType

_AGGREGATES_MAX: Final = 100_000  # groups of one relationship: about half a kilobyte each
_ENTRIES_MAX: Final = 500_000  # groups of one relationship and rows in them: about 150 bytes each
_sort_of: Callable[[Entry], SortKey] = itemgetter(0)
Window = tuple[list[Key], list[Row]]


class GroupedRows:
    """Which rows of a group are shown: from place ``start`` to ``end`` in the order, or all from there (None).

    With ``distinct``, only the first row of each that agree in so many items of their sort keys.
    """

    def __init__(
        self,
        sort_key: Callable[[Key, Row], SortKey],
        value: Callable[[Row], Value],
        *,
        start: int,
        end: int | None,
        distinct: int,
    ) -> None:
        self._sort_key = sort_key
        self._value = value
        self._start, self._end = start, end
        self._distinct = distinct
        self._groups: dict[Value, list[Entry]] = {}
        self._entries = 0

    def window(self, value: Value, pairs: Callable[[], Iterable[tuple[Key, Row]]]) -> Window:
        """The keys and rows of the group that are shown; ``pairs`` gives all of it if it is not kept."""
        group = self._groups.get(value)
        if group is None:
            group = self.ordered(pairs())
            self._groups[value] = group
            self._entries += 1 + len(group)
            while self._entries > _ENTRIES_MAX and len(self._groups) > 1:
                self._entries -= 1 + len(self._groups.pop(next(iter(self._groups))))
        return self.shown(group)

    def ordered(self, pairs: Iterable[tuple[Key, Row]]) -> list[Entry]:
        """Rows in the order."""
        sort_key = self._sort_key
        group = [(sort_key(key, row), key, row) for key, row in pairs]
        group.sort(key=_sort_of)
        return group

    def shown(self, group: list[Entry]) -> Window:
        """What is shown of rows in the order."""
        if self._distinct:
            group = self._firsts(group)
        if self._start or self._end is not None:
            group = group[self._start : self._end]
        return [key for _, key, _ in group], [row for _, _, row in group]

    def _firsts(self, group: list[Entry]) -> list[Entry]:
        """The first of each run of entries: not every sort key has a hash, but equal ones lie side by side."""
        firsts: list[Entry] = []
        last: SortKey | None = None
        for entry in group:
            if (items := entry[0][: self._distinct]) != last:
                firsts.append(entry)
                last = items
        return firsts

    def push(self, changes: Sequence[Change]) -> set[Value]:
        """Follow a batch of the join's rows; the groups that look different now, or are not kept."""
        groups, value_of, sort_key = self._groups, self._value, self._sort_key
        different: set[Value] = set()
        for key, old, new in changes:
            if old is not None:
                group = groups.get(value := value_of(old))
                if group is None or self._removed(group, sort_key(key, old)):
                    different.add(value)
            if new is not None:
                group = groups.get(value := value_of(new))
                if group is None or self._added(group, (sort_key(key, new), key, new)):
                    different.add(value)
        different.discard(None)
        return different

    def _removed(self, group: list[Entry], sort: SortKey) -> bool:
        place = bisect_left(group, sort, key=_sort_of)
        if place == len(group) or group[place][0] != sort:
            raise LookupError("a row that left a group was not in it")
        del group[place]
        self._entries -= 1
        return self._seen(place)

    def _added(self, group: list[Entry], entry: Entry) -> bool:
        place = bisect_left(group, entry[0], key=_sort_of)
        group.insert(place, entry)
        self._entries += 1
        return self._seen(place)

    def _seen(self, place: int) -> bool:
        """Whether what is done at a place shows: a row before the window moves all of it."""
        return self._end is None or place < self._end or bool(self._distinct)

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """Keep nothing; gives what it held, for the caller to free at leisure."""
        held: list[dict[Any, Any] | list[Any]] = [self._groups, *self._groups.values()]
        self._groups, self._entries = {}, 0
        return held


class GroupedAggregates:
    """The aggregates of each group."""

    def __init__(
        self,
        specs: Sequence[Aggregate],
        row_type: RowType,
        value: Callable[[Row], Value],
        look: Callable[[Row], Row] | None = None,
    ) -> None:
        """``look``: how rows are seen; None: as they are."""
        self._specs, self._row_type = specs, row_type
        self._value, self._look = value, look
        self._groups: dict[Value, Accumulator] = {}

    def cells(self, value: Value, pairs: Callable[[], Iterable[tuple[Key, Row]]]) -> tuple[Cell, ...]:
        """The aggregates of a group; ``pairs`` gives all of it if it is not kept."""
        group = self._groups.get(value)
        if group is None:
            group = Accumulator(self._specs, self._row_type)
            for _, row in pairs():
                group.add(row if self._look is None else self._look(row))
            self._groups[value] = group
            if len(self._groups) > _AGGREGATES_MAX:
                del self._groups[next(iter(self._groups))]
        return group.cells()

    def push(self, changes: Sequence[Change]) -> set[Value]:
        """See GroupedRows."""
        value_of = self._value
        different: set[Value] = set()
        for _, old, new in changes:
            was = None if old is None else value_of(old)
            now = None if new is None else value_of(new)
            if was is not None and was == now:
                self._follow(was, old, new, different)
                continue
            if was is not None:
                self._follow(was, old, None, different)
            if now is not None:
                self._follow(now, None, new, different)
        return different

    def _follow(self, value: Value, old: Row | None, new: Row | None, different: set[Value]) -> None:
        group, look = self._groups.get(value), self._look
        if look is not None:
            old, new = old and look(old), new and look(new)  # a row has a cell at least
        if group is None or group.follow(old, new):
            different.add(value)

    def released(self) -> list[dict[Any, Any] | list[Any]]:
        """See GroupedRows."""
        held: list[dict[Any, Any] | list[Any]] = [self._groups]
        self._groups = {}
        return held

"""One running SUBSCRIBE: from a relation's history to rows in the order and shape that Materialize sends.

The queue of rows that the client has not taken has a budget of bytes; a client that exceeds it loses the SUBSCRIBE.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tycostream.testing.materialize_data import FOREVER, Bag, Relation
from tycostream.testing.materialize_types import sql_type
from tycostream.testing.pgwire_messages import Cells, Field, WireError
from tycostream.testing.sql_types import ColumnDef, Row, sort_key

_TIMESTAMP: Final = sql_type("numeric(39,0)")  # not mz_timestamp: it overflows a signed bigint
_MESSAGE_BYTES: Final = 1024  # charged for each message besides its size


def size_text(size: int) -> str:
    """Bytes as Materialize's messages write them."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


@dataclass(frozen=True, slots=True)
class Query:
    """Some columns of a relation, each computed from its row."""

    relation: Relation
    columns: tuple[ColumnDef, ...]
    cells: tuple[Callable[[Row], str | None], ...]
    places: tuple[int | None, ...]  # which of the relation's columns it is; None: computed

    def project(self, bag: Bag) -> Bag:
        """The rows of the query from those of the relation; rows that have become equal are counted together."""
        if self.places == tuple(range(len(self.relation.columns))):
            return bag
        made: Bag = Counter()
        for row, diff in bag.items():
            try:
                made[tuple(cell(row) for cell in self.cells)] += diff
            except ZeroDivisionError:
                raise WireError("XX000", "Evaluation error: division by zero") from None
        return made

    def at(self, timestamp: int) -> Bag:
        """The query's rows as of a timestamp."""
        return self.project(self.relation.at(timestamp))

    def ordered(self, bag: Bag) -> list[tuple[Row, int]]:
        """Distinct rows with their multiplicities, by row value."""
        keys = [sort_key(column.type) for column in self.columns]

        def by_value(entry: tuple[Row, int]) -> list[tuple[int, Any]]:
            return [key(cell) for key, cell in zip(keys, entry[0], strict=True)]

        return sorted(((row, diff) for row, diff in bag.items() if diff), key=by_value)


@dataclass(frozen=True, slots=True)
class Options:
    """What a SUBSCRIBE asks for besides its query; ``key`` are places of the query's columns (ENVELOPE UPSERT)."""

    progress: bool
    snapshot: bool
    key: tuple[int, ...] | None = None
    up_to: int | None = None


def subscribe_fields(query: Query, options: Options) -> list[Field]:
    """The result's columns, in order."""
    fields = [_TIMESTAMP.field("mz_timestamp")]
    if options.progress:
        fields.append(Field("mz_progressed", 16))
    fields.append(Field("mz_diff", 20) if options.key is None else Field("mz_state", 25))
    order = data_order(query, options)
    return fields + [query.columns[i].type.field(query.columns[i].name) for i in order]


def data_order(query: Query, options: Options) -> list[int]:
    """Which column stands where: an upsert's key comes first, in the order of its clause."""
    key = options.key or ()
    return [*key, *(i for i in range(len(query.columns)) if i not in key)]


class Cut:
    """In place of rows: send half a row and close the connection."""

    def __init__(self, row: Cells, framed: bool) -> None:
        self.row = row
        self.framed = framed


class Subscription:
    """See the module. ``publish`` feeds it; ``take`` and ``wait`` are the client's side."""

    def __init__(
        self,
        query: Query,
        options: Options,
        as_of: int,
        *,
        buffer_bytes: int,
        result_bytes: int,
    ) -> None:
        self.query = query
        self.as_of = as_of
        self.frontier = as_of  # everything before it was published
        self.finished = False
        self.error: WireError | None = None
        self._options = options
        self._buffer_bytes = buffer_bytes
        self._result_bytes = result_bytes
        self._order = data_order(query, options)
        self._begun = False
        self._chunks: deque[tuple[deque[Cells], int] | Cut] = deque()
        self._pending_bytes = 0
        self._wake = asyncio.Event()
        if as_of == options.up_to:  # guaranteed to be empty
            self.finished = True
        elif options.progress:
            self._push([self._progress(as_of)])

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self.finished or self.error is not None

    # -- the server's side ----------------------------------------------------------------------------------------

    def publish(self, upper: int) -> None:
        """Queue what happened before ``upper``: one batch, in order, closed by its progress row."""
        if self.ended or (self._begun and upper <= self.frontier):
            return
        try:
            self._publish(upper)
        except WireError as error:
            self.fail(error)

    def _publish(self, upper: int) -> None:
        up_to = self._options.up_to
        end = upper if up_to is None else min(upper, up_to)
        constant = self.query.relation.constant
        if self.as_of < upper or constant:
            rows: list[Cells] = []
            if not self._begun:
                self._begun = True
                if self._options.snapshot and (up_to is None or self.as_of < up_to):
                    rows += self._rows(self.as_of, self.query.at(self.as_of))
                self.frontier = self.as_of + 1
            if upper < self.frontier:
                end = self.frontier
            for when, bag in self.query.relation.changes(self.frontier, end):
                rows += self._rows(when, self.query.project(bag))
            self.frontier = max(self.frontier, upper)
            finished = constant or (up_to is not None and upper >= up_to)
            if self._options.progress and not finished:
                rows.append(self._progress(upper))
            self._push(rows)
            if finished:
                self.finished = True
                self._wake.set()

    def _push(self, rows: list[Cells]) -> None:
        if not rows:
            return
        size = sum(sum(len(cell) for cell in row if cell is not None) for row in rows)
        if size > self._result_bytes:
            raise WireError("XX000", f"total result exceeds max size of {size_text(self._result_bytes)}")
        self._chunks.append((deque(rows), size + _MESSAGE_BYTES))
        self._pending_bytes += size + _MESSAGE_BYTES
        if self._pending_bytes > self._buffer_bytes and len(self._chunks) > 1:
            raise self.behind(self._pending_bytes)
        self._wake.set()

    def behind(self, backlog: int | None = None) -> WireError:
        """The error of a client that reads too slowly."""
        budget = self._buffer_bytes
        return WireError(
            "XX000",
            "SUBSCRIBE fell behind: the client did not read results fast enough, so its backlog reached "
            f"{size_text(budget + _MESSAGE_BYTES if backlog is None else backlog)}, "
            f"exceeding the {size_text(budget)} budget",
        )

    def fail(self, error: WireError, *, at_once: bool = True) -> None:
        """End it; ``at_once`` drops what the client has not taken."""
        if at_once:
            self._chunks.clear()
            self._pending_bytes = 0
        self.error = error
        self._wake.set()

    def cut(self, *, framed: bool) -> None:
        """Let the client receive half a row after what is queued, and then the end of the connection."""
        bag = self.query.ordered(self.query.at(min(self.frontier, FOREVER)))
        row = self._rows(self.frontier, Counter({bag[0][0]: 1}))[0] if bag else self._progress(self.frontier)
        self._chunks.append(Cut(row, framed))
        self._wake.set()

    # -- rows -----------------------------------------------------------------------------------------------------

    def _progress(self, timestamp: int) -> Cells:
        return (str(timestamp), "t", None, *([None] * len(self._order)))

    def _rows(self, timestamp: int, bag: Bag) -> list[Cells]:
        head = (str(timestamp), "f") if self._options.progress else (str(timestamp),)
        if self._options.key is None:
            return [(*head, str(diff), *row) for row, diff in self.query.ordered(bag)]
        return [
            (*head, state, *(row[i] for i in self._order))
            for state, row in self._states(self.query.ordered(bag), self._options.key)
        ]

    def _states(self, ordered: Sequence[tuple[Row, int]], key: tuple[int, ...]) -> list[tuple[str, Row]]:
        """ENVELOPE UPSERT: from one timestamp's changes alone; the server remembers nothing of a key."""
        groups: dict[Row, list[tuple[Row, int]]] = {}
        for row, diff in ordered:
            groups.setdefault(tuple(row[i] for i in key), []).append((row, diff))
        kinds = [sort_key(self.query.columns[i].type) for i in key]
        found = []
        for cells in sorted(
            groups, key=lambda cells: [kind(c) for kind, c in zip(kinds, cells, strict=True)]
        ):
            changes = groups[cells]
            diffs = sorted(diff for _, diff in changes)
            bare = tuple(
                cell if i in key else None for i, cell in enumerate(changes[0][0])
            )  # the key, and no values
            if diffs in ([1], [-1, 1]):
                found.append(("upsert", next(row for row, diff in changes if diff == 1)))
            else:
                found.append(("delete" if diffs == [-1] else "key_violation", bare))
        return found

    # -- the client's side ----------------------------------------------------------------------------------------

    def take(self, limit: int | None = None) -> list[Cells] | Cut:
        """Rows that are ready, of one batch, at most ``limit``; none: wait, or look at ``error`` and ``finished``."""
        if not self._chunks:
            self._wake.clear()
            return []
        first = self._chunks[0]
        if isinstance(first, Cut):
            self._chunks.popleft()
            return first
        rows, size = first
        if size:  # what is being read is free
            self._pending_bytes -= size
            self._chunks[0] = (rows, 0)
        count = len(rows) if limit is None else min(limit, len(rows))
        taken = [rows.popleft() for _ in range(count)]
        if not rows:
            self._chunks.popleft()
        return taken

    async def wait(self) -> None:
        """Until something is ready or it has ended."""
        if not self._chunks and not self.ended:
            self._wake.clear()
            await self._wake.wait()

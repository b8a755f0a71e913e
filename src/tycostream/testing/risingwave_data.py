"""The data of a fake RisingWave: relations whose rows a checkpoint makes visible, and their logs of changes.

An epoch is a number of milliseconds: the moment at which it *began*. What is written belongs to the epoch that is open;
a checkpoint commits that epoch for all relations and opens the next. So a change's timestamp is never later than the
change, and a cursor SINCE now() misses what is written before the next epoch begins.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.risingwave_types import sql_type
from tycostream.testing.sql_types import ColumnDef, Row, sort_key

Key = Row
Change = tuple[Key, Row | None, Row | None]
Contents = Mapping[str, Sequence[Row]]
Compute = Callable[[Contents], Iterable[Row]]

ROW_ID: Final = ColumnDef("_row_id", sql_type("serial"), nullable=False)


@dataclass(eq=False, kw_only=True)
class Subscription:
    """CREATE SUBSCRIPTION: by it the relation's log is kept for ``retention_s``."""

    id: int
    schema: str
    name: str
    relation: Relation
    retention_s: int
    created_ms: int
    definition: str
    granted: bool = True
    dropped: bool = False


@dataclass(eq=False, kw_only=True)
class Relation:
    """A table, or a materialized view (``compute``), or an object that has no rows of its own.

    ``columns`` are the visible ones. A stored row has a row id after them if ``hidden``. ``key``: places of the visible
    columns of its key; with ``hidden`` the row id belongs to it too, so that they are not unique by themselves.
    """

    id: int
    schema: str
    name: str
    kind: str
    columns: list[ColumnDef]
    key: tuple[int, ...]
    hidden: bool
    definition: str
    comment: str | None = None
    compute: Compute | None = None
    granted: bool = True
    poison: WireError | None = None  # what reading it gives
    dropped: bool = False
    rows: dict[Key, Row] = field(default_factory=dict)  # as written
    committed: dict[Key, Row] = field(default_factory=dict)  # as everybody else sees it
    pending: list[Change] = field(default_factory=list)
    log: list[tuple[int, list[Change]]] = field(default_factory=list)
    floor_ms: int = 0  # the log before it is gone
    subscriptions: list[Subscription] = field(default_factory=list)
    reads: dict[int, Relation] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The full name."""
        return f"{self.schema}.{self.name}"

    @property
    def all_columns(self) -> list[ColumnDef]:
        """The hidden one too, as the catalogue shows them."""
        return [*self.columns, ROW_ID] if self.hidden else list(self.columns)

    @property
    def key_names(self) -> set[str]:
        """The columns of its key, hidden or not."""
        return {self.columns[place].name for place in self.key} | ({ROW_ID.name} if self.hidden else set())

    def key_of(self, row: Row) -> Key:
        """A stored row's key."""
        head = tuple(row[place] for place in self.key)
        return (*head, row[-1]) if self.hidden else head

    def visible(self, row: Row) -> Row:
        """A stored row without what is hidden."""
        return row[:-1] if self.hidden else row

    def depends_on(self, other: Relation) -> bool:
        """Whether it is the other, or reads it."""
        return other is self or any(read.depends_on(other) for read in self.reads.values())

    def order(self) -> Callable[[Key], list[tuple[int, Any]]]:
        """How keys are ordered."""
        kinds = [self.columns[place].type for place in self.key] + ([ROW_ID.type] if self.hidden else [])
        keys = [sort_key(kind) for kind in kinds]
        return lambda key: [by(cell) for by, cell in zip(keys, key, strict=True)]

    def snapshot(self) -> list[Row]:
        """The visible cells of the committed rows, by key."""
        order = self.order()
        return [self.visible(self.committed[key]) for key in sorted(self.committed, key=order)]

    def epochs(self, seek_ms: int, count: int) -> list[int]:
        """The first epochs of the log that are not before ``seek_ms``."""
        first = bisect_left(self.log, seek_ms, key=lambda entry: entry[0])
        return [epoch for epoch, _ in self.log[first : first + count]]

    def changes(self, epoch: int) -> list[Change]:
        """What an epoch changed: by key, and for one key as it happened."""
        place = bisect_left(self.log, epoch, key=lambda entry: entry[0])
        order = self.order()
        return sorted(self.log[place][1], key=lambda change: order(change[0]))

    # -- writing --------------------------------------------------------------------------------------------------

    def put(self, key: Key, new: Row | None) -> None:
        """Write a row, or remove it; what changes nothing leaves no trace."""
        old = self.rows.get(key)
        if old == new:
            return
        if new is None:
            del self.rows[key]
        else:
            self.rows[key] = new
        self.pending.append((key, old, new))

    def undo(self, count: int) -> None:
        """Take back all but the first ``count`` pending changes."""
        for key, old, _ in reversed(self.pending[count:]):
            if old is None:
                del self.rows[key]
            else:
                self.rows[key] = old
        del self.pending[count:]

    def commit(self, epoch: int) -> None:
        """Make what is pending visible, and keep it in the log if anybody subscribes."""
        for key, _, new in self.pending:
            if new is None:
                self.committed.pop(key, None)
            else:
                self.committed[key] = new
        changes, self.pending = self.pending, []
        if changes and self.subscriptions:
            self.log.append((epoch, changes))

    def trim(self, before_ms: int) -> None:
        """Forget the log before a moment."""
        del self.log[: bisect_left(self.log, before_ms, key=lambda entry: entry[0])]

    def reshape(self, columns: list[ColumnDef], cells: Callable[[Row], Row]) -> None:
        """Other columns: every row, in the log too, as if it had always had them."""
        places = {column.name: place for place, column in enumerate(columns)}
        self.key = tuple(places[self.columns[place].name] for place in self.key)
        self.columns = columns

        def change(entry: Change) -> Change:
            key, old, new = entry
            return key, None if old is None else cells(old), None if new is None else cells(new)

        self.rows = {key: cells(row) for key, row in self.rows.items()}
        self.committed = {key: cells(row) for key, row in self.committed.items()}
        self.pending = [change(entry) for entry in self.pending]
        self.log = [(epoch, [change(entry) for entry in entries]) for epoch, entries in self.log]


class _Contents(Mapping[str, Sequence[Row]]):
    """What a view sees: the rows of each relation, by name. ``reads`` is filled with what it looks at."""

    def __init__(self, data: Data, reads: dict[int, Relation]) -> None:
        self._data = data
        self._reads = reads

    def __getitem__(self, name: str) -> Sequence[Row]:
        relation = self._data.get(name)
        self._reads[relation.id] = relation
        return [relation.visible(row) for row in relation.rows.values()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data.relations)

    def __len__(self) -> int:
        return len(self._data.relations)


class Data:
    """All relations and subscriptions, each by ``schema.name``. ``epoch`` is the open one."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._last_id = 1000
        self._last_row = 0
        self.relations: dict[str, Relation] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.epoch = max(now_ms(), 2)
        self.committed = self.epoch - 1  # what a query reads, and the moment that its now() tells

    def now_ms(self) -> int:
        """The time; a clock that stands still does not fall behind the epochs."""
        return max(self._now_ms(), self.epoch)

    def get(self, name: str) -> Relation:
        """A relation by ``name`` or ``schema.name``, or KeyError."""
        found = self.relations.get(name if "." in name else f"public.{name}")
        if found is None:
            raise KeyError(f"the fake has no relation {name}; it has {', '.join(self.relations) or 'none'}")
        return found

    def next_id(self) -> int:
        """The number of the next object; numbers are never used twice."""
        self._last_id += 1
        return self._last_id

    # -- objects --------------------------------------------------------------------------------------------------

    def create(
        self,
        schema: str,
        name: str,
        columns: Sequence[ColumnDef],
        *,
        kind: str,
        key: Sequence[str],
        hidden: bool,
        definition: str,
        comment: str | None = None,
        compute: Compute | None = None,
    ) -> Relation:
        """Make a relation and, if it is a view, its first rows, which are visible at once."""
        if f"{schema}.{name}" in self.relations:
            raise ValueError(f"{schema}.{name} exists")
        names = [column.name for column in columns]
        made = Relation(
            id=self.next_id(),
            schema=schema,
            name=name,
            kind=kind,
            columns=list(columns),
            key=tuple(names.index(column) for column in key),
            hidden=hidden,
            definition=definition,
            comment=comment,
            compute=compute,
        )
        if compute is not None:
            self._refresh(made)
            made.commit(self.epoch)
        self.relations[made.title] = made
        return made

    def drop(self, relation: Relation) -> list[Relation]:
        """Remove a relation, the views that read it and all their subscriptions; gives the relations that are gone."""
        gone = [other for other in self.relations.values() if other.depends_on(relation)]
        for other in gone:
            other.dropped = True
            del self.relations[other.title]
            for subscription in list(other.subscriptions):
                self.unsubscribe(subscription)
        return gone

    def subscribe(
        self, schema: str, name: str, relation: Relation, retention_s: int, definition: str
    ) -> Subscription:
        """Keep a relation's log from the next epoch on."""
        self.checkpoint()
        made = Subscription(
            id=self.next_id(),
            schema=schema,
            name=name,
            relation=relation,
            retention_s=retention_s,
            created_ms=self.epoch,
            definition=definition,
        )
        self.subscriptions[f"{schema}.{name}"] = made
        relation.subscriptions.append(made)
        return made

    def unsubscribe(self, subscription: Subscription) -> None:
        """Drop a subscription; with the last one of a relation its log goes."""
        subscription.dropped = True
        del self.subscriptions[f"{subscription.schema}.{subscription.name}"]
        subscription.relation.subscriptions.remove(subscription)
        if not subscription.relation.subscriptions:
            subscription.relation.log.clear()

    # -- rows -----------------------------------------------------------------------------------------------------

    def write(self, writes: Sequence[tuple[Relation, Row | None, Row | None]]) -> None:
        """One transaction of rows before and after. ValueError, and nothing written, for a row that is not there.

        An insert with a key that exists overwrites, as RisingWave's tables do unless told otherwise.
        """
        before = {relation.id: (relation, len(relation.pending)) for relation, _, _ in writes}
        try:
            for relation, old, new in writes:
                self._write(relation, old, new)
        except ValueError:
            for relation, count in before.values():
                relation.undo(count)
            raise
        changed = set(before)
        for view in list(self.relations.values()):  # in the order in which they were made
            if not changed.isdisjoint(view.reads):
                self._refresh(view)
                changed.add(view.id)

    def _write(self, relation: Relation, old: Row | None, new: Row | None) -> None:
        for row in (old, new):
            if row is not None and len(row) != len(relation.columns):
                text = f"a row of {len(row)} cells for {relation.title} of {len(relation.columns)} columns"
                raise ValueError(text)
        key = None if old is None else self._find(relation, old)
        stored = None if new is None else (*new, self._row_id(key)) if relation.hidden else new
        after = None if stored is None else relation.key_of(stored)
        if key is not None and key != after:
            relation.put(key, None)
        if after is not None:
            relation.put(after, stored)

    @staticmethod
    def _find(relation: Relation, row: Row) -> Key:
        if not relation.hidden:
            key = relation.key_of(row)
            if relation.rows.get(key) == row:
                return key
        else:
            for key, stored in relation.rows.items():
                if relation.visible(stored) == row:
                    return key
        raise ValueError(f"{relation.title} has no row {row!r}")

    def evaluate(self, compute: Compute) -> list[Row]:
        """The rows of a query that is no view."""
        return [tuple(row) for row in compute(_Contents(self, {}))]

    def _row_id(self, key: Key | None) -> str:
        if key is not None:
            return str(key[-1])
        self._last_row += 1
        return str(self._last_row)

    def _refresh(self, view: Relation) -> None:
        """Compute a view again; what has changed is one change for each key."""
        assert view.compute is not None
        rows = [tuple(row) for row in view.compute(_Contents(self, view.reads))]
        if not view.hidden:
            made = {view.key_of(row): row for row in rows}
            if len(made) != len(rows):
                raise ValueError(f"{view.title} has rows with one key: {rows!r}")
        else:
            made, wanted = {}, Counter(rows)
            for key, stored in view.rows.items():
                if wanted[view.visible(stored)]:
                    wanted[view.visible(stored)] -= 1
                    made[key] = stored
            for row in wanted.elements():
                fresh = (*row, self._row_id(None))
                made[view.key_of(fresh)] = fresh
        for key in [*view.rows, *(key for key in made if key not in view.rows)]:
            view.put(key, made.get(key))

    # -- time -----------------------------------------------------------------------------------------------------

    def checkpoint(self) -> int:
        """Commit the open epoch and begin the next; gives the one that was committed."""
        epoch = self.epoch
        for relation in self.relations.values():
            relation.commit(epoch)
        self.committed, self.epoch = epoch, max(self._now_ms(), epoch + 1)
        for relation in self.relations.values():
            if relation.subscriptions:
                kept_s = max(subscription.retention_s for subscription in relation.subscriptions)
                relation.trim(self.epoch - kept_s * 1000)
        return epoch

    def roll_back(self) -> None:
        """A failure: the open epoch never was."""
        for relation in self.relations.values():
            relation.undo(0)

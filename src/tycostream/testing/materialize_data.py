"""The data of a fake Materialize: relations with a history of multiplicities, one clock for all of them.

A timestamp is a number of milliseconds. Everything before ``upper`` is closed; a transaction takes one timestamp for
all its tables. A relation can be read as of any timestamp from its ``since`` on, which follows ``upper`` at a distance.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tycostream.testing.materialize_types import sql_type
from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.sql_types import ColumnDef, Row

Bag = Counter[Row]
Contents = Mapping[str, Sequence[Row]]
Compute = Callable[[Contents], Iterable[Row]]

FOREVER = 2**64 - 1  # the timestamp of what never changes
_VIEW_STATES_KEPT = 16


@dataclass(eq=False, kw_only=True)
class Relation:
    """Anything with rows. ``keys`` hold column names; ``retain_ms`` is how far ``since`` stays behind."""

    id: str
    oid: int
    schema: str
    name: str
    kind: str
    columns: list[ColumnDef]
    keys: tuple[tuple[str, ...], ...] = ()
    comment: str | None = None
    retain_ms: int = 1000
    since: int = 0
    granted: bool = True
    stalled: bool = False
    poison: WireError | None = None
    dropped: bool = False

    @property
    def title(self) -> str:
        """The full name, as messages write it."""
        return f"materialize.{self.schema}.{self.name}"

    @property
    def constant(self) -> bool:
        """Whether it can never change."""
        return False

    def inputs(self) -> Sequence[Relation]:
        """What it is stored as: itself, or for a plain view what that reads."""
        return (self,)

    def depends_on(self, other: Relation) -> bool:
        """Whether it is the other, or reads it."""
        return other is self or any(source is not self and source.depends_on(other) for source in self.reads)

    @property
    def reads(self) -> Sequence[Relation]:
        """The relations that it is computed from."""
        return ()

    def at(self, timestamp: int) -> Bag:
        """Its rows as of a timestamp, with their multiplicities."""
        raise NotImplementedError

    def changes(self, lower: int, upper: int) -> Iterator[tuple[int, Bag]]:
        """What changed at each timestamp from ``lower`` on and before ``upper``; nothing empty."""
        raise NotImplementedError

    def forget(self, before: int) -> None:
        """Free history before a timestamp."""


@dataclass(eq=False, kw_only=True)
class Table(Relation):
    """Rows that transactions write."""

    now: Bag = field(default_factory=Counter)
    log: list[tuple[int, Bag]] = field(default_factory=list)

    def write(self, timestamp: int, bag: Bag) -> None:
        """Add a transaction's net changes."""
        self.now.update(bag)
        for row in bag:
            if not self.now[row]:
                del self.now[row]
        self.log.append((timestamp, bag))

    def at(self, timestamp: int) -> Bag:
        """See Relation."""
        bag = Counter(self.now)
        for when, changes in reversed(self.log):
            if when <= timestamp:
                break
            bag.subtract(changes)
        return Counter({row: diff for row, diff in bag.items() if diff}) if self.log else bag

    def changes(self, lower: int, upper: int) -> Iterator[tuple[int, Bag]]:
        """See Relation."""
        first = bisect_right(self.log, lower - 1, key=lambda entry: entry[0])
        for when, bag in self.log[first:]:
            if when >= upper:
                return
            yield when, bag

    def forget(self, before: int) -> None:
        """See Relation."""
        del self.log[: bisect_right(self.log, before - 1, key=lambda entry: entry[0])]

    def add_column(self, column: ColumnDef) -> None:
        """Widen every row that ever was by the column's default."""

        def wider(bag: Bag) -> Bag:
            return Counter({(*row, column.default): diff for row, diff in bag.items()})

        self.columns.append(column)
        self.now = wider(self.now)
        self.log = [(when, wider(bag)) for when, bag in self.log]


@dataclass(eq=False, kw_only=True)
class View(Relation):
    """Rows computed from other relations. Which ones it reads is seen while it computes."""

    compute: Compute
    data: Data
    found: dict[str, Relation] = field(default_factory=dict)
    states: dict[int, Bag] = field(default_factory=dict)
    fixed: bool = False

    @property
    def constant(self) -> bool:
        """See Relation."""
        return self.fixed

    @property
    def reads(self) -> Sequence[Relation]:
        """See Relation."""
        return tuple(self.found.values())

    def inputs(self) -> Sequence[Relation]:
        """See Relation."""
        if self.kind == "materialized-view":
            return (self,)
        return tuple({source.id: source for read in self.reads for source in read.inputs()}.values())

    def at(self, timestamp: int) -> Bag:
        """See Relation. A division by zero in ``compute`` is Materialize's evaluation error."""
        place = bisect_right(self.data.commits, timestamp)
        moment = self.data.commits[place - 1] if place else 0
        if moment not in self.states:
            try:
                rows = self.compute(_Contents(self, moment))
                self.states[moment] = Counter(tuple(row) for row in rows)
            except ZeroDivisionError:
                raise WireError("XX000", "Evaluation error: division by zero") from None
            while len(self.states) > _VIEW_STATES_KEPT:
                del self.states[next(iter(self.states))]
        return self.states[moment]

    def changes(self, lower: int, upper: int) -> Iterator[tuple[int, Bag]]:
        """See Relation."""
        if self.constant:
            return
        commits = self.data.commits
        for when in commits[bisect_right(commits, lower - 1) : bisect_right(commits, upper - 1)]:
            before, after = self.at(when - 1), self.at(when)
            if before is not after:
                changed = Counter(after)
                changed.subtract(before)
                if bag := Counter({row: diff for row, diff in changed.items() if diff}):
                    yield when, bag


class _Contents(Mapping[str, Sequence[Row]]):
    """What a view sees: the rows of each relation, by name, as of one moment; equal rows stand next to each other."""

    def __init__(self, view: View, moment: int) -> None:
        self._view = view
        self._moment = moment

    def __getitem__(self, name: str) -> Sequence[Row]:
        relation = self._view.data.find(name)
        if relation is None:
            raise KeyError(name)
        self._view.found[relation.id] = relation
        return list(relation.at(self._moment).elements())

    def __iter__(self) -> Iterator[str]:
        return iter(self._view.data.relations)

    def __len__(self) -> int:
        return len(self._view.data.relations)


class Data:
    """All relations. ``relations`` is keyed by ``schema.name``, ``queries`` by a query's normal form."""

    def __init__(self, now_ms: Callable[[], int], retain_ms: int) -> None:
        self._now_ms = now_ms
        self._retain_ms = retain_ms
        self._last_id = 0
        self.relations: dict[str, Relation] = {}
        self.queries: dict[str, View] = {}
        self.commits: list[int] = []
        self.upper = max(now_ms(), 1)

    def find(self, name: str) -> Relation | None:
        """A relation by ``name`` or ``schema.name``."""
        return self.relations.get(name if "." in name else f"public.{name}")

    def get(self, name: str) -> Relation:
        """Like ``find``, or KeyError."""
        relation = self.find(name) or self.queries.get(name)
        if relation is None:
            raise KeyError(f"the fake has no relation {name}; it has {', '.join(self.relations) or 'none'}")
        return relation

    def next_id(self) -> int:
        """The number of the next object; numbers are never used twice."""
        self._last_id += 1
        return self._last_id

    def _shape(
        self,
        schema: str,
        name: str,
        columns: Mapping[str, str],
        *,
        not_null: Iterable[str] = (),
        comments: Mapping[str, str] | None = None,
    ) -> tuple[str, int, str, str, list[ColumnDef]]:
        number, fixed = self.next_id(), set(not_null)
        made = [
            ColumnDef(column, sql_type(kind), column not in fixed, (comments or {}).get(column))
            for column, kind in columns.items()
        ]
        return f"u{number}", 20_000 + number, schema, name, made

    def create(
        self,
        name: str,
        columns: Mapping[str, str],
        *,
        kind: str,
        schema: str = "public",
        keys: tuple[tuple[str, ...], ...] = (),
        not_null: Iterable[str] = (),
        comment: str | None = None,
        comments: Mapping[str, str] | None = None,
        compute: Compute | None = None,
        fixed: bool = False,
        registered: bool = True,
    ) -> Relation:
        """Make a table (no ``compute``) or a view and, unless it is a query, list it."""
        object_id, oid, schema, name, made = self._shape(
            schema, name, columns, not_null=not_null, comments=comments
        )
        if registered and f"{schema}.{name}" in self.relations:
            raise ValueError(f"{schema}.{name} exists")
        relation: Relation
        if compute is None:
            relation = Table(id=object_id, oid=oid, schema=schema, name=name, kind=kind, columns=made)
        else:
            relation = View(
                id=object_id,
                oid=oid,
                schema=schema,
                name=name,
                kind=kind,
                columns=made,
                compute=compute,
                data=self,
                fixed=fixed,
            )
        relation.keys, relation.comment, relation.retain_ms = keys, comment, self._retain_ms
        relation.since = 0 if fixed else self.upper - 1
        if registered:
            self.relations[f"{schema}.{name}"] = relation
        return relation

    def drop(self, relation: Relation) -> list[Relation]:
        """Remove a relation and the views and queries that read it; gives all that is gone."""
        self.learn()
        everything = [*self.relations.values(), *self.queries.values()]
        gone = [other for other in everything if other.depends_on(relation)]
        for other in gone:
            other.dropped = True
        self.relations = {key: value for key, value in self.relations.items() if not value.dropped}
        self.queries = {key: value for key, value in self.queries.items() if not value.dropped}
        return gone

    def learn(self) -> None:
        """See what every view reads, if it has not been computed yet; one that fails says so when it is read."""
        for view in [*self.relations.values(), *self.queries.values()]:
            if isinstance(view, View) and not view.states:
                try:
                    view.at(self.upper - 1)
                except WireError:
                    continue

    def changed_shape(self) -> None:
        """Forget what views computed from relations that look different now."""
        for view in [*self.relations.values(), *self.queries.values()]:
            if isinstance(view, View):
                view.states.clear()

    # -- time -----------------------------------------------------------------------------------------------------

    def commit(self, writes: Sequence[tuple[Table, Row, int]]) -> int:
        """One transaction; gives its timestamp. ValueError, and nothing written, if a row would be there -1 times."""
        bags: dict[str, tuple[Table, Bag]] = {}
        for table, row, diff in writes:
            if len(row) != len(table.columns):
                raise ValueError(
                    f"a row of {len(row)} cells for {table.title} of {len(table.columns)} columns"
                )
            bags.setdefault(table.id, (table, Counter()))[1][row] += diff
        for table, bag in bags.values():
            for row, diff in bag.items():
                if table.now[row] + diff < 0:
                    raise ValueError(f"{table.title} has {row!r} {table.now[row]} times, less than {-diff}")
        timestamp = max(self._now_ms(), self.upper)
        for table, bag in bags.values():
            if net := Counter({row: diff for row, diff in bag.items() if diff}):
                table.write(timestamp, net)
        self.commits.append(timestamp)
        self.upper = timestamp + 1
        return timestamp

    def advance(self) -> int:
        """Time passes: close everything up to now, at least one more millisecond; gives ``upper``."""
        self.upper = max(self._now_ms(), self.upper + 1)
        return self.upper

    def since_of(self, relation: Relation) -> int:
        """The earliest timestamp that can be read: the latest of all inputs."""
        if relation.constant:
            return 0
        self.learn()
        newest = self.upper - 1
        for source in {other.id: other for other in (relation, *relation.inputs())}.values():
            plain = source is relation and relation not in relation.inputs()
            if not plain:  # a plain view has no history of its own, only what it reads has
                passed = min(newest, max(newest, self._now_ms()) - source.retain_ms)
                source.since = max(source.since, passed)
        return max([relation.since, *(source.since for source in relation.inputs())])

    def forget(self, needed: int) -> None:
        """Free the history before ``needed`` (what subscriptions still read) that nobody else may ask for either."""
        relations = [*self.relations.values(), *self.queries.values()]
        moving = [self.since_of(relation) for relation in relations if not relation.constant]
        before = min([needed, *moving])
        for relation in relations:
            relation.forget(before + 1)
        if (place := bisect_right(self.commits, before)) > 1:
            del self.commits[: place - 1]

"""What all sessions of a fake Materialize share: names to relations, running subscriptions, limits and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tycostream.testing.materialize_catalog import Catalog, Cluster
from tycostream.testing.materialize_data import FOREVER, ColumnDef, Data, Relation, Row
from tycostream.testing.materialize_sql import Select, normal, parse_select, tokens
from tycostream.testing.materialize_subscribe import Options, Query, Subscription
from tycostream.testing.materialize_types import SqlType, sql_type
from tycostream.testing.pgwire_messages import WireError

Compiled = tuple[ColumnDef, Callable[[Row], str | None], int | None]


@dataclass(frozen=True, slots=True)
class Expression:
    """A custom expression: its type, and its value from a row by column name."""

    type: SqlType
    value: Callable[[dict[str, str | None]], str | None]


@dataclass(eq=False)
class State:
    """See the module. ``changed`` wakes whoever waits for a count."""

    data: Data
    catalog: Catalog
    clusters: dict[str, Cluster]
    buffer_bytes: int
    old_texts: bool
    version: str
    database: str = "materialize"
    expressions: dict[str, Expression] = field(default_factory=dict)
    subscriptions: dict[int, tuple[Subscription, int]] = field(default_factory=dict)  # number → (it, pid)
    statements: list[str] = field(default_factory=list)
    settings: Mapping[str, str] = field(default_factory=dict)
    stalled: bool = False
    waiting: set[asyncio.Event] = field(default_factory=set)
    last_number: int = 0

    def changed(self) -> None:
        """Something that tests wait for has changed, and the catalogue shows it."""
        self.catalog.stale = True
        for event in self.waiting:
            event.set()

    # -- names ----------------------------------------------------------------------------------------------------

    def resolve(self, path: tuple[str, ...]) -> Relation:
        """A relation by its name; 42704, or 42501 if the fake was told to revoke."""
        shown = ".".join(path)
        defaults = (self.database, "public")
        database, schema, name = (*defaults[: max(0, 3 - len(path))], *path)[-3:]
        relation = self.data.relations.get(f"{schema}.{name}")
        if relation is None or database != self.database or len(path) > 3:
            for _, _, other, kind in self.catalog.others:
                if other == name:
                    raise WireError(
                        "42809", f"'{shown}' cannot be subscribed to because it is a {kind.replace('-', ' ')}"
                    )
            raise WireError("42704", f"unknown catalog item '{shown}'")
        if not relation.granted:
            kind = relation.kind.replace("-", " ").upper()
            raise WireError(
                "42501",
                f'permission denied for {kind} "{relation.title}"',
                detail=f"The 'materialize' role needs SELECT privileges on {kind} \"{relation.title}\"",
            )
        return relation

    def whole(self, relation: Relation) -> Query:
        """All columns of a relation, as they are now."""
        places = tuple(range(len(relation.columns)))
        return Query(relation, tuple(relation.columns), tuple(_place(i) for i in places), places)

    def query(self, text: str) -> Query:
        """A parenthesised query: one that was registered, or a SELECT over a relation or over such a query."""
        registered = self.data.queries.get(normal(text))
        return self.whole(registered) if registered is not None else self.select(parse_select(text))

    def select(self, select: Select) -> Query:
        """A SELECT's query; 42703 for a column that does not exist."""
        source = self.whole(self.resolve(select.path)) if select.path else self.query(select.query or "")
        compiled: list[Compiled] = []
        for item in select.items:
            if item.expression == "*":
                compiled += zip(source.columns, source.cells, source.places, strict=True)
            else:
                column, cell, place = self._expression(source, item.expression)
                name = item.alias or column.name
                shown = ColumnDef(name, column.type, column.nullable, column.comment, column.default)
                compiled.append((shown, cell, place))
        columns, cells, places = zip(*compiled, strict=True) if compiled else ((), (), ())
        return Query(source.relation, tuple(columns), tuple(cells), tuple(places))

    def _expression(self, source: Query, text: str) -> Compiled:
        parts = tokens(text)
        known = self.expressions.get(normal(text))
        if known is None and _wrapped(text):
            return self._expression(source, text[parts[0].end : parts[-1].start])
        if known is not None:
            names = [column.name for column in source.columns]
            cells = source.cells

            def value(row: Row) -> str | None:
                return known.value({name: cell(row) for name, cell in zip(names, cells, strict=True)})

            return ColumnDef("?column?", known.type), value, None
        if len(parts) in (1, 3) and all(part.kind in ("word", "quoted") for part in parts[::2]):
            name = parts[-1].text
            for i, column in enumerate(source.columns):
                if column.name == name:
                    return column, source.cells[i], source.places[i]
            if name == "null" and parts[-1].kind == "word":
                return ColumnDef("?column?", sql_type("text")), lambda row: None, None
            raise WireError("42703", f'column "{name}" does not exist')
        if len(parts) == 1 and parts[0].kind in ("string", "number"):
            constant = parts[0].text
            kind = "text" if parts[0].kind == "string" else "int4" if constant.isdigit() else "numeric"
            return ColumnDef("?column?", sql_type(kind), False), lambda row: constant, None
        for part in parts:  # the likeliest fault of an expression: a column that is not there
            names = [column.name for column in source.columns]
            if part.kind == "quoted" and part.text not in names:
                raise WireError("42703", f'column "{part.text}" does not exist')
        raise WireError("0A000", f"the fake does not know the expression {text.strip()!r}: register it")

    # -- subscriptions --------------------------------------------------------------------------------------------

    def check_cluster(self, name: str) -> None:
        """42704 for a cluster that does not exist, 0A000 for one without replicas."""
        cluster = self.clusters.get(name)
        if cluster is None:
            raise WireError("42704", f"unknown cluster '{name}'")
        if not cluster.replicas:
            raise WireError("0A000", f'CLUSTER "{name}" has no replicas available to service request')

    def as_of(self, query: Query, wanted: int | None, at_least: bool, up_to: int | None) -> int:
        """The timestamp at which a SUBSCRIBE begins; 22000 if it was compacted or lies after UP TO."""
        since = self.data.since_of(query.relation)
        newest = FOREVER if query.relation.constant else max(since, self.data.upper - 1)
        chosen = newest if wanted is None else max(wanted, since) if at_least else wanted
        if chosen < since:
            raise self._compacted(query.relation, chosen, since)
        if up_to is not None and chosen > up_to:
            text = "subscription lower bound (`AS OF`) is greater than its upper bound (`UP TO`)"
            raise WireError("22000", f"{text}: {chosen} > {up_to}")
        return chosen

    def _compacted(self, relation: Relation, wanted: int, since: int) -> WireError:
        if self.old_texts:
            inputs = ", ".join(f"Antichain {{ elements: [{since}] }}" for _ in relation.inputs())
            return WireError("22000", f"Timestamp ({wanted}) is not valid for all inputs: [{inputs}]")
        ids = ", ".join(source.id for source in relation.inputs())
        return WireError(
            "22000",
            "could not find a valid timestamp for the query",
            detail=f"Constraints:\nlower:\n  (Storage inputs: [{ids}]): [{_moment(since)}]\n"
            f"upper:\n  (Query's AS OF): [{_moment(wanted)}]\n",
        )

    def subscribe(
        self, query: Query, options: Options, as_of: int, *, result_bytes: int, pid: int
    ) -> tuple[int, Subscription]:
        """Start a SUBSCRIBE; gives its number too, by which it is ended."""
        made = Subscription(query, options, as_of, buffer_bytes=self.buffer_bytes, result_bytes=result_bytes)
        self.last_number += 1
        self.subscriptions[self.last_number] = (made, pid)
        poison = self.poison(query.relation)
        if query.relation.dropped:  # between the DECLARE and its first FETCH
            made.fail(WireError("42704", f"relation '{query.relation.title}' was dropped"))
        elif poison is not None:
            made.fail(poison, at_once=False)
        elif not self.is_stalled(query.relation):
            made.publish(self.data.upper)
        self.changed()
        return self.last_number, made

    def unsubscribe(self, number: int) -> None:
        """Its client has no use for it any more."""
        if self.subscriptions.pop(number, None) is not None:
            self.changed()

    def live(self, relation: Relation | None = None) -> list[tuple[Subscription, int]]:
        """The subscriptions that have not ended, of a relation and of what reads it; with their connections' pids."""
        return [
            (made, pid)
            for made, pid in self.subscriptions.values()
            if not made.ended and (relation is None or made.query.relation.depends_on(relation))
        ]

    def poison(self, relation: Relation) -> WireError | None:
        """The error that reading a relation gives, its own or one of what it reads."""
        if relation.poison is not None:
            return relation.poison
        return next((error for source in relation.reads if (error := self.poison(source))), None)

    def is_stalled(self, relation: Relation) -> bool:
        """Whether nothing of it moves at present."""
        return self.stalled or relation.stalled or any(self.is_stalled(source) for source in relation.reads)

    def publish(self) -> None:
        """Hand everything that is closed to those who are not stalled, and free what nobody needs."""
        for made, _ in self.live():
            if not self.is_stalled(made.query.relation):
                made.publish(self.data.upper)
        self.data.forget(min((made.frontier - 1 for made, _ in self.live()), default=FOREVER))
        self.changed()


def _place(place: int) -> Callable[[Row], str | None]:
    return lambda row: row[place]


def _wrapped(text: str) -> bool:
    """Whether one pair of parentheses encloses it all."""
    parts, depth = tokens(text), 0
    if len(parts) < 3 or parts[0].text != "(" or parts[0].kind != "op":
        return False
    for i, part in enumerate(parts):
        if part.kind == "op":
            depth += {"(": 1, ")": -1}.get(part.text, 0)
        if depth == 0:
            return i == len(parts) - 1
    return False


def _moment(timestamp: int) -> str:
    try:
        when = datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return f"{timestamp} ({when:%Y-%m-%d %H:%M:%S}.{timestamp % 1000:03d})"

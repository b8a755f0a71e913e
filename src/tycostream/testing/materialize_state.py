"""What all sessions of a fake Materialize share: names to relations, running subscriptions, limits and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tycostream.testing.materialize_catalog import Catalog, Cluster
from tycostream.testing.materialize_data import FOREVER, Data, Relation
from tycostream.testing.materialize_subscribe import Options, Query, Subscription
from tycostream.testing.materialize_types import sql_type
from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.sql_items import SelectItems, whole
from tycostream.testing.sql_text import Select, normal, parse_select


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
    items: SelectItems = field(default_factory=lambda: SelectItems(sql_type))
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
        return Query(relation, *whole(relation.columns))

    def query(self, text: str) -> Query:
        """A parenthesised query: one that was registered, or a SELECT over a relation or over such a query."""
        registered = self.data.queries.get(normal(text))
        return self.whole(registered) if registered is not None else self.select(parse_select(text))

    def select(self, select: Select) -> Query:
        """A SELECT's query; 42703 for a column that does not exist."""
        source = self.whole(self.resolve(select.path)) if select.path else self.query(select.query or "")
        return Query(source.relation, *self.items.compile(select.items, source))

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


def _moment(timestamp: int) -> str:
    try:
        when = datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return f"{timestamp} ({when:%Y-%m-%d %H:%M:%S}.{timestamp % 1000:03d})"

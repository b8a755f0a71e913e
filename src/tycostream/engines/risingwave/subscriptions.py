"""Which subscription a source is read by: one that the configuration names, or one that we make and remove again.

What we make is called ``tycostream_<configuration>$<source>$<digest of what it reads>``, a materialized view so, its
subscription with ``$log`` behind it. "$" stands in no name of a configuration, so that none is taken for another's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Leftover
from tycostream.engines.catalog import closest
from tycostream.engines.control import Control
from tycostream.engines.libpq import Connection, fail, retry
from tycostream.engines.names import literal, quoted, shown
from tycostream.engines.risingwave.catalogue import Relation, find, split_name
from tycostream.engines.risingwave.connect import ask
from tycostream.engines.risingwave.errors import Refused

if TYPE_CHECKING:
    from tycostream.engines.risingwave.engine import RisingWaveEngine

LOG: Final = "$log"
_MAKING_S: Final = 3600.0  # a materialized view is there when all rows were computed
_UNKNOWN_S: Final = 60  # of a retention that the catalogue does not tell: the least that we make
_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\s".]+)'
_FROM: Final = re.compile(rf"\bFROM\s+({_NAME}(?:\s*\.\s*{_NAME})?)\s+WITH\b", re.IGNORECASE)
_SUBSCRIPTIONS: Final = (
    "SELECT s.id, n.name, s.name, s.definition, {} FROM rw_catalog.rw_subscriptions s "
    "JOIN rw_catalog.rw_schemas n ON n.id = s.schema_id"
)
_CURSORS: Final = "SHOW SUBSCRIPTION CURSORS"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as the catalogue knows it. ``reads``: the table as its definition writes it, "" if that does not read."""

    id: str
    schema: str
    name: str
    retention_s: int
    reads: str = ""

    @property
    def sql(self) -> str:
        """Its name for statements."""
        return quoted(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Target:
    """What a cursor is declared for. ``identity``: another one is another history."""

    subscription: Subscription
    identity: str


def prefix(config_name: str) -> str:
    """How the names of what a configuration makes begin."""
    return f"tycostream_{config_name}$"


def view_name(config_name: str, source: SourceConfig, relation: Relation) -> str:
    """The name of what we make for a source: another one for another definition."""
    reads = relation.view or relation.title
    return f"{prefix(config_name)}{source.name}${hashlib.sha256(reads.encode()).hexdigest()[:8]}"


def creating(source: SourceConfig, relation: Relation, retention_s: int) -> str:
    """The statement that a person runs for a source without a subscription."""
    name = shown(relation.schema, f"{relation.name}_changes")
    table = shown(relation.schema, relation.name)
    return f"CREATE SUBSCRIPTION {name} FROM {table} WITH (retention = '{retention_s} seconds');"


async def load(control: Control, schema: str | None = None, name: str | None = None) -> list[Subscription]:
    """Subscriptions of a name, or all."""
    where = (
        f" WHERE s.name = {literal(name)} AND n.name = {literal(schema or 'public')}"
        if name is not None
        else ""
    )
    try:
        rows = await control.run(_SUBSCRIPTIONS.format("s.retention_seconds") + where)
    except psycopg.OperationalError:
        raise
    except psycopg.Error:  # the catalogue of older versions has no such column
        rows = await control.run(_SUBSCRIPTIONS.format("NULL") + where)
    found = []
    for number, in_schema, its_name, definition, kept in rows:
        reads = _FROM.search(str(definition or ""))
        found.append(
            Subscription(
                str(number),
                str(in_schema),
                str(its_name),
                _UNKNOWN_S if kept is None else int(kept),
                "" if reads is None else reads[1],
            )
        )
    return found


def over(subscription: Subscription, relation: Relation) -> bool:
    """Whether a subscription reads a relation, as far as its definition says."""
    if not subscription.reads:
        return True
    names = re.findall(_NAME, subscription.reads)
    plain = [n[1:-1].replace('""', '"') if n.startswith('"') else n for n in names]
    wanted = [relation.schema, relation.name][-len(plain) :]
    return [n.lower() for n in plain] == [n.lower() for n in wanted]


async def chosen(control: Control, source: SourceConfig, relation: Relation, retention_s: int) -> Target:
    """The existing subscription of a source that we do not manage; UpstreamError with a remedy."""
    known = await load(control)
    fitting = [f"{each.schema}.{each.name}" for each in known if each.reads and over(each, relation)]
    if source.subscription is None:
        hint = creating(source, relation, retention_s)
        if fitting:
            hint = f"there is {', '.join(fitting)}: name it in `subscription:` of the source"
        raise fail(
            "no-subscription",
            f"source {source.name}: no subscription over {relation.title} is named, and we may not create one",
            hint=f"{hint} Or set `manage: true` of the database",
        )
    schema, name = split_name(source.subscription)
    for each in known:
        if (each.schema, each.name) != (schema, name):
            continue
        if not over(each, relation):
            raise fail(
                "subscription-other",
                f"source {source.name}: subscription {schema}.{name} reads {each.reads}, not {relation.title}",
                hint=f"name another: {', '.join(fitting)}"
                if fitting
                else "correct `subscription:` or `table:`",
            )
        return Target(each, f"{relation.identity}/{each.id}")
    raise fail(
        "subscription-missing",
        f"source {source.name}: there is no subscription {schema}.{name}",
        detail=f"subscriptions over {relation.title}: {', '.join(fitting) or 'none'}",
        hint=closest(f"{schema}.{name}", fitting) or creating(source, relation, retention_s),
    )


async def prepared(
    engine: RisingWaveEngine, source: SourceConfig, relation: Relation, connection: Connection
) -> Target:
    """What a source is read by, made if we may and it is not there; Refused or UpstreamError if it cannot be had."""
    control, config = engine.control, engine.config
    retention_s = int(config.retention.total_seconds())
    if source.subscription is not None or not config.manage:
        return await chosen(control, source, relation, retention_s)
    name = view_name(engine.config_name, source, relation)
    read = relation
    if relation.view:
        view = await find(control, relation.schema, name)
        if view is None:
            made = quoted(relation.schema, name)
            await _make(connection, f"CREATE MATERIALIZED VIEW {made} AS {relation.view}", _MAKING_S)
            view = await find(control, relation.schema, name)
        if view is None:
            raise retry(
                "view-missing", f"source {source.name}: the materialized view {name} is not there yet"
            )
        if _shape(view) != _shape(relation):
            raise fail(
                "view-other",
                f"source {source.name}: the columns of {relation.schema}.{name} are not those of its definition",
                detail=f"{_shape(view)}, where {_shape(relation)} were due",
                hint="cast what has no clear type in `query` or `fields`; or, if somebody else made it: "
                f"DROP MATERIALIZED VIEW {shown(relation.schema, name)} CASCADE; it is made anew",
            )
        read = view
    subscription = await _managed(engine, source.name, name + LOG, read, retention_s, connection)
    return Target(subscription, f"{read.identity}/{subscription.id}")


def must_read(subscription: Subscription, relation: Relation, source: str) -> None:
    """UpstreamError if a subscription of ours is another table's: the rows would be the other's, without a sign of it."""
    if not over(subscription, relation):
        raise fail(
            "subscription-other",
            f"source {source}: our subscription {subscription.schema}.{subscription.name} "
            f"reads {subscription.reads}, not {relation.title}",
            detail="a table keeps its subscription when it is renamed or swapped",
            hint=f"DROP SUBSCRIPTION {shown(subscription.schema, subscription.name)}; it is made anew",
        )


def _shape(relation: Relation) -> str:
    """Names and types: a cursor's rows are told apart from those of another shape by them."""
    columns = zip(relation.columns, relation.oids, strict=True)
    return ", ".join(f"{column.name} {column.type_name} ({oid})" for column, oid in columns)


async def _managed(
    engine: RisingWaveEngine,
    source: str,
    name: str,
    relation: Relation,
    retention_s: int,
    connection: Connection,
) -> Subscription:
    """Our subscription over a table, with the configured retention."""
    schema = relation.schema
    found = await load(engine.control, schema, name)
    if not found:
        made = f"CREATE SUBSCRIPTION {quoted(schema, name)} FROM {relation.sql} WITH (retention = '{retention_s} seconds')"
        await _make(connection, made, engine.config.statement_timeout.total_seconds())
        found = await load(engine.control, schema, name)
    if not found:
        raise retry("subscription-missing", f"the subscription {schema}.{name} is not there yet")
    must_read(found[0], relation, source)
    if found[0].retention_s != retention_s:
        other = f"ALTER SUBSCRIPTION {quoted(schema, name)} SET RETENTION TO '{retention_s} seconds'"
        try:
            await ask(connection, other, engine.config.statement_timeout.total_seconds())
        except Refused as refused:
            if not refused.error.state:  # the connection broke
                raise
            return found[0]  # an older version cannot: it goes on with what it has, and check says so
        found = await load(engine.control, schema, name) or found
    return found[0]


async def _make(connection: Connection, statement: str, timeout_s: float) -> None:
    """Create something; that another process of ours did so at the same moment is as good."""
    try:
        await ask(connection, statement, timeout_s)
    except Refused as refused:
        if "exists" not in refused.error.text:  # what is missing "does not exist"
            raise


async def leftovers(control: Control, config_name: str) -> list[Leftover]:
    """What a configuration made, subscriptions before the views that they read."""
    ours = [each for each in await load(control) if each.name.startswith(prefix(config_name))]
    used = await _used(control)
    found = [
        Leftover(
            "subscription",
            shown(each.schema, each.name),
            f"DROP SUBSCRIPTION {each.sql};",
            used is None or each.name in used,
        )
        for each in ours
    ]
    views = await control.run(
        "SELECT s.name, v.name FROM rw_catalog.rw_materialized_views v "
        "JOIN rw_catalog.rw_schemas s ON s.id = v.schema_id ORDER BY s.name, v.name"
    )
    busy = {left.name for left in found if left.in_use}
    for schema, name in views:
        if name.startswith(prefix(config_name)):
            in_use = used is None or shown(schema, name + LOG) in busy
            drop = f"DROP MATERIALIZED VIEW {quoted(schema, name)};"
            found.append(Leftover("materialized view", shown(schema, name), drop, in_use))
    return found


async def _used(control: Control) -> set[str] | None:
    """The subscriptions that some session of the cluster reads; None if this version tells of its own frontend's only."""
    try:
        rows = await control.table(_CURSORS)
        names = [name for name, _ in await control.describe(_CURSORS)]
    except psycopg.Error:
        return None
    if not any("worker" in name.lower() for name in names):
        return None
    read = next((name for name in names if "subscription" in name.lower()), "")
    return {str(row[read]).rpartition(".")[2].strip('"') for row in rows} if read else None


async def remove(control: Control, found: Sequence[Leftover]) -> list[Leftover]:
    """Remove what is not in use; gives what was removed. psycopg.Error if we may not."""
    removed = []
    for left in found:
        if not left.in_use:
            await control.run(left.sql.rstrip(";"))
            removed.append(left)
    return removed

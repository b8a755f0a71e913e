"""What ``tycostream check`` says of a RisingWave: version, rights, keys, subscriptions, each with its remedy. It makes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Finding
from tycostream.engines.meanings import server_error
from tycostream.engines.risingwave import catalogue, subscriptions
from tycostream.engines.risingwave.catalogue import Relation
from tycostream.engines.risingwave.errors import meaning, translate
from tycostream.errors import UpstreamError
from tycostream.rows import RowType

if TYPE_CHECKING:
    from tycostream.engines.risingwave.engine import RisingWaveEngine


class Check:
    """One look at the database and its sources."""

    def __init__(self, engine: RisingWaveEngine) -> None:
        self._engine = engine
        self._control = engine.control

    async def findings(self, sources: Sequence[SourceConfig]) -> list[Finding]:
        """Every finding; never an exception of the database's."""
        subject = f"database {self._engine.name}"
        try:
            findings = [Finding(subject, True, await self._engine.version())]
        except UpstreamError as error:
            return [Finding(subject, False, error.message, error.hint or error.detail)]
        except psycopg.Error as error:
            wrong = translate(error, self._engine.url, "looking at the server")
            return [Finding(subject, False, wrong.message, wrong.detail)]
        for source in sources:
            findings += await self._source_findings(source)
        return findings

    async def _source_findings(self, source: SourceConfig) -> list[Finding]:
        subject = f"source {source.name}"
        try:
            shape = await self._engine.describe(source)
            relation = await self._engine.relation_of(source)
            said = f"{relation.kind} {relation.title}" if relation.name else "a query"
            return [
                Finding(subject, True, f"{said}, {len(shape.columns)} columns"),
                self._key(subject, relation, shape),
                *await self._duplicates(subject, relation, shape),
                *await self._subscription(subject, source, relation),
            ]
        except UpstreamError as error:
            return [Finding(subject, False, error.message, error.hint or error.detail)]
        except psycopg.Error as error:
            wrong = meaning(server_error(error), source.name, self._engine.url, self._engine.role)
            return [Finding(subject, False, wrong.message, wrong.hint or wrong.detail)]

    def _key(self, subject: str, relation: Relation, shape: RowType) -> Finding:
        key = ", ".join(shape.columns[i].name for i in shape.key)
        if not key:
            hint = "name one in `primary_key:`; without it rows are a multiset: no _by_pk, no updates"
            return Finding(subject, False, "has no key that can be seen", hint, fatal=False)
        if shape.watched:
            return Finding(
                subject, True, f"key {key}, watched: RisingWave does not promise that it is unique"
            )
        return Finding(subject, True, f"key {key}, the primary key of {relation.title}")

    async def _duplicates(self, subject: str, relation: Relation, shape: RowType) -> list[Finding]:
        """Look for two rows of one key, now; a row that is computed for us is left to the watch at run time."""
        key = [shape.columns[i].name for i in shape.key]
        if not shape.watched or relation.view:
            return []
        try:
            rows = await self._control.run(catalogue.duplicates_sql(relation, key))
        except UpstreamError as error:
            if error.code != "statement-timeout":
                raise
            said = "whether its key is unique was not found out in time; it is watched at run time"
            return [
                Finding(subject, False, said, "raise `statement_timeout` to have it checked", fatal=False)
            ]
        if not rows:
            return []
        shown = ", ".join(f"{name} = {cell}" for name, cell in zip(key, rows[0], strict=False))
        return [
            Finding(
                subject,
                False,
                f"its key is not unique: {rows[0][-1]} rows have {shown}",
                "name a key that is unique in `primary_key:`, or make it unique upstream",
            )
        ]

    async def _subscription(self, subject: str, source: SourceConfig, relation: Relation) -> list[Finding]:
        config = self._engine.config
        retention_s = int(config.retention.total_seconds())
        if source.subscription is not None or not config.manage:
            target = await subscriptions.chosen(self._control, source, relation, retention_s)
            return [_kept(subject, target.subscription)]
        name = subscriptions.view_name(self._engine.config_name, source, relation)
        findings = []
        if relation.view and await catalogue.find(self._control, relation.schema, name) is None:
            said = f"the materialized view {name} will be created when the server starts"
            findings.append(Finding(subject, True, said, "`tycostream cleanup` removes it again"))
        found = await subscriptions.load(self._control, relation.schema, name + subscriptions.LOG)
        if not found:
            said = f"a subscription that keeps {retention_s} s will be created when the server starts"
            return [*findings, Finding(subject, True, said, "`tycostream cleanup` removes it again")]
        if not relation.view:
            subscriptions.must_read(found[0], relation, source.name)
        if found[0].retention_s != retention_s:
            said = f"its subscription keeps {found[0].retention_s} s, and the file says {retention_s} s"
            hint = f"ALTER SUBSCRIPTION {found[0].sql} SET RETENTION TO '{retention_s} seconds';"
            return [*findings, Finding(subject, False, said, hint, fatal=False)]
        return [*findings, _kept(subject, found[0])]


def _kept(subject: str, subscription: subscriptions.Subscription) -> Finding:
    said = f"subscription {subscription.schema}.{subscription.name} keeps {subscription.retention_s} s"
    if subscription.retention_s >= 60:
        return Finding(subject, True, said)
    return Finding(
        subject,
        False,
        f"{said}, so that its cursors hardly live",
        f"ALTER SUBSCRIPTION {subscription.sql} SET RETENTION TO '1 hour';",
        fatal=False,
    )

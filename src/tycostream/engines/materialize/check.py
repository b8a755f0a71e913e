"""What ``tycostream check`` says of a Materialize: rights, cluster, keys, history, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tycostream.config.model import SourceConfig
from tycostream.engines.base import Finding
from tycostream.engines.materialize import catalogue
from tycostream.engines.materialize.catalogue import Relation
from tycostream.engines.materialize.errors import meaning, translate
from tycostream.engines.meanings import server_error
from tycostream.engines.names import literal, quoted
from tycostream.errors import UpstreamError
from tycostream.rows import RowType

if TYPE_CHECKING:
    from tycostream.engines.materialize.engine import MaterializeEngine

_HISTORY_DEFAULT_MS: Final = 1_000


class Check:
    """One look at the database and its sources."""

    def __init__(self, engine: MaterializeEngine) -> None:
        self._engine = engine
        self._run = engine.control.run

    async def findings(self, sources: Sequence[SourceConfig]) -> list[Finding]:
        """Every finding; never an exception of the database's."""
        subject = f"database {self._engine.name}"
        try:
            findings = await self._server_findings(subject)
        except UpstreamError as error:
            return [Finding(subject, False, error.message, error.hint or error.detail)]
        except psycopg.Error as error:
            wrong = translate(error, self._engine.url, "looking at the server")
            return [Finding(subject, False, wrong.message, wrong.detail)]
        for source in sources:
            findings += await self._source_findings(source)
        return findings

    async def _server_findings(self, subject: str) -> list[Finding]:
        run = self._run
        _, version, database = (await run(catalogue.IDENTITY))[0]
        cluster = str((await run("SHOW cluster"))[0][0])
        replicas = await run(
            "SELECT count(*) FROM mz_catalog.mz_cluster_replicas r "
            f"JOIN mz_catalog.mz_clusters c ON c.id = r.cluster_id WHERE c.name = {literal(cluster)}"
        )
        known = await run(f"SELECT 1 FROM mz_catalog.mz_clusters c WHERE c.name = {literal(cluster)}")
        findings = [Finding(subject, True, f"Materialize {version}, database {database}")]
        if not known:
            findings.append(
                Finding(
                    subject,
                    False,
                    f"there is no cluster {cluster}",
                    "name another in `cluster:`, or CREATE CLUSTER",
                )
            )
        else:
            count = int(replicas[0][0])
            hint = f"ALTER CLUSTER {quoted(cluster)} SET (REPLICATION FACTOR 1);"
            findings.append(
                Finding(subject, count > 0, f"cluster {cluster} has {count} replicas", "" if count else hint)
            )
        findings.append(
            Finding(subject, True, f"max_result_size is {(await run('SHOW max_result_size'))[0][0]}")
        )
        return findings

    async def _source_findings(self, source: SourceConfig) -> list[Finding]:
        subject = f"source {source.name}"
        try:
            shape = await self._engine.describe(source)
            relation = await self._engine.relation_of(source)
            findings = [
                Finding(subject, True, f"{relation.kind} {relation.title}, {len(shape.columns)} columns"),
                self._key_finding(subject, source, relation, shape),
                *await self._duplicates(subject, relation, shape),
                await self._history(subject, source, relation),
            ]
        except UpstreamError as error:
            return [Finding(subject, False, error.message, error.hint or error.detail)]
        except psycopg.Error as error:
            wrong = meaning(server_error(error), source.name, self._engine.url, self._engine.role)
            return [Finding(subject, False, wrong.message, wrong.hint or wrong.detail)]
        return findings

    def _key_finding(self, subject: str, source: SourceConfig, relation: Relation, shape: RowType) -> Finding:
        key = tuple(shape.columns[i].name for i in shape.key)
        if not key:
            hint = "name one in `primary_key:`; without it rows are a multiset: no _by_pk, no updates"
            return Finding(subject, False, "has no key", hint, fatal=False)
        if any(set(known) <= set(key) for known in relation.keys):
            return Finding(subject, True, f"key {', '.join(key)}, which Materialize knows to be unique")
        return Finding(
            subject, True, f"key {', '.join(key)}, watched: Materialize does not promise that it is unique"
        )

    async def _duplicates(self, subject: str, relation: Relation, shape: RowType) -> list[Finding]:
        """Look for two rows of one key, now; a row that is computed here is left to the watch at run time."""
        key = [shape.columns[i].name for i in shape.key]
        own = {column.name for column in relation.columns}
        if not key or relation.kind == "query" or not set(key) <= own:
            return []
        try:
            rows = await self._run(catalogue.duplicates_sql(relation, key))
        except UpstreamError as error:
            if error.code != "statement-timeout":
                raise
            return [
                Finding(
                    subject,
                    False,
                    "whether its key is unique was not found out in time; it is watched at run time",
                    "raise `statement_timeout` to have it checked",
                    fatal=False,
                )
            ]
        if not rows:
            return []
        shown = ", ".join(f"{name} = {cell}" for name, cell in zip(key, rows[0], strict=False))
        return [
            Finding(
                subject,
                False,
                f"its key is not unique: {rows[0][-1]} rows have {shown}",
                "name a key that is unique in `primary_key:`, or make it unique in the view",
            )
        ]

    async def _history(self, subject: str, source: SourceConfig, relation: Relation) -> Finding:
        """How far back a lost stream can be resumed; the strategies live in an unstable schema, so none is no error."""
        keep_ms = int(source.live.log.keep.total_seconds() * 1000)
        ids = relation.identity.split(",")
        listed = ", ".join(literal(name) for name in ids)
        try:
            rows: list[tuple[Any, ...]] = await self._run(
                f"SELECT h.id, h.value FROM mz_internal.mz_history_retention_strategies h WHERE h.id IN ({listed})"
            )
        except psycopg.Error:
            rows = []
        known = {str(row[0]): int(str(row[1]).strip('"')) for row in rows if str(row[1]).strip('"').isdigit()}
        history_ms = min((known.get(name, _HISTORY_DEFAULT_MS) for name in ids), default=_HISTORY_DEFAULT_MS)
        said = f"Materialize keeps {history_ms / 1000:g} s of its history"
        if history_ms >= keep_ms or relation.identity == "constant":
            return Finding(subject, True, said)
        hint = (
            f"after a longer loss it is read again; to resume instead: {_retain(relation, keep_ms // 1000)}"
        )
        return Finding(subject, True, said, hint)


def _retain(relation: Relation, seconds: int) -> str:
    """The statement that keeps history; a view and a query keep none of their own."""
    if relation.kind not in ("table", "source", "materialized-view"):
        return f"RETAIN HISTORY FOR '{seconds}s' on everything it reads"
    kind = relation.kind.replace("-", " ").upper()
    return f"ALTER {kind} {relation.sql} SET (RETAIN HISTORY FOR '{seconds}s');"

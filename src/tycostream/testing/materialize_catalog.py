"""A fake Materialize's system catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tycostream.testing.materialize_data import Data, Relation
from tycostream.testing.materialize_types import TYPES
from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.sql_catalog import Asker, Contents, Function, SqlCatalog

_TABLES: Final = {
    "mz_catalog.mz_databases": "id text, oid oid, name text, owner_id text",
    "mz_catalog.mz_schemas": "id text, oid oid, database_id text, name text, owner_id text",
    "mz_catalog.mz_objects": "id text, oid oid, schema_id text, name text, type text, owner_id text, cluster_id text",
    "mz_catalog.mz_tables": "id text, oid oid, schema_id text, name text, owner_id text, source_id text",
    "mz_catalog.mz_views": "id text, oid oid, schema_id text, name text, owner_id text",
    "mz_catalog.mz_columns": "id text, name text, position uint8, nullable bool, type text, [default] text, "
    "type_oid oid, type_mod int4",
    "mz_catalog.mz_types": "id text, oid oid, schema_id text, name text, category text",
    "mz_catalog.mz_clusters": "id text, name text, owner_id text, managed bool, size text, replication_factor uint4",
    "mz_catalog.mz_cluster_replicas": "id text, name text, cluster_id text, size text, owner_id text",
    "mz_catalog.mz_indexes": "id text, oid oid, name text, on_id text, cluster_id text, owner_id text",
    "mz_catalog.mz_index_columns": "index_id text, index_position uint8, on_position uint8, on_expression text, "
    "nullable bool",
    "mz_catalog.mz_roles": "id text, oid oid, name text, inherit bool",
    "mz_internal.mz_comments": "id text, object_type text, object_sub_id int4, comment text",
    "mz_internal.mz_history_retention_strategies": "id text, strategy text, value jsonb",
    "mz_internal.mz_subscriptions": "id text, session_id text, cluster_id text, created_at timestamptz, "
    "referenced_object_ids text",
    "mz_internal.mz_object_dependencies": "object_id text, referenced_object_id text",
}
# A word of these says that a SELECT is for the catalogue; other words may be a user's, mz_diff among them.
CATALOG_WORDS: Final = frozenset(part for name in _TABLES for part in name.split("."))
_FUNCTION_OIDS: Final = {"mz_now": 16552, "has_table_privilege": 16}


@dataclass(slots=True)
class Cluster:
    """A cluster and how many replicas it has."""

    id: str
    name: str
    replicas: int = 1


class Catalog(SqlCatalog):
    """The catalogue of some data; ``stale`` makes the next query see the present."""

    def __init__(
        self,
        data: Data,
        clusters: dict[str, Cluster],
        *,
        environment: Callable[[], str],
        version: str,
        cancel: Callable[[int], bool],
    ) -> None:
        self._data = data
        self._clusters = clusters
        self.subscriptions: Callable[[], Iterable[tuple[str, str, str]]] = tuple  # id, session, object id
        self.indexes: list[tuple[str, int, str, Relation, tuple[str, ...]]] = []
        self.others: list[tuple[str, int, str, str]] = []  # id, OID, name, type: what cannot be subscribed to
        functions: dict[str, tuple[int, Function]] = {
            "mz_environment_id": (0, environment),
            "mz_version": (0, lambda: version),
            "version": (0, lambda: f"PostgreSQL 9.5 on x86_64-unknown-linux-gnu (Materialize {version})"),
            "pg_cancel_backend": (1, lambda pid: float(cancel(int(pid)))),
            "mz_now": (0, lambda: str(data.upper - 1)),
            "has_table_privilege": (-1, self._privilege),
        }
        super().__init__(
            _TABLES,
            {name: oid for name, (oid, _) in TYPES.items()},
            functions,
            _FUNCTION_OIDS,
            Asker("materialize", "materialize", 0),
        )

    def _privilege(self, *arguments: object) -> float:
        """has_table_privilege([user,] relation by name or OID, privileges)."""
        wanted = arguments[-2] if len(arguments) > 1 else None
        for relation in self._data.relations.values():
            names = (relation.name, f"{relation.schema}.{relation.name}", relation.title)
            if wanted == relation.oid or str(wanted).replace('"', "") in (*names, str(relation.oid)):
                return float(relation.granted)
        return 0.0

    # -- contents -------------------------------------------------------------------------------------------------

    def _fill(self, rows: Contents) -> None:
        self._data.learn()
        catalog, internal = "mz_catalog.mz_", "mz_internal.mz_"
        schemas = sorted({relation.schema for relation in self._data.relations.values()} | {"public"})
        ids = {schema: f"u{number}" for number, schema in enumerate(schemas, 3)}
        rows[catalog + "databases"].append(("u1", 20001, "materialize", "s1"))
        rows[catalog + "schemas"] += [
            (ids[schema], 20002 + number, "u1", schema, "s1") for number, schema in enumerate(schemas)
        ]
        rows[catalog + "roles"] += [("s1", 10001, "mz_system", True), ("u1", 20003, self._asker.user, True)]
        rows[catalog + "types"] += [
            (f"s{oid}", oid, "s1", name, "array" if name[0] == "_" else "builtin")
            for name, (oid, _) in TYPES.items()
        ]
        for cluster in self._clusters.values():
            size, count = "25cc", cluster.replicas
            rows[catalog + "clusters"].append((cluster.id, cluster.name, "s1", True, size, count))
            rows[catalog + "cluster_replicas"] += [
                (f"u{number}", f"r{number}", cluster.id, size, "s1") for number in range(1, count + 1)
            ]
        first = next(iter(self._clusters.values())).id if self._clusters else None
        for relation in self._data.relations.values():
            self._fill_relation(rows, relation, ids[relation.schema], first)
        for object_id, oid, name, on, columns in self.indexes:
            if not on.dropped:
                rows[catalog + "objects"].append((object_id, oid, ids[on.schema], name, "index", "u1", first))
                rows[catalog + "indexes"].append((object_id, oid, name, on.id, first, "u1"))
                names = [column.name for column in on.columns]
                rows[catalog + "index_columns"] += [
                    (
                        object_id,
                        place,
                        names.index(column) + 1,
                        None,
                        on.columns[names.index(column)].nullable,
                    )
                    for place, column in enumerate(columns, 1)
                ]
        rows[catalog + "objects"] += [
            (object_id, oid, ids["public"], name, kind, "u1", None)
            for object_id, oid, name, kind in self.others
        ]
        rows[internal + "subscriptions"] += [
            (number, session, first, "1970-01-01 00:00:00+00", "{" + object_id + "}")
            for number, session, object_id in self.subscriptions()
        ]

    @staticmethod
    def _fill_relation(rows: Contents, relation: Relation, schema_id: str, cluster_id: str | None) -> None:
        catalog, internal = "mz_catalog.mz_", "mz_internal.mz_"
        head = (relation.id, relation.oid, schema_id, relation.name)
        where = cluster_id if relation.kind in ("materialized-view", "source") else None
        rows[catalog + "objects"].append((*head, relation.kind, "u1", where))
        if relation.kind == "table":
            rows[catalog + "tables"].append((*head, "u1", None))
        if relation.kind == "view":
            rows[catalog + "views"].append((*head, "u1"))
        else:  # a plain view has no history of its own
            rows[internal + "history_retention_strategies"].append(
                (relation.id, "FOR", str(relation.retain_ms))
            )
        for place, column in enumerate(relation.columns, 1):
            kind = column.type
            rows[catalog + "columns"].append(
                (
                    relation.id, column.name, place, column.nullable, kind.shown, column.default, kind.oid,
                    kind.typmod,
                )
            )  # fmt: skip
            if column.comment is not None:
                rows[internal + "comments"].append((relation.id, relation.kind, place, column.comment))
        if relation.comment is not None:
            rows[internal + "comments"].append((relation.id, relation.kind, None, relation.comment))
        rows[internal + "object_dependencies"] += [(relation.id, source.id) for source in relation.reads]

    def _missing(self, name: str) -> WireError:
        return WireError("42704", f"unknown catalog item '{name}'")

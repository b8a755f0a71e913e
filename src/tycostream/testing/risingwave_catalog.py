"""A fake RisingWave's system catalogue. What a user may not read is not in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.risingwave_data import Data, Relation, Subscription
from tycostream.testing.risingwave_errors import not_found
from tycostream.testing.risingwave_types import OIDS, TEXT_OID
from tycostream.testing.sql_catalog import Asker, Contents, Function, SqlCatalog

_OBJECT: Final = "id int4, name varchar, schema_id int4, owner int4, definition varchar"
_TIMES: Final = (
    "initialized_at timestamptz, created_at timestamptz, initialized_at_cluster_version varchar, "
    "created_at_cluster_version varchar"
)
_TABLES: Final = {
    "rw_catalog.rw_databases": "id int4, name varchar, owner int4, acl _varchar",
    "rw_catalog.rw_schemas": "id int4, name varchar, owner int4, acl _varchar",
    "rw_catalog.rw_users": "id int4, name varchar, is_super bool, create_db bool, create_user bool, can_login bool",
    "rw_catalog.rw_tables": f"{_OBJECT}, append_only bool, acl _varchar, {_TIMES}",
    "rw_catalog.rw_materialized_views": f"{_OBJECT}, append_only bool, acl _varchar, {_TIMES}, background_ddl bool",
    "rw_catalog.rw_views": f"{_OBJECT}, acl _varchar",
    "rw_catalog.rw_sources": f"{_OBJECT}, connector varchar, append_only bool, acl _varchar, {_TIMES}",
    "rw_catalog.rw_sinks": f"{_OBJECT}, connector varchar, sink_type varchar, acl _varchar, {_TIMES}",
    "rw_catalog.rw_subscriptions": "id int4, name varchar, schema_id int4, schema_name varchar, owner int4, "
    f"definition varchar, retention_seconds int8, acl _varchar, {_TIMES}",
    "rw_catalog.rw_relations": "id int4, name varchar, relation_type varchar, schema_id int4, owner int4, "
    "definition varchar, acl _varchar",
    "rw_catalog.rw_columns": "relation_id int4, name varchar, position int4, is_hidden bool, is_primary_key bool, "
    "is_distribution_key bool, is_generated bool, is_nullable bool, generation_expression varchar, "
    "data_type varchar, type_oid int4, type_len int2, udt_type varchar",
    "rw_catalog.rw_description": "objoid int4, classoid int4, objsubid int4, description varchar",
    "rw_catalog.rw_depend": "objid int4, refobjid int4",
    "pg_catalog.pg_namespace": "oid int4, nspname varchar, nspowner int4, nspacl varchar",
    "pg_catalog.pg_class": "oid int4, relname varchar, relnamespace int4, relowner int4, relkind varchar",
    "pg_catalog.pg_attribute": "attrelid int4, attname varchar, atttypid int4, attlen int2, attnum int2, "
    "attnotnull bool, atthasdef bool, attisdropped bool, attidentity varchar, attgenerated varchar, atttypmod int4",
    "pg_catalog.pg_type": "oid int4, typname varchar, typnamespace int4, typtype varchar, typelem int4",
    "pg_catalog.pg_index": "indexrelid int4, indrelid int4, indnatts int2, indisunique bool, indisprimary bool, "
    "indkey varchar",
    "pg_catalog.pg_description": "objoid int4, classoid int4, objsubid int4, description varchar",
    "pg_catalog.pg_database": "oid int4, datname varchar",
    "pg_catalog.pg_user": "usesysid int4, usename varchar, usesuper bool, usecreatedb bool",
    "information_schema.schemata": "catalog_name varchar, schema_name varchar, schema_owner varchar",
    "information_schema.tables": "table_catalog varchar, table_schema varchar, table_name varchar, "
    "table_type varchar, is_insertable_into varchar",
    "information_schema.columns": "table_catalog varchar, table_schema varchar, table_name varchar, "
    "column_name varchar, ordinal_position int4, is_nullable varchar, data_type varchar",
}
# Before version 3 a subscription's retention stood in its definition only.
_OLD_SUBSCRIPTIONS: Final = f"{_OBJECT}, acl _varchar, {_TIMES}"
# A word of these says that a SELECT is for the catalogue; ``tables`` and ``columns`` may be a user's.
CATALOG_WORDS: Final = frozenset(part for name in _TABLES for part in name.split(".") if "_" in part)
_FUNCTION_OIDS: Final = {
    "now": 1184,
    "has_table_privilege": 16,
    "has_schema_privilege": 16,
    "has_database_privilege": 16,
}
_SCHEMAS: Final = {"pg_catalog": 2, "public": 3, "information_schema": 4, "rw_catalog": 5}
_LISTED: Final = {
    "table": "tables",
    "materialized view": "materialized_views",
    "view": "views",
    "source": "sources",
    "sink": "sinks",
}
_LENGTHS: Final = {16: 1, 20: 8, 21: 2, 23: 4, 700: 4, 701: 8, 1082: 4, 1083: 8, 1114: 8, 1184: 8}
_OWNER: Final = 1
_RELKINDS: Final = {"table": "r", "materialized view": "m", "view": "v", "source": "x", "sink": "x"}
_INFORMATION_KINDS: Final = {
    "table": "BASE TABLE",
    "materialized view": "MATERIALIZED VIEW",
    "view": "VIEW",
    "source": "SOURCE",
    "sink": "SINK",
}


def modern(version: str) -> bool:
    """Whether it is version 3 or later."""
    return int(version.partition(".")[0]) >= 3


class Catalog(SqlCatalog):
    """See SqlCatalog."""

    def __init__(self, data: Data, *, database: str, version: str) -> None:
        self._data = data
        self._database = database
        self._version = version
        self._modern = modern(version)
        functions: dict[str, tuple[int, Function]] = {
            "version": (0, lambda: f"PostgreSQL 13.14.0-RisingWave-{version}"),
            "now": (0, self._now),
            "has_table_privilege": (-1, self._table_privilege),
            "has_schema_privilege": (-1, lambda *_: 1.0),
            "has_database_privilege": (-1, lambda *_: 1.0),
            "obj_description": (-1, lambda oid, *_: self._comment(oid, None)),
            "col_description": (2, self._comment),
        }
        old = {} if self._modern else {"rw_catalog.rw_subscriptions": _OLD_SUBSCRIPTIONS}
        super().__init__(_TABLES | old, OIDS, functions, _FUNCTION_OIDS, Asker(database, "root", 0), TEXT_OID)

    def _missing(self, name: str) -> WireError:
        return not_found("table or source", name.split(".")[-1])

    def _visible(self) -> list[Relation]:
        return [relation for relation in self._data.relations.values() if relation.granted]

    def _now(self) -> str:
        """The moment of the newest checkpoint: a query reads as of that, and knows no other time."""
        moment = datetime.fromtimestamp(self._data.committed / 1000, UTC)
        return moment.isoformat(" ", "milliseconds")

    def _table_privilege(self, *arguments: object) -> float:
        """has_table_privilege([user,] relation by name or id, privileges)."""
        wanted = str(arguments[-2]).replace('"', "") if len(arguments) > 1 else ""
        for relation in self._data.relations.values():
            if wanted in (relation.title, str(relation.id)) or f"public.{wanted}" == relation.title:
                return float(relation.granted)
        return 0.0

    def _comment(self, oid: object, place: object) -> str | None:
        for relation in self._visible():
            if relation.id == oid:
                return relation.comment if not place else relation.columns[int(str(place)) - 1].comment
        return None

    # -- contents -------------------------------------------------------------------------------------------------

    def _fill(self, rows: Contents) -> None:
        schemas = dict(_SCHEMAS)
        for relation in self._data.relations.values():
            schemas.setdefault(relation.schema, len(schemas) + 2)
        rw, pg, info = "rw_catalog.rw_", "pg_catalog.pg_", "information_schema."
        rows[rw + "databases"].append((1, self._database, _OWNER, "{}"))
        rows[pg + "database"].append((1, self._database))
        for number, name in enumerate(dict.fromkeys(["root", "postgres", self._asker.user]), _OWNER):
            is_super = name in ("root", "postgres")
            rows[rw + "users"].append((number, name, is_super, is_super, is_super, True))
            rows[pg + "user"].append((number, name, is_super, is_super))
        for name, number in schemas.items():
            rows[rw + "schemas"].append((number, name, _OWNER, "{}"))
            rows[pg + "namespace"].append((number, name, _OWNER, None))
            rows[info + "schemata"].append((self._database, name, "root"))
        for name, oid in OIDS.items():
            element = OIDS[name[1:]] if name.startswith("_") else 0
            if name not in ("serial", "_serial"):  # it goes by bigint's number
                rows[pg + "type"].append((oid, name, _SCHEMAS["pg_catalog"], "b", element))
        for relation in self._visible():
            self._fill_relation(rows, relation, schemas[relation.schema])
            self._fill_columns(rows, relation)
        for subscription in self._data.subscriptions.values():
            if subscription.granted:
                self._fill_subscription(rows, subscription, schemas[subscription.schema])

    def _fill_relation(self, rows: Contents, relation: Relation, schema_id: int) -> None:
        rw, pg = "rw_catalog.rw_", "pg_catalog.pg_"
        kind, head = relation.kind, (relation.id, relation.name, schema_id, _OWNER, relation.definition)
        times = (None, None, self._version, self._version)
        extra: dict[str, tuple[object, ...]] = {
            "table": (False, "{}", *times),
            "materialized view": (False, "{}", *times, False),
            "view": ("{}",),
            "source": ("KAFKA", True, "{}", *times),
            "sink": ("KAFKA", "append-only", "{}", *times),
        }
        rows[rw + _LISTED[kind]].append((*head, *extra[kind]))
        rows[rw + "relations"].append(
            (relation.id, relation.name, kind, schema_id, _OWNER, relation.definition, "{}")
        )
        rows[pg + "class"].append((relation.id, relation.name, schema_id, _OWNER, _RELKINDS[kind]))
        rows[rw + "depend"] += [(relation.id, read) for read in relation.reads]
        insertable = "YES" if kind == "table" else "NO"
        rows["information_schema.tables"].append(
            (self._database, relation.schema, relation.name, _INFORMATION_KINDS[kind], insertable)
        )
        if kind == "table" and not relation.hidden:  # a view's key is not told here
            places = " ".join(str(place + 1) for place in relation.key)
            rows[pg + "index"].append((relation.id, relation.id, len(relation.key), True, True, places))

    def _fill_columns(self, rows: Contents, relation: Relation) -> None:
        rw, pg, keyed = "rw_catalog.rw_", "pg_catalog.pg_", relation.key_names
        described: list[tuple[int, int, int | None, str | None]] = [(relation.id, 1, None, relation.comment)]
        for place, column in enumerate(relation.all_columns, 1):
            kind, length = column.type, _LENGTHS.get(column.type.oid, -1)
            hidden, key = place > len(relation.columns), column.name in keyed
            rows[rw + "columns"].append(
                (
                    relation.id, column.name, place, hidden, key, key, False, column.nullable, None, kind.shown,
                    kind.oid, length, kind.name,
                )
            )  # fmt: skip
            if hidden:
                continue
            described.append((relation.id, 1, place, column.comment))
            rows[pg + "attribute"].append(
                (
                    relation.id, column.name, kind.oid, length, place, not column.nullable, False, False, "", "",
                    kind.typmod,
                )
            )  # fmt: skip
            nullable = "YES" if column.nullable else "NO"
            rows["information_schema.columns"].append(
                (
                    self._database, relation.schema, relation.name, column.name, place, nullable, kind.shown,
                )
            )  # fmt: skip
        rows[rw + "description"] += described
        rows[pg + "description"] += [
            (oid, kind, place or 0, text) for oid, kind, place, text in described if text is not None
        ]

    def _fill_subscription(self, rows: Contents, made: Subscription, schema_id: int) -> None:
        head: tuple[object, ...] = (made.id, made.name, schema_id, _OWNER, made.definition)
        if self._modern:
            head = (made.id, made.name, schema_id, made.schema, _OWNER, made.definition, made.retention_s)
        rows["rw_catalog.rw_subscriptions"].append((*head, "{}", None, None, self._version, self._version))
        rows["rw_catalog.rw_relations"].append(
            (made.id, made.name, "subscription", schema_id, _OWNER, made.definition, "{}")
        )

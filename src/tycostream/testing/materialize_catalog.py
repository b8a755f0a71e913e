"""A fake Materialize's system catalogue: an SQLite in memory that runs the client's own SQL.

What differs between the dialects is translated token by token: casts are dropped, and LIKE respects case. Booleans are
stored as 0 and 1 in columns declared bool; functions that give booleans give floats, which nothing else here does.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from tycostream.testing.materialize_data import Data, Relation
from tycostream.testing.materialize_sql import tokens
from tycostream.testing.materialize_types import TYPES, sql_type
from tycostream.testing.pgwire_messages import Cells, Field, WireError

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
_TYPES_DECLARED: Final = {name: oid for name, (oid, _) in TYPES.items()}
_FUNCTION_OIDS: Final = {"mz_now": 16552, "has_table_privilege": 16, "count": 20, "sum": 20}
_BARE: Final = ("current_user", "session_user")  # functions without parentheses
_EXPRESSION: Final = re.compile(r"^\s*([a-z_]\w*)\s*\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who runs a query: what its functions without arguments answer."""

    database: str
    user: str
    pid: int


@dataclass(slots=True)
class Cluster:
    """A cluster and how many replicas it has."""

    id: str
    name: str
    replicas: int = 1


class Catalog:
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
        self._asker = Asker("materialize", "materialize", 0)
        self._sqlite = sqlite3.connect(":memory:", isolation_level=None)
        self.stale = True
        self.subscriptions: Callable[[], Iterable[tuple[str, str, str]]] = tuple  # id, session, object id
        self.indexes: list[tuple[str, int, str, Relation, tuple[str, ...]]] = []
        self.others: list[tuple[str, int, str, str]] = []  # id, OID, name, type: what cannot be subscribed to
        for schema in ("mz_catalog", "mz_internal"):
            self._sqlite.execute(f"ATTACH ':memory:' AS {schema}")
        for table, columns in _TABLES.items():
            self._sqlite.execute(f"CREATE TABLE {table} ({columns})")
        self._sqlite.execute("PRAGMA case_sensitive_like = true")
        functions: dict[str, tuple[int, Callable[..., str | int | float]]] = {
            "mz_environment_id": (0, environment),
            "mz_version": (0, lambda: version),
            "version": (0, lambda: f"PostgreSQL 9.5 on x86_64-unknown-linux-gnu (Materialize {version})"),
            "current_database": (0, lambda: self._asker.database),
            "current_schema": (0, lambda: "public"),
            "current_user": (0, lambda: self._asker.user),
            "session_user": (0, lambda: self._asker.user),
            "pg_backend_pid": (0, lambda: self._asker.pid),
            "pg_cancel_backend": (1, lambda pid: float(cancel(int(pid)))),
            "mz_now": (0, lambda: str(data.upper - 1)),
            "has_table_privilege": (-1, self._privilege),
        }
        for name, (count, function) in functions.items():
            self._sqlite.create_function(name, count, function)

    def close(self) -> None:
        """Free the SQLite."""
        self._sqlite.close()

    def _privilege(self, *arguments: object) -> float:
        """has_table_privilege([user,] relation by name or OID, privileges)."""
        wanted = arguments[-2] if len(arguments) > 1 else None
        for relation in self._data.relations.values():
            names = (relation.name, f"{relation.schema}.{relation.name}", relation.title)
            if wanted == relation.oid or str(wanted).replace('"', "") in (*names, str(relation.oid)):
                return float(relation.granted)
        return 0.0

    # -- contents -------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in _TABLES}
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
        for name, contents in rows.items():
            self._sqlite.execute(f"DELETE FROM {name}")  # noqa: S608 - our own names
            if contents:
                marks = ", ".join("?" * len(contents[0]))
                self._sqlite.executemany(f"INSERT INTO {name} VALUES ({marks})", contents)  # noqa: S608

    @staticmethod
    def _fill_relation(
        rows: dict[str, list[tuple[object, ...]]], relation: Relation, schema_id: str, cluster_id: str | None
    ) -> None:
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

    # -- queries --------------------------------------------------------------------------------------------------

    def run(self, sql: str, asker: Asker) -> tuple[list[Field], list[Cells]]:
        """The result of a SELECT; 42P01, 42703, 42601 or XX000 as SQLite sees it."""
        self._asker = asker
        if self.stale:
            self.stale = False
            self._data.learn()
            self._fill()
        text = _translate(sql)
        try:
            cursor = self._sqlite.execute(text)
            described = [entry[0] for entry in cursor.description or ()]
            found = cursor.fetchall()
            declared = self._declared(text, len(described))
        except sqlite3.Error as error:
            raise _error(str(error)) from None
        fields, oids = [], []
        for place, name in enumerate(described):
            values = [row[place] for row in found]
            oid = _FUNCTION_OIDS.get(_function(name)) or declared[place] or _oid_of(values)
            oids.append(oid)
            fields.append(Field(_shown_name(name), oid))
        return fields, [tuple(_cell(v, oid) for v, oid in zip(row, oids, strict=True)) for row in found]

    def _declared(self, text: str, width: int) -> list[int | None]:
        """The declared types of result columns that are columns of tables: SQLite tells them of a view's."""
        view = "tycostream_result"
        with contextlib.suppress(sqlite3.Error):
            self._sqlite.execute(f"CREATE TEMP VIEW {view} AS {text}")
            try:
                types = [row[2] for row in self._sqlite.execute(f"PRAGMA temp.table_info({view})")]
            finally:
                self._sqlite.execute(f"DROP VIEW temp.{view}")
            return [_TYPES_DECLARED.get(str(kind).lower()) for kind in types]
        return [None] * width


def _translate(sql: str) -> str:
    """PostgreSQL's text as SQLite's: casts go, and functions without parentheses get them."""
    made, start, skip = [], 0, False
    for token in tokens(sql):
        if skip:
            made.append(sql[start : token.start])
            start, skip = token.end, False
        elif token.kind == "op" and token.text == "::":
            made.append(sql[start : token.start])
            start, skip = token.end, True
        elif token.kind == "word" and token.text in _BARE and not sql[token.end :].lstrip().startswith("("):
            made += [sql[start : token.end], "()"]
            start = token.end
    return "".join([*made, sql[start:]])


def _function(name: str) -> str:
    found = _EXPRESSION.match(name)
    return found[1].lower() if found else ""


def _shown_name(name: str) -> str:
    """What PostgreSQL calls a column that SQLite names by its text."""
    return _function(name) or (name if re.fullmatch(r"[\w ]+", name) and not name.isdigit() else "?column?")


def _oid_of(values: list[Any]) -> int:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {float}:
        return 16
    if kinds == {int}:
        return 23 if all(-(2**31) <= value < 2**31 for value in values if value is not None) else 20
    return 25


def _cell(value: object, oid: int) -> str | None:
    if value is None:
        return None
    if oid == sql_type("bool").oid:
        return "t" if value else "f"
    return str(value)


def _error(text: str) -> WireError:
    if found := re.match(r"no such table: (\S+)", text):
        return WireError("42704", f"unknown catalog item '{found[1]}'")
    if found := re.match(r"no such column: (\S+)", text):
        return WireError("42703", f'column "{found[1]}" does not exist')
    if found := re.match(r"no such function: (\S+)", text):
        return WireError("42883", f'function "{found[1]}" does not exist')
    return WireError("42601" if "syntax" in text else "XX000", text)

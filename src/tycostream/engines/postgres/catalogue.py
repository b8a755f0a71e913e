"""What PostgreSQL's catalogue says of tables: row types, keys, replica identity, rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tycostream.config.model import SourceConfig
from tycostream.config.table_name import parts
from tycostream.engines.base import CatalogueTable
from tycostream.engines.catalog import CatalogColumn, choose_columns, closest
from tycostream.engines.libpq import Connection, fail
from tycostream.engines.names import quoted, shown
from tycostream.rows import RowType

_TABLE = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relreplident::text, obj_description(c.oid, 'pg_class'),
  (SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, n)
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
     WHERE i.indrelid = c.oid AND a.attrelid = i.indrelid AND i.indisprimary),
  (SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, n)
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
     WHERE i.indrelid = c.oid AND i.indisreplident),
  has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_COLUMNS = """
SELECT a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(a.attrelid, a.attnum),
  a.attgenerated::text, t.typname,
  (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
  co.collname IS NULL OR co.collname IN ('C', 'POSIX', 'ucs_basic')
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "p": "a partitioned table",
    "S": "a sequence",
}


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column as the catalogue knows it."""

    name: str
    type_oid: int
    type_name: str
    not_null: bool
    comment: str | None
    generated: bool
    base_type: str
    labels: tuple[str, ...] | None
    code_point_order: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the catalogue knows it. ``identity``: d, n, f or i; ``identity_columns``: what old tuples carry."""

    oid: int
    schema: str
    name: str
    kind: str
    identity: str
    comment: str | None
    primary_key: tuple[str, ...]
    identity_index: tuple[str, ...]
    readable: bool
    columns: tuple[ColumnInfo, ...]

    @property
    def sql(self) -> str:
        """Its name as a person writes it, quoted where SQL needs it."""
        return shown(self.schema, self.name)

    @property
    def quoted(self) -> str:
        """Its name for statements."""
        return quoted(self.schema, self.name)

    @property
    def identity_columns(self) -> tuple[str, ...]:
        """The columns of the old image in UPDATE and DELETE; none: such statements cannot be replicated."""
        if self.identity == "f":
            return tuple(column.name for column in self.columns)
        if self.identity == "i":
            return self.identity_index
        return self.primary_key if self.identity == "d" else ()


def split_name(source: SourceConfig) -> tuple[str, str]:
    """Schema and table of a source; without a schema it is ``public``."""
    text = source.table or source.name
    try:
        *schema, name = parts(text)
        if len(schema) > 1:
            raise ValueError('has too many parts; a name with a dot in it is quoted: "a.b"')
    except ValueError as error:
        said = f"source {source.name}: table: {text} {error}"
        raise fail("source-name", said, hint="write [schema.]name") from None
    return schema[0] if schema else "public", name


async def load_table(connection: Connection, source: SourceConfig) -> Table:
    """The table of a source, or UpstreamError that names the tables that exist."""
    schema, name = split_name(source)
    cursor = await connection.execute(
        f"{_TABLE} WHERE n.nspname = %s AND c.relname = %s".encode(), [schema, name]
    )
    row = await cursor.fetchone()
    if row is None:
        raise await _missing(connection, source, schema, name)
    if row[3] != "r":
        kind = _KINDS.get(row[3], "not a table")
        later = "; views become sources with a later version" if row[3] in "vm" else ""
        raise fail(
            "source-kind",
            f"source {source.name}: {shown(schema, name)} is {kind}, and only ordinary tables can be followed{later}",
            hint="name an ordinary table in `table:`",
        )
    return await _table(connection, row)


async def _table(connection: Connection, row: tuple[Any, ...]) -> Table:
    cells = await (await connection.execute(_COLUMNS.encode(), [row[0]])).fetchall()
    columns = tuple(
        ColumnInfo(c[0], c[1], c[2], c[3], c[4], bool(c[5]), c[6], tuple(c[7]) if c[7] else None, c[8])
        for c in cells
    )
    return Table(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        tuple(row[6] or ()),
        tuple(row[7] or ()),
        row[8],
        columns,
    )


async def load_all(connection: Connection) -> list[CatalogueTable]:
    """All ordinary tables that we may read."""
    where = "WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    rows = await (
        await connection.execute(
            f"{_TABLE} {where} AND has_table_privilege(c.oid, 'SELECT') ORDER BY 2, 3".encode()
        )
    ).fetchall()
    found = []
    for row in rows:
        table = await _table(connection, row)
        enums = {c.name: (c.base_type, c.labels) for c in table.columns if c.labels}
        columns = tuple((c.name, c.type_name) for c in table.columns)
        found.append(
            CatalogueTable(table.schema, table.name, columns, table.primary_key, enums, table.comment)
        )
    return found


async def _missing(connection: Connection, source: SourceConfig, schema: str, name: str) -> Exception:
    query = (
        b"SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'"
        b" AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2 LIMIT 1000"
    )
    names = [shown(*row) for row in await (await connection.execute(query)).fetchall()]
    exist = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return fail(
        "source-missing",
        f"source {source.name}: there is no table {shown(schema, name)}",
        detail=f"tables that exist: {exist or 'none'}",
        hint=closest(shown(schema, name), names) or "create the table, or correct `table:`",
    )


def check_identity(table: Table, source: SourceConfig, key: tuple[str, ...]) -> None:
    """Refuse a table whose updates and deletes could not be followed, or would fail at the publisher (promise 9)."""
    alter = f"ALTER TABLE {table.sql} REPLICA IDENTITY FULL;"
    if not table.identity_columns:
        add_key = (
            ""
            if table.primary_key
            else f" (or add a primary key: ALTER TABLE {table.sql} ADD PRIMARY KEY (…);)"
        )
        raise fail(
            "replica-identity",
            f"source {source.name}: {table.sql} has no replica identity, so published, its UPDATE and DELETE would fail",
            hint=alter + add_key,
        )
    if lacking := [name for name in key if name not in table.identity_columns]:
        raise fail(
            "replica-identity",
            f"source {source.name}: key column {', '.join(lacking)} is not in the replica identity of {table.sql}",
            detail=f"the replica identity is {', '.join(table.identity_columns)}",
            hint=alter,
        )


def row_type(
    table: Table,
    source: SourceConfig,
    enums: Mapping[str, tuple[str, ...]],
    unlisted: Callable[[str, str], None],
) -> RowType:
    """The source's shape: the table's, with the configuration's choices applied."""
    by_name = {column.name: column for column in table.columns}
    chosen = source.columns or {c.name: None for c in table.columns if not c.generated}
    key = source.primary_key or table.primary_key
    for name in chosen:
        if name in by_name and by_name[name].generated:
            raise fail(
                "column-generated",
                f"source {source.name}: column {name} is generated, and PostgreSQL does not replicate it",
                hint=f"leave {name} out of `columns:`",
            )
    known = {
        c.name: CatalogColumn(
            c.name, c.base_type if c.labels else c.type_name, not c.not_null, c.comment, c.labels
        )
        for c in table.columns
    }
    columns = choose_columns(source, table.sql, known, chosen, key, enums, unlisted)
    check_identity(table, source, key)
    places = {column.name: i for i, column in enumerate(columns)}
    return RowType(source.name, columns, tuple(places[n] for n in key), source.comment or table.comment)

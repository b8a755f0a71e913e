"""What PostgreSQL's catalogue says of tables: row types, keys, replica identity, rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tycostream.config.model import SourceConfig
from tycostream.config.table_name import parts, written
from tycostream.engines.base import CatalogueTable, ForeignKey
from tycostream.engines.catalog import CatalogColumn, choose_columns, closest
from tycostream.engines.libpq import Connection, fail
from tycostream.engines.names import quoted, shown
from tycostream.engines.postgres.watch import Mark
from tycostream.errors import UpstreamError
from tycostream.rows import RowType

_TABLE = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relreplident::text, obj_description(c.oid, 'pg_class'),
  (SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, n)
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
     WHERE i.indrelid = c.oid AND a.attrelid = i.indrelid AND i.indisprimary),
  (SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, n)
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
     WHERE i.indrelid = c.oid AND i.indisreplident),
  has_table_privilege(c.oid, 'SELECT'), c.relpersistence = 'p', row_security_active(c.oid),
  EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
"""
# What a type is without the domains around it, with its modifier.
_UNWRAPPED = """(
  WITH RECURSIVE layers(oid, typmod) AS (
    SELECT {}, {} UNION ALL
    SELECT d.typbasetype, d.typtypmod FROM layers l JOIN pg_type d ON d.oid = l.oid WHERE d.typtype = 'd')
  SELECT l.oid, l.typmod FROM layers l JOIN pg_type b ON b.oid = l.oid WHERE b.typtype <> 'd')"""
# A domain is its base type, of an array too: it prints as that, and to_json writes it as that.
_COLUMNS = f"""
SELECT a.attname, a.atttypid,
  CASE WHEN e.oid IS NULL THEN format_type(t.oid, base.typmod) ELSE format_type(e.oid, NULL) || '[]' END,
  a.attnotnull, col_description(a.attrelid, a.attnum), a.attgenerated::text,
  CASE WHEN e.oid IS NULL THEN t.typname::text ELSE e.typname || '[]' END,
  (SELECT array_agg(l.enumlabel::text ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = coalesce(e.oid, t.oid)),
  co.collname IS NULL OR co.collname IN ('C', 'POSIX', 'ucs_basic')
FROM pg_attribute a CROSS JOIN LATERAL {_UNWRAPPED.format("a.atttypid", "a.atttypmod")} base JOIN pg_type t ON t.oid = base.oid
  LEFT JOIN pg_type item ON item.typarray = t.oid
  LEFT JOIN LATERAL {_UNWRAPPED.format("item.oid", "-1")} inside ON true LEFT JOIN pg_type b ON b.oid = inside.oid
  LEFT JOIN pg_type e ON e.oid = CASE WHEN b.typcategory = 'A' THEN item.oid ELSE b.oid END
  LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_FOREIGN_KEYS = """
SELECT k.conrelid::oid,
  (SELECT array_agg(a.attname::text ORDER BY c.n) FROM unnest(k.conkey) WITH ORDINALITY c(attnum, n)
     JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.attnum),
  n.nspname, r.relname,
  (SELECT array_agg(a.attname::text ORDER BY c.n) FROM unnest(k.confkey) WITH ORDINALITY c(attnum, n)
     JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.attnum),
  k.convalidated AND NOT EXISTS
    (SELECT FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND NOT a.attnotnull)
FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conrelid, k.conname
"""
_PARTS = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relreplident::text, t.isleaf, t.parentrelid::oid,
  (SELECT array_agg(a.attname::text) FROM pg_index i, unnest(i.indkey) k(attnum)
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
     WHERE i.indrelid = c.oid AND a.attrelid = i.indrelid
       AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)
FROM pg_partition_tree(%s::oid::regclass) t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.relid <> %s ORDER BY t.level, n.nspname, c.relname
"""
_FOLLOWED = "rp"  # ordinary and partitioned tables
_COMPUTED = "vmf"  # what replication says nothing of, and a query can read all the same
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
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
class Part:
    """A partition of a table, at any depth; ``identity_columns`` None: all of them (FULL)."""

    oid: int
    schema: str
    name: str
    kind: str
    leaf: bool
    parent: int
    identity_columns: tuple[str, ...] | None

    @property
    def sql(self) -> str:
        """Its name as a person writes it."""
        return shown(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the catalogue knows it. ``identity``: d, n, f or i; ``identity_columns``: what old tuples carry.

    ``logged``: its changes are in the log; ``hidden``: row security hides rows from us; ``parent``: other tables inherit
    from it; ``parts``: all its partitions, whose changes may come under their own names.
    """

    oid: int
    schema: str
    name: str
    kind: str
    identity: str
    comment: str | None
    primary_key: tuple[str, ...]
    identity_index: tuple[str, ...]
    readable: bool
    logged: bool
    hidden: bool
    parent: bool
    columns: tuple[ColumnInfo, ...]
    parts: tuple[Part, ...] = ()

    @property
    def what(self) -> str:
        """What it is, in words."""
        return _KINDS.get(self.kind, "a table" if self.logged else "an unlogged table")

    @property
    def leaves(self) -> tuple[Part, ...]:
        """The partitions that hold rows."""
        return tuple(part for part in self.parts if part.leaf)

    @property
    def oids(self) -> tuple[int, ...]:
        """The numbers under which its changes may be told: its own, and those of its partitions."""
        return (self.oid, *(part.oid for part in self.parts))

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
    """The table or view of a source, or UpstreamError that names those that exist."""
    schema, name = split_name(source)
    cursor = await connection.execute(
        f"{_TABLE} WHERE n.nspname = %s AND c.relname = %s".encode(), [schema, name]
    )
    row = await cursor.fetchone()
    if row is None:
        raise await _missing(connection, source, schema, name)
    if row[3] not in _FOLLOWED + _COMPUTED:
        kind = _KINDS.get(row[3], "not a table")
        raise fail(
            "source-kind",
            f"source {source.name}: {shown(schema, name)} is {kind}, and only tables and views can be followed",
            hint="name a table or a view in `table:`",
        )
    return await _table(connection, row)


async def _table(connection: Connection, row: tuple[Any, ...]) -> Table:
    columns = await load_columns(connection, row[0])
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
        row[9],
        row[10],
        row[11],
        columns,
        await _parts(connection, row[0]) if row[3] == "p" else (),
    )


async def load_columns(connection: Connection, relation: int) -> tuple[ColumnInfo, ...]:
    """The columns of the relation with this number, in its order."""
    cells = await (await connection.execute(_COLUMNS.encode(), [relation])).fetchall()
    return tuple(
        ColumnInfo(c[0], c[1], c[2], c[3], c[4], bool(c[5]), c[6], tuple(c[7]) if c[7] else None, c[8])
        for c in cells
    )


async def _parts(connection: Connection, oid: int) -> tuple[Part, ...]:
    rows = await (await connection.execute(_PARTS.encode(), [oid, oid])).fetchall()
    return tuple(
        Part(
            part_oid,
            schema,
            name,
            kind,
            leaf,
            parent,
            None if identity == "f" else tuple(identity_columns or ()),
        )
        for part_oid, schema, name, kind, identity, leaf, parent, identity_columns in rows
    )


async def load_all(connection: Connection) -> list[CatalogueTable]:
    """All tables and views that we may read; partitions are found under their table's name."""
    where = "WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    rows = await (
        await connection.execute(
            f"{_TABLE} {where} AND has_table_privilege(c.oid, 'SELECT') ORDER BY 2, 3".encode()
        )
    ).fetchall()
    foreign = await (await connection.execute(_FOREIGN_KEYS.encode())).fetchall()
    return [
        _offered(await _table(connection, row), [key for key in foreign if key[0] == row[0]]) for row in rows
    ]


def _offered(table: Table, foreign: Sequence[tuple[Any, ...]]) -> CatalogueTable:
    columns = [
        column for column in table.columns if not column.generated
    ]  # PostgreSQL does not replicate those
    key = table.primary_key or (table.identity_index if table.identity == "i" else ())
    remedy, view = "", table.kind == "v"
    try:
        if not view:
            check_identity(table, SourceConfig(name=table.name), key)
    except UpstreamError as error:
        remedy = error.hint
    return CatalogueTable(
        table.schema,
        table.name,
        tuple((column.name, column.type_name) for column in columns),
        key,
        {
            column.name: (column.base_type, column.labels)
            for column in columns
            if column.labels and not column.base_type.endswith("[]")
        },
        table.comment,
        {column.name: column.comment for column in columns if column.comment},
        tuple(
            ForeignKey(tuple(of), schema, name, tuple(to), always)
            for _, of, schema, name, to, always in foreign
        ),
        remedy,
        view,
    )


async def _missing(connection: Connection, source: SourceConfig, schema: str, name: str) -> UpstreamError:
    query = (
        b"SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        b" AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2 LIMIT 1000"
    )
    names = [shown(*row) for row in await (await connection.execute(query)).fetchall()]
    exist = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return fail(
        "source-missing",
        f"source {source.name}: there is no table or view {shown(schema, name)}",
        detail=f"what exists: {exist or 'nothing'}",
        hint=closest(shown(schema, name), names) or "create it, or correct `table:`",
    )


async def moved(
    connection: Connection,
    source: SourceConfig,
    table: Table,
    then: Mark,
    now: Mark | None,
    error: UpstreamError,
) -> UpstreamError:
    """``error`` of a table that was described before, or a better one: is the table, or a column, only renamed?"""
    if error.code == "source-missing":
        query = b"SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s"
        row = await (await connection.execute(query, [table.oid])).fetchone()
        if row is not None:
            return fail(
                "source-missing",
                f"source {source.name}: {table.sql} is {shown(*row)} now",
                hint=f"write `table: {written(*row)}`, or give the table its name back",
            )
    if error.code in ("column-missing", "column-dropped") and now is not None:
        numbers = {told[0]: name for name, told in now.columns.items()}
        for name, (number, *_) in then.columns.items():
            if name not in now.columns and number in numbers and f"column {name}" in error.message:
                return fail(
                    error.code,
                    f"source {source.name}: column {name} of {table.sql} is {shown(numbers[number])} now",
                    hint="name the new column in `columns:`, or give it its name back",
                )
    return error


def check_identity(table: Table, source: SourceConfig, key: tuple[str, ...]) -> None:
    """Refuse a table whose updates and deletes could not be followed, or would fail at the publisher (promise 9)."""
    if table.kind == "p":
        _check_parts(table, source, key)
        return
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


def _check_parts(table: Table, source: SourceConfig, key: tuple[str, ...]) -> None:
    """The same for each partition that holds rows: the identity is its own, whatever that of the whole."""
    if foreign := [part.sql for part in table.leaves if part.kind != "r"]:
        raise fail(
            "source-kind",
            f"source {source.name}: {table.sql} has partitions that are foreign tables, which are not in the log",
            detail=f"foreign: {', '.join(foreign)}",
            hint="name the other partitions in sources of their own",
        )
    lacking = [
        part.sql
        for part in table.leaves
        if (ids := part.identity_columns) is not None
        and (not ids or not key or any(name not in ids for name in key))
    ]
    if not lacking and not key and table.identity != "f":
        lacking = [table.sql]
    if lacking:
        what = f"key column {', '.join(key)} is" if key else "its rows are"
        raise fail(
            "replica-identity",
            f"source {source.name}: {what} not in the replica identity of {', '.join(lacking[:5])}",
            hint=" ".join(f"ALTER TABLE {name} REPLICA IDENTITY FULL;" for name in lacking),
        )


def row_type(
    table: Table,
    source: SourceConfig,
    enums: Mapping[str, tuple[str, ...]],
    unlisted: Callable[[str, str], None],
) -> RowType:
    """The source's shape: the table's, with the configuration's choices applied."""
    if not table.logged:
        raise fail(
            "source-kind",
            f"source {source.name}: {table.sql} is unlogged, so its changes are not in the log",
            hint=f"ALTER TABLE {table.sql} SET LOGGED; or read it every so often: `live: {{refresh: 10s}}`",
        )
    chosen = source.columns or {c.name: None for c in table.columns if not c.generated}
    key = source.primary_key or table.primary_key or (table.identity_index if table.identity == "i" else ())
    known = {c.name: known_column(c) for c in table.columns}
    columns = choose_columns(source, table.sql, known, chosen, key, enums, unlisted)
    check_identity(table, source, key)
    places = {column.name: i for i, column in enumerate(columns)}
    return RowType(source.name, columns, tuple(places[n] for n in key), source.comment or table.comment)


def known_column(column: ColumnInfo) -> CatalogColumn:
    """The column for the rules that all engines share."""
    type_name = column.base_type if column.labels else column.type_name
    return CatalogColumn(column.name, type_name, not column.not_null, column.comment, column.labels)

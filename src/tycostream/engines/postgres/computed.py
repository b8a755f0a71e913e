"""Sources whose rows are computed by a SELECT: views, queries, custom fields, and tables that replication says nothing of.

They have no changes of their own. What they read has, so they are run again when that changes, and compared (run.py, reruns.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import psycopg

from tycostream.config.model import SourceConfig
from tycostream.engines.catalog import choose_columns
from tycostream.engines.libpq import Connection, fail
from tycostream.engines.names import quoted, shown
from tycostream.engines.postgres.catalogue import ColumnInfo, Table, known_column, load_columns, split_name
from tycostream.engines.postgres.inputs import Inputs, literal_of_time, load_inputs
from tycostream.rows import RowType

# Of our session alone, and gone with the transaction that makes it: a view shows what a query reads, before planning.
_SCRATCH: Final = '"tycostream_reads"'


@dataclass(frozen=True, slots=True)
class Computed:
    """Such a source. ``body`` stands in a FROM; ``refresh_s``: how often it is run again whatever is told, in seconds."""

    title: str  # for messages
    what: str  # "a view", "a query", …
    body: str
    columns: tuple[ColumnInfo, ...]
    inputs: Inputs
    refresh_s: float | None = None
    primary_key: tuple[str, ...] = ()
    comment: str | None = None

    @property
    def sql(self) -> str:
        """Its name in messages."""
        return self.title

    @property
    def followed(self) -> str:
        """How it is kept true, in words."""
        over = ", ".join(self.inputs.named)
        watched = f"run again when {over} change" if over else "of constants"
        if self.refresh_s is None:
            return f"{self.what}, {watched}"
        also = f", and {watched}" if over else ""
        why = "; ".join(self.inputs.unwatched)
        return f"{self.what}, run again every {self.refresh_s:g} s because {why}{also}"


def published(relation: Table | Computed) -> list[tuple[str, str]]:
    """Schema and name of each table that a publication must hold for a source."""
    if isinstance(relation, Computed):
        return list(dict.fromkeys(leaf.add for leaf in relation.inputs.leaves))
    return [(relation.schema, relation.name)]


def is_computed(source: SourceConfig, table: Table | None) -> bool:
    """Whether replication cannot tell the rows of a source: ``table`` is None for a query."""
    if table is None or source.fields or table.kind not in "rp":
        return True
    if not table.logged:  # refused elsewhere, with a better remedy
        return source.live.refresh is not None
    # not in the log before PostgreSQL 18, and since then only if the publication says so
    generated = {column.name for column in table.columns if column.generated}
    return not generated.isdisjoint((*(source.columns or ()), *source.primary_key))


async def load_computed(connection: Connection, source: SourceConfig, table: Table | None) -> Computed:
    """The source, its columns and what it reads; UpstreamError if it cannot be read or cannot be kept true."""
    what = "a query" if table is None else table.what
    base = f"({source.query}\n)"
    if table is not None:
        # as a source that is followed does: what inherits from a table has sources of its own
        base = f"ONLY {table.quoted}" if table.kind == "r" else table.quoted
        if table.kind in "rp" and table.logged and not source.fields:
            what = "a table with generated columns"
    title = "the query" if table is None else table.sql
    computed = Computed(title, what, base, (), Inputs())
    if table is not None:
        key = table.primary_key or (table.identity_index if table.identity == "i" else ())
        computed = replace(computed, primary_key=key, comment=table.comment)
        _require_select(source, table, connection.info.user)
    if source.fields:
        _refuse_names(source, table)
        # on lines of their own: a comment at the end of an expression must not swallow what follows
        fields = ", ".join(f"({field.sql}\n) AS {quoted(name)}" for name, field in source.fields.items())
        body = f'(SELECT "source".*, {fields} FROM {base} AS "source")'
        computed = replace(computed, body=body, what=f"{what} with fields")
    if table is None or source.fields:
        columns, inputs = await _analyse(connection, source, computed)
    else:
        columns, inputs = table.columns, await load_inputs(connection, table.oid)
    if (
        table is not None
    ):  # what a query gives may be NULL for all we know; of a table's own columns more is known
        own = {column.name: column for column in table.columns}
        columns = tuple(own.get(column.name, column) for column in columns)
    if not inputs.unwatched:
        return replace(computed, columns=columns, inputs=inputs)
    if source.live.refresh is None:
        raise fail(
            "source-unwatched",
            f"source {source.name}: {title} may change without a change of its tables",
            detail="; ".join(inputs.unwatched),
            hint="run it again every so often: `live: {refresh: 10s}`; or take that out of the query",
        )
    return replace(computed, columns=columns, inputs=inputs, refresh_s=source.live.refresh.total_seconds())


def _require_select(source: SourceConfig, table: Table, user: str) -> None:
    if not table.readable:
        hint = f"GRANT SELECT ON {table.sql} TO {shown(user)};"
        raise fail("no-rights", f"source {source.name}: no right to read {table.sql}", hint=hint)


def _refuse_names(source: SourceConfig, table: Table | None) -> None:
    own = {column.name for column in table.columns} if table is not None else set()
    for name in source.fields:
        if name in own:
            raise fail(
                "field-name",
                f"source {source.name}: field {name} has the name of a column of {shown(*split_name(source))}",
                hint="give the field another name",
            )


async def _analyse(
    connection: Connection, source: SourceConfig, computed: Computed
) -> tuple[tuple[ColumnInfo, ...], Inputs]:
    """The columns of a query and what it reads: as a view that is taken back at once."""
    user, place = shown(connection.info.user), shown(connection.info.dbname)
    row = await (
        await connection.execute(b"SELECT has_database_privilege(current_database(), 'TEMPORARY')")
    ).fetchone()
    if row is None or not row[0]:
        raise fail(
            "no-rights",
            f"source {source.name}: what {computed.title} reads is found with a temporary view, and role {user} may make none",
            hint=f"GRANT TEMPORARY ON DATABASE {place} TO {user};",
        )
    inputs = Inputs()
    await connection.execute(b"BEGIN READ WRITE")  # whatever the role's default is
    try:
        create = f'CREATE TEMPORARY VIEW {_SCRATCH} AS SELECT * FROM {computed.body} AS "source"'
        await connection.execute(create.encode())
        cursor = await connection.execute(
            f"SELECT c.oid::bigint, r.ev_action::text FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid"
            f" WHERE c.oid = 'pg_temp.{_SCRATCH}'::regclass".encode()
        )
        row = await cursor.fetchone()
        assert row is not None
        columns = await load_columns(connection, row[0])
        inputs = await load_inputs(connection, row[0], scratch=True)
        text = " ".join([source.query or "", *(field.sql for field in source.fields.values())])
        if literal_of_time(text, row[1]):
            why = "it has a constant such as 'today', which is another moment whenever it is read"
            inputs = replace(inputs, unwatched=(*inputs.unwatched, why))
        # whether it may be read at all: a view can be made of what one may not read
        await connection.execute(f"SELECT FROM {_SCRATCH} LIMIT 0".encode())
    except psycopg.errors.DuplicateColumn as error:
        raise fail(
            "column-twice",
            f"source {source.name}: {computed.title} has two columns of one name",
            detail=str(error),
            hint="give them different names with AS",
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        hint = f"GRANT SELECT ON {', '.join(inputs.named) or '…'} TO {user};"
        said = f"source {source.name}: no right to read what {computed.title} reads"
        raise fail("no-rights", said, detail=str(error), hint=hint) from None
    except psycopg.Error as error:
        if connection.closed or (error.sqlstate or "")[:2] in ("08", "40", "53", "55", "57", "58", "XX"):
            raise
        said = f"source {source.name}: PostgreSQL does not accept {computed.title}"
        hint = "correct `query:`" if source.query else "correct `fields:`"
        raise fail("query-failed", said, detail=str(error), hint=hint) from None
    finally:
        if not connection.closed:
            await connection.execute(b"ROLLBACK")
    return columns, inputs


def row_type(
    computed: Computed,
    source: SourceConfig,
    enums: Mapping[str, tuple[str, ...]],
    unlisted: Callable[[str, str], None],
) -> RowType:
    """The source's shape, with the configuration's choices applied."""
    known = {column.name: known_column(column) for column in computed.columns}
    chosen = dict(source.columns or dict.fromkeys(name for name in known if name not in source.fields))
    for name, field in source.fields.items():
        chosen[name] = chosen.get(name) or field.type
        known[name] = replace(known[name], comment=field.comment)
    key = source.primary_key or computed.primary_key
    columns = choose_columns(source, computed.title, known, chosen, key, enums, unlisted)
    places = {column.name: i for i, column in enumerate(columns)}
    return RowType(
        source.name, columns, tuple(places[name] for name in key), source.comment or computed.comment
    )


def select(computed: Computed, row_type: RowType) -> tuple[bytes, Sequence[int]]:
    """COPY of its rows, the key's columns first; and where in its lines the columns of ``row_type`` are."""
    order = [*row_type.key, *(i for i in range(len(row_type.columns)) if i not in row_type.key)]
    names = ", ".join(quoted(row_type.columns[i].name) for i in order)
    text = f'COPY (SELECT {names} FROM {computed.body} AS "source") TO STDOUT'
    return text.encode(), [order.index(i) for i in range(len(order))]

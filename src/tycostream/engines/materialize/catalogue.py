"""What Materialize's catalogue says: relations, columns, keys, and the SUBSCRIBE that follows from a source.

Every query runs over the simple protocol with literals in its text: Materialize plans catalogue queries per text anyway,
and a pooler or proxy between us need not know of prepared statements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import psycopg

from tycostream.config.model import SourceConfig
from tycostream.config.table_name import parts
from tycostream.engines.base import CatalogueTable
from tycostream.engines.catalog import CatalogColumn, choose_columns, closest
from tycostream.engines.libpq import fail
from tycostream.engines.names import literal, quoted
from tycostream.rows import RowType

IDENTITY: Final = "SELECT mz_environment_id(), mz_version(), current_database()"
_OBJECTS: Final = """
SELECT o.id, o.type, d.name, s.name, o.name FROM mz_catalog.mz_objects o
JOIN mz_catalog.mz_schemas s ON s.id = o.schema_id
LEFT JOIN mz_catalog.mz_databases d ON d.id = s.database_id
"""
_FOLLOWED: Final = ("table", "source", "view", "materialized-view")
_HERE: Final = "(d.name = current_database() OR d.name IS NULL)"
_KEYS: Final = re.compile(r'keys: "((?:\([^"]*\))?)"')
_SYSTEM: Final = re.compile(r"mz_|pg_|information_schema")


class Run(Protocol):
    """Runs one statement and gives its rows; psycopg.Error if the server refuses it."""

    async def __call__(self, statement: str) -> list[tuple[Any, ...]]:
        """See Run."""


class Describe(Protocol):
    """The result columns of a statement as (name, type OID), without its rows."""

    async def __call__(self, statement: str) -> list[tuple[str, int]]:
        """See Describe."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a source reads. ``identity``: the ids of the objects it names; another one is another history.

    ``columns`` are the relation's own, in its order; custom fields come after them. ``sql`` stands in a FROM.
    """

    sql: str
    title: str  # for messages
    identity: str
    columns: tuple[CatalogColumn, ...]
    keys: tuple[tuple[str, ...], ...] = ()
    comment: str | None = None
    kind: str = "query"


@dataclass(frozen=True, slots=True)
class Subscription:
    """The target of a SUBSCRIBE, how many data columns its rows have, and which of them are the row type's."""

    target: str
    width: int
    places: tuple[int, ...]


def split_name(table: str) -> tuple[str | None, str, str]:
    """Database (None: the connection's), schema and name of ``[[database.]schema.]name``."""
    try:
        names = parts(table)
    except ValueError as error:
        raise fail("source-name", f"{table} {error}", hint="write [database.][schema.]name") from None
    database, schema, name = ("", "", *names)[-3:]
    return database or None, schema or "public", name


async def load_relation(run: Run, describe: Describe, source: SourceConfig) -> Relation:
    """The relation of a source, its fields computed and its rights proven; UpstreamError with a remedy."""
    relation = await (_load_query if source.query else _load_object)(run, describe, source)
    fields = await _fields(run, describe, source, relation)
    return replace(relation, columns=(*relation.columns, *fields), keys=await _keys(run, relation))


async def _load_object(run: Run, describe: Describe, source: SourceConfig) -> Relation:
    database, schema, name = split_name(source.table or source.name)
    here = f"d.name = {literal(database)}" if database else _HERE
    found = await run(f"{_OBJECTS} WHERE o.name = {literal(name)} AND s.name = {literal(schema)} AND {here}")
    rows = sorted(found, key=lambda row: row[1] not in _FOLLOWED)
    if not rows:
        raise await _missing(run, source, f"{schema}.{name}")
    object_id, kind, *names = rows[0]
    title = ".".join(part for part in names if part)
    if kind not in _FOLLOWED:
        raise fail(
            "source-kind",
            f"source {source.name}: {title} is a {kind}, which cannot be subscribed to",
            hint="name a table, source, view or materialized view in `table:`",
        )
    columns = await run(
        f"SELECT c.name, c.type, c.nullable FROM mz_catalog.mz_columns c WHERE c.id = {literal(object_id)} ORDER BY c.position"
    )
    comments = await _comments(run, object_id)
    return Relation(
        quoted(*(part for part in names if part)),
        title,
        object_id,
        tuple(
            CatalogColumn(column, type_name, _flag(nullable), comments.get(place))
            for place, (column, type_name, nullable) in enumerate(columns, 1)
        ),
        comment=comments.get(None),
        kind=kind,
    )


async def _load_query(run: Run, describe: Describe, source: SourceConfig) -> Relation:
    text = (source.query or "").strip().rstrip(";").strip()
    sql = f"({text}\n)"  # a comment in the last line must not swallow the parenthesis
    described = await describe(f'SELECT * FROM {sql} AS "source" LIMIT 0')
    names = await _type_names(run, [oid for _, oid in described])
    if twice := sorted({name for name, _ in described if [n for n, _ in described].count(name) > 1}):
        raise fail(
            "column-twice",
            f"source {source.name}: the query has two columns called {', '.join(twice)}",
            hint="give them different names with AS",
        )
    columns = tuple(CatalogColumn(name, names.get(oid, "text")) for name, oid in described)
    return Relation(sql, "the query", await _identity_of(run, text), columns)


async def _identity_of(run: Run, query: str) -> str:
    """The ids of the objects that a query may name: a view made anew under it has another id.

    Every word of the text that is the name of an object counts; one too many costs a snapshot, one too few a wrong row.
    """
    words = sorted(set(re.findall(r"[^\W\d][\w$]*", query.lower())) | set(re.findall(r'"([^"]+)"', query)))
    if not words:
        return "constant"
    listed = ", ".join(literal(word) for word in words)
    kinds = ", ".join(literal(kind) for kind in _FOLLOWED)
    rows = await run(
        f"SELECT o.id FROM mz_catalog.mz_objects o WHERE o.name IN ({listed}) AND o.type IN ({kinds}) ORDER BY o.id"
    )
    return ",".join(row[0] for row in rows) or "constant"


async def _fields(
    run: Run, describe: Describe, source: SourceConfig, relation: Relation
) -> list[CatalogColumn]:
    """The custom fields as columns. The statement also proves that every chosen column exists and may be read."""
    own = {column.name for column in relation.columns}
    for name in source.fields:
        if name in own:
            raise fail(
                "field-name",
                f"source {source.name}: field {name} has the name of a column of {relation.title}",
                hint="give the field another name",
            )
    described = await describe(f"{select_list(source, relation, list(own)[:1])} LIMIT 0")
    computed = described[-len(source.fields) :] if source.fields else []
    names = await _type_names(run, [oid for _, oid in computed])
    return [
        CatalogColumn(name, names.get(oid, "text"), comment=source.fields[name].comment)
        for name, oid in computed
    ]


def select_list(source: SourceConfig, relation: Relation, columns: Sequence[str]) -> str:
    """``SELECT`` of some columns and every custom field."""
    parts = [quoted(name) for name in columns]
    # on lines of their own: a comment at the end of an expression must not swallow what follows
    parts += [f"({field.sql}\n) AS {quoted(name)}" for name, field in source.fields.items()]
    return f'SELECT {", ".join(parts)} FROM {relation.sql} AS "source"'


async def _type_names(run: Run, oids: Sequence[int]) -> dict[int, str]:
    if not oids:
        return {}
    listed = ", ".join(str(oid) for oid in sorted(set(oids)))
    rows = await run(f"SELECT t.oid, t.name FROM mz_catalog.mz_types t WHERE t.oid IN ({listed})")
    return {int(oid): str(name) for oid, name in rows}


async def _comments(run: Run, object_id: str) -> dict[int | None, str]:
    """Comments by column place (None: the object's). They live in an unstable schema: none is no error."""
    try:
        rows = await run(
            f"SELECT c.object_sub_id, c.comment FROM mz_internal.mz_comments c WHERE c.id = {literal(object_id)}"
        )
    except psycopg.Error:
        return {}
    return {None if place is None else int(place): comment for place, comment in rows}


async def _keys(run: Run, relation: Relation) -> tuple[tuple[str, ...], ...]:
    """The unique keys that the optimizer knows of, shortest first. Its text is not a stable interface: none is no error."""
    names = [column.name for column in relation.columns]
    columns = quoted_list(names)
    try:
        rows = await run(
            f'EXPLAIN OPTIMIZED PLAN WITH (keys) AS VERBOSE TEXT FOR SELECT {columns} FROM {relation.sql} AS "source"'
        )
    except psycopg.Error:
        return ()
    lines = [line.strip() for row in rows for line in str(row[0]).splitlines() if line.strip()]
    # The plan's root is the first line after the title; a deeper line's keys are of something else.
    match = _KEYS.search(lines[1]) if len(lines) > 1 else None
    if match is None:
        return ()
    found = []
    for inside in re.findall(r"\(\[?([0-9, ]*)\]?\)|\[([0-9, ]*)\]", match[1]):
        places = [int(place) for place in (inside[0] or inside[1]).replace(" ", "").split(",") if place]
        if places and max(places) < len(names):
            found.append(tuple(names[place] for place in places))
    return tuple(sorted(found, key=len))


async def _missing(run: Run, source: SourceConfig, title: str) -> Exception:
    kinds = ", ".join(literal(kind) for kind in _FOLLOWED)
    rows = await run(
        f"{_OBJECTS} WHERE o.type IN ({kinds}) AND {_HERE} AND o.id LIKE 'u%' ORDER BY s.name, o.name LIMIT 1000"
    )
    names = [f"{schema}.{name}" for _, _, _, schema, name in rows]
    exist = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return fail(
        "source-missing",
        f"source {source.name}: there is no table, source or view {title}",
        detail=f"what exists: {exist or 'nothing'}",
        hint=closest(title, names) or "create it, or correct `table:`; it starts by itself once it is there",
    )


def row_type(
    relation: Relation,
    source: SourceConfig,
    enums: Mapping[str, tuple[str, ...]],
    unlisted: Callable[[str, str], None],
) -> RowType:
    """The source's shape: the relation's and its custom fields', with the configuration's choices applied."""
    columns = {column.name: column for column in relation.columns}
    chosen = dict(source.columns or dict.fromkeys(columns))
    chosen.update({name: chosen.get(name) or field.type for name, field in source.fields.items()})
    key = source.primary_key or next((known for known in relation.keys if set(known) <= set(chosen)), ())
    made = choose_columns(source, relation.title, columns, chosen, key, enums, unlisted)
    places = {column.name: i for i, column in enumerate(made)}
    return RowType(
        source.name,
        made,
        tuple(places[name] for name in key),
        source.comment or relation.comment,
        watched=bool(key),  # nothing in Materialize enforces a key
    )


def subscription(relation: Relation, source: SourceConfig, row_type: RowType) -> Subscription:
    """How to subscribe: an object by its name, which resumes fastest, or a SELECT where something is computed."""
    names = [column.name for column in row_type.columns]
    if source.query or source.fields:
        plain = [name for name in names if name not in source.fields]
        select = select_list(source, relation, plain)
        order = [*plain, *source.fields]
        return Subscription(f"({select})", len(order), tuple(order.index(name) for name in names))
    own = [column.name for column in relation.columns]
    return Subscription(f"TO {relation.sql}", len(own), tuple(own.index(name) for name in names))


def duplicates_sql(relation: Relation, key: Sequence[str]) -> str:
    """One key that several rows have, and how many."""
    columns = quoted_list(key)
    return f'SELECT {columns}, count(*) FROM {relation.sql} AS "source" GROUP BY {columns} HAVING count(*) > 1 LIMIT 1'


def quoted_list(names: Sequence[str]) -> str:
    """Identifiers, quoted, with commas."""
    return ", ".join(quoted(name) for name in names)


async def load_all(run: Run) -> list[CatalogueTable]:
    """Every relation of users that could be a source, for ``init``; keys where the optimizer knows one."""
    kinds = ", ".join(literal(kind) for kind in _FOLLOWED)
    rows = await run(
        f"{_OBJECTS} WHERE o.type IN ({kinds}) AND {_HERE} AND o.id LIKE 'u%' ORDER BY s.name, o.name"
    )
    found = []
    for object_id, _, database, schema, name in rows:
        if _SYSTEM.match(schema):
            continue
        columns = await run(
            f"SELECT c.name, c.type FROM mz_catalog.mz_columns c WHERE c.id = {literal(object_id)} ORDER BY c.position"
        )
        made = tuple(CatalogColumn(column, kind) for column, kind in columns)
        relation = Relation(quoted(*(p for p in (database, schema, name) if p)), name, object_id, made)
        keys = await _keys(run, relation)
        comments = await _comments(run, object_id)
        pairs = tuple((column.name, column.type_name) for column in made)
        said = {made[place - 1].name: text for place, text in comments.items() if place}
        found.append(
            CatalogueTable(schema, name, pairs, keys[0] if keys else (), {}, comments.get(None), said)
        )
    return found


def _flag(value: object) -> bool:
    return value is True or value == "t"

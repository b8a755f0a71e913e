"""What RisingWave's catalogue says: relations, columns, keys.

Every query runs over the simple protocol with literals in its text, and names no column that only some versions have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tycostream.config.model import SourceConfig
from tycostream.config.table_name import parts
from tycostream.engines.base import CatalogueTable
from tycostream.engines.catalog import CatalogColumn, choose_columns, closest
from tycostream.engines.control import Control
from tycostream.engines.libpq import fail
from tycostream.engines.names import literal, quoted
from tycostream.engines.risingwave.types import type_name
from tycostream.errors import UpstreamError
from tycostream.rows import RowType

IDENTITY: Final = "SELECT version(), current_database()"
FOLLOWED: Final = ("table", "materialized view")
_RELATIONS: Final = """
SELECT r.id, r.relation_type, s.name, r.name FROM rw_catalog.rw_relations r
JOIN rw_catalog.rw_schemas s ON s.id = r.schema_id
"""
_SYSTEM: Final = frozenset({"pg_catalog", "information_schema", "rw_catalog"})
_FOLLOWED_SQL: Final = ", ".join(literal(kind) for kind in FOLLOWED)


@dataclass(frozen=True, slots=True)
class Relation:
    """What a source reads. ``identity``: its id, or the text of what has to be made into a materialized view.

    ``columns`` are the relation's own, those that a cursor gives, in its order; custom fields come after them. ``sql``
    stands in a FROM. ``key`` is the primary key, none if a column of it is hidden.
    """

    sql: str
    schema: str
    name: str
    identity: str
    columns: tuple[CatalogColumn, ...]
    oids: tuple[int, ...]
    key: tuple[str, ...] = ()
    kind: str = "table"
    view: str = ""  # the SELECT of the materialized view that a query or custom fields need

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.schema}.{self.name}" if self.name else "the query"


def split_name(table: str) -> tuple[str, str]:
    """Schema and name of ``[schema.]name``."""
    try:
        names = parts(table)
    except ValueError as error:
        raise fail("source-name", f"{table} {error}", hint="write [schema.]name") from None
    if len(names) > 2:
        raise fail(
            "source-name",
            f"{table} names a database, and a connection to RisingWave sees only its own",
            hint="write [schema.]name, and the database in `url`",
        )
    schema, name = ("public", *names)[-2:]
    return schema, name


async def load_relation(control: Control, source: SourceConfig) -> Relation:
    """The relation of a source, its fields described and its rights proven; UpstreamError with a remedy."""
    relation = await (_load_query if source.query else _load_object)(control, source)
    return await _with_fields(control, source, relation)


async def find(control: Control, schema: str, name: str) -> Relation | None:
    """A table or materialized view by its name; its columns are read as whoever asks may read them."""
    found = await control.run(
        f"{_RELATIONS} WHERE r.name = {literal(name)} AND s.name = {literal(schema)} "
        f"AND r.relation_type IN ({_FOLLOWED_SQL})"
    )
    if not found:
        return None
    object_id, kind, *_ = found[0]
    sql = quoted(schema, name)
    described = await control.describe(f"SELECT * FROM {sql} LIMIT 0")
    known = await control.table(f"SELECT * FROM rw_catalog.rw_columns WHERE relation_id = {int(object_id)}")
    facts = {str(column["name"]): column for column in known}
    columns = tuple(
        CatalogColumn(each, type_name(oid), _flag(facts.get(each, {}).get("is_nullable", True)))
        for each, oid in described
    )
    key = tuple(str(column["name"]) for column in known if _flag(column["is_primary_key"]))
    shown = [column.name for column in columns]
    if any(_flag(column["is_hidden"]) for column in known if _flag(column["is_primary_key"])):
        key = ()
    ordered = tuple(sorted(key, key=shown.index)) if set(key) <= set(shown) else ()
    oids = tuple(oid for _, oid in described)
    return Relation(sql, schema, name, str(object_id), columns, oids, ordered, str(kind))


async def _load_object(control: Control, source: SourceConfig) -> Relation:
    schema, name = split_name(source.table or source.name)
    relation = await find(control, schema, name)
    if relation is None:
        raise await _missing(control, source, schema, name)
    return relation


async def _load_query(control: Control, source: SourceConfig) -> Relation:
    text = (source.query or "").strip().rstrip(";").strip()
    sql = f"({text}\n)"  # a comment in the last line must not swallow the parenthesis
    described = await control.describe(f'SELECT * FROM {sql} AS "source" LIMIT 0')
    if twice := sorted({name for name, _ in described if [n for n, _ in described].count(name) > 1}):
        raise fail(
            "column-twice",
            f"source {source.name}: the query has two columns called {', '.join(twice)}",
            hint="give them different names with AS",
        )
    columns = tuple(CatalogColumn(name, type_name(oid)) for name, oid in described)
    oids = tuple(oid for _, oid in described)
    return Relation(sql, "public", "", "query", columns, oids, kind="query", view=text)


async def _with_fields(control: Control, source: SourceConfig, relation: Relation) -> Relation:
    """The relation with its custom fields as columns."""
    if not source.fields:
        return relation
    own = [column.name for column in relation.columns]
    for name in source.fields:
        if name in own:
            raise fail(
                "field-name",
                f"source {source.name}: field {name} has the name of a column of {relation.title}",
                hint="give the field another name",
            )
    selected = [quoted(name) for name in own]
    # on lines of their own: a comment at the end of an expression must not swallow what follows
    selected += [f"({field.sql}\n) AS {quoted(name)}" for name, field in source.fields.items()]
    view = f'SELECT {", ".join(selected)} FROM {relation.sql} AS "source"'
    described = await control.describe(f"{view} LIMIT 0")
    computed = [
        CatalogColumn(name, type_name(oid), comment=source.fields[name].comment)
        for name, oid in described[len(own) :]
    ]
    return replace(
        relation,
        columns=(*relation.columns, *computed),
        oids=tuple(oid for _, oid in described),
        view=view,
    )


async def _missing(control: Control, source: SourceConfig, schema: str, name: str) -> UpstreamError:
    same = await control.run(f"{_RELATIONS} WHERE r.name = {literal(name)} AND s.name = {literal(schema)}")
    title = f"{schema}.{name}"
    if same:
        return fail(
            "source-kind",
            f"source {source.name}: {title} is a {same[0][1]}, which has no subscriptions",
            hint="name a table or materialized view in `table:`; of another make one: "
            f"CREATE MATERIALIZED VIEW … AS SELECT * FROM {title}",
        )
    rows = await control.run(
        f"{_RELATIONS} WHERE r.relation_type IN ({_FOLLOWED_SQL}) ORDER BY s.name, r.name LIMIT 1000"
    )
    names = [f"{row[2]}.{row[3]}" for row in rows if row[2] not in _SYSTEM]
    exist = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return fail(
        "source-missing",
        f"source {source.name}: there is no table or materialized view {title}",
        detail=f"what exists: {exist or 'nothing'}",
        hint=closest(title, names)
        or "create it, GRANT SELECT on it, or correct `table:`; it starts by itself once it is there",
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
    known = relation.key if set(relation.key) <= set(chosen) else ()
    key = source.primary_key or known
    made = choose_columns(source, relation.title, columns, chosen, key, enums, unlisted)
    places = {column.name: i for i, column in enumerate(made)}
    enforced = bool(relation.key) and set(relation.key) <= set(key)
    return RowType(
        source.name,
        made,
        tuple(places[name] for name in key),
        source.comment,
        watched=bool(key) and not enforced,
    )


def duplicates_sql(relation: Relation, key: Sequence[str]) -> str:
    """One key that several rows have, and how many."""
    columns = ", ".join(quoted(name) for name in key)
    return f'SELECT {columns}, count(*) FROM {relation.sql} AS "source" GROUP BY {columns} HAVING count(*) > 1 LIMIT 1'


async def load_all(control: Control, ours: Callable[[str], bool]) -> list[CatalogueTable]:
    """Every table and materialized view of users, for ``init``, less those that are ``ours``."""
    rows = await control.run(
        f"{_RELATIONS} WHERE r.relation_type IN ({_FOLLOWED_SQL}) ORDER BY s.name, r.name"
    )
    found = []
    for _, _, schema, name in rows:
        if schema in _SYSTEM or ours(name):
            continue
        relation = await find(control, schema, name)
        if relation is not None:
            pairs = tuple((column.name, column.type_name) for column in relation.columns)
            found.append(CatalogueTable(schema, name, pairs, relation.key, {}))
    return found


def _flag(value: object) -> bool:
    return value is True or value in ("t", "true")

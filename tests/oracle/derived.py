"""Random sources that PostgreSQL computes: views, queries and custom fields over tables, and what of them is unique."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.oracle.shapes import Table, where_sql, wheres

# Types with equal values of different text. Of equal rows of a source without a key, the order would be anybody's;
# of equal values in a group, which one is shown.
_TWINNED = ("real", "double precision", "numeric", "jsonb")
_ADDED = ("smallint", "integer")  # whose sum is a bigint
_RANKED = ("smallint", "integer", "bigint", "date", "time", "timestamp", "timestamptz", "text")


@dataclass(frozen=True, kw_only=True)
class Derived(Table):
    """What a SELECT gives. The database has a view of it to be asked, whatever the source is.

    ``kind``: view, query or fields; ``inner``: its SELECT, of which ``where`` chooses; ``base`` and ``fields`` (name →
    SQL, type) of a table with custom fields.
    """

    kind: str
    inner: str
    where: str = "TRUE"
    base: Table | None = None
    fields: tuple[tuple[str, str, str], ...] = ()

    @property
    def select(self) -> str:
        """All of it, as one SELECT."""
        return f"SELECT * FROM ({self.inner}) q WHERE {self.where}"

    def create(self, schema: str) -> list[str]:
        """The view that the oracle asks; made anew if it is there."""
        return [f"CREATE OR REPLACE VIEW {schema}.{self.name} AS {self.select}"]

    def source(self, schema: str) -> dict[str, Any]:
        """The configuration of the source."""
        if self.base is not None:
            fields = {name: {"sql": sql, "type": sql_type} for name, sql, sql_type in self.fields}
            return {
                "table": f"{schema}.{self.base.name}",
                "columns": dict.fromkeys(self.base.columns),
                "fields": fields,
            }
        what = {"query": self.select} if self.kind == "query" else {"table": f"{schema}.{self.name}"}
        return {**what, "primary_key": list(self.key)} if self.key else what


def deriveds(name: str, tables: Sequence[Table], schema: str) -> st.SearchStrategy[Derived]:
    """A source over some of these, which may be derived themselves."""
    plain = [table for table in tables if not isinstance(table, Derived)]
    return st.one_of(
        _chosen(name, tables, schema),
        _joined(name, plain, schema),
        _grouped(name, tables, schema),
        _with_fields(name, plain, schema),
    )


@st.composite
def _finished(draw: st.DrawFn, made: Derived) -> Derived:
    return replace(made, where=where_sql(draw(wheres(made)), made))


@st.composite
def _columns(draw: st.DrawFn, table: Table, *, keyed: bool) -> list[str]:
    """Some columns; with the key all of it, without one none by whose text equal rows would differ."""
    if keyed:
        others = [column for column in table.columns if column not in table.key]
        more = st.lists(st.sampled_from(others), unique=True) if others else st.just(list[str]())
        return [*table.key, *draw(more)]
    usable = [c for c, sql_type in table.columns.items() if not table.key or sql_type not in _TWINNED]
    return draw(st.lists(st.sampled_from(usable), min_size=1, unique=True)) if usable else []


_KINDS = st.sampled_from(["view", "view", "query"])


@st.composite
def _chosen(draw: st.DrawFn, name: str, tables: Sequence[Table], schema: str) -> Derived:
    base = draw(st.sampled_from(tables))
    keyed = bool(base.key) and draw(st.booleans())
    columns = draw(_columns(base, keyed=keyed))
    if not columns:
        keyed, columns = True, draw(_columns(base, keyed=True))
    names = {column: f"v{i}" for i, column in enumerate(columns)}
    terms = ", ".join(f"{column} AS {name}" for column, name in names.items())
    made = Derived(
        name,
        {names[column]: base.columns[column] for column in columns},
        tuple(names[column] for column in base.key) if keyed else (),
        False,
        kind=draw(_KINDS),
        inner=f"SELECT {terms} FROM {schema}.{base.name}",
    )
    return draw(_finished(made))


@st.composite
def _joined(draw: st.DrawFn, name: str, tables: Sequence[Table], schema: str) -> Derived:
    sides = {"l": draw(st.sampled_from(tables)), "r": draw(st.sampled_from(tables))}
    left, right = sides.values()
    outer = draw(st.booleans())
    keyed = bool(left.key and right.key) and not outer and draw(st.integers(0, 3)) > 0
    chosen = [
        (side, column) for side, table in sides.items() for column in draw(_columns(table, keyed=keyed))
    ]
    if not chosen:
        outer, keyed = False, True
        chosen = [(s, column) for s, table in sides.items() for column in draw(_columns(table, keyed=True))]
    same = [(a, b) for a, t in left.columns.items() for b, u in right.columns.items() if t == u]
    joined = "TRUE"
    if same:
        a, b = draw(st.sampled_from(same))
        joined = f"l.{a} = r.{b}"
    terms = ", ".join(f"{side}.{column} AS {side}{column}" for side, column in chosen)
    made = Derived(
        name,
        {side + column: sides[side].columns[column] for side, column in chosen},
        tuple(side + column for side, table in sides.items() for column in table.key) if keyed else (),
        False,
        kind=draw(_KINDS),
        inner=f"SELECT {terms} FROM {schema}.{left.name} l {'LEFT ' * outer}JOIN {schema}.{right.name} r ON {joined}",
    )
    return draw(_finished(made))


@st.composite
def _grouped(draw: st.DrawFn, name: str, tables: Sequence[Table], schema: str) -> Derived:
    base = draw(st.sampled_from(tables))
    exact = [column for column, sql_type in base.columns.items() if sql_type not in _TWINNED]
    groups = draw(st.lists(st.sampled_from(exact), max_size=2, unique=True)) if exact else []
    possible = [("count(*)", "bigint")]
    for column, sql_type in base.columns.items():
        possible += [(f"count({column})", "bigint"), (f"count(DISTINCT {column})", "bigint")]
        if sql_type in _ADDED:
            possible.append((f"sum({column})", "bigint"))
        if sql_type in _RANKED:
            possible += [(f"{f}({base.collated(column)})", sql_type) for f in ("min", "max")]
        if sql_type == "boolean":
            possible.append((f"bool_and({column})", sql_type))
    told = draw(st.lists(st.sampled_from(possible), min_size=not groups, max_size=3, unique=True))
    names = {column: f"g{i}" for i, column in enumerate(groups)}
    terms = [f"{column} AS {name}" for column, name in names.items()]
    terms += [f"{sql} AS a{i}" for i, (sql, _) in enumerate(told)]
    keyed = bool(groups) and draw(st.integers(0, 3)) > 0
    given = " AND ".join(f"{column} IS NOT NULL" for column in groups) if keyed else "TRUE"
    by = f" GROUP BY {', '.join(groups)}" if groups else ""
    columns = {name: base.columns[column] for column, name in names.items()}
    made = Derived(
        name,
        {**columns, **{f"a{i}": sql_type for i, (_, sql_type) in enumerate(told)}},
        tuple(names.values()) if keyed else (),
        False,
        kind=draw(_KINDS),
        inner=f"SELECT {', '.join(terms)} FROM {schema}.{base.name} WHERE {given}{by}",
    )
    return draw(_finished(made))


@st.composite
def _with_fields(draw: st.DrawFn, name: str, tables: Sequence[Table], schema: str) -> Derived:
    base = draw(st.sampled_from(tables))
    fields = []
    for i in range(draw(st.integers(1, 2))):
        sql, sql_type = where_sql(draw(wheres(base)), base), "boolean"
        texts = [column for column, sql_type in base.columns.items() if sql_type in ("text", "varchar")]
        if draw(st.booleans()) and texts:
            sql, sql_type = f"length({draw(st.sampled_from(texts))})", "integer"
        fields.append((f"f{i}", sql, sql_type))
    terms = [*base.columns, *(f"{sql} AS {name}" for name, sql, _ in fields)]
    return Derived(
        name,
        {**base.columns, **{name: sql_type for name, _, sql_type in fields}},
        base.key,
        False,
        kind="fields",
        inner=f"SELECT {', '.join(terms)} FROM {schema}.{base.name}",
        base=base,
        fields=tuple(fields),
    )

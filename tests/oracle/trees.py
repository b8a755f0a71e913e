"""Random tables whose rows lead to each other's, or to their own, and questions that follow them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.oracle.shapes import Table, cells, insert_sql, literal, rows

# So few values a type that rows meet; equal ones of different text too, and of different types.
_POOLS = {
    "integer": ["0", "1", "2", "3"],
    "bigint": ["0", "1", "2", "9007199254740993"],
    "numeric": ["0", "1.0", "1.00", "2", "-2.5"],
    "text": ["", "a", "B", "é"],
    "varchar": ["a", "B", "\U0001f600"],
    "boolean": ["t", "f"],
    "double precision": ["0", "-0", "1.5", "NaN"],
    "date": ["2024-02-29", "infinity", "0044-03-15 BC"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
    "jsonb": ["1.0", "1", '"a"', '{"a": 1}'],
    "text[]": ["{}", "{a}", "{b,NULL}"],
}
_TWINS = {"-0", "1.00", "1.0"}  # see shapes.py
_TYPES = ["integer", "integer", "bigint", "numeric", "text", "text", "varchar", "boolean"]
_TYPES += ["double precision", "date", "uuid", "jsonb", "text[]"]
_FAMILIES = [{"integer", "bigint", "numeric"}, {"text", "varchar"}]


@dataclass(frozen=True)
class Relation:
    """A relationship: the rows of ``target`` whose columns equal ours, pair by pair."""

    name: str
    target: str
    many: bool
    on: tuple[tuple[str, str], ...]  # our column, theirs

    @property
    def config(self) -> dict[str, Any]:
        """As the configuration has it."""
        return {("array" if self.many else "object"): self.target, "on": dict(self.on)}


@dataclass(frozen=True)
class Node(Table):
    """A table of a tree, and where its rows lead to."""

    relations: tuple[Relation, ...] = ()

    def values(self, column: str) -> list[str]:
        """See Table."""
        return [v for v in _POOLS[self.columns[column]] if self.key or v not in _TWINS]

    def source(self, schema: str) -> dict[str, Any]:
        """See Table."""
        return {
            **super().source(schema),
            "relationships": {relation.name: relation.config for relation in self.relations},
        }


Tree = Mapping[str, Node]


def _equal(one: str, other: str) -> bool:
    """Whether columns of these types can be joined."""
    return one == other or any(one in family and other in family for family in _FAMILIES)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Two to four tables, each with one to three relationships to any of them."""
    names = [f"t{i}" for i in range(draw(st.integers(2, 4), label="tables"))]
    # of few types, so that there is much to join by
    palette = [*draw(st.lists(st.sampled_from(_TYPES), min_size=1, max_size=3), label="types"), "integer"]
    bare = {name: draw(_bare(name, palette)) for name in names}
    return {name: draw(_related(table, bare)) for name, table in bare.items()}


@st.composite
def _bare(draw: st.DrawFn, name: str, palette: list[str]) -> Node:
    types = ["integer", *draw(st.lists(st.sampled_from(palette), min_size=1, max_size=4))]
    columns = {f"c{i}": sql_type for i, sql_type in enumerate(types)}
    size = draw(st.sampled_from([0, 1, 1, 1, 2]))
    wide = [name for name, sql_type in columns.items() if len(_POOLS[sql_type]) > 2 and sql_type != "jsonb"]
    key = draw(st.permutations(wide))[:size]
    return Node(name, columns, tuple(sorted(key)), draw(st.booleans()))


@st.composite
def _related(draw: st.DrawFn, table: Node, tree: Tree) -> Node:
    relations = []
    for i in range(draw(st.integers(1, 3))):
        target = tree[draw(st.sampled_from(sorted(tree)))]
        pairs = [
            (mine, its)
            for mine, one in table.columns.items()
            for its, other in target.columns.items()
            if _equal(one, other)
        ]
        to_key = [pair for pair in pairs if pair[1] in target.key]
        to_key = to_key if draw(st.booleans(), label="to the key") else []
        size = max(draw(st.sampled_from([1, 1, 1, 2])), len(target.key) * bool(to_key))
        chosen = st.lists(
            st.sampled_from(to_key or pairs), min_size=1, max_size=size, unique_by=(_first, _second)
        )
        on = tuple(draw(chosen, label=f"{table.name}.r{i} to {target.name}"))
        relations.append(Relation(f"r{i}", target.name, draw(st.booleans(), label="many"), on))
    return Node(table.name, table.columns, table.key, table.full, relations=tuple(relations))


def _first(pair: tuple[str, str]) -> str:
    return pair[0]


def _second(pair: tuple[str, str]) -> str:
    return pair[1]


@st.composite
def tree_statements(draw: st.DrawFn, table: Node, schema: str) -> str:
    """One statement, mostly on few rows that are there; it may break the key's uniqueness, and is then to be undone."""
    name = f"{schema}.{table.name}"
    kinds = ["insert"] * 4 + ["update"] * 9 + ["delete"] * 2 + ["update all", "truncate"]
    kind = draw(st.sampled_from(kinds))
    if kind == "insert":
        return insert_sql(draw(st.lists(rows(table), min_size=1, max_size=3)), table, schema)
    if kind == "truncate":
        return f"TRUNCATE {name}"
    order = ", ".join(table.collated(column) for column in table.key or table.columns)
    place, count = draw(st.integers(0, 4), label="place"), draw(st.sampled_from([1, 1, 1, 2]))
    rows_there = f"SELECT ctid FROM {name} ORDER BY {order} LIMIT {count} OFFSET {place}"
    condition = f"ctid IN ({rows_there})"
    if kind == "delete":
        return f"DELETE FROM {name} WHERE {condition}"
    chosen = draw(st.lists(st.sampled_from(list(table.columns)), min_size=1, max_size=2, unique=True))
    if kind == "update all":
        condition = "TRUE"
        chosen = [column for column in chosen if column not in table.key] or chosen
    settings = [f"{c} = {literal(draw(cells(table, c)), table.columns[c])}" for c in chosen]
    return f"UPDATE {name} SET {', '.join(settings)} WHERE {condition}"


def first_rows(table: Node) -> st.SearchStrategy[list[list[str | None]]]:
    """Some rows, with keys of their own."""
    places = [list(table.columns).index(column) for column in table.key]

    def key_of(row: list[str | None]) -> Hashable:
        return tuple(row[place] for place in places)

    if not places:
        return st.lists(rows(table), min_size=4, max_size=8)
    return st.lists(rows(table), min_size=3, max_size=8, unique_by=key_of)

"""Random tables, values, conditions, orders and statements, each with its GraphQL and its SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

_STAMPS = [
    "2024-02-29 00:00:00",
    "0044-03-15 12:00:00.1 BC",
    "infinity",
    "-infinity",
    "1969-12-31 23:59:59.000001",
]
_TEXTS = ["", "a", "B", "b", "é", "Z", "a ", "\U0001f600", "\uffff", "q\"\\'%"]
# Few values a type, so that they meet; none that is a matter of taste.
POOLS: dict[str, list[str]] = {
    "boolean": ["t", "f"],
    "smallint": ["0", "-32768", "7"],
    "integer": ["0", "-1", "2147483647"],
    "bigint": ["0", "-9223372036854775808", "9007199254740993"],
    "real": ["0", "-0", "1.5", "NaN", "-Infinity", "16777216", "0.1"],
    "double precision": ["0", "-0", "0.1", "NaN", "Infinity", "1e23", "5e-324"],
    "numeric": ["0", "1.0", "1.00", "-2.5", "NaN", "1e20", "99999999999999999.5"],
    "text": _TEXTS,
    "varchar": _TEXTS,
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
    "jsonb": ["null", "1.0", "1", '"a"', "[]", '[1, "a"]', '{"a": 1}', '{"a": [1.50, null]}', '{"b": {"a": 1}}'],
    "text[]": ["{}", "{a}", "{a,b}", "{b,NULL}"],
    "date": ["2024-02-29", "0044-03-15 BC", "infinity", "-infinity", "5874897-12-31"],
    "time": ["00:00:00", "24:00:00", "12:34:56.5"],
    "timestamp": _STAMPS,
    "timestamptz": [f"{s[:-3]}+00 BC" if s.endswith("BC") else s if "inf" in s else f"{s}+00" for s in _STAMPS],
}  # fmt: skip
# Equal values of different text: among equal rows without a key, the database's order is anybody's.
_TWINS = {"-0", "1.00", "1.0"}
SIGNS = {"_eq": "=", "_neq": "<>", "_lt": "<", "_lte": "<=", "_gt": ">", "_gte": ">="}
ORDERS = {
    "asc": "ASC NULLS LAST",
    "asc_nulls_first": "ASC NULLS FIRST",
    "asc_nulls_last": "ASC NULLS LAST",
    "desc": "DESC NULLS FIRST",
    "desc_nulls_first": "DESC NULLS FIRST",
    "desc_nulls_last": "DESC NULLS LAST",
}
PATTERNS = {
    "_like": "LIKE", "_nlike": "NOT LIKE", "_ilike": "ILIKE", "_nilike": "NOT ILIKE", "_similar": "SIMILAR TO",
    "_nsimilar": "NOT SIMILAR TO", "_regex": "~", "_nregex": "!~", "_iregex": "~*", "_niregex": "!~*",
}  # fmt: skip
# Each is a pattern of all three languages.
TEXT_PATTERNS = [
    "",
    "%",
    "_",
    "a%",
    "%B",
    "é",
    "b|Z",
    "(a|b)_?",
    "\\%",
    "[a-z]%",
    ".",
    "a{1}",
    "%_",
    'q"\\\\',
]
DOCUMENTS = {"_contains": "@>", "_contained_in": "<@"}
KEYS = {"_has_key": "?", "_has_keys_any": "?|", "_has_keys_all": "?&"}
# What each type has beyond comparison.
FURTHER: dict[str, list[str]] = {
    "text": list(PATTERNS), "varchar": list(PATTERNS), "text[]": list(DOCUMENTS), "jsonb": [*DOCUMENTS, *KEYS, "_cast"],
}  # fmt: skip
_KEYS = ["a", "b", "", "1"]
Where = dict[str, Any]


def literal(value: str | None, sql_type: str) -> str:
    """A value as SQL."""
    return "NULL" if value is None else "'" + value.replace("'", "''") + f"'::{sql_type}"


@dataclass(frozen=True)
class Table:
    """A table; ``key`` holds its key columns' names, none: a multiset. ``full``: REPLICA IDENTITY FULL.

    ``parted``: in two partitions, by the hash of the key's first column.
    """

    name: str
    columns: dict[str, str]  # name → SQL type
    key: tuple[str, ...]
    full: bool
    parted: bool = False

    @property
    def parts(self) -> list[str]:
        """The tables that hold its rows."""
        return [f"{self.name}_{i}" for i in range(2)] if self.parted else [self.name]

    def values(self, column: str) -> list[str]:
        """What the column may hold."""
        return [v for v in POOLS[self.columns[column]] if self.key or v not in _TWINS]

    def constants(self, column: str) -> list[str]:
        """Those of them that GraphQL can say: its Float has no NaN, its lists no nulls, and null is no value."""
        inexpressible = {"real": {"NaN", "-Infinity"}, "jsonb": {"null"}, "text[]": {"{b,NULL}"}}
        return [
            value for value in self.values(column) if value not in inexpressible.get(self.columns[column], ())
        ]

    def create(self, schema: str) -> list[str]:
        """The statements that make it."""
        parts = [f"{name} {sql_type}" for name, sql_type in self.columns.items()]
        if self.key:
            parts.append(f"PRIMARY KEY ({', '.join(self.key)})")
        how = f" PARTITION BY HASH ({self.key[0]})" if self.parted else ""
        made = [f"CREATE TABLE {schema}.{self.name} ({', '.join(parts)}){how}"]
        if self.parted:
            made += [
                f"CREATE TABLE {schema}.{part} PARTITION OF {schema}.{self.name} {self.bounds(part)}"
                for part in self.parts
            ]
        if self.full or not self.key:
            made += [f"ALTER TABLE {schema}.{part} REPLICA IDENTITY FULL" for part in self.parts]
        return made

    def bounds(self, part: str) -> str:
        """Which rows belong into a partition."""
        return f"FOR VALUES WITH (MODULUS {len(self.parts)}, REMAINDER {self.parts.index(part)})"

    def source(self, schema: str) -> dict[str, Any]:
        """The configuration of the source: these columns, whatever others the table has."""
        return {"table": f"{schema}.{self.name}", "columns": dict.fromkeys(self.columns)}

    def collated(self, column: str) -> str:
        """The column for comparisons."""
        return collated(column, self.columns[column])


def collated(cell: str, sql_type: str) -> str:
    """A cell for comparisons: text by code point."""
    return f'{cell} COLLATE "C"' if sql_type in ("text", "varchar") else cell


@st.composite
def tables(draw: st.DrawFn, name: str) -> Table:
    types = draw(st.lists(st.sampled_from(sorted(POOLS)), min_size=2, max_size=4))
    columns = {f"c{i}": sql_type for i, sql_type in enumerate(types)}
    size = draw(st.sampled_from([0, 1, 1, 1, 2]))
    # a key over two values would make every other statement a conflict
    wide = [name for name, sql_type in columns.items() if len(POOLS[sql_type]) > 2 and sql_type != "jsonb"]
    return Table(name, columns, tuple(wide[:size]), draw(st.booleans()))


def cells(table: Table, column: str) -> st.SearchStrategy[str | None]:
    value = st.sampled_from(table.values(column))
    return value if column in table.key else st.one_of(st.none(), value, value, value)


def rows(table: Table) -> st.SearchStrategy[list[str | None]]:
    return st.tuples(*(cells(table, column) for column in table.columns)).map(list)


def graphql_value(value: str, sql_type: str) -> Any:
    """A value as a GraphQL variable: GraphQL's own scalars want JSON's types, all others take the text."""
    match sql_type:
        case "boolean":
            return value == "t"
        case "integer":
            return int(value)
        case "real":
            return float(value)
        case "jsonb":
            return json.loads(value)
        case "text[]":
            return value[1:-1].split(",") if value != "{}" else []
    return value


@st.composite
def comparisons(draw: st.DrawFn, table: Table, column: str) -> Where:
    """Up to two operators on a column, each with a constant."""
    sql_type = table.columns[column]
    found: Where = {}
    operators = [*SIGNS, "_in", "_nin", "_is_null", *FURTHER.get(sql_type, ())]
    value = st.sampled_from(table.constants(column)).map(lambda v: graphql_value(v, sql_type))
    for operator in draw(st.lists(st.sampled_from(operators), max_size=2)):
        if operator == "_is_null":
            found[operator] = draw(st.booleans())
        elif operator in PATTERNS:
            found[operator] = draw(st.sampled_from(TEXT_PATTERNS))
        elif operator in KEYS:
            keys = draw(st.lists(st.sampled_from(_KEYS), min_size=1, max_size=2))
            found[operator] = keys[0] if operator == "_has_key" else keys
        elif operator == "_cast":
            found[operator] = {"String": {"_like": draw(st.sampled_from(TEXT_PATTERNS))}}
        else:
            found[operator] = draw(st.lists(value, max_size=3) if operator in ("_in", "_nin") else value)
    return found


@st.composite
def _leaves(draw: st.DrawFn, table: Table) -> Where:
    chosen = draw(st.lists(st.sampled_from(list(table.columns)), max_size=2, unique=True))
    return {column: draw(comparisons(table, column)) for column in chosen}


def wheres(table: Table) -> st.SearchStrategy[Where]:
    def deeper(inner: st.SearchStrategy[Where]) -> st.SearchStrategy[Where]:
        many = st.lists(inner, max_size=3)
        return st.one_of(
            st.fixed_dictionaries({}, optional={"_and": many, "_or": many, "_not": inner}),
            st.tuples(_leaves(table), inner).map(lambda pair: {**pair[0], "_not": pair[1]}),
        )

    negated = _leaves(table).map(lambda leaf: {"_not": leaf})
    return st.one_of(st.just({}), _leaves(table), negated, st.recursive(_leaves(table), deeper, max_leaves=5))


def where_sql(where: Where, table: Table) -> str:
    """The same condition as SQL, written from the documentation of ``where``, not from its code."""
    parts = []
    for name, inner in where.items():
        if name == "_and":
            parts.append("(" + " AND ".join(["TRUE", *(where_sql(item, table) for item in inner)]) + ")")
        elif name == "_or":
            parts.append("(" + " OR ".join(["FALSE", *(where_sql(item, table) for item in inner)]) + ")")
        elif name == "_not":
            parts.append(f"NOT {where_sql(inner, table)}")
        else:
            parts += [comparison_sql(name, table.columns[name], *pair) for pair in inner.items()]
    return "(" + " AND ".join(["TRUE", *parts]) + ")"


def comparison_sql(column: str, sql_type: str, operator: str, value: Any) -> str:
    """One operator on a column, or on an expression of that type."""

    def constant(item: Any) -> str:
        if sql_type == "jsonb":
            return literal(json.dumps(item), sql_type)
        if sql_type == "text[]":
            return literal("{" + ",".join(item) + "}", sql_type)
        return literal({True: "t", False: "f"}[item] if isinstance(item, bool) else str(item), sql_type)

    if operator == "_is_null":
        return f"{column} IS {'' if value else 'NOT '}NULL"
    if operator in PATTERNS:
        return f"{column} {PATTERNS[operator]} {literal(value, 'text')}"
    if operator in KEYS:
        keys = (
            literal(value, "text")
            if operator == "_has_key"
            else literal(f"{{{json.dumps(value)[1:-1]}}}", "text[]")
        )
        return f"{column} {KEYS[operator]} {keys}"
    if operator == "_cast":
        return f"{column}::text LIKE {literal(value['String']['_like'], 'text')}"
    if operator in DOCUMENTS:
        return f"{column} {DOCUMENTS[operator]} {constant(value)}"
    if operator in SIGNS:
        return f"{collated(column, sql_type)} {SIGNS[operator]} {constant(value)}"
    if not value:
        return "FALSE" if operator == "_in" else "TRUE"
    sign = "IN" if operator == "_in" else "NOT IN"
    return f"{column} {sign} ({', '.join(constant(item) for item in value)})"


Order = Sequence[tuple[str, str]]  # column and direction


def orders(table: Table) -> st.SearchStrategy[Order]:
    # columns of few values first: ties are where an order is wrong
    columns = sorted(table.columns, key=lambda column: len(POOLS[table.columns[column]]))
    term = st.tuples(st.sampled_from(columns), st.sampled_from(sorted(ORDERS)))
    return st.lists(term, min_size=1, max_size=2, unique_by=lambda pair: pair[0])


def order_sql(order: Order, table: Table) -> str:
    """ORDER BY: the terms, then the key, without which the order would not be total."""
    named = {column for column, _ in order}
    terms = [f"{table.collated(column)} {ORDERS[direction]}" for column, direction in order]
    rest = [table.collated(column) for column in table.key or table.columns if column not in named]
    return f"ORDER BY {', '.join([*terms, *rest])}"


def distinct_sql(order: Order, table: Table) -> str:
    """DISTINCT ON of the columns of an order's first terms."""
    return f"DISTINCT ON ({', '.join(table.collated(column) for column, _ in order)}) " if order else ""


@st.composite
def pages(draw: st.DrawFn, table: Table, order: Order) -> Where:
    """Rows behind one in an order, as the next page is asked for: by its first column, and then perhaps by the key."""
    column, direction = order[0]
    cell, behind = draw(st.sampled_from(table.constants(column))), "_lt" if "desc" in direction else "_gt"
    value = graphql_value(cell, table.columns[column])
    if column in table.key or len(table.key) != 1 or draw(st.booleans()):
        return {column: {draw(st.sampled_from([behind, behind + "e"])): value}}
    key = table.key[0]
    last = graphql_value(draw(st.sampled_from(table.constants(key))), table.columns[key])
    return {"_or": [{column: {behind: value}}, {column: {"_eq": value}, key: {"_gt": last}}]}


def insert_sql(made: list[list[str | None]], table: Table, schema: str) -> str:
    """An INSERT of those rows whose keys are free."""
    types = list(table.columns.values())
    values = ", ".join(f"({', '.join(map(literal, row, types))})" for row in made)
    return f"INSERT INTO {schema}.{table.name} VALUES {values} ON CONFLICT DO NOTHING"


@st.composite
def statements(draw: st.DrawFn, table: Table, schema: str) -> str:
    """One statement; it may break the key's uniqueness, and is then to be rolled back."""
    name = f"{schema}.{table.name}"
    kind = draw(
        st.sampled_from(["insert"] * 5 + ["update"] * 4 + ["delete"] * 2 + ["move"] * 2 + ["truncate"])
    )
    if kind == "insert":
        return insert_sql(draw(st.lists(rows(table), min_size=1, max_size=4)), table, schema)
    if kind == "truncate":
        return f"TRUNCATE {name}"
    if kind == "delete":
        return f"DELETE FROM {name} WHERE {where_sql(draw(wheres(table)), table)}"
    if kind == "update":
        loose = [column for column in table.columns if column not in table.key] or list(table.columns)
        condition = where_sql(draw(wheres(table)), table)
    else:  # one row, whose key may move
        loose = list(table.key or table.columns)
        place = draw(st.integers(0, 5))
        condition = f"ctid = (SELECT ctid FROM {name} {order_sql([], table)} LIMIT 1 OFFSET {place})"
    chosen = draw(st.lists(st.sampled_from(loose), min_size=1, max_size=2, unique=True))
    settings = [f"{c} = {literal(draw(cells(table, c)), table.columns[c])}" for c in chosen]
    return f"UPDATE {name} SET {', '.join(settings)} WHERE {condition}"

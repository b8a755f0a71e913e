"""Random questions over a tree of tables: relationships selected, filtered by, ordered by and aggregated."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st

from tests.oracle.asked import Aggregation, Branch, OrderBy, Result, Root, Rows, Window
from tests.oracle.clients import exact
from tests.oracle.shapes import ORDERS, SIGNS, Where, comparisons, graphql_value
from tests.oracle.tree_graphql import document
from tests.oracle.tree_sql import select
from tests.oracle.trees import Node, Relation, Tree
from tycostream.auth.session import Session

_SPREADS = ["stddev", "stddev_pop", "stddev_samp", "var_pop", "var_samp", "variance"]
_SUMMED = ("integer", "bigint", "numeric")
_UNRANKED = ("boolean", "jsonb")
_Value = TypeVar("_Value")


@dataclass(frozen=True, repr=False)
class Question:
    """One operation."""

    tree: Tree
    roots: tuple[Root, ...]
    coalesce_ms: int | None = None

    feed: ClassVar = False
    session: ClassVar = Session()

    def __repr__(self) -> str:
        return f"Question({self.graphql('query')})"

    def value(self, data: Any) -> Any:
        """See Asking."""
        return data

    def graphql(self, operation: str, after: str | None = None) -> tuple[str, dict[str, Any]]:
        """See Asking."""
        return document(self.roots, self.tree, operation, self.coalesce_ms)

    def sql(self, schema: str) -> str:
        """See Asking: one JSON object."""
        return select(self.roots, self.tree, schema)

    def expected(self, texts: Sequence[str]) -> Any:
        """See Asking."""
        (text,) = texts
        return exact(text)


@dataclass(frozen=True)
class Feed:
    """The changes of one table, of which a condition may follow relationships."""

    tree: Tree = field(repr=False)
    table: Node
    columns: tuple[str, ...]
    where: Where
    coalesce_ms: int | None = None

    feed: ClassVar = True
    session: ClassVar = Session()

    def value(self, data: Any) -> Any:
        """See Asking."""
        return data["root"]

    def graphql(self, operation: str, after: str | None = None) -> tuple[str, dict[str, Any]]:
        """See Asking."""
        row, name = " ".join(self.columns), self.table.name
        coalesce = "" if self.coalesce_ms is None else f" @coalesce(ms: {self.coalesce_ms})"
        changes = f"changes {{ operation changed row {{ {row} }} old {{ {row} }} }}"
        text = (
            f"{operation} q($w: {name}_bool_exp, $a: String){coalesce} "
            f"{{ root: {name}_changes(where: $w, after: $a) {{ phase complete cursor {changes} }} }}"
        )
        return text, {"w": self.where, "a": after}

    def sql(self, schema: str) -> str:
        """See Asking."""
        return select((Root("root", self.table, Rows(self.columns), Window(self.where)),), self.tree, schema)

    def expected(self, texts: Sequence[str]) -> Any:
        """See Asking."""
        (text,) = texts
        return Counter(json.dumps(row, sort_keys=True) for row in exact(text)["root"])


@dataclass(frozen=True)
class Questions:
    """Draws questions over a tree. ``aggregates``: whether they ask for aggregates anywhere."""

    tree: Tree
    aggregates: bool = True

    def questions(self) -> st.SearchStrategy[Question]:
        """Mostly of one root field."""

        @st.composite
        def question(draw: st.DrawFn) -> Question:
            count = draw(st.sampled_from([1, 1, 1, 2]), label="roots")
            roots = tuple(draw(self._roots(f"root{n}")) for n in range(count))
            return Question(self.tree, roots, draw(st.sampled_from([None, None, 1, 20]), label="coalesce"))

        return question()

    def feeds(self) -> st.SearchStrategy[Feed]:
        """The changes of one table."""

        @st.composite
        def feed(draw: st.DrawFn) -> Feed:
            table = self.tree[draw(st.sampled_from(sorted(self.tree)))]
            columns = draw(st.lists(st.sampled_from(list(table.columns)), min_size=1, unique=True))
            where = draw(self.wheres(table, 2))
            return Feed(self.tree, table, tuple(columns), where, draw(st.sampled_from([None, None, 1, 20])))

        return feed()

    def _roots(self, alias: str) -> st.SearchStrategy[Root]:
        @st.composite
        def root(draw: st.DrawFn) -> Root:
            table = self.tree[draw(st.sampled_from(sorted(self.tree)))]
            kinds = ["list"] * 5 + ["by_pk"] * bool(table.key) + ["aggregate"] * 2 * self.aggregates
            match draw(st.sampled_from(kinds), label="root"):
                case "by_pk":
                    key = tuple(draw(st.sampled_from(table.constants(column))) for column in table.key)
                    return Root(alias, table, draw(self.rows(table, 2)), key=key)
                case "aggregate":
                    select: Rows | Aggregation = draw(self.aggregations(table, 1))
                case _:
                    select = draw(self.rows(table, 2))
            return Root(alias, table, select, draw(self.windows(table, 2)))

        return root()

    def rows(self, table: Node, depth: int) -> st.SearchStrategy[Rows]:
        """A selection with up to ``depth`` levels of others in it."""

        @st.composite
        def rows(draw: st.DrawFn) -> Rows:
            columns = draw(st.lists(st.sampled_from(list(table.columns)), max_size=3, unique=True))
            branches = []
            for n in range(
                draw(st.sampled_from([*[1] * (3 + depth), 0, 2]), label="branches") if depth else 0
            ):
                relation = draw(st.sampled_from(table.relations))
                branches.append(draw(self._branch(f"b{n}", relation, depth - 1)))
            if not columns and not branches:
                columns = [next(iter(table.columns))]
            return Rows(tuple(columns), tuple(branches))

        return rows()

    def _branch(self, alias: str, relation: Relation, depth: int) -> st.SearchStrategy[Branch]:
        @st.composite
        def branch(draw: st.DrawFn) -> Branch:
            target = self.tree[relation.target]
            if not relation.many:
                return Branch(alias, relation, draw(self.rows(target, depth)))
            window = draw(self.windows(target, 1))
            if self.aggregates and draw(st.integers(0, 2), label="aggregate") == 0:
                return Branch(alias, relation, draw(self.aggregations(target, depth)), window)
            return Branch(alias, relation, draw(self.rows(target, depth)), window)

        return branch()

    def aggregations(self, table: Node, depth: int) -> st.SearchStrategy[Aggregation]:
        """Some aggregates, nodes, or both."""

        @st.composite
        def aggregation(draw: st.DrawFn) -> Aggregation:
            results = draw(st.lists(_results(table), max_size=3))
            count = draw(st.sampled_from([0, 1, 1, 2] if results else [1, 1, 2]), label="nodes")
            nodes = [draw(self.rows(table, depth)) for _ in range(count)]
            return Aggregation(tuple(_named("a", results)), tuple(_named("n", nodes)))

        return aggregation()

    def windows(self, table: Node, depth: int) -> st.SearchStrategy[Window]:
        """Arguments whose condition and order follow up to ``depth`` relationships."""

        @st.composite
        def window(draw: st.DrawFn) -> Window:
            order = draw(st.lists(self.orders(table, depth), max_size=2))
            fields = [name for item in order for name in item]
            plain = list(dict.fromkeys(fields)) if set(fields) <= set(table.columns) else []
            distinct = plain if order else [draw(st.sampled_from(list(table.columns)))]
            if draw(st.integers(0, 4), label="distinct") < 4:
                distinct = []
            distinct = distinct[
                : draw(st.integers(1, 2))
            ]  # in any order, as long as the order begins with them
            where = draw(self.wheres(table, depth)) if draw(st.integers(0, 2), label="where") == 2 else {}
            if fields and fields[0] in table.columns and draw(st.integers(0, 3), label="page") == 3:
                where = {"_and": [where, draw(_pages(table, fields[0]))]}
            return Window(
                where,
                order,
                draw(st.sampled_from([*[None] * 6, 0, 1, 2, 3])),
                draw(st.sampled_from([*[0] * 7, 1, 2])),
                tuple(draw(st.permutations(distinct))),
            )

        return window()

    def orders(self, table: Node, depth: int) -> st.SearchStrategy[OrderBy]:
        """Columns, those of the row that an object relationship leads to, or aggregates: one or two of them."""
        direction = st.sampled_from(sorted(ORDERS))
        terms: list[st.SearchStrategy[OrderBy]] = [
            st.tuples(st.sampled_from(list(table.columns)), direction).map(_single)
        ]
        for relation in table.relations if depth else ():
            target = self.tree[relation.target]
            if not relation.many:
                terms.append(st.tuples(st.just(relation.name), self.orders(target, depth - 1)).map(_single))
            elif self.aggregates:
                name = st.just(f"{relation.name}_aggregate")
                terms.append(st.tuples(name, _aggregate_orders(target)).map(_single))
        one = st.one_of(terms)
        return st.one_of(one, one, st.tuples(one, one).map(lambda pair: {**pair[0], **pair[1]}))

    def wheres(self, table: Node, depth: int, nesting: int = 2) -> st.SearchStrategy[Where]:
        """A condition, with relationships and their aggregates in it, up to ``depth`` of them deep."""

        @st.composite
        def where(draw: st.DrawFn) -> Where:
            found: Where = {}
            names = list(table.columns)
            for column in draw(st.lists(st.sampled_from(names), max_size=1)):
                found[column] = draw(comparisons(table, column))
            for relation in draw(st.lists(st.sampled_from(table.relations), max_size=1)) if depth else ():
                target = self.tree[relation.target]
                if relation.many and self.aggregates and draw(st.booleans(), label="aggregated"):
                    found[f"{relation.name}_aggregate"] = draw(self._aggregated(target, depth - 1))
                else:
                    found[relation.name] = draw(self.wheres(target, depth - 1, 1))
            if nesting:
                inner = self.wheres(table, depth, nesting - 1)
                match draw(st.sampled_from(["", "", "", "_not", "_and", "_or"])):
                    case "_not":
                        found["_not"] = draw(inner)
                    case "_and" | "_or" as name:
                        found[name] = draw(st.lists(inner, max_size=2))
            return found

        return where()

    def _aggregated(self, table: Node, depth: int) -> st.SearchStrategy[Where]:
        @st.composite
        def aggregated(draw: st.DrawFn) -> Where:
            truths = [column for column, sql_type in table.columns.items() if sql_type == "boolean"]
            condition: dict[str, Any] = {}
            if draw(st.booleans(), label="filter"):
                condition["filter"] = draw(self.wheres(table, depth, 1))
            of_truth = draw(st.booleans(), label="of a truth")
            if truths and of_truth:
                condition["arguments"] = draw(st.sampled_from(truths))
                condition["predicate"] = draw(
                    st.sampled_from([{"_eq": True}, {"_neq": True}, {"_is_null": True}])
                )
                return {draw(st.sampled_from(["bool_and", "bool_or"])): condition}
            if columns := draw(st.lists(st.sampled_from(list(table.columns)), max_size=2, unique=True)):
                condition["arguments"] = columns
                condition["distinct"] = draw(st.booleans())
            condition["predicate"] = {draw(st.sampled_from(sorted(SIGNS))): draw(st.integers(0, 2))}
            return {"count": condition}

        return aggregated()


def _named(letter: str, values: Sequence[_Value]) -> list[tuple[str, _Value]]:
    return [(f"{letter}{n}", value) for n, value in enumerate(values)]


def _pages(table: Node, column: str) -> st.SearchStrategy[Where]:
    """Rows behind a cell, as the next page is asked for."""
    value = st.sampled_from(table.constants(column)).map(
        lambda cell: graphql_value(cell, table.columns[column])
    )
    sign = st.sampled_from(["_lt", "_gt", "_lte", "_gte"])
    return st.tuples(sign, value).map(_single).map(lambda condition: {column: condition})


def _single(pair: tuple[str, Any]) -> dict[str, Any]:
    return {pair[0]: pair[1]}


def _functions(table: Node) -> list[tuple[str, str]]:
    """The functions of one column that can be asked for, with their columns."""
    found = []
    for column, sql_type in table.columns.items():
        if sql_type in _SUMMED:
            found += [(function, column) for function in ("sum", "avg", *_SPREADS)]
        if sql_type not in _UNRANKED:
            found += [(function, column) for function in ("min", "max") * 3]
    return found


@st.composite
def _results(draw: st.DrawFn, table: Node) -> Result:
    functions = _functions(table)
    of_one = draw(st.booleans(), label="of a column")
    if functions and of_one:
        function, column = draw(st.sampled_from(functions))
        return Result(function, (column,))
    columns = draw(st.lists(st.sampled_from(list(table.columns)), max_size=2, unique=True))
    return Result("count", tuple(columns), bool(columns) and draw(st.booleans(), label="distinct"))


def _aggregate_orders(table: Node) -> st.SearchStrategy[OrderBy]:
    direction = st.sampled_from(sorted(ORDERS))
    terms: list[st.SearchStrategy[OrderBy]] = [direction.map(lambda way: {"count": way})]
    if functions := _functions(table):
        pair = st.sampled_from(functions)
        terms.append(st.tuples(pair, direction).map(lambda drawn: {drawn[0][0]: {drawn[0][1]: drawn[1]}}))
    return st.one_of(terms)

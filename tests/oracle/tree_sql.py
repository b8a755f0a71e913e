"""What a question means, as one SELECT of PostgreSQL: written from the documentation of the API, not from its code."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tests.oracle.asked import Aggregation, Branch, OrderBy, Result, Root, Rows, Window
from tests.oracle.shapes import ORDERS, Where, collated, comparison_sql, literal
from tests.oracle.trees import Node, Relation, Tree


def select(roots: Sequence[Root], tree: Tree, schema: str) -> str:
    """The answer to all of them: one JSON object, as text."""
    compiler = _Compiler(tree, schema)
    pairs = ", ".join(f"'{root.alias}', {compiler.root(root)}" for root in roots)
    return f"SELECT json_build_object({pairs})::text"


class _Compiler:
    """Each expression is over rows that have an alias in an outer SELECT."""

    def __init__(self, tree: Tree, schema: str) -> None:
        self._tree = tree
        self._schema = schema
        self._aliases = (f"a{n}" for n in itertools.count())

    def root(self, root: Root) -> str:
        if root.key is None:
            return self._value(root.table, root.select, root.window, "TRUE", next(self._aliases))
        assert isinstance(root.select, Rows)
        alias, types = next(self._aliases), root.table.columns
        same = [f"{c} = {literal(v, types[c])}" for c, v in zip(root.table.key, root.key, strict=True)]
        return self._one(root.table, root.select, " AND ".join(same), alias)

    def _from(self, table: Node, alias: str) -> str:
        return f"FROM {self._schema}.{table.name} {alias}"

    def _one(self, table: Node, select: Rows, condition: str, alias: str) -> str:
        """One row as an object, or NULL; of several the first by key."""
        order = ", ".join(self._by_key(table, alias))
        row = self._object(table, select, alias)
        return f"(SELECT {row} {self._from(table, alias)} WHERE {condition} ORDER BY {order} LIMIT 1)"

    def _value(
        self, table: Node, select: Rows | Aggregation, window: Window, condition: str, alias: str
    ) -> str:
        """A list of rows, or aggregates over one. The rows of the window are numbered first."""
        distinct = ", ".join(_cell(table, column, alias) for column in window.distinct)
        order = ", ".join(self._order(table, window, alias))
        rows = f"SELECT {f'DISTINCT ON ({distinct}) ' if distinct else ''}{alias}.*, row_number() OVER (ORDER BY {order}) AS place"
        rows += f" {self._from(table, alias)} WHERE {condition} AND {self.where(table, window.where, alias)}"
        limit = "ALL" if window.limit is None else window.limit
        rows += f" ORDER BY {order} LIMIT {limit} OFFSET {window.offset}"
        each = next(self._aliases)
        if isinstance(select, Rows):
            value = self._list(table, select, each)
        else:
            results = [f"'{key}', {_result(table, result, each)}" for key, result in select.results]
            fields = [f"'aggregate', json_build_object({', '.join(results)})"] * bool(results)
            fields += [f"'{key}', {self._list(table, rows, each)}" for key, rows in select.nodes]
            value = f"json_build_object({', '.join(fields)})"
        return f"(SELECT {value} FROM ({rows}) {each})"

    def _list(self, table: Node, select: Rows, alias: str) -> str:
        row = self._object(table, select, alias)
        return f"coalesce(json_agg({row} ORDER BY {alias}.place), '[]'::json)"

    def _object(self, table: Node, select: Rows, alias: str) -> str:
        pairs = [f"'{column}', {alias}.{column}" for column in select.columns]
        pairs += [f"'{branch.alias}', {self._branch(branch, alias)}" for branch in select.branches]
        return f"json_build_object({', '.join(pairs)})"

    def _branch(self, branch: Branch, outer: str) -> str:
        target, alias = self._tree[branch.relation.target], next(self._aliases)
        joined = _joined(branch.relation, outer, alias)
        if branch.relation.many:
            return self._value(target, branch.select, branch.window, joined, alias)
        assert isinstance(branch.select, Rows)
        return self._one(target, branch.select, joined, alias)

    # conditions

    def where(self, table: Node, where: Where, alias: str) -> str:
        """``T_bool_exp``."""
        relations = {relation.name: relation for relation in table.relations}
        parts = ["TRUE"]
        for name, inner in where.items():
            if name in ("_and", "_or"):
                many = [str(name == "_and").upper(), *(self.where(table, each, alias) for each in inner)]
                parts.append(f"({f' {name[1:].upper()} '.join(many)})")
            elif name == "_not":
                parts.append(f"NOT {self.where(table, inner, alias)}")
            elif name in table.columns:
                cell, sql_type = f"{alias}.{name}", table.columns[name]
                parts += [comparison_sql(cell, sql_type, *pair) for pair in inner.items()]
            elif name in relations:
                parts.append(self._exists(relations[name], inner, alias))
            else:
                parts.append(self._aggregated(relations[name.removesuffix("_aggregate")], inner, alias))
        return f"({' AND '.join(parts)})"

    def _related(self, relation: Relation, outer: str, where: Where) -> tuple[Node, str, str]:
        """The table, its alias, and FROM … WHERE of the rows."""
        target, alias = self._tree[relation.target], next(self._aliases)
        condition = f"{_joined(relation, outer, alias)} AND {self.where(target, where, alias)}"
        return target, alias, f"{self._from(target, alias)} WHERE {condition}"

    def _exists(self, relation: Relation, where: Where, outer: str) -> str:
        _, _, rows = self._related(relation, outer, where)
        return f"EXISTS (SELECT 1 {rows})"

    def _aggregated(self, relation: Relation, inner: dict[str, Any], outer: str) -> str:
        ((function, condition),) = inner.items()
        target, alias, rows = self._related(relation, outer, condition.get("filter", {}))
        if function == "count":
            columns = tuple(condition.get("arguments", ()))
            result = _result(target, Result(function, columns, condition.get("distinct", False)), alias)
        else:
            result = f"{function}({alias}.{condition['arguments']})"
        sql_type = "integer" if function == "count" else "boolean"
        parts = [
            comparison_sql(f"(SELECT {result} {rows})", sql_type, *pair)
            for pair in condition["predicate"].items()
        ]
        return f"({' AND '.join(parts)})"

    # orders

    def _by_key(self, table: Node, alias: str) -> list[str]:
        return [_cell(table, column, alias) for column in table.key or table.columns]

    def _order(self, table: Node, window: Window, alias: str) -> list[str]:
        """The terms, or those of ``distinct_on``; then the key, without which the order would not be total."""
        order: Sequence[OrderBy] = window.order or [{column: "asc"} for column in window.distinct]
        terms = [term for item in order for term in self._terms(table, item, alias)]
        return [f"{cell} {ORDERS[direction]}" for cell, direction in terms] + self._by_key(table, alias)

    def _terms(self, table: Node, item: OrderBy, outer: str) -> Iterator[tuple[str, str]]:
        """What is ordered by, and how."""
        relations = {relation.name: relation for relation in table.relations}
        for name, inner in item.items():
            if name in table.columns:
                yield _cell(table, name, outer), inner
            elif name in relations:
                target, alias, rows = self._related(relations[name], outer, {})
                by = ", ".join(self._by_key(target, alias))
                for cell, direction in self._terms(target, inner, alias):
                    yield f"(SELECT {cell} {rows} ORDER BY {by} LIMIT 1)", direction
            else:
                target, alias, rows = self._related(relations[name.removesuffix("_aggregate")], outer, {})
                for cell, direction in _totals(target, inner, alias):
                    yield f"(SELECT {cell} {rows})", direction


def _totals(table: Node, item: OrderBy, alias: str) -> Iterator[tuple[str, str]]:
    """``T_aggregate_order_by``."""
    for function, inner in item.items():
        if function == "count":
            yield "count(*)", inner
        else:
            for column, direction in inner.items():
                yield _function(table, function, column, alias), direction


def _cell(table: Node, column: str, alias: str) -> str:
    """A cell for comparisons."""
    return collated(f"{alias}.{column}", table.columns[column])


def _joined(relation: Relation, outer: str, alias: str) -> str:
    return " AND ".join(f"{alias}.{its} = {outer}.{mine}" for mine, its in relation.on)


def _result(table: Node, result: Result, alias: str) -> str:
    """An aggregate; of one column it is an object of that column."""
    if result.function != "count":
        (column,) = result.columns
        return f"json_build_object('{column}', {_function(table, result.function, column, alias)})"
    if not result.columns:
        return "count(*)"
    cells = [f"{alias}.{column}" for column in result.columns]
    what = f"DISTINCT ({', '.join(cells)})" if result.distinct else "*"
    given = " AND ".join(f"{cell} IS NOT NULL" for cell in cells)
    return f"count({what}) FILTER (WHERE {given})"


def _function(table: Node, function: str, column: str, alias: str) -> str:
    cell = _cell(table, column, alias)
    if function not in ("min", "max"):
        return f"{function}({alias}.{column})"
    if table.columns[column] == "text[]":  # there is no array of such
        return f"{function}({cell})"
    # of equal cells of different text PostgreSQL shows anybody's; and it has no min of uuid
    way = "ASC" if function == "min" else "DESC"
    order = f'{cell} {way}, {alias}.{column}::text COLLATE "C" {way}'
    return f"(array_agg({alias}.{column} ORDER BY {order}) FILTER (WHERE {alias}.{column} IS NOT NULL))[1]"

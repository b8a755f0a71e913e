"""A question over a tree of tables as GraphQL: each argument is a variable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.oracle.asked import Aggregation, Branch, Result, Root, Rows, Window
from tests.oracle.shapes import graphql_value
from tests.oracle.trees import Node, Tree


def document(
    roots: Sequence[Root], tree: Tree, operation: str, coalesce_ms: int | None
) -> tuple[str, dict[str, Any]]:
    """The document and its variables."""
    return _Writer(tree).document(roots, operation, coalesce_ms)


class _Writer:
    """A document in the making: each argument is a variable."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._types: list[str] = []
        self._values: list[Any] = []

    def document(
        self, roots: Sequence[Root], operation: str, coalesce_ms: int | None
    ) -> tuple[str, dict[str, Any]]:
        body = " ".join(map(self._root, roots))
        declared = ", ".join(f"$v{n}: {type_name}" for n, type_name in enumerate(self._types))
        coalesce = ""
        if coalesce_ms is not None and operation == "subscription":
            coalesce = f" @coalesce(ms: {coalesce_ms})"
        head = f"{operation} q({declared})" if declared else f"{operation} q"
        values = {f"v{n}": value for n, value in enumerate(self._values)}
        return f"{head}{coalesce} {{ {body} }}", values

    def _root(self, root: Root) -> str:
        table = root.table
        if root.key is not None:
            types = table.columns
            pairs = zip(table.key, root.key, strict=True)
            given = ", ".join(f"{c}: {json.dumps(graphql_value(v, types[c]))}" for c, v in pairs)
            return f"{root.alias}: {table.name}_by_pk({given}) {self._selected(table, root.select)}"
        suffix = "_aggregate" if isinstance(root.select, Aggregation) else ""
        arguments = self._arguments(table, root.window)
        return f"{root.alias}: {table.name}{suffix}{arguments} {self._selected(table, root.select)}"

    def _arguments(self, table: Node, window: Window) -> str:
        given = []
        for name, type_name, value in (
            ("where", f"{table.name}_bool_exp", window.where),
            ("order_by", f"[{table.name}_order_by!]", window.order),
            ("limit", "Int", window.limit),
            ("offset", "Int", window.offset),
            ("distinct_on", f"[{table.name}_select_column!]", list(window.distinct)),
        ):
            if value or (value == 0 and name == "limit"):
                given.append(f"{name}: $v{len(self._types)}")
                self._types.append(type_name)
                self._values.append(value)
        return f"({', '.join(given)})" if given else ""

    def _selected(self, table: Node, select: Rows | Aggregation) -> str:
        if isinstance(select, Rows):
            parts = [*select.columns, *(self._branch(branch) for branch in select.branches)]
            return "{ " + " ".join(parts or ["__typename"]) + " }"
        parts = []
        if select.results:
            parts.append(f"aggregate {{ {' '.join(_result(*pair) for pair in select.results)} }}")
        parts += [f"{alias}: nodes {self._selected(table, rows)}" for alias, rows in select.nodes]
        return "{ " + " ".join(parts) + " }"

    def _branch(self, branch: Branch) -> str:
        target = self._tree[branch.relation.target]
        suffix = "_aggregate" if isinstance(branch.select, Aggregation) else ""
        arguments = self._arguments(target, branch.window) if branch.relation.many else ""
        name = f"{branch.relation.name}{suffix}"
        return f"{branch.alias}: {name}{arguments} {self._selected(target, branch.select)}"


def _result(alias: str, result: Result) -> str:
    if result.function != "count":
        return f"{alias}: {result.function} {{ {' '.join(result.columns)} }}"
    given = [f"columns: [{', '.join(result.columns)}]"] * bool(result.columns)
    given += ["distinct: true"] * result.distinct
    return f"{alias}: count({', '.join(given)})" if given else f"{alias}: count"

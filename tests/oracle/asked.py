"""What can be asked of a tree of tables: values, of which GraphQL and SQL are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.shapes import Where
from tests.oracle.trees import Node, Relation

OrderBy = dict[str, Any]  # T_order_by: its fields in their order


@dataclass(frozen=True)
class Window:
    """The arguments of a list. ``distinct``: the columns of ``distinct_on``."""

    where: Where = field(default_factory=dict)
    order: Sequence[OrderBy] = ()
    limit: int | None = None
    offset: int = 0
    distinct: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """What is selected on a row."""

    columns: tuple[str, ...]
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True)
class Result:
    """One aggregate: ``count`` of columns (or of rows), or a function of one column."""

    function: str
    columns: tuple[str, ...] = ()
    distinct: bool = False


@dataclass(frozen=True)
class Aggregation:
    """What is selected on ``T_aggregate``: results by response key, and any number of ``nodes`` by theirs."""

    results: tuple[tuple[str, Result], ...]
    nodes: tuple[tuple[str, Rows], ...] = ()


@dataclass(frozen=True)
class Branch:
    """A relationship selected on a row, under ``alias``."""

    alias: str
    relation: Relation
    select: Rows | Aggregation
    window: Window = field(default_factory=Window)


@dataclass(frozen=True)
class Root:
    """One root field: by ``key`` one row, else a window of rows, or aggregates over one."""

    alias: str
    table: Node
    select: Rows | Aggregation
    window: Window = field(default_factory=Window)
    key: tuple[str, ...] | None = None

"""What the entries of a select list give: columns, constants and expressions that a test has registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tycostream.testing.pgwire_messages import WireError
from tycostream.testing.sql_text import SelectItem, normal, tokens
from tycostream.testing.sql_types import ColumnDef, Row, SqlType

Cell = Callable[[Row], str | None]
Shape = tuple[tuple[ColumnDef, ...], tuple[Cell, ...], tuple[int | None, ...]]
Compiled = tuple[ColumnDef, Cell, int | None]


class Selectable(Protocol):
    """What is selected from: its columns, how each cell comes from a stored row, and from which place (None: computed)."""

    @property
    def columns(self) -> Sequence[ColumnDef]:
        """The columns."""

    @property
    def cells(self) -> Sequence[Cell]:
        """A function of the stored row for each."""

    @property
    def places(self) -> Sequence[int | None]:
        """Which column of the stored row each is; None: computed."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A custom expression: its type, and its value from a row by column name."""

    type: SqlType
    value: Callable[[dict[str, str | None]], str | None]


def whole(columns: Sequence[ColumnDef]) -> Shape:
    """All columns as they are stored."""
    places = tuple(range(len(columns)))
    return tuple(columns), tuple(_place(i) for i in places), places


class SelectItems:
    """Compiles select lists. ``sql_type`` resolves the names of a dialect's types."""

    def __init__(self, sql_type: Callable[[str], SqlType]) -> None:
        self._sql_type = sql_type
        self._registered: dict[str, Expression] = {}

    def register(
        self, sql: str, type_name: str, value: Callable[[dict[str, str | None]], str | None]
    ) -> None:
        """What an expression gives, from a row's texts by column."""
        self._registered[normal(sql)] = Expression(self._sql_type(type_name), value)

    def compile(self, items: Sequence[SelectItem], source: Selectable) -> Shape:
        """Columns, cells and places of a select list; 42703 for a column that does not exist."""
        compiled: list[Compiled] = []
        for item in items:
            if item.expression == "*":
                compiled += zip(source.columns, source.cells, source.places, strict=True)
            else:
                column, cell, place = self._expression(source, item.expression)
                name = item.alias or column.name
                shown = ColumnDef(name, column.type, column.nullable, column.comment, column.default)
                compiled.append((shown, cell, place))
        columns, cells, places = zip(*compiled, strict=True) if compiled else ((), (), ())
        return tuple(columns), tuple(cells), tuple(places)

    def _expression(self, source: Selectable, text: str) -> Compiled:
        parts = tokens(text)
        known = self._registered.get(normal(text))
        if known is None and _wrapped(text):
            return self._expression(source, text[parts[0].end : parts[-1].start])
        if known is not None:
            names = [column.name for column in source.columns]
            cells = source.cells

            def value(row: Row) -> str | None:
                return known.value({name: cell(row) for name, cell in zip(names, cells, strict=True)})

            return ColumnDef("?column?", known.type), value, None
        if len(parts) in (1, 3) and all(part.kind in ("word", "quoted") for part in parts[::2]):
            name = parts[-1].text
            for i, column in enumerate(source.columns):
                if column.name == name:
                    return column, source.cells[i], source.places[i]
            if name == "null" and parts[-1].kind == "word":
                return ColumnDef("?column?", self._sql_type("text")), lambda row: None, None
            raise WireError("42703", f'column "{name}" does not exist')
        if len(parts) == 1 and parts[0].kind in ("string", "number"):
            constant = parts[0].text
            kind = "text" if parts[0].kind == "string" else "int4" if constant.isdigit() else "numeric"
            return ColumnDef("?column?", self._sql_type(kind), False), lambda row: constant, None
        for part in parts:  # the likeliest fault of an expression: a column that is not there
            names = [column.name for column in source.columns]
            if part.kind == "quoted" and part.text not in names:
                raise WireError("42703", f'column "{part.text}" does not exist')
        raise WireError("0A000", f"the fake does not know the expression {text.strip()!r}: register it")


def _place(place: int) -> Callable[[Row], str | None]:
    return lambda row: row[place]


def _wrapped(text: str) -> bool:
    """Whether one pair of parentheses encloses it all."""
    parts, depth = tokens(text), 0
    if len(parts) < 3 or parts[0].text != "(" or parts[0].kind != "op":
        return False
    for i, part in enumerate(parts):
        if part.kind == "op":
            depth += {"(": 1, ")": -1}.get(part.text, 0)
        if depth == 0:
            return i == len(parts) - 1
    return False

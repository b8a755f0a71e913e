"""Selections on ``T_aggregate``, compiled: JSON from an aggregation's cells, and from the JSON of its rows.

``aggregate`` and ``nodes`` may each be selected several times, under aliases. Rows are written once for all of the
``nodes``: what stands for a row is then several objects, one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from tycostream.dataflow.aggregate import scalar_of
from tycostream.dataflow.relation import Aggregate
from tycostream.graphql.documents import Flawed, beside
from tycostream.graphql.encode import Rows, Selection
from tycostream.graphql.plan import Condition, Nested, RowEncoder
from tycostream.rows import Cell, Row, RowType
from tycostream.scalars import stringified

_BETWEEN: Final = b"\0"  # between the objects of one row: no JSON text has it


@dataclass(frozen=True, slots=True)
class Results:
    """Fields selected on ``T_aggregate_fields``, or on ``T_sum_fields`` and its like, by response key.

    A result, what is selected on an object of them, or the object's own ``__typename``.
    """

    type_name: str
    fields: tuple[tuple[str, Aggregate | Results | None], ...]


@dataclass(frozen=True, slots=True)
class AggregateSelection:
    """Fields selected on ``T_aggregate``, by response key: ``aggregate``, ``nodes``, or ``__typename`` (None)."""

    type_name: str
    fields: tuple[tuple[str, Results | Selection | None], ...]
    nodes_max: int | None = None  # of more rows the first are written

    @property
    def nodes(self) -> tuple[tuple[str, Selection], ...]:
        """The selections of rows among them."""
        return tuple((key, each) for key, each in self.fields if isinstance(each, Selection))


class SeveralRows:
    """The RowEncoder of several ``nodes``: a row's fragment holds its object for each."""

    def __init__(self, keys: Sequence[str], encoders: Sequence[RowEncoder]) -> None:
        self.key: Hashable = ("several", tuple(keys), tuple(encoder.key for encoder in encoders))
        self.nested: tuple[Nested | Condition, ...] = tuple(
            nested for encoder in encoders for nested in encoder.nested
        )
        self._keys = keys
        self._encoders = encoders

    def row(self, row: Row, *related: bytes) -> bytes:
        """See RowEncoder; flaws are told under the response key of the ``nodes`` they are of."""
        objects: list[bytes] = []
        at = 0
        for encoder in self._encoders:
            end = at + len(encoder.nested)
            objects.append(encoder.row(row, *related[at:end]))
            at = end
        return beside(_BETWEEN.join(objects), (), self._keys, objects)

    def result(self, fragments: Sequence[bytes]) -> bytes:
        """See RowEncoder: rows of this kind are no list of their own."""
        raise NotImplementedError


class _Piece(NamedTuple):
    """``before``, and then what a cell is written as, or a list of rows."""

    before: bytes
    place: int  # of the cell, or of the ``nodes``
    write: Callable[[Cell], str] | None  # None: of the ``nodes``


class Aggregates:
    """The AggregateEncoder. ``key`` must be told apart by who makes it, as that of other encoders."""

    def __init__(
        self,
        selection: AggregateSelection,
        row_type: RowType,
        rows: Callable[[Selection], Rows],
        *,
        stringify_numbers: bool,
    ) -> None:
        """``rows`` gives the encoder of a selection of rows."""
        self.key: Hashable = ("aggregates", selection)
        self._keys = [key for key, _ in selection.nodes]
        self._nodes_max = selection.nodes_max
        encoders = [rows(each) for _, each in selection.nodes]
        self.nodes: RowEncoder | None = None
        if encoders:
            self.nodes = encoders[0] if len(encoders) == 1 else SeveralRows(self._keys, encoders)
        self._row_type = row_type
        self._stringify = stringify_numbers
        self._places: dict[Aggregate, int] = {}
        self._pieces: list[_Piece] = []
        self._text = ""  # since the last piece
        self._lists = 0
        self._object(selection)
        self._tail = self._text.encode()
        self.aggregates = tuple(self._places)

    def _object(self, selection: AggregateSelection | Results) -> None:
        self._text += "{"
        for n, (key, field) in enumerate(selection.fields):  # none, where @skip leaves out all
            self._text += f'{"," * (n > 0)}"{key}":'
            if field is None:
                self._text += f'"{selection.type_name}"'
            elif isinstance(field, Aggregate):
                scalar = scalar_of(field, self._row_type)
                write = (stringified(scalar) if self._stringify else scalar).json
                self._piece(self._places.setdefault(field, len(self._places)), write)
            elif isinstance(field, Results):
                self._object(field)
            else:
                self._piece(self._lists, None)
                self._lists += 1
        self._text += "}"

    def _piece(self, place: int, write: Callable[[Cell], str] | None) -> None:
        self._pieces.append(_Piece(self._text.encode(), place, write))
        self._text = ""

    def value(self, cells: Sequence[Cell], nodes: Sequence[bytes]) -> bytes:
        """See AggregateEncoder."""
        if self._nodes_max is not None:
            nodes = nodes[: self._nodes_max]
        lists = self._split(nodes)
        parts: list[bytes] = []
        for before, place, write in self._pieces:
            parts.append(before)
            if write is None:
                parts += (b"[", b",".join(lists[place]), b"]")
            else:
                cell = cells[place]
                parts.append(b"null" if cell is None else write(cell).encode())
        parts.append(self._tail)
        return self._told(b"".join(parts), nodes)

    def _split(self, nodes: Sequence[bytes]) -> list[Sequence[bytes]]:
        if self._lists <= 1:
            return [nodes]
        if not nodes:
            return [[]] * self._lists
        return [list(each) for each in zip(*[node.split(_BETWEEN) for node in nodes], strict=True)]

    def _told(self, text: bytes, nodes: Sequence[bytes]) -> bytes:
        """With what is told of the rows, at their places in the lists."""
        if not self._lists or Flawed not in map(type, nodes):
            return text
        flaws, total = [], 0
        for place, node in enumerate(nodes):
            if isinstance(node, Flawed):
                total += node.total
                for path, message in node.flaws:
                    key, inner = (self._keys[0], path) if self._lists == 1 else (str(path[0]), path[1:])
                    flaws.append(((key, place, *inner), message))
        return Flawed(text, flaws, total)

"""From replicated tuples to changes, and what a snapshot has seen. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from tycostream.engines.decode.pgoutput import (
    Delete,
    Insert,
    Message,
    Relation,
    TupleData,
    Update,
    decode,
    protocol_error,
)
from tycostream.engines.decode.tuples import Read, tuple_reader
from tycostream.engines.libpq import fail
from tycostream.engines.names import shown
from tycostream.engines.postgres.catalogue import Table
from tycostream.errors import UpstreamError
from tycostream.rows import TRUNCATE, UNCHANGED, Cell, Change, Row, RowType

if TYPE_CHECKING:
    from tycostream.engines.postgres.computed import Computed


_INSERT, _DELETE, _NEW = b"IDN"
# Change._make would run a function of Python's for each.
_change = cast("Callable[[tuple[Hashable, Row | None, Row | None]], Change]", partial(tuple.__new__, Change))


class Unknown:
    """The type of UNKNOWN."""

    __slots__ = ()


UNKNOWN: Final = Unknown()  # a row that a message does not tell


@dataclass(frozen=True, slots=True)
class Seen:
    """A ``pg_snapshot``: which transactions a read saw."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Seen:
        """From pg_snapshot's text, ``xmin:xmax:xip,…``."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(x) for x in running.split(",") if x))

    def visible(self, xid: int) -> bool:
        """Whether the transaction with this 32-bit number was seen; it is taken as the one nearest to xmax."""
        full = (self.xmax & ~0xFFFFFFFF) | xid
        if full > self.xmax + 2**31:
            full -= 2**32
        elif full < self.xmax - 2**31:
            full += 2**32
        return full < self.xmin or (full < self.xmax and full not in self.running)


class Mapper:
    """Turns one relation's tuples into one source's rows, by column *name*: tables gain columns while we run.

    A partition has a mapper of its own: its columns may stand in another order, and its identity be another.
    """

    def __init__(self, row_type: RowType, table: Table | Computed) -> None:
        self.row_type, self._table = row_type, table
        # With a partition's own identity in the whole's clothes, an old row may lack cells.
        self._full = (
            isinstance(table, Table)
            and table.identity == "f"
            and all(part.identity_columns is None for part in table.leaves)
        )
        self._types = {column.name: column.type_oid for column in table.columns}
        self._parse = [column.scalar.parse for column in row_type.columns]
        self._places: list[int] | None = None
        self._read: Read | None = None
        self._read_key: Read | None = None
        self.misfit: UpstreamError | None = None  # why the table, as it is now, does not give our rows

    def relation(self, relation: Relation) -> None:
        """The table's shape from here on; if it is not the one we know, that is the ``misfit`` of each change."""
        self._places = self._read = self._read_key = self.misfit = None
        try:
            self._places = places = self._fit(relation)
        except UpstreamError as error:
            self.misfit = error
            return
        columns, width = self.row_type.columns, len(relation.columns)
        self._read = tuple_reader(places, columns, width)
        key = self.row_type.key
        self._read_key = tuple_reader([places[i] for i in key], [columns[i] for i in key], width)

    def _fit(self, relation: Relation) -> list[int]:
        found = {column.name: (i, column.type_oid) for i, column in enumerate(relation.columns)}
        places = []
        for column in self.row_type.columns:
            if column.name not in found:
                raise column_dropped(self.row_type.source, column.name, shown(relation.schema, relation.name))
            place, oid = found[column.name]
            if oid != self._types[column.name]:
                raise column_type_changed(self.row_type.source, column.name)
            places.append(place)
        self._require_identity(relation, places)
        return places

    def _require_identity(self, relation: Relation, places: Sequence[int]) -> None:
        """Old tuples must name the row that they stand for; a changed identity comes with the next change."""
        if not self.row_type.keyed:
            if relation.identity == "f":
                return
            said = "and the source has no key"
        else:
            key = [relation.columns[places[i]] for i in self.row_type.key]
            if all(column.in_key for column in key):
                return
            said = f"without key column {', '.join(column.name for column in key if not column.in_key)}"
        name = shown(relation.schema, relation.name)
        raise fail(
            "replica-identity",
            f"source {self.row_type.source}: {name} has another replica identity now, {said}",
            hint=f"ALTER TABLE {name} REPLICA IDENTITY FULL;",
        )

    def row(self, texts: Sequence[Cell], places: Sequence[int]) -> Row:
        """The row; UpstreamError for a value that does not parse."""
        cells: list[Cell] = []
        for i, place in enumerate(places):
            text = texts[place]
            if text is None or text is UNCHANGED:
                cells.append(text)
                continue
            try:
                cells.append(self._parse[i](text))
            except (ValueError, ArithmeticError, LookupError) as error:
                shown = text if len(text) <= 80 else text[:79] + "…"
                column = self.row_type.columns[i]
                raise fail(
                    "value",
                    # all clients of the source see the message: the value stands in the detail
                    f"source {self.row_type.source}: column {column.name} holds what is not a {column.scalar.name}",
                    detail=f"{shown!r}: {error}"[:300],
                    hint="give the column another type in `columns:`",
                ) from None
        return tuple(cells)

    def change(self, data: bytes, at: int) -> Change:
        """The change that a row's message, which begins at ``at``, tells, as ``rows.Change`` asks for it.

        UpstreamError if it does not read, or the table is not the one we know.
        """
        read, read_key = self._read, self._read_key
        if read is not None and read_key is not None:
            try:
                change = self._quick(data, at, read, read_key)
                if change is not None:
                    return change
            except (ValueError, ArithmeticError, LookupError):
                pass  # said below, with the column or the place
        return self._slow(decode(data[at:]))

    def _quick(self, data: bytes, at: int, read: Read, read_key: Read) -> Change | None:
        """The change, in the forms that are common; None, or an exception, for any other and for what does not read."""
        kind, form, keyed = data[at], data[at + 5], self.row_type.keyed
        if form == _NEW and kind != _DELETE:
            row, end = read(data, at + 6)
            if end != len(data):
                return None
            if keyed:
                return _change((self.row_type.key_of(row), None, row))
            return _change((None, None, row)) if kind == _INSERT else None
        if not keyed or form == _NEW:
            return None
        old, end = read_key(data, at + 6)
        key = old[0] if len(old) == 1 else old
        if kind == _DELETE:
            return _change((key, None, None)) if end == len(data) else None
        if data[end] != _NEW:
            return None
        row, end = read(data, end + 1)
        return _change((key, None, row)) if end == len(data) else None

    def _slow(self, message: Message | None) -> Change:
        places, keyed, key_of = self._places, self.row_type.keyed, self.row_type.key_of
        if places is None:
            raise self.misfit or protocol_error(f"a change of {self._table.sql} came before its shape")
        assert isinstance(message, Insert | Update | Delete)
        if isinstance(message, Insert):
            new = self.row(message.new, places)
            return Change(key_of(new) if keyed else None, None, new)
        if isinstance(message, Delete):
            if keyed:
                return Change(self._key(message.old, places), None, None)
            return Change(None, self.row(message.old, places), None)
        texts = message.new
        if not keyed:
            if message.old is None:
                raise protocol_error("an update of a table with the identity FULL lacks the old row")
            if UNCHANGED in texts:
                texts = tuple(o if n is UNCHANGED else n for o, n in zip(message.old, texts, strict=True))
            return Change(None, self.row(message.old, places), self.row(texts, places))
        new = self.row(texts, places)
        return Change(key_of(new) if message.old is None else self._key(message.old, places), None, new)

    def before(self, data: bytes, at: int) -> Row | Unknown | None:
        """The row before a change, if its message tells it; None: there was none. UpstreamError as ``change``."""
        message = decode(data[at:])
        assert isinstance(message, Insert | Update | Delete)
        if isinstance(message, Insert):
            return None
        if not self._full or message.kind != "O" or message.old is None or self._places is None:
            return UNKNOWN
        return self.row(message.old, self._places)

    def _key(self, texts: TupleData, places: Sequence[int]) -> Hashable:
        # Only the key's cells count: the others of a K tuple are NULL whatever the row held.
        wanted = {places[i] for i in self.row_type.key}
        return self.row_type.key_of(
            self.row([t if i in wanted else None for i, t in enumerate(texts)], places)
        )


def column_dropped(source: str, column: str, table: str = "") -> UpstreamError:
    """A column that a source reads is not there any more."""
    of = f" from {table}" if table else ""
    return fail(
        "column-dropped",
        f"source {source}: column {column} is gone{of}",
        hint="restore the column, or its name, or take it out of `columns:`",
    )


def column_type_changed(source: str, column: str, detail: str = "") -> UpstreamError:
    """A column that a source reads has another type."""
    return fail(
        "column-type-changed",
        f"source {source}: column {column} has another type now",
        detail=detail,
        hint="the source is described anew and comes back with the new type, if `columns:` allows it",
    )


def check_shape(wanted: RowType, found: RowType) -> None:
    """Whether a table described anew still gives rows of ``wanted``; UpstreamError if not."""
    scalars = {column.name: column.scalar for column in found.columns}
    for column in wanted.columns:
        if (scalar := scalars.get(column.name)) is None:
            raise column_dropped(wanted.source, column.name)
        if (scalar.name, scalar.labels) != (column.scalar.name, column.scalar.labels):
            raise column_type_changed(
                wanted.source, column.name, f"it was {column.scalar.name} and is {scalar.name}"
            )
    names = [[row_type.columns[i].name for i in row_type.key] for row_type in (wanted, found)]
    if names[0] != names[1]:
        raise fail(
            "key-changed",
            f"source {wanted.source}: its key is another one now",
            detail=f"it was {', '.join(names[0]) or 'none'} and is {', '.join(names[1]) or 'none'}",
            hint="the source is described anew and comes back with the new key",
        )


def fold(row_type: RowType, rows: Iterable[Row], changes: Iterable[Change]) -> list[Row]:
    """The rows after the changes."""
    if row_type.keyed:
        store = {row_type.key_of(row): row for row in rows}
        for change in changes:
            if change == TRUNCATE:
                store.clear()
                continue
            old = store.pop(change.key, None)
            if change.new is not None:
                new = change.new
                if old is not None and UNCHANGED in new:
                    new = tuple(o if n is UNCHANGED else n for o, n in zip(old, new, strict=True))
                store[row_type.key_of(new)] = new
        return list(store.values())
    count: Counter[Hashable] = Counter()
    image: dict[Hashable, Row] = {}
    for row in rows:
        identity = row_type.identity(row)
        count[identity] += 1
        image[identity] = row
    for change in changes:
        if change == TRUNCATE:
            count.clear()
        if change.old is not None:
            count[row_type.identity(change.old)] -= 1
        if change.new is not None:
            identity = row_type.identity(change.new)
            count[identity] += 1
            image[identity] = change.new
    return [image[identity] for identity, n in count.items() for _ in range(n)]

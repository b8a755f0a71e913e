"""Rows from the wire: any sequence of messages means what it says, and half a message is refused."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engines.decode.test_pgoutput import tuple_data
from tycostream.config.model import SourceConfig
from tycostream.engines.base import Event
from tycostream.engines.decode.tuples import tuple_reader
from tycostream.engines.postgres.assembly import Assembly, Followed
from tycostream.engines.postgres.catalogue import ColumnInfo, Table
from tycostream.engines.postgres.watch import Mark
from tycostream.errors import Action, UpstreamError
from tycostream.rows import UNCHANGED, Batch, Cell, Change, Column, Position, Row, RowType
from tycostream.scalars import SCALARS

# As they stand in the relation; the source reads them in another order, and not all.
WIRE: Final = (("note", "text", 25), ("id", "int8", 20), ("gone", "text", 25), ("price", "numeric", 1700))
READ: Final = ("id", "price", "note")
OID: Final = 7


def source(keyed: bool) -> tuple[RowType, Table]:
    types = {name: kind for name, kind, _ in WIRE}
    columns = tuple(Column(name, SCALARS[types[name]]) for name in READ)
    infos = tuple(
        ColumnInfo(name, oid, kind, False, None, False, kind, None, True) for name, kind, oid in WIRE
    )
    identity, key = ("d", ("id",)) if keyed else ("f", ())
    table = Table(OID, "public", "t", "r", identity, None, key, (), True, True, False, False, infos)
    return RowType("t", columns, (0,) if keyed else ()), table


def outer(payload: bytes) -> bytes:
    return b"w" + bytes(24) + payload


def relation(keyed: bool) -> bytes:
    columns = b"".join(
        (b"\1" if name == "id" or not keyed else b"\0") + name.encode() + b"\0" + struct.pack("!Ii", oid, -1)
        for name, _, oid in WIRE
    )
    identity = b"d" if keyed else b"f"
    return b"R" + struct.pack("!I", OID) + b"public\0t\0" + identity + struct.pack("!H", len(WIRE)) + columns


def wire(row: Row, key_only: bool = False) -> bytes:
    identity, price, note = row
    if key_only:
        return tuple_data(None, str(identity), None, None)
    told = price if price is None or price is UNCHANGED else str(price)
    return tuple_data(note, str(identity), "gone" * 80, told)


OF_ROW: Final = struct.pack("!I", OID)


class Stream:
    """An assembly of one source, and what came of it."""

    def __init__(self, keyed: bool) -> None:
        row_type, table = source(keyed)
        self.events: list[Event] = []
        self.failed: list[UpstreamError] = []

        def fail(name: str, error: UpstreamError) -> None:
            self.failed.append(error)
            self.assembly.remove(name)

        self.assembly = Assembly(Position("x", 1, 0), {}, self.events.append, fail, lambda: None)
        mark = Mark(OID, {}, "", "", None, "", None)
        self.assembly.add("t", Followed(row_type, SourceConfig(name="t"), table, mark))
        self.assembly.take(outer(relation(keyed)))

    def transaction(self, lsn: int, messages: Sequence[bytes]) -> list[Change]:
        self.assembly.take(outer(b"B" + struct.pack("!QqI", lsn, 0, 5)))
        for message in messages:
            self.assembly.take(outer(message))
        self.assembly.take(outer(b"C" + struct.pack("!BQQq", 0, lsn, lsn, 0)))
        event = self.events.pop()
        assert isinstance(event, Batch)
        return list(event.changes["t"])


texts = st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=400)
prices = st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2)
rows = st.tuples(st.integers(-(2**63), 2**63 - 1), prices, texts)


@st.composite
def keyed_changes(draw: st.DrawFn) -> tuple[bytes, Change]:
    new: tuple[Cell, ...] = draw(rows)
    old: Row = draw(rows)
    kind = draw(st.sampled_from(["insert", "update", "moved", "full", "delete", "delete full"]))
    if kind != "insert" and draw(st.booleans()):
        new = (new[0], UNCHANGED, new[2]) if draw(st.booleans()) else (new[0], new[1], UNCHANGED)
    if kind == "insert":
        return b"I" + OF_ROW + b"N" + wire(new), Change(new[0], None, new)
    if kind == "update":
        return b"U" + OF_ROW + b"N" + wire(new), Change(new[0], None, new)
    if kind == "moved":
        return b"U" + OF_ROW + b"K" + wire(old, True) + b"N" + wire(new), Change(old[0], None, new)
    if kind == "full":
        return b"U" + OF_ROW + b"O" + wire(old) + b"N" + wire(new), Change(old[0], None, new)
    form = b"K" + wire(old, True) if kind == "delete" else b"O" + wire(old)
    return b"D" + OF_ROW + form, Change(old[0], None, None)


@given(st.lists(st.lists(keyed_changes(), min_size=1, max_size=6), max_size=4))
def test_any_transactions_of_a_keyed_table(transactions: list[list[tuple[bytes, Change]]]) -> None:
    stream = Stream(keyed=True)
    for lsn, told in enumerate(transactions, 1):
        changes = stream.transaction(lsn, [message for message, _ in told])
        assert changes == [change for _, change in told]
        assert all(type(change) is Change for change in changes)
    assert stream.failed == []


@given(st.lists(st.tuples(st.sampled_from("IUD"), rows, rows, st.booleans()), min_size=1, max_size=8))
def test_any_transaction_of_a_table_without_key(told: list[tuple[str, Row, Row, bool]]) -> None:
    messages, wanted = [], []
    for kind, old, new, keeps in told:
        if kind == "I":
            messages.append(b"I" + OF_ROW + b"N" + wire(new))
            wanted.append(Change(None, None, new))
        elif kind == "D":
            messages.append(b"D" + OF_ROW + b"O" + wire(old))
            wanted.append(Change(None, old, None))
        else:
            sent = (*new[:2], UNCHANGED) if keeps else new
            messages.append(b"U" + OF_ROW + b"O" + wire(old) + b"N" + wire(sent))
            wanted.append(Change(None, old, (*new[:2], old[2]) if keeps else new))
    assert Stream(keyed=False).transaction(1, messages) == wanted


@given(keyed_changes(), st.data())
@example((b"I" + OF_ROW + b"N" + wire((1, None, "x" * 300)), Change(1, None, (1, None, "x" * 300))), None)
def test_every_cut_of_a_message_is_a_protocol_error(told: tuple[bytes, Change], data: Any) -> None:
    message = told[0]
    cuts = range(1, len(message)) if data is None else [data.draw(st.integers(1, len(message) - 1))]
    for cut in cuts:
        stream = Stream(keyed=True)
        stream.assembly.take(outer(b"B" + struct.pack("!QqI", 1, 0, 5)))
        try:
            stream.assembly.take(outer(message[:cut]))
        except UpstreamError as error:
            stream.failed.append(error)
        assert [error.code for error in stream.failed] == ["protocol"], cut
        assert stream.failed[0].action is Action.RETRY


@given(keyed_changes(), st.integers(0, 200), st.integers(0, 255))
def test_a_wrong_byte_never_raises_anything_else(told: tuple[bytes, Change], place: int, byte: int) -> None:
    message = bytearray(told[0])
    message[place % len(message)] = byte
    stream = Stream(keyed=True)
    stream.assembly.take(outer(b"B" + struct.pack("!QqI", 1, 0, 5)))
    try:
        stream.assembly.take(outer(bytes(message)))
    except UpstreamError as error:
        assert error.code == "protocol"  # noqa: PT017


def test_bytes_that_are_no_text_are_a_protocol_error_and_no_half_character() -> None:
    stream = Stream(keyed=True)
    stream.assembly.take(outer(b"B" + struct.pack("!QqI", 1, 0, 5)))
    cells = b"\0\4" + b"t" + struct.pack("!I", 1) + b"\xff" + tuple_data("1", None, None)[2:]
    stream.assembly.take(outer(b"I" + OF_ROW + b"N" + cells))
    assert [error.code for error in stream.failed] == ["protocol"]


def test_a_value_that_does_not_parse_names_its_column_and_not_its_value() -> None:
    stream = Stream(keyed=True)
    stream.assembly.take(outer(b"B" + struct.pack("!QqI", 1, 0, 5)))
    stream.assembly.take(outer(b"I" + OF_ROW + b"N" + tuple_data("n", "1", "g", "secret")))
    (error,) = stream.failed
    assert (error.code, error.message) == ("value", "source t: column price holds what is not a numeric")
    assert "secret" in error.detail


def test_equal_texts_are_one_string() -> None:
    row_type, _ = source(keyed=True)
    read = tuple_reader([1, 3, 0], row_type.columns, 4)
    one, two = (read(wire((i, Decimal("1.50"), "note")), 0)[0] for i in (1, 2))
    assert (one, two) == ((1, Decimal("1.50"), "note"), (2, Decimal("1.50"), "note"))
    assert one[2] is two[2]
    with pytest.raises(ValueError, match="other columns"):
        read(tuple_data("1"), 0)

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.engines.decode import pgoutput as pg
from tycostream.errors import Action, UpstreamError
from tycostream.rows import UNCHANGED, Cell


def tuple_data(*cells: Cell) -> bytes:
    out = struct.pack("!H", len(cells))
    for cell in cells:
        if cell is None:
            out += b"n"
        elif cell is UNCHANGED:
            out += b"u"
        else:
            out += b"t" + struct.pack("!I", len(cell.encode())) + cell.encode()
    return out


RELATION = (
    b"R" + struct.pack("!I", 7) + b"public\0trades\0d" + struct.pack("!H", 2)
    + b"\1id\0" + struct.pack("!Ii", 23, -1) + b"\0note\0" + struct.pack("!Ii", 25, -1)
)  # fmt: skip
OID = struct.pack("!I", 7)
MESSAGES = [
    (b"B" + struct.pack("!QqI", 100, 5, 42), pg.Begin(100, 5, 42)),
    (b"C" + struct.pack("!BQQq", 0, 100, 120, 5), pg.Commit(100, 120, 5)),
    (
        RELATION,
        pg.Relation(
            7,
            "public",
            "trades",
            "d",
            (pg.RelationColumn("id", 23, -1, True), pg.RelationColumn("note", 25, -1, False)),
        ),
    ),
    (b"I" + OID + b"N" + tuple_data("1", None), pg.Insert(7, ("1", None))),
    (b"U" + OID + b"N" + tuple_data("1", UNCHANGED), pg.Update(7, None, None, ("1", UNCHANGED))),
    (
        b"U" + OID + b"K" + tuple_data("1", None) + b"N" + tuple_data("2", "ü"),
        pg.Update(7, "K", ("1", None), ("2", "ü")),
    ),
    (
        b"U" + OID + b"O" + tuple_data("1", "a") + b"N" + tuple_data("1", ""),
        pg.Update(7, "O", ("1", "a"), ("1", "")),
    ),
    (b"D" + OID + b"K" + tuple_data("1", None), pg.Delete(7, "K", ("1", None))),
    (b"D" + OID + b"O" + tuple_data("1", "x"), pg.Delete(7, "O", ("1", "x"))),
    (b"T" + struct.pack("!IBII", 2, 1, 7, 8), pg.Truncate((7, 8))),
]


@pytest.mark.parametrize(("payload", "message"), MESSAGES)
def test_each_message(payload: bytes, message: pg.Message) -> None:
    assert pg.decode(payload) == message
    assert type(pg.decode(payload)) is type(message)


@pytest.mark.parametrize("payload", [b"O" + bytes(9), b"Y" + bytes(9), b"M" + bytes(20)])
def test_messages_that_change_no_row(payload: bytes) -> None:
    assert pg.decode(payload) is None


@given(st.sampled_from([payload for payload, _ in MESSAGES]), st.data())
def test_a_truncated_message_is_a_protocol_error(payload: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(UpstreamError) as caught:
        pg.decode(payload[:cut])
    assert (caught.value.code, caught.value.action) == ("protocol", Action.RETRY)


@given(st.sampled_from(b"BCRIUDTOYMX"), st.binary(max_size=80))
def test_garbage_never_raises_anything_else(kind: int, rest: bytes) -> None:
    try:
        pg.decode(bytes([kind]) + rest)
    except UpstreamError as error:
        assert error.code == "protocol"  # noqa: PT017


@given(st.binary(max_size=40))
def test_garbage_copy_data_never_raises_anything_else(data: bytes) -> None:
    try:
        pg.decode_copy(data)
    except UpstreamError as error:
        assert error.code == "protocol"  # noqa: PT017


def test_copy_data() -> None:
    assert pg.decode_copy(b"w" + struct.pack("!QQq", 1, 2, 3) + b"xyz") == pg.XLogData(1, 2, b"xyz")
    assert pg.decode_copy(b"k" + struct.pack("!QqB", 9, 3, 1)) == pg.Keepalive(9, True)


def test_status_update() -> None:
    assert pg.status_update(9, 77, reply=True) == b"r" + struct.pack("!QQQqB", 9, 9, 9, 77, 1)

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


def encoded(message: pg.Message) -> bytes:
    """A message as PostgreSQL writes it, from the documentation of its formats."""
    match message:
        case pg.Begin(final_lsn, commit_time, xid):
            return b"B" + struct.pack("!QqI", final_lsn, commit_time, xid)
        case pg.Commit(lsn, end_lsn, commit_time):
            return b"C" + struct.pack("!BQQq", 0, lsn, end_lsn, commit_time)
        case pg.Relation(oid, schema, name, identity, columns):
            head = b"R" + struct.pack("!I", oid) + schema.encode() + b"\0" + name.encode() + b"\0"
            tail = identity.encode() + struct.pack("!H", len(columns))
            return head + tail + b"".join(
                struct.pack("!B", in_key) + column.encode() + b"\0" + struct.pack("!Ii", type_oid, modifier)
                for column, type_oid, modifier, in_key in columns
            )  # fmt: skip
        case pg.Insert(oid, new):
            return b"I" + struct.pack("!I", oid) + b"N" + tuple_data(*new)
        case pg.Update(oid, kind, old, new):
            before = b"" if kind is None or old is None else kind.encode() + tuple_data(*old)
            return b"U" + struct.pack("!I", oid) + before + b"N" + tuple_data(*new)
        case pg.Delete(oid, kind, gone):
            return b"D" + struct.pack("!I", oid) + kind.encode() + tuple_data(*gone)
        case pg.Truncate(oids):
            return b"T" + struct.pack(f"!IB{len(oids)}I", len(oids), 3, *oids)


_int32, _int64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
_times = st.integers(-(2**63), 2**63 - 1)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
_tuples = st.lists(st.one_of(st.none(), st.just(UNCHANGED), _text), max_size=5).map(tuple)
_columns = st.builds(
    pg.RelationColumn, _names, _int32, st.integers(-(2**31), 2**31 - 1), st.booleans()
)  # fmt: skip
_KINDS: list[st.SearchStrategy[pg.Message]] = [
    st.builds(pg.Begin, _int64, _times, _int32),
    st.builds(pg.Commit, _int64, _int64, _times),
    st.builds(
        pg.Relation,
        _int32,
        _names,
        _names,
        st.sampled_from("dnfi"),
        st.lists(_columns, max_size=4).map(tuple),
    ),
    st.builds(pg.Insert, _int32, _tuples),
    st.builds(pg.Update, _int32, st.none(), st.none(), _tuples),
    st.builds(pg.Update, _int32, st.sampled_from("KO"), _tuples, _tuples),
    st.builds(pg.Delete, _int32, st.sampled_from("KO"), _tuples),
    st.builds(pg.Truncate, st.lists(_int32, max_size=4).map(tuple)),
]
# Origin (where it was committed first), type, and a message of a user: none of them changes a row.
_changeless = st.one_of(
    st.builds(lambda lsn, name: b"O" + struct.pack("!Q", lsn) + name.encode() + b"\0", _int64, _names),
    st.builds(
        lambda oid, schema, name: b"Y" + struct.pack("!I", oid) + f"{schema}\0{name}\0".encode(),
        _int32, _names, _names,
    ),
    st.builds(
        lambda flags, lsn, prefix, body: b"M" + struct.pack("!BQ", flags, lsn) + prefix.encode() + b"\0"
        + struct.pack("!I", len(body)) + body,
        st.integers(0, 1), _int64, _names, st.binary(max_size=8),
    ),
)  # fmt: skip


@given(st.lists(st.one_of(*_KINDS, _changeless), max_size=6), _int64)
def test_any_sequence_is_decoded_to_itself(sequence: list[pg.Message | bytes], lsn: int) -> None:
    for message in sequence:
        payload = message if isinstance(message, bytes) else encoded(message)
        copied = pg.decode_copy(b"w" + struct.pack("!QQq", lsn, lsn, 0) + payload)
        assert copied == pg.XLogData(lsn, lsn, payload)
        decoded = pg.decode(payload)
        if isinstance(message, bytes):
            assert decoded is None
        else:
            assert (type(decoded), decoded) == (type(message), message)


@given(st.one_of(*_KINDS))
def test_a_message_cut_off_at_any_byte_is_a_protocol_error(message: pg.Message) -> None:
    payload = encoded(message)
    for end in range(len(payload)):
        with pytest.raises(UpstreamError) as caught:
            pg.decode(payload[:end])
        assert (caught.value.code, caught.value.action) == ("protocol", Action.RETRY)


@given(st.one_of(*_KINDS), st.binary(min_size=1, max_size=3))
def test_a_message_with_more_behind_it_is_a_protocol_error(message: pg.Message, more: bytes) -> None:
    with pytest.raises(UpstreamError, match="does not read as PostgreSQL's protocol"):
        pg.decode(encoded(message) + more)


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

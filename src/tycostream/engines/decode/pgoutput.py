"""PostgreSQL's logical replication: the outer CopyData messages, and pgoutput, protocol version 1. Pure.

Version 1 sends transactions whole and in commit order, so nothing has to be put together here. Whatever does not
read as the protocol says is an UpstreamError with RETRY: a new connection starts from a fresh snapshot.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from tycostream.errors import Action, UpstreamError
from tycostream.rows import UNCHANGED, Cell

TupleData = tuple[Cell, ...]  # a cell is None (NULL), UNCHANGED, or the value's text

_INT16 = struct.Struct("!H")
_INT32 = struct.Struct("!I")
_BEGIN = struct.Struct("!QqI")
_COMMIT = struct.Struct("!BQQq")
_XLOG = struct.Struct("!QQq")
_KEEPALIVE = struct.Struct("!QqB")
_STATUS = struct.Struct("!cQQQqB")
_COLUMN_TAIL = struct.Struct("!Ii")


class XLogData(NamedTuple):
    """A message of the output plugin, and where it lies in the log."""

    start_lsn: int
    end_lsn: int
    payload: bytes


class Keepalive(NamedTuple):
    """The server has sent all up to ``end_lsn`` that concerns us."""

    end_lsn: int
    reply_now: bool


class Begin(NamedTuple):
    """A transaction starts; all up to its Commit belongs to it. ``xid`` has 32 bits."""

    final_lsn: int
    commit_time: int
    xid: int


class Commit(NamedTuple):
    """A transaction is complete."""

    lsn: int
    end_lsn: int
    commit_time: int


class RelationColumn(NamedTuple):
    """A column as Relation tells it; ``in_key``: part of the replica identity."""

    name: str
    type_oid: int
    type_modifier: int
    in_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's shape, sent before its first change and after each change of its definition."""

    oid: int
    schema: str
    name: str
    identity: str  # d: primary key, n: nothing, f: full, i: index
    columns: tuple[RelationColumn, ...]


class Insert(NamedTuple):
    """A new row."""

    oid: int
    new: TupleData


class Update(NamedTuple):
    """``kind`` K: ``old`` has the old key only (it changed); O: the whole old row; None: the key did not change."""

    oid: int
    kind: str | None
    old: TupleData | None
    new: TupleData


class Delete(NamedTuple):
    """``kind`` K: ``old`` has the key only; O: the whole old row."""

    oid: int
    kind: str
    old: TupleData


class Truncate(NamedTuple):
    """Tables were emptied."""

    oids: tuple[int, ...]


Message = Begin | Commit | Relation | Insert | Update | Delete | Truncate
_IGNORED: Final = frozenset(b"OYM")  # origin, type, logical message: they do not change a row


def protocol_error(detail: str) -> UpstreamError:
    """The server sent what the protocol does not allow."""
    return UpstreamError(
        "protocol",
        "the replication stream does not read as PostgreSQL's protocol",
        action=Action.RETRY,
        detail=detail,
        hint="a proxy or pooler between us and PostgreSQL must pass replication through unchanged",
    )


def decode_copy(data: bytes) -> XLogData | Keepalive:
    """One CopyData message of a replication connection."""
    kind = data[:1]
    try:
        if kind == b"w":
            start, end, _ = _XLOG.unpack_from(data, 1)
            return XLogData(start, end, data[1 + _XLOG.size :])
        if kind == b"k":
            end, _, reply = _KEEPALIVE.unpack_from(data, 1)
            return Keepalive(end, bool(reply))
    except struct.error:
        raise protocol_error(f"a message {kind!r} of {len(data)} bytes is too short") from None
    raise protocol_error(f"an unknown message {kind!r}")


def status_update(lsn: int, clock_us: int, *, flushed: int | None = None, reply: bool = False) -> bytes:
    """The standby status update: all up to ``lsn`` is received, and need not be kept up to ``flushed`` (None: the same).

    ``clock_us`` counts from 2000-01-01.
    """
    return _STATUS.pack(b"r", lsn, lsn if flushed is None else flushed, lsn, clock_us, reply)


def decode(payload: bytes) -> Message | None:
    """One pgoutput message; None for those that change no row."""
    try:
        return _decode(payload)
    except (struct.error, IndexError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise protocol_error(f"message {payload[:1]!r} of {len(payload)} bytes: {error}") from None


def _decode(data: bytes) -> Message | None:
    kind = data[0]
    if kind == 0x49:  # I
        oid = _INT32.unpack_from(data, 1)[0]
        _expect(data, 5, b"N")
        new, at = _tuple(data, 6)
        return _end(data, at, Insert(oid, new))
    if kind == 0x55:  # U
        oid = _INT32.unpack_from(data, 1)[0]
        old_kind = old = None
        at = 5
        if data[at] in b"KO":
            old_kind = chr(data[at])
            old, at = _tuple(data, at + 1)
        _expect(data, at, b"N")
        new, at = _tuple(data, at + 1)
        return _end(data, at, Update(oid, old_kind, old, new))
    if kind == 0x44:  # D
        oid = _INT32.unpack_from(data, 1)[0]
        _expect(data, 5, b"KO")
        gone, at = _tuple(data, 6)
        return _end(data, at, Delete(oid, chr(data[5]), gone))
    if kind == 0x42:  # B
        return _end(data, 1 + _BEGIN.size, Begin(*_BEGIN.unpack_from(data, 1)))
    if kind == 0x43:  # C
        _, lsn, end_lsn, when = _COMMIT.unpack_from(data, 1)
        return _end(data, 1 + _COMMIT.size, Commit(lsn, end_lsn, when))
    if kind == 0x52:  # R
        return _relation(data)
    if kind == 0x54:  # T
        count = _INT32.unpack_from(data, 1)[0]
        if len(data) != 6 + 4 * count:
            raise ValueError(f"{count} tables announced")
        return Truncate(struct.unpack_from(f"!{count}I", data, 6))
    if kind in _IGNORED:
        return None
    raise ValueError("unknown kind")


def _expect(data: bytes, at: int, kinds: bytes) -> None:
    if data[at] not in kinds:
        raise ValueError(f"{data[at : at + 1]!r} at {at} where {kinds!r} was due")


def _end(data: bytes, at: int, message: Message) -> Message:
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes too many")
    return message


def _tuple(data: bytes, at: int) -> tuple[TupleData, int]:
    (count,) = _INT16.unpack_from(data, at)
    at += 2
    cells: list[Cell] = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t
            (length,) = _INT32.unpack_from(data, at)
            at += 4
            value = data[at : at + length]
            if len(value) != length:
                raise ValueError("a value is cut off")
            cells.append(value.decode())
            at += length
        elif kind == 0x6E:  # n
            cells.append(None)
        elif kind == 0x75:  # u
            cells.append(UNCHANGED)
        else:
            raise ValueError(f"a cell of kind {kind:#x}")
    return tuple(cells), at


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _relation(data: bytes) -> Message:
    oid = _INT32.unpack_from(data, 1)[0]
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    identity = chr(data[at])
    (count,) = _INT16.unpack_from(data, at + 1)
    at += 3
    columns: list[RelationColumn] = []
    for _ in range(count):
        flags = data[at]
        column, at = _text(data, at + 1)
        type_oid, modifier = _COLUMN_TAIL.unpack_from(data, at)
        at += _COLUMN_TAIL.size
        columns.append(RelationColumn(column, type_oid, modifier, bool(flags & 1)))
    # An empty schema name means pg_catalog.
    return _end(data, at, Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)))

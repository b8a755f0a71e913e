"""graphql-transport-ws as a pure object: text in, events out; and its frames, built without any library's help."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from tycostream.errors import RequestError
from tycostream.graphql.trusted import DocumentId
from tycostream.transports.wire.documents import NoDocument, document_of

SUBPROTOCOL: Final = "graphql-transport-ws"
_ID_BYTES_MAX = 1024
_DECODER = msgspec.json.Decoder(float_hook=Decimal)  # a float would lose digits of a numeric constant


def text_frame(payload: bytes) -> bytes:
    """A server's unmasked RFC 6455 text frame."""
    return header(len(payload)) + payload


def header(length: int) -> bytes:
    """The frame header of a whole text message of ``length`` bytes."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


def escaped(operation_id: str) -> bytes:
    """The id as it stands between quotes in JSON."""
    return msgspec.json.encode(operation_id)[1:-1]


class TransportWsFraming:
    """See Framing. One instance serves all connections."""

    key: Hashable = SUBPROTOCOL
    tells_cursor = False  # a client that wants it selects it
    _before: Final = b'{"id":"'
    _between: Final = b'","type":"next","payload":'

    def next_parts(self, payloads: Sequence[bytes], id_length: int) -> list[bytes]:
        """See Framing: the frame headers hold the length of the id, so ids of one length share their parts."""
        fixed = len(self._before) + id_length + len(self._between) + 1
        parts = []
        ahead = b""
        for payload in payloads:
            parts.append(ahead + header(fixed + len(payload)) + self._before)
            ahead = b"".join((self._between, payload, b"}"))  # a large payload is copied once
        parts.append(ahead)
        return parts

    def error(self, operation_id: bytes, errors: Sequence[RequestError]) -> bytes:
        """See Framing."""
        entries = msgspec.json.encode([error.to_graphql() for error in errors])
        return text_frame(b'{"id":"' + operation_id + b'","type":"error","payload":' + entries + b"}")

    def complete(self, operation_id: bytes) -> bytes:
        """See Framing."""
        return text_frame(b'{"id":"' + operation_id + b'","type":"complete"}')


FRAMING: Final = TransportWsFraming()
ACK: Final = text_frame(b'{"type":"connection_ack"}')
PONG: Final = text_frame(b'{"type":"pong"}')


def pong(payload: Mapping[str, object]) -> bytes:
    """A pong that says something."""
    return text_frame(b'{"type":"pong","payload":' + msgspec.json.encode(payload) + b"}")


@dataclass(frozen=True, slots=True)
class Init:
    """The client opened the connection."""

    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    """The client wants a pong."""

    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The client starts an operation."""

    id: str
    query: str | DocumentId
    operation_name: str | None
    variables: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Complete:
    """The client ends an operation."""

    id: str


@dataclass(frozen=True, slots=True)
class Close:
    """The client broke the protocol: close with this code."""

    code: int
    reason: str


WireEvent = Init | Ping | Subscribe | Complete | Close


class TransportWsProtocol:
    """The protocol's order of things. ``feed`` takes one text message and gives what it means; it never raises."""

    def __init__(self) -> None:
        self.initialised = False
        self.waiting = False  # the connection still asks who it is: nothing may start
        self.active: set[str] = set()  # ids in use; the connection discards those that ended

    def feed(self, text: str | bytes) -> WireEvent | None:
        """One message's event; None for a message that asks for nothing."""
        try:
            message = _DECODER.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError, ArithmeticError):
            return Close(4400, "Invalid message: not JSON")
        if not isinstance(message, dict):
            return Close(4400, "Invalid message: not an object")
        match message.get("type"):
            case "connection_init":
                return self._init(message.get("payload"))
            case "ping" | "pong" as kind:
                payload = message.get("payload")
                if not isinstance(payload, dict | None):
                    return Close(4400, f"Invalid message: the payload of {kind} is no object")
                return Ping(payload or {}) if kind == "ping" else None
            case "subscribe":
                return self._subscribe(message)
            case "complete":
                operation_id = message.get("id")
                if not isinstance(operation_id, str) or not operation_id:
                    return Close(4400, "Invalid message: complete without an id")
                return Complete(operation_id)
            case _:
                return Close(4400, "Invalid message: unknown type")

    def _init(self, payload: object) -> WireEvent:
        if self.initialised:
            return Close(4429, "Too many initialisation requests")
        if payload is not None and not isinstance(payload, dict):
            return Close(4400, "Invalid message: the payload of connection_init is no object")
        self.initialised = True
        return Init(payload or {})

    def _subscribe(self, message: dict[str, Any]) -> WireEvent:
        operation_id, payload = message.get("id"), message.get("payload")
        if not isinstance(operation_id, str) or not operation_id:
            return Close(4400, "Invalid message: subscribe without an id")
        if len(escaped(operation_id)) > _ID_BYTES_MAX:  # as it goes into every frame
            return Close(4400, f"Invalid message: an id may have {_ID_BYTES_MAX} bytes")
        if not isinstance(payload, dict):
            return Close(4400, "Invalid message: subscribe without a query")
        try:
            query = document_of(payload)
        except NoDocument as problem:
            return Close(4400, f"Invalid message: {problem}")
        name, variables = payload.get("operationName"), payload.get("variables")
        if name is not None and not isinstance(name, str):
            return Close(4400, "Invalid message: operationName is no string")
        if variables is not None and not isinstance(variables, dict):
            return Close(4400, "Invalid message: variables is no object")
        if not isinstance(payload.get("extensions"), dict | None):
            return Close(4400, "Invalid message: extensions is no object")
        if not self.initialised or self.waiting:
            return Close(4401, "Unauthorized")
        if operation_id in self.active:
            shown = operation_id.encode()[:80].decode(errors="ignore")  # a reason holds 123 bytes
            return Close(4409, f"Subscriber for {shown} already exists")
        return Subscribe(operation_id, query, name, variables)

"""What the live layer needs of a transport: how to frame payloads, and a socket to write to.

Payloads are whole GraphQL execution results as JSON bytes, made once per cohort. Only the operation id differs between
subscribers, so a framing gives the *parts between the ids*: ``id.join(parts)`` is then every frame of a batch for one
subscriber in a single C call, and parts are shared by all whose ids have one length.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from tycostream.errors import RequestError


class Framing(Protocol):
    """One wire protocol's way to put payloads on a socket: pure, stateless, shared by its connections."""

    key: Hashable
    tells_cursor: bool  # whether its messages say where a client stands, beside payloads that are Resumable

    def next_parts(self, payloads: Sequence[bytes], id_length: int) -> list[bytes]:
        """Parts such that ``operation_id.join(parts)`` frames every payload as a `next` message, in order."""

    def error(self, operation_id: bytes, errors: Sequence[RequestError]) -> bytes:
        """The framed message that ends an operation with errors."""

    def complete(self, operation_id: bytes) -> bytes:
        """The framed message that ends an operation."""


class Sink(Protocol):
    """A connection's way out. It calls ``Outbox.pause`` and ``Outbox.resume`` as its write buffer fills and drains."""

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; never blocks. After the connection is lost it does nothing."""

    def abort(self, code: int, reason: str) -> None:
        """Close the connection with a documented close code."""

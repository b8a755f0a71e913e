"""One connection of a fake database: start-up, the simple and the extended query protocol, cancellation.

What a statement means is a ``Backend``'s business. Output goes through ``Output``, which waits for the client to read:
a client that stops reading costs a bounded buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import struct
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from tycostream.testing.pgwire_arguments import TEXT_OIDS, argument, shorts
from tycostream.testing.pgwire_messages import (
    Cells,
    Field,
    WireError,
    copy_line,
    data_row,
    error_body,
    message,
    row_description,
    text,
)

T = TypeVar("T")

_SSL_REQUEST: Final = 80877103
_GSS_REQUEST: Final = 80877104
_CANCEL_REQUEST: Final = 80877102
_VERSION_3: Final = 3
_WRITE_AT_BYTES: Final = 64 * 1024
_MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024


class Prepared(Protocol):
    """A statement that is ready to run; ``fields`` is None if it returns no rows."""

    @property
    def fields(self) -> Sequence[Field] | None:
        """The result's columns."""

    def run(self, out: Output) -> Coroutine[Any, Any, str]:
        """Run it, its rows to ``out``, and give the command tag; WireError if it fails."""


class Backend(Protocol):
    """What stands behind one connection."""

    @property
    def status(self) -> bytes:
        """``I`` idle, ``T`` in a transaction, ``E`` in an aborted one."""

    @property
    def idle_timeout_s(self) -> float | None:
        """How long a client in a transaction may stay silent; None: for ever."""

    @property
    def described_at_parse(self) -> bool:
        """Whether a prepared statement keeps the columns that its result had when it was prepared."""

    def start(self, parameters: Mapping[str, str], connection: Connection) -> Mapping[str, str]:
        """Accept the start-up packet and give the parameter statuses; WireError refuses."""

    def split(self, sql: str) -> Sequence[str]:
        """The statements of a simple query."""

    def parameter_count(self, sql: str) -> int:
        """How many ``$n`` a statement has."""

    def prepare(self, sql: str, arguments: Cells | None) -> Prepared | None:
        """A statement with its arguments (None: unknown yet); None if it is empty."""

    def cursor(self, name: str) -> Prepared | None:
        """A cursor by name: cursors and portals are one thing to a client that wants one described."""

    def failed(self, error: WireError, kind: bytes) -> WireError:
        """A message of this kind failed: abort the transaction; the error as the client is to see it."""

    def synced(self) -> None:
        """A simple query, or a Sync, has ended, and with it an implicit transaction."""

    def close(self) -> None:
        """The connection has ended."""


class Output:
    """Where a running statement sends its result; every sending method waits while the client does not read."""

    def __init__(self, connection: Connection, fields: Sequence[Field] | None, describes: bool) -> None:
        self._connection = connection
        self._fields = fields if describes else None

    def describe(self) -> None:
        """Send the RowDescription, once, unless the client has it already (extended protocol)."""
        if self._fields is not None:
            self._connection.put(row_description(self._fields))
            self._fields = None

    async def rows(self, rows: Sequence[Cells]) -> None:
        """Send DataRows."""
        self.describe()
        for row in rows:
            self._connection.put(data_row(row))
            await self._connection.flush_full()
        await self._connection.flush()

    async def copy_start(self, width: int) -> None:
        """Send CopyOutResponse: text, ``width`` columns."""
        self._connection.put(message(b"H", struct.pack(">bh", 0, width) + b"\0\0" * width))
        await self._connection.flush()

    async def copy_rows(self, rows: Sequence[Cells]) -> None:
        """Send one CopyData a row."""
        for row in rows:
            self._connection.put(message(b"d", copy_line(row)))
            await self._connection.flush_full()
        await self._connection.flush()

    def copy_end(self) -> None:
        """Send CopyDone."""
        self._connection.put(message(b"c"))

    def notice(self, text: str, code: str = "00000", severity: str = "NOTICE") -> None:
        """Send a NoticeResponse."""
        self._connection.put(message(b"N", error_body(severity, WireError(code, text))))

    async def cut(self, data: bytes) -> None:
        """Send ``data``, whatever it is, and close the connection."""
        self.describe()
        self._connection.put(data)
        await self._connection.flush()
        self._connection.close()
        raise ConnectionResetError("the connection was cut on purpose")


@dataclass(slots=True)
class Gate:
    """Who may come in, and what stands behind; shared by the connections of a server.

    ``cancel`` serves a CancelRequest (pid, secret). ``password``, if there is one, is asked for in clear text.
    """

    backend: Callable[[], Backend]
    cancel: Callable[[int, int], None]
    ssl_context: ssl.SSLContext | None = None
    require_tls: bool = False
    password: str | None = None


@dataclass(slots=True)
class _Statement:
    sql: str
    oids: tuple[int, ...]
    parsed: Prepared | None = None  # if its columns are those that it had then


@dataclass(frozen=True, slots=True)
class _Described:
    """A statement that runs as it is now and is described as it was."""

    fields: Sequence[Field] | None
    now: Prepared

    def run(self, out: Output) -> Coroutine[Any, Any, str]:
        """See Prepared."""
        return self.now.run(out)


class Connection:
    """One client. ``pid`` and ``secret`` are its cancel key; ``parameters`` is its start-up packet."""

    def __init__(
        self, gate: Gate, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._gate = gate
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._inbox: asyncio.Queue[tuple[bytes, bytes] | None] = asyncio.Queue(64)
        self._running: asyncio.Task[str] | None = None
        self._cancelled = False
        self._skipping = False
        self._statements: dict[str, _Statement] = {}
        self._portals: dict[str, Prepared | None] = {}
        self._backend: Backend | None = None
        self.pid = pid
        self.secret = secrets.randbits(31)
        self.parameters: dict[str, str] = {}
        self.tls = False

    # -- output ---------------------------------------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        """Keep whole messages for the next flush."""
        self._buffer += data

    async def flush_full(self) -> None:
        """Flush if much is waiting, so that a large result never stands in memory as bytes."""
        if len(self._buffer) >= _WRITE_AT_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what is kept and wait until the client's socket has room."""
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            self._writer.write(data)
        await self._writer.drain()

    def notify(self, text: str, code: str = "00000") -> None:
        """A NOTICE in the middle of whatever runs: written at once, between two messages."""
        if not self._writer.is_closing():
            self._writer.write(message(b"N", error_body("NOTICE", WireError(code, text))))

    def report(self, name: str, value: str) -> None:
        """A ParameterStatus, with the next flush."""
        self.put(message(b"S", text(name) + text(value)))

    def close(self) -> None:
        """Close without a word, after what was written."""
        self._writer.close()

    def abort(self) -> None:
        """Close at once; what the client has not read is lost."""
        self._writer.transport.abort()

    def cancel(self) -> None:
        """End the running statement with 57014; without one, nothing happens."""
        if self._running is not None and not self._running.done():
            self._cancelled = True
            self._running.cancel()

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the client until either side ends it."""
        receiver: asyncio.Task[None] | None = None
        try:
            self._writer.transport.set_write_buffer_limits(high=_WRITE_AT_BYTES)
            if not await self._start():
                return
            receiver = asyncio.create_task(self._receive())
            await self._serve()
        except WireError as error:
            with contextlib.suppress(OSError):
                self.put(message(b"E", error_body("FATAL", error)))
                await self.flush()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client went away
        finally:
            if self._backend is not None:
                self._backend.close()
            if receiver is not None:
                receiver.cancel()
                await asyncio.gather(receiver, return_exceptions=True)
            self._writer.close()

    async def _start(self) -> bool:
        while True:
            length, code = struct.unpack(">ii", await self._reader.readexactly(8))
            if not 8 <= length <= 10_000:
                raise WireError("08P01", "invalid length of startup packet", fatal=True)
            body = await self._reader.readexactly(length - 8)
            if code == _SSL_REQUEST and self._gate.ssl_context is not None:
                self._writer.write(b"S")
                await self._writer.drain()
                await self._writer.start_tls(self._gate.ssl_context)
                self.tls = True
            elif code in (_SSL_REQUEST, _GSS_REQUEST):
                self._writer.write(b"N")
            elif code == _CANCEL_REQUEST:
                self._gate.cancel(*struct.unpack(">ii", body))
                return False
            elif code >> 16 == _VERSION_3:
                break
            else:
                raise WireError("08P01", f"unsupported protocol version {code >> 16}", fatal=True)
        words = [word.decode() for word in body.split(b"\0")]
        self.parameters = dict(zip(words[::2], words[1::2], strict=False))
        self.parameters.pop("", None)
        if self._gate.require_tls and not self.tls:
            raise WireError("08004", "TLS encryption is required", fatal=True)
        await self._authenticate()
        self._backend = self._gate.backend()
        for name, value in self._backend.start(self.parameters, self).items():
            self.report(name, value)
        self.put(message(b"K", struct.pack(">ii", self.pid, self.secret)))
        await self._ready()
        return True

    async def _authenticate(self) -> None:
        if self._gate.password is not None:
            self.put(message(b"R", struct.pack(">i", 3)))
            await self.flush()
            kind, body = await self._message()
            if kind != b"p" or body.rstrip(b"\0").decode() != self._gate.password:
                raise WireError("28P01", "invalid password", fatal=True)
        self.put(message(b"R", struct.pack(">i", 0)))

    async def _message(self) -> tuple[bytes, bytes]:
        head = await self._reader.readexactly(5)
        (length,) = struct.unpack(">i", head[1:])
        if not 4 <= length <= _MESSAGE_BYTES_MAX:
            raise WireError("08P01", "invalid message length", fatal=True)
        return head[:1], await self._reader.readexactly(length - 4)

    async def _receive(self) -> None:
        try:
            while True:
                await self._inbox.put(await self._message())
        except (OSError, asyncio.IncompleteReadError, WireError):
            if self._running is not None:  # nobody is left to read a running SUBSCRIBE
                self._running.cancel()
            await self._inbox.put(None)

    async def _next(self) -> tuple[bytes, bytes] | None:
        assert self._backend is not None
        idle_s = self._backend.idle_timeout_s if self._backend.status != b"I" else None
        try:
            async with asyncio.timeout(idle_s):
                return await self._inbox.get()
        except TimeoutError:
            text = "terminating connection due to idle-in-transaction timeout"
            raise WireError("25P03", text, fatal=True) from None

    async def _ready(self) -> None:
        assert self._backend is not None
        self.put(message(b"Z", self._backend.status))
        await self.flush()

    # -- messages -------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        assert self._backend is not None
        while (received := await self._next()) is not None:
            kind, body = received
            if kind == b"X":
                return
            if kind == b"Q":
                await self._guard(self._simple(body), kind)
                self._backend.synced()
                await self._ready()
            elif kind == b"S":
                self._skipping = False
                self._backend.synced()
                await self._ready()
            elif kind == b"H":
                await self.flush()
            elif not self._skipping:
                self._skipping = not await self._guard(self._extended(kind, body), kind)

    async def _guard(self, work: Coroutine[Any, Any, None], kind: bytes) -> bool:
        """Run a step; an error goes to the client, a fatal one ends the connection."""
        assert self._backend is not None
        try:
            await work
        except WireError as error:
            if error.fatal:
                raise
            shown = self._backend.failed(error, kind)
            self.put(message(b"E", error_body("ERROR", shown)))
            await self.flush()
            return False
        return True

    async def _simple(self, body: bytes) -> None:
        assert self._backend is not None
        statements = self._backend.split(body.rstrip(b"\0").decode())
        for sql in statements:
            prepared = self._backend.prepare(sql, ())
            if prepared is not None:
                await self._execute(prepared, describes=True)
        if not statements:
            self.put(message(b"I"))

    async def _execute(self, prepared: Prepared, *, describes: bool) -> None:
        out = Output(self, prepared.fields, describes)
        self._cancelled = False
        self._running = asyncio.get_running_loop().create_task(prepared.run(out))
        try:
            tag = await self._running
        except asyncio.CancelledError:
            if self._cancelled:
                raise WireError("57014", "canceling statement due to user request") from None
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise ConnectionResetError("the client went away") from None
        except (WireError, OSError):
            raise
        except Exception as error:  # a test's own function failed: its client should see why
            raise WireError("XX000", f"the fake failed: {error!r}") from error
        finally:
            self._running = None
        out.describe()
        self.put(message(b"C", text(tag)))

    async def _extended(self, kind: bytes, body: bytes) -> None:
        assert self._backend is not None
        if kind == b"P":
            name, sql, rest = body.split(b"\0", 2)
            (count,) = struct.unpack_from(">h", rest)
            oids = struct.unpack_from(f">{count}i", rest, 2)
            if len(self._backend.split(sql.decode())) > 1:
                raise WireError("42601", "cannot insert multiple commands into a prepared statement")
            statement = _Statement(sql.decode(), oids)
            if not self._backend.parameter_count(statement.sql):
                prepared = self._backend.prepare(statement.sql, ())
                statement.parsed = prepared if self._backend.described_at_parse else None
            self._statements[name.decode()] = statement
            self.put(message(b"1"))
        elif kind == b"B":
            self._bind(body)
        elif kind == b"D":
            self._describe(body[:1], body[1:].rstrip(b"\0").decode())
        elif kind == b"E":
            name, rest = body.split(b"\0", 1)
            if struct.unpack(">i", rest)[0]:
                raise WireError("0A000", "Execute with a row limit is not supported")
            prepared = self._find(self._portals, name.decode(), "portal", "34000")
            if prepared is None:
                self.put(message(b"I"))
            else:
                await self._execute(prepared, describes=False)
        elif kind == b"C":
            holder: dict[str, _Statement] | dict[str, Prepared | None]
            holder = self._statements if body[:1] == b"S" else self._portals
            holder.pop(body[1:].rstrip(b"\0").decode(), None)
            self.put(message(b"3"))
        else:
            raise WireError("08P01", f"unknown message type {kind!r}", fatal=True)

    @staticmethod
    def _find(holder: Mapping[str, T], name: str, what: str, code: str) -> T:
        if name not in holder:
            raise WireError(code, f'{what} "{name}" does not exist')
        return holder[name]

    def _bind(self, body: bytes) -> None:
        assert self._backend is not None
        portal, name, rest = body.split(b"\0", 2)
        statement = self._find(self._statements, name.decode(), "prepared statement", "26000")
        formats, place = shorts(rest, 0)
        (count,) = struct.unpack_from(">h", rest, place)
        place += 2
        arguments: list[str | None] = []
        for i in range(count):
            (length,) = struct.unpack_from(">i", rest, place)
            place += 4
            data = None if length < 0 else rest[place : place + length]
            place += max(length, 0)
            binary = bool(formats and formats[i if len(formats) > 1 else 0])
            oid = statement.oids[i] if i < len(statement.oids) else 0
            arguments.append(None if data is None else argument(data, oid, binary))
        prepared = self._backend.prepare(statement.sql, arguments)
        if prepared is not None and statement.parsed is not None:
            prepared = _Described(statement.parsed.fields, prepared)
        wanted, _ = shorts(rest, place)
        if any(wanted) and any(field.oid not in TEXT_OIDS for field in (prepared and prepared.fields) or ()):
            raise WireError("0A000", "binary results are not supported")
        self._portals[portal.decode()] = prepared
        self.put(message(b"2"))

    def _describe(self, kind: bytes, name: str) -> None:
        assert self._backend is not None
        if kind == b"S":
            statement = self._find(self._statements, name, "prepared statement", "26000")
            count = self._backend.parameter_count(statement.sql)
            given = dict(enumerate(statement.oids))
            oids = [given.get(i) or 25 for i in range(count)]
            self.put(message(b"t", struct.pack(f">h{count}i", count, *oids)))
            prepared = statement.parsed or self._backend.prepare(statement.sql, None)
        else:
            prepared = self._backend.cursor(name) or self._find(self._portals, name, "portal", "34000")
        fields = None if prepared is None else prepared.fields
        self.put(message(b"n") if fields is None else row_description(fields))

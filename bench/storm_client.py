"""Very many WebSockets of one thread: each greets with a token of its own, subscribes, and waits for its first message.

Sockets are non-blocking under one epoll, and what they send is made beforehand: the load's CPU time is not the
server's, but it shares a machine with it. Addresses are 127.0.0.1 to 127.0.0.8, for the ports of one are soon used up.
"""

from __future__ import annotations

import base64
import json
import re
import select
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

_ADDRESSES: Final = 8
_MASK: Final = bytes(4)  # allowed, and it leaves the text as it is
_CURSOR: Final = re.compile(rb'"cursor":"([^"]+)"')
_PHASE: Final = re.compile(rb'"phase":"([^"]+)"')
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = bytes((0x8A, 0x80)) + _MASK


def frame(message: object) -> bytes:
    """A text message as a client sends it."""
    text = json.dumps(message, separators=(",", ":")).encode()
    size = len(text)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + _MASK + text


def upgrade(port: int) -> bytes:
    """The request that opens a WebSocket."""
    key = base64.b64encode(bytes(16)).decode()
    return (
        f"GET /v1/graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    ).encode()


class Lost(Exception):
    """A client was refused or cut off: there is no figure then."""


@dataclass
class Waits:
    """Seconds since the storm began until each client was accepted, let in, and had its first message."""

    accepted: list[float]
    let_in: list[float]
    first: list[float]
    phases: Counter[str]  # of first messages, if they are of feeds
    again: int = 0  # connections that the kernel reset, its queue being full, and that were tried once more


class Client:
    """One user. ``cursor`` is of the last message of its feed, if it follows one."""

    __slots__ = ("awaited", "cursor", "init", "received", "sock")

    def __init__(self, token: str) -> None:
        greeting = {"headers": {"Authorization": f"Bearer {token}"}}
        self.init = frame({"type": "connection_init", "payload": greeting})
        self.cursor: str | None = None
        self.sock: socket.socket | None = None
        self.received = bytearray()
        self.awaited = "open"


class Crowd:
    """All the clients, and what they subscribe to: ``query`` with the variable ``after`` if it is a feed."""

    def __init__(self, port: int, tokens: list[str], query: str) -> None:
        self.port = port
        self.query = query
        self.clients = [Client(token) for token in tokens]
        self._request = upgrade(port)
        self._epoll = select.epoll()
        self._open: dict[int, Client] = {}

    def connect(self, limit_s: float) -> Waits:
        """Everybody at once, until everybody has a first message. Lost, if somebody has none after ``limit_s``."""
        waits = Waits([], [], [], Counter())
        begin = time.monotonic()
        for number, client in enumerate(self.clients):
            self._begin(client, f"127.0.0.{1 + number % _ADDRESSES}")
        while len(waits.first) < len(self.clients):
            if time.monotonic() - begin > limit_s:
                raise Lost(f"after {limit_s:.0f} s {len(waits.first)} of {len(self.clients)} have a message")
            for fd, event in self._epoll.poll(1.0):
                self._handle(self._open[fd], event, waits, begin)
        return waits

    def listen(self, for_s: float) -> None:
        """Take in what comes."""
        end, waits = time.monotonic() + for_s, Waits([], [], [], Counter())
        while time.monotonic() < end:
            for fd, event in self._epoll.poll(0.1):
                self._handle(self._open[fd], event, waits, end)

    def kill(self) -> None:
        """Reset every connection, as a broken network path does: nobody says goodbye."""
        for fd, client in self._open.items():
            assert client.sock is not None
            self._epoll.unregister(fd)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sock.close()
        self._open.clear()

    def _begin(self, client: Client, address: str) -> None:
        client.sock = sock = socket.socket()
        client.received.clear()
        client.awaited = "open"
        sock.setblocking(False)
        sock.bind((address, 0))
        sock.connect_ex(("127.0.0.1", self.port))
        self._open[sock.fileno()] = client
        self._epoll.register(sock, select.EPOLLOUT)

    def _handle(self, client: Client, event: int, waits: Waits, begin: float) -> None:
        sock = client.sock
        assert sock is not None
        try:
            if event & select.EPOLLOUT:
                sock.send(self._request)
                self._epoll.modify(sock, select.EPOLLIN)
                return
            data = sock.recv(65536)
        except OSError as error:
            if client.awaited == "open":
                self._try_again(client, waits)
                return
            raise Lost(f"a client that waited for {client.awaited!r}: {error}") from None
        if not data:
            raise Lost(f"a client that waited for {client.awaited!r} was cut off")
        client.received += data
        for message in _messages(client):
            self._next(client, message, waits, time.monotonic() - begin)

    def _try_again(self, client: Client, waits: Waits) -> None:
        assert client.sock is not None
        waits.again += 1
        if waits.again > len(self.clients):
            raise Lost("connections are reset without end")
        del self._open[client.sock.fileno()]
        self._epoll.unregister(client.sock)
        address = client.sock.getsockname()[0]
        client.sock.close()
        self._begin(client, address)

    def _next(self, client: Client, message: bytes, waits: Waits, at_s: float) -> None:
        assert client.sock is not None
        if client.awaited == "open":
            client.sock.send(client.init)
            client.awaited = "ack"
            waits.accepted.append(at_s)
        elif client.awaited == "ack":
            if b'"connection_ack"' not in message:
                raise Lost(f"not let in: {message[:200]!r}")
            variables = {} if client.cursor is None else {"after": client.cursor}
            payload = {"query": self.query, "variables": variables}
            client.sock.send(frame({"id": "1", "type": "subscribe", "payload": payload}))
            client.awaited = "first"
            waits.let_in.append(at_s)
        elif b'"next"' not in message:
            raise Lost(f"no message of its operation: {message[:300]!r}")
        else:
            found = _CURSOR.search(message)
            if found is not None:
                client.cursor = found[1].decode()
            if client.awaited == "first":
                client.awaited = "more"
                waits.first.append(at_s)
                waits.phases.update(text.decode() for text in _PHASE.findall(message))


def _messages(client: Client) -> list[bytes]:
    """What has come whole: the answer to the upgrade, then the texts of frames."""
    received, found = client.received, []
    if client.awaited == "open":
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return []
        head = bytes(received[: end + 4])
        if not head.startswith(b"HTTP/1.1 101"):
            raise Lost(f"not accepted: {head[:200]!r}")
        found.append(head)
        del received[: end + 4]
    while len(received) >= 2:
        size, begin = received[1] & 0x7F, 2
        if size == 126:
            size, begin = int.from_bytes(received[2:4], "big"), 4
        elif size == 127:
            size, begin = int.from_bytes(received[2:10], "big"), 10
        if len(received) < begin + size:
            break
        text = bytes(received[begin : begin + size])
        kind = received[0] & 0x0F
        del received[: begin + size]
        if kind == _CLOSE:
            raise Lost(f"closed: {text!r}")
        if kind == _PING:
            assert client.sock is not None
            client.sock.send(_PONG)
        else:
            found.append(text)
    return found

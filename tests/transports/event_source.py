"""A client of event streams, on a bare socket: HTTP's frame and the events are both looked at."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.transports.test_port import Port

WAIT_S = 10.0


@dataclass
class Event:
    """One event; of a comment only ``comment`` is there."""

    event: str = ""
    data: str = ""
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    @property
    def payload(self) -> Any:
        assert self.event == "next", self
        return json.loads(self.data)


class EventSource:
    """One stream. ``head``: the status line and headers; ``body``: what came after, chunks taken apart."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunked = False
        self.ended = False  # by the last chunk, or where there are none, by the connection's end
        self._text = ""

    async def read_head(self) -> None:
        head = (await self._within(self.reader.readuntil(b"\r\n\r\n"))).decode()
        first, *lines = head.rstrip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.chunked = self.headers.get("transfer-encoding") == "chunked"

    async def _within(self, work: Any) -> Any:
        async with asyncio.timeout(WAIT_S):
            return await work

    async def read(self) -> str:
        """Some more of the body; "" at its end."""
        if not self.chunked:
            some = (await self._within(self.reader.read(65536))).decode()
            self.ended = not some
            return str(some)
        size = int(await self._within(self.reader.readline()), 16)
        text = (await self._within(self.reader.readexactly(size + 2)))[:-2].decode()
        self.ended = not size
        return str(text)

    async def body(self) -> str:
        """All of a body that has a length."""
        text = await self._within(self.reader.readexactly(int(self.headers["content-length"])))
        return str(text.decode())

    async def event(self, *, comments: bool = False) -> Event:
        """The next event."""
        while True:
            while "\n\n" not in self._text:
                more = await self.read()
                if not more:
                    raise EOFError
                self._text += more
            block, _, self._text = self._text.partition("\n\n")
            event = Event()
            for line in block.split("\n"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                match name:
                    case "":
                        event.comment = value
                    case "retry":
                        event.retry = int(value)
                    case _:
                        setattr(event, name, value)
            if event.comment is None or comments:
                return event

    async def next(self) -> Any:
        """The payload of the next event."""
        return (await self.event()).payload

    async def rest(self) -> list[Event]:
        """All events until the end of the stream."""
        events = []
        with contextlib.suppress(EOFError):
            while True:
                events.append(await self.event())
        return events

    async def gone(self) -> bytes:
        """Whatever still comes until the connection is closed."""
        return bytes(await self._within(self.reader.read()))


def request(
    query: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    version: str = "1.1",
    path: str = "/graphql",
    **parameters: Any,
) -> bytes:
    """The bytes of a request for a stream."""
    given = {"host": "127.0.0.1", "accept": "text/event-stream", **(headers or {})}
    body = b""
    if method == "POST":
        body = json.dumps({"query": query, **parameters}).encode()
        given |= {"content-type": "application/json", "content-length": str(len(body))}
    else:
        texts = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()
        }
        path += "?" + urlencode({"query": query, **texts})
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


@contextlib.asynccontextmanager
async def connected(port: Port, **options: Any) -> AsyncIterator[EventSource]:
    """A connection that has asked for nothing."""
    host, _, number = port.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(number), **options)
    try:
        yield EventSource(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def stream(port: Port, query: str, **options: Any) -> AsyncIterator[EventSource]:
    """A stream, its head read."""
    async with connected(port) as source:
        source.writer.write(request(query, **options))
        await source.read_head()
        yield source

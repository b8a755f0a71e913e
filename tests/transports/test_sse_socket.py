"""Readers that are slow, deaf or gone, and what a stream costs the others: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tests.transports.event_source import EventSource, connected, request, stream
from tests.transports.test_hostile_clients import HIGH_WATER_BYTES, Pipe
from tests.transports.test_port import ITEMS, Port, serving
from tycostream.auth.connections import Slot
from tycostream.auth.limiter import Limiter
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import ServerConfig
from tycostream.live.outbox import Outbox, Ticker
from tycostream.observe.events import ConnectionClosed, Event, silent
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import ScriptedEngine
from tycostream.transports.event_stream import EventStream, StreamSink
from tycostream.transports.event_stream_socket import EventStreamSocket
from tycostream.transports.wire.sse import CHUNKED

FEED = "subscription {items_changes {phase changes {row {id name}}}}"
LIVE = "subscription {items(order_by: {id: asc}) {id name}}"
YAML = """
databases: {main: {url: host=scripted}}
sources: {items: {}}
server: {port: 0, ping_interval: %s}
"""
WIDE = "x" * 300_000


@contextlib.asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch, ping_interval: str = "30s") -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, YAML % ping_interval) as port:
        yield port


@contextlib.asynccontextmanager
async def deaf(port: Port, query: str) -> AsyncIterator[EventSource]:
    """A client that has little room for what it does not read."""
    host, _, number = port.url.removeprefix("http://").rpartition(":")
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plug.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plug, (host, int(number)))
    reader, writer = await asyncio.open_connection(sock=plug, limit=4096)
    writer.write(request(query))
    source = EventSource(reader, writer)
    await source.read_head()
    try:
        yield source
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def sockets(port: Port) -> list[EventStreamSocket]:
    found = cast(set[Any], port.server._server.server_state.connections)
    return [each for each in found if isinstance(each, EventStreamSocket)]


async def fill(port: Port, slow: EventStreamSocket) -> int:
    """Change one row until a socket is full, and some more; gives how often."""
    [(_, client)] = port.app.clients.after()
    told, left = 1, 20
    for n in range(1000):
        old = "name 1" if not n else f"{n - 1} {WIDE}"
        port.engine.commit({"items": [((1, old), (1, f"{n} {WIDE}"))]})
        while not slow._full and next(client.operations()).told.messages == told:
            await asyncio.sleep(0)
        told = next(client.operations()).told.messages
        left -= slow._full
        if not left:
            return n
    raise AssertionError("it never filled")


@pytest.mark.parametrize("query", [FEED, LIVE])
async def test_a_slow_reader_gets_the_net_and_holds_little(
    monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    async with served(monkeypatch) as port, deaf(port, query) as slow:
        await slow.next()
        [behind] = sockets(port)
        last = await fill(port, behind)
        assert behind.unsent_bytes < HIGH_WATER_BYTES + 3 * len(WIDE)
        [(_, client)] = port.app.clients.after()
        while not next(client.operations()).waiting:
            await asyncio.sleep(0.005)
        async with stream(port, LIVE) as other:
            assert (await other.next())["data"]["items"][1]["name"].startswith(f"{last} "), (
                "nobody else waits"
            )
        told = 0
        while True:
            data = (await slow.next())["data"]
            told += 1
            rows = (
                data["items"] if query is LIVE else [each["row"] for each in data["items_changes"]["changes"]]
            )
            if any(row["name"].startswith(f"{last} ") for row in rows):
                break
        assert told < last, "what it did not read it was not sent"
        port.engine.commit({"items": [((0, "name 0"), (0, "zero"))]})
        assert '"zero"' in (await slow.event()).data, "it is level again"


async def test_who_reads_nothing_for_an_interval_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, "400ms") as port, deaf(port, FEED) as slow:
        await slow.next()
        await fill(port, sockets(port)[0])
        [closed] = await port.closed(1)
        assert (closed.code, closed.reason) == (1006, "nothing was read for an interval")
        assert len(port.app.clients) == port.app.limiter.connections.open == 0


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
async def test_the_kernel_ends_what_nobody_acknowledges(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, "7s") as port, stream(port, LIVE) as source:
        await source.next()
        [each] = sockets(port)
        assert each._transport is not None
        plug = each._transport.get_extra_info("socket")
        assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 14_000


async def test_clients_that_go_at_any_moment_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch) as port:
        for turns in range(30):
            async with connected(port) as source:
                source.writer.write(request(LIVE))
                for _ in range(turns):
                    await asyncio.sleep(0)
                source.writer.transport.abort()
        connections = port.app.limiter.connections
        async with asyncio.timeout(10):
            while connections.open or len(port.app.clients) or port.server._server.server_state.connections:
                await asyncio.sleep(0.005)
        assert connections.users.total == connections.addresses.total == 0
        assert not port.app.authenticator._watchers
        assert not [each for each in port.events if type(each).__name__ == "OperationFailed"]
        assert not [cohort for cohort in port.app.hub._cohorts.known.values() if cohort.members]


async def test_no_task_stays_for_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch) as port:
        before = len(asyncio.all_tasks())
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(20):
                source = await stack.enter_async_context(stream(port, LIVE))
                await source.next()
            assert len(asyncio.all_tasks()) == before
            written = [each._transport.write for each in sockets(port) if each._transport is not None]
            assert len(written) == 20


# the socket alone, on a clock of its own


class Stream:
    """What a socket needs of a stream."""

    client_ip = "10.0.0.1"
    framing = CHUNKED

    def __init__(self, clock: FakeClock) -> None:
        self._ticker = Ticker(clock, lambda who, error: None)
        self.outbox: Outbox | None = None
        self.lost_count = 0

    def begin(self, sink: StreamSink) -> None:
        self.outbox = Outbox(self.framing, sink, self._ticker, bytes_max=1 << 20)

    def lost(self) -> None:
        self.lost_count += 1


class Rig:
    def __init__(self, *, reconnecting: bool = False, closing: bool = False) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.stream = Stream(self.clock)
        self.connections = Limiter(LimitsConfig(), self.clock, silent).connections
        self.slot: Slot = self.connections.enter()
        self.all: set[Any] = set()
        self.pipe = Pipe()
        self.pipe.closing = closing
        self.socket = EventStreamSocket(
            cast(EventStream, self.stream),
            self.clock,
            self.events.append,
            ServerConfig(),
            reconnecting=reconnecting,
        )
        self.pipe.shell = cast(Any, self.socket)
        self.socket.take(cast(Any, self.pipe), self.slot, self.all)

    def aborted(self) -> bool:
        aborted: bool = self.pipe.aborted
        return aborted

    def beat(self) -> None:
        self.clock.advance(ServerConfig().ping_interval.total_seconds())


def test_a_client_that_is_gone_when_it_is_taken_over() -> None:
    rig = Rig(closing=True)
    assert (rig.connections.open, rig.stream.lost_count, rig.events, rig.all) == (0, 1, [], set())
    assert rig.stream.outbox is None


def test_beats_wait_for_a_socket_that_is_full_and_who_reads_a_little_stays() -> None:
    rig = Rig()
    rig.beat()
    assert rig.pipe.take() == CHUNKED.beat
    rig.socket.write(b"x" * (HIGH_WATER_BYTES + 100))
    outbox = rig.stream.outbox
    assert outbox is not None
    assert outbox.writable is False
    for _ in range(5):
        before = len(rig.pipe.unread)
        rig.beat()
        assert len(rig.pipe.unread) == before, "a beat is no reason to hold more"
        del rig.pipe.unread[:1]
    assert rig.aborted() is False
    rig.pipe.take()
    assert bool(outbox.writable)
    rig.socket.write(b"x" * (HIGH_WATER_BYTES + 200))
    rig.beat()
    assert rig.aborted() is False, "it has read since"
    rig.beat()
    assert rig.aborted()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a client has taken")
def test_who_takes_what_the_kernel_holds_stays() -> None:
    rig = Rig()
    rig.socket.write(b"x" * (HIGH_WATER_BYTES + 100))
    for _ in range(10):
        rig.pipe.acknowledged += 1
        rig.beat()
    assert rig.aborted() is False
    rig.beat()
    assert rig.aborted()


def test_the_end_is_not_waited_for_for_ever() -> None:
    rig = Rig(reconnecting=True)
    rig.socket.shutdown()
    assert rig.pipe.take().endswith(b"\n\n\r\n0\r\n\r\n")
    assert (rig.pipe.closing, rig.aborted()) == (True, False)
    rig.socket.write(b"late")
    rig.socket.shutdown()
    rig.socket.data_received(b"more")
    assert rig.pipe.take() == b""
    rig.clock.advance(5)
    assert rig.aborted()
    rig.socket.connection_lost(None)
    rig.socket.connection_lost(None)
    [closed] = [each for each in rig.events if isinstance(each, ConnectionClosed)]
    assert (closed.code, closed.client_ip) == (1012, "10.0.0.1")
    assert (rig.connections.open, rig.all) == (0, set())
    rig.clock.advance(1000)


def test_a_connection_that_breaks() -> None:
    rig = Rig()
    rig.socket.connection_lost(OSError("reset"))
    [closed] = [each for each in rig.events if isinstance(each, ConnectionClosed)]
    assert closed.code == 1006
    rig.socket.write(b"x")
    assert rig.socket.unsent_bytes == len(rig.pipe.unread) == 0

"""The proxy's faults, before an upstream that answers each line and can send much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.testing.feed import ask, connected, feed
from tycostream.testing.listener import Listener
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.proxy import Direction, FaultProxy


class Echo:
    """Answers ``line`` with ``<line>``, and ``n`` alone with n bytes; knows who is connected and what came."""

    def __init__(self) -> None:
        self.listener = Listener(self._serve)
        self.received = b""
        self.open = 0
        self.changed = asyncio.Condition()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._note(1)
        try:
            while line := await reader.readline():
                self.received += line
                await self._note(0)
                text = line.strip()
                writer.write(b"x" * int(text) if text.isdigit() else b"<" + text + b">\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            await self._note(-1)

    async def _note(self, change: int) -> None:
        self.open += change
        async with self.changed:
            self.changed.notify_all()

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.open == count)

    async def until_received(self, text: bytes) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: text in self.received)


class Client:
    """A connection with a time limit on every wait."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, text: bytes) -> bytes:
        self.writer.write(text + b"\n")
        return await self.line()

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), 10)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 10)


@asynccontextmanager
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    made = Echo()
    made.listener.listen(True)
    yield made
    await made.listener.stop()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    made = FaultProxy("127.0.0.1", echo.listener.port)
    await made.start()
    yield made
    await made.stop()


async def test_it_passes_everything_both_ways(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as one, client(proxy) as two:
        await proxy.connected(2)
        assert await one.ask(b"a") == b"<a>\n"
        assert await two.ask(b"b") == b"<b>\n"
        two.writer.write(b"3000000\n")
        two.writer.write_eof()  # half-closed: the answer still comes
        assert len(await two.rest()) == 3_000_000
        assert await one.ask(b"c") == b"<c>\n"
    await echo.until_open(0)


async def test_cut_is_an_ordinary_end(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as before:
        assert await before.ask(b"a") == b"<a>\n"
        proxy.cut()
        assert await before.rest() == b""
        await echo.until_open(0)
    async with client(proxy) as after:
        assert await after.ask(b"b") == b"<b>\n"
        proxy.cut(present=False, new=True)
        async with client(proxy) as new:
            assert await new.rest() == b""
        assert await after.ask(b"c") == b"<c>\n"
        proxy.heal()
        async with client(proxy) as healed:
            assert await healed.ask(b"d") == b"<d>\n"


async def test_reset_is_an_error(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as before:
        assert await before.ask(b"a") == b"<a>\n"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await before.rest()
        await echo.until_open(0)


async def test_a_stall_keeps_bytes_and_connections(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as stalled:
        assert await stalled.ask(b"a") == b"<a>\n"
        proxy.stall(frozenset({Direction.DOWN}))
        stalled.writer.write(b"b\n")
        await echo.until_received(b"b\n")
        proxy.stall(frozenset({Direction.UP}))
        assert await stalled.line() == b"<b>\n", "what was held goes on"
        stalled.writer.write(b"c\n")
        async with client(proxy) as new:
            new.writer.write(b"d\n")
            await echo.until_open(2)
            proxy.stall(present=False)
            assert echo.received == b"a\nb\n"
            proxy.heal()
            assert await new.line() == b"<d>\n"
        assert await stalled.line() == b"<c>\n"


async def test_half_open_clients_hear_nothing(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as left:
        assert await left.ask(b"a") == b"<a>\n"
        proxy.half_open()
        await echo.until_open(0)
        left.writer.write(b"b\n")
        async with client(proxy) as other:
            assert await other.ask(b"c") == b"<c>\n", "others are served"
        assert not left.reader.at_eof()
        assert echo.received == b"a\nc\n"
        assert proxy.connections >= 1


async def test_a_black_hole_accepts_and_never_answers(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as before:
        assert await before.ask(b"a") == b"<a>\n"
        proxy.black_hole()
        async with client(proxy) as lost:
            lost.writer.write(b"b\n" * 1000)
            await lost.writer.drain()
            await proxy.connected(2)
            assert await before.ask(b"c") == b"<c>\n"
            assert echo.open == 1
            assert not lost.reader.at_eof()
            assert proxy.connections == 2


async def test_refused_and_accepted_again_on_the_same_port(echo: Echo, proxy: FaultProxy):
    port = proxy.port
    async with client(proxy) as before:
        assert await before.ask(b"a") == b"<a>\n"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await before.ask(b"b") == b"<b>\n"
        proxy.heal()
        async with client(proxy) as after:
            assert await after.ask(b"c") == b"<c>\n"
    assert proxy.port == port


async def test_slow_is_a_rate_and_ends_with_heal(echo: Echo, proxy: FaultProxy):
    loop = asyncio.get_running_loop()
    async with client(proxy) as slow:
        assert await slow.ask(b"a") == b"<a>\n"
        proxy.slow(10_000)
        began = loop.time()
        slow.writer.write(b"2000\n")
        assert await slow.reader.readexactly(2000) == b"x" * 2000
        assert loop.time() - began >= 0.15
        proxy.slow(1)
        slow.writer.write(b"100000\n")  # a day's work at this rate
        proxy.heal()
        assert len(await asyncio.wait_for(slow.reader.readexactly(100_000), 10)) == 100_000


async def test_cut_after_some_bytes(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as present:
        assert await present.ask(b"a") == b"<a>\n"
        proxy.cut_after(6)
        assert await present.ask(b"b") == b"<b>\n"
        present.writer.write(b"cdef\n")
        assert await present.rest() == b"<c"
        await echo.until_open(0)
    async with client(proxy) as new:
        new.writer.write(b"100000\n")
        assert await new.rest() == b"x" * 6
    with pytest.raises(ValueError, match="at least one byte"):
        proxy.cut_after(0)


async def test_an_upstream_that_is_not_there(proxy: FaultProxy, echo: Echo):
    await echo.listener.stop()
    async with client(proxy) as alone:
        assert await alone.rest() == b""


async def test_an_upstream_that_ends(proxy: FaultProxy, echo: Echo):
    async with client(proxy) as left:
        assert await left.ask(b"a") == b"<a>\n"
        await echo.listener.stop()
        assert await left.rest() == b""


async def test_what_nobody_reads_is_bounded(echo: Echo, proxy: FaultProxy):
    async with client(proxy) as lazy:
        assert await lazy.ask(b"a") == b"<a>\n"
        lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        lazy.writer.write(b"200000000\n")
        await echo.until_received(b"200000000\n")
        proxy.cut()  # 200 MB were not taken in, so this is quick
        await echo.until_open(0)


async def test_a_subscribe_through_the_proxy(fake: FakeMaterialize):
    proxy = FaultProxy("127.0.0.1", fake.port)
    await proxy.start()
    url = fake.url.replace(str(fake.port), str(proxy.port))
    try:
        fake.insert("t", ("1", "a"))
        async with feed(fake, "SUBSCRIBE t WITH (PROGRESS)", url) as subscribed:
            assert len(await subscribed.data(1)) == 1
            proxy.half_open()
            await fake.until(lambda: fake.subscriptions() == 0)
        async with connected(url) as connection:
            assert await ask(connection, "SELECT 1") == [(1,)]
    finally:
        await proxy.stop()

"""Whose turn it is: adds and removals that overlap, histories too large, and a server that is slow to end a command."""

from __future__ import annotations

import asyncio
import functools
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.fake_upstream import TYPES
from tests.engines.materialize_upstream import make_engine
from tests.engines.stream_contract import Follower
from tests.engines.test_materialize_stream import A, B, lines, world
from tycostream.config.model import SourceConfig
from tycostream.engines.base import Finished, Progress, SnapshotPart
from tycostream.engines.catalog import CatalogColumn
from tycostream.engines.decode.subscribe import SubscribeDecoder
from tycostream.engines.materialize.catalogue import Relation
from tycostream.engines.materialize.stream import MaterializeStream
from tycostream.errors import Action
from tycostream.rows import Column, Position, RowType
from tycostream.scalars import SCALARS

# adding and removing


async def test_a_source_added_twice_at_once_has_one_connection() -> None:
    async with world() as w:
        w.fake.insert("a", ("1", "1", "x"))
        row_type = w.types["a"] = await w.engine.describe(A)
        f = w.f = Follower(await w.engine.open(), row_type)
        await asyncio.gather(f.stream.add(row_type, A), f.stream.add(row_type, A))
        await f.until(lambda: bool(f.snapshots))
        w.fake.insert("a", ("2", "2", "y"))
        await w.agrees("a")
        assert w.fake.connections == 2, "one for the source, one for the catalogue"


async def test_a_source_removed_while_it_is_added_is_not_there() -> None:
    async with world() as w:
        row_type = w.types["a"] = await w.engine.describe(A)
        f = await w.follow(B)
        adding = asyncio.create_task(f.stream.add(row_type, A))
        before = w.fake.connections
        await w.fake.until(lambda: w.fake.connections > before)
        await f.stream.remove("a")
        await adding
        await w.fake.until(lambda: w.fake.connections == before)
        w.fake.insert("b", ("1", "1", "x"))
        await w.agrees("b")
        assert w.fake.subscriptions("a") == 0
        f.expect(row_type)
        await f.stream.add(row_type, A)
        await f.until(lambda: "a" in f.snapshots)


async def test_a_constant_view_that_is_resumed_begins_before_it_is_finished() -> None:
    async with world() as w:
        constant = SourceConfig(name="c")
        w.fake.create_constant_view("c", TYPES, [("1", "1", "x")])
        w.fake.retain_history("c", 600)
        f = await w.follow(constant)
        await f.until(lambda: bool(f.finished))
        position = f.positions["c"]
        await f.stream.close()
        f = await w.resume(constant)
        events: list[Any] = []
        while Finished("c") not in events:
            events += await f.stream.read()
        assert events == [Progress(position, "c"), Finished("c")]


# how much


async def test_a_history_too_large_to_read_is_left_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    small = functools.partial(SubscribeDecoder, open_bytes_max=20_000)
    monkeypatch.setattr("tycostream.engines.materialize.stream.SubscribeDecoder", small)
    async with world({"retain_ms": 600_000}) as w:
        for i in range(200):
            w.fake.insert("a", (str(i), "0", "x"))
        row_type = w.types["a"] = await w.engine.describe(A)
        f = w.f = Follower(await w.engine.open(), row_type)
        await f.stream.add(row_type, A)
        await f.until(lambda: bool(f.failed))
        error = f.failed["a"].error
        assert (error.code, error.action) == ("transaction-too-large", Action.RESYNC)
        assert "timestamps that are not complete" in error.message
        f.expect(row_type)
        await f.stream.add(row_type, A)
        await w.agrees("a")
        assert not f.batches, "all of it was in the snapshot"
        first, second = lines("COPY", w.fake)
        await f.stream.remove("a")
        await f.stream.add(row_type, A)
        f.expect(row_type)
        await f.until(lambda: bool(f.snapshots))
        third = lines("COPY", w.fake)[-1]
        least = [int(text.split("AT LEAST ")[1].split(")")[0]) for text in (first, second, third)]
        assert least[1] - least[0] > 250_000, "the second time without the five minutes"
        assert least[2] <= w.fake.upper, "and only once without"


async def test_one_read_takes_a_bounded_number_of_lines_from_all_sources() -> None:
    names = ["a", *(f"t{i}" for i in range(5))]
    async with world() as w:
        for name in names[1:]:
            w.fake.create_table(name, TYPES, key=("id",))
        for name in names:
            w.fake.insert(name, *((str(i), "0", "x") for i in range(3_000)))
        for name in names:
            w.types[name] = await w.engine.describe(SourceConfig(name=name))
        f = w.f = Follower(await w.engine.open(), *w.types.values())
        for name in names:
            await f.stream.add(w.types[name], SourceConfig(name=name))
        order: list[str] = []
        while len(f.snapshots) < len(names):
            events = await f.stream.read()
            parts = [event for event in events if isinstance(event, SnapshotPart)]
            assert sum(len(part.rows) for part in parts) <= 1_000
            order += [part.source for part in parts if part.rows]
            for event in events:
                f.take(event)
        assert [f.multiset(name).total() for name in names] == [3_000] * len(names)
        assert order.index(order[-1]) < len(order) - 3, "they take turns"


# a server that is slow to end a command


class SlowServer:
    """In a thread: refuses the first COPY as compacted, completes the second; each end waits for ``go``."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.loop = asyncio.get_running_loop()
        self.half = asyncio.Event()  # a reply was sent but for its end
        self.waited_in_vain = False
        self.copies = 0
        self.ready = threading.Event()
        self.port = 0
        self._stop: Any = None
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await stop.wait()
        server.close()

    def stop(self) -> None:
        self._stop()
        self.thread.join()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!I", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        writer.write(message(b"R", b"\0\0\0\0") + message(b"S", b"client_encoding\0UTF8\0") + READY)
        try:
            while True:
                kind = await reader.readexactly(1)
                (size,) = struct.unpack("!I", await reader.readexactly(4))
                await reader.readexactly(size - 4)
                if kind != b"Q":
                    continue
                for part, ended in self._reply():
                    writer.write(part)
                    await writer.drain()
                    if not ended:
                        self.loop.call_soon_threadsafe(self.half.set)
                        self.waited_in_vain |= not await asyncio.to_thread(self.go.wait, 5)
                        self.go.clear()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self) -> Iterator[tuple[bytes, bool]]:
        self.copies += 1
        if self.copies == 1:
            text = b"could not find a valid timestamp for the query"
            yield message(b"E", b"SERROR\0C22000\0M" + text + b"\0\0"), False
            yield READY, True
            return
        copy = message(b"H", b"\0\0\4" + b"\0\0" * 4)
        copy += message(b"d", b"7\tt\t\\N\t\\N\n") + message(b"d", b"7\tf\t1\t42\n")
        yield copy + message(b"c"), False
        yield message(b"C", b"COPY 1\0") + READY, True


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


READY = message(b"Z", b"I")


async def test_the_end_of_a_command_is_not_waited_for_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer()
    server.thread.start()
    assert server.ready.wait(10)
    engine = make_engine(f"postgresql://u@127.0.0.1:{server.port}/d?sslmode=disable&gssencmode=disable")
    relation = Relation('"t"', "t", "u1", (CatalogColumn("id", "bigint"),))

    async def settings(*args: Any) -> None:  # the server answers nothing but COPY
        pass

    async def relation_of(source: SourceConfig) -> Relation:
        return relation

    async def now(connection: Any) -> int:
        return 1000

    monkeypatch.setattr("tycostream.engines.libpq._assert_settings", settings)
    monkeypatch.setattr(engine, "relation_of", relation_of)
    monkeypatch.setattr(engine, "now", now)
    stream = MaterializeStream(engine, "e")
    row_type = RowType("t", (Column("id", SCALARS["int8"]),), (0,))
    events: list[Any] = []

    async def read() -> None:
        while Finished("t") not in events:
            events.extend(await stream.read())

    try:
        await stream.add(row_type, SourceConfig(name="t"), Position("e/u1", 0, 5))
        reading = asyncio.create_task(read())
        async with asyncio.timeout(20):
            for state in ("DRAINING", "ENDING"):
                await server.half.wait()
                server.half.clear()
                while stream._sources["t"].state.name != state:
                    await asyncio.sleep(0)
                server.go.set()
            await reading
        assert not server.waited_in_vain, "the loop went on meanwhile"
        assert [row for event in events if isinstance(event, SnapshotPart) for row in event.rows] == [(42,)]
    finally:
        await stream.close()
        await engine.close()
        server.stop()

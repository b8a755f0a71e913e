"""Three databases of three engines, each with a table of the same name, a writer that goes on, and a way to die."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import conninfo

from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.proxy import FaultProxy
from tycostream.testing.risingwave import FakeRisingWave

TYPES = {"id": "bigint", "name": "text"}
ROWS = [(0, "n0"), (1, "stays"), (2, "goes")]


class Upstream(Protocol):
    """``yaml``: the database in the configuration. ``count`` is the last number written to row 0."""

    yaml: str
    count: int

    async def start(self) -> None:
        """With the rows of ``ROWS``."""

    async def tick(self) -> None:
        """One transaction: the next number to row 0."""

    async def die(self) -> None:
        """No connection lives, none can be made."""

    async def change(self) -> None:
        """While it is away: row 2 is deleted, row 3 comes, and the history is gone."""

    async def rise(self) -> None:
        """It can be connected to again."""

    async def stop(self) -> None:
        """The end."""


class Fake:
    """A fake that speaks the wire; while it refuses, its tables can be written all the same."""

    def __init__(self, engine: str, fake: FakeMaterialize | FakeRisingWave) -> None:
        self.fake = fake
        self.yaml = engine
        self.count = 0

    async def start(self) -> None:
        await self.fake.start()
        self.fake.create_table("trades", TYPES, key=("id",))
        self.fake.insert("trades", *((str(i), name) for i, name in ROWS))
        self.yaml += f", url: '{self.fake.url}'"

    async def tick(self) -> None:
        self.fake.update("trades", ("0", f"n{self.count}"), ("0", f"n{self.count + 1}"))
        self.count += 1

    async def die(self) -> None:
        self.fake.refuse()
        self.fake.cut()

    async def change(self) -> None:
        self.fake.delete("trades", ("2", "goes"))
        self.fake.insert("trades", ("3", "comes"))
        if isinstance(self.fake, FakeRisingWave):
            self.fake.checkpoint()
            self.fake.trim("trades")
        else:
            self.fake.advance()
            self.fake.compact("trades")

    async def rise(self) -> None:
        self.fake.refuse(False)

    async def stop(self) -> None:
        await self.fake.stop()


class Postgres:
    """A server of our own that is killed as by the kernel. A proxy before it stays shut until the rows are others."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder, settings={"fsync": "off"})
        self._proxy: FaultProxy | None = None
        self._writer: psycopg.AsyncConnection[Any] | None = None
        self.yaml = ""
        self.count = 0

    async def start(self) -> None:
        parts = conninfo.conninfo_to_dict(await self._server.start())
        self._proxy = FaultProxy("127.0.0.1", int(str(parts["port"])))
        await self._proxy.start()
        url = (
            f"postgresql://{parts['user']}:{parts['password']}@127.0.0.1:{self._proxy.port}/{parts['dbname']}"
        )
        self.yaml = f"engine: postgres, manage: true, url: '{url}'"
        await self._execute("CREATE TABLE trades (id bigint PRIMARY KEY, name text)")
        for row in ROWS:
            await self._execute(f"INSERT INTO trades VALUES ({row[0]}, '{row[1]}')")

    async def _execute(self, statement: str) -> None:
        if self._writer is None:
            self._writer = await psycopg.AsyncConnection.connect(self._server.url, autocommit=True)
        await self._writer.execute(statement.encode())

    async def tick(self) -> None:
        self.count += 1
        await self._execute(f"UPDATE trades SET name = 'n{self.count}' WHERE id = 0")

    async def die(self) -> None:
        assert self._proxy is not None
        assert self._server.pid is not None
        self._proxy.refuse()
        os.kill(self._server.pid, signal.SIGKILL)
        if self._writer is not None:
            await self._writer.close()
            self._writer = None

    async def change(self) -> None:
        await self._server.start()
        await self._execute("DELETE FROM trades WHERE id = 2")
        await self._execute("INSERT INTO trades VALUES (3, 'comes')")

    async def rise(self) -> None:
        assert self._proxy is not None
        self._proxy.refuse(False)

    async def stop(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        if self._proxy is not None:
            await self._proxy.stop()
        await self._server.stop()


class Writer:
    """Ticks an upstream for ever, unless it is paused."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.going = asyncio.Event()
        self.going.set()
        self._between = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.going.wait()
            async with self._between:
                if self.going.is_set():
                    await self._upstream.tick()
            await asyncio.sleep(0.02)

    async def pause(self) -> None:
        """Return when no tick is under way."""
        self.going.clear()
        async with self._between:
            pass

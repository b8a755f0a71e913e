"""Everything that may happen to a PostgreSQL, under change feeds, live queries and queries, while writing goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.resilience.faults import COLUMN_ADDED, COLUMN_ADDED_TERMINATED, MADE_AGAIN, NETWORK, POSTGRES
from tests.resilience.upstreams import PostgresUpstream
from tests.resilience.world import Fault, World
from tycostream.engines.embedded import EmbeddedPostgres


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [*POSTGRES, MADE_AGAIN, COLUMN_ADDED, COLUMN_ADDED_TERMINATED], ids=lambda fault: fault.name
)
async def test_postgres(fault: Fault, database: str) -> None:
    world = World(PostgresUpstream(database), may_be_empty=bool(fault.ends))
    async with world.running():
        await world.suffer(fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", NETWORK, ids=lambda fault: fault.name)
async def test_the_network(fault: Fault, database: str) -> None:
    world = World(PostgresUpstream(database, proxied=True))
    async with world.running():
        await world.suffer(fault)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [*POSTGRES, MADE_AGAIN, COLUMN_ADDED_TERMINATED, *NETWORK], ids=lambda fault: fault.name
)
async def test_postgres_with_a_permanent_slot(fault: Fault, database: str) -> None:
    """What only breaks connections leaves no gap: the stream goes on where it was."""
    proxied = fault in NETWORK
    if fault is not MADE_AGAIN:
        fault = replace(fault, resync=False if fault.resync else None)
    upstream = PostgresUpstream(database, proxied=proxied, permanent=True)
    world = World(upstream, may_be_empty=bool(fault.ends))
    async with world.running():
        await world.suffer(fault)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tycostream-test-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def settled_port() -> int:
    """A free port that the kernel gives to no outgoing connection: the server, killed, must find it free again."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


@pytest.mark.slow
async def test_kill_minus_nine(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "data", port=settled_port(), settings={"fsync": "off"})
    world = World(PostgresUpstream(await server.start()))

    async def kill(_: World) -> None:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        while server.running:  # a signal is sent, not done: who starts it in that moment finds it running
            await asyncio.sleep(0.01)

    async def start(_: World) -> None:
        await server.start()

    try:
        async with world.running():
            fault = Fault("kill -9", kill, start, writes=False, resync=True)
            await world.suffer(fault)
            await world.suffer(fault)
    finally:
        await server.stop()

"""kill -9 of the embedded PostgreSQL under a running server: it comes back, and clients get the difference."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tycostream.app import App
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.engines.postgres import PostgresEngine
from tycostream.live.live_source import SourceState
from tycostream.observe.events import silent


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tycostream-test-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def reached(app: App, state: SourceState) -> None:
    while app.hub.sources["items"].state is not state:
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_killed_postgres_is_started_again_and_the_difference_told(folder: Path) -> None:
    yaml = f"databases: {{main: {{embedded: true, data: {folder}/data}}}}\nsources: {{items: {{}}}}"
    app = App(loads(yaml, environ={}), SystemClock(), silent)
    engine = app.upstreams.engines["main"]
    assert isinstance(engine, PostgresEngine)
    url = await engine.start()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE items (id bigint PRIMARY KEY, name text)")
        await connection.execute("INSERT INTO items VALUES (1, 'before')")
    async with app.running():
        await app.settled()
        store = app.hub.sources["items"].store
        assert list(store.rows.values()) == [(1, "before")]
        assert engine.embedded is not None
        assert engine.embedded.pid is not None
        os.kill(engine.embedded.pid, signal.SIGKILL)
        await reached(app, SourceState.STALE)
        assert list(store.rows.values()) == [(1, "before")], "stale is readable"
        await reached(app, SourceState.LIVE)
        async with await psycopg.AsyncConnection.connect(engine.url, autocommit=True) as connection:
            await connection.execute("INSERT INTO items VALUES (2, 'after')")
        while len(store.rows) < 2:
            await asyncio.sleep(0.01)
    assert not engine.embedded.running

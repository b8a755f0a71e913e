"""An engine over a test's database, its sources followed; for the tests of what is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.engines.stream_contract import Follower
from tycostream.clock import SystemClock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.postgres import PostgresEngine
from tycostream.observe.events import Event, silent


def source(name: str, *, interval: str = "0ms", refresh: str | None = None, **more: Any) -> SourceConfig:
    return SourceConfig.model_validate(
        {"name": name, "live": {"interval": interval, "refresh": refresh}, **more}
    )


def engine_of(url: str, emit: Callable[[Event], None] = silent, **more: Any) -> PostgresEngine:
    config = DatabaseConfig.model_validate({"url": url, "manage": True, **more})
    return PostgresEngine("main", config, "test", {}, emit, SystemClock())


async def follow(engine: PostgresEngine, *sources: SourceConfig) -> Follower:
    """A stream of the sources, their snapshots read."""
    row_types = [await engine.describe(one) for one in sources]
    follower = Follower(await engine.open(), *row_types)
    for row_type, one in zip(row_types, sources, strict=True):
        await follower.stream.add(row_type, one)
    await follower.until(lambda: len(follower.snapshots) == len(sources))
    return follower


async def add(engine: PostgresEngine, follower: Follower, one: SourceConfig) -> None:
    """One more source, or one that failed; its snapshot is not waited for."""
    row_type = await engine.describe(one)
    follower.expect(row_type)
    await follower.stream.add(row_type, one)


async def rows(db: psycopg.AsyncConnection[Any], query: str) -> list[tuple[Any, ...]]:
    return await (await db.execute(query.encode())).fetchall()

"""The Reloader: what was asked for is done, whatever comes between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.reloading.harness import World, configuration, table, world
from tycostream.cli.reloading import KEPT, Reloader
from tycostream.config.model import Config
from tycostream.errors import ConfigError, Problem

ITEMS = configuration("items: {}")
PATIENCE_S = 30


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with world(ITEMS, monkeypatch, {"a": {table("items"): [(1, 1)]}}) as made:
        await made.live("items")
        yield made


@contextlib.asynccontextmanager
async def at_work(reloader: Reloader, served: World) -> AsyncIterator[None]:
    running = asyncio.ensure_future(reloader.run(served.app))
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_wish_to_start_anew_that_comes_during_a_reload_is_not_lost(served: World) -> None:
    database, other = served.databases["postgresql://a/x"], configuration("items: {}", databases="b")
    database.leaving = asyncio.Event()
    reloader = Reloader(lambda: other, served.clock, restarts=True)
    async with at_work(reloader, served):
        reloader.ask()
        await database.closing.wait()
        reloader.ask(anew=True)  # `.env` changed while the App waits for the former database to be closed
        database.leaving.set()
        await reloader.restart.wait()


async def test_a_wish_to_start_anew_outlives_a_mistake(
    served: World, capsys: pytest.CaptureFixture[str]
) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    mistakes = [ConfigError([Problem("tycostream.yaml", 1, 1, "", "is wrong")])]

    def load() -> Config:
        if mistakes:
            loop.call_soon_threadsafe(told.set)
            raise mistakes.pop()
        return ITEMS

    reloader = Reloader(load, served.clock, restarts=True)
    async with at_work(reloader, served):
        reloader.ask(anew=True)  # `.env` and the file were edited, and the file has a mistake
        await told.wait()
        reloader.ask()  # it is mended; what `.env` says is still not what the process has
        await reloader.restart.wait()
    assert KEPT in capsys.readouterr().err

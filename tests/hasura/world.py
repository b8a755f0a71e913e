"""The tables of Hasura's documentation in a PostgreSQL, an App over them, and clients that can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.hasura.tables import CONFIG, TABLES
from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.graphql.plan import Plan
from tycostream.observe.events import silent
from tycostream.testing.scripted import LineFraming, RecordingSink


class Screen(RecordingSink):
    """A socket that wakes who waits for what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._written = asyncio.Event()

    def write(self, data: bytes) -> None:
        """See Sink."""
        super().write(data)
        self._written.set()

    def results(self) -> list[Any]:
        """The ``data`` of all results so far."""
        found: list[Any] = []
        for message in self.messages():
            result: Any = message.get("next")
            assert result is not None, message
            assert "errors" not in result, result
            found.append(result["data"])
        return found

    async def until(self, condition: Callable[[list[Any]], bool]) -> bool:
        """Whether the results satisfy a condition within a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while True:
                    self._written.clear()
                    if condition(self.results()):
                        return True
                    await self._written.wait()
        return False


@dataclass
class World:
    """``db`` is a connection of its own, and commits each statement."""

    app: App
    db: psycopg.AsyncConnection[Any]

    async def value(self, select: str) -> Any:
        """The one JSON value that a SELECT gives."""
        ((found,),) = await (await self.db.execute(select.encode())).fetchall()
        return found

    def plan(self, text: str, variables: Mapping[str, object]) -> Plan:
        """What an operation means; InvalidRequest if it is refused."""
        return self.app.prepare(text, None, variables, Session())

    async def answer(self, text: str, variables: Mapping[str, object]) -> Any:
        """The ``data`` of a query."""
        answer = json.loads(await self.app.query(self.plan(text, variables)))
        assert "errors" not in answer, answer
        return answer["data"]

    def watch(self, text: str, variables: Mapping[str, object]) -> Screen:
        """Subscribe."""
        screen = Screen()
        screen.outbox = self.app.outbox(LineFraming(), screen)
        self.app.subscribe(self.plan(text, variables), screen.outbox, b"1", lambda: None)
        return screen


@contextlib.asynccontextmanager
async def documented(database: str, tables: str = "", sources: str = "") -> AsyncIterator[World]:
    """A world in an empty database, and all its sources live; ``tables`` and ``sources`` come besides."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db:
        await db.execute((TABLES + tables).encode())
        await db.execute("SET TIME ZONE 'UTC'")
        app = App(loads(CONFIG.format(url=database) + sources, environ={}), SystemClock(), silent)
        async with app.running(), asyncio.timeout(120):
            await app.settled()
            ready, states = app.ready()
            assert ready, states
            assert not [state for state in states if state.get("remark")], "relationships fit"
            yield World(app, db)

"""A history: tables in a real PostgreSQL, the App over them, transactions, and clients that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Generic

import psycopg
from hypothesis import strategies as st

from tests.oracle.clients import Asked, Client, Question, query
from tests.oracle.shapes import Table
from tycostream.app import App
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.config.model import Config, LiveConfig, LogConfig, SourceConfig
from tycostream.observe.events import CohortQuarantined, Event

Draw = Callable[..., Any]
TIMEOUT_S = 15.0
_numbers = itertools.count()
_MARKER = Table("marker", {"id": "integer", "n": "bigint"}, ("id",), False)


class History(Generic[Asked]):
    """One history. Every transaction counts a marker up: who sees the marker, sees the transaction."""

    def __init__(self, draw: Draw, connection: psycopg.AsyncConnection[Any], url: str) -> None:
        self.draw = draw
        self.connection = connection
        self.url = url
        self.schema = f"history{next(_numbers)}"
        self.level = True  # all that was committed has been seen to be shown
        self.happened = asyncio.Event()
        self.marked = 0
        self.troubles: list[Event] = []
        self.clients: list[Client[Asked]] = []
        self.away: list[Client[Asked]] = []
        self.app: App
        self.marker: Client[Question]

    async def execute(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = await self.connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []

    @property
    def sources(self) -> Sequence[Table]:
        """What can be asked for."""
        raise NotImplementedError

    def may_lag(self, question: Asked) -> bool:
        """Whether what it reads may be told later than what was committed with it."""
        return False

    def statement(self) -> str:
        """One statement of a transaction, which may break a key's uniqueness."""
        raise NotImplementedError

    async def join(self) -> None:
        """A client comes; one with little room is slow, and reads only when all is checked."""
        raise NotImplementedError

    async def alter(self) -> None:
        """The shape of something becomes another one; nothing has that here."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def running(self, fill: Callable[[], Awaitable[None]], log_bytes: int) -> AsyncIterator[None]:
        """The tables, filled, and the App over them; all is gone afterwards."""
        await self.execute(f"CREATE SCHEMA {self.schema}")
        for table in (*self.sources, _MARKER):
            for statement in table.create(self.schema):
                await self.execute(statement)
        await self.execute(f"INSERT INTO {self.schema}.marker VALUES (1, 0)")
        await fill()
        try:
            self.app = App(self._config(log_bytes), SystemClock(), self._observe)
            async with self.app.running():
                await self.app.settled()
                self.marker = Client(self.app, Question(_MARKER, ("n",), {}))
                yield
        finally:
            await self.execute(f"DROP SCHEMA {self.schema} CASCADE")
            await self.execute(f"DROP PUBLICATION IF EXISTS tycostream_{self.schema}")

    def _config(self, log_bytes: int) -> Config:
        database = f"databases: {{main: {{url: '{self.url}', manage: true}}}}"
        marker = f"sources: {{marker: {{table: {self.schema}.marker}}}}"
        server = "server: {multi_root_subscriptions: true}"
        config = loads(f"name: {self.schema}\n{server}\n{database}\n{marker}\n", environ={})
        # Smaller than a configuration may ask for: then clients fall off the log and start again.
        live = LiveConfig(log=LogConfig(bytes=log_bytes), interval=timedelta())
        made = {
            table.name: SourceConfig.model_validate(
                {"name": table.name, "database": "main", **table.source(self.schema)}
            )
            for table in self.sources
        }
        made["marker"] = config.sources["marker"]
        made = {name: source.model_copy(update={"live": live}) for name, source in made.items()}
        return config.model_copy(update={"sources": made})

    def _observe(self, event: Event) -> None:
        if isinstance(event, CohortQuarantined):
            self.troubles.append(event)
        self.happened.set()

    # steps

    async def transaction(self, *, settle: bool) -> None:
        """Some statements in one transaction, now and then rolled back, wholly or one of them."""
        abandoned = self.draw(st.integers(0, 9), label="abandoned") == 9
        async with self.connection.transaction() as transaction:
            for _ in range(self.draw(st.integers(1, 4), label="statements")):
                statement = self.statement()
                # the key is taken, or its partition is detached
                with contextlib.suppress(psycopg.errors.UniqueViolation, psycopg.errors.CheckViolation):
                    async with self.connection.transaction():
                        await self.execute(statement)
            await self.execute(f"UPDATE {self.schema}.marker SET n = {self.marked + 1}")
            if abandoned:
                raise psycopg.Rollback(transaction)
        self.marked += not abandoned
        await self.record()
        if settle:
            await self.arrived()

    async def record(self) -> None:
        """Something was committed: keep what the database says now to whom what is shown is compared with all of it."""
        self.level = False
        for client in (*self.clients, *self.away):
            if client.past is not None:
                client.past.add(await self.expected(client.question))

    async def arrived(self) -> None:
        """Wait until every committed transaction has arrived: not for a time, for its mark."""
        await self.marker.shows([{"n": str(self.marked)}], TIMEOUT_S)
        assert not self.troubles

    def leave(self) -> None:
        """A client's connection is lost; it may come back with its cursor."""
        feeds = [client for client in self.clients if client.question.feed and client.room is None]
        if feeds:
            client = self.draw(st.sampled_from(feeds))
            client.leave()
            self.clients.remove(client)
            if client.cursor is not None:
                self.away.append(client)

    def come_back(self) -> None:
        """Who is away resumes."""
        self.clients += [Client(self.app, client.question, client.room, client) for client in self.away]
        self.away = []

    async def cut(self) -> None:
        """The database ends our connection; the App bridges the gap by itself."""
        await self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'walsender'"
        )

    async def check(self) -> None:
        """Every client shows, and a query asked now answers, what the database's own SELECT says."""
        await self.arrived()
        for client in self.clients:
            await client.shows(await self.answer(client.question), TIMEOUT_S)
        self.level = True

    async def expected(self, question: Asked) -> Any:
        """What the database says."""
        return question.expected([row[0] for row in await self.execute(question.sql(self.schema))])

    async def answer(self, question: Asked) -> Any:
        """What the database says; AssertionError if a query of ours, asked now, says something else.

        What is computed, or has partitions that come and go, may lag: it is asked again whenever something happened.
        """
        expected = await self.expected(question)
        if not question.feed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT_S):
                    while True:
                        self.happened.clear()
                        answer = await query(self.app, question)
                        if answer == expected or not self.may_lag(question):
                            break
                        await self.happened.wait()
            assert answer == expected, question
        return expected

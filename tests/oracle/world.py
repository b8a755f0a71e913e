"""A history: tables in a real PostgreSQL, the App over them, transactions, and clients that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
from hypothesis import strategies as st

from tests.oracle.clients import Client, Past, Question, query
from tests.oracle.derived import Derived, deriveds
from tests.oracle.shapes import Table, insert_sql, orders, pages, rows, statements, tables, wheres
from tycostream.app import App
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.config.model import Config, LiveConfig, LogConfig, SourceConfig
from tycostream.observe.events import CohortQuarantined, Event

Draw = Callable[..., Any]
_TIMEOUT_S = 15.0
_numbers = itertools.count()
_MARKER = Table("marker", {"id": "integer", "n": "bigint"}, ("id",), False)


class World:
    """One history. Every transaction counts a marker up: who sees the marker, sees the transaction."""

    def __init__(self, draw: Draw, connection: psycopg.AsyncConnection[Any], url: str) -> None:
        self.draw = draw
        self.connection = connection
        self.url = url
        self.schema = f"history{next(_numbers)}"
        self.tables: list[Table] = []
        self.views: list[Derived] = []
        self.level = True  # all that was committed has been seen to be shown
        self.happened = asyncio.Event()
        self.marked = 0
        self.troubles: list[Event] = []
        self.clients: list[Client[Question]] = []
        self.away: list[Client[Question]] = []
        self.app: App
        self.marker: Client[Question]

    async def execute(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = await self.connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []

    def draw_tables(self) -> None:
        """Random tables."""
        count = self.draw(st.integers(2, 3), label="tables")
        self.tables = [self.draw(tables(f"t{i}")) for i in range(count)]

    def draw_views(self, most: int) -> None:
        """Random views, queries and custom fields over them, and over each other."""
        for i in range(self.draw(st.integers(1, most), label="views")):
            self.views.append(self.draw(deriveds(f"d{i}", self.sources, self.schema), label="view"))

    @property
    def sources(self) -> list[Table]:
        """What can be asked for."""
        return [*self.tables, *self.views]

    async def fill(self) -> None:
        """Some rows for each table, to begin with."""
        for table in self.tables:
            filled = self.draw(st.lists(rows(table), min_size=5, max_size=9), label="rows")
            await self.execute(insert_sql(filled, table, self.schema))

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
        config = loads(f"name: {self.schema}\n{database}\n{marker}\n", environ={})
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
                table = self.draw(st.sampled_from(self.tables))
                statement = self.draw(statements(table, self.schema), label="SQL")
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
        await self.marker.shows([{"n": str(self.marked)}], _TIMEOUT_S)
        assert not self.troubles

    async def join(self) -> None:
        """A client comes; one with little room is slow, and reads only when all is checked."""
        draw = self.draw
        table = draw(st.sampled_from(self.views if self.views and draw(st.integers(0, 3)) else self.tables))
        columns = list(table.columns)
        selection = draw(st.lists(st.sampled_from(columns), min_size=1, unique=True))
        kind = draw(st.sampled_from(["feed", "feed", "list", "list", "list", *["row"] * bool(table.key)]))
        coalesce = draw(st.one_of(st.none(), st.integers(1, 20)))
        where = draw(wheres(table), label="where")
        if kind == "feed":
            question = Question(table, tuple(selection), where, feed=True, coalesce_ms=coalesce)
        elif kind == "row":
            key = tuple(draw(st.sampled_from(table.constants(column))) for column in table.key)
            question = Question(table, tuple(selection), {}, key=key, coalesce_ms=coalesce)
        else:
            limit, offset = draw(st.one_of(st.none(), st.integers(0, 4))), draw(st.integers(0, 3))
            order = draw(orders(table))
            if draw(st.booleans(), label="page"):
                where = {"_and": [where, draw(pages(table, order))]}
            distinct = draw(st.sampled_from([0, 0, 1, len(order)]))
            question = Question(
                table,
                tuple(selection),
                where,
                order,
                limit,
                offset,
                coalesce_ms=coalesce,
                distinct=distinct,
            )
        if "jsonb" in table.columns.values():
            question = replace(question, step=draw(st.sampled_from([None, "a", "b"])))
        room = draw(st.sampled_from([None, None, 1, 300]), label="room")
        past = None
        if isinstance(table, Derived):
            past = Past(await self.expected(question), self.level)
        self.clients.append(Client(self.app, question, room, past=past))

    async def alter(self) -> None:
        """The shape of something becomes another one; nothing has that here."""
        raise NotImplementedError

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
            await client.shows(await self.answer(client.question), _TIMEOUT_S)
        for view in self.views:
            await self.answer(Question(view, tuple(view.columns), {}, [(next(iter(view.columns)), "asc")]))
        self.level = True

    async def expected(self, question: Question) -> Any:
        """What the database says."""
        return question.expected([row[0] for row in await self.execute(question.sql(self.schema))])

    async def answer(self, question: Question) -> Any:
        """What the database says; AssertionError if a query of ours, asked now, says something else.

        What is computed, or has partitions that come and go, may lag: it is asked again whenever something happened.
        """
        expected = await self.expected(question)
        if not question.feed:
            may_lag = isinstance(question.table, Derived) or question.table.parted
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIMEOUT_S):
                    while True:
                        self.happened.clear()
                        answer = await query(self.app, question)
                        if answer == expected or not may_lag:
                            break
                        await self.happened.wait()
            assert answer == expected, question
        return expected

"""A tree of tables in a transaction of PostgreSQL that is never committed, the hub fed with what happens to them, clients.

No replication is between the two: a batch is the difference of two reads of the tables. So there is nothing to wait for,
and whatever is shown was true at one moment, exactly.
"""

from __future__ import annotations

import asyncio
import re
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from hypothesis import strategies as st

from tests.oracle.clients import Client, Past, query
from tests.oracle.questions import Feed, Question, Questions
from tests.oracle.shapes import insert_sql
from tests.oracle.trees import Node, first_rows, tree_statements, trees
from tycostream.auth.authenticator import Authenticator
from tycostream.auth.limiter import Limiter
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import LiveConfig, LogConfig, SourceConfig
from tycostream.errors import RequestError, TycoError
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Plan
from tycostream.graphql.trusted import DocumentId
from tycostream.live.clients import Clients
from tycostream.live.cursor import CursorBox
from tycostream.live.framing import Framing, Sink
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.live.operations import Subscription
from tycostream.live.outbox import Outbox
from tycostream.observe.events import CohortQuarantined, Event, silent
from tycostream.rows import TRUNCATE, Batch, Change, Column, Position, Row, RowType
from tycostream.scalars import scalar_for
from tycostream.testing.clock import FakeClock

Draw = Callable[..., Any]
Texts = tuple[str | None, ...]  # a row as the database writes it


class TurningClock(FakeClock):
    """Can also run one callback alone."""

    def one(self) -> None:
        if self._soon:
            self._soon.popleft()()


class HubServer:
    """A hub and a planner as a client sees them. See Operations."""

    authenticator = Authenticator(None, SystemClock(), silent)
    clients = Clients()
    limiter = Limiter(LimitsConfig(), SystemClock(), silent)

    def __init__(self, hub: Hub, planner: Planner) -> None:
        self._hub = hub
        self._planner = planner

    def prepare(
        self,
        query: str | DocumentId,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
        after: str | None = None,
    ) -> Plan:
        return self._planner.plan(query, operation_name, variables, session)

    async def query(self, plan: Plan, session: Session, count: Callable[[int], None]) -> bytes:
        return await self._hub.query(plan, count)

    def outbox(self, framing: Framing, sink: Sink) -> Outbox:
        return self._hub.outbox(framing, sink)

    def subscribe(
        self,
        plan: Plan,
        outbox: Outbox,
        operation_id: bytes,
        on_end: Callable[[], None],
        session: Session,
    ) -> Subscription:
        return self._hub.subscribe(plan, outbox, operation_id, on_end)

    def ready(self) -> tuple[bool, list[dict[str, object]]]:
        return True, []


@dataclass
class Asked:
    """A one-shot query on its way, and all that it may answer: what was true since it was asked."""

    task: asyncio.Future[Any]
    question: Question
    possible: list[Any]


class TreeWorld:
    """One history of a tree. ``connection`` is in a transaction that its owner rolls back."""

    def __init__(self, draw: Draw, connection: psycopg.Connection[Any], *, aggregates: bool = True) -> None:
        self.draw = draw
        self._connection = connection
        self.schema = "tree"
        self.tree = draw(trees(), label="tree")
        drawn = Questions(self.tree, aggregates)
        self._questions = drawn.questions()
        self._asked = st.one_of(self._questions, self._questions, self._questions, drawn.feeds())
        self.clock = TurningClock()
        self.clients: list[Client[Question | Feed]] = []
        self.away: list[Client[Question | Feed]] = []
        self.asked: list[Asked] = []
        self.gone: dict[str, str] = {}  # sources that cannot be read, and the code of the error that says so
        self.troubles: list[str] = []
        self._offset = 1
        self.hub = Hub(self.clock, self._observe, CursorBox(["tree"]), outbox_bytes_max=1 << 20)
        self._log_bytes = draw(st.sampled_from([1, 3000, 1 << 20]), label="log bytes")
        self._types = {table.name: _row_type(table) for table in self.tree.values()}
        self._held: dict[str, list[Texts]] = {}  # what the hub was told
        self._create()
        sources = {
            name: SourceConfig.model_validate({"name": name, "database": "main", **table.source(self.schema)})
            for name, table in self.tree.items()
        }
        planner = Planner(list(self._types.values()), sources=sources, multi_root_subscriptions=True)
        self.server = HubServer(self.hub, planner)

    def _observe(self, event: Event) -> None:
        if isinstance(event, CohortQuarantined):
            self.troubles.append(f"{event.error}\n{traceback.format_exc()}")

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def _create(self) -> None:
        self._execute(f"CREATE SCHEMA {self.schema}")
        for table in self.tree.values():
            for statement in table.create(self.schema):
                self._execute(statement)
            filled = self.draw(first_rows(table), label=f"rows of {table.name}")
            self._execute(insert_sql(filled, table, self.schema))
            self._load(table)

    def _load(self, table: Node) -> None:
        """The source is new to the hub."""
        self._held[table.name] = texts = self._read(table)
        # smaller than a configuration may ask for: then feeds fall off the log
        config = LiveConfig(log=LogConfig(bytes=self._log_bytes))
        self.hub.add_source(self._types[table.name], config)
        self.hub.load(table.name, [self._row(table, each) for each in texts], self._position)

    @property
    def _position(self) -> Position:
        return Position("life", 0, self._offset)

    def _read(self, table: Node) -> list[Texts]:
        columns = ", ".join(f"{column}::text" for column in table.columns)
        return self._execute(f"SELECT {columns} FROM {self.schema}.{table.name}")

    def _row(self, table: Node, texts: Texts) -> Row:
        columns = self._types[table.name].columns
        return tuple(
            None if text is None else column.scalar.parse(text)
            for column, text in zip(columns, texts, strict=True)
        )

    # steps

    def transaction(self) -> None:
        """Some statements over any of the tables, as one batch."""
        for _ in range(self.draw(st.integers(1, 4), label="statements")):
            table = self.tree[self.draw(st.sampled_from(sorted(self.tree)))]
            statement = self.draw(tree_statements(table, self.schema), label="SQL")
            self._execute("SAVEPOINT before")
            try:
                self._execute(statement)
            except psycopg.errors.UniqueViolation:
                self._execute("ROLLBACK TO before")
        self._offset += 1
        names = self.draw(st.permutations(sorted(self.tree)), label="order of the sources")
        there = [name for name in names if name not in self.gone]
        changes = {name: found for name in there if (found := self._changes(self.tree[name]))}
        self.hub.apply(Batch(self._position, changes, self.draw(st.booleans(), label="resync")))
        for client in (*self.clients, *self.away):
            assert client.past is not None
            client.past.add(self.answer(client.question))
        for each in self.asked:
            each.possible.append(self.answer(each.question))

    def _changes(self, table: Node) -> list[Change]:
        """What happened to a table, in a form that an engine might give it."""
        was, now = Counter(self._held[table.name]), Counter(texts := self._read(table))
        self._held[table.name] = texts
        gone, come = list((was - now).elements()), list((now - was).elements())
        if not now and gone:
            return [TRUNCATE]
        if table.key:
            return self._keyed(table, gone, come)
        pairs = self.draw(st.integers(0, min(len(gone), len(come))), label="updated")
        olds, news = [self._row(table, each) for each in gone], [self._row(table, each) for each in come]
        changes = [Change(None, old, new) for old, new in zip(olds[:pairs], news[:pairs], strict=True)]
        changes += [Change(None, old, None) for old in olds[pairs:]]
        return changes + [Change(None, None, new) for new in news[pairs:]]

    def _keyed(self, table: Node, gone: Sequence[Texts], come: Sequence[Texts]) -> list[Change]:
        key_of = self._types[table.name].key_of
        olds = {key_of(row): row for row in (self._row(table, each) for each in gone)}
        news = {key_of(row): row for row in (self._row(table, each) for each in come)}
        changes = [Change(key, None, news.pop(key)) for key in list(olds) if key in news]
        vanished = [key for key in olds if key not in {change.key for change in changes}]
        while vanished and news and self.draw(st.booleans(), label="moved"):
            changes.append(Change(vanished.pop(), None, news.popitem()[1]))
        changes += [Change(key, None, None) for key in vanished]
        return changes + [Change(key, None, row) for key, row in news.items()]

    def join(self) -> None:
        """A client comes, with a question of its own or one that another has."""
        asked = [client.question for client in self.clients]
        known = st.sampled_from(asked) if asked else st.nothing()
        question = self.draw(st.one_of(self._asked, known), label="question")
        room = self.draw(st.sampled_from([None, None, 1, 300]), label="room")
        self._subscribe(question, room, Past(self.answer(question), level=True))

    def _subscribe(
        self,
        question: Question | Feed,
        room: int | None,
        past: Past | None,
        back: Client[Question | Feed] | None = None,
    ) -> None:
        """A client, unless what it asks for cannot be read."""
        codes = {self.gone[name] for name in self._read_by(question) & set(self.gone)}
        try:
            self.clients.append(Client(self.server, question, room, back, past))
        except RequestError as error:
            if error.code not in codes:
                raise

    def _read_by(self, question: Question | Feed) -> set[str]:
        """The tables that its SQL reads; a condition that is decided without them may do without."""
        return set(re.findall(rf"\b{self.schema}\.(\w+)", question.sql(self.schema)))

    async def lose(self) -> None:
        """A source cannot be read any more: who reads it is told why and ends, and nobody else is disturbed."""
        await self._answered()
        there = sorted(set(self.tree) - set(self.gone))
        if not there:
            return
        name = self.draw(st.sampled_from(there), label="lost")
        self.gone[name] = self.draw(st.sampled_from(["source-failed", "source-removed"]), label="how")
        for client in self.clients:
            client.doomed = name in self._read_by(client.question)
        if self.gone[name] == "source-failed":
            self.hub.mark(name, SourceState.FAILED, TycoError("broken", "it is broken"))
        else:
            self.hub.remove_source(name)
        self.settle(2)
        for client in list(self.clients):
            assert not client.ended or [error["extensions"]["code"] for error in client.errors] == [
                self.gone[name]
            ]
            client.doomed = False
            if client.ended:
                self.clients.remove(client)

    def mend(self) -> None:
        """What was lost can be read again, as it is now."""
        for name, code in self.gone.items():
            if code == "source-removed":
                self._load(self.tree[name])
                continue
            changes = self._changes(self.tree[name])
            self._offset += 1
            self.hub.apply(Batch(self._position, {name: changes}, resync=True))
            self.hub.mark(name, SourceState.LIVE)
        self.gone.clear()

    def leave(self) -> None:
        """A client goes; one that has a cursor may come back."""
        if self.clients:
            client = self.draw(st.sampled_from(self.clients))
            self.clients.remove(client)
            client.leave()
            if client.cursor is not None:
                self.away.append(client)

    def come_back(self) -> None:
        """Who is away resumes."""
        away, self.away = self.away, []
        for client in away:
            self._subscribe(client.question, client.room, None, client)

    def ask(self) -> None:
        """A one-shot query, answered in its own time."""
        question = self.draw(self._questions, label="query")
        if self._read_by(question) & set(self.gone):
            return
        task = asyncio.ensure_future(query(self.server, question))
        self.asked.append(Asked(task, question, [self.answer(question)]))

    def answer(self, question: Question | Feed) -> Any:
        """What the database says."""
        return question.expected([text for (text,) in self._execute(question.sql(self.schema))])

    async def turn(self) -> None:
        """One callback, and what it lets go on: nothing may depend on all of them running together."""
        self.clock.one()
        await asyncio.sleep(0)

    def settle(self, rounds: int) -> None:
        """Let the slow readers read, and time pass, so many times."""
        for _ in range(rounds):
            self.clock.advance(0.2)
            self.sound()
            for client in self.clients:
                client.sink.drain()
                client.read()

    def sound(self) -> None:
        """Nothing has raised inside the hub."""
        assert not self.troubles, "\n".join(self.troubles)

    def level(self) -> None:
        """Every client shows what the database says now."""
        self.settle(1)
        for client in self.clients:
            assert client.past is not None
            for _ in range(60):
                if client.shown == client.past.latest:
                    break
                self.settle(1)
            assert client.shown == client.past.latest, client.question
            assert not client.ended

    async def check(self) -> None:
        """Every client shows, and a query asked now answers, what the database says."""
        self.level()
        await self._answered()
        for client in self.clients:
            question = client.question
            assert client.past is not None
            if isinstance(question, Question):
                answer = await self._done(asyncio.ensure_future(query(self.server, question)))
                assert answer == client.past.latest, question
        self.sound()

    async def _answered(self) -> None:
        for each in self.asked:
            assert await self._done(each.task) in each.possible, each.question
        self.asked.clear()

    async def _done(self, task: asyncio.Future[Any]) -> Any:
        while not task.done():
            self.clock.run()
            await asyncio.sleep(0)
        return task.result()


def _row_type(table: Node) -> RowType:
    columns = tuple(
        Column(name, scalar_for(sql_type), nullable=name not in table.key)
        for name, sql_type in table.columns.items()
    )
    places = {name: place for place, name in enumerate(table.columns)}
    return RowType(table.name, columns, key=tuple(places[name] for name in table.key))

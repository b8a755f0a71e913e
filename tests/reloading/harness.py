"""An App over scripted databases, clients that fold what they are sent, and configurations made of a few words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.config.load import loads
from tycostream.config.model import Config, DatabaseConfig, SourceConfig
from tycostream.config.reload import Changes
from tycostream.errors import Action, UpstreamError
from tycostream.live.outbox import Outbox
from tycostream.observe.events import Emit, Event
from tycostream.rows import Column, Row, RowType
from tycostream.scalars import scalar_for
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import LineFraming, RecordingSink, ScriptedEngine

_ADMIN = Session()
INT, TEXT = scalar_for("int4"), scalar_for("text")


def table(name: str, *more: str, comment: str | None = None) -> RowType:
    """A row type: an id, a number, and texts called ``more``."""
    texts = tuple(Column(text, TEXT) for text in more)
    return RowType(
        name, (Column("id", INT, nullable=False), Column("n", INT, comment=comment), *texts), key=(0,)
    )


class Database(ScriptedEngine):
    """A scripted database that a configuration names; its sources are tables of their names."""

    def __init__(self, url: str) -> None:
        super().__init__([], incarnation=url, history=1000)
        self.described: list[str] = []
        self.held: asyncio.Event | None = None  # while it is set, ``describe`` waits for it
        self.leaving: asyncio.Event | None = None  # while it is not set, ``close`` waits for it
        self.closing = asyncio.Event()
        self.closed = 0

    def has(self, row_type: RowType, *rows: Row) -> None:
        """It has this table now."""
        self.row_types[row_type.source] = row_type
        self.tables[row_type.source] = list(rows)

    async def describe(self, source: SourceConfig) -> RowType:
        """See Engine."""
        self.described.append(source.name)
        if self.held is not None:
            await self.held.wait()
        found = await super().describe(source)
        if source.comment is None:
            return found
        return RowType(found.source, found.columns, found.key, source.comment)

    async def close(self) -> None:
        """See Engine."""
        self.closing.set()
        if self.leaving is not None:
            await self.leaving.wait()
        self.closed += 1
        await super().close()


class Client:
    """One operation on a connection of its own: a change feed if it is one, else a live query."""

    def __init__(
        self,
        app: App,
        query: str,
        room: int | None = None,
        rows: Mapping[int, Any] | None = None,
        session: Session = _ADMIN,
    ) -> None:
        self.sink = RecordingSink(room)
        self.outbox: Outbox = app.outbox(LineFraming(), self.sink)
        self.sink.outbox = self.outbox
        self.rows: dict[int, Any] = dict(rows or {})  # what it had when it left, if it resumes
        self.shown: Any = None
        self.phases: list[str] = []
        self.cursor: str | None = None
        self.stale = False
        self.codes: list[str] = []
        self._read = 0
        self._ended = False
        self._coming: dict[int, Any] | None = None
        self._subscription = app.subscribe(
            app.prepare(query, None, None, session), self.outbox, b"1", self._end
        )

    def _end(self) -> None:
        self._ended = True

    @property
    def ended(self) -> str | None:
        """The code that it ended with."""
        self.read()
        assert self._ended == bool(self.codes), "it ends with an error, and only then"
        return self.codes[0] if self.codes else None

    def close(self) -> None:
        """Leave."""
        self._subscription.cancel()

    def read(self) -> Client:
        """Take what has come."""
        for message in self.sink.messages()[self._read :]:
            self._read += 1
            if "error" in message:
                errors: Any = message["error"]
                self.codes += [error["extensions"]["code"] for error in errors]
                continue
            result: Any = message["next"]
            self.stale = result.get("extensions", {}).get("stale", self.stale)
            ((value,),) = [tuple(result["data"].values())]
            if isinstance(value, dict) and "phase" in value:
                self._fold(value)
            else:
                self.shown = value
        return self

    def _fold(self, value: dict[str, Any]) -> None:
        phase = value["phase"]
        self.phases.append(phase)
        self.cursor = value["cursor"] or self.cursor
        if phase == "reset":
            self._coming = {}
            return
        if phase == "snapshot":
            self._coming = {} if self._coming is None else self._coming
        into = self.rows if self._coming is None else self._coming
        for change in value["changes"]:
            kind, old, row = change["operation"], change["old"], change["row"]
            if kind != "insert":
                assert into.pop(old["id"]) == old, "what goes is what was there"
            if kind != "delete":
                assert row["id"] not in into, "nothing comes twice"
                into[row["id"]] = row
        if phase == "ready":
            self.rows, self._coming = self._coming or {}, None


def feed(source: str, arguments: str = "", columns: str = "id n") -> str:
    """A change feed of a source."""
    given = f"({arguments})" if arguments else ""
    return (
        f"subscription {{ {source}_changes{given} {{ phase cursor changes "
        f"{{ operation row {{ {columns} }} old {{ {columns} }} }} }} }}"
    )


def live(source: str, columns: str = "id n") -> str:
    """A live query over a source."""
    return f"subscription {{ {source}(order_by: {{id: asc}}) {{ {columns} }} }}"


def configuration(sources: str, *, databases: str = "a", more: str = "") -> Config:
    """``sources`` as YAML's flow style without its braces; ``databases`` by letter, each with its url."""
    urls = ", ".join(f"{name}: {{url: 'postgresql://{name}/x'}}" for name in databases)
    return loads(f"databases: {{{urls}}}\nsources: {{{sources}}}\n{more}", environ={})


class World:
    """An App, its databases by url, and a clock that only tests move."""

    def __init__(self, config: Config) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.databases: dict[str, Database] = {}
        self.made: list[Database] = []
        self.app = App(config, self.clock, self.events.append)

    async def until(self, condition: Callable[[], bool], step_s: float = 0.0) -> None:
        """Let turns, and with ``step_s`` time, pass until a condition holds."""
        for _ in range(5000):
            if condition():
                return
            await self.turn(step_s)
        raise AssertionError(f"never came true: {self.states()}")

    async def turn(self, step_s: float) -> None:
        """A turn of the loop, and time, in which databases that are there show that they live."""
        if step_s:
            for database in self.databases.values():
                database.progress()
        self.clock.advance(step_s)
        await asyncio.sleep(0)

    def states(self) -> dict[str, str]:
        """What /readyz says."""
        return {str(entry["source"]): str(entry["state"]) for entry in self.app.ready()[1]}

    async def live(self, *sources: str, step_s: float = 0.05) -> None:
        """Wait until these sources are live."""
        await self.until(lambda: all(self.states().get(name) == "live" for name in sources), step_s)

    async def reload(self, config: Config) -> Changes:
        """Reload, while turns of the loop bring what the clock owes."""
        task = asyncio.ensure_future(self.app.reload(config))
        while not task.done():
            self.clock.run()
            await asyncio.sleep(0)
        return task.result()

    def client(self, query: str, room: int | None = None, rows: Mapping[int, Any] | None = None) -> Client:
        """Subscribe."""
        client = Client(self.app, query, room, rows)
        self.clock.run()
        return client

    def now(self) -> None:
        """Let what is due now be sent."""
        self.clock.run()


@contextlib.asynccontextmanager
async def world(
    config: Config, monkeypatch: pytest.MonkeyPatch, tables: Mapping[str, Mapping[RowType, list[Row]]]
) -> AsyncIterator[World]:
    """A running App of a configuration; ``tables`` by the letter of their database. Afterwards nothing is left."""
    databases: dict[str, Database] = {}
    made: list[Database] = []

    def database(url: str) -> Database:
        if url not in databases:
            databases[url] = Database(url)
        return databases[url]

    def make_engine(
        name: str, settings: DatabaseConfig, config: Config, emit: Emit, clock: Clock
    ) -> ScriptedEngine:
        if settings.engine.value == "risingwave":
            raise UpstreamError("engine-missing", "not yet", action=Action.FAIL)
        engine = database(settings.url or "")
        engine.enums = config.enums
        made.append(engine)
        return engine

    monkeypatch.setattr("tycostream.upstreams.make_engine", make_engine)
    for name, content in tables.items():
        for row_type, rows in content.items():
            database(f"postgresql://{name}/x").has(row_type, *rows)
    made_world = World(config)
    made_world.databases, made_world.made = databases, made
    before = asyncio.all_tasks()
    async with made_world.app.running():
        yield made_world
    ours = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert ours == set(), "nothing of ours goes on"

"""The wiring: a schema that grows, requests before their time, what /readyz says, renewed credentials."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.engines.fake_upstream import TYPES
from tests.engines.materialize_upstream import materialize
from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.model import Config, DatabaseConfig, EngineName, SourceConfig
from tycostream.errors import ConfigError, RequestError
from tycostream.graphql.execute import InvalidRequest
from tycostream.graphql.plan import Plan
from tycostream.observe.events import Event, OperationFailed
from tycostream.testing.materialize import FakeMaterialize

TRADES = "{ trades { id n } }"
QUOTES = "subscription { quotes_changes { phase } }"


class World:
    """An App over a fake Materialize, and everything it tells; ``until`` waits for the next event or turn."""

    def __init__(self, fake: FakeMaterialize, url: str, *sources: SourceConfig, **more: Any) -> None:
        self.fake = fake
        self.events: list[Event] = []
        self._changed = asyncio.Event()
        database = DatabaseConfig(engine=EngineName.MATERIALIZE, url=url, **more.pop("database", {}))
        named = [source.model_copy(update={"database": "main"}) for source in sources]
        config = Config(databases={"main": database}, sources={source.name: source for source in named})
        self.app = App(config, SystemClock(), self._emit, **more)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 40) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def entry(self, source: str) -> dict[str, object]:
        return next(entry for entry in self.app.ready()[1] if entry["source"] == source)

    def state(self, source: str) -> object:
        return self.entry(source)["state"]

    def prepare(self, query: str) -> Plan:
        return self.app.prepare(query, None, None, Session())

    def refused(self, query: str) -> list[RequestError]:
        """The errors that a request gets."""
        try:
            self.prepare(query)
        except InvalidRequest as invalid:
            return list(invalid.errors)
        except RequestError as error:
            return [error]
        raise AssertionError("it was not refused")


@pytest.fixture
async def fake() -> AsyncIterator[FakeMaterialize]:
    async with materialize() as made:
        yield made


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    before = asyncio.all_tasks()
    async with world.app.running():
        yield world
    await world.fake.until(lambda: world.fake.connections == 0)
    ours = {task for task in asyncio.all_tasks() - before if "/testing/" not in str(task.get_coro())}
    assert not [task for task in ours if "Listener" not in str(task) and "Connection" not in str(task)]


TRADES_SOURCE, QUOTES_SOURCE = SourceConfig(name="trades"), SourceConfig(name="quotes")


async def test_the_schema_grows_as_sources_are_described(
    fake: FakeMaterialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.create_table("trades", TYPES, key=("id",))
    fake.insert("trades", ("1", "5", "x"))
    world = World(fake, fake.url, TRADES_SOURCE, QUOTES_SOURCE)
    (error,) = world.refused(TRADES)
    assert (error.code, error.message) == ("source-not-ready", "no source is known yet")
    assert world.app.ready()[0] is False
    async with running(world):
        await world.until(lambda: world.state("trades") == "live" and world.state("quotes") == "failed")
        await world.app.settled()
        assert b'"id":1' in (await world.app.query(world.prepare(TRADES))).replace(b" ", b"")
        (error,) = world.refused(QUOTES)
        assert (error.code, error.message) == ("source-not-ready", "the source 'quotes' is not known yet")
        assert "/readyz" in error.hint
        (error,) = world.refused("{ quotes_by_pk(id: 1) { id } }")
        assert error.code == "source-not-ready"
        (error,) = world.refused("{ nonsense { id } }")
        assert error.code != "source-not-ready", "what no source will have is the client's mistake"
        ready, entries = world.app.ready()
        assert not ready
        assert [entry["source"] for entry in entries] == ["trades", "quotes"]
        assert not {"reason", "remark"} & set(entries[0])
        with monkeypatch.context() as patched:
            patched.setattr(world.app.upstreams.engines["main"], "remark", lambda source: f"{source} is slow")
            assert [entry["remark"] for entry in world.app.ready()[1]] == ["trades is slow", "quotes is slow"]
        assert "there is no table, source or view public.quotes" in str(entries[1]["reason"])
        fake.create_table("quotes", TYPES, key=("id",))
        await world.until(lambda: world.state("quotes") == "live")
        assert world.app.ready()[0]
        world.prepare(QUOTES)
        world.prepare(TRADES)


async def test_a_source_that_is_made_anew_is_another_in_the_schema(fake: FakeMaterialize) -> None:
    fake.create_table("trades", TYPES, key=("id",))
    world = World(fake, fake.url, TRADES_SOURCE)
    async with running(world):
        await world.until(lambda: world.state("trades") == "live")
        first = world.app.planner
        assert world.app.planner is first, "made once"
        fake.restart()
        await world.until(lambda: world.state("trades") == "stale")
        await world.until(lambda: world.state("trades") == "live")
        assert world.app.planner is first, "the same source makes no new schema"
        fake.recreate("trades", {"id": "bigint", "price": "numeric"})
        await world.until(lambda: world.state("trades") == "failed")
        await world.until(lambda: world.state("trades") == "live")
        world.prepare("{ trades { id price } }")
        assert world.refused(TRADES)


async def test_a_key_that_is_not_unique_is_what_ready_says(fake: FakeMaterialize) -> None:
    fake.create_table("trades", TYPES)
    fake.insert("trades", ("1", "1", "x"), ("1", "2", "y"))
    world = World(fake, fake.url, SourceConfig(name="trades", primary_key=("id",)))
    async with running(world):
        await world.until(lambda: world.state("trades") == "failed")
        ready, (entry,) = world.app.ready()
        assert not ready
        assert "id" in str(entry["reason"])
        assert "unique" in str(entry["reason"])
        fake.delete("trades", ("1", "1", "x"))
        await world.until(lambda: world.state("trades") == "live")
        assert "reason" not in world.entry("trades")


async def test_a_database_that_is_down_is_waited_for_and_named(fake: FakeMaterialize) -> None:
    fake.create_table("trades", TYPES, key=("id",))
    fake.refuse()
    world = World(fake, fake.url, TRADES_SOURCE)
    async with running(world):
        await world.app.settled()
        assert world.state("trades") == "starting"
        assert "is Materialize reachable" in str(world.entry("trades")["reason"])
        assert world.refused(TRADES)[0].code == "source-not-ready"
        fake.refuse(False)
        await world.until(lambda: world.state("trades") == "live")
        world.prepare(TRADES)


async def test_credentials_are_read_anew_after_a_failure_and_used() -> None:
    async with materialize(password="right") as fake:
        fake.create_table("trades", TYPES, key=("id",))
        world = World(fake, fake.url, TRADES_SOURCE, renew=lambda: {"main": fake.url})
        async with running(world):
            await world.until(lambda: world.state("trades") == "live")
            world.app.upstreams.engines["main"].renew(
                fake.url.replace(":right@", ":outdated@")
            )  # as if it was rotated
            fake.restart()
            await world.until(lambda: world.state("trades") == "stale")
            await world.until(lambda: world.state("trades") == "live")
        assert "refused the login" not in str(world.events), "they were read before connecting again"
        assert "right" not in str(world.events)


async def test_a_configuration_that_cannot_be_read_again_keeps_what_was(fake: FakeMaterialize) -> None:
    fake.create_table("trades", TYPES, key=("id",))
    fake.refuse()
    asked: list[int] = []

    def renew() -> dict[str, str]:
        asked.append(1)
        if len(asked) == 1:
            raise ConfigError([])
        return {"main": fake.url}

    world = World(fake, "postgresql://nobody@127.0.0.1:1/none", TRADES_SOURCE, renew=renew)
    async with running(world):
        await world.until(lambda: len(asked) >= 2)
        told = [event for event in world.events if isinstance(event, OperationFailed)]
        assert [event.message for event in told] == ["the configuration cannot be read again"]
        fake.refuse(False)
        await world.until(lambda: world.state("trades") == "live")  # at the url that was read anew


async def test_an_app_without_sources_has_nothing_to_wait_for(fake: FakeMaterialize) -> None:
    world = World(fake, fake.url)
    async with running(world):
        await world.app.settled()
        assert world.app.ready() == (True, [])
        assert world.refused(TRADES)[0].code == "source-not-ready"


async def test_describe_names_everything_that_cannot_be_read_in_one_error(fake: FakeMaterialize) -> None:
    fake.create_table("trades", TYPES, key=("id",))
    world = World(fake, fake.url, TRADES_SOURCE, QUOTES_SOURCE, SourceConfig(name="rates"))
    with pytest.raises(Exception, match="2 sources cannot be read") as caught:
        await world.app.upstreams.describe()
    assert "quotes" in str(caught.value)
    assert "rates" in str(caught.value)
    findings = await world.app.upstreams.check()
    assert len([finding for finding in findings["main"] if not finding.ok]) == 2
    await world.app.upstreams.close()

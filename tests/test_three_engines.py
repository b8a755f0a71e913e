"""Materialize, RisingWave and PostgreSQL in one configuration: whichever dies, the other two do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.real.harness import PROTOCOL, Feed, Server, serving
from tests.three_engines import Fake, Postgres, Upstream, Writer
from tycostream.observe.events import BreakerChanged, Event, FeedStateChanged
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.risingwave import FakeRisingWave

NAMES = ("mz", "rw", "pg")
FEED = "subscription {{ feed: trades_{0}_changes {{ phase resync cursor changes {{ operation row {{ id name }} old {{ id name }} }} }} }}"
LIST = "subscription {{ list: trades_{0}(order_by: {{id: asc}}) {{ id name }} }}"


class Watched:
    """What one client was told of one database: by a change feed, and by a live query."""

    def __init__(self) -> None:
        self.feed = Feed(("id",))
        self.list: list[dict[str, Any]] = []
        self.told: list[list[dict[str, Any]]] = []  # the changes of each set since the snapshot
        self.resyncs = 0
        self.stale: dict[str, list[bool]] = {"feed": [], "list": []}

    def take(self, kind: str, payload: dict[str, Any]) -> None:
        stale = payload.get("extensions", {}).get("stale")
        if stale is not None:
            self.stale[kind].append(stale)
        result = payload["data"][kind]
        if kind == "list":
            self.list = result
            return
        self.feed.take(result)  # asserts that every old row is the one that it has
        self.resyncs += result["resync"]
        if result["phase"] == "live" and result["changes"]:
            self.told.append(result["changes"])

    @property
    def newest(self) -> int:
        """The number in row 0, where feed and list agree on all rows; else -1."""
        if [self.feed.rows[key] for key in sorted(self.feed.rows)] != self.list or not self.list:
            return -1
        return int(str(self.list[0]["name"])[1:])


class World:
    """Three upstreams with their writers, the server over them, and one socket with six operations."""

    def __init__(self, folder: Path) -> None:
        self.upstreams: dict[str, Upstream] = {
            "mz": Fake("engine: materialize", FakeMaterialize(progress_s=0.05, retain_ms=60_000)),
            "rw": Fake("engine: risingwave, manage: true", FakeRisingWave(second_s=0.2)),
            "pg": Postgres(folder),
        }
        self.writers = {name: Writer(upstream) for name, upstream in self.upstreams.items()}
        self.watched = {name: Watched() for name in NAMES}
        self.events: list[Event] = []
        self.not_live: dict[str, set[str]] = {name: set() for name in NAMES}  # states ever seen in readiness
        self.server: Server
        self._news = asyncio.Event()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if hasattr(self, "server"):
            for entry in self.server.app.ready()[1]:
                if entry["state"] != "live":
                    self.not_live[str(entry["database"])].add(str(entry["state"]))
        self._news.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        bounds = "connect_timeout: 2s, reconnect_delay_max: 200ms"
        try:
            await asyncio.gather(*(upstream.start() for upstream in self.upstreams.values()))
            databases = "".join(f"  {n}: {{{u.yaml}, {bounds}}}\n" for n, u in self.upstreams.items())
            sources = "".join(
                f"  trades_{n}: {{database: {n}, table: trades, primary_key: id}}\n" for n in NAMES
            )
            async with serving(f"databases:\n{databases}sources:\n{sources}", emit=self.emit) as server:
                await server.live()
                self.server = server
                tasks = [asyncio.create_task(self._watch(server.url))]
                tasks += [asyncio.create_task(writer.run()) for writer in self.writers.values()]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
                    ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert [str(error) for error in ended if not isinstance(error, asyncio.CancelledError)] == []
        finally:
            for upstream in self.upstreams.values():
                await upstream.stop()

    async def _watch(self, url: str) -> None:
        async with websockets.connect(
            url.replace("http", "ws") + "/graphql", subprotocols=PROTOCOL
        ) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            async for text in socket:
                answer = json.loads(text)
                match answer["type"]:
                    case "connection_ack":
                        for name in NAMES:
                            for kind, query in (("feed", FEED), ("list", LIST)):
                                payload = {"query": query.format(name)}
                                message = {"id": f"{name} {kind}", "type": "subscribe", "payload": payload}
                                await socket.send(json.dumps(message))
                    case "next":
                        assert "errors" not in answer["payload"], answer
                        name, kind = answer["id"].split()
                        self.watched[name].take(kind, answer["payload"])
                    case "ping":
                        await socket.send(json.dumps({"type": "pong"}))
                    case kind:
                        raise AssertionError(f"{kind}: no operation may end: {answer}")
                self._news.set()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(20):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what}: {self.server.app.ready()}, {self.events[-5:]}") from None

    async def stream_on(self, names: list[str]) -> None:
        """Feeds and live queries of these databases show something that was committed after this moment."""
        goals = {name: self.upstreams[name].count + 3 for name in names}
        await self.until(
            lambda: all(self.watched[name].newest >= goal for name, goal in goals.items()), f"{goals} shown"
        )

    async def readyz(self) -> tuple[int, dict[str, dict[str, str]]]:
        """The status, and each database's entry."""
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"{self.server.url}/readyz")
        return answer.status_code, {entry["database"]: entry for entry in answer.json()["sources"]}


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: pytest's folders are closed to the user that the server runs as when we are root.
    path = Path(tempfile.mkdtemp(prefix="tycostream-test-", dir="/var/tmp"))
    yield path / "postgres"
    shutil.rmtree(path, ignore_errors=True)


def of_database(events: list[Event], kind: type[Event], name: str) -> list[Any]:
    return [event for event in events if isinstance(event, kind) and event.database == name]  # type: ignore[union-attr]


@pytest.mark.parametrize("dead", NAMES)
async def test_one_dies_and_two_go_on(dead: str, folder: Path) -> None:
    world = World(folder)
    others = [name for name in NAMES if name != dead]
    async with world.running():
        await world.stream_on(list(NAMES))
        assert (await world.readyz())[0] == 200
        await world.writers[dead].pause()
        last = world.upstreams[dead].count
        await world.until(lambda: world.watched[dead].newest == last, "what was written last is shown")
        world.events.clear()
        for watched in world.watched.values():
            watched.told.clear()

        await world.upstreams[dead].die()
        await world.until(
            lambda: all(stale == [True] for stale in world.watched[dead].stale.values()),
            "feed and live query of the dead one are told that they are stale",
        )
        await world.stream_on(others)
        await world.until(
            lambda: any(e.state == "open" for e in of_database(world.events, BreakerChanged, dead)),
            "its breaker opens",
        )
        status, entries = await world.readyz()
        assert status == 503
        assert entries[dead]["state"] == "stale"
        assert entries[dead]["source"] == f"trades_{dead}"
        assert entries[dead]["reason"]
        assert [entries[name] for name in others] == [
            {"source": f"trades_{name}", "database": name, "state": "live"} for name in others
        ]
        answer = await world.server.query(f"{{ trades_{dead}(order_by: {{id: asc}}) {{ name }} }}")
        assert [row["name"] for row in answer[f"trades_{dead}"]] == [f"n{last}", "stays", "goes"]

        await world.upstreams[dead].change()
        await world.upstreams[dead].rise()
        await world.until(
            lambda: all(stale == [True, False] for stale in world.watched[dead].stale.values()),
            "both are told that it is back",
        )
        await world.until(
            lambda: len(world.watched[dead].list) == 3 and world.watched[dead].newest == last,
            "the difference is shown",
        )
        assert [
            sorted((change["operation"], (change["row"] or change["old"])["name"]) for change in changes)
            for changes in world.watched[dead].told
        ] == [[("delete", "goes"), ("insert", "comes")]], "the net difference, once, and nothing else"
        assert world.watched[dead].resyncs == 1

        world.writers[dead].going.set()
        await world.stream_on(list(NAMES))
        assert (await world.readyz())[0] == 200
        for name in others:
            assert world.watched[name].stale == {"feed": [], "list": []}
            assert world.watched[name].resyncs == 0
            assert world.not_live[name] == set()
            assert not of_database(world.events, FeedStateChanged, name)
            assert not of_database(world.events, BreakerChanged, name)
            assert world.watched[name].feed.phases == ["snapshot", "ready", "live"]

"""Streams over the whole way: a real PostgreSQL at one end, a WebSocket at the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import websockets

from tests.transports.test_port import PROTOCOL, init, subscribe
from tycostream.app import App
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.observe.events import silent
from tycostream.transports.http import make_app
from tycostream.transports.http_protocol import http_class
from tycostream.transports.server import PortServer
from tycostream.transports.websocket import websocket_class

TABLES = """
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, banned bool NOT NULL DEFAULT false);
CREATE TABLE messages (id serial PRIMARY KEY, from_id int REFERENCES users, content text, created_at timestamptz);
INSERT INTO users VALUES (1, 'Cindy'), (2, 'Michael');
INSERT INTO messages (from_id, content, created_at) VALUES
  (1, 'Heyyy', '2021-12-31'), (1, 'one', '2022-01-02'), (2, 'two', '2022-01-03'), (2, 'three', '2022-01-03'),
  (1, 'four', '2022-01-03'), (1, 'draft', NULL);
"""
CONFIG = """
databases: {{main: {{url: '{url}', manage: true}}}}
limits: {{live_rows_limit: 4}}
sources:
  users:
    relationships:
      messages: {{array: messages, on: {{id: from_id}}}}
  messages:
    relationships:
      from: {{object: users, on: {{from_id: id}}}}
server: {{port: 0}}
"""


@dataclass
class Reader:
    """A subscription on a socket of its own."""

    ws: Any
    messages: list[Any] = field(default_factory=list)

    async def next(self) -> list[Any]:
        """The rows of the next batch."""
        async with asyncio.timeout(20):
            message = json.loads(await self.ws.recv())
        assert message["type"] == "next", message
        (rows,) = message["payload"]["data"].values()
        self.messages.append(rows)
        return list(rows)

    async def refused(self) -> Any:
        """The error that ends it."""
        async with asyncio.timeout(20):
            message = json.loads(await self.ws.recv())
        assert message["type"] == "error", message
        return message["payload"][0]

    async def contents(self, count: int) -> list[str]:
        """The next so many rows' contents, however they are cut."""
        found: list[str] = []
        while len(found) < count:
            found += [row["content"] for row in await self.next()]
        return found


@dataclass
class World:
    url: str
    db: psycopg.AsyncConnection[Any]
    late: psycopg.AsyncConnection[Any]
    sockets: list[Any] = field(default_factory=list)

    async def read(self, query: str) -> Reader:
        ws = await websockets.connect(self.url, subprotocols=PROTOCOL)
        self.sockets.append(ws)
        await init(ws)
        await ws.send(subscribe(f"subscription {{ {query} }}"))
        return Reader(ws)

    async def message(self, content: str, at: str, of: int = 1) -> None:
        await self.db.execute(
            "INSERT INTO messages (from_id, content, created_at) VALUES (%s, %s, %s)", (of, content, at)
        )


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    connect = psycopg.AsyncConnection.connect
    async with await connect(database, autocommit=True) as db, await connect(database) as late:
        await db.execute(TABLES.encode())
        config = loads(CONFIG.format(url=database), environ={})
        clock = SystemClock()
        app = App(config, clock, silent)
        async with app.running(), asyncio.timeout(90):
            await app.settled()
            http = make_app(app, app.settings, silent)
            server = PortServer(
                http,
                http_class(app.settings, app.limiter, clock, silent),
                websocket_class(app, app.settings, clock, silent),
                config.server,
                clock,
                silent,
            )
            world = World((await server.start()).replace("http", "ws") + "/graphql", db, late)
            yield world
            for ws in world.sockets:
                await ws.close()
            await server.stop(2)


MESSAGES = "{ content created_at }"


async def test_the_example_of_hasuras_documentation(world: World) -> None:
    reader = await world.read(
        'messages_stream(cursor: {initial_value: {created_at: "2022-01-01"}, ordering: ASC}, batch_size: 2) '
        "{ id from { name } content created_at }"
    )
    first = await reader.next()
    assert first == [
        {"id": 2, "from": {"name": "Cindy"}, "content": "one", "created_at": "2022-01-02T00:00:00+00:00"},
        {"id": 3, "from": {"name": "Michael"}, "content": "two", "created_at": "2022-01-03T00:00:00+00:00"},
    ]
    assert [row["content"] for row in await reader.next()] == ["three", "four"], "ties are more than a batch"
    await world.db.execute("UPDATE users SET name = 'Mike' WHERE id = 2")  # no message rose
    await world.message("five", "2022-01-04", of=2)
    assert [(row["content"], row["from"]["name"]) for row in await reader.next()] == [("five", "Mike")]


async def test_late_commits_ties_and_rises_reach_every_reader_once(world: World) -> None:
    cursor = 'cursor: {initial_value: {created_at: "2022-01-02"}}, batch_size: 3'
    rising = await world.read(f"messages_stream({cursor}) {MESSAGES}")
    by_id = await world.read(
        f"messages_stream(cursor: {{initial_value: {{id: null}}, ordering: DESC}}, batch_size: 9) {MESSAGES}"
    )
    now = await world.read(
        f"messages_stream(cursor: {{initial_value: {{created_at: now}}}}, batch_size: 9) {MESSAGES}"
    )
    assert await rising.contents(3) == ["two", "three", "four"]
    assert await by_id.contents(6) == ["draft", "four", "three", "two", "one", "Heyyy"]
    await world.late.execute(
        "INSERT INTO messages (content, created_at) VALUES ('late', '2022-02-01'), ('too early', '2021-01-01')"
    )
    await world.message("soon", "2022-03-01")
    assert await rising.contents(1) == await by_id.contents(1) == await now.contents(1) == ["soon"]
    await world.late.commit()
    assert await rising.contents(1) == ["late"]
    assert await now.contents(2) == ["too early", "late"]
    assert await by_id.contents(2) == ["too early", "late"]
    await world.db.execute("UPDATE messages SET content = content || '!'")  # none rises
    await world.db.execute(
        "UPDATE messages SET created_at = '2021-06-01' WHERE content = 'soon!'"
    )  # it falls
    await world.db.execute("DELETE FROM messages WHERE content = 'late!'")
    await world.db.execute(
        "UPDATE messages SET created_at = '2022-04-01' WHERE content IN ('draft!', 'two!')"
    )
    assert await rising.contents(2) == await now.contents(2) == ["two!", "draft!"]
    await world.message("end", "2022-04-01")
    assert await rising.contents(1) == await by_id.contents(1) == await now.contents(1) == ["end"]


async def test_a_condition_through_a_relationship(world: World) -> None:
    reader = await world.read(
        "messages_stream(cursor: {initial_value: {id: null}}, batch_size: 10, where: {from: {banned: {_eq: false}}}) "
        "{ content from { name } }"
    )
    assert await reader.contents(6) == ["Heyyy", "one", "two", "three", "four", "draft"]
    await world.db.execute("UPDATE users SET banned = true WHERE id = 1")
    await world.message("unseen", "2022-05-01", of=1)
    await world.message("seen", "2022-05-01", of=2)
    assert await reader.contents(1) == ["seen"]
    await world.db.execute("UPDATE users SET banned = false, name = 'Cindy!' WHERE id = 1")
    back = ["Heyyy", "one", "four", "draft", "unseen"]
    assert await reader.contents(5) == back, "they come into sight"
    assert {row["from"]["name"] for row in reader.messages[-1]} == {"Cindy!"}


async def test_a_reader_that_does_not_read_loses_nothing(world: World) -> None:
    reader = await world.read(
        'messages_stream(cursor: {initial_value: {id: null}}, batch_size: 50, where: {content: {_like: "n%"}}) { content }'
    )
    wide = "n" + 2000 * "x"
    for start in range(0, 3000, 500):
        await world.db.execute(
            "INSERT INTO messages (content) SELECT %s || n FROM generate_series(%s::int, %s::int) n",
            (wide, start, start + 499),
        )
    await world.message("marked", "2022-05-01")
    witness = await world.read(
        'messages_stream(cursor: {initial_value: {id: null}}, batch_size: 1, where: {content: {_eq: "marked"}}) { content }'
    )
    assert await witness.contents(1) == ["marked"]  # by now all is applied
    contents = await reader.contents(3000)
    assert [int(content.removeprefix(wide)) for content in contents] == list(range(3000))
    assert max(map(len, reader.messages)) <= 50


async def test_more_nested_rows_than_a_result_may_have_end_that_stream_only(world: World) -> None:
    cursor = "cursor: {initial_value: {id: null}}, batch_size: 1"
    users = await world.read(f"users_stream({cursor}) {{ name messages {{ content }} }}")
    others = await world.read(f"users_stream({cursor}) {{ name }}")
    assert [(row["name"], len(row["messages"])) for row in await users.next()] == [("Cindy", 4)]
    assert [(row["name"], len(row["messages"])) for row in await users.next()] == [("Michael", 2)]
    await world.db.execute("INSERT INTO users VALUES (3, 'Chatty')")
    assert await users.next() == [{"name": "Chatty", "messages": []}]
    async with world.db.transaction():
        await world.db.execute("INSERT INTO users VALUES (4, 'All')")
        await world.db.execute("UPDATE messages SET from_id = 4")
    error = await users.refused()
    assert error["message"] == "the result has more than 4 rows, with those nested in it"
    assert error["extensions"]["path"] == "$.selectionSet.users_stream"
    assert [(await others.next())[0]["name"] for _ in range(4)] == ["Cindy", "Michael", "Chatty", "All"]

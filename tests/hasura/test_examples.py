"""The examples of Hasura's documentation on a PostgreSQL: as queries, and as live queries while the tables change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from graphql import OperationDefinitionNode, parse

from tests.hasura.example import Example
from tests.hasura.filtering import FILTERING
from tests.hasura.following import FOLLOWING
from tests.hasura.ordering import ORDERING
from tests.hasura.selecting import SELECTING
from tests.hasura.tables import CONFIG, TABLES
from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.observe.events import silent
from tycostream.testing.scripted import LineFraming, RecordingSink

EXAMPLES = [*SELECTING, *FILTERING, *ORDERING, *FOLLOWING]
STEPS = [
    "INSERT INTO articles VALUES (20, 4, 'emet', 'c', 'n', 'p', 5, true, '2018-01-02'); "
    "UPDATE articles SET author_id = 6, rating = 1, is_published = false WHERE id IN (4, 6)",
    "UPDATE authors SET name = 'Cid', address = '{\"pincode\": 560095, \"phone\": 1}', rating = 5 WHERE id = 7; "
    "UPDATE authors SET name = 'amy' WHERE id = 1; UPDATE users SET name = 'JOHN', age = 30 WHERE id IN (2, 4)",
    "DELETE FROM article_tag WHERE article_id = 1; DELETE FROM likes; DELETE FROM passport_info WHERE id = 2; "
    "DELETE FROM articles WHERE id IN (1, 8); INSERT INTO passport_info VALUES (9, 3, 'new')",
    "UPDATE products SET price = price + 1, category = 'all'; UPDATE employees SET salary = 1 WHERE id = 2; "
    "UPDATE review SET rating = 0 WHERE restaurant_id = 1; UPDATE student SET physics = 50 WHERE id = 3; "
    "UPDATE items SET tags = '[\"tag2\"]' WHERE id > 2; UPDATE orders SET total_price = 99 WHERE id = 3",
    "INSERT INTO vehicle_location VALUES (9, '(7,8)', '2022-02-02 00:00:00.5+00', 3); "
    "INSERT INTO vote VALUES (9, 1, 3, NULL); INSERT INTO message VALUES (9, 'Fine', '2022-01-01', 1); "
    "UPDATE \"user\" SET username = 'Eve', permissions = '[\"editor\"]' WHERE id = 1; "
    "UPDATE option SET texts = 'Soup' WHERE id = 1; DELETE FROM messages WHERE id = 1",
]


class Screen(RecordingSink):
    """A socket that wakes who waits for what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, data: bytes) -> None:
        super().write(data)
        self.written.set()

    def shown(self) -> Any:
        """The ``data`` of the last result."""
        messages = self.messages()
        assert all("next" in message for message in messages), messages
        last: Any = messages[-1]["next"] if messages else {"data": None}
        assert "errors" not in last, last
        return last["data"]


@dataclass
class World:
    app: App
    db: psycopg.AsyncConnection[Any]

    async def expected(self, example: Example) -> dict[str, Any]:
        """What PostgreSQL says."""
        found = {}
        for key, select in example.answers.items():
            ((found[key],),) = await (await self.db.execute(select.encode())).fetchall()
        return found

    async def answer(self, example: Example) -> Any:
        """What a query gives."""
        text = operation(example.query, "query")
        plan = self.app.prepare(text, None, example.variables, Session())
        answer = json.loads(await self.app.query(plan))
        assert "errors" not in answer, answer
        return answer["data"]

    def watch(self, example: Example) -> Screen:
        """A live query."""
        sink = Screen()
        sink.outbox = self.app.outbox(LineFraming(), sink)
        text = operation(example.query, "subscription")
        plan = self.app.prepare(text, None, example.variables, Session())
        self.app.subscribe(plan, sink.outbox, b"1", lambda: None)
        return sink


def operation(text: str, kind: str) -> str:
    """The document with its operation of that kind; of several roots one subscription too, by Hasura's directive."""
    (node,) = [each for each in parse(text).definitions if isinstance(each, OperationDefinitionNode)]
    assert node.loc is not None
    assert node.selection_set.loc is not None
    start, brace = node.loc.start, node.selection_set.loc.start
    head = text[start:brace].removeprefix("query").removeprefix("subscription")
    if kind == "subscription" and len(node.selection_set.selections) > 1:
        head += " @_multiple_top_level_fields "
    return text[:start] + kind + head + text[brace:]


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db:
        await db.execute(TABLES.encode())
        await db.execute("SET TIME ZONE 'UTC'")
        app = App(loads(CONFIG.format(url=database), environ={}), SystemClock(), silent)
        async with app.running(), asyncio.timeout(120):
            await app.settled()
            ready, sources = app.ready()
            assert ready, sources
            assert not [source for source in sources if source.get("remark")], "relationships fit"
            yield World(app, db)


async def shows(screen: Screen, expected: Any) -> bool:
    """Whether what is expected is shown within a while."""
    try:
        async with asyncio.timeout(20):
            while True:
                screen.written.clear()
                if same(screen.shown(), expected):
                    return True
                await screen.written.wait()
    except TimeoutError:
        return False


def same(found: Any, expected: Any) -> bool:
    """Equal, with the fields of rows in the order in which they are selected."""
    return json.dumps(found) == json.dumps(expected)


async def test_examples_are_answered_as_sql_does(world: World) -> None:
    screens = [world.watch(example) for example in EXAMPLES]
    for n, step in enumerate(["SELECT 1", *STEPS]):
        async with world.db.transaction():
            await world.db.execute(step.encode())
        wrong = {}
        for example, screen in zip(EXAMPLES, screens, strict=True):
            expected = await world.expected(example)
            if not await shows(screen, expected):
                wrong[f"live: {example.name}"] = (screen.shown(), expected)
            elif not same(answer := await world.answer(example), expected):
                wrong[example.name] = (answer, expected)
            if n == 0:
                silent_keys = {key for key, value in expected.items() if value in (None, [], {})}
                assert silent_keys == example.empty, f"our rows say nothing to {example.name}"
        assert wrong == {}, step

"""The examples that the demo offers, asked of its own market in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.demo import CONFIG_PATH
from tycostream.demo.market import create_schema
from tycostream.demo.pages import EXAMPLES
from tycostream.observe.events import silent
from tycostream.testing.scripted import LineFraming, RecordingSink


async def test_each_of_them_is_answered(database: str) -> None:
    await create_schema(database)
    embedded = 'embedded: true      # a PostgreSQL of our own; for yours: url: "${DATABASE_URL}"'
    text = CONFIG_PATH.read_text()
    assert embedded in text
    app = App(loads(text.replace(embedded, f"url: '{database}'"), environ={}), SystemClock(), silent)
    async with app.running(), asyncio.timeout(60):
        await app.settled()
        assert app.ready()[0]
        for example in EXAMPLES:
            plan = app.prepare(example, None, None, Session())
            if not plan.subscription:
                assert "errors" not in json.loads(await app.query(plan)), example
                continue
            sink = RecordingSink()
            outbox = app.outbox(LineFraming(), sink)
            sink.outbox = outbox
            subscription = app.subscribe(plan, outbox, b"1", lambda: None)
            while not sink.messages():
                await asyncio.sleep(0.005)
            first: Any = sink.messages()[0]["next"]
            assert list(first) == ["data"], example
            subscription.cancel()

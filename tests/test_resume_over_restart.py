"""A cursor outlives the server: the log of a restarted one is filled from the database's history."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from typing import Any

import psycopg

from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.observe.events import silent
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.scripted import LineFraming, RecordingSink

FEED = """subscription($after: String) { trades_changes(where: {symbol: {_in: ["A", "B", "C"]}}, after: $after) {
  phase cursor changes { operation row { id price } old { price } } } }"""


class Watcher:
    """A client of one feed, and its messages."""

    def __init__(self, app: App, after: str | None) -> None:
        self.sink = RecordingSink()
        outbox = app.outbox(LineFraming(), self.sink)
        self.sink.outbox = outbox
        app.subscribe(app.prepare(FEED, None, {"after": after}, Session()), outbox, b"1", lambda: None)

    def sets(self) -> list[dict[str, Any]]:
        return [m["next"]["data"]["trades_changes"] for m in self.sink.messages()]  # type: ignore[index]

    async def until(self, phase: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while not (found := [one for one in self.sets() if one["phase"] == phase]):
                await asyncio.sleep(0.005)
        return found[-1]


async def served(database: str, after: str | None, phase: str) -> tuple[dict[str, Any], list[str]]:
    text = f"databases: {{main: {{{database}}}}}\nsources: {{trades: {{}}}}\nserver: {{cursor_key: [a secret]}}\n"
    app = App(loads(text, environ={}), SystemClock(), silent)
    async with app.running():
        await asyncio.wait_for(app.settled(), 10)
        watcher = Watcher(app, after)
        found = await watcher.until(phase)
        return found, [one["phase"] for one in watcher.sets()]


async def test_a_cursor_of_a_server_that_is_gone_is_resumed() -> None:
    fake = FakeMaterialize(progress_s=0.02)
    await fake.start()
    database = f"engine: materialize, url: '{fake.url}'"
    try:
        fake.create_table("trades", {"id": "bigint", "symbol": "text", "price": "numeric"}, key=("id",))
        fake.retain_history("trades", 600)
        fake.insert("trades", ("1", "A", "1.00"), ("2", "B", "2.00"), ("9", "Z", "9.00"))
        ready, _ = await served(database, None, "ready")
        fake.update("trades", ("1", "A", "1.00"), ("1", "A", "1.50"))
        fake.update("trades", ("1", "A", "1.50"), ("1", "A", "1.75"))
        fake.delete("trades", ("2", "B", "2.00"))
        fake.insert("trades", ("8", "Z", "8.00"))
        fake.advance()
        live, phases = await served(database, ready["cursor"], "live")
        assert phases == ["live"], "neither a reset nor a snapshot"
        assert sorted(live["changes"], key=lambda change: str(change["operation"])) == [
            {"operation": "delete", "row": None, "old": {"price": 2.00}},
            {"operation": "update", "row": {"id": 1, "price": 1.75}, "old": {"price": 1.00}},
        ]
        fake.compact("trades")
        _, phases = await served(database, ready["cursor"], "ready")
        assert phases[0] == "reset", "history is gone, and the client is told so"
    finally:
        await fake.stop()


async def test_a_cursor_is_resumed_from_the_log_that_a_permanent_slot_kept(database: str) -> None:
    slot = f"kept_{secrets.token_hex(4)}"
    of = f"engine: postgres, url: '{database}', manage: true, slot: {slot}"
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db:

        async def unread() -> None:
            query = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
            while await (await db.execute(query, [slot])).fetchone() is not None:
                pass

        try:
            await db.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price numeric)")
            await db.execute("ALTER TABLE trades REPLICA IDENTITY FULL")
            await db.execute("INSERT INTO trades VALUES (1, 'A', 1.00), (2, 'B', 2.00), (9, 'Z', 9.00)")
            ready, _ = await served(of, None, "ready")
            await unread()
            await db.execute("UPDATE trades SET price = 1.50 WHERE id = 1")
            await db.execute("UPDATE trades SET price = 1.75 WHERE id = 1; DELETE FROM trades WHERE id = 2")
            await db.execute("INSERT INTO trades VALUES (8, 'Z', 8.00)")
            live, phases = await served(of, ready["cursor"], "live")
            assert phases == ["live"], "neither a reset nor a snapshot"
            assert sorted(live["changes"], key=lambda change: str(change["operation"])) == [
                {"operation": "delete", "row": None, "old": {"price": 2.00}},
                {"operation": "update", "row": {"id": 1, "price": 1.75}, "old": {"price": 1.00}},
            ]
            await unread()
            await db.execute("SELECT pg_drop_replication_slot(%s)", [slot])
            _, phases = await served(of, ready["cursor"], "ready")
            assert phases[0] == "reset", "history is gone, and the client is told so"
        finally:
            await unread()
            await db.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
                [slot],
            )


def test_what_a_cursor_is_tied_to_is_the_same_in_every_process() -> None:
    program = (
        "from tycostream.live.cursor import plan_digest\n"
        "from tycostream.dataflow.predicate import And, In\n"
        "from tycostream.dataflow.as_text import AsText\n"
        "from tycostream.dataflow.documents import DocumentContains, HasKeys\n"
        "from tycostream.dataflow.like import Like\n"
        "from tycostream.dataflow.predicate import Matches\n"
        "from tycostream.json_text import document\n"
        "values = frozenset(f'S{n}' for n in range(50))\n"
        "like = Matches(0, Like('a%'))\n"
        "matchers = [Like('a%'), HasKeys(values), DocumentContains(document({'a': [1]})), AsText(like, lambda cell: cell)]\n"
        "parts = tuple(Matches(3, matcher) for matcher in matchers)\n"
        "print(plan_digest(('trades', And((In(1, values), In(2, values, True), *parts)))).hex())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1

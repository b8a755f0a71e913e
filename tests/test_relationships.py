"""Relationships over a real PostgreSQL: nested rows, conditions and orders through them, and what SQL says instead."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.reloading.harness import Client
from tests.test_cli import run
from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.observe.events import silent

TABLES = """
CREATE TABLE instruments (id int PRIMARY KEY, symbol text NOT NULL, sector text);
CREATE TABLE trades (id bigint PRIMARY KEY, instrument_id int REFERENCES instruments, price numeric, desk text);
CREATE TABLE fills (trade_id bigint REFERENCES trades, number smallint, qty int, PRIMARY KEY (trade_id, number));
INSERT INTO instruments VALUES (1, 'XAU', 'metal'), (2, 'BTC', NULL), (3, 'XAG', 'metal');
INSERT INTO trades VALUES (1, 1, 10.50, 'a'), (2, 1, 9, 'b'), (3, 2, NULL, 'a'), (4, NULL, 7, 'b'), (5, 3, 7, NULL);
INSERT INTO fills VALUES (1, 1, 5), (1, 2, NULL), (1, 3, 2), (2, 1, 1), (5, 1, 2);
"""
CONFIG = """
databases: {{main: {{url: '{url}', manage: true}}}}
sources:
  instruments:
    relationships:
      trades: {{array: trades, on: {{id: instrument_id}}}}
  trades:
    relationships:
      instrument: {{object: instruments, on: {{instrument_id: id}}}}
      fills: {{array: fills, on: {{id: trade_id}}}}
  fills:
    relationships:
      trade: {{object: trades, on: {{trade_id: id}}}}
"""
# Each as GraphQL, and as SQL that gives the same list as one JSON value.
QUERIES = {
    "nested, both ways": (
        "trades(order_by: {id: asc}) { id instrument { symbol } fills(order_by: {number: asc}) { qty trade { price } } }",
        """
        SELECT t.id, (SELECT row_to_json(i) FROM (SELECT symbol FROM instruments WHERE id = t.instrument_id) i) AS instrument,
          (SELECT coalesce(json_agg(f ORDER BY number), '[]') FROM
            (SELECT number, qty, json_build_object('price', t.price) AS trade FROM fills WHERE trade_id = t.id) f) AS fills
        FROM trades t ORDER BY t.id""",
    ),
    "a window of each": (
        "instruments(order_by: {id: asc}) { id trades(where: {price: {_gt: 1}}, order_by: [{price: asc}, {id: desc}], "
        "limit: 1, offset: 1) { id } }",
        """
        SELECT i.id, (SELECT coalesce(json_agg(t), '[]') FROM (SELECT id FROM trades WHERE instrument_id = i.id AND price > 1
          ORDER BY price, id DESC LIMIT 1 OFFSET 1) t) AS trades
        FROM instruments i ORDER BY i.id""",
    ),
    "distinct in each": (
        "instruments(order_by: {id: asc}) { id trades(distinct_on: desk, order_by: [{desk: asc}, {id: desc}]) { desk id } }",
        """
        SELECT i.id, (SELECT coalesce(json_agg(t), '[]') FROM (SELECT DISTINCT ON (desk) desk, id FROM trades
          WHERE instrument_id = i.id ORDER BY desk, id DESC) t) AS trades
        FROM instruments i ORDER BY i.id""",
    ),
    "filtered through": (
        'trades(where: {instrument: {sector: {_eq: "metal"}}, _not: {fills: {qty: {_gt: 4}}}}, order_by: {id: asc}) { id }',
        """
        SELECT id FROM trades t WHERE EXISTS (SELECT FROM instruments WHERE id = t.instrument_id AND sector = 'metal')
          AND NOT EXISTS (SELECT FROM fills WHERE trade_id = t.id AND qty > 4) ORDER BY id""",
    ),
    "filtered two steps away": (
        'instruments(where: {trades: {fills: {qty: {_eq: 2}}}}, order_by: {id: asc}) { id }',
        """
        SELECT id FROM instruments i WHERE EXISTS (SELECT FROM trades t WHERE t.instrument_id = i.id
          AND EXISTS (SELECT FROM fills WHERE trade_id = t.id AND qty = 2)) ORDER BY id""",
    ),
    "ordered through": (
        "fills(order_by: [{trade: {instrument: {sector: desc_nulls_last, symbol: asc}}}, {trade: {price: desc}}, {qty: asc}], "
        "limit: 4) { trade_id number }",
        """
        SELECT trade_id, number FROM fills f LEFT JOIN trades t ON t.id = trade_id LEFT JOIN instruments i ON i.id = instrument_id
        ORDER BY sector DESC NULLS LAST, symbol COLLATE "C", price DESC, qty, trade_id, number LIMIT 4""",
    ),
    "by its key": (
        "trades_by_pk(id: 1) { id fills(order_by: {qty: desc_nulls_last}, limit: 1) { qty } }",
        """
        SELECT id, (SELECT coalesce(json_agg(f), '[]') FROM (SELECT qty FROM fills WHERE trade_id = t.id
          ORDER BY qty DESC NULLS LAST LIMIT 1) f) AS fills FROM trades t WHERE id = 1""",
    ),
}  # fmt: skip
STEPS = [
    "INSERT INTO fills VALUES (3, 1, 9), (4, 1, 2)",
    "UPDATE instruments SET sector = 'coin', symbol = 'ETH' WHERE id = 2",
    "UPDATE trades SET instrument_id = 2, price = price + 1 WHERE id IN (1, 5)",
    "DELETE FROM fills WHERE trade_id = 1; DELETE FROM trades WHERE id = 1; INSERT INTO fills VALUES (2, 2, 6)",
    "INSERT INTO instruments VALUES (4, 'XPT', 'metal'); UPDATE trades SET instrument_id = 4 WHERE id = 4",
    "UPDATE fills SET trade_id = 5, number = number + 10 WHERE trade_id = 2; UPDATE instruments SET sector = 'metal'",
    "TRUNCATE fills; UPDATE trades SET price = NULL WHERE id = 2",
]


@dataclass
class World:
    app: App
    db: psycopg.AsyncConnection[Any]

    async def answer(self, query: str) -> Any:
        """The answer to a one-shot query of one root."""
        plan = self.app.prepare(f"{{ root: {query} }}", None, None, Session())
        return json.loads(await self.app.query(plan))["data"]["root"]

    async def sql(self, query: str, *, single: bool = False) -> Any:
        """What the database says."""
        text = f"SELECT coalesce(json_agg(q), '[]') FROM ({query}) q"
        ((rows,),) = await (await self.db.execute(text.encode())).fetchall()
        return self.without(rows[0] if rows else None) if single else self.without(rows)

    def without(self, value: Any) -> Any:
        """Rows of a nested list that carry their number for the sake of the order, without it."""
        if isinstance(value, list):
            return [self.without(each) for each in value]
        if isinstance(value, dict):
            hidden = "number" if "trade" in value else ""
            return {key: self.without(each) for key, each in value.items() if key != hidden}
        return value


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db:
        await db.execute(TABLES.encode())
        app = App(loads(CONFIG.format(url=database), environ={}), SystemClock(), silent)
        async with app.running(), asyncio.timeout(60):
            await app.settled()
            assert app.ready()[0]
            yield World(app, db)


async def until(condition: Callable[[], bool]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)


async def test_queries_and_live_queries_say_what_sql_says(world: World) -> None:
    clients = {name: Client(world.app, f"subscription {{ {text} }}") for name, (text, _) in QUERIES.items()}
    for step in ("SELECT 1", *STEPS):
        async with world.db.transaction():
            await world.db.execute(step.encode())
        for name, (text, sql) in QUERIES.items():
            expected = await world.sql(sql, single="_by_pk" in text)
            await until(lambda name=name, expected=expected: shown(clients[name]) == expected)  # type: ignore[misc]
            assert shown(clients[name]) == expected, (name, step)
            assert await world.answer(text) == expected, (name, step)


def shown(client: Client) -> Any:
    assert client.read().ended is None
    return client.shown


async def test_a_change_feed_is_filtered_through_relationships(world: World) -> None:
    where = 'where: {instrument: {sector: {_eq: "metal"}}, _not: {fills: {qty: {_gt: 4}}}}'
    columns = "id instrument_id desk"
    client = Client(
        world.app,
        f"subscription {{ trades_changes({where}) {{ phase cursor changes "
        f"{{ operation row {{ {columns} }} old {{ {columns} }} }} }} }}",
    )
    for step in ("SELECT 1", *STEPS):
        async with world.db.transaction():
            await world.db.execute(step.encode())
        expected = await world.sql(
            """
            SELECT id, instrument_id, desk FROM trades t WHERE
              EXISTS (SELECT FROM instruments WHERE id = t.instrument_id AND sector = 'metal')
              AND NOT EXISTS (SELECT FROM fills WHERE trade_id = t.id AND qty > 4) ORDER BY id"""
        )
        await until(lambda expected=expected: in_order(client.read().rows) == expected)  # type: ignore[misc]
        assert in_order(client.read().rows) == expected, step
    assert client.ended is None


def in_order(rows: dict[int, Any]) -> list[Any]:
    return [rows[key] for key in sorted(rows)]


def test_check_says_which_relationships_do_not_fit(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    text = f"""
databases: {{main: {{url: '{database}', manage: true}}}}
sources:
  instruments: {{}}
  trades:
    relationships:
      good: {{object: instruments, on: {{instrument_id: id}}}}
      other: {{object: instruments, on: {{instrument_id: symbol}}}}
      absent: {{object: instruments, on: {{instrument: id}}}}
      maybe: {{object: instruments, on: {{instrument_id: id}}, required: true}}
      away: {{array: lost, on: {{id: id}}}}
  lost: {{}}
"""
    (tmp_path / "tycostream.yaml").write_text(text)
    checked = run("check", "--json", cwd=tmp_path)
    found = {
        each["subject"]: each for each in json.loads(checked.stdout) if "relationship" in each["subject"]
    }
    assert checked.returncode == 1
    assert {
        name.removeprefix("relationship trades."): (each["ok"], each["fatal"]) for name, each in found.items()
    } == {
        "relationships": (True, True),
        "other": (False, True),
        "absent": (False, True),
        "maybe": (False, False),
        "away": (False, False),
    }
    assert found["relationships"]["message"] == "2 relationships fit the columns of both ends"
    absent = found["relationship trades.absent"]
    assert absent["message"] == "source trades has no column 'instrument'"
    assert absent["hint"] == "name another in `on:`; did you mean instrument_id?"
    assert "type int4 and column 'symbol'" in found["relationship trades.other"]["message"]
    away = found["relationship trades.away"]
    assert away["message"] == "it leads to lost, which cannot be read: it is left out until it can"

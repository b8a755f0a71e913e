"""Relationships over composite keys, over types that only equal each other, to the same table, and to another database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import PostgresServer, fresh_database
from tests.reloading.harness import Client
from tests.test_relationships import until
from tycostream.app import App
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.observe.events import silent

TABLES = """
CREATE TABLE places (country varchar(2), number smallint, name text, PRIMARY KEY (country, number));
CREATE TABLE visits (id int PRIMARY KEY, land text, place numeric, guide int REFERENCES visits);
INSERT INTO places VALUES ('de', 1, 'Berlin'), ('de', 2, 'Bonn'), ('fr', 1, 'Paris');
INSERT INTO visits VALUES (1, 'de', 1.00, NULL), (2, 'de', 2, 1), (3, 'fr', NULL, 1), (4, NULL, 1, 3), (5, 'fr', 1.5, 5);
"""
YAML = """
databases: {{main: {{url: '{url}', manage: true}}}}
sources:
  places:
    relationships: {{visits: {{array: visits, on: {{number: place, country: land}}}}}}
  visits:
    relationships:
      place_there: {{object: places, on: {{land: country, place: number}}}}
      guide_of: {{array: visits, on: {{id: guide}}}}
      guided_by: {{object: visits, on: {{guide: id}}}}
      peers: {{array: visits, on: {{land: land}}}}
"""
QUERIES = {
    "visits(order_by: {id: asc}) { id place_there { name } guided_by { id guided_by { id } } guide_of(order_by: {id: asc}) { id } }": """
        SELECT v.id, (SELECT row_to_json(p) FROM (SELECT name FROM places WHERE country = land AND number = place) p) AS place_there,
          (SELECT row_to_json(g) FROM (SELECT g.id, (SELECT row_to_json(h) FROM (SELECT h.id FROM visits h WHERE h.id = g.guide) h)
             AS guided_by FROM visits g WHERE g.id = v.guide) g) AS guided_by,
          (SELECT coalesce(json_agg(o ORDER BY o.id), '[]') FROM (SELECT o.id FROM visits o WHERE o.guide = v.id) o) AS guide_of
        FROM visits v ORDER BY id""",
    "places(order_by: [{country: asc}, {number: asc}]) { name visits(order_by: {id: asc}) { id peers(order_by: {id: desc}) { id } } }": """
        SELECT name, (SELECT coalesce(json_agg(v ORDER BY v.id), '[]') FROM (SELECT v.id,
            (SELECT coalesce(json_agg(w ORDER BY w.id DESC), '[]') FROM (SELECT w.id FROM visits w WHERE w.land = v.land) w) AS peers
          FROM visits v WHERE v.land = country AND v.place = number) v) AS visits FROM places p ORDER BY country, number""",
    'visits(where: {_or: [{guided_by: {place_there: {name: {_like: "B%"}}}}, {_not: {peers: {}}}]}, order_by: {id: asc}) { id }': """
        SELECT id FROM visits v WHERE EXISTS (SELECT FROM visits g WHERE g.id = v.guide AND EXISTS
            (SELECT FROM places WHERE country = g.land AND number = g.place AND name LIKE 'B%'))
          OR NOT EXISTS (SELECT FROM visits w WHERE w.land = v.land) ORDER BY id""",
    "visits(order_by: [{guided_by: {place_there: {name: desc_nulls_last}}}, {place_there: {name: asc}}, {id: desc}]) { id }": """
        SELECT v.id FROM visits v LEFT JOIN visits g ON g.id = v.guide LEFT JOIN places p ON p.country = g.land AND p.number = g.place
          LEFT JOIN places q ON q.country = v.land AND q.number = v.place
        ORDER BY p.name COLLATE "C" DESC NULLS LAST, q.name COLLATE "C", v.id DESC""",
}
STEPS = [
    "UPDATE visits SET place = 1.000 WHERE id = 3",
    "UPDATE places SET number = 3 WHERE name = 'Bonn'; INSERT INTO places VALUES ('de', 4, 'Bremen')",
    "UPDATE visits SET land = 'de', place = 4.0, guide = 2 WHERE id IN (4, 5)",
    "DELETE FROM places WHERE name = 'Berlin'; UPDATE visits SET guide = id",
    "UPDATE places SET country = 'at'; UPDATE visits SET land = 'at', place = 1 WHERE id < 3",
]


async def test_composite_keys_types_that_equal_each_other_and_the_same_table(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as db, asyncio.timeout(60):
        await db.execute(TABLES.encode())
        app = App(loads(YAML.format(url=database), environ={}), SystemClock(), silent)
        async with app.running():
            await app.settled()
            assert app.ready()[0]
            clients = {text: Client(app, f"subscription {{ {text} }}") for text in QUERIES}
            for step in ("SELECT 1", *STEPS):
                async with db.transaction():
                    await db.execute(step.encode())
                for text, sql in QUERIES.items():
                    ((expected,),) = await (
                        await db.execute(f"SELECT json_agg(q) FROM ({sql}) q".encode())
                    ).fetchall()
                    client, expected = clients[text], expected or []
                    await until(lambda client=client, expected=expected: client.read().shown == expected)  # type: ignore[misc]
                    assert client.read().shown == expected, (step, text)
                    plan = app.prepare(f"{{ root: {text} }}", None, None, Session())
                    assert json.loads(await app.query(plan))["data"]["root"] == expected, (step, text)


@pytest.fixture
def two(postgres: PostgresServer) -> Iterator[list[str]]:
    """The URLs of two databases: items in one, and what they are called in the other."""
    with fresh_database(postgres) as one, fresh_database(postgres) as another:
        with psycopg.connect(one, autocommit=True) as connection:
            connection.execute(b"CREATE TABLE items (id int PRIMARY KEY, kind int)")
            connection.execute(b"INSERT INTO items VALUES (1, 10), (2, 20), (3, 10)")
        with psycopg.connect(another, autocommit=True) as connection:
            connection.execute(b"CREATE TABLE kinds (id int PRIMARY KEY, name text)")
            connection.execute(b"INSERT INTO kinds VALUES (10, 'ten')")
        yield [one, another]


async def test_a_relationship_may_lead_to_another_database(two: list[str]) -> None:
    text = f"""
databases: {{one: {{url: '{two[0]}', manage: true}}, two: {{url: '{two[1]}', manage: true}}}}
sources:
  items: {{database: one, relationships: {{kind_of: {{object: kinds, on: {{kind: id}}}}}}}}
  kinds: {{database: two, relationships: {{items: {{array: items, on: {{id: kind}}}}}}}}
"""
    app = App(loads(text, environ={}), SystemClock(), silent)
    async with app.running(), asyncio.timeout(60):
        await app.settled()
        items = Client(
            app,
            "subscription { items(order_by: [{kind_of: {name: asc}}, {id: asc}]) { id kind_of { name } } }",
        )
        kinds = Client(
            app,
            "subscription { kinds(where: {items: {id: {_gt: 1}}}, order_by: {id: asc}) { name items(order_by: {id: asc}) { id } } }",
        )
        ten: dict[str, Any] = {"name": "ten"}
        await until(lambda: items.read().shown is not None and kinds.read().shown is not None)
        assert items.shown == [
            {"id": 1, "kind_of": ten},
            {"id": 3, "kind_of": ten},
            {"id": 2, "kind_of": None},
        ]
        assert kinds.shown == [{"name": "ten", "items": [{"id": 1}, {"id": 3}]}]
        async with await psycopg.AsyncConnection.connect(two[1], autocommit=True) as db:
            await db.execute("INSERT INTO kinds VALUES (20, 'a score')")
        score = {"name": "a score"}
        expected = [{"id": 2, "kind_of": score}, {"id": 1, "kind_of": ten}, {"id": 3, "kind_of": ten}]
        await until(lambda: items.read().shown == expected)
        assert items.shown == expected
        async with await psycopg.AsyncConnection.connect(two[0], autocommit=True) as db:
            await db.execute("UPDATE items SET kind = 20 WHERE id = 3")
        both = [{"name": "a score", "items": [{"id": 2}, {"id": 3}]}]
        await until(lambda: kinds.read().shown == both)
        assert kinds.shown == both
        assert items.ended is kinds.ended is None

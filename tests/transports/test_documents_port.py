"""Object types over the whole way: what does not fit is null and told, in queries, live queries and change feeds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import httpx2
import pytest

from tests.transports.test_port import Port, init, serving, subscribe
from tycostream.json_shape import object_shape
from tycostream.live import rendering
from tycostream.rows import Column, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.scripted import ScriptedEngine

TYPES = {"address": {"street": "String", "zip": "Integer"}}
ITEMS = RowType(
    "items",
    (
        Column("id", SCALARS["int8"], nullable=False),
        Column("home", SCALARS["jsonb"], document=object_shape("address", TYPES, {})),
    ),
    key=(0,),
)
QUERY = "items(order_by: {id: asc}) {id home {street zip}}"
NUMBER = "expected a number for type 'Int', but found a string"


def row(n: int, postcode: object) -> Row:
    return n, SCALARS["jsonb"].parse(json.dumps({"street": f"road {n}", "zip": postcode}))


def told(*path: str | int, message: str = NUMBER) -> dict[str, Any]:
    return {"message": message, "path": list(path), "extensions": {"path": "$", "code": "data-exception"}}


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [row(0, 7), row(1, "x"), row(2, None)]
    async with serving(engine, monkeypatch) as port:
        yield port


async def ask(port: Port, query: str) -> Any:
    async with httpx2.AsyncClient() as client:
        return (await client.post(f"{port.url}/graphql", json={"query": query})).json()


async def test_a_query(port: Port) -> None:
    answer = await ask(port, f"{{{QUERY} one: items_by_pk(id: 1) {{home {{zip}}}}}}")
    assert [item["home"] for item in answer["data"]["items"]] == [
        {"street": "road 0", "zip": 7}, {"street": "road 1", "zip": None}, {"street": "road 2", "zip": None},
    ]  # fmt: skip
    assert answer["data"]["one"] == {"home": {"zip": None}}
    assert answer["errors"] == [told("items", 1, "home", "zip"), told("one", "home", "zip")]
    assert "errors" not in await ask(port, "{items {id home {street}}}")


async def test_a_result_that_is_made_in_steps_and_has_many_of_them(port: Port) -> None:
    port.engine.commit({"items": [(None, row(n, "x")) for n in range(3, 60)]})
    with patch.object(rendering, "ROWS_PER_STEP", 8):
        answer = await ask(port, f"{{{QUERY}}}")
    assert len(answer["data"]["items"]) == 60
    places = [1, *range(3, 22)]
    assert answer["errors"][:20] == [told("items", place, "home", "zip") for place in places]
    assert answer["errors"][20:] == [
        {"message": "38 more values do not fit", "extensions": {"path": "$", "code": "data-exception"}}
    ]


async def test_a_live_query_follows_the_places(port: Port) -> None:
    async with port.connect() as ws:
        await init(ws)
        await ws.send(subscribe(f"subscription {{{QUERY}}}"))
        assert json.loads(await ws.recv())["payload"]["errors"] == [told("items", 1, "home", "zip")]
        port.engine.commit({"items": [(row(0, 7), None)]})
        assert json.loads(await ws.recv())["payload"]["errors"] == [told("items", 0, "home", "zip")]
        port.engine.commit({"items": [(row(1, "x"), row(1, 5)), (None, row(3, "y"))]})
        assert json.loads(await ws.recv())["payload"]["errors"] == [told("items", 2, "home", "zip")]
        port.engine.commit({"items": [(row(3, "y"), row(3, 6))]})
        payload = json.loads(await ws.recv())["payload"]
        assert payload["data"]["items"][2] == {"id": 3, "home": {"street": "road 3", "zip": 6}}
        assert "errors" not in payload


async def test_a_change_feed(port: Port) -> None:
    async with port.connect() as ws:
        await init(ws)
        feed = "phase list: changes {new: row {place: home {zip}} old {home {street zip}}}"
        await ws.send(subscribe(f"subscription {{feed: items_changes {{{feed}}}}}"))
        snapshot = json.loads(await ws.recv())["payload"]
        assert snapshot["errors"] == [told("feed", "list", 1, "new", "place", "zip")]
        assert "errors" not in json.loads(await ws.recv())["payload"]
        port.engine.commit({"items": [(row(0, 7), row(0, [])), (row(1, "x"), row(1, 2))]})
        live = json.loads(await ws.recv())["payload"]
        assert [change["new"]["place"] for change in live["data"]["feed"]["list"]] == [
            {"zip": None},
            {"zip": 2},
        ]
        assert live["errors"] == [
            told("feed", "list", 0, "new", "place", "zip", message=NUMBER.replace("string", "list")),
            told("feed", "list", 1, "old", "home", "zip"),
        ]

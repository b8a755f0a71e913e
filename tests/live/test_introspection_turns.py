"""Introspection through the hub: written in turns of the loop, with rows beside it as they are at one moment."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from graphql import get_introspection_query

from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.model import LiveConfig
from tycostream.errors import RequestError
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Plan, StaticRoot
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import silent
from tycostream.rows import Column, Position, RowType
from tycostream.scalars import SCALARS

COLUMNS = (Column("id", SCALARS["int4"], nullable=False), Column("x", SCALARS["float8"]))
STANDARD = get_introspection_query()


def made() -> tuple[Hub, Planner]:
    hub = Hub(SystemClock(), silent, CursorBox(), outbox_bytes_max=1 << 20)
    row_types = [RowType(f"t{n}", COLUMNS, (0,)) for n in range(12)]
    for row_type in row_types:
        hub.add_source(row_type, LiveConfig())
        hub.load(row_type.source, [(n, n / 2) for n in range(3)], Position("l", 0, 1))
    return hub, Planner(row_types)


def asked(planner: Planner, query: str) -> Plan:
    return planner.plan(query, None, None, Session())


def test_others_have_their_turns_meanwhile() -> None:
    async def work() -> tuple[int, bytes, Planner]:
        hub, planner = made()
        query = asyncio.create_task(hub.query(asked(planner, STANDARD)))
        turns = 0
        while not query.done():
            await asyncio.sleep(0)
            turns += 1
        return turns, await query, planner

    turns, payload, planner = asyncio.run(work())
    assert turns > 10
    (root,) = asked(planner, STANDARD).roots
    assert isinstance(root, StaticRoot)
    assert payload == b'{"data":{"__schema":%b}}' % root.value


async def answered(query: str) -> bytes:
    hub, planner = made()
    return await hub.query(asked(planner, query))


def test_rows_beside_it() -> None:
    query = "{ who: __typename t1 { id } __schema { types { name fields { name } } } t2_aggregate { aggregate { count } } }"
    data: Any = json.loads(asyncio.run(answered(query)))["data"]
    assert list(data) == ["who", "t1", "__schema", "t2_aggregate"]
    assert data["who"] == "query_root"
    assert data["t1"] == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert data["t2_aggregate"] == {"aggregate": {"count": 3}}
    assert "t1_bool_exp" in {each["name"] for each in data["__schema"]["types"]}


def test_two_that_ask_the_same_wait_for_one_and_one_may_go() -> None:
    async def work() -> bytes:
        hub, planner = made()
        first = asyncio.create_task(hub.query(asked(planner, STANDARD)))
        second = asyncio.create_task(hub.query(asked(planner, STANDARD)))
        for _ in range(4):
            await asyncio.sleep(0)
        first.cancel()
        return await second

    assert json.loads(asyncio.run(work()))["data"]["__schema"]["queryType"]["name"] == "query_root"


def test_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tycostream.graphql.introspection._BYTES_MAX", 10_000)
    with pytest.raises(RequestError, match="too much introspection"):
        asyncio.run(answered(STANDARD))

"""Clients that other people wrote, as their documentation sets them up, against the running demo."""

from __future__ import annotations

import asyncio
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.websockets import WebsocketsTransport

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

HERE = Path(__file__).parent
SYMBOLS = ["ALDR", "BRCK", "CNDL", "DLTA", "EMBR"]
COUNT = 3

QUERY = """query Instruments($limit: Int!) {
  instruments(order_by: {symbol: asc}, limit: $limit) { id symbol name __typename }
}"""
LIVE_QUERY = """subscription Positions($symbols: [String!]!) {
  positions(where: {symbol: {_in: $symbols}}, order_by: {symbol: asc}) {
    instrument_id symbol quantity last_price profit __typename
  }
}"""
CHANGES = """subscription Trades {
  trades_changes {
    phase complete cursor
    changes { operation row { id symbol side price quantity executed_at } }
  }
}"""


def check_query(data: dict[str, Any]) -> None:
    assert [row["symbol"] for row in data["instruments"]] == SYMBOLS
    assert {row["__typename"] for row in data["instruments"]} == {"instruments"}


def check_live(results: list[dict[str, Any]]) -> None:
    assert len(results) >= COUNT
    for before, after in itertools.pairwise(results):
        assert before != after, "a live query pushes only what changed"
    for result in results:
        assert [row["symbol"] for row in result["positions"]] == SYMBOLS
        for row in result["positions"]:  # stringify_numbers: exact, and therefore strings
            assert str(int(row["quantity"])) == row["quantity"]
            assert isinstance(row["profit"], str)
            Decimal(row["profit"])


def check_changes(results: list[dict[str, Any]]) -> None:
    sets = [result["trades_changes"] for result in results]
    phases = [one["phase"] for one in sets]
    first_live = phases.index("live")
    assert phases[first_live - 1] == "ready", phases
    assert set(phases[: first_live - 1]) <= {"snapshot"}, phases
    assert set(phases[first_live:]) == {"live"}, phases
    assert all(one["cursor"] is None for one in sets[: first_live - 1])
    assert all(one["cursor"] for one in sets[first_live - 1 :])
    seen: set[str] = set()
    for one in sets:
        for change in one["changes"]:
            if change["operation"] == "delete":
                assert change["row"] is None
                continue
            row = change["row"]
            assert change["operation"] == "insert"
            assert row["id"] not in seen, "no trade twice"
            seen.add(row["id"])
            assert row["side"] in {"buy", "sell"}
            Decimal(row["price"])
    ids = sorted(map(int, seen))
    assert ids == list(range(ids[0], ids[-1] + 1)), "no trade missing between snapshot and live"


@pytest.mark.parametrize("script", ["graphql_ws.mjs", "apollo.mjs", "urql.mjs"])
async def test_a_javascript_client(demo_server, node, script):
    process = await asyncio.create_subprocess_exec(
        node,
        str(HERE / script),
        demo_server.graphql,
        str(COUNT),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        await process.communicate()
        pytest.fail(f"{script} did not end")
    assert process.returncode == 0, errors.decode()
    report = json.loads(output)
    check_query(report["query"])
    check_live(report["live"])
    check_changes(report["changes"])


async def collect(session: Any, request: GraphQLRequest, enough: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    stream = session.subscribe(request)
    try:
        async for data in stream:
            results.append(data)
            if enough(results):
                break
    finally:
        await stream.aclose()
    return results


def live_sets(results: list[dict[str, Any]]) -> int:
    return sum(
        result["trades_changes"]["phase"] == "live" and bool(result["trades_changes"]["changes"])
        for result in results
    )


async def test_gql_over_websocket(demo_server):
    transport = WebsocketsTransport(
        url=demo_server.graphql_ws,
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    async with asyncio.timeout(60), Client(transport=transport, fetch_schema_from_transport=True) as session:
        request = GraphQLRequest(QUERY, variable_values={"limit": 5})
        check_query(await session.execute(request))
        request = GraphQLRequest(LIVE_QUERY, variable_values={"symbols": SYMBOLS})
        check_live(await collect(session, request, lambda results: len(results) >= COUNT))
        request = GraphQLRequest(CHANGES)
        check_changes(await collect(session, request, lambda results: live_sets(results) >= COUNT))


async def test_gql_over_http(demo_server):
    transport = AIOHTTPTransport(url=demo_server.graphql)
    async with asyncio.timeout(30), Client(transport=transport, fetch_schema_from_transport=True) as session:
        check_query(await session.execute(GraphQLRequest(QUERY, variable_values={"limit": 5})))

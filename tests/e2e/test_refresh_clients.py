"""Clients that other people wrote show a new token on the open socket, by the lines of docs/sessions.md."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

from tests.transports.session_world import NOTES_LIVE, Wall, shown, world

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

HERE = Path(__file__).parent


def bare(headers):
    return headers["Authorization"].removeprefix("Bearer ")


async def test_graphql_ws(monkeypatch, node):
    wall = Wall()
    now = int(time.time())
    async with world(monkeypatch, wall=wall) as port:
        process = await asyncio.create_subprocess_exec(
            node,
            str(HERE / "refresh.mjs"),
            f"{port.url}/graphql",
            bare(shown(exp=now + 1000)),
            bare(shown(exp=now + 5000)),
            bare(shown(exp=now + 5000, top="0")),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"renewed\n"
        wall.ahead_s = 2000
        port.engine.commit({"notes": [(None, (2, "after the old token's end"))]})
        said = json.loads(await process.stdout.readline())
        assert await process.wait() == 0
    mine = [each.get("code") or each["data"]["items"] for each in said if each.get("name") == "mine"]
    assert mine == [[{"id": 0}, {"id": 1}], "session-changed"]
    pongs = [each["pong"] for each in said if "pong" in each]
    assert [pong["authenticated"] for pong in pongs] == [True, True, False]
    assert pongs[2]["error"]["extensions"]["code"] == "invalid-jwt"
    assert [each for each in said if "closed" in each] == [], "one socket from first to last"
    assert len([each for each in said if "connected" in each]) == 1


async def test_gql(monkeypatch):
    wall = Wall()
    now = int(time.time())
    async with world(monkeypatch, wall=wall) as port:
        transport = WebsocketsTransport(
            url=port.ws,
            init_payload={"headers": shown(exp=now + 1000)},
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        )
        async with Client(transport=transport) as session:
            results = session.subscribe(gql(NOTES_LIVE))
            assert len((await anext(results))["notes"]) == 1
            await transport.send_ping({"headers": shown(exp=now + 5000)})
            await transport.pong_received.wait()
            assert transport.payloads["pong"]["authenticated"] is True
            wall.ahead_s = 2000
            port.engine.commit({"notes": [(None, (2, "after the old token's end"))]})
            assert len((await anext(results))["notes"]) == 2
            await results.aclose()

"""A browser's own EventSource: it goes on where it was when the connection breaks, and comes back after a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.e2e.test_browser import WAIT_MS, Watched, browser  # noqa: F401 - a fixture
from tests.e2e.test_browser_door import Foreign, foreign, trusting, with_cookie  # noqa: F401 - fixtures
from tests.transports.event_source import stream
from tests.transports.test_port import ITEMS, Port, serving
from tycostream.testing.scripted import ScriptedEngine
from tycostream.transports.event_stream_socket import EventStreamSocket

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

YAML = """
databases: {main: {url: host=scripted}}
sources: {items: {}}
server: {port: 0}
"""
FEED = "subscription {items_changes {phase changes {row {name}}}}"
OPEN = """([url, query, credentials]) => {
    window.told = [];
    const source = new EventSource(`${url}/graphql?${new URLSearchParams({query})}`, {withCredentials: credentials});
    source.addEventListener('next', (event) => told.push({...JSON.parse(event.data), id: event.lastEventId}));
    source.addEventListener('complete', () => { told.push('complete'); source.close(); });
    source.addEventListener('error', () => told.push(source.readyState === EventSource.CLOSED ? 'closed' : 'lost'));
    window.source = source;
}"""


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    async with serving(engine, monkeypatch, YAML) as port:
        yield port


async def told(page: Page, count: int) -> list[Any]:
    """The first so many things that the page was told."""
    async with asyncio.timeout(WAIT_MS / 1000):
        while True:  # the page's policy lets no text be run there, so it cannot be asked to wait
            found: list[Any] = await page.evaluate("told")
            if len(found) >= count:
                return found[:count]
            await asyncio.sleep(0.02)


def sockets(port: Port) -> list[EventStreamSocket]:
    found: set[Any] = port.server._server.server_state.connections
    return [each for each in found if isinstance(each, EventStreamSocket)]


async def test_it_goes_on_from_the_last_event(port: Port, browser: Browser) -> None:  # noqa: F811
    page = await browser.new_page()
    await page.goto(f"{port.url}/graphql")
    watched = Watched(page)
    await page.evaluate(OPEN, [port.url, FEED, False])
    snapshot, ready = await told(page, 2)
    assert (snapshot["data"]["items_changes"]["phase"], snapshot["id"]) == ("snapshot", "")
    assert ready["id"]
    port.engine.commit({"items": [((0, "name 0"), (0, "zero"))]})
    live = (await told(page, 3))[-1]
    assert live["data"]["items_changes"]["changes"] == [{"row": {"name": "zero"}}]
    [broken] = sockets(port)
    broken._abort()
    port.engine.commit({"items": [((1, "name 1"), (1, "one"))]})
    _, *again = (await told(page, 5))[2:]
    assert again[0] == "lost"
    assert again[1]["data"]["items_changes"] == {"phase": "live", "changes": [{"row": {"name": "one"}}]}
    assert again[1]["id"] not in (live["id"], ready["id"], "")
    [back] = sockets(port)
    back.shutdown()  # as the server does when it stops
    port.engine.commit({"items": [((2, "name 2"), None)]})
    assert (await told(page, 7))[6]["data"]["items_changes"]["changes"] == [{"row": None}]
    port.app.hub.remove_source("items")
    last, complete = (await told(page, 9))[7:]
    assert last["errors"][0]["extensions"]["code"] == "source-removed"
    assert complete == "complete"
    assert await page.evaluate("source.readyState") == 2
    watched.assert_clean("Failed to load resource: net::ERR_")


async def test_a_page_of_ours_is_let_in_by_its_cookie_and_no_other(
    trusting: Port,  # noqa: F811
    foreign: Foreign,  # noqa: F811
    browser: Browser,  # noqa: F811
) -> None:
    page = await with_cookie(browser, trusting)
    await page.evaluate(OPEN, [trusting.url, FEED, False])
    assert (await told(page, 1))[0]["data"]["items_changes"]["phase"] == "snapshot"
    for place in (foreign.listed, foreign.other):
        await page.goto(place)
        await page.evaluate(OPEN, [trusting.url, FEED, True])
        assert await told(page, 1) == ["closed"]
        async with stream(trusting, FEED, headers={"origin": place, "cookie": "session=x"}) as source:
            assert source.status == 403
            assert json.loads(await source.body())["errors"][0]["extensions"]["code"] in (
                "preflight-required",
                "origin-not-allowed",
            )

"""The pages a person sees, in a real browser: /demo and GraphiQL. Screenshots are kept in pytest's tmp_path."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",  # CI runs as root, and opens its own pages only
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 20_000


class Watched:
    """A page, and what it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def assert_clean(self, *expected: str) -> None:
        """``expected``: how complaints begin that belong to what was done."""
        outside = [
            url
            for url in self.requests
            if urlsplit(url).scheme not in {"data", "blob"} and urlsplit(url).hostname != "127.0.0.1"
        ]
        assert not outside, "requests beyond this machine"
        unexpected = [said for said in self.errors if not said.startswith(expected)]
        assert not unexpected, "errors in the page"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: run `make test-e2e` as root, or set CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def watched(browser: Browser) -> AsyncIterator[Watched]:
    page = await browser.new_page(viewport={"width": 1360, "height": 900}, color_scheme="light")
    page.set_default_timeout(WAIT_MS)
    yield Watched(page)
    await page.close()


async def test_the_demo_page_is_live(demo_server, watched, tmp_path):
    page = watched.page
    await page.goto(f"{demo_server.url}/demo")
    rows = page.locator("#positions tr")
    await expect(rows).to_have_count(20, timeout=WAIT_MS)
    await expect(page.locator("#status")).to_have_attribute("data-state", "live")
    # Cells change and flash: the class is set with a new value only, never with the first.
    await page.wait_for_selector("#positions td.flash-up")
    await page.wait_for_selector("#positions td.flash-down")
    await page.wait_for_selector("#ticker li")
    await page.wait_for_selector("#chart canvas")
    await expect(page.locator("#positions-error")).to_be_hidden()
    await expect(page.locator("#trades-error")).to_be_hidden()
    await page.screenshot(path=tmp_path / "demo-light.png", full_page=True)

    await page.fill("#filter", "nova sprk")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0).locator("td").first).to_have_text("NOVA")
    await expect(page.locator("#positions-query")).to_contain_text('"_in":["NOVA","SPRK"]')
    await rows.nth(1).click()
    await expect(page.locator("#chart-symbol")).to_have_text("SPRK")

    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 420, "height": 900})
    await page.screenshot(path=tmp_path / "demo-dark-narrow.png", full_page=True)
    watched.assert_clean()


async def test_one_update_by_hand_changes_the_page(demo_server, watched):
    page = watched.page
    await page.goto(f"{demo_server.url}/demo")
    first = page.locator("#positions tr[data-instrument='1'] td").first
    await expect(first).to_have_text("ALDR", timeout=WAIT_MS)
    async with await psycopg.AsyncConnection.connect(
        demo_server.database_url, autocommit=True, connect_timeout=10
    ) as connection:
        await connection.execute("UPDATE positions SET symbol = 'HELLO' WHERE instrument_id = 1")
        try:
            await expect(first).to_have_text("HELLO")
        finally:
            await connection.execute("UPDATE positions SET symbol = 'ALDR' WHERE instrument_id = 1")
        await expect(first).to_have_text("ALDR")
    watched.assert_clean()


async def test_the_page_survives_a_lost_connection(demo_server, watched):
    page = watched.page
    await page.add_init_script(
        "const Real = WebSocket; window.sockets = [];"
        "window.WebSocket = class extends Real { constructor(...a) { super(...a); window.sockets.push(this); } };"
    )
    await page.goto(f"{demo_server.url}/demo")
    await page.wait_for_selector("#ticker li")
    async with page.expect_websocket():  # the page's own reconnection
        await page.evaluate("window.sockets.at(-1).close()")
    await expect(page.locator("#status")).to_have_attribute("data-state", "live")
    await page.evaluate(
        "document.querySelectorAll('#positions td').forEach(c => c.classList.remove('flash-up', 'flash-down'))"
    )
    await page.wait_for_selector("#positions td.flash-up, #positions td.flash-down")
    await expect(page.locator("#trades-error")).to_be_hidden()


async def test_graphiql_loads_from_here_alone_and_runs_a_query(demo_server, watched, tmp_path):
    page = watched.page
    # the first example keeps its name: GraphiQL learns another one only after a pause
    query = "query Winners { instruments(order_by: {symbol: asc}, limit: 1) { symbol name } }"
    await page.goto(demo_server.graphql)
    run = page.locator(".graphiql-execute-button, button[aria-label*='Execute']").first
    await run.wait_for()
    await page.locator(".graphiql-editors .view-line").first.click()
    await page.keyboard.press("Control+A")
    await page.keyboard.press("Delete")
    await page.keyboard.insert_text(query)
    await run.click()
    await expect(page.locator(".result-window, .graphiql-response").first).to_contain_text("Alder Timber")
    await page.screenshot(path=tmp_path / "graphiql.png")
    watched.assert_clean()

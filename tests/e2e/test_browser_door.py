"""What a real browser makes of the door: GraphiQL with credentials, pages of other origins, frames and scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.auth.tokens import SECRET, token
from tests.certificates import Authority
from tests.e2e.test_browser import CHROMIUM, FLAGS, WAIT_MS, Watched
from tests.transports.test_port import ITEMS, Port, serving
from tycostream.testing.scripted import ScriptedEngine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ADMIN = "the secret of the admin"
ROLES: Any = {"x-hasura-default-role": "admin", "x-hasura-allowed-roles": ["admin"]}
SERVER = """
databases: {{main: {{url: host=scripted}}}}
sources: {{items: {{}}}}
server: {{port: 0, cors: {{origins: ["{page}"], credentials: {credentials}}}{more}}}
auth:
  admin_secrets: {admin}
  jwt: [{{type: HS256, key: "{key}", header: {{type: Cookie, name: session}}}}]
"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: run `make test-e2e` as root, or set CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        await browser.close()


@dataclass
class Foreign:
    """A server of other pages, under two names: two origins, of which one is listed."""

    port: int

    @property
    def listed(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def other(self) -> str:
        return f"http://localhost:{self.port}"


@pytest.fixture
async def foreign() -> AsyncIterator[Foreign]:
    async def empty(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/", empty)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Foreign(runner.addresses[0][1])
    await runner.cleanup()


async def _served(
    monkeypatch: pytest.MonkeyPatch, foreign: Foreign, *, credentials: bool = False, more: str = ""
) -> AsyncIterator[Port]:
    engine = ScriptedEngine([ITEMS])
    engine.tables["items"] = [(n, f"name {n}") for n in range(3)]
    text = SERVER.format(
        page=foreign.listed, credentials=str(credentials).lower(), admin=ADMIN, key=SECRET, more=more
    )
    async with serving(engine, monkeypatch, text) as port:
        yield port


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch, foreign: Foreign) -> AsyncIterator[Port]:
    async for port in _served(monkeypatch, foreign):
        yield port


@pytest.fixture
async def trusting(monkeypatch: pytest.MonkeyPatch, foreign: Foreign) -> AsyncIterator[Port]:
    async for port in _served(monkeypatch, foreign, credentials=True):
        yield port


@pytest.fixture
async def secured(monkeypatch: pytest.MonkeyPatch, foreign: Foreign, tmp_path: Path) -> AsyncIterator[Port]:
    file = Authority(tmp_path, "ours").certificate("127.0.0.1")
    async for port in _served(monkeypatch, foreign, more=f", tls: {{cert: {file}, key: {file}}}"):
        yield port


# GraphiQL

REFUSED = (  # what the browser and GraphiQL write for what was refused, and nothing of a policy that was broken
    "Failed to load resource: the server responded with a status of 401 (Unauthorized)",
    'Socket closed with event 4403 Forbidden: invalid "x-hasura-admin-secret"',
)


async def write(page: Page, editor: str, text: str) -> None:
    # at its beginning: as long as the page is being laid out, the toolbar may lie over the middle of a line
    await page.locator(f"{editor} .view-line").filter(visible=True).first.click(position={"x": 2, "y": 2})
    await page.keyboard.press("Control+A")
    await page.keyboard.press("Delete")
    await page.keyboard.insert_text(text)


async def graphiql_with_credentials(page: Page, port: Port, shots: Path) -> None:
    await page.goto(f"{port.url}/graphql")
    run = page.locator(".graphiql-execute-button, button[aria-label*='Execute']").first
    await run.wait_for()
    response = page.locator(".result-window, .graphiql-response").first
    editor = ".graphiql-query-editor"
    await write(page, editor, "{ items(limit: 1) { name } }")
    await run.click()
    await expect(response).to_contain_text("Missing 'Authorization' or 'Cookie' header")
    await page.screenshot(path=shots / "graphiql-refused.png")

    await page.get_by_role("button", name="Headers").click()
    await write(page, ".graphiql-editor-tool", f'{{"X-Hasura-Admin-Secret": "{ADMIN}"}}')
    await run.click()
    await expect(response).to_contain_text("name 0")

    await write(page, editor, "subscription { items(where: {id: {_eq: 1}}) { name } }")
    await run.click()
    await expect(response).to_contain_text("name 1")
    port.engine.commit({"items": [((1, "name 1"), (1, "renamed"))]})
    await expect(response).to_contain_text("renamed")
    await page.screenshot(path=shots / "graphiql-live.png")
    await run.click()  # stop
    await page.get_by_label("Re-fetch GraphQL schema").click()
    await page.get_by_label("Show Documentation Explorer").click()
    await expect(page.locator(".graphiql-doc-explorer")).to_contain_text("query_root")
    await page.screenshot(path=shots / "graphiql-schema.png")
    await page.get_by_label("Hide Documentation Explorer").click()

    await write(page, ".graphiql-editor-tool", '{"X-Hasura-Admin-Secret": "a secret that is wrong"}')
    await run.click()
    await expect(response).to_contain_text("Forbidden")
    await page.screenshot(path=shots / "graphiql-wrong-secret.png")


async def test_graphiql_shows_credentials_over_both(port: Port, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 1360, "height": 900})
    page.set_default_timeout(WAIT_MS)
    watched = Watched(page)
    await graphiql_with_credentials(page, port, tmp_path)
    watched.assert_clean(*REFUSED)


async def test_graphiql_over_tls(secured: Port, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page(viewport={"width": 1360, "height": 900}, ignore_https_errors=True)
    page.set_default_timeout(WAIT_MS)
    watched = Watched(page)
    await graphiql_with_credentials(page, secured, tmp_path)
    watched.assert_clean(*REFUSED)


async def test_scripts_and_frames_that_are_not_ours_do_not_run(
    port: Port, foreign: Foreign, browser: Browser
) -> None:
    page = await browser.new_page()
    await page.goto(f"{port.url}/graphql")
    blocked = await page.evaluate(
        """() => new Promise((done) => {
            addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
            const script = document.createElement('script');
            script.textContent = 'window.injected = true';
            document.body.append(script);
        })"""
    )
    assert blocked == "script-src-elem"
    assert await page.evaluate("window.injected") is None
    await page.goto(foreign.listed)
    frame = await page.evaluate_handle(
        """async (url) => {
            const frame = document.createElement('iframe');
            await new Promise((done) => { frame.onload = done; frame.src = url; document.body.append(frame); });
            return frame;
        }""",
        f"{port.url}/graphql",
    )
    inside = await frame.as_element().content_frame()  # type: ignore[union-attr]
    assert inside is not None
    assert inside.url.startswith("chrome-error://")


# pages of other origins: what JavaScript there can do

ASK = """async ([url, headers, credentials]) => {
    try {
        const answer = await fetch(url + '/graphql', {
            method: 'POST', credentials, headers: {'content-type': 'application/json', ...headers},
            body: JSON.stringify({query: '{items_by_pk(id: 1) {name}}'}),
        });
        return await answer.json();
    } catch (problem) { return problem.name; }
}"""
GREET = """([url, payload]) => new Promise((done) => {
    const socket = new WebSocket(url.replace('http', 'ws') + '/graphql', 'graphql-transport-ws');
    socket.onopen = () => socket.send(JSON.stringify({type: 'connection_init', payload}));
    socket.onmessage = (message) => done(JSON.parse(message.data).type);
    socket.onclose = (event) => done(event.code);
})"""
ROW = {"data": {"items_by_pk": {"name": "name 1"}}}
SECRET_HEADER = {"X-Hasura-Admin-Secret": ADMIN}


async def with_cookie(browser: Browser, port: Port) -> Page:
    """A page of a browser that has been let in to the server by a cookie."""
    context = await browser.new_context()
    namespace: Any = {"https://hasura.io/jwt/claims": ROLES}
    await context.add_cookies([{"name": "session", "value": token(**namespace), "url": port.url}])
    page = await context.new_page()
    await page.goto(f"{port.url}/graphql")
    assert await page.evaluate(ASK, [port.url, {}, "same-origin"]) == ROW, "a page of ours is let in by it"
    assert await page.evaluate(GREET, [port.url, {}]) == "connection_ack"
    return page


async def test_a_listed_page_asks_with_headers_but_not_with_cookies(
    port: Port, foreign: Foreign, browser: Browser
) -> None:
    page = await with_cookie(browser, port)
    await page.goto(foreign.listed)
    assert await page.evaluate(ASK, [port.url, SECRET_HEADER, "same-origin"]) == ROW
    assert await page.evaluate(ASK, [port.url, {}, "include"]) == "TypeError"  # the browser keeps the answer
    assert await page.evaluate(ASK, [port.url, {"X-Other": "1"}, "omit"]) == "TypeError"  # no such header
    assert await page.evaluate(GREET, [port.url, SECRET_HEADER]) == "connection_ack"
    assert await page.evaluate(GREET, [port.url, {}]) == 4403, "the cookie came along, and is not looked at"


async def test_a_listed_page_asks_with_cookies_where_it_may(
    trusting: Port, foreign: Foreign, browser: Browser
) -> None:
    page = await with_cookie(browser, trusting)
    await page.goto(foreign.listed)
    assert await page.evaluate(ASK, [trusting.url, {}, "include"]) == ROW
    assert await page.evaluate(GREET, [trusting.url, {}]) == "connection_ack"


async def test_another_page_can_do_nothing(trusting: Port, foreign: Foreign, browser: Browser) -> None:
    page = await with_cookie(browser, trusting)
    await page.goto(foreign.other)
    for credentials in ("include", "omit"):
        assert await page.evaluate(ASK, [trusting.url, SECRET_HEADER, credentials]) == "TypeError"
    assert await page.evaluate(GREET, [trusting.url, SECRET_HEADER]) == 1006
    before = len(trusting.events)
    loaded = await page.evaluate(
        """(url) => new Promise((done) => {
            const script = document.createElement('script');
            script.onload = () => done('loaded');
            script.onerror = () => done('refused');
            script.src = url;
            document.body.append(script);
        })""",
        f"{trusting.url}/graphql?query={{items{{id}}}}",
    )
    assert loaded == "refused"
    refused = [event.code for event in trusting.events[before:] if type(event).__name__ == "RequestRefused"]  # type: ignore[union-attr]
    assert refused == ["origin-not-allowed"]

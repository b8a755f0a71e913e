"""Which pages a browser lets have a stream of events, and with whose credentials."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.transports.event_source import stream
from tests.transports.test_cookies import COOKIE, port, trusting  # noqa: F401 - fixtures
from tests.transports.test_port import Port

LIVE = "subscription {items {id}}"
PAGE = "https://app.example"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, None),  # what a browser says of a page of ours
        ({"GraphQL-Require-Preflight": "1"}, None),
        ({}, "preflight-required"),
        ({"Sec-Fetch-Site": "same-site", "Origin": PAGE}, "preflight-required"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": PAGE}, "preflight-required"),
        ({"Sec-Fetch-Site": "cross-site"}, "origin-not-allowed"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, "origin-not-allowed"),
    ],
)
async def test_a_cookie_lets_in_pages_of_ours_alone(
    trusting: Port,  # noqa: F811
    headers: dict[str, str],
    code: str | None,
) -> None:
    async with stream(trusting, LIVE, headers={**COOKIE, **headers}) as source:
        if code is None:
            assert len((await source.next())["data"]["items"]) == 3
        else:
            assert source.status == 403
            [error] = json.loads(await source.body())["errors"]
            assert error["extensions"]["code"] == code


async def test_a_page_whose_cookies_do_not_count_comes_as_nobody(port: Port) -> None:  # noqa: F811
    async with stream(port, LIVE, headers={**COOKIE, "Origin": PAGE}) as source:
        assert source.status == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_that_is_listed_may_read_it(trusting: Port, method: str) -> None:  # noqa: F811
    headers: Any = {**COOKIE, "Origin": PAGE, "GraphQL-Require-Preflight": "1"}
    async with stream(trusting, LIVE, method=method, headers=headers) as source:
        assert source.headers["access-control-allow-origin"] == PAGE
        assert source.headers["access-control-allow-credentials"] == "true"
        assert source.headers["vary"] == "Origin"
        assert source.headers["x-content-type-options"] == "nosniff"
        assert len((await source.next())["data"]["items"]) == 3


async def test_a_page_may_send_the_last_id_itself(trusting: Port) -> None:  # noqa: F811
    headers = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,last-event-id",
    }
    async with httpx2.AsyncClient() as client:
        answer = await client.options(f"{trusting.url}/graphql", headers=headers)
    assert answer.headers["access-control-allow-headers"] == "content-type, last-event-id"

"""Which pages may talk to a server."""

from __future__ import annotations

import pytest

from tycostream.config.door import CorsConfig
from tycostream.config.model import ServerConfig
from tycostream.transports.origin import Verdict, allowed_headers, foreign_and_unnamed, judge, unasked

CORS = CorsConfig(origins=("http://app.example", "https://*.example.com"))


def verdict(
    host: str | None,
    origin: str | None,
    bound_to: str = "127.0.0.1",
    cors: CorsConfig = CORS,
    *,
    secure: bool = False,
    proxied: bool = False,
) -> Verdict:
    server = ServerConfig(host=bound_to, cors=cors)
    hosts, origins = ([] if value is None else [value] for value in (host, origin))
    return judge(hosts, origins, server, secure=secure, proxied=proxied)


@pytest.mark.parametrize(
    ("host", "origin", "bound_to", "allowed"),
    [
        ("127.0.0.1:4000", None, "127.0.0.1", True),
        ("localhost:4000", "http://localhost:4000", "127.0.0.1", True),
        ("LOCALHOST:4000", "http://localhost:4000", "127.0.0.1", True),
        ("[::1]:4000", "http://[::1]:4000", "::1", True),
        ("localhost:4000", "http://evil.example", "127.0.0.1", False),
        ("localhost:4000", "http://localhost:3000", "127.0.0.1", False),
        ("localhost:4000", "null", "127.0.0.1", False),
        ("localhost:4000", "", "127.0.0.1", False),
        ("evil.example:4000", "http://evil.example:4000", "127.0.0.1", False),  # DNS rebinding
        ("evil.example:4000", None, "127.0.0.1", False),
        ("localhost:4000@evil.example", None, "127.0.0.1", False),
        ("evil.example@localhost:4000", None, "127.0.0.1", False),
        (None, None, "127.0.0.1", False),
        (None, "http://none", "0.0.0.0", False),
        ("", "http://", "0.0.0.0", False),
        ("api.example", None, "0.0.0.0", True),
        ("api.example", "https://api.example", "0.0.0.0", True),
        ("api.example:443", "https://api.example", "0.0.0.0", True),
        ("api.example", "https://api.example:8443", "0.0.0.0", False),
        ("api.example", "https://other.example", "0.0.0.0", False),
        ("api.example", "ftp://api.example", "0.0.0.0", False),
        ("localhost:4000", "http://app.example", "127.0.0.1", True),
        ("localhost:4000", "https://a.example.com", "127.0.0.1", True),
        ("localhost:4000", "https://a.b.example.com", "127.0.0.1", False),
    ],
)
def test_refusal(host: str | None, origin: str | None, bound_to: str, allowed: bool) -> None:
    assert (verdict(host, origin, bound_to).refusal is None) is allowed


def test_a_foreign_page_may_read_but_its_cookies_do_not_count_unless_it_is_said() -> None:
    assert verdict("api.example", "http://app.example", "0.0.0.0") == Verdict(
        origin="http://app.example", cookies=False
    )
    trusted = CORS.model_copy(update={"credentials": True})
    assert verdict("api.example", "http://app.example", "0.0.0.0", trusted).cookies
    assert verdict("api.example", "https://evil.example", "0.0.0.0", CorsConfig(origins=("*",))) == Verdict(
        origin="https://evil.example", cookies=False
    )


def test_a_page_of_ours_needs_no_permission_even_if_it_is_listed() -> None:
    assert verdict("app.example", "http://app.example", "0.0.0.0") == Verdict()


def test_over_tls_a_page_without_it_is_foreign() -> None:
    assert verdict("api.example", "http://api.example", "0.0.0.0", secure=True).refusal is not None
    assert verdict("api.example", "https://api.example", "0.0.0.0", secure=True).refusal is None


def test_a_trusted_proxy_may_call_a_server_on_loopback_by_another_name() -> None:
    assert verdict("api.example", None, proxied=True).refusal is None
    assert verdict("api.example", "https://api.example", proxied=True).refusal is None
    assert verdict("api.example", "https://evil.example", proxied=True).refusal is not None


def test_what_is_there_twice_is_refused() -> None:
    server = ServerConfig()
    twice = judge(["localhost", "localhost"], [], server, secure=False, proxied=False)
    assert twice.refusal == "the Host header is there 2 times"
    origins = ["http://app.example", "http://localhost"]
    assert judge(["localhost"], origins, server, secure=False, proxied=False).refusal == (
        "the Origin header is there 2 times"
    )


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("authorization, content-type", ["authorization", "content-type"]),
        ("X-Hasura-Role,x-hasura-", ["x-hasura-role", "x-hasura-"]),
        ("x-evil, x-hasura-user-id", ["x-hasura-user-id"]),
        ("", []),
        (",,", []),
    ],
)
def test_headers_that_a_page_may_send(requested: str, expected: list[str]) -> None:
    assert allowed_headers(requested, CORS) == expected
    assert allowed_headers("x-any", CorsConfig(headers=("*",))) == ["x-any"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({"Cookie": "session=x", "User-Agent": "y", "X-Forwarded-For": "1.1.1.1"}, True),
        ({"X-Requested-With": "com.example.app"}, True),  # some browsers inside apps send it by themselves
        ({"Content-Type": "text/plain; x=application/json"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Content-Type": "application/json"}, False),
        ({"Authorization": "Bearer x"}, False),
        ({"X-Hasura-Role": "user"}, False),
        ({"GraphQL-Require-Preflight": "1"}, False),
        ({"Apollo-Require-Preflight": "true"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
    ],
)
def test_what_a_browser_sends_unasked(headers: dict[str, str], expected: bool) -> None:
    assert unasked(headers.items()) is expected


@pytest.mark.parametrize(
    ("origin", "site", "expected"),
    [
        (None, None, False),
        (None, "none", False),
        (None, "same-origin", False),
        (None, "cross-site", True),
        (None, "same-site", True),
        ("https://app.example", "cross-site", False),  # told by its origin
    ],
)
def test_pages_that_do_not_say_who_they_are(origin: str | None, site: str | None, expected: bool) -> None:
    assert foreign_and_unnamed(origin, site) is expected

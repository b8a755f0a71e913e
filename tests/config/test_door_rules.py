"""Mistakes in what lets requests in, and the short forms."""

from __future__ import annotations

import pytest

from tycostream.config.door import CorsConfig, ForwardedHeader
from tycostream.config.load import loads
from tycostream.config.origins import Origin, matches, parse_origin
from tycostream.errors import ConfigError

TEXT = "databases: {main: {url: host=x}}\nsources: {a: {}}\nserver: "


def problems(server: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(TEXT + server, "t.yaml", {})
    return [str(problem).partition(" server.")[2] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (
            "{cors: {origins: ['*'], credentials: true}}",
            "cors.origins[0]: is every page, and with credentials any page could use the cookies of who looks at it; "
            "name the origins",
        ),
        (
            "{cors: ['*']}",
            "cors.origins[0]: is every page, and nobody is asked who he is: any page that somebody looks at could "
            "read every source; name the origins",
        ),
        (
            "{cors: ['null']}",
            "cors.origins[0]: 'null' is the origin of any page that hides its own; name the page's",
        ),
        ("{cors: ['https://bücher.example']}", "is not written as browsers send it: xn--…"),
        (
            "{cors: [app.example]}",
            "cors.origins[0]: 'app.example' is no origin: scheme://host, and :port where it",
        ),
        (
            "{cors: ['https://a.example/']}",
            "is more than an origin: scheme://host, without path, user or query",
        ),
        ("{cors: ['https://u@a.example']}", "is more than an origin"),
        ("{cors: ['https://a.example:']}", "is more than an origin"),
        ("{cors: ['https://a.example:x']}", "'https://a.example:x' "),
        ("{cors: ['https://[']}", "'https://[' "),
        ("{cors: ['https://*']}", "has a * where none can be"),
        (
            "{cors: ['https://*.com']}",
            "stands for domains that are not one owner's; write https://*.example.com",
        ),
        (
            "{cors: ['https://a.*.example.com']}",
            "has a * where none can be: https://*.example.com stands for the",
        ),
        ("{cors: ['https://*.*.example.com']}", "has a * where none can be"),
        ("{cors: ['https://x*.example.com']}", "has a * where none can be"),
        ("{cors: {headers: ['a b']}}", "cors.headers[0]: 'a b' is no name of a header"),
        ("{cors: {headers: ['X-*-Y']}}", "cors.headers[0]: 'X-*-Y' is no name of a header"),
        (
            "{cors: {methods: [get]}}",
            "cors.methods[0]: must be one of GET, HEAD, POST, PUT, PATCH, DELETE, not 'get'",
        ),
        ("{cors: {methods: [CONNECT]}}", "cors.methods[0]: must be one of"),
        (
            "{trusted_proxies: [10.0.0.0/33], insecure_public: true}",
            "trusted_proxies[0]: '10.0.0.0/33' is no address and no network; write 10.0.0.7, 10.0.0.0/8 or fd00::/8",
        ),
        (
            "{trusted_proxies: [10.0.0.7/8], insecure_public: true}",
            "trusted_proxies[0]: '10.0.0.7/8' has bits beyond its mask",
        ),
        (
            "{trusted_proxies: ['::/0'], insecure_public: true}",
            "trusted_proxies[0]: '::/0' is everybody, so anybody could say who he is; name your proxies",
        ),
        (
            "{trusted_proxies: ['::ffff:10.0.0.0/104'], insecure_public: true}",
            "trusted_proxies[0]: '::ffff:10.0.0.0/104' is IPv4 within IPv6; write it as IPv4",
        ),
        (
            "{trusted_proxies: 127.0.0.1}",
            "trusted_proxies: a proxy lets others in than those on this machine, and nobody is asked who he is: "
            "anybody could read every source; remove it, or set server.insecure_public: true to allow it",
        ),
        (
            "{forwarded_header: X-Real-IP}",
            "forwarded_header: must be one of X-Forwarded-For, Forwarded, not 'X-Real-IP'",
        ),
    ],
)
def test_mistakes(server: str, expected: str) -> None:
    (found,) = problems(server)
    assert expected in found


def test_what_is_allowed() -> None:
    server = loads(
        TEXT
        + "{insecure_public: true, cors: '*', trusted_proxies: [10.0.0.7, 'fd00::/8'], forwarded_header: Forwarded}",
        environ={},
    ).server
    assert server.cors == CorsConfig(origins=("*",))
    assert server.forwarded_header is ForwardedHeader.FORWARDED
    written = "['https://app.example.com', 'http://localhost:3000', 'capacitor://localhost', 'https://*.example.com:8443']"
    for form in (written, f"{{origins: {written}}}"):
        assert len(loads(f"{TEXT}{{cors: {form}}}", environ={}).server.cors.origins) == 4


@pytest.mark.parametrize(
    ("pattern", "origin", "expected"),
    [
        ("https://app.example.com", "https://app.example.com", True),
        ("https://app.example.com:443", "https://app.example.com", True),
        ("https://App.Example.com", "https://app.example.com", True),
        ("https://app.example.com", "http://app.example.com", False),
        ("https://app.example.com", "https://app.example.com:8443", False),
        ("https://app.example.com", "https://app.example.com.evil.example", False),
        ("https://app.example.com", "https://evilapp.example.com", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://a.b.example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://a.example.com.evil.example", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
        ("*", "https://anything.example", True),
    ],
)
def test_patterns(pattern: str, origin: str, expected: bool) -> None:
    assert matches(pattern, parse_origin(origin)) is expected


def test_origins_are_parsed() -> None:
    assert parse_origin("http://[::1]:80") == Origin("http", "::1", 80) == parse_origin("http://[::1]")
    for text in (
        "null",
        "",
        "//a",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://a b",
        "a\n",
    ):
        with pytest.raises(ValueError, match=r"^is "):
            parse_origin(text)

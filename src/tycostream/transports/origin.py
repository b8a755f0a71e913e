"""Which web pages may talk to this server: one policy for HTTP and for WebSockets.

A browser lets any page send requests anywhere, with the cookies of who looks at it, and open a WebSocket to 127.0.0.1
(cross-site hijacking); and a foreign name can be made to resolve there (DNS rebinding). The first is told by the Origin
header, the second by Host. A page that may come but not with cookies is one whose cookies are not looked at: the
browser sends them with a WebSocket whatever we say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tycostream.config.door import CorsConfig
from tycostream.config.loopback import is_loopback
from tycostream.config.model import ServerConfig
from tycostream.config.origins import Origin, matches, parse_origin

# What no page can have a browser send without asking first (a preflight). Content-Type is looked at by its value.
_FORCING: Final = (
    "authorization",
    "graphql-require-preflight",
    "apollo-require-preflight",
    "x-apollo-operation-name",
)
_FORCING_PREFIX: Final = "x-hasura-"
_SIMPLE_TYPES: Final = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the origin of a request means for it."""

    refusal: str | None = None
    """Why it is refused; None: it may go on."""

    origin: str | None = None
    """The foreign origin whose pages may read the answer."""

    cookies: bool = True
    """Whether its cookies may say who it is."""


def judge(
    hosts: Sequence[str], origins: Sequence[str], server: ServerConfig, *, secure: bool, proxied: bool
) -> Verdict:
    """What the Host and Origin headers mean, of which there should be one each. ``secure``: it came over TLS of ours;
    ``proxied``: see Caller."""
    for name, values in (("Host", hosts), ("Origin", origins)):
        if len(values) > 1:  # which one a proxy before us meant is a guess
            return Verdict(f"the {name} header is there {len(values)} times")
    host, origin = (values[0] if values else None for values in (hosts, origins))
    if origin is not None and _allowed(origin, server.cors):
        if _same(origin, host, secure=secure):
            return Verdict()
        return Verdict(origin=origin, cookies=server.cors.credentials)
    called = _host_name(host)
    if called is None:
        return Verdict("the Host header is malformed")
    if is_loopback(server.host) and not proxied and not is_loopback(called):
        return Verdict(f"the Host header names {called[:80]!r}, but this server is bound to loopback")
    if origin is None or _same(origin, host, secure=secure):
        return Verdict()  # no browser, or a page of ours
    return Verdict(f"pages of {origin[:80]!r} may not use this server; server.cors can allow them")


def _host_name(host: str | None) -> str | None:
    try:
        parts = urlsplit(f"//{host or ''}")
        return None if "@" in parts.netloc or parts.path or parts.query else parts.hostname or ""
    except ValueError:  # an open bracket, say
        return None


def _parsed(origin: str) -> Origin | None:
    try:
        return parse_origin(origin)
    except ValueError:
        return None


def _allowed(origin: str, cors: CorsConfig) -> bool:
    parsed = _parsed(origin) if cors.origins else None
    return parsed is not None and any(matches(pattern, parsed) for pattern in cors.origins)


def _same(origin: str, host: str | None, *, secure: bool) -> bool:
    """Whether a page is of this server: under the same name. Without TLS of ours a proxy may have had it, or not."""
    page = _parsed(origin)
    if host is None or page is None or page.scheme not in (("https",) if secure else ("https", "http")):
        return False
    return page == _parsed(f"{page.scheme}://{host}")


def allowed_headers(requested: str, cors: CorsConfig) -> list[str]:
    """Of the headers that a page wants to send (Access-Control-Request-Headers) those that it may."""
    names = [name.strip().lower() for name in requested.split(",")]
    patterns = [pattern.lower() for pattern in cors.headers]
    return [name for name in names if name and any(_fits(name, pattern) for pattern in patterns)]


def _fits(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def foreign_and_unnamed(origin: str | None, site: str | None) -> bool:
    """Whether a page of another site has a browser ask without saying which: an image's address, a link, a form.
    ``site``: Sec-Fetch-Site, which no page can write.
    """
    return origin is None and site not in (None, "same-origin", "none")


def unasked(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether any page could have a browser send a GET with these headers, without a preflight that it may not."""
    for name, value in headers:
        key = name.lower()
        if key in _FORCING or key.startswith(_FORCING_PREFIX):
            return False
        if key == "content-type" and value.partition(";")[0].strip().lower() not in _SIMPLE_TYPES:
            return False
        if key == "sec-fetch-site" and value in ("same-origin", "none"):
            return False
    return True

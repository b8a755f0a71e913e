"""Who may talk to a server that asks for no password: only pages of its own origin, only under its own name.

A browser lets any page open a WebSocket to 127.0.0.1 (cross-site hijacking), and a foreign name can be made to
resolve to it (DNS rebinding). The first is told by the Origin header, the second by Host.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from tycostream.config.loopback import is_loopback


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # an open bracket, say
        return None


def refusal(
    host_header: str | None, origin: str | None, *, bound_to: str, allowed_origins: Collection[str] = ()
) -> str | None:
    """Why a request must be refused; None if it may go on. ``bound_to`` is the address the server listens on."""
    if origin is not None and origin in allowed_origins:
        return None
    name = _host_name(f"//{host_header or ''}")
    if name is None:
        return "the Host header is malformed"
    if is_loopback(bound_to) and not is_loopback(name):
        return f"the Host header names {name[:80]!r}, but this server is bound to loopback"
    if origin is None:
        return None  # no browser, or a page of ours
    if _host_name(origin) is None or urlsplit(origin).netloc.lower() != (host_header or "").lower():
        return f"pages of {origin[:80]!r} may not use this server; server.allowed_origins can allow them"
    return None

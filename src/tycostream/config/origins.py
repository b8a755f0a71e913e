"""Origins of web pages: what a browser sends in ``Origin``, and the patterns that the configuration has for them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ANY_LABEL: Final = "*."


@dataclass(frozen=True, slots=True)
class Origin:
    """A page's scheme, host and port; two are the same if all three are."""

    scheme: str
    host: str
    port: int | None


def parse_origin(text: str) -> Origin:
    """An origin as a browser writes it; ValueError if it is none. ``null``, which any page can be, is none."""
    parts = urlsplit(text)
    scheme, host = parts.scheme.lower(), parts.hostname
    if not host or not scheme or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("is no origin: scheme://host, and :port where it is not the usual one")
    # a path, a user or an empty port would be silently left out of the comparison
    if text.lower() != f"{scheme}://{parts.netloc.lower()}" or "@" in parts.netloc or parts.netloc[-1] == ":":
        raise ValueError("is more than an origin: scheme://host, without path, user or query")
    return Origin(scheme, host, parts.port or _PORTS.get(scheme))


def is_pattern(text: str) -> bool:
    """Whether it stands for subdomains."""
    return _ANY_LABEL in text


def matches(pattern: str, origin: Origin) -> bool:
    """Whether an entry of ``cors.origins`` lets an origin in. ``*.`` is one label, as in a certificate."""
    if pattern == "*":
        return True
    allowed = _pattern(pattern)
    if not allowed.host.startswith(_ANY_LABEL):
        return allowed == origin
    label, dot, rest = origin.host.partition(".")
    same = (allowed.scheme, allowed.port) == (origin.scheme, origin.port)
    return bool(label and dot) and same and rest == allowed.host.removeprefix(_ANY_LABEL)


@functools.lru_cache(maxsize=256)
def _pattern(text: str) -> Origin:
    """One of the configuration's: looked at for every request of a page."""
    return parse_origin(text)

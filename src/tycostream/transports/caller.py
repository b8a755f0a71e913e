"""Whose address a request has: the peer's, or what proxies that are trusted say of whom they ask for.

Each proxy adds the address that it was asked from at the right end of a header. Whatever stands further left than the
last proxy of ours was written by whoever sent it, and may be anything. So it is read from the right, through trusted
addresses only, and the first that is not trusted is the client. Nothing else of the header is believed.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tycostream.config.door import ForwardedHeader
from tycostream.config.model import ServerConfig

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::\d{1,5})?")
_WITH_PORT: Final = re.compile(r"([^:]*):\d{1,5}")
_FOR: Final = re.compile(r'(?:^|;)\s*for=("[^"\\]*"|[^;"\s]*)\s*(?=;|$)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as addresses tell."""

    ip: str
    """An IP address in its shortest form, IPv4 where it is one; "" if the peer has none."""

    proxied: bool
    """Whether a trusted proxy asks for somebody, or for itself."""


def caller(peer: str | None, headers: Iterable[tuple[str, str]], server: ServerConfig) -> Caller:
    """Who asks. ``peer``: the address at the other end of the socket; ``headers``: the request's, in their order."""
    here = _parsed(peer or "")
    networks = _networks(server.trusted_proxies)
    if here is None or not _within(here, networks):
        return Caller(str(here or ""), proxied=False)
    name = server.forwarded_header.value.lower()
    lines = [value for key, value in headers if key.lower() == name]
    hops = _forwarded(lines) if server.forwarded_header is ForwardedHeader.FORWARDED else _listed(lines)
    for text in hops:
        hop = _parsed(text)
        if (
            hop is None
        ):  # a proxy of ours that does not know, or does not tell: nobody further left is believed
            break
        here = hop
        if not _within(hop, networks):
            break
    return Caller(str(here), proxied=True)


@functools.lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> Sequence[_Network]:
    return [ipaddress.ip_network(text) for text in texts]


def _within(address: _Address, networks: Sequence[_Network]) -> bool:
    return any(address in network for network in networks)


def _parsed(text: str) -> _Address | None:
    """An address, with or without a port; None if it is none (``unknown``, ``_hidden``, ``unix:``)."""
    match = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((match[1] if match else text).partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _listed(lines: Sequence[str]) -> Iterator[str]:
    """The entries of X-Forwarded-For, from the right."""
    for line in reversed(lines):
        for entry in reversed(line.split(",")):
            yield entry.strip()


def _forwarded(lines: Sequence[str]) -> Iterator[str]:
    """The ``for`` of RFC 7239's elements, from the right; "" where there is none.

    From the right also within a line: a quote that a client leaves open must not swallow what a proxy added.
    """
    for line in reversed(lines):
        end, quoted = len(line), False
        for at in range(len(line) - 1, -2, -1):
            if at >= 0 and line[at] == '"':
                quoted = not quoted
            if at < 0 or (line[at] == "," and not quoted):
                nodes = _FOR.findall(line[at + 1 : end].strip())
                yield nodes[0].strip('"') if len(nodes) == 1 else ""
                end = at

"""Rules of what lets requests in: origins, headers and proxies of ``server:``."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, Protocol

from tycostream.config.door import CorsConfig
from tycostream.config.model import ServerConfig
from tycostream.config.origins import is_pattern, parse_origin
from tycostream.config.tree import Path

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_HEADER: Final = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]+\*?|\*")


class _Add(Protocol):
    def __call__(self, path: Path, message: str, *, key: bool = False) -> None: ...


def check_door(server: ServerConfig, add: _Add, *, authenticated: bool) -> None:
    """Note every broken rule. ``authenticated``: requests are asked who sends them."""
    open_to_all = not authenticated and not server.insecure_public
    _cors(server.cors, add, open_to_all=open_to_all)
    if server.tls is not None:
        from tycostream.config.certificate import (  # only who has one pays for cryptography
            Misfit,
            served_context,
        )

        try:
            served_context(server.tls)
        except Misfit as misfit:
            add(("server", "tls", misfit.setting), str(misfit))
    for i, text in enumerate(server.trusted_proxies):
        here: Path = ("server", "trusted_proxies", i)
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            said = "has bits beyond its mask" if "host bits" in str(error) else "is no address and no network"
            add(here, f"{text!r} {said}; write 10.0.0.7, 10.0.0.0/8 or fd00::/8")
        else:
            if network.version == 6 and network.subnet_of(_MAPPED):
                add(here, f"{text!r} is IPv4 within IPv6; write it as IPv4")
            elif network.prefixlen == 0:
                add(here, f"{text!r} is everybody, so anybody could say who he is; name your proxies")
    if server.trusted_proxies and open_to_all:
        add(
            ("server", "trusted_proxies"),
            "a proxy lets others in than those on this machine, and nobody is asked who he is: anybody could "
            "read every source; remove it, or set server.insecure_public: true to allow it",
        )


def _cors(cors: CorsConfig, add: _Add, *, open_to_all: bool) -> None:
    path: Path = ("server", "cors")
    for i, text in enumerate(cors.origins):
        here = (*path, "origins", i)
        if text == "*":
            if cors.credentials:
                said = "with credentials any page could use the cookies of who looks at it; name the origins"
                add(here, f"is every page, and {said}")
            elif open_to_all:
                said = "nobody is asked who he is: any page that somebody looks at could read every source"
                add(here, f"is every page, and {said}; name the origins")
        elif problem := _origin_problem(text):
            add(here, f"{text!r} {problem}")
    for i, header in enumerate(cors.headers):
        if not _HEADER.fullmatch(header):
            add((*path, "headers", i), f"{header!r} is no name of a header")
    for i, method in enumerate(cors.methods):
        if method not in _METHODS:
            add((*path, "methods", i), f"must be one of {', '.join(_METHODS)}, not {method!r}")


def _origin_problem(text: str) -> str:
    if not text.isascii():
        return "is not written as browsers send it: xn--…"
    if text.lower() == "null":
        return "is the origin of any page that hides its own; name the page's"
    try:
        host = parse_origin(text).host
    except ValueError as error:
        return str(error)
    rest = host.removeprefix("*.")
    if "*" in rest or (is_pattern(text) and rest == host):
        return "has a * where none can be: https://*.example.com stands for the subdomains of example.com"
    if rest != host and "." not in rest:
        return "stands for domains that are not one owner's; write https://*.example.com"
    return ""

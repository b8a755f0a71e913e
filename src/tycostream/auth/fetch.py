"""One small document from a fixed address: no redirects, bounded in bytes and time, and never from where no server is."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from tycostream.auth.keys import Fetched, FetchError
from tycostream.config.loopback import is_loopback

_BYTES_MAX: Final = 256 * 2**10
_TIMEOUT_S: Final = 5.0


def forbidden(address: str, *, loopback_only: bool) -> bool:
    """Whether nothing must be fetched from an IP address.

    Link-local ones are where clouds hand credentials to whoever asks. Private ones are where one's own issuer may well
    be: the certificate says who answers there. Without one only this machine may answer (``loopback_only``).
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return False
    return loopback_only or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved


class _Guarded(AbstractResolver):
    """Names to addresses, but to none that is forbidden: looked at where it is used, so that it cannot change between."""

    def __init__(self, *, loopback_only: bool) -> None:
        self._resolver = ThreadedResolver()
        self._loopback_only = loopback_only

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if not forbidden(one["host"], loopback_only=self._loopback_only)]
        if not allowed:
            raise OSError(errno.EACCES, f"{host} resolves to addresses from which no keys are taken")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


async def fetch(url: str, *, insecure: bool = False) -> Fetched:
    """The document at an address; FetchError says why not. ``insecure``: http:// may leave this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    loopback_only = parts.scheme != "https" and not insecure
    if _is_address(host) and forbidden(host, loopback_only=loopback_only):
        raise FetchError("no keys are taken from that address")
    if loopback_only and not is_loopback(host):
        raise FetchError("the address is not https")
    connector = aiohttp.TCPConnector(
        resolver=_Guarded(loopback_only=loopback_only), use_dns_cache=False, force_close=True, limit=1
    )
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            aiohttp.ClientSession(
                connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as client,
            client.get(
                url,
                allow_redirects=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            ) as response,
        ):
            if response.status != 200:
                redirects = " (redirects are not followed)" if 300 <= response.status < 400 else ""
                raise FetchError(f"it answered with the status {response.status}{redirects}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(16 * 2**10):
                body += chunk
                if len(body) > _BYTES_MAX:
                    raise FetchError(f"it is larger than {_BYTES_MAX} bytes")
            return Fetched(bytes(body), {name.lower(): value for name, value in response.headers.items()})
    except TimeoutError:
        raise FetchError(f"it did not answer within {_TIMEOUT_S:g} seconds") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}"[:300]) from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

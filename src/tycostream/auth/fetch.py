"""One small document from a fixed address: no redirects, bounded in bytes and time, and never from where no server is."""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import AddrInfoType
from aiohttp.resolver import ThreadedResolver

from tycostream.auth.keys import Fetched, FetchError
from tycostream.config.loopback import is_loopback

_BYTES_MAX: Final = 256 * 2**10
_TIMEOUT_S: Final = 5.0


# Where clouds hand credentials to whoever asks, beside the link-local ones: AWS, Google, Alibaba, Azure.
_METADATA: Final = tuple(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"))
)


def forbidden(address: str, *, loopback_only: bool) -> bool:
    """Whether nothing must be fetched from an IP address.

    Link-local ones are where clouds hand credentials to whoever asks. Private ones are where one's own issuer may well
    be: the certificate says who answers there. Without one only this machine may answer (``loopback_only``).
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)
    if ip.is_loopback:
        return False
    reserved = ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    return loopback_only or reserved or ip in _METADATA


def _guarded(info: AddrInfoType, *, loopback_only: bool) -> socket.socket:
    """The socket of a connection, unless it leads where it must not.

    Looked at here, where the address is the one that is used: a name may lead to another one from one moment to the next,
    and an address has more spellings than those that one thinks of.
    """
    family, kind, protocol, _, place = info
    if forbidden(str(place[0]), loopback_only=loopback_only):
        raise OSError(errno.EACCES, "no keys are taken from that address")
    return socket.socket(family, kind, protocol)


async def fetch(url: str, *, insecure: bool = False) -> Fetched:
    """The document at an address; FetchError says why not. ``insecure``: http:// may leave this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    loopback_only = parts.scheme != "https" and not insecure
    if loopback_only and not is_loopback(host):
        raise FetchError("the address is not https")
    connector = aiohttp.TCPConnector(
        resolver=ThreadedResolver(),
        socket_factory=functools.partial(_guarded, loopback_only=loopback_only),
        use_dns_cache=False,
        force_close=True,
        limit=1,
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
        raise FetchError(f"{type(error).__name__}: {_without_url(error)}"[:300]) from None


def _without_url(error: Exception) -> str:
    """What an error says, but not the whole address: its query may be a secret."""
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is none"
    return error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)

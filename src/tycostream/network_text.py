"""Addresses as PostgreSQL compares, prints and reads them: inet, cidr, macaddr, macaddr8. Cells are integers.

An address with its prefix length is one integer, its parts in the order in which the server compares them: the family,
the network, the prefix length, the whole address. So ``int`` compares as the server does, at its own speed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from typing import Final

_V6: Final = 1 << 264  # above every IPv4 address: family, 128 bits of network, 8 of length, 128 of address
_LOW_32: Final = (1 << 32) - 1
_LOW_128: Final = (1 << 128) - 1
_OCTETS: Final = {str(n): n for n in range(256)}
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_MAC_BYTES: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2})*")
# What the server reads: 08:00:2b:01:02:03, 08-00-…, 08002b:010203, 08002b-010203, 0800.2b01.0203, 0800-2b01-…, 08002b010203
_ANY_MAC: Final = re.compile(
    r"(?P<pair>[0-9a-f]{2})(?:(?P<sep>[:-])[0-9a-f]{2}(?:(?P=sep)[0-9a-f]{2}){4}(?:(?:(?P=sep)[0-9a-f]{2}){2})?)"
    r"|[0-9a-f]{6}[:-][0-9a-f]{6}|[0-9a-f]{4}([.-])[0-9a-f]{4}\3[0-9a-f]{4}(?:\3[0-9a-f]{4})?"
    r"|[0-9a-f]{12}(?:[0-9a-f]{4})?",
    re.IGNORECASE,
)


def _invalid(name: str, text: str, why: str) -> ValueError:
    shown = text if len(text) <= 60 else text[:60] + "…"
    return ValueError(f"invalid value for type '{name}': '{shown}': {why}")


def _read_network(text: str, name: str) -> int:
    """``192.168.0.1/24``, ``2001:db8::1`` → the cell; ValueError for anything else, shortened forms too."""
    address, slash, length = text.partition("/")
    if ":" in address:
        number, width = _read_v6(address, text, name), 128
    else:
        width = 32
        try:
            a, b, c, d = address.split(".")
            number = _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
        except (ValueError, KeyError):
            raise _invalid(name, text, "expected a form like '192.168.0.1' or '2001:db8::/32'") from None
    bits = width
    if slash:
        if not _LENGTH.fullmatch(length) or int(length) > width:
            raise _invalid(name, text, f"the prefix length must be from 0 to {width}")
        bits = int(length)
    network = number >> (width - bits) << (width - bits)
    if name == "cidr" and network != number:
        raise _invalid(name, text, "it has bits to the right of its mask")
    if width == 32:
        return network << 38 | bits << 32 | number
    return _V6 | network << 136 | bits << 128 | number


def _read_v6(address: str, text: str, name: str) -> int:
    try:
        if "%" in address:  # a zone, which Python knows and PostgreSQL does not
            raise AddressValueError
        return int(IPv6Address(address))
    except AddressValueError:
        raise _invalid(name, text, "this is no IPv6 address") from None


def parse_inet(text: str) -> int:
    """The server's text of an inet → the cell."""
    return _read_network(text, "inet")


def parse_cidr(text: str) -> int:
    """The server's text of a cidr → the cell."""
    return _read_network(text, "cidr")


def inet_text(cell: int) -> str:
    """The server's text: a prefix length only if it is not the whole address."""
    address, bits, width = _parts(cell)
    return address if bits == width else f"{address}/{bits}"


def cidr_text(cell: int) -> str:
    """The server's text: always with the prefix length."""
    address, bits, _ = _parts(cell)
    return f"{address}/{bits}"


def _parts(cell: int) -> tuple[str, int, int]:
    """Address, prefix length, width."""
    if cell < _V6:
        a = cell & _LOW_32
        return f"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.{a & 255}", cell >> 32 & 63, 32
    return _v6_text(cell & _LOW_128), cell >> 128 & 255, 128


def _v6_text(number: int) -> str:
    """As the server writes it: the first of the longest runs of zeros shortened, IPv4 inside IPv6 in dots."""
    words = [number >> shift & 0xFFFF for shift in range(112, -1, -16)]
    start, length, run = 0, 0, 0
    for i, word in enumerate(words):
        run = 0 if word else run + 1
        if run > length:
            start, length = i + 1 - run, run
    if length < 2:
        return ":".join(f"{word:x}" for word in words)
    if start == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        low = number & _LOW_32
        dots = f"{low >> 24}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
        return f"::ffff:{dots}" if length == 5 else f"::{dots}"
    left = ":".join(f"{word:x}" for word in words[:start])
    return f"{left}::{':'.join(f'{word:x}' for word in words[start + length :])}"


def mac_parser(name: str, octets: int) -> Callable[[str], int]:
    """The reader of the server's text of a macaddr (6 octets) or a macaddr8 (8)."""

    def parse(text: str) -> int:
        if len(text) != 3 * octets - 1 or not _MAC_BYTES.fullmatch(text):
            raise _invalid(name, text, f"expected {octets} octets such as '08:00:2b:01:02:03'")
        return int(text.replace(":", ""), 16)

    return parse


def mac_reader(name: str, octets: int) -> Callable[[str], int]:
    """The reader of every form of a MAC address in full octets; macaddr8 widens 6 octets as the server does."""

    def read(text: str) -> int:
        text = text.strip()
        digits = re.sub("[:.-]", "", text)
        if not _ANY_MAC.fullmatch(text) or len(digits) not in (12, 2 * octets):
            raise _invalid(name, text, f"expected {octets} octets such as '08:00:2b:01:02:03'")
        if len(digits) < 2 * octets:
            digits = f"{digits[:6]}fffe{digits[6:]}"
        return int(digits, 16)

    return read


def mac_text(octets: int) -> Callable[[int], str]:
    """The server's text of a MAC address of so many octets."""

    def text(cell: int) -> str:
        return cell.to_bytes(octets, "big").hex(":")

    return text

"""Whose address a request has."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.config.door import ForwardedHeader
from tycostream.config.model import ServerConfig
from tycostream.transports.caller import Caller, caller

TRUSTED = ("10.0.0.0/8", "fd00::/8", "127.0.0.1")
XFF = ServerConfig(trusted_proxies=TRUSTED)
RFC = ServerConfig(trusted_proxies=TRUSTED, forwarded_header=ForwardedHeader.FORWARDED)


def of_xff(peer: str | None, *lines: str) -> Caller:
    return caller(peer, [("X-Forwarded-For", line) for line in lines], XFF)


def of_rfc(peer: str, *lines: str) -> Caller:
    return caller(peer, [("forwarded", line) for line in lines], RFC)


@pytest.mark.parametrize(
    ("peer", "lines", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours: whatever it says
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # the left was there before
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2, 10.0.0.3"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),  # lines are one list
        ("10.0.0.1", ["10.0.0.9, 10.0.0.2"], "10.0.0.9"),  # one of ours asks for itself
        ("10.0.0.1", ["1.1.1.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, unix:, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["1.1.1.1,"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["2001:DB8:0:0::7"], "2001:db8::7"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, ::ffff:10.0.0.9"], "1.1.1.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["fe80::1%eth0"], "fe80::1"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["3325256705"], "127.0.0.1"),  # an address in decimal is none
        ("127.0.0.1", ["0x7f.1"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.01"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1:"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1:99999999"], "127.0.0.1"),
        ("127.0.0.1", ["[::1"], "127.0.0.1"),
        ("127.0.0.1", ["<script>"], "127.0.0.1"),
        (None, ["198.51.100.1"], ""),  # a unix socket
        ("", ["198.51.100.1"], ""),
    ],
)
def test_x_forwarded_for(peer: str | None, lines: list[str], expected: str) -> None:
    assert of_xff(peer, *lines).ip == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["for=198.51.100.1"], "198.51.100.1"),
        (["For=198.51.100.1;proto=https;by=10.0.0.1"], "198.51.100.1"),
        (["proto=https; for=198.51.100.1 ; by=10.0.0.1"], "198.51.100.1"),
        (['for="[2001:db8::7]:4711"'], "2001:db8::7"),
        (["for=1.1.1.1, for=198.51.100.1, for=10.0.0.2"], "198.51.100.1"),
        (["for=1.1.1.1", "for=198.51.100.1"], "198.51.100.1"),
        (["for=1.1.1.1, for=unknown"], "10.0.0.1"),
        (["for=1.1.1.1, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (['for="1.1.1.1, for=198.51.100.1'], "198.51.100.1"),  # a client's open quote swallows nothing
        (['x="a, b", for="[2001:db8::7]"'], "2001:db8::7"),
        (['for=1.1.1.1, x="a,b";for=198.51.100.1'], "198.51.100.1"),
        (["for=1.1.1.1;for=198.51.100.1"], "10.0.0.1"),  # twice in one: which is meant?
        (["for=1.1.1.1, by=10.0.0.1"], "10.0.0.1"),
        (["198.51.100.1"], "10.0.0.1"),
        ([";;,,"], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_forwarded(lines: list[str], expected: str) -> None:
    assert of_rfc("10.0.0.1", *lines).ip == expected


def test_only_the_header_that_is_configured_is_read() -> None:
    """A proxy that writes one passes the other on as a client wrote it."""
    both = [("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "198.51.100.1"), ("X-Real-IP", "2.2.2.2")]
    assert caller("10.0.0.1", both, XFF).ip == "198.51.100.1"
    assert caller("10.0.0.1", both, RFC).ip == "1.1.1.1"


def test_without_trusted_proxies_nothing_is_read() -> None:
    assert caller("127.0.0.1", [("X-Forwarded-For", "1.1.1.1")], ServerConfig()) == Caller("127.0.0.1", False)


def test_whether_a_proxy_asks() -> None:
    assert of_xff("10.0.0.1").proxied
    assert not of_xff("203.0.113.9", "10.0.0.1").proxied
    assert not of_xff(None).proxied


entries = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["unknown", "10.0.0.5", "", '"', "for=", "[", "::", "1:2"]),
    st.text(),
)


@given(st.lists(entries, max_size=6), st.booleans())
def test_what_a_client_writes_left_of_our_proxy_changes_nothing(forged: list[str], rfc: bool) -> None:
    """The address that our proxy wrote is the answer, whatever stood there before."""
    line, seen = ", ".join(forged), "198.51.100.1"
    found = of_rfc("10.0.0.1", f"{line}, for={seen}") if rfc else of_xff("10.0.0.1", f"{line}, {seen}")
    assert found.ip == seen
    alone = of_rfc("10.0.0.1", line) if rfc else of_xff("10.0.0.1", line)
    ipaddress.ip_address(alone.ip)  # always an address

"""Handshakes and frames of clients that misbehave, against the socket shell itself: see test_hostile_clients."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from tests.transports.test_hostile_clients import INIT, Rig
from tycostream.observe.events import ConnectionOpened, RequestRefused

PING = b'{"type":"ping"}'


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.handshake()
    rig.say(INIT)
    assert rig.hear() == [{"type": "connection_ack"}]
    return rig


# the handshake


def test_empty_fragments_take_no_memory(rig: Rig) -> None:
    start = Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
    nothing = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
    rig.shell.data_received(start + nothing * 10_000)
    assert sum(len(value) for value in vars(rig.shell).values() if isinstance(value, list)) < 10
    end = Frame(Opcode.CONT, b'{"type":"ping"}', fin=True).serialize(mask=True)
    rig.shell.data_received(end)
    assert rig.hear() == [{"type": "pong"}]


def test_a_message_in_fragments_with_a_ping_between(rig: Rig) -> None:
    rig.client.send_text(b'{"type":', fin=False)
    rig.client.send_ping(b"?")
    rig.client.send_continuation(b'"ping"}', fin=True)
    rig.flush()
    assert rig.hear() == [{"type": "pong"}]


def test_text_that_is_not_utf8_is_1007(rig: Rig) -> None:
    rig.client.send_text(b'{"type":"ping","payload":{"x":"\xff"}}')
    rig.flush()
    assert rig.close_code() == 1007


@pytest.mark.parametrize("name", ["Host", "Origin"])
@pytest.mark.parametrize("value", ["[", "http://[", "[::1", "http://[::1"])
def test_a_broken_host_or_origin_is_refused(name: str, value: str) -> None:
    rig = Rig()
    rig.handshake(**{name: value})
    assert rig.pipe.closing
    assert b" 101 " not in rig.answer.partition(b"\r\n")[0]


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_a_host_or_origin_that_is_there_twice_is_refused(name: str) -> None:
    rig = Rig(cors=["http://app.example"])
    raw = rig.client.connect().serialize()
    value = {"Host": "127.0.0.1:4000", "Origin": "http://app.example"}[name]
    extra = f"{name}: {value}\r\n".encode() * (1 if name == "Host" else 2)
    rig.shell.data_received(raw.replace(b"\r\n", b"\r\n" + extra, 1))
    answer = rig.pipe.take()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert f"the {name} header is there 2 times".encode() in answer
    assert rig.pipe.closing


def test_pages_of_listed_origins_may_connect_and_others_are_told_of() -> None:
    allowed = Rig(cors=["https://app.example", "https://*.example.org"])
    allowed.handshake(Origin="https://a.example.org")
    assert b" 101 " in allowed.answer
    refused = Rig(cors=["https://app.example"])
    refused.handshake(Origin="https://evil.example")
    assert b" 403 " in refused.answer
    said = "pages of 'https://evil.example' may not use this server; server.cors can allow them"
    assert refused.events == [RequestRefused("websocket", "127.0.0.1", 403, "origin-not-allowed", said)]


def test_the_clients_address_is_the_one_that_a_trusted_proxy_tells() -> None:
    rig = Rig(trusted_proxies="127.0.0.1")
    rig.handshake(**{"X-Forwarded-For": "1.1.1.1, 198.51.100.1"})
    opened = rig.events[0]
    assert isinstance(opened, ConnectionOpened)
    assert (opened.peer, opened.client_ip) == ("127.0.0.1:5", "198.51.100.1")
    rig.shell.connection_lost(None)
    assert rig.closed_event().client_ip == "198.51.100.1"
    forged = Rig()
    forged.handshake(**{"X-Forwarded-For": "198.51.100.1"})
    assert isinstance(forged.events[0], ConnectionOpened)
    assert forged.events[0].client_ip == "127.0.0.1"


def test_compression_is_offered_and_not_taken() -> None:
    """A few bytes may unpack to any number: there is no unpacking."""
    rig = Rig()
    rig.handshake(**{"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"})
    assert b" 101 " in rig.answer
    assert b"sec-websocket-extensions" not in rig.answer.lower()


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec-WebSocket-Key": "x"},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Version": "8"},
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
    ],
)
def test_a_handshake_that_is_none(changes: dict[str, str]) -> None:
    rig = Rig()
    rig.handshake(**changes)
    assert b" 101 " not in rig.answer.partition(b"\r\n")[0]
    assert rig.pipe.closing
    assert rig.operations.outboxes == []


# frames


def masked(
    opcode: int, data: bytes, *, fin: bool = True, reserved: int = 0, length: bytes | None = None
) -> bytes:
    """A frame as a client sends it, of any bits. ``length``: what it says in place of its own."""
    first = (0x80 if fin else 0) | reserved | opcode
    size = length if length is not None else bytes([len(data)])
    return bytes([first, 0x80 | size[0]]) + size[1:] + b"\0\0\0\0" + data


BROKEN = {
    "not masked": (b"\x81" + bytes([len(PING)]) + PING, 1002),
    "packed": (masked(1, PING, reserved=0x40), 1002),
    "the second reserved bit": (masked(1, PING, reserved=0x20), 1002),
    "the third reserved bit": (masked(1, PING, reserved=0x10), 1002),
    "an unknown kind of data": (masked(3, PING), 1002),
    "an unknown kind of control": (masked(11, b""), 1002),
    "a ping that is too long": (masked(9, b"x" * 126, length=b"\x7e\x00\x7e"), 1002),
    "a ping in fragments": (masked(9, b"x", fin=False), 1002),
    "a close in fragments": (masked(8, b"\x03\xe8", fin=False), 1002),
    "a close of one byte": (masked(8, b"\x03"), 1002),
    "a close with a code that nobody sends": (masked(8, (1005).to_bytes(2, "big")), 1002),
    "a close whose reason is no text": (masked(8, b"\x03\xe8\xff"), 1007),
    "a continuation of nothing": (masked(0, PING), 1002),
    "a message within a message": (masked(1, b"{", fin=False) + masked(1, PING), 1002),
    "a length beyond 63 bits": (masked(1, b"", length=b"\x7f" + b"\xff" * 8), 1009),
    "a length that was announced": (masked(1, b"", length=b"\x7f" + (2**40).to_bytes(8, "big")), 1009),
    "binary": (masked(2, PING), 4400),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("size", [1, 1000])
def test_frames_that_are_none(rig: Rig, name: str, size: int) -> None:
    data, code = BROKEN[name]
    for at in range(0, len(data), size):
        if not rig.pipe.closing:
            rig.shell.data_received(data[at : at + size])
    assert rig.close_code() == code
    rig.shell.connection_lost(None)
    assert rig.closed_event().code == code
    assert all(outbox.closed for outbox in rig.operations.outboxes)


def test_a_length_that_was_announced_is_not_waited_for(rig: Rig) -> None:
    """Refused when it is announced: nothing is kept, or made room for."""
    rig.shell.data_received(masked(1, b"", length=b"\x7f" + (2**30).to_bytes(8, "big")))
    assert rig.close_code() == 1009


def test_fragments_are_as_large_together_as_one() -> None:
    rig = Rig(message_bytes_max=1000)
    rig.handshake()
    rig.shell.data_received(masked(1, b"x" * 100, fin=False))
    for _ in range(9):
        rig.shell.data_received(masked(0, b"x" * 100, fin=False))
        assert rig.close_code() is None
    rig.shell.data_received(masked(0, b"x", fin=False))
    assert rig.close_code() == 1009


def test_many_small_fragments_take_no_more_than_their_bytes(rig: Rig) -> None:
    count = 200_000
    rig.shell.data_received(masked(1, b"  ", fin=False))
    part = masked(0, b"  ", fin=False) * 1000
    for _ in range(count // 1000):
        rig.shell.data_received(part)
    kept = [value for value in vars(rig.shell).values() if isinstance(value, (list, bytearray))]
    assert sum(map(sys.getsizeof, kept)) < 2 * 2 * count
    rig.shell.data_received(masked(0, PING))
    assert rig.hear() == [{"type": "pong"}]


def test_many_pings_are_answered_as_they_are_read(rig: Rig) -> None:
    """A pong is as large as its ping: who sends them and does not read is not read from any more."""
    flood = masked(9, b"x" * 125) * 1000
    for _ in range(200):
        if rig.pipe.is_reading() and not rig.pipe.closing:
            rig.shell.data_received(flood)
        rig.clock.run()
    assert rig.pipe.most_unread < 8 * 2**20


def test_json_that_nests_too_deep_or_says_a_thing_twice(rig: Rig) -> None:
    deep: Any = '{"type":"ping","payload":' + '{"a":' * 100_000
    rig.say(deep)
    assert rig.close_code() == 4400
    twice = Rig()
    twice.handshake()
    twice.say('{"type":"connection_init","type":"ping"}')
    assert twice.hear() == [{"type": "pong"}], "the last one is meant, as everywhere"
    assert json.loads('{"type":"connection_init","type":"ping"}') == {"type": "ping"}

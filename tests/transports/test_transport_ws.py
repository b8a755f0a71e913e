"""graphql-transport-ws as a pure object: every close code of its text, and frames that a WebSocket client reads back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.streams import StreamReader

from tycostream.errors import RequestError
from tycostream.transports.wire import transport_ws as wire

SUBSCRIBE = {"id": "1", "type": "subscribe", "payload": {"query": "{x}"}}


def fresh(*, initialised: bool = True) -> wire.TransportWsProtocol:
    protocol = wire.TransportWsProtocol()
    if initialised:
        assert isinstance(protocol.feed('{"type":"connection_init"}'), wire.Init)
    return protocol


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 4400),
        ("[]", 4400),
        ("1", 4400),
        ("{}", 4400),
        ('{"type":"nope"}', 4400),
        ('{"type":1}', 4400),
        ('{"type":"complete"}', 4400),
        ('{"type":"connection_init"}', 4429),
        (json.dumps({**SUBSCRIBE, "id": ""}), 4400),
        (json.dumps({**SUBSCRIBE, "id": 1}), 4400),
        (json.dumps({**SUBSCRIBE, "id": "x" * 2000}), 4400),
        (json.dumps({**SUBSCRIBE, "payload": None}), 4400),
        (json.dumps({**SUBSCRIBE, "payload": {"query": 1}}), 4400),
        (json.dumps({**SUBSCRIBE, "payload": {"query": "{x}", "variables": []}}), 4400),
        (json.dumps({**SUBSCRIBE, "payload": {"query": "{x}", "operationName": 1}}), 4400),
        ('{"a":' * 100_000, 4400),
    ],
)
def test_close_codes(message: str, code: int) -> None:
    event = fresh().feed(message)
    assert isinstance(event, wire.Close)
    assert event.code == code
    assert len(event.reason.encode()) <= 123


def test_order_of_things() -> None:
    early = fresh(initialised=False).feed(json.dumps(SUBSCRIBE))
    assert isinstance(early, wire.Close)
    assert early.code == 4401
    protocol = fresh()
    assert isinstance(protocol.feed(json.dumps(SUBSCRIBE)), wire.Subscribe)
    protocol.active.add("1")
    again = protocol.feed(json.dumps(SUBSCRIBE))
    assert isinstance(again, wire.Close)
    assert (again.code, again.reason) == (4409, "Subscriber for 1 already exists")
    assert isinstance(protocol.feed('{"type":"ping"}'), wire.Ping)
    assert protocol.feed('{"type":"pong"}') is None
    assert protocol.feed('{"type":"complete","id":"1"}') == wire.Complete("1")


@given(st.one_of(st.text(), st.binary()), st.booleans())
def test_nothing_raises(text: str | bytes, initialised: bool) -> None:
    fresh(initialised=initialised).feed(text)


def frames(data: bytes) -> list[Any]:
    """What a client's parser reads: websockets' own."""
    reader = StreamReader()
    reader.feed_data(data)
    messages = []
    while reader.buffer:
        parser = Frame.parse(reader.read_exact, mask=False)
        try:
            while True:
                next(parser)
        except StopIteration as stop:
            messages.append(json.loads(stop.value.data))
    return messages


@given(
    st.text(min_size=1, max_size=40),
    st.lists(
        st.sampled_from([0, 1, 50, 60, 70, 80, 90, 126, 65_440, 65_480, 65_540, 200_000]),
        min_size=1,
        max_size=4,
    ),
)
def test_frames_are_read_back(operation_id: str, sizes: list[int]) -> None:
    payloads = [json.dumps({"data": "x" * size}).encode() for size in sizes]
    wire_id = wire.escaped(operation_id)
    data = wire_id.join(wire.FRAMING.next_parts(payloads, len(wire_id)))
    assert frames(data) == [
        {"id": operation_id, "type": "next", "payload": json.loads(payload)} for payload in payloads
    ]


def test_endings() -> None:
    error = RequestError("code", "message", path="$.x", hint="do")
    assert frames(wire.FRAMING.error(b"1", [error]) + wire.FRAMING.complete(b"1")) == [
        {
            "id": "1",
            "type": "error",
            "payload": [{"message": "message", "extensions": {"path": "$.x", "code": "code", "hint": "do"}}],
        },
        {"id": "1", "type": "complete"},
    ]

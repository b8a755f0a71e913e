"""graphql-transport-ws: what a message may hold, beyond the order of things."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tycostream.transports.wire import transport_ws as wire


def fresh() -> wire.TransportWsProtocol:
    protocol = wire.TransportWsProtocol()
    protocol.feed('{"type":"connection_init"}')
    return protocol


def subscribe(operation_id: str, **payload: object) -> str:
    return json.dumps({"id": operation_id, "type": "subscribe", "payload": {"query": "{x}", **payload}})


@pytest.mark.parametrize(
    "message",
    [
        subscribe("é" * 513),
        subscribe("\x01" * 171),  # six bytes each in every frame
        subscribe("1", extensions=1),
        '{"type":"ping","payload":1}',
        '{"type":"pong","payload":[]}',
        '{"type":"complete","id":""}',
        '{"type":"subscribe","id":"\\ud800","payload":{"query":"{x}"}}',
        '{"type":"ping","payload":{"x":1e99999999999999999999}}',
    ],
)
def test_invalid_messages(message: str) -> None:
    event = fresh().feed(message)
    assert isinstance(event, wire.Close)
    assert event.code == 4400


@pytest.mark.parametrize("operation_id", ["é" * 512, "x" * 1024, "\x01" * 170])
def test_an_id_may_have_1024_bytes_on_the_wire(operation_id: str) -> None:
    assert isinstance(fresh().feed(subscribe(operation_id)), wire.Subscribe)


@pytest.mark.parametrize("operation_id", ["é" * 500, "😀" * 200, "x" * 1000])
def test_the_reason_of_4409_fits_a_close_frame(operation_id: str) -> None:
    protocol = fresh()
    protocol.active.add(operation_id)
    event = protocol.feed(subscribe(operation_id))
    assert isinstance(event, wire.Close)
    assert event.code == 4409
    assert len(event.reason.encode()) <= 123
    assert event.reason.endswith(" already exists")


def test_variables_keep_every_digit() -> None:
    text = '{"id":"1","type":"subscribe","payload":{"query":"{x}","variables":{"a":1.10,"b":123456789012345678901234567890}}}'
    event = fresh().feed(text)
    assert isinstance(event, wire.Subscribe)
    assert event.variables == {"a": Decimal("1.10"), "b": 123456789012345678901234567890}
    assert str(event.variables["a"]) == "1.10"
    assert isinstance(fresh().feed('{"type":"ping","payload":{"any":1.5}}'), wire.Ping)

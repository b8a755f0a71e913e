"""Clients that misbehave, against the socket shell itself: no network, a clock of our own, websockets as the peer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tycostream.auth.authenticator import Authenticator
from tycostream.auth.limiter import Limiter
from tycostream.auth.session import Session
from tycostream.clock import SystemClock
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import ServerConfig
from tycostream.errors import RequestError
from tycostream.graphql.plan import Plan
from tycostream.live.clients import Clients
from tycostream.live.framing import Framing, Sink
from tycostream.live.operations import Operations
from tycostream.live.outbox import Outbox, Ticker
from tycostream.live.subscriber import COMPLETED, Told
from tycostream.observe.events import (
    ConnectionClosed,
    Event,
    OperationFailed,
    silent,
)
from tycostream.testing.clock import FakeClock
from tycostream.transports.close_codes import CLOSE_CODES
from tycostream.transports.websocket import _MESSAGES_PER_TURN, WebSocketShell
from tycostream.transports.wire.transport_ws import FRAMING

INIT = '{"type":"connection_init"}'
HIGH_WATER_BYTES = 256 * 1024


def subscribe(query: str, operation_id: str = "1") -> str:
    return json.dumps({"id": operation_id, "type": "subscribe", "payload": {"query": query}})


class ScriptedSubscription:
    outcome = COMPLETED
    told = Told(0, 0)

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.on_end = on_end
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ScriptedOperations:
    """Operations whose answers are of a size that the test sets."""

    authenticator = Authenticator(None, SystemClock(), silent)
    clients = Clients()
    limiter = Limiter(LimitsConfig(), SystemClock(), silent)

    def __init__(self, clock: FakeClock) -> None:
        self.ticker = Ticker(clock, lambda who, error: None)
        self.answer_bytes = 10
        self.answered = 0
        self.started: list[bytes] = []
        self.subscriptions: list[ScriptedSubscription] = []
        self.outboxes: list[Outbox] = []

    def prepare(
        self,
        query: str,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
    ) -> Plan:
        if query == "crash":
            raise RuntimeError("a secret of the inside")
        return Plan(query.startswith("subscription"), (), query)

    async def query(self, plan: Plan, session: Session, count: Callable[[int], None]) -> bytes:
        self.answered += 1
        return b'{"data":"' + b"x" * self.answer_bytes + b'"}'

    def outbox(self, framing: Framing, sink: Sink) -> Outbox:
        self.outboxes.append(Outbox(framing, sink, self.ticker, bytes_max=1 << 22))
        return self.outboxes[-1]

    def subscribe(
        self,
        plan: Plan,
        outbox: Outbox,
        operation_id: bytes,
        on_end: Callable[[], None],
        session: Session,
    ) -> ScriptedSubscription:
        if plan.key == "subscription refused":
            raise RequestError("not-supported", "refused")
        self.started.append(b'{"id":"' + operation_id + b'"}')
        self.subscriptions.append(ScriptedSubscription(on_end))
        return self.subscriptions[-1]

    def ready(self) -> tuple[bool, list[dict[str, object]]]:
        return True, []


class Pipe:
    """A transport: what it is given waits until the test lets the client read."""

    def __init__(self) -> None:
        self.shell: WebSocketShell | None = None
        self.unread = bytearray()
        self.most_unread = 0
        self.closing = self.aborted = self.full = False
        self.reading = True
        self.acknowledged = 0  # by the client's kernel

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 5), "socket": self}.get(name)

    def getsockopt(self, *_: int) -> bytes:
        return bytes(120) + self.acknowledged.to_bytes(8, sys.byteorder)

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == HIGH_WATER_BYTES

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def write(self, data: bytes) -> None:
        assert not self.closing, "written after close"
        self.unread += data
        self.most_unread = max(self.most_unread, len(self.unread))
        if len(self.unread) > HIGH_WATER_BYTES and not self.full and self.shell is not None:
            self.full = True
            self.shell.pause_writing()

    def take(self) -> bytes:
        data = bytes(self.unread)
        self.unread.clear()
        if self.full and self.shell is not None:
            self.full = False
            self.shell.resume_writing()
        return data

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


class TurningClock(FakeClock):
    """Can also run one callback alone."""

    def one(self) -> None:
        if self._soon:
            self._soon.popleft()()


class Rig:
    """A shell and a client, joined by a pipe."""

    def __init__(
        self,
        *,
        subprotocols: tuple[str, ...] = ("graphql-transport-ws",),
        path: str = "/graphql",
        **server: Any,
    ) -> None:
        self.clock = TurningClock()
        self.operations = ScriptedOperations(self.clock)
        self.events: list[Event] = []
        self.state = SimpleNamespace(connections=set())
        self.pipe = Pipe()
        self.answer = b""
        self.shell = WebSocketShell(
            cast(Operations, self.operations),
            ServerConfig.model_validate(server),
            self.clock,
            self.events.append,
            cast(Any, self.state),
        )
        self.client = ClientProtocol(
            parse_uri(f"ws://127.0.0.1:4000{path}"), subprotocols=[Subprotocol(name) for name in subprotocols]
        )
        self.shell.connection_made(cast(asyncio.Transport, self.pipe))
        self.pipe.shell = self.shell

    def handshake(self, **headers: str) -> None:
        request = self.client.connect()
        raw = request.serialize()
        for name, value in headers.items():
            lines = [line for line in raw.split(b"\r\n") if not line.startswith(name.encode() + b": ")]
            lines.insert(1, f"{name}: {value}".encode())
            raw = b"\r\n".join(lines)
        self.client.send_request(request)
        self.client.data_to_send()
        self.shell.data_received(raw)
        self.answer = self.pipe.take()
        self.client.receive_data(self.answer)
        self.client.events_received()

    def flush(self) -> None:
        """What the client has to say reaches the server, in one segment."""
        data = b"".join(self.client.data_to_send())
        if data:
            self.shell.data_received(data)

    def say(self, *messages: str) -> None:
        for message in messages:
            self.client.send_text(message.encode())
        self.flush()

    async def turn(self) -> None:
        """A turn of the event loop, and what is due in it."""
        self.clock.run()
        await asyncio.sleep(0)

    def hear(self) -> list[Any]:
        """The messages that came for the client since the last time."""
        self.client.receive_data(self.pipe.take())
        self.clock.run()
        frames = [event for event in self.client.events_received() if isinstance(event, Frame)]
        return [json.loads(bytes(frame.data)) for frame in frames if frame.opcode is Opcode.TEXT]

    def close_code(self) -> int | None:
        self.hear()
        return self.client.close_rcvd.code if self.client.close_rcvd is not None else None

    def closed_event(self) -> ConnectionClosed:
        (event,) = (event for event in self.events if isinstance(event, ConnectionClosed))
        return event


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.handshake()
    rig.say(INIT)
    assert rig.hear() == [{"type": "connection_ack"}]
    return rig


@pytest.mark.parametrize("message", ["{", INIT, "[]"])
def test_a_mistake_and_a_goodbye_in_one_segment(rig: Rig, message: str) -> None:
    rig.client.send_text(message.encode())
    rig.client.send_close(1000)
    rig.flush()
    assert rig.close_code() in (1000, 4400, 4429)
    rig.shell.connection_lost(None)
    assert not rig.state.connections


def test_a_mistake_and_an_oversized_frame_in_one_segment() -> None:
    rig = Rig(message_bytes_max=1000)
    rig.handshake()
    rig.say("{", "x" * 2000)
    assert rig.close_code() in (1009, 4400)


async def test_a_client_that_asks_and_never_reads_is_not_answered_without_end(rig: Rig) -> None:
    rig.operations.answer_bytes = 100_000
    asked = 500
    rig.say(*[subscribe("{x}", str(n)) for n in range(asked)])
    for _ in range(100):
        await rig.turn()
    assert rig.operations.answered < 10
    finished = 0
    while finished < asked:
        finished += sum(message["type"] == "complete" for message in rig.hear())
        await rig.turn()
    assert rig.operations.answered == asked  # held back, not dropped
    assert rig.pipe.most_unread < HIGH_WATER_BYTES + 200_000
    assert rig.pipe.is_reading()
    rig.say('{"type":"ping"}')
    assert rig.hear() == [{"type": "pong"}]


async def test_a_client_that_asks_never_reads_and_vanishes_is_asked_for_nothing_more(rig: Rig) -> None:
    rig.operations.answer_bytes = 1_000_000
    rig.say(*[subscribe("{x}", str(n)) for n in range(50)])
    for _ in range(20):
        await rig.turn()
    answered = rig.operations.answered
    assert 0 < answered < 10
    rig.shell.connection_lost(ConnectionResetError())
    rig.shell.resume_writing()
    for _ in range(20):
        await rig.turn()
    assert rig.operations.answered == answered


def test_a_thousand_subscriptions_in_one_read_leave_turns_to_what_is_due_to_others(rig: Rig) -> None:
    asked, due = 1000, b"data that was due before"
    other = Pipe()
    rig.operations.outboxes.append(
        Outbox(FRAMING, cast(Sink, other), rig.operations.ticker, bytes_max=1 << 20)
    )
    rig.operations.outboxes[-1].offer(due)
    rig.say(*[subscribe("subscription x", str(n)) for n in range(asked)])
    assert len(rig.operations.subscriptions) == _MESSAGES_PER_TURN
    assert not rig.pipe.is_reading(), "what waits here is one read at most"
    rig.clock.one()
    assert bytes(other.unread) == due
    assert len(rig.operations.subscriptions) == _MESSAGES_PER_TURN
    turns = 0
    while len(rig.operations.subscriptions) < asked:
        before = len(rig.operations.subscriptions)
        rig.clock.one()
        turns += 1
        assert len(rig.operations.subscriptions) <= before + _MESSAGES_PER_TURN
    assert turns <= asked / _MESSAGES_PER_TURN
    assert [json.loads(text)["id"] for text in rig.operations.started] == [str(n) for n in range(asked)]
    rig.clock.run()
    assert rig.pipe.is_reading()
    assert not rig.hear()


def test_a_close_behind_many_messages_is_answered_after_them(rig: Rig) -> None:
    for n in range(20):
        rig.client.send_text(subscribe("subscription x", str(n)).encode())
    rig.client.send_close(1000)
    rig.flush()
    assert rig.close_code() == 1000
    assert len(rig.operations.subscriptions) == 20
    assert all(each.cancelled for each in rig.operations.subscriptions)


def test_a_slow_reader_may_still_end_its_operations(rig: Rig) -> None:
    """A full socket holds back the data, but the client's `complete` is what makes it less."""
    rig.say(subscribe("subscription x"))
    rig.shell.write(b"x" * (HIGH_WATER_BYTES + 1))
    assert not rig.operations.outboxes[0].writable
    rig.say('{"type":"complete","id":"1"}')
    assert rig.operations.subscriptions[0].cancelled


def test_no_init_in_time_is_4408_and_a_deaf_peer_is_cut_off() -> None:
    rig = Rig(connection_init_timeout="10s")
    rig.handshake()
    rig.clock.advance(9.9)
    assert rig.close_code() is None
    rig.clock.advance(0.2)
    assert rig.close_code() == 4408
    assert not rig.pipe.aborted
    rig.clock.advance(5.1)  # it never answers the close
    assert rig.pipe.aborted


def test_pings_that_nobody_answers_end_the_connection(rig: Rig) -> None:
    rig.say(subscribe("subscription x"))
    for _ in range(5):  # it answers
        rig.clock.advance(20)
        rig.hear()
        rig.flush()
        assert not rig.pipe.aborted
    rig.clock.advance(41)
    assert rig.pipe.aborted
    rig.shell.connection_lost(None)
    assert rig.operations.subscriptions[0].cancelled
    assert (rig.closed_event().code, rig.closed_event().reason) == (1006, "no answer to a ping")


def test_a_shutdown_says_come_back_and_ends_everything(rig: Rig) -> None:
    rig.say(subscribe("subscription x"))
    rig.shell.shutdown()
    assert rig.close_code() == 1012
    assert rig.operations.subscriptions[0].cancelled
    rig.shell.shutdown()  # uvicorn may ask again
    rig.flush()
    rig.shell.connection_lost(None)
    assert not rig.state.connections
    rig.clock.advance(60)  # no timer is left to touch the dead transport
    assert not rig.pipe.aborted


def test_a_half_closed_peer_that_does_not_read_is_cut_off(rig: Rig) -> None:
    rig.say(subscribe("subscription x"))
    rig.shell.write(b"x" * (HIGH_WATER_BYTES + 1))
    rig.shell.eof_received()
    assert rig.operations.subscriptions[0].cancelled
    rig.clock.advance(5.1)
    assert rig.pipe.aborted


def test_another_subprotocol_is_4406() -> None:
    rig = Rig(subprotocols=("graphql-ws",))
    rig.handshake()
    assert rig.close_code() == 4406


async def test_an_internal_error_tells_the_client_nothing_and_the_log_everything(rig: Rig) -> None:
    rig.say(subscribe("crash"))
    (message,) = rig.hear()
    assert message["type"] == "error"
    assert message["payload"][0]["message"] == "internal error"
    assert message["payload"][0]["extensions"]["code"] == "unexpected"
    assert "secret" not in json.dumps(message)
    (failed,) = (event for event in rig.events if isinstance(event, OperationFailed))
    assert "secret" in failed.internal
    rig.say(subscribe("{x}"))  # the id is free and the connection lives
    for _ in range(4):
        await rig.turn()
    assert [message["type"] for message in rig.hear()] == ["next", "complete"]


def test_a_refused_or_ended_operation_frees_its_id(rig: Rig) -> None:
    rig.say(subscribe("subscription refused"), subscribe("subscription x"))
    assert [message["type"] for message in rig.hear()] == ["error"]
    rig.operations.subscriptions[0].on_end()
    rig.say(subscribe("subscription x"))
    assert len(rig.operations.subscriptions) == 2
    rig.say(subscribe("subscription x"))
    assert rig.close_code() == 4409
    assert rig.client.close_rcvd is not None
    assert rig.client.close_rcvd.reason == "Subscriber for 1 already exists"


def test_the_buffer_of_a_connection_that_closes_is_left_alone(rig: Rig) -> None:
    rig.shell.abort(1012, "x" * 500)  # a reason is cut to what a close frame holds
    rig.shell.write(b"late")
    rig.shell.abort(4400, "again")
    assert rig.close_code() == 1012


def test_every_code_that_is_sent_is_documented() -> None:
    for code in (1000, 1002, 1006, 1007, 1009, 1012, 4400, 4401, 4406, 4408, 4409, 4429):
        assert CLOSE_CODES[code][0]


frames = st.one_of(
    st.sampled_from([INIT, '{"type":"ping"}', '{"type":"complete","id":"1"}', "{", ""]).map(
        lambda text: Frame(Opcode.TEXT, text.encode())
    ),
    st.sampled_from(["subscription x", "subscription refused", "{x}", "crash"]).map(
        lambda query: Frame(Opcode.TEXT, subscribe(query).encode())
    ),
    st.builds(
        Frame,
        st.sampled_from([Opcode.TEXT, Opcode.CONT, Opcode.BINARY]),
        st.binary(max_size=20),
        fin=st.booleans(),
    ),
    st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=20)),
    st.sampled_from([1000, 1001, 4000]).map(lambda code: Frame(Opcode.CLOSE, code.to_bytes(2, "big"))),
)


@given(st.lists(frames, max_size=12), st.integers(1, 200), st.booleans(), st.binary(max_size=20))
def test_nothing_that_a_client_sends_raises_or_leaks(
    sent: list[Frame], cut: int, initialised: bool, noise: bytes
) -> None:
    rig = Rig()
    rig.handshake()
    rig.hear()
    if initialised:
        rig.say(INIT)
    data = b""
    for frame in sent:
        data += Frame(frame.opcode, frame.data, fin=frame.fin).serialize(mask=True)
    data += noise
    for start in range(0, len(data), cut):
        if not rig.pipe.closing:
            rig.shell.data_received(data[start : start + cut])
    if not rig.pipe.closing:
        rig.shell.eof_received()
    rig.shell.connection_lost(None)
    assert all(subscription.cancelled for subscription in rig.operations.subscriptions)
    assert not rig.state.connections
    assert all(outbox.closed for outbox in rig.operations.outboxes)
    assert rig.closed_event().code in {*CLOSE_CODES, 1001, 1005, 4000}
    rig.clock.advance(3600)


PING_S = 20.0


def test_who_answers_no_ping_and_takes_nothing_is_gone(rig: Rig) -> None:
    rig.clock.advance(ServerConfig().connection_init_timeout.total_seconds())
    aborted = []
    for _ in range(2):
        rig.clock.advance(PING_S)
        aborted.append(rig.pipe.aborted)
    assert aborted == [False, True]
    rig.shell.connection_lost(None)
    assert (rig.closed_event().code, rig.closed_event().reason) == (1006, "no answer to a ping")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a client has taken")
def test_who_reads_slowly_is_not_gone_before_it_comes_to_the_ping(rig: Rig) -> None:
    rig.clock.advance(ServerConfig().connection_init_timeout.total_seconds())
    for _ in range(30):
        rig.pipe.acknowledged += 1
        rig.clock.advance(PING_S)
    aborted = [rig.pipe.aborted]
    pings = [each for each in _frames(rig.pipe.take()) if each == b"\x89\x00"]
    assert len(pings) == 1  # others would stand behind the first
    rig.clock.advance(PING_S)
    assert [*aborted, rig.pipe.aborted] == [False, True]


def _frames(data: bytes) -> list[bytes]:
    """Frames of no more than 125 bytes."""
    frames = []
    while data:
        size = 2 + data[1]
        frames.append(data[:size])
        data = data[size:]
    return frames

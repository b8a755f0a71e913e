"""One-shot queries on a WebSocket connection: in flight together, ended by their client, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tycostream.errors import RequestError
from tycostream.live.outbox import Outbox, Ticker
from tycostream.observe.events import Event, LimitReached, OperationFailed
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import LineFraming, RecordingSink
from tycostream.transports.answers import Answer, Answers

PAYLOAD = b'{"data":{}}'


class Rig:
    def __init__(self, room: int | None = None) -> None:
        self.clock = FakeClock()
        self.sink = RecordingSink(room)
        self.outbox = Outbox(
            LineFraming(), self.sink, Ticker(self.clock, lambda who, error: None), bytes_max=100
        )
        self.sink.outbox = self.outbox
        self.events: list[Event] = []
        self.answers = Answers(self.outbox, self.events.append)
        self.gates: list[asyncio.Future[bytes]] = []
        self.ended: list[int] = []

    def ask(self, n: int) -> Answer:
        async def query(count: Callable[[int], None]) -> bytes:
            gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self.gates.append(gate)
            return await gate

        return self.answers.answer(str(n).encode(), query, lambda: self.ended.append(n))

    async def turn(self) -> None:
        for _ in range(4):
            self.clock.run()
            await asyncio.sleep(0)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_quick_query_overtakes_a_slow_one_and_four_are_at_work(rig: Rig) -> None:
    for n in range(6):
        rig.ask(n)
    await rig.turn()
    assert len(rig.gates) == 4
    rig.gates[2].set_result(PAYLOAD)
    await rig.turn()
    assert rig.ended == [2]
    assert len(rig.gates) == 5, "the next one has begun"
    while len(rig.ended) < 6:
        for gate in rig.gates:
            if not gate.done():
                gate.set_result(PAYLOAD)
        await rig.turn()
    assert sorted(rig.ended) == list(range(6))


async def test_a_client_that_ends_a_query_stops_it_and_makes_room(rig: Rig) -> None:
    asked = [rig.ask(n) for n in range(6)]
    await rig.turn()
    asked[0].cancel()
    asked[0].cancel()
    asked[4].cancel()  # it waits
    await rig.turn()
    assert rig.gates[0].cancelled()
    assert len(rig.gates) == 5
    for gate in rig.gates[1:]:
        gate.set_result(PAYLOAD)
    await rig.turn()
    assert sorted(rig.ended) == [1, 2, 3, 5]
    assert not rig.events


async def test_what_a_connection_may_not_hold_is_refused_and_what_breaks_is_not_shown(rig: Rig) -> None:
    for n in range(3):
        rig.ask(n)
    await rig.turn()
    rig.gates[0].set_result(b"x" * 101)
    rig.gates[1].set_exception(RuntimeError("a secret of the inside"))
    rig.gates[2].set_exception(RequestError("source-failed", "the source failed"))
    await rig.turn()
    text = bytes(rig.sink.data).decode()
    assert "result-too-large" in text
    assert "the result has 101 bytes; a connection may hold 100" in text
    assert "the source failed" in text
    assert "secret" not in text
    limit, failed = sorted(rig.events, key=lambda event: type(event).__name__)
    assert limit == LimitReached("outbox_bytes_max")
    assert isinstance(failed, OperationFailed)
    assert sorted(rig.ended) == [0, 1, 2]


async def test_nothing_starts_while_the_socket_is_full(rig: Rig) -> None:
    rig.outbox.pause()
    rig.ask(1)
    await rig.turn()
    assert not rig.gates
    rig.outbox.resume()
    await rig.turn()
    assert len(rig.gates) == 1
    rig.gates[0].set_result(PAYLOAD)
    rig.outbox.pause()
    await rig.turn()
    assert not rig.ended
    rig.outbox.resume()
    await rig.turn()
    assert rig.ended == [1]

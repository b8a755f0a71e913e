"""HTTP on a socket that misbehaves: too slow, too large, ambiguous, or deaf; and what a proxy could read otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState

from tycostream.auth.limiter import Limiter
from tycostream.config.limits import LimitsConfig
from tycostream.config.model import ServerConfig
from tycostream.observe.events import Event, RequestRefused
from tycostream.testing.clock import FakeClock
from tycostream.transports.door import Door
from tycostream.transports.http_protocol import HttpShell, http_class

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Wire:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closing = self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("203.0.113.9", 5), "sockname": ("127.0.0.1", 4000)}.get(name)

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Rig:
    """One socket, over an application that reads the body and says how long it was."""

    def __init__(self, **server: Any) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.bodies: list[int] = []
        self.answer_bytes: int | None = None
        settings = ServerConfig.model_validate({"host": "0.0.0.0", **server})
        self.wire = Wire()
        state = ServerState()
        limiter = Limiter(LimitsConfig(), self.clock, self.events.append)
        door = Door(self._app, lambda: settings, limiter, self.events.append)
        config = UvicornConfig(door, lifespan="off", log_config=None, access_log=False, proxy_headers=False)
        made: Any = http_class(lambda: settings, limiter, self.clock, self.events.append)
        self.shell: HttpShell = made(config=config, server_state=state, app_state={})
        self.shell.connection_made(self.wire)
        self.tasks = state.tasks

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        self.bodies.append(size)
        body = b"x" * self.answer_bytes if self.answer_bytes is not None else b"read %d" % size
        head = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def say(self, *parts: bytes) -> str:
        """What it answers to these, as far as it can."""
        for part in parts:
            if not self.wire.closing:
                self.shell.data_received(part)
            await self.settle()
        await self.settle()
        text = bytes(self.wire.written).decode()
        self.wire.written.clear()
        return text

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def refused(self) -> list[tuple[int, str]]:
        return [(event.status, event.message) for event in self.events if isinstance(event, RequestRefused)]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    if not rig.wire.aborted:
        rig.shell.connection_lost(None)
    await rig.settle()
    assert not rig.tasks, "an application waits for ever"


async def test_requests_follow_each_other(rig: Rig) -> None:
    assert (await rig.say(POST + b"Content-Length: 3\r\n\r\nabc")).endswith("read 3")
    assert (await rig.say(CHUNKED, b"2\r\nab\r\n", b"0\r\n\r\n")).endswith("read 2")
    assert (await rig.say(GET + GET)).count("HTTP/1.1 200 OK") == 2
    assert (await rig.say(GET[:20], GET[20:])).endswith("read 0")
    assert rig.bodies == [3, 2, 0, 0, 0]
    assert not rig.wire.closing
    assert rig.refused() == []


# Each could be read in two ways, or hides something: none of it is answered, and nothing that follows is read.
AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "one length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no coding": POST + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunks not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "packed chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a strange space": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "lines that end in LF": b"POST / HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
    "lines that end in CR": b"POST / HTTP/1.1\rHost: x\rContent-Length: 0\r\r",
    "a folded line": POST + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a zero byte": POST + b"A: b\x00c\r\nContent-Length: 0\r\n\r\n",
    "a CR in a value": POST + b"A: b\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n",
    "a prefixed chunk": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "chunks that end in LF": CHUNKED + b"3\nabc\n0\n\n",
    "a chunk that is longer": CHUNKED + b"3\r\nabcXX0\r\n\r\n",
    "a line within an extension": CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3": b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    "a broken name": b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n",
    "a path beyond ASCII": "GET /é HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an upgrade with a body": b"POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Content-Length: 30\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_can_be_read_in_two_ways_is_read_in_none(rig: Rig, name: str) -> None:
    answer = await rig.say(AMBIGUOUS[name], GET)
    assert answer.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert "\r\nconnection: close\r\n" in answer
    assert answer.count("HTTP/1.1 ") == 1
    assert rig.wire.closing
    assert rig.bodies == []
    assert [status for status, _ in rig.refused()] == [400]
    assert rig.events[0] == RequestRefused("http", "203.0.113.9", 400, "bad-request", rig.refused()[0][1])


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_even_if_it_comes_byte_by_byte(rig: Rig, name: str) -> None:
    answer = await rig.say(*(bytes([byte]) for byte in AMBIGUOUS[name]))
    assert answer.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert rig.bodies == []


TOO_LARGE = "a request's head has at most 2048 bytes and 100 headers"


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 3000 + b"\r\n\r\n"],
        [b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n"],
        [b"GET / HTTP/1.1\r\nHost: x\r\nA: ", *[b"x" * 500] * 5],  # never ends
        [b"GET /", *[b"x" * 500] * 5],
        [b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"A: b\r\n" * 50] * 8],
    ],
)
async def test_a_head_that_is_too_large(parts: list[bytes]) -> None:
    rig = Rig(header_bytes_max=2048)
    answer = await rig.say(*parts)
    assert answer.startswith("HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert answer.endswith(f"\r\n\r\n{TOO_LARGE}")
    assert rig.wire.closing
    assert rig.refused() == [(431, TOO_LARGE)]


@pytest.mark.parametrize(
    "parts",
    [
        [b"0\r\nA: ", *[b"x" * 500] * 6],  # a trailer
        [b"3;", *[b"x" * 500] * 6],  # an extension
        [*[b"1;" + b"x" * 500 + b"\r\na\r\n"] * 6],
    ],
)
async def test_more_around_a_body_than_in_it(parts: list[bytes]) -> None:
    rig = Rig(header_bytes_max=2048)
    answer = await rig.say(CHUNKED, *parts)
    assert answer.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert rig.refused() == [(400, "the body has more around it than in it")]
    assert not rig.tasks


@pytest.mark.parametrize("head", [POST + b"Content-Length: 10000000\r\n\r\n", CHUNKED])
async def test_a_body_without_end_is_not_read_to_the_end(head: bytes) -> None:
    rig = Rig(message_bytes_max=1024)
    part = b"x" * 10_000
    parts = [part if head is not CHUNKED else b"2710\r\n" + part + b"\r\n"] * 100
    answer = await rig.say(head, *parts)
    assert answer.startswith("HTTP/1.1 413 ")
    assert rig.refused() == [(413, "the body is too large")]
    assert rig.wire.closing
    assert not rig.tasks, "its application is told"


async def test_a_body_in_many_small_chunks_is_fine() -> None:
    rig = Rig(header_bytes_max=1024)
    answer = await rig.say(CHUNKED, *[b"1\r\na\r\n"] * 1000, b"0\r\n\r\n")
    assert answer.endswith("read 1000")


async def test_a_large_body_before_the_next_head_is_no_head() -> None:
    rig = Rig(header_bytes_max=1024)
    body = b"x" * 5000
    assert (await rig.say(POST + b"Content-Length: 5000\r\n\r\n" + body + GET)).count("HTTP/1.1 200") == 2


async def test_a_head_that_drips(rig: Rig) -> None:
    await rig.say(b"GET / HTTP/1.1\r\nHost: x\r\n")
    for _ in range(4):
        rig.clock.advance(2.4)
        assert await rig.say(b"A: b\r\n") == ""
    rig.clock.advance(0.5)
    assert (await rig.say()).startswith("HTTP/1.1 408 Request Timeout\r\n")
    assert rig.wire.closing
    assert rig.refused() == [(408, "the head of the request did not come in time")]
    rig.clock.advance(5.1)  # nor does it close
    assert rig.wire.aborted


async def test_nothing_at_all(rig: Rig) -> None:
    rig.clock.advance(10.1)
    assert await rig.say() == ""
    assert rig.wire.closing
    assert rig.refused() == []


async def test_a_body_that_drips(rig: Rig) -> None:
    await rig.say(POST + b"Content-Length: 100\r\n\r\n")
    for _ in range(9):
        rig.clock.advance(3.3)
        assert await rig.say(b"x") == ""
    rig.clock.advance(0.4)
    assert (await rig.say()).startswith("HTTP/1.1 408 Request Timeout\r\n")
    assert rig.refused() == [(408, "the body of the request did not come in time")]
    assert not rig.tasks, "its application is told"
    assert rig.bodies == []


async def test_line_ends_between_requests_keep_nothing_open(rig: Rig) -> None:
    await rig.say(GET)
    for _ in range(4):
        rig.clock.advance(2.4)
        await rig.say(b"\r\n")
    assert not rig.wire.closing
    rig.clock.advance(0.5)
    assert rig.wire.closing


async def test_a_request_after_a_while_has_its_whole_time(rig: Rig) -> None:
    await rig.say(GET)
    rig.clock.advance(9)
    await rig.say(GET[:10])
    rig.clock.advance(9)
    assert (await rig.say(GET[10:])).endswith("read 0")


async def test_an_answer_may_take_longer_than_a_request(rig: Rig) -> None:
    started = asyncio.Event()
    finish = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await finish.wait()
        await Rig._app(rig, scope, receive, send)

    rig.shell.app = slow
    await rig.say(GET)
    assert started.is_set()
    rig.clock.advance(3600)
    assert not rig.wire.closing
    finish.set()
    assert (await rig.say()).endswith("read 0")


async def test_a_client_that_does_not_read_is_cut_off(rig: Rig) -> None:
    finish = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await finish.wait()
        await Rig._app(rig, scope, receive, send)

    rig.shell.app = slow
    await rig.say(GET)
    rig.shell.pause_writing()
    rig.clock.advance(59)
    rig.shell.resume_writing()
    rig.shell.pause_writing()
    rig.clock.advance(59)
    aborted = [rig.wire.aborted]
    rig.clock.advance(1.1)
    assert [*aborted, rig.wire.aborted] == [False, True]
    rig.shell.connection_lost(None)
    finish.set()


async def test_an_upgrade_behind_a_request_that_is_not_answered(rig: Rig) -> None:
    finish = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await finish.wait()
        await Rig._app(rig, scope, receive, send)

    rig.shell.app = slow
    upgrade = b"GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answer = await rig.say(GET + upgrade)
    assert answer.endswith("an upgrade waits for the answer before it")
    assert rig.wire.closing
    finish.set()
    assert await rig.say() == ""


async def test_what_is_lost_leaves_no_timer() -> None:
    rig = Rig()
    await rig.say(POST + b"Content-Length: 5\r\n\r\n")
    rig.shell.pause_writing()
    rig.shell.connection_lost(None)
    await rig.settle()
    assert not rig.tasks
    rig.wire.aborted = rig.wire.closing = False
    rig.clock.advance(3600)
    assert not rig.wire.aborted
    assert rig.refused() == []

"""What a peer has taken: the kernel knows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Any, cast

import pytest

from tycostream.transports.taken import bytes_taken


class Holder:
    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return self.sock


def taken(sock: Any) -> int:
    return bytes_taken(cast(asyncio.BaseTransport, Holder(sock)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
async def test_it_grows_while_the_peer_reads_and_only_then() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(listening.getsockname())
    ours, _ = listening.accept()
    with listening, peer, ours:
        peer.setblocking(False)
        ours.setblocking(False)
        before, sent = taken(ours), 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1 << 30:
                sent += ours.send(b"x" * 65536)
        async with asyncio.timeout(10):
            while taken(ours) == before:  # its kernel has taken what fits
                await asyncio.sleep(0.001)
            full = -1
            while full != (full := taken(ours)):
                await asyncio.sleep(0.05)
        assert before < full < before + sent
        loop = asyncio.get_running_loop()
        read = 0
        async with asyncio.timeout(10):
            while read < sent:
                read += len(await loop.sock_recv(peer, 1 << 20))
            while taken(ours) < before + sent:
                await asyncio.sleep(0.001)
    assert taken(ours) == 0  # closed


def test_without_a_socket_nobody_tells() -> None:
    assert taken(None) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_a_kernel_that_tells_less() -> None:
    class Old:
        def getsockopt(self, *_: int) -> bytes:
            return bytes(104)

    assert taken(Old()) == 0

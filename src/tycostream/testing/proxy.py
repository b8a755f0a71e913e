"""A TCP proxy on loopback that fails on command, between a client and any upstream.

Faults apply to the connections that exist (``present``), to those that come (``new``), or to both, and stay until
``heal``. Bytes in flight are bounded: a chunk and the sockets' buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from tycostream.testing.listener import Listener

_CHUNK_BYTES: Final = 64 * 1024
_STEPS_PER_S: Final = 50  # how smoothly a slow connection trickles


class Direction(Enum):
    """Which way bytes go: ``UP`` to the upstream, ``DOWN`` to the client."""

    UP = "up"
    DOWN = "down"


BOTH: Final = frozenset(Direction)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a connection suffers; the default is nothing.

    ``stalled``: directions in which bytes stop. ``bytes_per_s``: of each direction. ``cut_after``: bytes from the
    upstream until the connection is cut. ``at_once``: what happens to a new connection: ``cut``, ``reset`` or ``black_hole``.
    """

    stalled: frozenset[Direction] = frozenset()
    bytes_per_s: float | None = None
    cut_after: int | None = None
    at_once: str = ""


class _Link:
    """One client's connection and its upstream's."""

    def __init__(self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.fault = fault
        self.changed = asyncio.Event()
        self.swallowing = False
        self.client = (reader, writer)
        self.upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.pumps: list[asyncio.Task[None]] = []

    def suffer(self, fault: Fault) -> None:
        """From now on."""
        self.fault = fault
        self.changed.set()

    def close(self, *, reset: bool) -> None:
        """Both sides, by FIN or by RST."""
        for _, writer in filter(None, (self.client, self.upstream)):
            _end(writer, reset=reset)
        for pump in self.pumps:
            pump.cancel()

    def half_open(self) -> None:
        """The upstream goes; the client is told nothing and heard no more."""
        self.swallowing = True
        if self.upstream is not None:
            self.upstream[1].close()
        for pump in self.pumps:
            pump.cancel()

    async def run(self) -> None:
        """Until both directions have ended, or a fault ends them; then, swallowing, until the client leaves."""
        if self.upstream is not None:
            self.pumps = [
                asyncio.create_task(self._pump(Direction.UP, self.client[0], self.upstream[1])),
                asyncio.create_task(self._pump(Direction.DOWN, self.upstream[0], self.client[1])),
            ]
            try:
                await asyncio.wait(self.pumps)
            finally:
                for pump in self.pumps:
                    pump.cancel()
                await asyncio.gather(*self.pumps, return_exceptions=True)
        with contextlib.suppress(OSError):
            while self.swallowing and await self.client[0].read(_CHUNK_BYTES):
                pass

    async def _pump(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                while data:
                    data = data[await self._pass(direction, data, writer) :]
            await self._flowing(direction)
            writer.write_eof()
            return
        for _, other in filter(None, (self.client, self.upstream)):  # one side broke: tell the other
            other.close()

    async def _pass(self, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> int:
        """Pass on as much as the faults of this moment allow; gives how much that was."""
        await self._flowing(direction)
        count, rate, left = len(data), self.fault.bytes_per_s, self.fault.cut_after
        if rate is not None:
            count = min(count, max(1, round(rate / _STEPS_PER_S)))
        if direction is Direction.DOWN and left is not None:
            count = min(count, left)
            self.fault = replace(self.fault, cut_after=left - count)
        writer.write(data[:count])
        await writer.drain()
        if direction is Direction.DOWN and self.fault.cut_after == 0:
            self.close(reset=False)
            await asyncio.sleep(0)  # the cancellation arrives here
        if rate is not None:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):  # healed, it need not wait to the end
                async with asyncio.timeout(count / rate):
                    await self.changed.wait()
        return count

    async def _flowing(self, direction: Direction) -> None:
        while direction in self.fault.stalled:
            self.changed.clear()
            await self.changed.wait()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        raw: Any = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


class FaultProxy:
    """See the module. Faults are ordinary functions, for use on the loop that the proxy runs on."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = Listener(self._serve)
        self._fault = Fault()
        self._links: set[_Link] = set()
        self._changed = asyncio.Event()
        self.accepted = 0  # connections ever accepted

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._listener.listen(True)

    async def stop(self) -> None:
        """End everything."""
        for link in list(self._links):
            link.close(reset=True)
        await self._listener.stop()

    @property
    def port(self) -> int:
        """Where it listens, or did."""
        return self._listener.port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._links)

    async def connected(self, count: int = 1, timeout_s: float = 10) -> None:
        """Until at least ``count`` connections were ever accepted; TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.accepted < count:
                self._changed.clear()
                await self._changed.wait()

    # -- faults ---------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Pass everything again; what was stalled goes on, what was closed stays closed."""
        self._suffer(Fault(), present=True, new=True)
        self.refuse(False)

    def cut(self, *, present: bool = True, new: bool = False) -> None:
        """Close by FIN; new ones as soon as they are accepted."""
        self._end(present=present, new=new, reset=False)

    def reset(self, *, present: bool = True, new: bool = False) -> None:
        """Close by RST."""
        self._end(present=present, new=new, reset=True)

    def stall(
        self, directions: frozenset[Direction] = BOTH, *, present: bool = True, new: bool = True
    ) -> None:
        """Bytes stop, nothing is closed; they are not lost, ``heal`` lets them go on."""
        self._suffer(Fault(stalled=directions), present=present, new=new)

    def half_open(self) -> None:
        """Close the upstream's side of present connections; their clients hear nothing of it, ever."""
        for link in self._links:
            link.half_open()

    def black_hole(self) -> None:
        """Accept new connections and never answer; the upstream is not asked."""
        self._suffer(Fault(at_once="black_hole"), present=False, new=True)

    def refuse(self, on: bool = True) -> None:
        """Do not listen; or listen again."""
        self._listener.listen(not on)

    def slow(self, bytes_per_s: float, *, present: bool = True, new: bool = True) -> None:
        """Let so many bytes a second pass in each direction of each connection."""
        self._suffer(Fault(bytes_per_s=bytes_per_s), present=present, new=new)

    def cut_after(self, count: int, *, present: bool = True, new: bool = True) -> None:
        """Cut each connection once ``count`` (at least 1) more bytes of its upstream have passed."""
        if count < 1:
            raise ValueError("cut_after needs at least one byte; use cut()")
        self._suffer(Fault(cut_after=count), present=present, new=new)

    def _suffer(self, fault: Fault, *, present: bool, new: bool) -> None:
        if new:
            self._fault = fault
        if present:
            for link in self._links:
                link.suffer(fault)

    def _end(self, *, present: bool, new: bool, reset: bool) -> None:
        if new:
            self._fault = Fault(at_once="reset" if reset else "cut")
        if present:
            for link in list(self._links):
                link.close(reset=reset)

    # -- connections ----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self._fault, reader, writer)
        self._links.add(link)
        self.accepted += 1
        self._changed.set()
        try:
            fault = link.fault.at_once
            if fault in ("cut", "reset"):
                link.close(reset=fault == "reset")
                return
            link.swallowing = fault == "black_hole"
            if not link.swallowing:
                try:
                    link.upstream = await asyncio.open_connection(*self._upstream)
                except OSError:
                    return  # nobody there: the client sees its connection end
            await link.run()
        finally:
            self._links.discard(link)
            if link.upstream is not None:
                link.upstream[1].close()

"""The replication connection itself: starts, hands over what has arrived, and tells the server where we are."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg import pq

from tycostream.clock import Clock
from tycostream.engines.decode import pgoutput
from tycostream.engines.libpq import Connection, retry, safe
from tycostream.engines.postgres import slots

STATUS_S: Final = 1.0  # how often we tell the server where we are, and ask where it is
_READ_MESSAGES = 2_000  # after so many messages ``drain`` returns, so that one task never hogs the loop
_EPOCH_2000 = 946_684_800


class Replication:
    """START_REPLICATION over one connection. ``url`` is only for what must not be in an error's text.

    ``more``: libpq holds messages that the socket will not announce again.
    """

    def __init__(self, connection: Connection, url: str, clock: Clock) -> None:
        self._connection, self._url, self._clock = connection, url, clock
        self.started = self.more = False
        self.wake = asyncio.Event()  # ends ``wait``
        self._status_due = 0.0
        self._asked = False  # the server wants an answer at once
        self._heard = False  # whether the server has said anything since the last status, which asks it to

    async def start(self, slot: str, publication: str, lsn: int = 0) -> None:
        """Stream what ``slot`` has after ``lsn``, or from where it is confirmed; UpstreamError if the server refuses."""
        name = publication.replace('"', '""').replace("'", "''")
        command = f"START_REPLICATION SLOT \"{slot}\" LOGICAL {lsn >> 32:X}/{lsn & 0xFFFFFFFF:X} (proto_version '1', publication_names '\"{name}\"')"
        pgconn = self._connection.pgconn
        pgconn.send_query(command.encode())
        while pgconn.flush():
            await self._readable(1.0)
        while pgconn.is_busy():
            await self._readable(1.0)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            text = safe(result.get_error_message() if result else "", self._url)
            if (found := re.search(r"is active for PID (\d+)", text)) is not None:
                raise slots.active(slot, found[1])
            raise retry("replication", "the server did not start replication", detail=text)
        self.started = self._heard = True

    async def wait(self) -> None:
        """Until there is something to ``drain``, ``wake`` is set, or the next status is due."""
        await self._readable(max(0.001, self._status_due - self._clock.monotonic()))

    async def _readable(self, timeout_s: float) -> None:
        loop, socket = asyncio.get_running_loop(), self._connection.pgconn.socket
        self.wake.clear()
        loop.add_reader(socket, self.wake.set)
        timer = self._clock.call_later(timeout_s, self.wake.set)
        try:
            await self.wake.wait()
        finally:
            timer.cancel()
            loop.remove_reader(socket)

    def status(self, lsn: int, flushed: int, every_s: float = STATUS_S) -> bool:
        """Tell the server where we are, if that is due, and ask for an answer; whether it was due and the server lives.

        ``flushed``: what it need not keep for us. A long transaction that is still arriving is a sign of life too.
        """
        if self._asked:
            # It asks at once only when it heard nothing for long, or shuts down; and to shut down it waits until all is
            # confirmed. To keep it from that would be worse than a history that begins later.
            flushed = lsn
        now = self._clock.monotonic()
        self._status_due = min(self._status_due, now + every_s)
        if now < self._status_due:
            return False
        self._status_due = now + every_s
        clock_us = int((self._clock.time() - _EPOCH_2000) * 1e6)
        with contextlib.suppress(psycopg.Error):  # a lost connection shows itself to the reader
            self._connection.pgconn.put_copy_data(
                pgoutput.status_update(lsn, clock_us, flushed=flushed, reply=True)
            )
            self._connection.pgconn.flush()
        heard, self._heard, self._asked = self._heard, False, False
        return heard

    def drain(self, take: Callable[[bytes], bool]) -> None:
        """Give ``take`` each message that is there; it says whether the server wants a status at once."""
        pgconn = self._connection.pgconn
        self.more = False
        try:
            pgconn.consume_input()
            for _ in range(_READ_MESSAGES):
                size, data = pgconn.get_copy_data(1)
                if size == 0:
                    return
                if size < 0:
                    result = pgconn.get_result()
                    text = result.get_error_message() if result is not None else ""
                    said, detail = "the replication connection ended", text or pgconn.get_error_message()
                    raise retry("connection-lost", said, detail=safe(detail, self._url))
                self._heard = True
                if take(bytes(data)):
                    self._status_due, self._asked = 0.0, True
            self.more = True
        except psycopg.Error as error:
            said = "the replication connection was lost"
            raise retry("connection-lost", said, detail=safe(str(error), self._url)) from None

    async def close(self) -> None:
        """End it; a temporary slot goes with it."""
        await self._connection.close()

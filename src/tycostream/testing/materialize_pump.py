"""From a running SUBSCRIBE to the wire: all of it, or as much as a FETCH asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tycostream.testing.materialize_subscribe import Cut, Subscription
from tycostream.testing.pgwire_connection import Output
from tycostream.testing.pgwire_messages import Cells, copy_line, data_row, message

Send = Callable[[Sequence[Cells]], Awaitable[None]]


async def fetch_rows(running: Subscription, out: Output, limit: int | None, timeout_s: float | None) -> int:
    """FETCH's rows. Without a timeout: wait for the first, then what is ready; with one: until it is over or enough."""
    loop = asyncio.get_running_loop()
    deadline = None if timeout_s is None else loop.time() + timeout_s
    out.describe()
    count = 0
    while limit is None or count < limit:
        taken = running.take(None if limit is None else limit - count)
        if isinstance(taken, Cut):
            await _cut(taken, out, copies=False)
        elif taken:
            count += len(taken)
            await out.rows(taken)
        elif running.error is not None:
            raise running.error
        elif running.finished or (deadline is None and count):
            break
        else:
            try:
                async with asyncio.timeout_at(deadline):
                    await running.wait()
            except TimeoutError:
                break
    return count


async def pump(running: Subscription, out: Output, send: Send, *, copies: bool) -> int:
    """Every row until the SUBSCRIBE ends."""
    count = 0
    while True:
        taken = running.take()
        if isinstance(taken, Cut):
            await _cut(taken, out, copies=copies)
        elif taken:
            count += len(taken)
            await send(taken)
        elif running.error is not None:
            raise running.error
        elif running.finished:
            return count
        else:
            await running.wait()


async def _cut(cut: Cut, out: Output, *, copies: bool) -> None:
    """Half a message, or a whole message of half a row, and then nothing."""
    if copies and cut.framed:
        line = copy_line(cut.row)
        await out.cut(message(b"d", line[: len(line) // 2]))
    whole = message(b"d", copy_line(cut.row)) if copies else data_row(cut.row)
    await out.cut(whole[: len(whole) // 2])

"""A block that ends with an error from elsewhere: whoever else cancels the task is not taken for it."""

from __future__ import annotations

import asyncio

import pytest

from tycostream.errors import RequestError
from tycostream.live.deadline import Deadline, Interruptible, too_slow
from tycostream.testing.clock import FakeClock

LATE = too_slow(2.0)


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_block_that_is_late_ends_with_the_error_and_the_task_goes_on() -> None:
    clock = FakeClock()
    asyncio.get_running_loop().call_soon(clock.advance, 2.0)
    with pytest.raises(RequestError) as caught, Deadline(clock, 2.0, LATE):
        await forever()
    assert caught.value is LATE
    assert (LATE.message, LATE.limit) == ("the query took longer than 2 s", "time_limit")
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_is_in_time_is_left_alone_and_its_timer_called_off() -> None:
    clock = FakeClock()
    with Deadline(clock, 2.0, LATE):
        await asyncio.sleep(0)
        clock.advance(1.9)
    clock.advance(10)
    await asyncio.sleep(0)


def _fail() -> None:
    raise ZeroDivisionError


async def test_what_the_block_raises_itself_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), Deadline(FakeClock(), 2.0, LATE):
        _fail()


async def test_who_cancels_the_task_cancels_it() -> None:
    clock = FakeClock()
    inside = asyncio.Event()

    async def work() -> None:
        with Deadline(clock, 2.0, LATE):
            inside.set()
            await forever()

    for late in (False, True):
        inside.clear()
        task = asyncio.create_task(work())
        await inside.wait()
        if late:
            clock.advance(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("inner_first", [True, False])
async def test_of_two_the_one_that_ended_it_is_told(inner_first: bool) -> None:
    clock, outer = FakeClock(), Interruptible()
    other = RequestError("access-denied", "over")
    soon = asyncio.get_running_loop().call_soon
    if inner_first:
        soon(clock.advance, 2.0)
    else:
        soon(outer.end, other)
    with pytest.raises(RequestError) as caught, outer, Deadline(clock, 2.0, LATE):
        await forever()
    assert caught.value is (LATE if inner_first else other)


async def test_one_that_is_over_before_it_begins_begins_nothing() -> None:
    block = Interruptible()
    block.end(LATE)
    block.end(RequestError("unexpected", "second"))
    with pytest.raises(RequestError) as caught, block:
        raise AssertionError("it began")
    assert caught.value is LATE

"""A large answer is put together in slices: the same bytes, and no step that copies all of them."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.live.live_harness import ITEMS, make_hub, plan
from tests.live.test_slices import Counting
from tycostream.graphql.plan import Mode
from tycostream.live import joining as joining_module
from tycostream.live.joining import Joining
from tycostream.rows import Position


@pytest.mark.parametrize("parts", [[], [b""], [b"abc"], [b"a", b"", b"bcd", b"ef", b"g"]])
def test_the_payload_is_all_parts(parts: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining_module, "_BYTES_PER_STEP", 2)
    joining = Joining(parts)
    steps = 1
    while not joining.step():
        steps += 1
    assert joining.payload() == b"".join(parts)
    assert type(joining.payload()) is bytes
    assert steps <= 1 + len(b"".join(parts)) / 2


async def test_a_large_answer_takes_as_many_turns_as_it_has_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Counting()
    hub = make_hub(clock)
    hub.load("items", [(n, n, "x" * 50) for n in range(10_000)], Position("life", 0, 1))
    turns: list[int] = []
    for bytes_per_step in (1 << 30, 1 << 30, 100_000):  # the first has to sort
        monkeypatch.setattr(joining_module, "_BYTES_PER_STEP", bytes_per_step)
        before = clock.turns
        task = asyncio.ensure_future(hub.query(plan(ITEMS, Mode.LIST)))
        while not task.done():
            clock.one()
            await asyncio.sleep(0)
        turns.append(clock.turns - before)
        answer = task.result()
        assert [row[0] for row in json.loads(answer)["data"]["root"]] == list(range(10_000))
        assert len(answer) > 600_000
    assert turns[2] - turns[1] >= 4

"""A fake Materialize and a fake RisingWave whose time a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.testing.feed import MovedClock
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.risingwave import FakeRisingWave


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def fake(clock: MovedClock) -> AsyncIterator[FakeMaterialize]:
    made = FakeMaterialize(now_ms=clock, progress_s=None)
    made.create_table("t", {"id": "integer", "name": "text"}, key=("id",))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def rw(clock: MovedClock) -> AsyncIterator[FakeRisingWave]:
    """A fake RisingWave with a table ``t`` and a subscription ``s``; a second of a timeout lasts a tenth."""
    made = FakeRisingWave(now_ms=clock, checkpoint_s=None, second_s=0.1)
    made.create_table("t", {"id": "integer", "name": "text"}, key=("id",))
    made.create_subscription("s", "t")
    await made.start()
    yield made
    await made.stop()

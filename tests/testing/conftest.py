"""A fake Materialize whose time a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.testing.feed import MovedClock
from tycostream.testing.materialize import FakeMaterialize


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

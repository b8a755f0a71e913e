"""A fake Materialize under the stream contract: time passes by itself, each source has a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tests.engines.fake_upstream import FakeUpstream
from tycostream.clock import Clock, SystemClock
from tycostream.config.model import Consistency, DatabaseConfig, EngineName
from tycostream.engines.base import Engine
from tycostream.engines.materialize import MaterializeEngine
from tycostream.observe.events import Emit, silent
from tycostream.testing.materialize import FakeMaterialize

PROGRESS_S = 0.05


def make_engine(
    url: str,
    *,
    enums: Mapping[str, tuple[str, ...]] | None = None,
    emit: Emit = silent,
    clock: Clock | None = None,
    **config: Any,
) -> MaterializeEngine:
    """An engine of the database ``main``."""
    database = DatabaseConfig(engine=EngineName.MATERIALIZE, url=url, **config)
    return MaterializeEngine("main", database, enums or {}, emit, clock or SystemClock())


@contextlib.asynccontextmanager
async def materialize(**options: Any) -> AsyncIterator[FakeMaterialize]:
    """A running fake; its time passes twenty times a second unless told otherwise."""
    fake = FakeMaterialize(**{"progress_s": PROGRESS_S, **options})
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


class MaterializeUpstream(FakeUpstream[FakeMaterialize]):
    """See Upstream."""

    def __init__(self, fake: FakeMaterialize, consistency: Consistency) -> None:
        super().__init__(fake)
        self.engine: MaterializeEngine = make_engine(fake.url, consistency=consistency)

    @contextlib.asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        self.fake.stall()
        yield
        self.fake.resume()

    async def spoil(self, table: str) -> None:
        self.fake.fail(table)

    async def mend(self, table: str) -> None:
        self.fake.heal(table)

    def unreachable(self) -> Engine:
        return make_engine("postgresql://nobody@127.0.0.1:1/none")

    async def left_behind(self) -> list[str]:
        running = ["a SUBSCRIBE"] * self.fake.subscriptions()
        return running + ["a connection"] * max(0, self.fake.connections - 1)  # one asks the catalogue

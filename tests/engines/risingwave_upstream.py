"""A fake RisingWave under the stream contract: every write is an epoch, and each source has a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tests.engines.fake_upstream import TYPES, FakeUpstream
from tests.engines.upstreams import Write
from tycostream.clock import Clock, SystemClock
from tycostream.config.model import DatabaseConfig, EngineName
from tycostream.engines.base import Engine
from tycostream.engines.risingwave import RisingWaveEngine
from tycostream.observe.events import Emit, silent
from tycostream.testing.risingwave import FakeRisingWave


def make_engine(
    url: str,
    *,
    enums: Mapping[str, tuple[str, ...]] | None = None,
    emit: Emit = silent,
    clock: Clock | None = None,
    name: str = "test",
    **config: Any,
) -> RisingWaveEngine:
    """An engine of the database ``main``."""
    database = DatabaseConfig(engine=EngineName.RISINGWAVE, url=url, **config)
    return RisingWaveEngine("main", database, name, enums or {}, emit, clock or SystemClock())


@contextlib.asynccontextmanager
async def risingwave(**options: Any) -> AsyncIterator[FakeRisingWave]:
    """A running fake, whose seconds are short."""
    fake = FakeRisingWave(**{"second_s": 0.05, **options})
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


class RisingWaveUpstream(FakeUpstream[FakeRisingWave]):
    """See Upstream."""

    def __init__(self, fake: FakeRisingWave) -> None:
        super().__init__(fake)
        self.engine: RisingWaveEngine = make_engine(fake.url, manage=True)

    async def write(self, *writes: Write) -> None:
        """Every write is an epoch."""
        await super().write(*writes)
        self.fake.checkpoint()

    @contextlib.asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        self.fake.stall(silent=True)
        yield
        self.fake.resume()

    async def spoil(self, table: str) -> None:
        self.fake.drop(table)

    async def mend(self, table: str) -> None:
        self.fake.create_table(table, TYPES, key=("id",))

    def unreachable(self) -> Engine:
        return make_engine("postgresql://nobody@127.0.0.1:1/none")

    async def left_behind(self) -> list[str]:
        declared = ["a cursor"] * self.fake.cursors()
        return declared + ["a connection"] * max(0, self.fake.connections - 1)  # one asks the catalogue

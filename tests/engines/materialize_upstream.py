"""A fake Materialize under the stream contract: time passes by itself, each source has a connection of its own."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tests.engines.upstreams import COLUMNS, Write
from tycostream.clock import Clock, SystemClock
from tycostream.config.model import Consistency, DatabaseConfig, EngineName, SourceConfig
from tycostream.engines.base import Engine
from tycostream.engines.materialize import MaterializeEngine
from tycostream.observe.events import Emit, silent
from tycostream.rows import Row
from tycostream.testing.materialize import FakeMaterialize

TYPES = dict(zip(COLUMNS, ("bigint", "bigint", "text"), strict=True))
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


def texts(row: Row) -> tuple[str | None, ...]:
    """Cells as Materialize prints them."""
    return tuple(None if cell is None else str(cell) for cell in row)


class MaterializeUpstream:
    """See Upstream."""

    resumes = True
    stalls = True
    merges = False

    def __init__(self, fake: FakeMaterialize, consistency: Consistency) -> None:
        self.fake = fake
        self.engine: MaterializeEngine = make_engine(fake.url, consistency=consistency)

    async def create(self, table: str, *, keyed: bool = True) -> SourceConfig:
        self.fake.create_table(table, TYPES, key=("id",) if keyed else None)
        return SourceConfig(name=table)

    async def write(self, *writes: Write) -> None:
        made: Counter[tuple[str, Row]] = Counter()
        for write in writes:
            if write.old is None and write.new is None:
                for held, count in self.fake.rows(write.table).items():
                    made[write.table, held] -= count
            for row, diff in ((write.old, -1), (write.new, 1)):
                if row is not None:
                    made[write.table, texts(row)] += diff
        self.fake.transaction((table, row, diff) for (table, row), diff in made.items() if diff)

    async def rows(self, table: str) -> Counter[Row]:
        held = self.fake.rows(table).items()
        return Counter({(int(i or 0), int(n or 0), tag): count for (i, n, tag), count in held})

    async def cut(self) -> None:
        self.fake.restart()

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

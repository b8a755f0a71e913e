"""What the fake databases have in common under the stream contract: tables of texts, written by multiplicities."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

from tests.engines.upstreams import COLUMNS, Write
from tycostream.config.model import SourceConfig
from tycostream.rows import Row
from tycostream.testing.materialize import FakeMaterialize
from tycostream.testing.risingwave import FakeRisingWave

TYPES = dict(zip(COLUMNS, ("bigint", "bigint", "text"), strict=True))
Fake = TypeVar("Fake", FakeMaterialize, FakeRisingWave)


def texts(row: Row) -> tuple[str | None, ...]:
    """Cells as these databases print them."""
    return tuple(None if cell is None else str(cell) for cell in row)


class FakeUpstream(Generic[Fake]):
    """The part of Upstream that writes, reads and cuts."""

    resumes = True
    stalls = True
    merges = False

    def __init__(self, fake: Fake) -> None:
        self.fake: Fake = fake

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

"""What the log takes its entries to weigh: bounds are in bytes, so long cells must count."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tycostream.dataflow.log import Log
from tycostream.rows import Cell, Change, Column, Position, RowType
from tycostream.scalars import scalar_for

NAMES = ["int8", "text", "numeric", "jsonb", "timestamptz", "text[]"]
ROWS = RowType("rows", tuple(Column(name, scalar_for(name)) for name in NAMES), key=(0,))
ARRAY = scalar_for("text[]")


@pytest.mark.parametrize(
    ("place", "cell"),
    [
        (1, "x" * 100_000),
        (1, "é" * 100_000),
        (2, Decimal("1" * 100_000)),
        (3, "1" * 100_000),
        (5, ARRAY.literal(["x" * 100_000])),
        (5, ARRAY.literal(["x", None] * 5_000)),
    ],
)
@pytest.mark.parametrize("count", [1, 15, 40])
def test_long_cells_count_whatever_their_type(place: int, cell: Cell, count: int) -> None:
    log = Log(ROWS, Position("", 0, 0), bytes_max=1 << 30, keep_s=60)
    short = (1, "x", Decimal(1), "1", 0, None)
    long = tuple(cell if i == place else each for i, each in enumerate(short))
    log.append(Position("", 0, 1), [Change(1, short, short)] * count, resync=False, now_s=0)
    assert 300 * count < log.bytes < 2000 * count
    before = log.bytes
    log.append(Position("", 0, 2), [Change(1, short, long)] * count, resync=False, now_s=0)
    assert log.bytes - before > 40_000 * count
    log.append(Position("", 0, 3), [Change(1, long, None)] * count, resync=False, now_s=0)
    assert log.bytes - before > 80_000 * count


def test_an_entry_over_the_bound_goes_at_once_and_takes_its_bytes_along() -> None:
    log = Log(ROWS, Position("", 0, 0), bytes_max=1000, keep_s=60)
    log.append(
        Position("", 0, 1), [Change(1, None, (1, "x" * 2000, None, None, None, None))], resync=False, now_s=0
    )
    assert (log.bytes, log.floor, log.head) == (0, 1, 1)

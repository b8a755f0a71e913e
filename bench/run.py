"""In-process benchmarks of the core: JSON on standard output, CPU time, median of three. Never a test.

    make bench            # or: python bench/run.py

They leave sockets and the upstream out; the figures of a whole server come with the fake upstream's tools.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal

from tycostream.auth.session import Session
from tycostream.config.model import LiveConfig
from tycostream.graphql.execute import Planner
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Column, Position, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.clock import FakeClock
from tycostream.transports.wire.transport_ws import FRAMING

TRADES = RowType(
    "trades",
    tuple(
        Column(name, SCALARS[kind], nullable=name != "id")
        for name, kind in (
            ("id", "int8"),
            ("symbol", "text"),
            ("side", "text"),
            ("price", "numeric"),
            ("qty", "int4"),
            ("executed_at", "timestamptz"),
            ("sent_ns", "int8"),
        )
    ),
    key=(0,),
)
PLANNER = Planner([TRADES])
ROW = "row { id symbol side price qty executed_at sent_ns }"
FEED = f"subscription {{ trades_changes {{ phase changes {{ operation {ROW} changed }} }} }}"
FILTERED = (
    f"subscription($w: trades_bool_exp) {{ trades_changes(where: $w) {{ changes {{ operation {ROW} }} }} }}"
)


class Nothing:
    """A socket that takes everything and keeps nothing."""

    def write(self, data: bytes) -> None:
        """See Sink."""

    def abort(self, code: int, reason: str) -> None:
        """See Sink."""


def row(n: int) -> Row:
    return (n % 1000, f"S{n % 100}", "buy", Decimal("101.2500"), n % 900, 1_700_000_000_000_000 + n, n)


def started(
    clients: int, query: str, variables: Callable[[int], dict[str, object] | None]
) -> tuple[Hub, FakeClock]:
    clock = FakeClock()
    hub = Hub(clock, silent, CursorBox(), outbox_bytes_max=1 << 22)
    hub.add_source(TRADES, LiveConfig())
    hub.load("trades", [], Position("bench", 0, 0))
    for n in range(clients):
        plan = PLANNER.plan(query, None, variables(n), Session())
        hub.subscribe(plan, hub.outbox(FRAMING, Nothing()), b"1", lambda: None)
    for _ in range(4):
        clock.run()
    return hub, clock


def run(
    clients: int,
    batches: int,
    per_tick: int,
    per_batch: int = 1,
    query: str = FEED,
    variables: Callable[[int], dict[str, object] | None] = lambda n: None,
) -> float:
    """CPU µs per upstream row."""
    hub, clock = started(clients, query, variables)
    rows = [
        Batch(
            Position("bench", 0, n + 1),
            {"trades": [Change(r[0], None, r) for r in (row(n * per_batch + i) for i in range(per_batch))]},
        )
        for n in range(batches)
    ]
    gc.collect()
    begin = time.process_time()
    for n, batch in enumerate(rows):
        hub.apply(batch)
        if n % per_tick == per_tick - 1:
            clock.run()
    clock.run()
    return (time.process_time() - begin) / batches / per_batch * 1e6


def by_symbol(count: int) -> Callable[[int], dict[str, object]]:
    return lambda n: {"w": {"symbol": {"_eq": f"S{n % count}"}}}


def median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(3))


def main() -> None:
    """Print every figure."""
    hundred = median(lambda: run(100, 3000, 16))
    thousand = median(lambda: run(1000, 600, 16))
    figures = {
        "ingest_rows_per_s_no_subscriber": 1e6 / median(lambda: run(0, 2000, 1, per_batch=100)),
        "ingest_rows_per_s_one_live_cohort": 1e6 / median(lambda: run(1, 2000, 1, per_batch=100)),
        "fanout_100_clients_16_per_tick_us_per_delivered": hundred / 100,
        "fanout_1000_clients_16_per_tick_us_per_delivered": thousand / 1000,
        "filters_10_us_per_row": median(lambda: run(10, 10_000, 16, query=FILTERED, variables=by_symbol(10))),
        "filters_100_us_per_row": median(
            lambda: run(100, 10_000, 16, query=FILTERED, variables=by_symbol(100))
        ),
    }
    json.dump({name: round(value, 3) for name, value in figures.items()}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

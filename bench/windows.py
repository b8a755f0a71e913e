"""Live windows far down a large source: CPU per change, the time until the first result, memory. JSON, never a test.

    make bench-windows                         # or: python bench/windows.py [--rows 500000] [--windows 50] [--changes 2000]

In one process, without sockets or a database. Every window is ``order_by: {qty: desc, id: asc}, limit: 20``; by offset
they lie evenly over the whole source, by key each begins behind another row. A change gives a random row another
``qty``, so that it moves from one place to another and half of the windows shift; ``still`` changes another column.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import sys
import time
from decimal import Decimal

from run import FRAMING, PLANNER, TRADES, Nothing

from tycostream.auth.session import Session
from tycostream.config.model import LiveConfig
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Position, Row
from tycostream.testing.clock import FakeClock

ORDER = "order_by: [{qty: desc}, {id: asc}], limit: 20"
BY_OFFSET = f"subscription($at: Int) {{ trades({ORDER}, offset: $at) {{ id symbol price qty }} }}"
BY_KEY = (
    f"subscription($q: Int, $id: bigint) {{ trades({ORDER}, where: {{_or: [{{qty: {{_lt: $q}}}}, "
    "{qty: {_eq: $q}, id: {_gt: $id}}]}) { id symbol price qty } }"
)
EQUAL = f"subscription($s: String) {{ trades({ORDER}, where: {{symbol: {{_eq: $s}}}}) {{ id symbol price qty }} }}"


class Counting(Nothing):
    """A socket that counts."""

    messages = 0

    def write(self, data: bytes) -> None:
        """See Sink."""
        Counting.messages += 1


def row(n: int, qty: int, note: int = 0) -> Row:
    return (n, f"S{n % 5000}", "buy", Decimal("101.2500"), qty, 1_700_000_000_000_000 + n, note)


def measured(kind: str, rows: int, windows: int, changes: int) -> dict[str, float]:
    """One kind of windows, in a hub of its own."""
    chance = random.Random(7)
    clock = FakeClock()
    hub = Hub(clock, silent, CursorBox(), outbox_bytes_max=1 << 22)
    hub.add_source(TRADES, LiveConfig())
    quantities = [chance.randrange(1_000_000) for _ in range(rows)]
    hub.load("trades", [row(n, qty) for n, qty in enumerate(quantities)], Position("bench", 0, 0))
    gc.collect()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    for n in range(windows):
        at = rows * n // windows
        given: dict[str, object]
        if kind == "by key":
            document, given = BY_KEY, {"q": 1_000_000 - 1_000_000 * n // windows, "id": 0}
        elif kind == "equality":
            document, given = EQUAL, {"s": f"S{n}"}
        else:
            document, given = BY_OFFSET, {"at": at}
        plan = PLANNER.plan(document, None, given, Session())
        hub.subscribe(plan, hub.outbox(FRAMING, Counting()), b"1", lambda: None)
        clock.run()
    made_s = time.process_time() - begin
    held_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    batches = []
    for n in range(changes):
        key = chance.randrange(min(rows, windows) if kind == "equality" else rows)
        if kind != "still":
            quantities[key] = chance.randrange(1_000_000)
        change = Change(key, None, row(key, quantities[key], n + 1))
        batches.append(Batch(Position("bench", 0, n + 1), {"trades": [change]}))
    Counting.messages = 0
    begin = time.process_time()
    for batch in batches:
        hub.apply(batch)
        clock.run()
    spent_s = time.process_time() - begin
    return {
        "made_s": round(made_s, 2),
        "memory_mb": round(held_kb / 1024),
        "us_per_change": round(spent_s / changes * 1e6, 1),
        "pushes_per_change": round(Counting.messages / changes, 2),
    }


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--windows", type=int, default=50)
    parser.add_argument("--changes", type=int, default=2000)
    parser.add_argument("--kind", choices=("by offset", "still", "by key", "equality"))
    options = parser.parse_args()
    kinds = [options.kind] if options.kind else ["by offset", "still", "by key", "equality"]
    figures = {kind: measured(kind, options.rows, options.windows, options.changes) for kind in kinds}
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

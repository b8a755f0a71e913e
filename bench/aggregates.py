"""Live aggregates over a large source: CPU per change, the time until the first result, memory. JSON, never a test.

    make bench-aggregates                      # or: python bench/aggregates.py [--rows 1000000] [--groups 1000] [--changes 20000] [--together 10]

In one process, without sockets or a database. ``groups`` is one aggregate for each of so many symbols (``where: {symbol:
{_eq: …}}``), ``whole`` one over all rows, each once with ``count`` and ``sum`` and once with more functions; ``nobody`` is what
the store alone costs. A change gives a random row another ``qty`` and ``price``, and in one of ten cases another symbol.
``follow`` is what it takes until the aggregates are right again, the store and its index included; ``push`` is everything until
the frame is written, with no pace between pushes.
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
from tycostream.live.collector import walk_seldom
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Position, Row
from tycostream.testing.clock import FakeClock

FEW = "count sum { qty }"
MANY = "count(columns: side, distinct: true) sum { qty price } avg { price } max { price } min { qty } stddev { qty }"
KINDS = {
    "nobody": ("nobody", ""),
    "groups": ("groups", FEW),
    "groups, more": ("groups", MANY),
    "whole": ("whole", FEW),
    "whole, more": ("whole", MANY),
}


class Counting(Nothing):
    """A socket that counts."""

    messages = 0

    def write(self, data: bytes) -> None:
        """See Sink."""
        Counting.messages += 1


def symbol(n: int, groups: int) -> str:
    """The symbol of the row ``n``: equal ones are one string, as an engine's decoder gives them."""
    return sys.intern(f"S{n % groups}")


def row(n: int, name: str, chance: random.Random, note: int = 0) -> Row:
    """A row of bench's trades."""
    price = Decimal(chance.randrange(1_000_000)).scaleb(-4)
    return (n, name, "buy", price, chance.randrange(1_000_000), 1_700_000_000_000_000 + n, note)


def measured(kind: str, rows: int, groups: int, changes: int, together: int) -> dict[str, float]:
    """One kind of aggregates, in a hub of its own; ``together``: changes a transaction."""
    over, fields = KINDS[kind]
    walk_seldom()  # as ``serve`` does
    chance = random.Random(7)
    clock = FakeClock()
    hub = Hub(clock, silent, CursorBox(), outbox_bytes_max=1 << 22)
    hub.add_source(TRADES, LiveConfig())
    names = [symbol(n, groups) for n in range(rows)]
    hub.load("trades", [row(n, name, chance) for n, name in enumerate(names)], Position("bench", 0, 0))
    gc.collect()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    for n in range({"groups": groups, "whole": 1, "nobody": 0}[over]):
        where = f'(where: {{symbol: {{_eq: "{symbol(n, groups)}"}}}})' if over == "groups" else ""
        document = f"subscription {{ trades_aggregate{where} {{ aggregate {{ {fields} }} }} }}"
        plan = PLANNER.plan(document, None, None, Session())
        hub.subscribe(plan, hub.outbox(FRAMING, Counting()), b"1", lambda: None)
    clock.run()
    made_s = time.process_time() - begin
    held_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    gc.collect()
    gc.freeze()
    figures: dict[str, float] = {"made_s": round(made_s, 2), "memory_mb": round(held_kb / 1024)}
    done = 0
    for what in ("follow", "push"):
        edits = []
        for _ in range(changes):
            done += 1
            key = chance.randrange(rows)
            if chance.random() < 0.1:
                names[key] = symbol(chance.randrange(groups), groups)
            edits.append(Change(key, None, row(key, names[key], chance, done)))
        batches = [
            Batch(Position("bench", 0, done - changes + at + together), {"trades": edits[at : at + together]})
            for at in range(0, changes, together)
        ]
        Counting.messages = 0
        begin = time.process_time()
        for batch in batches:
            hub.apply(batch)
            if what == "push":
                clock.run()
        figures[f"{what}_us_per_change"] = round((time.process_time() - begin) / changes * 1e6, 1)
        if what == "push":
            figures["pushes_per_change"] = round(Counting.messages / changes, 2)
        clock.run()
    return figures


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--together", type=int, default=1, help="changes a transaction")
    parser.add_argument("--kind", choices=KINDS)
    options = parser.parse_args()
    kinds = [options.kind] if options.kind else list(KINDS)
    sizes = (options.rows, options.groups, options.changes, options.together)
    figures = {kind: measured(kind, *sizes) for kind in kinds}
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

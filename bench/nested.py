"""Live queries of nested rows: CPU per push when one row changes, and a query answered from memory. JSON, never a test.

    python bench/nested.py [--desks 1000] [--trades 100000] [--changes 2000]

In one process, without sockets or a database. ``push``: a live query of all desks, each with its five newest trades, and
one trade changes; ``aggregate``: each desk with count and sum of its trades instead. ``unseen``: of the same query, a
trade that no desk shows. ``three_levels``: 100 desks with their five trades and each one's instrument, asked once; ``of_many``: five of all their
trades.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
import time
from decimal import Decimal
from statistics import median

from run import FRAMING, Nothing

from tycostream.auth.session import Session
from tycostream.clock import Clock, SystemClock
from tycostream.config.model import LiveConfig, SourceConfig
from tycostream.graphql.execute import Planner
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Column, Position, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.clock import FakeClock


def table(source: str, **columns: str) -> RowType:
    return RowType(
        source,
        tuple(Column(name, SCALARS[kind], nullable=name != "id") for name, kind in columns.items()),
        key=(0,),
    )


DESKS = table("desks", id="int4", name="text")
TRADES = table("trades", id="int8", desk_id="int4", instrument_id="int4", price="numeric", qty="int4")
INSTRUMENTS = table("instruments", id="int4", symbol="text")
TYPES = (DESKS, TRADES, INSTRUMENTS)
SOURCES = {
    "desks": SourceConfig.model_validate(
        {"name": "desks", "relationships": {"trades": {"array": "trades", "on": {"id": "desk_id"}}}}
    ),
    "trades": SourceConfig.model_validate(
        {
            "name": "trades",
            "relationships": {"instrument": {"object": "instruments", "on": {"instrument_id": "id"}}},
        }
    ),
    "instruments": SourceConfig.model_validate({"name": "instruments"}),
}
PLANNER = Planner(TYPES, sources=SOURCES)
NEWEST = "trades(order_by: {id: desc}, limit: 5)"
QUERIES = {
    "push": f"subscription {{ desks {{ id name {NEWEST} {{ id price qty }} }} }}",
    "aggregate": "subscription { desks { id name trades_aggregate { aggregate { count sum { qty } } } } }",
}
THREE = f"query {{ desks(limit: 100) {{ id name {NEWEST} {{ id price qty instrument {{ symbol }} }} }} }}"


def filled(desks: int, trades: int, clock: Clock) -> tuple[Hub, list[Row]]:
    """A hub that holds them."""
    hub = Hub(clock, silent, CursorBox(), outbox_bytes_max=1 << 24)
    rows: list[Row] = [(n, n % desks, n % 500, Decimal("101.25"), n % 900) for n in range(trades)]
    for row_type in TYPES:
        hub.add_source(row_type, LiveConfig())
    hub.load("desks", [(n, f"desk {n}") for n in range(desks)], Position("bench", 0, 0))
    hub.load("trades", rows, Position("bench", 0, 0))
    hub.load("instruments", [(n, f"S{n}") for n in range(500)], Position("bench", 0, 0))
    return hub, rows


class Bytes(Nothing):
    """A socket that counts."""

    written = 0

    def write(self, data: bytes) -> None:
        """See Sink."""
        Bytes.written += len(data)


def pushes(kind: str, desks: int, trades: int, changes: int) -> dict[str, float]:
    """CPU per change of one trade that a desk shows, and of one that none does."""
    clock = FakeClock()
    hub, rows = filled(desks, trades, clock)
    started = time.process_time()
    plan = PLANNER.plan(QUERIES[kind], None, {}, Session())
    hub.subscribe(plan, hub.outbox(FRAMING, Bytes()), b"1", lambda: None)
    clock.run()
    result = {"first_result_ms": round(1000 * (time.process_time() - started), 1)}
    result["result_kb"] = round(Bytes.written / 1000, 1)
    gc.collect()
    gc.freeze()
    chance = random.Random(1)
    shown = range(trades - desks, trades) if trades >= 2 * desks else range(trades)
    for name, places in (("push_us", shown), ("unseen_us", range(trades // 2))):
        spent = []
        for n in range(changes):
            key = chance.choice(places)
            row = (*rows[key][:3], Decimal(n % 1000), n % 901)
            batch = Batch(Position("bench", 0, 1 + n), {"trades": [Change(key, None, row)]})
            started = time.process_time()
            hub.apply(batch)
            clock.advance(1)
            spent.append(time.process_time() - started)
        result[name] = round(1e6 * median(spent), 1)
    return result


def three_levels(desks: int, trades: int) -> float:
    """Milliseconds of CPU of the query asked again and again."""
    plan = PLANNER.plan(THREE, None, {}, Session())

    async def ask() -> list[float]:
        hub, _ = filled(desks, trades, SystemClock())
        spent = []
        for _ in range(100):
            started = time.process_time()
            await hub.query(plan)
            spent.append(time.process_time() - started)
        return spent

    return round(1000 * median(asyncio.run(ask())), 2)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--desks", type=int, default=1000)
    parser.add_argument("--trades", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=500)
    given = parser.parse_args()
    result: dict[str, object] = {
        "three_levels_ms": three_levels(given.desks, 5 * given.desks),
        "three_levels_of_many_ms": three_levels(given.desks, given.trades),
    }
    for kind in QUERIES:
        result[kind] = pushes(kind, given.desks, given.trades, given.changes)
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

"""From the lines of Materialize's SUBSCRIBE to the store, in one process: what a row of the upstream costs before anybody watches.

    python bench/decode.py                # JSON on standard output: µs of a line, CPU time, least tenth and median of the reads

Transactions of 100 changes over 5,000 rows of seven columns, as ``bench/fakemz`` sends them, 200 lines a read.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Iterator

from tycostream.clock import SystemClock
from tycostream.config.model import LiveConfig
from tycostream.engines.decode.subscribe import Closed, Rows, SnapshotEnd, SubscribeDecoder
from tycostream.live.collector import walk_seldom
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.rows import Batch, Column, Position, RowType
from tycostream.scalars import SCALARS

COLUMNS = {
    "id": "int8", "symbol": "text", "side": "text", "price": "numeric", "qty": "int4", "executed_at": "timestamptz", "sent_ns": "int8",
}  # fmt: skip
TRADES = RowType("trades", tuple(Column(n, SCALARS[t]) for n, t in COLUMNS.items()), key=(0,), watched=True)
START, ROWS, TRANSACTIONS = 1_764_000_000_000, 5_000, 1_000


def row(number: int, version: int) -> str:
    """The text of a row's cells."""
    price = f"{100 + version % 97}.{version % 10_000:04}"
    moment = f"2026-11-24 16:{version % 60:02}:{number % 60:02}.{version % 1_000_000:06}+00"
    return (
        f"{number}\tS{number % 500}\tbuy\t{price}\t{version % 900}\t{moment}\t{START * 1_000_000 + version}"
    )


def line(timestamp: int, count: int, cells: str) -> bytes:
    """An update."""
    return f"{timestamp}\tf\t{count}\t{cells}\n".encode()


def progress(timestamp: int) -> bytes:
    """A progress row."""
    return b"%d\tt\t\\N" % timestamp + b"\t\\N" * len(COLUMNS) + b"\n"


def transactions(kind: str, rows: dict[int, str]) -> Iterator[list[bytes]]:
    """The lines of each: inserts and deletes by turns, or updates."""
    keys, fresh = list(rows), ROWS
    for number in range(TRANSACTIONS):
        at, lines, added = START + 1 + number, list[bytes](), list[int]()
        for change in range(100):
            if kind == "updates":
                key = (number * 100 + change) * 7 % ROWS
                lines.append(line(at, -1, rows[key]))
                rows[key] = row(key, number * 100 + change)
                lines.append(line(at, 1, rows[key]))
            elif change % 2:
                lines.append(line(at, -1, rows.pop(keys.pop(random.randrange(len(keys))))))
            else:
                rows[fresh] = row(fresh, number)
                lines.append(line(at, 1, rows[fresh]))
                added.append(fresh)
                fresh += 1
        keys += added
        yield [*lines, progress(at + 1)]


def take(decoder: SubscribeDecoder, hub: Hub) -> None:
    """What the decoder knows goes to the store."""
    for item in decoder.take():
        match item:
            case Rows(rows):
                hub.fill("trades", rows)
            case SnapshotEnd(at):
                hub.loaded("trades", Position("bench", 0, at))
            case Closed(at, changes):
                hub.apply(Batch(Position("bench", 0, at), {"trades": changes}))


async def measure(kind: str) -> dict[str, float]:
    """µs a line, of decoding and netting, and of applying."""
    hub = Hub(SystemClock(), lambda event: None, CursorBox([]), outbox_bytes_max=2**20)
    hub.add_source(TRADES, LiveConfig())
    decoder = SubscribeDecoder(TRADES, len(COLUMNS), range(len(COLUMNS)))
    rows = {number: row(number, number) for number in range(ROWS)}
    first = [line(START, 1, cells) for cells in rows.values()]
    decoder.feed([progress(START), *first, progress(START + 1)])
    take(decoder, hub)
    lines = [each for transaction in transactions(kind, rows) for each in transaction]
    decoding, applying = [], []
    for start in range(0, len(lines), 200):
        some = lines[start : start + 200]
        began = time.process_time()
        decoder.feed(some)
        between = time.process_time()
        take(decoder, hub)
        decoding.append((between - began) / len(some) * 1e6)
        applying.append((time.process_time() - between) / len(some) * 1e6)
    found = {}
    for name, times in (("decode", decoding), ("net_and_apply", applying)):
        found[f"{name}_us_least_tenth"] = round(statistics.quantiles(times, n=10)[0], 2)
        found[f"{name}_us_median"] = round(statistics.median(times), 2)
    return found


def main() -> None:
    """Measure both kinds."""
    random.seed(1)
    walk_seldom()
    kinds = ("inserts and deletes", "updates")
    print(json.dumps({kind: asyncio.run(measure(kind)) for kind in kinds}, indent=2))


if __name__ == "__main__":
    main()

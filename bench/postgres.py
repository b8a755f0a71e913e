"""Row changes a second from a real PostgreSQL through the replication stream into a store, a core each.

    taskset -c 1 python bench/postgres.py [--rows 200000] [--per-transaction 100] [--server-core 0] [--bin DIR]

The server is the wheel's (or that of ``--bin``), pinned to its own core; this process is pinned by whoever starts it. The
changes are committed before anything is read, so the figure is how fast they are taken in. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import psycopg

from tycostream.clock import SystemClock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.dataflow.store import Store
from tycostream.engines.base import SnapshotPart, SourceFailed
from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.engines.postgres import PostgresEngine
from tycostream.observe.events import silent
from tycostream.rows import Batch

TABLE = """CREATE TABLE trades (id bigint PRIMARY KEY, symbol text, side text, price numeric, quantity int,
  desk text, executed_at timestamptz)"""
INSERT = """INSERT INTO trades SELECT i, 'SYM' || i %% 500, CASE i %% 2 WHEN 0 THEN 'buy' ELSE 'sell' END,
  round(100 + (i * 7919 %% 10000) / 100.0, 2), 1 + i %% 1000, 'desk' || i %% 20, timestamptz '2026-01-01' + i * interval '1 ms'
  FROM generate_series(%s::int, %s::int) i"""
UPDATE = "UPDATE trades SET price = price + 0.01, quantity = quantity + 1 WHERE id BETWEEN %s AND %s"
DELETE = "DELETE FROM trades WHERE id BETWEEN %s AND %s"


async def taken(stream, store: Store, rows: int) -> dict[str, float]:
    """Read until ``rows`` changes have come, the first batch not counted."""
    count, began, cpu = 0, 0.0, 0.0
    while count < rows:
        for event in await stream.read():
            if isinstance(event, SourceFailed):
                raise event.error
            if isinstance(event, Batch):
                if not began:
                    began, cpu = time.perf_counter(), time.process_time()
                changes = event.changes["trades"]
                count += len(changes)
                store.apply(changes)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {
        "rows": count,
        "per_second": round(count / wall_s),
        "cpu_us_per_row": round(1e6 * cpu_s / count, 2),
    }


async def measure(options: argparse.Namespace) -> dict[str, object]:
    folder = Path(tempfile.mkdtemp(prefix="tycostream-bench-", dir="/var/tmp"))
    server = EmbeddedPostgres(folder, settings={"fsync": "off"}, binaries=options.bin)
    found: dict[str, object] = {}
    try:
        url = await server.start()
        assert server.pid is not None
        os.sched_setaffinity(server.pid, {options.server_core})
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
            await db.execute(TABLE)
            engine = PostgresEngine(
                "main", DatabaseConfig(url=url, manage=True), "bench", {}, silent, SystemClock()
            )
            source = SourceConfig(name="trades")
            row_type = await engine.describe(source)
            store = Store(row_type)
            stream = await engine.open()
            await stream.add(row_type, source)
            ready = False
            while not ready:
                for event in await stream.read():
                    ready = ready or isinstance(event, SnapshotPart)
            for name, statement in (("insert", INSERT), ("update", UPDATE), ("delete", DELETE)):
                for first in range(1, options.rows + 1, options.per_transaction):
                    await db.execute(statement, [first, first + options.per_transaction - 1])
                found[name] = await taken(stream, store, options.rows)
            await engine.close()
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--per-transaction", type=int, default=100)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--bin", type=Path, default=None, help="the folder of another server's programs")
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()

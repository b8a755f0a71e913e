"""What it costs to run a view again: over two tables of 100,000 rows, beside the database's own SELECT. JSON lines.

    python bench/reruns.py [--rows 100000] [--repeats 5]

An embedded PostgreSQL in a folder of its own, loopback only, gone at the end. Three times of the same SELECT, medians:
``server_file``: the server alone, COPY … TO '/dev/null'; ``client``: COPY … TO STDOUT, read by libpq and thrown away, which no
client can do without; ``rerun``: tycostream's run, from its start until the difference is known (one row of it has changed,
or a hundredth). ``step_ms``: the longest that the event loop was held up meanwhile, in CPU time: what else the machine does is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg

from tycostream.clock import SystemClock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.engines.postgres import PostgresEngine
from tycostream.engines.postgres.copying import copy_lines
from tycostream.observe.events import Event, SourceRerun
from tycostream.rows import Batch

SCHEMA = """
CREATE TABLE trades (id int PRIMARY KEY, symbol text, price numeric(12, 4), quantity int, executed_at timestamptz);
CREATE TABLE notes (id int PRIMARY KEY, note text, weight numeric);
INSERT INTO trades SELECT i, 'SYM' || i % 500, i % 1000 * 1.25, i % 77, now() FROM generate_series(1, {rows}) i;
INSERT INTO notes SELECT i, 'note ' || md5(i::text), i * 0.5 FROM generate_series(1, {rows}) i;
CREATE VIEW joined AS SELECT id, symbol, price, quantity, executed_at, note, weight, price * quantity AS worth
  FROM trades JOIN notes USING (id);
"""
SELECT = b"COPY (SELECT * FROM joined) TO "


async def median_of(repeats: int, once: Callable[[], Awaitable[float]]) -> float:
    return statistics.median([await once() for _ in range(repeats)])


async def longest_gap(stop: asyncio.Event) -> float:
    longest, last = 0.0, time.thread_time()
    while not stop.is_set():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    return longest


async def measure(url: str, rows: int, repeats: int) -> dict[str, object]:
    runs: list[SourceRerun] = []

    def emit(event: Event) -> None:
        if isinstance(event, SourceRerun):
            runs.append(event)

    config = DatabaseConfig(url=url, manage=True)
    engine = PostgresEngine("main", config, "bench", {}, emit, SystemClock())
    source = SourceConfig(name="joined", primary_key=("id",))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute(SCHEMA.format(rows=rows).encode())
        await db.execute(b"VACUUM ANALYZE trades")
        await db.execute(b"VACUUM ANALYZE notes")

        async def server_file() -> float:
            began = time.perf_counter()
            await db.execute(SELECT + b"'/dev/null'")
            return time.perf_counter() - began

        async def client() -> float:
            began = time.perf_counter()
            async for _ in copy_lines(db, SELECT + b"STDOUT"):
                pass
            return time.perf_counter() - began

        row_type = await engine.describe(source)
        stream = await engine.open()
        await stream.add(row_type, source)

        async def until(events: type) -> None:
            while not any(isinstance(event, events) for event in await stream.read()):
                pass

        async def rerun(changed: int) -> dict[str, float]:
            stop = asyncio.Event()
            gap = asyncio.create_task(longest_gap(stop))
            cpu = time.process_time()
            await db.execute(f"UPDATE trades SET quantity = quantity + 1 WHERE id <= {changed}".encode())
            await until(Batch)
            stop.set()
            found = {"cpu_s": time.process_time() - cpu, "step_ms": 1000 * await gap}
            assert runs[-1].changes == changed
            return {"rerun_s": runs[-1].seconds, **found}

        first = await stream.read()
        while not any(getattr(event, "position", None) for event in first):
            first = await stream.read()
        await rerun(1)
        result: dict[str, object] = {"rows": rows, "repeats": repeats}
        result["server_file_s"] = await median_of(repeats, server_file)
        result["client_s"] = await median_of(repeats, client)
        for changed in (1, rows // 100):
            figures = [await rerun(changed) for _ in range(repeats)]
            medians = {name: statistics.median(f[name] for f in figures) for name in figures[0]}
            result[f"changed_{changed}"] = {name: round(value, 4) for name, value in medians.items()}
        await stream.close()
    await engine.close()
    return result


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tycostream-bench-", dir="/var/tmp") as folder:
        server = EmbeddedPostgres(Path(folder) / "data", settings={"max_connections": "30"})
        try:
            print(json.dumps(await measure(await server.start(), options.rows, options.repeats)))
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(main())

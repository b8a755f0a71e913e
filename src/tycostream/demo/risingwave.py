"""The demo's market written to a RisingWave: ``python -m tycostream.demo.risingwave`` (docker-compose.yml runs it).

The seeder is Materialize's: RisingWave too takes batches better than single trades, knows no transaction of several
statements that write, and shows what was written at its next checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os

import psycopg

from tycostream.clock import SystemClock
from tycostream.demo.materialize import Seeder, connect, make


async def create_schema(url: str) -> None:
    """Create tables and view, and list the instruments; what exists is left as it is. psycopg.Error."""
    async with await connect(url) as connection:
        await make(connection, "risingwave.sql")
        await connection.execute("FLUSH")  # the seeder reads what was there before


def main() -> None:
    """The seeder's command line; runs until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tycostream.demo.risingwave", description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="trades per second")
    parser.add_argument("--schema-only", action="store_true", help="create tables and view, and leave")
    wanted = parser.parse_args()
    url = os.environ.get("RISINGWAVE_URL", "postgresql://root@localhost:4566/dev")
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(create_schema(url))
            if not wanted.schema_only:
                asyncio.run(Seeder(url, wanted.rate, SystemClock()).run())
        except psycopg.Error as error:
            raise SystemExit(f"error: {str(error).strip()}") from None


if __name__ == "__main__":
    main()

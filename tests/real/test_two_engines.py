"""A real Materialize and a real RisingWave in one configuration, with the demo's market in each. `make test-real` runs this."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.real.conftest import RealMaterialize, RealRisingWave
from tests.real.harness import following, serving
from tests.real.test_materialize import off
from tycostream.clock import SystemClock
from tycostream.demo import materialize as in_materialize
from tycostream.demo import risingwave as in_risingwave

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

TEXT = (Path(in_materialize.__file__).parent / "two_engines.yaml").read_text()
HELD = "{ %strades { instrument_id side quantity } %spositions { instrument_id quantity } }"


async def test_one_restarts_and_the_other_streams_on(
    materialize: RealMaterialize, risingwave: RealRisingWave
) -> None:
    await in_materialize.create_schema(materialize.url, materialize.system_url)
    await in_risingwave.create_schema(risingwave.url)
    environ = {"DATABASE_URL": materialize.url, "RISINGWAVE_URL": risingwave.url}
    seeders = [in_materialize.Seeder(url, 20, SystemClock()) for url in environ.values()]
    async with serving(TEXT, environ) as server:
        await server.live()
        writing = [asyncio.create_task(seeder.run()) for seeder in seeders]
        try:
            async with (
                following(server, "trades", "id symbol") as mz,
                following(server, "risingwave_trades", "id symbol") as rw,
            ):
                await mz.until(lambda feed: len(feed.rows) > 20, 120)
                await rw.until(lambda feed: len(feed.rows) > 20, 120)
                restarting = asyncio.create_task(off(materialize.restart))
                await server.until(lambda states: states["trades"] == states["positions"] == "stale", 120)
                states, newest = server.states(), max(rw.feed.rows)
                assert states["risingwave_trades"] == states["risingwave_positions"] == "live"
                await rw.until(lambda feed: max(feed.rows) > newest, 60)
                await restarting
                await off(materialize.wait)
                await server.live()
                newest = max(mz.feed.rows)
                await mz.until(lambda feed: max(feed.rows) > newest, 120)
                assert "reset" not in [*mz.feed.phases, *rw.feed.phases]
        finally:
            for task in writing:
                task.cancel()
            for task in writing:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for prefix in ("", "risingwave_"):  # what is quiet adds up, in each
            async with asyncio.timeout(60):
                while True:
                    data = await server.query(HELD % (prefix, prefix))
                    sums: dict[int, int] = {}
                    for trade in data[f"{prefix}trades"]:
                        signed = trade["quantity"] if trade["side"] == "buy" else -trade["quantity"]
                        sums[trade["instrument_id"]] = sums.get(trade["instrument_id"], 0) + signed
                    positions = data[f"{prefix}positions"]
                    if {p["instrument_id"]: int(p["quantity"]) for p in positions} == sums:
                        break
                    await asyncio.sleep(0.1)

"""ariadne-codegen: a typed client made from the introspected schema by its command line, and used. JSON on stdout.

usage: python ariadne_codegen.py URL FOLDER
"""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SETTINGS = """[tool.ariadne-codegen]
remote_schema_url = "{url}"
queries_path = "{queries}"
target_package_path = "{folder}"
target_package_name = "market"
enable_custom_operations = false

[tool.ariadne-codegen.scalars.bigint]
type = "str"

[tool.ariadne-codegen.scalars.numeric]
type = "decimal.Decimal"
"""


async def use(url: str) -> dict[str, object]:
    market = importlib.import_module("market")
    async with market.Client(url=url, ws_url=url.replace("http", "ws", 1)) as client:
        found = await client.instrument_list(limit=2)
        one = await client.one_instrument(id=found.instruments[0].id)
        pushes = []
        async for push in client.live_positions(symbols=[row.symbol for row in found.instruments]):
            pushes.append([row.symbol for row in push.positions])
            exact = type(push.positions[0].last_price).__name__
            if len(pushes) == 2:
                break
        sides = [trade.side for row in found.instruments for trade in row.trades]
        return {
            "symbols": [row.symbol for row in found.instruments],
            "sides": [side and side.value for side in sides],
            "one": one.instruments_by_pk.symbol,
            "pushes": pushes,
            "exact": exact,
        }


def main(url: str, folder: str) -> None:
    settings = Path(folder) / "pyproject.toml"
    settings.write_text(SETTINGS.format(url=url, queries=HERE / "operations.graphql", folder=folder))
    command = [str(Path(sys.executable).with_name("ariadne-codegen")), "--config", str(settings)]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    sys.path.insert(0, folder)
    print(json.dumps(asyncio.run(asyncio.wait_for(use(url), 60))))


main(*sys.argv[1:])

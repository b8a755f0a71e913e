"""`tycostream demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tycostream.cli.common import load, run
from tycostream.cli.serving import Work, serving

if TYPE_CHECKING:
    from tycostream.app import App


def demo(
    port: Annotated[int, typer.Option(help="The port of the page and the API; 0: a free one.")] = 4000,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="Trades per second.")] = 50.0,
    data: Annotated[Path, typer.Option(help="The folder of the demo's PostgreSQL.")] = Path(
        ".tycostream/demo"
    ),
    seed: Annotated[int | None, typer.Option(help="Make the market repeat itself.")] = None,
) -> None:
    """A live market on an embedded PostgreSQL: watch real rows change.

    Example: tycostream demo --port 4000 --rate 50
    """
    from tycostream.demo import CONFIG_PATH
    from tycostream.demo.market import Simulator, create_schema
    from tycostream.demo.pages import EXAMPLES, routes

    config = load(CONFIG_PATH)
    database = config.databases["main"].model_copy(update={"data": str(data)})
    server = config.server.model_copy(update={"port": port})
    config = config.model_copy(update={"databases": {"main": database}, "server": server})

    async def prepare(app: App) -> Work:
        from tycostream.clock import SystemClock
        from tycostream.engines.postgres import PostgresEngine

        engine = app.upstreams.engines["main"]
        assert isinstance(engine, PostgresEngine)
        url = await engine.start()
        await create_schema(url)
        typer.echo(f"database {url}")
        return Simulator(url, rate, SystemClock(), seed).run

    run(serving(config, page="demo", routes=routes(), examples=EXAMPLES, prepare=prepare))

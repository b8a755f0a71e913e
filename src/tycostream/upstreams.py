"""The engines of a configuration, and what commands ask of all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tycostream.clock import Clock
from tycostream.config.model import Config, DatabaseConfig, EngineName, SourceConfig
from tycostream.engines.base import Engine, Finding, Leftover
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import Emit
from tycostream.rows import RowType


def make_engine(name: str, database: DatabaseConfig, config: Config, emit: Emit, clock: Clock) -> Engine:
    """The driver of a configured database."""
    match database.engine:
        case EngineName.POSTGRES:
            from tycostream.engines.postgres import PostgresEngine

            return PostgresEngine(name, database, config.name, config.enums, emit, clock)
        case EngineName.MATERIALIZE:
            from tycostream.engines.materialize import MaterializeEngine

            return MaterializeEngine(name, database, config.enums, emit, clock)
        case EngineName.RISINGWAVE:
            from tycostream.engines.risingwave import RisingWaveEngine

            return RisingWaveEngine(name, database, config.name, config.enums, emit, clock)


class Upstreams:
    """An engine for every database. They connect when they are asked for something."""

    def __init__(self, config: Config, clock: Clock, emit: Emit) -> None:
        self._clock, self._emit = clock, emit
        self._config = config
        self.engines = self._made(config, config.databases)

    def _made(self, config: Config, names: Iterable[str]) -> dict[str, Engine]:
        return {
            name: make_engine(name, config.databases[name], config, self._emit, self._clock) for name in names
        }

    def reconfigure(self, config: Config, anew: Iterable[str]) -> dict[str, Engine]:
        """Take on another configuration, the engines of ``anew`` made anew; gives those that are to be closed.

        UpstreamError if an engine cannot be made: then nothing has changed.
        """
        made = self._made(config, anew)
        kept = {name: engine for name, engine in self.engines.items() if name in config.databases}
        former = {name: engine for name, engine in self.engines.items() if name not in kept or name in made}
        self._config = config
        self.engines = {name: made.get(name) or kept[name] for name in config.databases}
        for engine in self.engines.values():
            engine.enums = config.enums
        return former

    def sources_of(self, database: str) -> list[SourceConfig]:
        """What the configuration reads from a database."""
        return [source for source in self._config.sources.values() if source.database == database]

    async def describe(self) -> dict[str, RowType]:
        """The row type of every source, from its database; all that cannot be read are named in one error."""
        row_types: dict[str, RowType] = {}
        errors: list[UpstreamError] = []
        for name, engine in self.engines.items():
            for source in self.sources_of(name):
                try:
                    row_types[source.name] = await engine.describe(source)
                except UpstreamError as error:
                    errors.append(error)
                    if error.action is Action.RETRY:  # it is away: its other sources would say the same
                        break
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise UpstreamError(
                "sources-failed",
                f"{len(errors)} sources cannot be read",
                action=Action.FAIL,
                detail="\n".join(error.message for error in errors),
                hint="\n".join(dict.fromkeys(error.hint for error in errors if error.hint)),
            )
        return row_types

    async def check(self) -> dict[str, Sequence[Finding]]:
        """What ``tycostream check`` prints of each database."""
        return {name: await engine.check(self.sources_of(name)) for name, engine in self.engines.items()}

    async def cleanup(self, *, remove: bool) -> list[tuple[str, Sequence[Leftover], Sequence[Leftover]]]:
        """Each database, what we left in it, and what of that was removed now."""
        found = []
        for name, engine in self.engines.items():
            left = await engine.leftovers()
            removed = await engine.remove([one for one in left if not one.in_use]) if remove else []
            found.append((name, left, removed))
        return found

    async def close(self) -> None:
        """Stop the engines; an embedded server stops with its engine."""
        for engine in self.engines.values():
            await engine.close()

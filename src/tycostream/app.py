"""The whole wiring, read top to bottom: every part is built here and handed what it needs.

    config ─▶ engines ─▶ row types ─▶ planner (GraphQL) ┐
                  │                                     ├─▶ transports (one port)
                  └──▶ feeds ─▶ hub ────────────────────┘

``App`` is also the ``Operations`` that transports see. A reload (`tycostream dev`) has its place in ``_wire``: it makes
planner and sources from a configuration and row types, and touches no engine and no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.config.model import Config, DatabaseConfig, EngineName, SourceConfig
from tycostream.engines.base import Engine, Finding
from tycostream.errors import Action, UpstreamError
from tycostream.graphql.execute import Planner
from tycostream.graphql.plan import Plan
from tycostream.live.cursor import CursorBox
from tycostream.live.feed import Feed, run_feeds
from tycostream.live.framing import Framing, Sink
from tycostream.live.hub import Hub, SourceState
from tycostream.live.operations import Subscription
from tycostream.live.outbox import Outbox
from tycostream.observe.events import Emit, Event
from tycostream.rows import RowType


def make_engine(name: str, database: DatabaseConfig, config: Config, emit: Emit, clock: Clock) -> Engine:
    """The driver of a configured database."""
    if database.engine is not EngineName.POSTGRES:
        raise UpstreamError(
            "engine-missing",
            f"database {name!r} is a {database.engine.value}, which this version cannot read yet",
            action=Action.FAIL,
            hint="this version streams PostgreSQL; Materialize and RisingWave come with the next ones",
        )
    from tycostream.engines.postgres import PostgresEngine

    return PostgresEngine(name, database, config.name, config.enums, emit, clock)


@dataclass
class _Database:
    """A database at work: its engine and what the configuration reads from it."""

    name: str
    engine: Engine
    sources: list[SourceConfig]


class App:
    """One process: engines, feeds, hub and planner of one configuration."""

    def __init__(self, config: Config, clock: Clock, emit: Emit) -> None:
        self.config = config
        self._clock = clock
        self._emit = emit
        self._settled = asyncio.Event()
        self._databases = [
            _Database(
                name,
                make_engine(name, database, config, emit, clock),
                [source for source in config.sources.values() if source.database == name],
            )
            for name, database in config.databases.items()
        ]
        cursors = CursorBox(config.server.cursor_key)
        self.hub = Hub(clock, emit, cursors, outbox_bytes_max=config.server.outbox_bytes_max)
        self.planner: Planner | None = None
        self._feeds: list[Feed] = []

    # life

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, describe every source, build the schema and keep the feeds alive until the block ends."""
        try:
            self._wire(await self.describe())
            feeds = asyncio.create_task(run_feeds(self._feeds), name="feeds")
            try:
                yield
            finally:
                feeds.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await feeds
        finally:
            await self.close()

    async def describe(self) -> dict[str, RowType]:
        """The row type of every source, from its database; all that cannot be read are named in one error."""
        row_types: dict[str, RowType] = {}
        errors: list[UpstreamError] = []
        for database in self._databases:
            for source in database.sources:
                try:
                    row_types[source.name] = await database.engine.describe(source)
                except UpstreamError as error:
                    errors.append(error)
                    if (
                        error.action is Action.RETRY
                    ):  # the database is away: its other sources would say the same
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

    def _wire(self, row_types: Mapping[str, RowType]) -> None:
        server = self.config.server
        ordered = [row_types[name] for name in self.config.sources]
        self.planner = Planner(
            ordered,
            stringify_numbers=server.stringify_numbers,
            multi_root_subscriptions=server.multi_root_subscriptions,
        )
        for row_type in ordered:
            self.hub.add_source(row_type, self.config.sources[row_type.source].live)
        for database in self._databases:
            sources = {source.name: (row_types[source.name], source) for source in database.sources}
            if sources:
                feed = Feed(database.name, database.engine, sources, self.hub, self._clock, self._observe)
                self._feeds.append(feed)

    def _observe(self, event: Event) -> None:
        self._emit(event)
        if all(source.state is not SourceState.STARTING for source in self.hub.sources.values()):
            self._settled.set()

    async def settled(self) -> None:
        """Return once every source has its first snapshot, or has failed."""
        if self._feeds:
            await self._settled.wait()

    async def close(self) -> None:
        """Stop the engines; an embedded server stops with its engine."""
        for database in self._databases:
            await database.engine.close()

    def engine(self, database: str) -> Engine:
        """The engine of a configured database."""
        return next(each.engine for each in self._databases if each.name == database)

    async def check(self) -> Sequence[Finding]:
        """What ``tycostream check`` prints."""
        findings: list[Finding] = []
        for database in self._databases:
            findings += await database.engine.check(database.sources)
        return findings

    # Operations

    def prepare(
        self,
        query: str,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
    ) -> Plan:
        """See Operations."""
        assert self.planner is not None, "App.running() comes first"
        return self.planner.plan(query, operation_name, variables, session)

    def query(self, plan: Plan) -> bytes:
        """See Operations."""
        return self.hub.query(plan)

    def outbox(self, framing: Framing, sink: Sink) -> Outbox:
        """See Operations."""
        return self.hub.outbox(framing, sink)

    def subscribe(
        self, plan: Plan, outbox: Outbox, operation_id: bytes, on_end: Callable[[], None]
    ) -> Subscription:
        """See Operations."""
        return self.hub.subscribe(plan, outbox, operation_id, on_end)

    def ready(self) -> tuple[bool, list[dict[str, object]]]:
        """See Operations."""
        reasons = {
            source.name: feed.reason
            for feed, database in zip(self._feeds, (d for d in self._databases if d.sources), strict=True)
            for source in database.sources
        }
        sources: list[dict[str, object]] = []
        for name, source in self.hub.sources.items():
            entry: dict[str, object] = {"source": name, "state": source.state.value}
            reason = str(source.error) if source.error else reasons.get(name, "")
            if source.state is not SourceState.LIVE and reason:
                entry["reason"] = reason
            sources.append(entry)
        return all(source.state is SourceState.LIVE for source in self.hub.sources.values()), sources

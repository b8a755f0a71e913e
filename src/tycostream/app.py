"""The whole wiring, read top to bottom: every part is built here and handed what it needs.

    config ─▶ engines ─▶ feeds ─▶ hub ──────────────────────┐
                           │                                ├─▶ transports (one port)
                           └─▶ row types ─▶ planner (GraphQL)┘

A source is in the schema from the moment its database has described it, and again anew when it is another one. ``App``
is also the ``Operations`` that transports see. A reload (`tycostream dev`) has its place in ``_described``: it makes a
source and a planner from a row type, and touches no engine and no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphql import GraphQLError

from tycostream.auth.session import Session
from tycostream.clock import Clock
from tycostream.config.model import Config, DatabaseConfig, EngineName, SourceConfig
from tycostream.config.rules import SOURCE_FIELDS
from tycostream.engines.base import Engine, Finding, Leftover
from tycostream.errors import Action, ConfigError, RequestError, UpstreamError
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import Plan
from tycostream.graphql.schema import build_schema
from tycostream.live.collector import walk_seldom
from tycostream.live.cursor import CursorBox
from tycostream.live.feed import Feed, run_feeds
from tycostream.live.framing import Framing, Sink
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.live.operations import Subscription
from tycostream.live.outbox import Outbox
from tycostream.live.source_feed import SourceFeed
from tycostream.observe.events import Emit, Event, OperationFailed
from tycostream.rows import RowType

_UNKNOWN_ROOT: Final = re.compile(r"field '([^']*)' not found in type: '(?:query|subscription)_root'")
_WAITING: Final = "its database has not described it yet; /readyz says what it waits for"


def make_engine(name: str, database: DatabaseConfig, config: Config, emit: Emit, clock: Clock) -> Engine:
    """The driver of a configured database."""
    match database.engine:
        case EngineName.POSTGRES:
            from tycostream.engines.postgres import PostgresEngine

            return PostgresEngine(name, database, config.name, config.enums, emit, clock)
        case EngineName.MATERIALIZE:
            from tycostream.engines.materialize import MaterializeEngine

            return MaterializeEngine(name, database, config.enums, emit, clock)
    raise UpstreamError(
        "engine-missing",
        f"database {name!r} is a {database.engine.value}, which this version cannot read yet",
        action=Action.FAIL,
        hint="this version streams PostgreSQL and Materialize; RisingWave comes with the next one",
    )


@dataclass
class _Database:
    """A database at work: its engine, what the configuration reads from it, and the feed that does."""

    name: str
    engine: Engine
    sources: list[SourceConfig]
    feed: Feed | None = None


class App:
    """One process: engines, feeds, hub and planner of one configuration.

    ``renew`` gives each database's URL as the configuration has it now; it is asked before connecting again after a
    failure, so that a rotated password is picked up.
    """

    def __init__(
        self, config: Config, clock: Clock, emit: Emit, renew: Callable[[], Mapping[str, str]] | None = None
    ) -> None:
        self.config = config
        self._renew = renew
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
        self._row_types: dict[str, RowType] = {}
        self._planner: Planner | None = None
        self._feeding: asyncio.Task[None] | None = None
        for database in self._databases:
            if database.sources:
                database.feed = self._feed(database)

    def _feed(self, database: _Database) -> Feed:
        return Feed(
            database.name,
            database.engine,
            {source.name: source for source in database.sources},
            self.hub,
            self._clock,
            self._observe,
            self.config.databases[database.name],
            self._described,
            functools.partial(self._renew_url, database),
        )

    @property
    def _feeds(self) -> list[Feed]:
        return [database.feed for database in self._databases if database.feed is not None]

    # life

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the feeds alive until the block ends; what is down at the start is waited for, like everything later."""
        walk_seldom()
        try:
            self._feeding = asyncio.create_task(run_feeds(self._feeds), name="feeds")
            try:
                yield
            finally:
                self._feeding.cancel()
                await asyncio.wait([self._feeding])
        finally:
            await self.close()

    async def feeds_end(self) -> None:
        """Return, or raise, when the feeds do: that they end is a bug, and a server without them serves old data."""
        assert self._feeding is not None, "App.running() comes first"
        await asyncio.shield(self._feeding)

    def _described(self, row_type: RowType) -> None:
        """A source is known, or another than it was: the hub has it anew, and so has the schema.

        UpstreamError if it cannot be shown in GraphQL: found here, it is that source's failure and nobody else's.
        """
        try:
            build_schema([row_type], stringify_numbers=self.config.server.stringify_numbers)
        except (GraphQLError, TypeError, ValueError) as error:
            raise UpstreamError(
                "schema",
                f"source {row_type.source} cannot be shown in GraphQL",
                action=Action.FAIL,
                detail=str(error),
                hint="give the column another name in `column_config:`, or leave it out of `columns:`",
            ) from None
        self.hub.add_source(row_type, self.config.sources[row_type.source].live)
        self._row_types[row_type.source] = row_type
        self._planner = None

    def _renew_url(self, database: _Database) -> None:
        if self._renew is None:
            return
        try:
            url = self._renew().get(database.name)
        except ConfigError as error:
            self._emit(OperationFailed(error.code, "the configuration cannot be read again", str(error)))
            return
        if url is not None:
            database.engine.renew(url)

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

    def _observe(self, event: Event) -> None:
        self._emit(event)
        if not self._settled.is_set() and all(feed.settled for feed in self._feeds):
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

    async def cleanup(self, *, remove: bool) -> list[tuple[str, Sequence[Leftover], Sequence[Leftover]]]:
        """Each database, what we left in it, and what of that was removed now."""
        found = []
        for database in self._databases:
            left = await database.engine.leftovers()
            removed = await database.engine.remove([one for one in left if not one.in_use]) if remove else []
            found.append((database.name, left, removed))
        return found

    # Operations

    @property
    def planner(self) -> Planner:
        """The planner of all sources that are known by now."""
        if self._planner is None:
            if not self._row_types:
                raise RequestError("source-not-ready", "no source is known yet", hint=_WAITING)
            known = [self._row_types[name] for name in self.config.sources if name in self._row_types]
            server = self.config.server
            self._planner = Planner(
                known,
                stringify_numbers=server.stringify_numbers,
                multi_root_subscriptions=server.multi_root_subscriptions,
            )
        return self._planner

    def prepare(
        self,
        query: str,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
    ) -> Plan:
        """See Operations."""
        try:
            return self.planner.plan(query, operation_name, variables, session)
        except InvalidRequest as invalid:
            raise InvalidRequest([self._explained(error) for error in invalid.errors]) from None

    def _explained(self, error: RequestError) -> RequestError:
        """An unknown field that a source will have once its database has described it is not the client's mistake."""
        match = _UNKNOWN_ROOT.fullmatch(error.message)
        for name in self.config.sources if match else ():
            if (
                name not in self._row_types
                and match
                and match[1] in [f"{name}{end}" for end in SOURCE_FIELDS]
            ):
                return RequestError(
                    "source-not-ready",
                    f"the source {name!r} is not known yet",
                    path=error.path,
                    hint=_WAITING,
                )
        return error

    async def query(self, plan: Plan) -> bytes:
        """See Operations."""
        return await self.hub.query(plan)

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
        entries = {}
        for database in self._databases:
            if database.feed is not None:
                for source in database.feed.sources.values():
                    entries[source.name] = self._readiness(database.feed, source)
        ordered = [entries[name] for name in self.config.sources if name in entries]
        return all(entry["state"] == SourceState.LIVE.value for entry in ordered), ordered

    def _readiness(self, feed: Feed, source: SourceFeed) -> dict[str, object]:
        live = self.hub.sources.get(source.name)
        # the hub knows of duplicate keys, the feed of everything before the first snapshot
        state, error = (live.state, live.error) if live is not None else (source.state, source.error)
        entry: dict[str, object] = {"source": source.name, "database": feed.database, "state": state.value}
        reason = str(error or source.error or feed.reason)
        if state is not SourceState.LIVE and reason:
            entry["reason"] = reason
        return entry

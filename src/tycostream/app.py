"""The whole wiring, read top to bottom: every part is built here and handed what it needs.

    config ─▶ engines ─▶ feeds ─▶ hub ──────────────────────┐
                           │                                ├─▶ transports (one port)
                           └─▶ row types ─▶ planner (GraphQL)┘

A source is in the schema from the moment its database has described it, and again anew when it is another one. ``App``
is also the ``Operations`` that transports see. ``reload`` takes on another configuration: each of these parts has one
method for what it does differently then, and what did not change is not spoken to.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from graphql import GraphQLError

from tycostream.admin.administration import Administration
from tycostream.auth.authenticator import Authenticator
from tycostream.auth.limiter import Limiter
from tycostream.auth.revocations import Revocations
from tycostream.auth.session import ADMIN, Session
from tycostream.auth.tokens import Tokens
from tycostream.clock import Clock
from tycostream.config.model import Config, ServerConfig, SourceConfig
from tycostream.config.reload import Changes, applicable, compare
from tycostream.engines.base import Engine
from tycostream.errors import Action, ConfigError, RequestError, TycoError, UpstreamError
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import Plan, Request
from tycostream.graphql.relationships import Resolved
from tycostream.graphql.schema import presentable
from tycostream.graphql.trusted import DocumentId
from tycostream.graphql.type_names import TypeNames
from tycostream.live.clients import Clients
from tycostream.live.collector import walk_seldom
from tycostream.live.cursor import CursorBox
from tycostream.live.deadline import Deadline, too_slow
from tycostream.live.feed import Feed
from tycostream.live.feeds import Feeds
from tycostream.live.framing import Framing, Sink
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.live.operations import Subscription
from tycostream.live.outbox import Outbox
from tycostream.live.source_feed import SourceFeed
from tycostream.live.subscriber import uncounted
from tycostream.observe.audit import AuditLog
from tycostream.observe.events import Emit, Event, OperationFailed, RelationshipUnfit
from tycostream.planners import Planners
from tycostream.rows import RowType
from tycostream.state.opening import open_state
from tycostream.upstreams import Upstreams

_MOVES_AT_ONCE: Final = 50  # operations that are planned again in one step
_ADMIN: Final = Session()


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
        self._log = emit
        self._audit = AuditLog(config.audit, clock, emit)
        self._emit = emit = self.emit
        self._settled = asyncio.Event()
        self.upstreams = Upstreams(config, clock, emit)
        self._cursors = CursorBox(config.server.cursor_key)
        store = open_state(config.state) if config.state is not None else None
        tokens = Tokens(store, clock, emit) if store is not None else None
        self.limiter = Limiter(config.limits, clock, emit)
        revocations = Revocations(store, clock, emit)
        self.authenticator = Authenticator(config.auth, clock, emit, tokens, self.limiter, revocations)
        self.clients = Clients()
        self.hub = Hub(clock, emit, self._cursors, outbox_bytes_max=config.outbox_bytes_max)
        self._row_types: dict[str, RowType] = {}
        self._relationships = Resolved(config.sources)
        self._type_names = TypeNames()
        self._planners = Planners(config, self._row_types, emit)
        self._running = Feeds()
        self._feeds: dict[str, Feed] = {}
        for name in config.databases:
            if sources := self.upstreams.sources_of(name):
                self._feeds[name] = self._feed(name, sources)
        self.admin = Administration(
            self.authenticator,
            self.clients,
            self.hub,
            self.ready,
            lambda: (self.config.databases, self._feeds),
            clock,
            emit,
        )
        self._reloading = asyncio.Lock()
        self._exchanges: set[asyncio.Task[None]] = set()  # databases on their way out, or in

    def _feed(self, database: str, sources: Sequence[SourceConfig]) -> Feed:
        return Feed(
            database,
            self.upstreams.engines[database],
            {source.name: source for source in sources},
            self.hub,
            self._clock,
            self._observe,
            self.config.databases[database],
            self._described,
            functools.partial(self._renew_url, database),
        )

    # life

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the feeds alive until the block ends; what is down at the start is waited for, like everything later."""
        walk_seldom()
        try:
            self.authenticator.start()
            for feed in self._feeds.values():
                self._running.start(feed)
            yield
        finally:
            if self._exchanges:
                await asyncio.wait(self._exchanges)
            await self._running.close()
            await self.admin.close()
            await self.authenticator.close()
            await self.upstreams.close()
            await self._audit.close()

    def emit(self, event: Event) -> None:
        """What every part of this process tells: to the log, and to the audit log."""
        self._log(event)
        self._audit.note(event)

    async def feeds_end(self) -> None:
        """Raise when a feed ends by itself."""
        await self._running.ended()

    def _described(self, row_type: RowType) -> None:
        """A source is known, or another than it was: the hub has it anew, and so has the schema.

        UpstreamError if it cannot be shown in GraphQL: found here, it is that source's failure and nobody else's.
        """
        try:
            self._type_names.claim(row_type.source, presentable(row_type))
        except TycoError as error:
            # Of several sources with an enum that was altered each is described in its turn: one that is refused for
            # the sake of what another was must not be in the way when that one comes.
            self._type_names.release(row_type.source)
            self._row_types.pop(row_type.source, None)
            self._schema_changed(row_type.source)
            raise UpstreamError(
                error.code, error.message, action=Action.FAIL, detail=error.detail, hint=error.hint
            ) from None
        except (GraphQLError, TypeError, ValueError) as error:
            raise UpstreamError(
                "schema",
                f"source {row_type.source} cannot be shown in GraphQL",
                action=Action.FAIL,
                detail=str(error),
                hint="give the column another name in `column_config:`, or leave it out of `columns:`",
            ) from None
        source = self.config.sources[row_type.source]
        self.hub.add_source(row_type, source.live, source.definition)
        self._row_types[row_type.source] = row_type
        self._schema_changed(row_type.source)

    def _schema_changed(self, *sources: str) -> None:
        """``sources`` are described otherwise than before, or not any more."""
        self._planners.clear()
        told = self._relationships.misfits
        for source, relationships in self._relationships.look(self._row_types, sources).items():
            self.hub.relate(source, frozenset((each.join, each.many) for each in relationships))
            for misfit in self._relationships.misfits_of(source):
                if misfit not in told:
                    self._emit(
                        RelationshipUnfit(
                            source, misfit.name, misfit.message, misfit.hint, served=not misfit.fatal
                        )
                    )

    def _renew_url(self, database: str) -> None:
        if self._renew is None:
            return
        try:
            url = self._renew().get(database)
        except ConfigError as error:
            self._emit(OperationFailed(error.code, "the configuration cannot be read again", str(error)))
            return
        if url is not None and database in self.upstreams.engines:
            self.upstreams.engines[database].renew(url)

    def _observe(self, event: Event) -> None:
        self._emit(event)
        self._look_whether_settled()

    def _look_whether_settled(self) -> None:
        if not self._settled.is_set() and all(feed.settled for feed in self._feeds.values()):
            self._settled.set()

    async def settled(self) -> None:
        """Return once every source has its snapshot, or has failed; after a reload, those that it changed too."""
        if self._feeds:
            await self._settled.wait()

    # another configuration

    async def reload(self, config: Config) -> Changes:
        """Take on another configuration while everything runs; gives what was different.

        It holds from one step to the next, before this returns: operations on what was removed have ended, all others
        go on. Whatever has to be asked of a database follows: a source that is new, or read otherwise, is on its way
        (see ``settled``), as at the start. What only another process could take on stays as it was (``Changes.restart``).
        UpstreamError if an engine cannot be made, and nothing has changed then.
        """
        async with self._reloading:
            changes = compare(self.config, config)
            if not changes:
                return changes
            config = applicable(self.config, config)
            auth_differs = config.auth != self.config.auth
            anew = (*changes.databases.added, *changes.databases.revised)
            former = self.upstreams.reconfigure(config, anew)
            self.config = config
            self._settled.clear()
            stopping, starting = self._follow(changes, former)
            self._apply_settings(changes)
            self._audit.reconfigure(config.audit)
            if auth_differs:
                self.authenticator.reconfigure(config.auth)
            self._relationships.reconfigure(config.sources)
            self._planners.reconfigure(config, permissions=bool(changes.permissions or changes.roles))
            self._schema_changed(*config.sources, *changes.sources.removed)
            await self._follow_permissions(changes)
            for name in {*stopping, *starting, *former}:
                work = self._exchange(stopping.get(name), former.get(name), starting.get(name))
                task = asyncio.create_task(work, name=f"database {name}")
                self._exchanges.add(task)
                task.add_done_callback(self._exchanges.discard)
            if self._exchanges:
                await asyncio.wait(self._exchanges)
            self._look_whether_settled()
            return changes

    def _follow(
        self, changes: Changes, former: Mapping[str, Engine]
    ) -> tuple[dict[str, Feed], dict[str, Feed]]:
        """Have every feed follow its sources of now; gives the feeds to stop and those to start, by database."""
        dropped: dict[str, SourceFeed] = {}
        for database, feed in self._feeds.items():
            for name in list(feed.sources):
                source = self.config.sources.get(name)
                if database in former or source is None or source.database != database:
                    dropped[name] = feed.drop(name)
        for name in changes.sources.removed:
            self.hub.remove_source(name)
            self._row_types.pop(name, None)
            self._type_names.release(name)
        self._type_names.release_types(changes.types)
        touched = self._touched(changes)
        feeds: dict[str, Feed] = {}
        starting: dict[str, Feed] = {}
        for database in self.config.databases:
            sources = self.upstreams.sources_of(database)
            running = None if database in former else self._feeds.get(database)
            if running is not None and sources:
                feeds[database] = running
                for source in sources:
                    known = running.sources.get(source.name)
                    if known is None or source.name in touched:
                        running.put(source, dropped.get(source.name))
                    elif known.config != source:
                        known.config = source
            elif sources:
                feeds[database] = starting[database] = self._feed(database, sources)
                starting[database].inherit(dropped)
        stopping = {name: feed for name, feed in self._feeds.items() if feeds.get(name) is not feed}
        self._feeds = feeds
        return stopping, starting

    def _touched(self, changes: Changes) -> set[str]:
        """The sources that are to be described anew: they, or a type that they may have, are configured otherwise."""
        touched = set()
        for name in changes.sources.revised:
            self.hub.configure(name, self.config.sources[name].live)
            if not changes.only_delivered_otherwise(name):
                touched.add(name)
        for name, row_type in self._row_types.items():
            held = {(column.scalar.element or column.scalar).graphql for column in row_type.columns}
            if not changes.types.isdisjoint(held | self.config.sources[name].types_within):
                touched.add(name)
        return touched

    def _apply_settings(self, changes: Changes) -> None:
        self.hub.outbox_bytes_max = self.config.outbox_bytes_max
        self.limiter.reconfigure(self.config.limits)
        if "server.cursor_key" in changes.settings:  # else a random one would be made anew
            self._cursors.use(self.config.server.cursor_key)

    async def _exchange(self, old: Feed | None, engine: Engine | None, new: Feed | None) -> None:
        """Stop what a database was read by, and start what it is read by now: never both at once."""
        try:
            if old is not None:
                await self._running.stop(old)
            if engine is not None:
                await engine.close()
        except Exception as error:
            self._emit(OperationFailed("unexpected", "internal error", f"{type(error).__name__}: {error}"))
        if new is not None:
            self._running.start(new)

    # Operations

    @property
    def planner(self) -> Planner:
        """The planner of all sources that are known by now."""
        return self.planner_of(ADMIN)

    def planner_of(self, role: str) -> Planner:
        """The planner of what a role sees of them. RequestError if none is known by now."""
        return self._planners.of(role)

    async def _follow_permissions(self, changes: Changes) -> None:
        """Nobody goes on seeing what a permission showed that is another one now, or gone: when this returns.

        Each operation is planned again. What comes out as it was is left alone, the others move to what they may see
        now, and what may not be asked any more ends. That is a tenth of a millisecond each, so others have their turn.
        """
        if not changes.permissions and not changes.roles:
            return
        for n, operation in enumerate(self.hub.operations(changes.permissions, changes.roles)):
            if n % _MOVES_AT_ONCE == _MOVES_AT_ONCE - 1:
                await asyncio.sleep(0)
            if operation.ended:
                continue
            try:
                plan = self._planners.as_permitted(operation.plan)
            except RequestError as error:
                operation.fail(error)
            else:
                self.hub.move(operation, plan)

    def settings(self) -> ServerConfig:
        """The server's settings of now."""
        return self.config.server

    def prepare(
        self,
        query: str | DocumentId,
        operation_name: str | None,
        variables: Mapping[str, object] | None,
        session: Session,
        after: str | None = None,
    ) -> Plan:
        """See Operations."""
        self.limiter.operation(session)
        try:
            return self._planners.plan(Request(query, operation_name, variables, session, after))
        except InvalidRequest as invalid:
            for error in invalid.errors:
                self.limiter.note(session.role, error)
            raise

    async def query(
        self, plan: Plan, session: Session = _ADMIN, count: Callable[[int], None] = uncounted
    ) -> bytes:
        """See Operations."""
        plan = self._planners.as_permitted(plan)
        limit_s = self.limiter.of(session.role).time_limit.total_seconds()
        try:
            with self.limiter.answering(session), Deadline(self._clock, limit_s, too_slow(limit_s)):
                return await self.hub.query(plan, count)
        except RequestError as error:
            self.limiter.note(session.role, error)
            raise

    def outbox(self, framing: Framing, sink: Sink) -> Outbox:
        """See Operations."""
        return self.hub.outbox(framing, sink, self.config.server.outbox_bytes_max)

    def subscribe(
        self,
        plan: Plan,
        outbox: Outbox,
        operation_id: bytes,
        on_end: Callable[[], None],
        session: Session = _ADMIN,
    ) -> Subscription:
        """See Operations."""
        subscriber = self.hub.subscribe(self._planners.as_permitted(plan), outbox, operation_id, on_end)
        subscriber.failed = functools.partial(self.limiter.note, session.role)
        limit = self.limiter.of(session.role).first_result_limit
        if limit is not None:
            subscriber.expect_first(self._clock, limit.total_seconds())
        return subscriber

    def ready(self) -> tuple[bool, list[dict[str, object]]]:
        """See Operations."""
        entries = {
            source.name: self._readiness(feed, source)
            for feed in self._feeds.values()
            for source in feed.sources.values()
        }
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
        engine = self.upstreams.engines.get(feed.database)  # none of a database that is just being taken out
        remarks = [engine.remark(source.name)] if engine is not None else []
        remarks += [
            f"relationship {each.name}: {each.message}"
            for each in self._relationships.misfits_of(source.name)
            if each.source == source.name
        ]
        if any(remarks):
            entry["remark"] = "; ".join(filter(None, remarks))
        return entry

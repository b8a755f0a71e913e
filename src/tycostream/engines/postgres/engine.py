"""PostgreSQL as an Engine: what must be true before a stream, said with the exact command that makes it true."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psycopg

from tycostream.clock import Clock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.config.table_name import written
from tycostream.engines.base import CatalogueTable, Finding, Leftover
from tycostream.engines.embedded import EmbeddedPostgres
from tycostream.engines.libpq import Connection, fail, retry, safe, translate
from tycostream.engines.names import shown
from tycostream.engines.postgres import catalogue, check, cleanup, computed, slots
from tycostream.engines.postgres.catalogue import Table
from tycostream.engines.postgres.cleanup import slot_prefix
from tycostream.engines.postgres.computed import Computed, is_computed, load_computed, published
from tycostream.engines.postgres.connect import connect
from tycostream.engines.postgres.publication import Publication
from tycostream.engines.postgres.replication import Replication
from tycostream.engines.postgres.run import RerunCounts
from tycostream.engines.postgres.slots import Slot
from tycostream.engines.postgres.stream import PostgresStream
from tycostream.engines.postgres.tables import check_shape
from tycostream.engines.postgres.watch import Difference, Mark, marks
from tycostream.errors import UpstreamError
from tycostream.observe.events import Emit, EnumLabelUnlisted, SlotKeepsLog, SourceRerun
from tycostream.rows import Position, RowType

_SLOT_S = 300.0  # how long the open transactions of others may keep replication from starting


class Published(NamedTuple):
    """The table of a source that is to be followed.

    ``altered``: the publication told less of it until a moment ago. ``same``: its rows are those that the source was last
    followed with, and changes. ``settled``: nothing was altered since the permanent slot's history begins.
    """

    table: Table
    mark: Mark
    altered: bool
    same: bool
    settled: bool


class PostgresEngine:
    """See Engine. ``slot``: the permanent slot's name, if there is to be one."""

    share_positions = True
    level_first = True

    def __init__(
        self,
        name: str,
        config: DatabaseConfig,
        config_name: str,
        enums: Mapping[str, tuple[str, ...]],
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.name, self.config, self.clock = name, config, clock
        self.publication = Publication(
            config.publication or f"tycostream_{config_name}", config.manage or config.embedded
        )
        self.embedded = EmbeddedPostgres(Path(config.data), config.port) if config.embedded else None
        self._few = asyncio.Semaphore(4)  # connections at once for sources that are added together
        self._config_name, self.enums, self.emit = config_name, enums, emit
        self.slot, self._keeps_much = config.slot, False
        self.level = 0  # where the sources of a stream that starts in the past are level
        self.told: set[str] = (
            set()
        )  # sources that have had a snapshot: what they show must not go back in time
        self.readers = asyncio.Semaphore(4)  # connections at once that read whole tables
        self._relations: dict[str, Table | Computed] = {}
        self._marks: dict[str, Mark] = {}  # of the tables that were followed last
        self.reruns: dict[str, RerunCounts] = {}  # by source, since the engine was made
        self._streams: set[PostgresStream] = set()

    @property
    def url(self) -> str:
        """Where we connect."""
        return self.embedded.url if self.embedded is not None else self.config.url or ""

    async def start(self) -> str:
        """Start the embedded server, if it is configured and not running; the URL."""
        if self.embedded is not None and not self.embedded.running:
            await self.embedded.start()
        return self.url

    async def connect(self, *, replication: bool = False) -> Connection:
        """A connection with our output settings."""
        return await connect(await self.start(), self.config, replication=replication)

    async def describe(self, source: SourceConfig) -> RowType:
        """See Engine."""
        async with await self.connect() as connection:
            try:
                relation = await self._load(connection, source)
            except psycopg.Error as error:
                raise translate(error, self.url, f"describing {source.name}") from None
        row_type = self._row_type(relation, source)
        self._relations[source.name] = relation
        return row_type

    async def _load(self, connection: Connection, source: SourceConfig) -> Table | Computed:
        table = None if source.query else await catalogue.load_table(connection, source)
        if table is None or is_computed(source, table):
            return await load_computed(connection, source, table)
        return table

    def _row_type(self, relation: Table | Computed, source: SourceConfig) -> RowType:
        if isinstance(relation, Computed):
            return computed.row_type(relation, source, self.enums, self._unlisted)
        return catalogue.row_type(relation, source, self.enums, self._unlisted)

    def _unlisted(self, enum: str, label: str) -> None:
        self.emit(EnumLabelUnlisted(enum, label))

    async def _relation_of(self, source: SourceConfig, row_type: RowType) -> Table | Computed:
        """What a source reads, as ``describe`` saw it; UpstreamError if it does not fit ``row_type`` any more."""
        if source.name not in self._relations:
            check_shape(row_type, await self.describe(source))
        return self._relations[source.name]

    async def _table_of(self, source: SourceConfig, row_type: RowType) -> Table:
        relation = await self._relation_of(source, row_type)
        if isinstance(relation, Table):
            return relation
        self.forget(source.name)
        said = f"source {source.name}: {relation.title} is {relation.what} now"
        raise retry("source-altered", said, hint="it is described anew")

    async def computed(self, source: SourceConfig, row_type: RowType) -> Computed | None:
        """What a computed source is, as ``describe`` saw it; None for a table that is followed. UpstreamError as there."""
        relation = await self._relation_of(source, row_type)
        return relation if isinstance(relation, Computed) else None

    def count_rerun(self, event: SourceRerun) -> None:
        """Add one run of a computed source to what is counted, and tell of it."""
        self.reruns.setdefault(event.source, RerunCounts()).add(event)
        self.emit(event)

    def forget(self, source: str) -> None:
        """Describe a source anew when it is next asked for: it failed, so its table may have changed."""
        self._relations.pop(source, None)

    async def probe(self) -> None:
        """See Engine."""
        if self.embedded is not None and not self.embedded.running:
            raise retry("connection-lost", "the embedded PostgreSQL is not running")
        connection = await connect(self.url, self.config)
        try:
            async with asyncio.timeout(self.config.statement_timeout.total_seconds()):
                await connection.execute(b"SELECT 1")
        except TimeoutError:
            connection.pgconn.finish()  # a polite goodbye would wait for it again
            raise retry("silent", f"{self.name} accepts connections and does not answer") from None
        except psycopg.Error as error:
            raise translate(error, self.url, "asking for a sign of life") from None
        finally:
            await connection.close()

    async def open(self) -> PostgresStream:
        """See Engine."""
        found: Slot | None = None
        async with await self.connect() as connection:
            try:
                if self.slot:
                    found = await self._load_slot(connection, self.slot)
                await self._require(connection)
            except psycopg.Error as error:
                raise translate(error, self.url, "preparing replication") from None
        slot = self.slot or f"{slot_prefix(self._config_name)}_{os.getpid()}_{secrets.token_hex(4)}"
        connection = await self.connect(replication=True)
        try:
            async with asyncio.timeout(_SLOT_S):
                snapshot, position = await self._place(connection, slot, found)
        except TimeoutError:
            await connection.close()
            raise retry(
                "slot-wait",
                f"replication could not start in {_SLOT_S:.0f} s: it waits for transactions that are open",
                hint="SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY 2; and end the oldest",
            ) from None
        except psycopg.Error as error:
            await connection.close()
            if error.sqlstate == "53400":
                raise fail(
                    "no-free-slot",
                    "all replication slots of the server are in use",
                    hint="ALTER SYSTEM SET max_replication_slots = 20; then restart PostgreSQL",
                ) from None
            raise translate(error, self.url, "creating a replication slot") from None
        except BaseException:
            await connection.close()
            raise
        replication = Replication(connection, self.url, self.clock)
        stream = PostgresStream(self, replication, slot, snapshot, position)
        self._streams = {s for s in self._streams if not s.ended} | {stream}
        return stream

    async def _load_slot(self, connection: Connection, name: str) -> Slot | None:
        """The permanent slot, if it can be read; None: it is to be made."""
        found = await slots.load(connection, name)
        try:
            return slots.usable(found, name, self.publication.manage)
        except UpstreamError as error:
            if error.code == slots.LOST and self.publication.manage:
                # told all the same, as the history is gone; the next attempt makes it anew
                await connection.execute(slots.drop(name).encode())
            raise

    async def _place(
        self, connection: Connection, slot: str, found: Slot | None
    ) -> tuple[str | None, Position]:
        """The snapshot that a new slot exported, None if the slot was there, and where the stream begins."""
        identity = await (await connection.execute(b"IDENTIFY_SYSTEM")).fetchone()
        assert identity is not None
        start = Position(f"{identity[0]}.{identity[3]}", int(identity[1]), 0)
        if found is not None:
            return None, start._replace(offset=found.confirmed or 0)
        modern = connection.info.server_version >= 150000
        export = "(SNAPSHOT 'export')" if modern else "EXPORT_SNAPSHOT"
        temporary = "" if self.slot else "TEMPORARY "
        command = f'CREATE_REPLICATION_SLOT "{slot}" {temporary}LOGICAL pgoutput {export}'
        made = await (await connection.execute(command.encode())).fetchone()
        assert made is not None
        high, low = str(made[1]).split("/")
        return str(made[2]), start._replace(offset=(int(high, 16) << 32) | int(low, 16))

    async def tell_slot(self, connection: Connection) -> None:
        """Tell the world how much of the log our permanent slot keeps; psycopg.Error."""
        if self.slot and (found := await slots.load(connection, self.slot)) is not None:
            kept = found.kept or 0
            much, before = kept > self.config.slot_warn, self._keeps_much
            self._keeps_much = much
            self.emit(SlotKeepsLog(self.name, self.slot, kept, much and not before))

    async def _require(self, connection: Connection) -> None:
        """What must be true before a slot is made. The publication too: decoding reads the catalogue as it was."""
        for finding in await self._server_findings(connection):
            if not finding.ok and finding.fatal:
                code = finding.subject.rsplit(" ", 1)[-1]
                wrong = retry if code == check.STANDBY else fail  # it may be promoted any moment
                raise wrong(code, finding.message, hint=finding.hint)
        relations = list(self._relations.values())
        if not await self.publication.exists(connection):
            names = dict.fromkeys(name for relation in relations for name in published(relation))
            await self.publication.create(connection, [] if self.publication.manage else list(names))
        for relation in relations if self.publication.manage else []:
            # what cannot be added is reported when its source is added: one bad table never ends the others
            with contextlib.suppress(UpstreamError, psycopg.errors.UndefinedTable):
                if isinstance(relation, Computed):
                    await self.publication.ensure_inputs(connection, relation.inputs.leaves)
                else:
                    await self.publication.ensure(connection, relation, ())
        self.publication.fresh.clear()  # of what it holds now, the slot will tell everything

    @staticmethod
    def _require_select(table: Table, user: str) -> None:
        if table.hidden:
            raise fail(
                "row-security",
                f"row security hides rows of {table.sql} from {shown(user)}, while the stream tells all of them",
                hint=f"ALTER ROLE {shown(user)} BYPASSRLS;",
            )
        if not table.readable:
            raise fail(
                "no-rights",
                f"no right to read {table.sql}",
                hint=f"GRANT SELECT ON {table.sql} TO {shown(user)};",
            )

    async def publish(self, source: SourceConfig, row_type: RowType) -> Published:
        """Make sure that the publication tells all that a source reads.

        UpstreamError if it cannot be so, or the table does not give the row type any more.
        """
        name, columns = source.name, [column.name for column in row_type.columns]
        async with self._few:
            table = await self._table_of(source, row_type)
            async with await self.connect() as connection:
                self._require_select(table, connection.info.user)
                try:
                    altered = await self.publication.ensure(connection, table, columns)
                    mark = (await marks(connection, self.publication.name, {name: table}))[name]
                    settled = bool(self.slot) and await slots.settled(
                        connection, self.slot or "", self.publication.name, list(table.oids)
                    )
                except psycopg.Error as error:
                    raise translate(error, self.url, f"publishing {table.sql}") from None
        if mark is None or mark.oid != table.oid or any(column not in mark.columns for column in columns):
            self.forget(name)
            raise retry("source-altered", f"source {name}: {table.sql} was altered just now")
        before = self._marks.get(name)
        same = before is not None and before.difference(mark, columns) is not Difference.REREAD
        self._marks[name] = mark
        return Published(table, mark, altered, same, settled)

    async def publish_inputs(self, computed: Computed) -> bool:
        """Make sure that the publication tells of any change of what a computed source reads; whether it did not yet."""
        async with self._few, await self.connect() as connection:
            try:
                return await self.publication.ensure_inputs(connection, computed.inputs.leaves)
            except psycopg.Error as error:
                raise translate(error, self.url, f"publishing what {computed.title} reads") from None

    async def judge(
        self, source: SourceConfig, row_type: RowType, table: Table, then: Mark, now: Mark | None
    ) -> Table:
        """The table of a source as it is now; UpstreamError if it does not serve the source any more."""
        self.forget(source.name)
        columns = [column.name for column in row_type.columns]
        try:
            found = await self._table_of(source, row_type)
            async with await self.connect() as connection:
                self._require_select(found, connection.info.user)
                for fault in await self.publication.faults(connection, found, columns):
                    if not (fault.missing and self.publication.manage):  # else it is added when the source is
                        raise fault.error()
        except UpstreamError as error:
            async with await self.connect() as connection:
                raise await catalogue.moved(connection, source, table, then, now, error) from None
        return found

    async def leftovers(self) -> Sequence[Leftover]:
        """What this configuration may have left in the database: its publication, and slots."""
        async with await self.connect() as connection:
            try:
                return await cleanup.find(connection, self._config_name, self.publication.name, self.slot)
            except psycopg.Error as error:
                raise translate(error, self.url, "looking for leftovers") from None

    async def remove(self, leftovers: Sequence[Leftover]) -> Sequence[Leftover]:
        """See Engine."""
        removed = []
        async with await self.connect() as connection:
            for leftover in leftovers:
                if leftover.in_use:
                    continue
                try:
                    await cleanup.remove(connection, leftover)
                except psycopg.errors.InsufficientPrivilege as error:
                    said = f"no right to remove {leftover.kind} {leftover.name}"
                    raise fail(
                        "no-rights", said, detail=safe(str(error), self.url), hint=leftover.sql
                    ) from None
                except psycopg.Error as error:
                    raise translate(error, self.url, f"removing {leftover.name}") from None
                removed.append(leftover)
        return removed

    async def _server_findings(self, connection: Connection) -> list[Finding]:
        found = await slots.load(connection, self.slot) if self.slot else None
        return await check.server_findings(
            connection, self.name, slot=bool(self.slot), has_slot=found is not None
        )

    async def check(self, sources: Sequence[SourceConfig]) -> Sequence[Finding]:
        """See Engine."""
        try:
            connection = await self.connect()
        except UpstreamError as error:
            return [Finding(f"database {self.name}", False, error.message, error.hint)]
        async with connection:
            findings = await self._server_findings(connection)
            if self.slot:
                found = await slots.load(connection, self.slot)
                subject, manage = f"database {self.name} slot", self.publication.manage
                findings.append(slots.finding(subject, found, self.slot, manage, self.config.slot_warn))
            for source in sources:
                findings += await self._check_source(connection, source)
        return findings

    async def _check_source(self, connection: Connection, source: SourceConfig) -> list[Finding]:
        subject = f"source {source.name}"
        try:
            relation = await self._load(connection, source)
            shape = self._row_type(relation, source)
            if isinstance(relation, Table):
                self._require_select(relation, connection.info.user)
        except UpstreamError as error:
            return [Finding(subject, False, error.told, error.hint)]
        names = [column.name for column in shape.columns]
        if isinstance(relation, Computed):
            findings = check.computed_findings(subject, relation, shape)
            faults = await self.publication.input_faults(connection, relation.inputs.leaves)
        else:
            findings = check.table_findings(subject, relation, shape, bool(source.columns))
            faults = await self.publication.faults(connection, relation, names)
        for fault in faults:
            ours = bool(fault.missing) and self.publication.manage
            hint = "tycostream will add it" if ours else fault.hint
            findings.append(Finding(subject, False, fault.message, hint, fatal=not ours))
        return findings

    async def catalogue(self) -> Sequence[CatalogueTable]:
        """See Engine."""
        async with await self.connect() as connection:
            try:
                tables = await catalogue.load_all(connection)
                return [await self._offered(connection, table) if table.view else table for table in tables]
            except psycopg.Error as error:
                raise translate(error, self.url, "reading the catalogue") from None

    async def _offered(self, connection: Connection, view: CatalogueTable) -> CatalogueTable:
        """A view, with what keeps it from being run again when its tables change."""
        source = SourceConfig(name=view.name, table=written(view.schema, view.name))
        try:
            relation = await self._load(connection, source)
            self._row_type(relation, source)
        except UpstreamError as error:
            return replace(view, remedy=error.hint or error.message)
        leaves = relation.inputs.leaves if isinstance(relation, Computed) else ()
        faceless = [
            f"ALTER TABLE {shown(*leaf.name)} REPLICA IDENTITY FULL;" for leaf in leaves if not leaf.identity
        ]
        return replace(view, remedy=" ".join(faceless))

    def remark(self, source: str) -> str:
        """See Engine: whether its re-runs keep up."""
        return next((said for s in self._streams if not s.ended and (said := s.remark(source))), "")

    def catching_up(self, source: str, position: Position) -> bool:
        """See Engine: with a permanent slot a source may start in the past, or be behind the others."""
        return position.offset < self.level

    def renew(self, url: str) -> None:
        """See Engine. An embedded server gives its own URL."""
        self.config = self.config.model_copy(update={"url": url})

    async def close(self) -> None:
        """See Engine."""
        for stream in self._streams:
            await stream.close()
        self._streams.clear()
        if self.embedded is not None:
            await self.embedded.stop()

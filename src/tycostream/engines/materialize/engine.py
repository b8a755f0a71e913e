"""Materialize as an Engine: what a source is, what an operator should know, and streams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import psycopg

from tycostream.clock import Clock
from tycostream.config.model import Consistency, DatabaseConfig, SourceConfig
from tycostream.engines.base import CatalogueTable, Finding, Leftover
from tycostream.engines.control import Control
from tycostream.engines.libpq import Connection, retry
from tycostream.engines.materialize import catalogue
from tycostream.engines.materialize.catalogue import Relation
from tycostream.engines.materialize.check import Check
from tycostream.engines.materialize.connect import connect
from tycostream.engines.materialize.errors import PRODUCT, meaning, translate
from tycostream.engines.materialize.stream import MaterializeStream
from tycostream.engines.meanings import server_error
from tycostream.observe.events import Emit, EnumLabelUnlisted
from tycostream.rows import Position, RowType

_FRONTIER_LAG_MS: Final = 2_000  # an idle Materialize tells of its progress about once a second


class MaterializeEngine:
    """See Engine."""

    def __init__(
        self,
        name: str,
        config: DatabaseConfig,
        enums: Mapping[str, tuple[str, ...]],
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.name, self.config, self.clock, self.emit = name, config, clock, emit
        self.share_positions = config.consistency is Consistency.DATABASE
        self.level_first = False
        self.patience_s = config.stall_after.total_seconds() / 2
        self.control = Control(self.connect, config, PRODUCT)
        self.role = ""
        self.asked_ms: dict[str, int] = {}  # when each source was last asked for, by the database's clock
        self.enums = enums
        self._relations: dict[str, Relation] = {}
        self.reached: dict[str, Position] = {}  # how far each source was told, by whichever stream
        self.flooded: set[str] = set()  # the history of these was too much: once they are read without
        self._identities: dict[str, str] = {}  # what each source reads, or read when it was there
        self._began: dict[str, tuple[str, int]] = {}  # which object's positions a source has, and the first
        self._streams: set[MaterializeStream] = set()

    @property
    def url(self) -> str:
        """Where we connect."""
        return self.config.url or ""

    async def leftovers(self) -> Sequence[Leftover]:
        """See Engine: nothing is ever made here."""
        return []

    async def remove(self, leftovers: Sequence[Leftover]) -> Sequence[Leftover]:
        """See Engine."""
        return []

    def remark(self, source: str) -> str:
        """See Engine."""
        return ""

    def catching_up(self, source: str, position: Position) -> bool:
        """See Engine: a stream starts as far back as history and the log reach."""
        return position.offset < self.asked_ms.get(source, 0) - _FRONTIER_LAG_MS

    def renew(self, url: str) -> None:
        """See Engine."""
        self.config = self.config.model_copy(update={"url": url})

    async def connect(self) -> Connection:
        """A connection with our session settings."""
        connection = await connect(self.url, self.config)
        self.role = connection.info.user
        return connection

    async def now(self, connection: Connection) -> int:
        """Materialize's time in milliseconds."""
        try:
            async with asyncio.timeout(self.config.statement_timeout.total_seconds()):
                row = await (await connection.execute(b"SELECT mz_now()")).fetchone()
        except TimeoutError:
            raise retry("statement-timeout", "Materialize accepts connections and answers nothing") from None
        except psycopg.Error as error:
            raise translate(error, self.url, "asking for the time") from None
        return int(row[0]) if row is not None else 0

    async def probe(self) -> None:
        """See Engine."""
        connection = await self.connect()
        try:
            await self.now(connection)
        finally:
            await connection.close()

    async def describe(self, source: SourceConfig) -> RowType:
        """See Engine."""
        try:
            relation = await catalogue.load_relation(self.control.run, self.control.describe, source)
        except psycopg.Error as error:
            raise meaning(server_error(error), source.name, self.url, self.role) from None
        row_type = catalogue.row_type(relation, source, self.enums, self._unlisted)
        self._relations[source.name] = relation
        self._identities[source.name] = relation.identity
        return row_type

    def _unlisted(self, enum: str, label: str) -> None:
        self.emit(EnumLabelUnlisted(enum, label))

    async def relation_of(self, source: SourceConfig) -> Relation:
        """What a source reads, as ``describe`` saw it."""
        if source.name not in self._relations:
            await self.describe(source)
        return self._relations[source.name]

    def forget(self, source: str) -> None:
        """Describe a source anew when it is next asked for: it failed, so it may be another object now."""
        self._relations.pop(source, None)

    def group_identity(self) -> str:
        """What the positions of a whole group depend on: every object that a source of it reads.

        One that is away counts as what it was: what comes back unchanged changes no position.
        """
        text = "|".join(f"{name}={identity}" for name, identity in sorted(self._identities.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def began(self, source: str, identity: str, position: Position) -> None:
        """A snapshot of a source was told, as of ``position``: from there on it is the object ``identity``."""
        self.reached[source] = position
        self.flooded.discard(source)
        self._began[source] = identity, position.offset

    def knows(self, source: str, identity: str, offset: int) -> bool:
        """Whether what was told of a source up to ``offset`` was of the object ``identity``."""
        known = self._began.get(source)
        return known is not None and known[0] == identity and offset >= known[1]

    async def open(self) -> MaterializeStream:
        """See Engine."""
        try:
            environment = (await self.control.run(catalogue.IDENTITY))[0][0]
        except psycopg.Error as error:
            raise translate(error, self.url, "asking which Materialize this is") from None
        stream = MaterializeStream(self, str(environment))
        self._streams = {s for s in self._streams if not s.closed} | {stream}
        return stream

    async def catalogue(self) -> Sequence[CatalogueTable]:
        """See Engine."""
        try:
            return await catalogue.load_all(self.control.run)
        except psycopg.Error as error:
            raise translate(error, self.url, "reading the catalogue") from None

    async def check(self, sources: Sequence[SourceConfig]) -> Sequence[Finding]:
        """See Engine."""
        return await Check(self).findings(sources)

    async def close(self) -> None:
        """See Engine."""
        for stream in self._streams:
            await stream.close()
        self._streams.clear()
        await self.control.close()

"""RisingWave as an Engine: what a source is, what an operator should know, and streams."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import psycopg

from tycostream.clock import Clock
from tycostream.config.model import DatabaseConfig, SourceConfig
from tycostream.engines.base import CatalogueTable, Finding, Leftover
from tycostream.engines.control import Control
from tycostream.engines.libpq import Connection, fail
from tycostream.engines.meanings import server_error
from tycostream.engines.risingwave import catalogue, subscriptions
from tycostream.engines.risingwave.catalogue import Relation
from tycostream.engines.risingwave.check import Check
from tycostream.engines.risingwave.connect import ask, connect
from tycostream.engines.risingwave.errors import PRODUCT, Refused, meaning, translate
from tycostream.engines.risingwave.reach import Reach
from tycostream.engines.risingwave.stream import RisingWaveStream
from tycostream.observe.events import Emit, EnumLabelUnlisted
from tycostream.rows import Position, RowType

_VERSION: Final = re.compile(r"RisingWave-v?(\d+)\.(\d+)")
_LEAST: Final = (2, 1)  # the first whose FETCH waits


class RisingWaveEngine:
    """See Engine."""

    level_first = False
    share_positions = False  # nothing names one moment of two sources

    def __init__(
        self,
        name: str,
        config: DatabaseConfig,
        config_name: str,
        enums: Mapping[str, tuple[str, ...]],
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.name, self.config, self.config_name = name, config, config_name
        self.clock, self.emit, self.enums = clock, emit, enums
        self.control = Control(self.connect, config, PRODUCT)
        self.role = ""
        # Positions are those of one process: which epoch a snapshot shows is not told, so two processes' snapshots
        # have no positions that could be compared.
        self.life = secrets.token_hex(8)
        self.reached: dict[str, Reach] = {}
        self.behind: set[str] = set()  # these read what happened while they were away
        self._relations: dict[str, Relation] = {}
        self._streams: set[RisingWaveStream] = set()

    @property
    def url(self) -> str:
        """Where we connect."""
        return self.config.url or ""

    @property
    def statement_s(self) -> float:
        """How long a statement may take."""
        return self.config.statement_timeout.total_seconds()

    def remark(self, source: str) -> str:
        """See Engine."""
        return ""

    def catching_up(self, source: str, position: Position) -> bool:
        """See Engine."""
        return source in self.behind

    def renew(self, url: str) -> None:
        """See Engine."""
        self.config = self.config.model_copy(update={"url": url})

    async def connect(self) -> Connection:
        """A connection with our session settings."""
        connection = await connect(self.url, self.config)
        self.role = connection.info.user
        return connection

    async def now(self, connection: Connection) -> int:
        """RisingWave's time in milliseconds, which may be that of its last checkpoint. Refused if it does not answer."""
        result = await ask(connection, "SELECT now()", self.statement_s)
        text = (result.get_value(0, 0) or b"").decode()
        return int(datetime.fromisoformat(text).timestamp() * 1000)

    async def probe(self) -> None:
        """See Engine."""
        connection = await self.connect()
        try:
            await self.now(connection)
        except Refused as refused:
            raise meaning(refused.error, self.name, self.url, self.role) from None
        finally:
            connection.pgconn.finish()

    async def describe(self, source: SourceConfig) -> RowType:
        """See Engine. Nothing is made for it: what a source needs is made when it is read."""
        try:
            relation = await catalogue.load_relation(self.control, source)
        except psycopg.Error as error:
            raise meaning(server_error(error), source.name, self.url, self.role) from None
        row_type = catalogue.row_type(relation, source, self.enums, self._unlisted)
        self._relations[source.name] = relation
        return row_type

    def _unlisted(self, enum: str, label: str) -> None:
        self.emit(EnumLabelUnlisted(enum, label))

    async def relation_of(self, source: SourceConfig) -> Relation:
        """What a source reads, as ``describe`` saw it."""
        if source.name not in self._relations:
            await self.describe(source)
        return self._relations[source.name]

    def forget(self, source: str) -> None:
        """See Engine."""
        self._relations.pop(source, None)

    async def version(self) -> str:
        """What RisingWave calls itself; UpstreamError if it is too old, or another product."""
        try:
            said = str((await self.control.run(catalogue.IDENTITY))[0][0])
        except psycopg.Error as error:
            raise translate(error, self.url, "asking which RisingWave this is") from None
        found = _VERSION.search(said)
        if found is None:
            raise fail("not-risingwave", f"this is no RisingWave: {said[:80]}", hint="correct `engine:`")
        if (int(found[1]), int(found[2])) < _LEAST:
            raise fail(
                "version",
                f"RisingWave {found[1]}.{found[2]} is too old: its cursors cannot wait for changes",
                hint="upgrade it to 2.1 or later",
            )
        return f"RisingWave {said.partition('RisingWave-')[2].split(' ')[0]}"

    async def open(self) -> RisingWaveStream:
        """See Engine."""
        await self.version()
        stream = RisingWaveStream(self)
        self._streams = {s for s in self._streams if not s.closed} | {stream}
        return stream

    async def catalogue(self) -> Sequence[CatalogueTable]:
        """See Engine."""
        try:
            return await catalogue.load_all(self.control, lambda name: name.startswith("tycostream_"))
        except psycopg.Error as error:
            raise translate(error, self.url, "reading the catalogue") from None

    async def check(self, sources: Sequence[SourceConfig]) -> Sequence[Finding]:
        """See Engine."""
        return await Check(self).findings(sources)

    async def leftovers(self) -> Sequence[Leftover]:
        """See Engine."""
        try:
            return await subscriptions.leftovers(self.control, self.config_name)
        except psycopg.Error as error:
            raise translate(error, self.url, "looking for what is left") from None

    async def remove(self, leftovers: Sequence[Leftover]) -> Sequence[Leftover]:
        """See Engine."""
        try:
            return await subscriptions.remove(self.control, leftovers)
        except psycopg.Error as error:
            raise translate(error, self.url, "removing what is left") from None

    async def close(self) -> None:
        """See Engine."""
        await asyncio.gather(*(stream.close() for stream in self._streams))
        self._streams.clear()
        await self.control.close()

"""One subscription cursor at a time on a connection of its own: declared, fetched from, replaced, closed.

A cursor belongs to its session, not to a transaction, so nothing here opens one. A FETCH that waits keeps the session
busy: a source has a connection to itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from psycopg import pq

from tycostream.config.model import SourceConfig
from tycostream.engines.decode.subscription import Fetched
from tycostream.engines.libpq import Connection
from tycostream.engines.risingwave.catalogue import Relation
from tycostream.engines.risingwave.connect import ask
from tycostream.engines.risingwave.errors import Refused
from tycostream.errors import Action, UpstreamError
from tycostream.rows import RowType

FETCH_ROWS: Final = 1_000
_LAST: Final = (b"op", b"rw_timestamp")  # after the table's columns


class Cursor:
    """See the module. Refused comes of every method: the server's error, or the connection's."""

    def __init__(self, connection: Connection, subscription: str, statement_s: float) -> None:
        self._connection = connection
        self._subscription = subscription
        self._statement_s = statement_s
        self._count = 0

    @property
    def _name(self) -> str:
        return f"tycostream_{self._count}"

    async def declare(self, since_ms: int | None) -> None:
        """Begin with the epochs from ``since_ms`` on; None: with a snapshot. The one before stays open until ``close``."""
        begin = "FULL" if since_ms is None else f"SINCE {since_ms}"
        self._count += 1
        await self._run(f"DECLARE {self._name} SUBSCRIPTION CURSOR FOR {self._subscription} {begin}")

    async def fetch(self, wait_s: int | None, *, former: bool = False) -> pq.abc.PGresult:
        """What is ready; if nothing is, and with ``wait_s``, what is ready as soon as something is, or in the end nothing.

        Only without ``wait_s`` does less than ``FETCH_ROWS`` mean that no more is ready. ``former``: from the one before.
        """
        # below a second RisingWave does not wait at all
        waiting = "" if wait_s is None else f" WITH (timeout = '{max(1, wait_s)}s')"
        return await self._run(f"FETCH {FETCH_ROWS} FROM {self._which(former)}{waiting}", wait_s or 0)

    async def close(self, *, former: bool = False) -> None:
        """Give it up; one that the server has given up already is no error."""
        with contextlib.suppress(Refused):
            await self._run(f"CLOSE {self._which(former)}")

    def _which(self, former: bool) -> str:
        return f"tycostream_{self._count - 1}" if former else self._name

    async def _run(self, statement: str, wait_s: float = 0) -> pq.abc.PGresult:
        return await ask(self._connection, statement, wait_s + self._statement_s)


class Layout:
    """Where the row type's columns stand in a cursor's rows, whose shape changes with ALTER TABLE.

    UpstreamError if a column of the row type is none of the relation's. Where the configuration names no columns, one more
    in the table is one more in the API.
    """

    def __init__(self, source: SourceConfig, row_type: RowType, relation: Relation) -> None:
        self._source = source.name
        types = {column.name: oid for column, oid in zip(relation.columns, relation.oids, strict=True)}
        wanted = [column.name for column in row_type.columns]
        if not set(wanted) <= set(types):
            raise self._changed([name for name in wanted if name not in types])
        self._wanted = [(name.encode(), types[name]) for name in wanted]
        self._all = {name.encode() for name in types} if source.columns is None else None
        self._shape: tuple[tuple[bytes, int], ...] = ()
        self._places: list[int] = []

    def read(self, result: pq.abc.PGresult) -> Fetched:
        """The texts of a FETCH's rows; UpstreamError if the table has another shape now."""
        width, rows, get = result.nfields, range(result.ntuples), result.get_value
        shape = tuple((result.fname(i) or b"", result.ftype(i)) for i in range(width))
        if shape != self._shape and width:
            self._places = self._found(shape)
            self._shape = shape

        def column(place: int) -> list[str | None]:
            texts = (get(row, place) for row in rows)
            return [None if text is None else str(text, "utf-8") for text in texts]

        if not rows:
            return Fetched([[] for _ in self._places], [], [])
        return Fetched([column(place) for place in self._places], column(width - 2), column(width - 1))

    def _found(self, shape: Sequence[tuple[bytes, int]]) -> list[int]:
        places = {each: place for place, each in enumerate(shape[:-2])}
        names = {name for name, _ in shape[:-2]}
        as_expected = tuple(name for name, _ in shape[-2:]) == _LAST
        missing = [name.decode() for name, oid in self._wanted if (name, oid) not in places]
        if not as_expected or missing or (self._all is not None and names != self._all):
            raise self._changed(missing)
        return [places[each] for each in self._wanted]

    def _changed(self, missing: Sequence[str]) -> UpstreamError:
        return UpstreamError(
            "schema-changed",
            f"source {self._source}: the table has other columns now",
            action=Action.RESYNC,
            detail=f"missing, or of another type: {', '.join(missing)}" if missing else "",
            hint="it is described and read again",
        )

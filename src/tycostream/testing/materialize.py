"""A fake Materialize on loopback that speaks the wire: SUBSCRIBE to the letter, its catalogue, and its failures.

Tables live in memory. ``transaction`` writes rows of cells, each the text that Materialize would print or None, with
multiplicities, at one timestamp; views are Python functions of what the tables hold. Every method but ``start``,
``stop`` and the waiting ones is an ordinary function, for use on the loop that the server runs on.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence

from tycostream.testing.fake_server import FakeServer, system_ms
from tycostream.testing.materialize_catalog import Catalog, Cluster
from tycostream.testing.materialize_data import (
    Compute,
    Contents,
    Data,
    Relation,
    Table,
    View,
)
from tycostream.testing.materialize_session import Session
from tycostream.testing.materialize_state import State
from tycostream.testing.materialize_types import sql_type
from tycostream.testing.pgwire import WireError, WireServer
from tycostream.testing.sql_text import normal
from tycostream.testing.sql_types import ColumnDef, Row

__all__ = ["Contents", "FakeMaterialize", "Row", "WireError"]

_OFFLINE = 'cluster replica quickstart.r1 changed status to "offline"'
_ONLINE = 'cluster replica quickstart.r1 changed status to "online"'


class FakeMaterialize(FakeServer):
    """A server with one database ``materialize`` and one cluster ``quickstart``.

    ``progress_s``: how often time passes by itself (None: only by ``advance`` and ``transaction``). ``retain_ms``: the
    history that a relation keeps unless told otherwise. ``buffer_bytes``: what a slow client may leave unread.
    ``old_compaction_text``: the error's wording before March 2026. ``password``: asked for in clear text.
    ``settings``: the system's defaults of session parameters (max_result_size, idle_in_transaction_session_timeout …).
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int] = system_ms,
        progress_s: float | None = 1.0,
        retain_ms: int = 1000,
        buffer_bytes: int = 128 * 1024 * 1024,
        old_compaction_text: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        require_tls: bool = False,
        password: str | None = None,
        environment_id: str = "aws-us-east-1-3b7e2c4a-0000-4000-8000-000000000000-0",
        version: str = "v26.39.0",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        data = Data(now_ms, retain_ms)
        clusters = {"quickstart": Cluster("u1", "quickstart")}
        self.environment_id = environment_id
        catalog = Catalog(
            data, clusters, environment=lambda: self.environment_id, version=version, cancel=self._cancel
        )
        self._state = State(
            data,
            catalog,
            clusters,
            buffer_bytes,
            old_compaction_text,
            version=version,
            settings=settings or {},
        )
        catalog.subscriptions = lambda: [
            (f"00000000-0000-4000-8000-{number:012d}", str(pid), made.query.relation.id)
            for number, (made, pid) in self._state.subscriptions.items()
        ]
        server = WireServer(
            lambda: Session(self._state),
            ssl_context=ssl_context,
            require_tls=require_tls,
            password=password,
            on_change=self._state.changed,
        )
        super().__init__(
            server,
            self._state.waiting,
            database="materialize",
            user="materialize",
            every_s=progress_s,
            tick=self.advance,
        )
        self.statements = self._state.statements  # the texts of all statements seen, in order

    # -- the server -----------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """See FakeServer."""
        await super().stop()
        self._state.catalog.close()

    def subscriptions(self, name: str | None = None) -> int:
        """How many SUBSCRIBEs run, of all relations or of one and of what reads it."""
        return len(self._state.live(None if name is None else self._relation(name)))

    async def subscribed(self, name: str | None = None, count: int = 1, timeout_s: float = 10) -> None:
        """Until at least ``count`` SUBSCRIBEs run; TimeoutError."""
        await self.until(lambda: self.subscriptions(name) >= count, timeout_s)

    # -- objects --------------------------------------------------------------------------------------------------

    def create_table(
        self,
        name: str,
        columns: Mapping[str, str],
        *,
        key: Sequence[str] | None = None,
        schema: str = "public",
        not_null: Iterable[str] = (),
        comment: str | None = None,
        comments: Mapping[str, str] | None = None,
        kind: str = "table",
    ) -> None:
        """A table (or ``kind="source"``): SQL types by column. ``key``: what EXPLAIN says is unique."""
        self._state.data.create(
            name,
            columns,
            kind=kind,
            schema=schema,
            keys=(tuple(key),) if key else (),
            not_null=[*not_null, *(key or ())],
            comment=comment,
            comments=comments,
        )
        self._state.changed()

    def create_view(
        self,
        name: str,
        columns: Mapping[str, str],
        compute: Compute,
        *,
        key: Sequence[str] | None = None,
        schema: str = "public",
        comment: str | None = None,
        kind: str = "view",
    ) -> None:
        """A view (or ``kind="materialized-view"``): ``compute`` gets each relation's rows by name, equal ones repeated."""
        self._state.data.create(
            name,
            columns,
            kind=kind,
            schema=schema,
            keys=(tuple(key),) if key else (),
            comment=comment,
            compute=compute,
        )
        self._state.changed()

    def create_constant_view(self, name: str, columns: Mapping[str, str], rows: Iterable[Row]) -> None:
        """A view of constants: true at every time, complete at once."""
        fixed = [tuple(row) for row in rows]
        self._state.data.create(name, columns, kind="view", compute=lambda _: fixed, fixed=True)
        self._state.changed()

    def create_other(self, name: str, kind: str) -> None:
        """An object without rows (``sink``, ``connection``, ``secret``), which cannot be subscribed to."""
        number = self._state.data.next_id()
        self._state.catalog.others.append((f"u{number}", 20_000 + number, name, kind))
        self._state.changed()

    def create_index(self, name: str, on: str, columns: Sequence[str]) -> None:
        """An index, for the catalogue only."""
        number = self._state.data.next_id()
        self._state.catalog.indexes.append(
            (f"u{number}", 20_000 + number, name, self._relation(on), tuple(columns))
        )
        self._state.changed()

    def create_cluster(self, name: str, replicas: int = 1) -> None:
        """Another cluster, or another number of replicas of one that exists (0: none can serve)."""
        number = len(self._state.clusters) + 1
        known = self._state.clusters.setdefault(name, Cluster(f"u{number}", name))
        known.replicas = replicas
        self._state.changed()

    def register_query(
        self, sql: str, columns: Mapping[str, str], compute: Compute, *, key: Sequence[str] | None = None
    ) -> None:
        """What a SELECT gives that the fake cannot run; white space, comments and the case of words do not matter."""
        made = self._state.data.create(
            f"query_{len(self._state.data.queries) + 1}",
            columns,
            kind="view",
            keys=(tuple(key),) if key else (),
            compute=compute,
            registered=False,
        )
        assert isinstance(made, View)
        self._state.data.queries[normal(sql)] = made

    def register_expression(
        self, sql: str, type_name: str, value: Callable[[dict[str, str | None]], str | None]
    ) -> None:
        """What an expression of a select list gives, from a row's texts by column."""
        self._state.items.register(sql, type_name, value)

    def drop(self, name: str) -> None:
        """DROP … CASCADE: it and what reads it; their SUBSCRIBEs end with 42704."""
        relation = self._relation(name)
        running = self._state.live(relation)
        self._state.data.drop(relation)
        for made, _ in running:
            made.fail(WireError("42704", f"relation '{relation.title}' was dropped"), at_once=False)
        self._state.changed()

    def recreate(self, name: str, columns: Mapping[str, str] | None = None) -> None:
        """Drop a table and make it again, empty, under another id."""
        table = self._table(name)
        made = {column.name: column.type.shown for column in table.columns} if columns is None else columns
        key = table.keys[0] if table.keys and set(table.keys[0]) <= set(made) else None
        self.drop(name)
        self.create_table(
            table.name, made, key=key, schema=table.schema, comment=table.comment, kind=table.kind
        )

    def alter_add_column(self, name: str, column: str, type_name: str, default: str | None = None) -> None:
        """ALTER TABLE … ADD COLUMN; SUBSCRIBEs that run keep their columns."""
        self._table(name).add_column(ColumnDef(column, sql_type(type_name), default=default))
        self._state.data.changed_shape()
        self._state.changed()

    def revoke(self, name: str) -> None:
        """From now on, naming the relation gives 42501."""
        self._relation(name).granted = False
        self._state.changed()

    def grant(self, name: str) -> None:
        """Undo ``revoke``."""
        self._relation(name).granted = True
        self._state.changed()

    def retain_history(self, name: str, seconds: float) -> None:
        """How far back it can be read, from now on."""
        relation = self._relation(name)
        self._state.data.since_of(relation)  # what is gone does not come back
        relation.retain_ms = round(seconds * 1000)
        self._state.changed()

    def compact(self, name: str, to_ms: int | None = None) -> None:
        """Make everything before ``to_ms`` (None: before the newest complete timestamp) unreadable."""
        relation = self._relation(name)
        newest = self._state.data.upper - 1
        relation.since = max(relation.since, newest if to_ms is None else min(to_ms, newest))

    def since(self, name: str) -> int:
        """The earliest readable timestamp."""
        return self._state.data.since_of(self._relation(name))

    @property
    def upper(self) -> int:
        """Every timestamp below it is complete."""
        return self._state.data.upper

    # -- writing --------------------------------------------------------------------------------------------------

    def transaction(self, writes: Iterable[tuple[str, Row, int]]) -> int:
        """Rows with multiplicities for some tables, all at the timestamp that is returned; nothing else is at it.

        ValueError, and nothing is written, if a row would be there less than zero times.
        """
        made = [(self._table(name), tuple(row), diff) for name, row, diff in writes]
        timestamp = self._state.data.commit(made)
        self._state.publish()
        return timestamp

    def insert(self, name: str, *rows: Row) -> int:
        """A transaction of inserts."""
        return self.transaction((name, row, 1) for row in rows)

    def delete(self, name: str, *rows: Row) -> int:
        """A transaction of deletes."""
        return self.transaction((name, row, -1) for row in rows)

    def update(self, name: str, old: Row, new: Row) -> int:
        """A transaction that replaces a row."""
        return self.transaction([(name, old, -1), (name, new, 1)])

    def advance(self) -> int:
        """Time passes without a change: every SUBSCRIBE makes progress; gives ``upper``."""
        upper = self._state.data.advance()
        self._state.publish()
        return upper

    def rows(self, name: str) -> dict[Row, int]:
        """What a relation holds now, with multiplicities."""
        return dict(self._relation(name).at(self.upper - 1))

    def _relation(self, name: str) -> Relation:
        return self._state.data.queries.get(normal(name)) or self._state.data.get(name)

    def _table(self, name: str) -> Table:
        relation = self._relation(name)
        if not isinstance(relation, Table):
            raise TypeError(f"{name} is a {relation.kind}: it cannot be written to")
        return relation

    # -- faults ---------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """environmentd restarts: every connection ends without a word, the data stays."""
        self.cut()

    def stall(self, name: str | None = None, *, notice: bool = False) -> None:
        """A replica restarts: neither rows nor progress of a relation (None: of all), and no error."""
        if name is None:
            self._state.stalled = True
        else:
            self._relation(name).stalled = True
        if notice:
            self.notice(_OFFLINE, name)

    def resume(self, name: str | None = None, *, notice: bool = False) -> None:
        """What was held back comes now, in one batch."""
        if name is None:
            self._state.stalled = False
        else:
            self._relation(name).stalled = False
        if notice:
            self.notice(_ONLINE, name)
        self._state.publish()

    def notice(self, text: str, name: str | None = None) -> None:
        """A NOTICE in the middle of the streams of a relation (None: to every connection)."""
        running = self._state.live(None if name is None else self._relation(name))
        pids = {pid for _, pid in running} if name is not None else set(self._server.connections)
        for pid in pids:
            if (connection := self._server.connections.get(pid)) is not None:
                connection.notify(text)

    def cut_mid_row(self, name: str | None = None, *, framed: bool = False) -> None:
        """After what is queued each stream sends half a message and closes (``framed``: a message of half a row)."""
        for made, _ in self._state.live(None if name is None else self._relation(name)):
            made.cut(framed=framed)

    def fail(
        self, name: str, sqlstate: str = "XX000", message: str = "Evaluation error: division by zero"
    ) -> None:
        """Poison a relation: what runs ends with the error, what starts gets it, until ``heal``."""
        relation = self._relation(name)
        relation.poison = WireError(sqlstate, message)
        for made, _ in self._state.live(relation):
            made.fail(relation.poison, at_once=False)
        self._state.changed()

    def heal(self, name: str) -> None:
        """Undo ``fail``."""
        self._relation(name).poison = None

    def fell_behind(self, name: str | None = None) -> None:
        """End streams as if their clients had read too slowly."""
        for made, _ in self._state.live(None if name is None else self._relation(name)):
            made.fail(made.behind())
        self._state.changed()

    def drop_cluster(self, name: str = "quickstart") -> None:
        """Drop a cluster: every stream ends with 42704 (all run on one cluster here)."""
        self._state.clusters.pop(name)
        for made, _ in self._state.live():
            made.fail(WireError("42704", f"cluster '{name}' was dropped"), at_once=False)
        self._state.changed()

    def _cancel(self, pid: int) -> bool:
        connection = self._server.connections.get(pid)
        if connection is None:
            return False
        connection.cancel()
        return True

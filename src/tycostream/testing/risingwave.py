"""A fake RisingWave on loopback that speaks the wire: subscriptions, their cursors, its catalogue, and its failures.

Tables live in memory. ``transaction`` writes rows of cells, each the text that RisingWave would print or None, into the
open epoch; a checkpoint makes them visible. Views are Python functions of what the tables hold. Every method but
``start``, ``stop`` and the waiting ones is an ordinary function, for use on the loop that the server runs on.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence

from tycostream.testing.fake_server import FakeServer, system_ms
from tycostream.testing.pgwire import WireError, WireServer
from tycostream.testing.risingwave_catalog import Catalog
from tycostream.testing.risingwave_data import Compute, Contents, Data, Relation
from tycostream.testing.risingwave_errors import INTERNAL, Caused
from tycostream.testing.risingwave_session import Session
from tycostream.testing.risingwave_state import UNREADABLE, Query, State
from tycostream.testing.risingwave_types import sql_type
from tycostream.testing.sql_items import whole
from tycostream.testing.sql_text import normal
from tycostream.testing.sql_types import ColumnDef, Row

__all__ = ["Contents", "FakeRisingWave", "Row", "WireError"]


class FakeRisingWave(FakeServer):
    """A server with one database ``dev``, whose user ``root`` may do everything.

    ``checkpoint_s``: how often a checkpoint comes by itself (None: only by ``checkpoint`` and FLUSH). ``second_s``: how
    long a second of a FETCH's timeout lasts, so that a test need not wait for it. ``password``: asked for in clear text.
    ``version``: before 3 the catalogue tells no retention, ALTER SUBSCRIPTION cannot change it, and SHOW SUBSCRIPTION
    CURSORS knows no workers.
    ``settings``: the system's defaults of session parameters.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int] = system_ms,
        checkpoint_s: float | None = 0.05,
        second_s: float = 1.0,
        ssl_context: ssl.SSLContext | None = None,
        require_tls: bool = False,
        password: str | None = None,
        version: str = "3.2.0",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        data = Data(now_ms)
        self._state = State(
            data,
            Catalog(data, database="dev", version=version),
            version,
            second_s,
            settings or {},
            checkpoint=self.checkpoint,
        )
        self._state.answering.set()
        self._stalled = False
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
            database="dev",
            user="root",
            every_s=checkpoint_s,
            tick=self.checkpoint,
        )
        self.statements = self._state.statements  # the texts of all statements seen, in order

    async def stop(self) -> None:
        """See FakeServer."""
        await super().stop()
        self._state.catalog.close()

    @property
    def second_s(self) -> float:
        """How long a second of a FETCH's timeout lasts."""
        return self._state.second_s

    @second_s.setter
    def second_s(self, seconds: float) -> None:
        self._state.second_s = seconds

    def subscriptions(self, name: str | None = None) -> int:
        """How many subscriptions there are, of all relations or of one."""
        return len(self._state.data.subscriptions if name is None else self._relation(name).subscriptions)

    def cursors(self, name: str | None = None) -> int:
        """How many subscription cursors there are, of a relation and of what reads it, or of a subscription, or at all."""
        return len(self._state.declared(name))

    async def declared(self, name: str | None = None, count: int = 1, timeout_s: float = 10) -> None:
        """Until there are at least ``count`` of them; TimeoutError."""
        await self.until(lambda: self.cursors(name) >= count, timeout_s)

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
        """A table (or ``kind="source"``, ``"sink"``, ``"view"``): SQL types by column. Without a key it has a row id."""
        made = _columns(columns, {*not_null, *(key or ())}, comments or {})
        listed = ", ".join(f"{column.name} {column.type.shown}" for column in made)
        primary = f", PRIMARY KEY ({', '.join(key)})" if key else ""
        self._state.data.create(
            schema,
            name,
            made,
            kind=kind,
            key=key or (),
            hidden=not key,
            definition=f"CREATE {kind.upper()} {name} ({listed}{primary})",
            comment=comment,
        )
        self._state.changed()

    def create_materialized_view(
        self,
        name: str,
        columns: Mapping[str, str],
        compute: Compute,
        *,
        key: Sequence[str] | None = None,
        hidden: bool | None = None,
        schema: str = "public",
        comment: str | None = None,
    ) -> None:
        """A materialized view: ``compute`` gets each relation's rows by name, equal ones repeated.

        ``hidden``: its key has a column that nobody sees besides those of ``key``; so it is without a ``key``.
        """
        self._state.data.checkpoint()
        self._state.data.create(
            schema,
            name,
            _columns(columns, set(), {}),
            kind="materialized view",
            key=key or (),
            hidden=not key if hidden is None else hidden,
            definition=f"CREATE MATERIALIZED VIEW {name} AS SELECT {', '.join(columns)}",
            comment=comment,
            compute=compute,
        )
        self._state.changed()

    def create_subscription(
        self, name: str, on: str, *, retention_s: int = 86_400, schema: str | None = None
    ) -> None:
        """CREATE SUBSCRIPTION name FROM on, in the same schema."""
        relation = self._relation(on)
        definition = f"CREATE SUBSCRIPTION {name} FROM {on} WITH (retention = '{retention_s} s')"
        self._state.data.subscribe(schema or relation.schema, name, relation, retention_s, definition)
        self._state.changed()

    def register_query(
        self, sql: str, columns: Mapping[str, str], compute: Compute, *, key: Sequence[str] | None = None
    ) -> None:
        """What a SELECT gives that the fake cannot run, in a view too; white space, comments and case do not matter."""
        made = _columns(columns, set(), {})
        data = self._state.data
        self._state.queries[normal(sql)] = Query(
            *whole(made), compute=compute, stored=lambda: data.evaluate(compute), key=tuple(key or ())
        )

    def register_expression(
        self, sql: str, type_name: str, value: Callable[[dict[str, str | None]], str | None]
    ) -> None:
        """What an expression of a select list gives, from a row's texts by column."""
        self._state.items.register(sql, type_name, value)

    def drop(self, name: str) -> None:
        """DROP … CASCADE: it, what reads it, and all their subscriptions."""
        self._state.data.drop(self._relation(name))
        self._woken()

    def drop_subscription(self, name: str) -> None:
        """DROP SUBSCRIPTION."""
        self._state.data.unsubscribe(self._state.subscription(tuple(name.split("."))))
        self._woken()

    def recreate(self, name: str, columns: Mapping[str, str] | None = None) -> None:
        """Drop a table and make it again, empty and without subscriptions, under another id."""
        table = self._relation(name)
        made = {column.name: column.type.shown for column in table.columns} if columns is None else columns
        key = [table.columns[place].name for place in table.key]
        self.drop(name)
        self.create_table(
            table.name,
            made,
            key=key if key and set(key) <= set(made) else None,
            schema=table.schema,
            comment=table.comment,
        )

    def alter_add_column(self, name: str, column: str, type_name: str, default: str | None = None) -> None:
        """ALTER TABLE … ADD COLUMN; a cursor meets it with the next epoch that it opens."""
        relation = self._relation(name)
        self.checkpoint()
        width = len(relation.columns)
        relation.reshape(
            [*relation.columns, ColumnDef(column, sql_type(type_name), default=default)],
            lambda row: (*row[:width], default, *row[width:]),
        )
        self._woken()

    def alter_drop_column(self, name: str, column: str) -> None:
        """ALTER TABLE … DROP COLUMN; not one of the key."""
        relation = self._relation(name)
        self.checkpoint()
        place = [known.name for known in relation.columns].index(column)
        relation.reshape(
            relation.columns[:place] + relation.columns[place + 1 :],
            lambda row: row[:place] + row[place + 1 :],
        )
        self._woken()

    def revoke(self, name: str) -> None:
        """From now on nobody may read a relation or a subscription, and the catalogue does not show it."""
        (self._state.named(name) or self._relation(name)).granted = False
        self._state.changed()

    def grant(self, name: str) -> None:
        """Undo ``revoke``."""
        (self._state.named(name) or self._relation(name)).granted = True
        self._state.changed()

    # -- writing --------------------------------------------------------------------------------------------------

    def transaction(self, writes: Iterable[tuple[str, Row, int]]) -> None:
        """Rows with multiplicities for some tables, all in the open epoch: visible with the next checkpoint.

        A row that goes and one of the same key that comes are one update. ValueError, and nothing is written, if a row
        would be there less than zero times.
        """
        gone: list[tuple[str, Row]] = []
        come: list[tuple[str, Row]] = []
        for name, row, diff in writes:
            (come if diff > 0 else gone).extend([(name, tuple(row))] * abs(diff))
        made: list[tuple[Relation, Row | None, Row | None]] = []
        for name, row in gone:
            relation = self._table(name)
            place = self._partner(relation, row, name, come)
            made.append((relation, row, None if place is None else come.pop(place)[1]))
        made += [(self._table(name), None, row) for name, row in come]
        self._state.data.write(made)
        self._state.changed()

    @staticmethod
    def _partner(relation: Relation, row: Row, name: str, come: list[tuple[str, Row]]) -> int | None:
        """Which of the rows to come has this row's key; without a visible key none has."""
        if relation.hidden:
            return None
        for place, (other, candidate) in enumerate(come):
            if other == name and relation.key_of(candidate) == relation.key_of(row):
                return place
        return None

    def insert(self, name: str, *rows: Row) -> None:
        """A transaction of inserts."""
        self.transaction((name, row, 1) for row in rows)

    def delete(self, name: str, *rows: Row) -> None:
        """A transaction of deletes."""
        self.transaction((name, row, -1) for row in rows)

    def update(self, name: str, old: Row, new: Row) -> None:
        """A transaction that replaces a row; without a visible key the hidden one stays."""
        self._state.data.write([(self._table(name), tuple(old), tuple(new))])
        self._state.changed()

    def checkpoint(self) -> int:
        """Make what was written visible; gives its epoch, the timestamp of its changes. Stalled: nothing happens."""
        if self._stalled or self._state.recovering:
            return self._state.data.epoch
        epoch = self._state.data.checkpoint()
        self._woken()
        return epoch

    def rows(self, name: str) -> dict[Row, int]:
        """What a relation holds, with multiplicities, what no checkpoint has made visible too."""
        found: dict[Row, int] = {}
        relation = self._relation(name)
        for row in relation.rows.values():
            visible = relation.visible(row)
            found[visible] = found.get(visible, 0) + 1
        return found

    def _relation(self, name: str) -> Relation:
        return self._state.data.get(name)

    def _table(self, name: str) -> Relation:
        relation = self._relation(name)
        if relation.kind != "table":
            raise TypeError(f"{name} is a {relation.kind}: it cannot be written to")
        return relation

    def _woken(self) -> None:
        self._state.wake()
        self._state.changed()

    # -- faults ---------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """The frontend restarts: every connection ends without a word, and its cursors with it; the data stays."""
        self.cut()

    def begin_recovery(self) -> None:
        """The cluster recovers: what no checkpoint made durable is lost, nothing can be read, cursors that read or wait end."""
        self._state.recovering = True
        self._state.data.roll_back()
        for cursor in self._state.declared():
            cursor.fail(UNREADABLE)
        self._woken()

    def end_recovery(self) -> None:
        """The cluster runs again."""
        self._state.recovering = False
        self._woken()

    def recover(self) -> None:
        """A recovery from beginning to end."""
        self.begin_recovery()
        self.end_recovery()

    def stall(self, *, silent: bool = False) -> None:
        """No barrier gets through: no checkpoint, and no error. ``silent``: no statement is answered either."""
        self._stalled = True
        if silent:
            self._state.answering.clear()

    def resume(self) -> None:
        """What was held back comes with the next checkpoint, which is now."""
        self._stalled = False
        self._state.answering.set()
        self.checkpoint()

    def trim(self, name: str, before_ms: int | None = None) -> None:
        """Recycle logs (None: all that is committed), as if the retention had passed.

        The logs of a relation and of what reads it, or the one that a subscription reads.
        """
        subscription = self._state.named(name)
        relation = self._relation(name) if subscription is None else subscription.relation
        for other in self._state.data.relations.values():
            if other is relation or (subscription is None and other.depends_on(relation)):
                other.floor_ms = self._state.data.epoch if before_ms is None else before_ms
                other.trim(other.floor_ms)
        self._woken()

    def expire_cursors(self, name: str | None = None) -> None:
        """Let the lifetime of cursors be over; whose, see ``cursors``."""
        for cursor in self._state.declared(name):
            cursor.expires_ms = 0

    def cut_mid_row(self, name: str | None = None) -> None:
        """The next answer of each cursor, or what it waits for now, is half a row, and its connection closes."""
        for cursor in self._state.declared(name):
            cursor.cut = True
        self._woken()

    def fail(
        self, name: str, message: str = "Storage error: Hummock error: ObjectStore failed with IO error"
    ) -> None:
        """Poison a relation: reading it gives an error, and its cursors become invalid, until ``heal``."""
        self._relation(name).poison = Caused(INTERNAL, message)
        self._woken()

    def heal(self, name: str) -> None:
        """Undo ``fail``; cursors that met it stay invalid."""
        self._relation(name).poison = None


def _columns(columns: Mapping[str, str], not_null: set[str], comments: Mapping[str, str]) -> list[ColumnDef]:
    return [
        ColumnDef(name, sql_type(kind), name not in not_null, comments.get(name))
        for name, kind in columns.items()
    ]

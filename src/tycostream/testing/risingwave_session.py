"""One client's session with a fake RisingWave: statements and cursors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tycostream.testing import sql_text
from tycostream.testing.pgwire_connection import Connection, Output
from tycostream.testing.pgwire_messages import Cells, Field, WireError, data_row
from tycostream.testing.risingwave_catalog import CATALOG_WORDS, modern
from tycostream.testing.risingwave_cursor import SubscriptionCursor
from tycostream.testing.risingwave_ddl import Objects
from tycostream.testing.risingwave_errors import Caused, catalog, internal, permission, report
from tycostream.testing.risingwave_settings import RISINGWAVE
from tycostream.testing.risingwave_sql import DeclareText, Since, parse_declare, parse_fetch
from tycostream.testing.risingwave_state import State
from tycostream.testing.risingwave_types import TEXT_OID, sql_type
from tycostream.testing.sql_catalog import Asker
from tycostream.testing.sql_session import Plan, SqlSession
from tycostream.testing.sql_settings import Settings
from tycostream.testing.sql_text import Reader

_TOO_SMALL = (
    "rw_timestamp is too small, need to be large than the current unix_millis - subscription's retention time"
)
_TOO_LARGE = "rw_timestamp is too large, need to be less than the current unix_millis"

# Columns of SHOW SUBSCRIPTION CURSORS; SHOW CURSORS has some of them.
_SHOWN = (
    "Worker Id", "Session Id", "User", "Host", "Database", "Cursor Name", "Subscription Name", "State",
    "Idle Duration Ms",
)  # fmt: skip


@dataclass(slots=True)
class _QueryCursor:
    """A cursor of a SELECT, which ends with the transaction."""

    fields: Sequence[Field]
    rows: list[Cells]


class Session(SqlSession):
    """See Backend. Subscription cursors live as long as the connection, whatever its transactions do."""

    text_oid = TEXT_OID
    described_at_parse = (
        True  # so a FETCH that was prepared before ALTER TABLE describes rows that do not come
    )

    def __init__(self, state: State) -> None:
        super().__init__(Settings(RISINGWAVE, {}), state.statements, state.changed)
        self._state = state
        self._objects = Objects(state)
        self._user = "root"
        self._cursors: dict[str, SubscriptionCursor | _QueryCursor] = {}

    @property
    def _pid(self) -> int:
        return 0 if self._connection is None else self._connection.pid

    # -- Backend --------------------------------------------------------------------------------------------------

    def start(self, parameters: Mapping[str, str], connection: Connection) -> Mapping[str, str]:
        """See Backend."""
        self._connection = connection
        self._user = parameters.get("user", self._user)
        database = parameters.get("database") or self._user
        if database != self._state.database:
            raise Caused("42704", f'database "{database}" does not exist', fatal=True)
        self._settings = Settings(RISINGWAVE, {**self._state.settings, "database": database})
        self._settings.start({k: v for k, v in parameters.items() if k != "database"})
        return self._settings.report()

    def prepare(self, sql: str, arguments: Cells | None) -> Plan | None:
        """See Backend."""
        made = super().prepare(sql, arguments)
        if made is None:
            return None

        async def run(out: Output) -> str:
            await self._state.answering.wait()
            return await made.run(out)

        return Plan(made.fields, run)

    def failed(self, error: WireError, kind: bytes) -> WireError:
        """See Backend."""
        return report(super().failed(error, kind), kind)

    def synced(self) -> None:
        """See Backend: nothing ends with a statement."""

    def close(self) -> None:
        """See Backend."""
        for name in list(self._cursors):
            self._forget(name)

    def _end(self) -> None:
        super()._end()
        for name, cursor in list(self._cursors.items()):
            if isinstance(cursor, _QueryCursor):
                del self._cursors[name]

    def _forget(self, name: str) -> None:
        cursor = self._cursors.pop(name)
        if isinstance(cursor, SubscriptionCursor):
            del self._state.cursors[cursor]
            self._state.changed()

    # -- statements -----------------------------------------------------------------------------------------------

    def _plan(self, sql: str) -> Plan:
        reader = Reader(sql)
        first = reader.peek()
        word = first.text if first is not None and first.kind == "word" else ""
        ends = word in ("commit", "end", "rollback", "abort")
        self._check_status(ends)
        if word in ("begin", "start"):
            return Plan(None, self._begin)
        if ends:
            return Plan(None, lambda out: self._finish(out, word in ("commit", "end")))
        if word in ("create", "drop", "alter"):
            tag, action = self._objects.plan(reader)
            return self._tagged(tag, action)
        readers: dict[str, Callable[[Reader], Plan]] = {
            "set": self._set,
            "reset": self._reset,
            "show": self._show,
            "discard": lambda _: self._tagged("DISCARD", self._settings.reset_all),
            "deallocate": lambda _: self._tagged("DEALLOCATE", lambda: None),
            "flush": lambda _: self._tagged("FLUSH", self._flush),
            "describe": self._describe,
            "declare": self._declare,
            "fetch": self._fetch,
            "close": self._close_cursor,
            "select": self._select,
            "with": self._select,
            "values": self._select,
        }
        if word not in readers:
            raise sql_text.syntax_error(sql.strip()[:40])
        if word not in ("select", "with", "values"):
            reader.next()
        return readers[word](reader)

    def _flush(self) -> None:
        self._state.check_running()
        self._state.checkpoint()

    def _select(self, reader: Reader) -> Plan:
        fields, rows = self._selection(reader.sql)
        return self._answer(fields, rows)

    def _selection(self, sql: str) -> tuple[Sequence[Field], Callable[[], list[Cells]]]:
        """A SELECT: of the catalogue if it names one of its tables or no table at all, else of a relation."""
        words = {token.text for token in sql_text.tokens(sql) if token.kind in ("word", "quoted")}
        if "from" not in words or words & CATALOG_WORDS:
            asker = Asker(self._state.database, self._user, self._pid)
            fields, found = self._state.catalog.run(sql, asker)
            return fields, lambda: found
        if (grouped := sql_text.GROUPED.fullmatch(sql.strip())) is not None:
            inner = f'SELECT {grouped[1]} FROM {grouped[2]} AS "source"'  # noqa: S608 - no database reads it
            columns, all_rows = self._selection(inner)
            return [*columns, sql_type("bigint").field("count")], lambda: sql_text.repeated(
                all_rows(), int(grouped[3])
            )
        limit = None
        if sql_text.normal(sql) not in self._state.queries:
            limit = sql_text.parse_select(sql).limit
        query = self._state.query(sql)

        def rows() -> list[Cells]:
            if (trouble := self._state.trouble() or query.poison()) is not None:
                raise trouble
            return query.rows()[:limit]

        return [column.type.field(column.name) for column in query.columns], rows

    def _describe(self, reader: Reader) -> Plan:
        relation = self._state.resolve(reader.path())
        names = [column.name for column in relation.all_columns]
        rows: list[Cells] = [
            (
                column.name,
                column.type.shown,
                "true" if place >= len(relation.columns) else "false",
                column.comment,
            )
            for place, column in enumerate(relation.all_columns)
        ]
        keys = ", ".join(name for name in names if name in relation.key_names)
        rows += [("primary key", keys, None, None), ("distribution key", keys, None, None)]
        fields = [Field(name, TEXT_OID) for name in ("Name", "Type", "Is Hidden", "Description")]
        return self._answer(fields, lambda: rows, "DESCRIBE")

    def _show(self, reader: Reader) -> Plan:
        if reader.words("subscription", "cursors"):
            first = 0 if modern(self._state.version) else 1  # older ones know of no other frontends
            fields = [Field(name, TEXT_OID) for name in _SHOWN[first:]]
            return self._answer(fields, lambda: [row[first:] for row in self._all_cursors()], "SHOW_COMMAND")
        if reader.words("cursors"):
            head = (str(self._pid), self._user, "127.0.0.1", self._state.database)
            found: list[Cells] = [
                (*head, name) for name, cursor in self._cursors.items() if isinstance(cursor, _QueryCursor)
            ]
            fields = [Field(name, TEXT_OID) for name in _SHOWN[1:6]]
            return self._answer(fields, lambda: found, "SHOW_COMMAND")
        return super()._show(reader)

    def _all_cursors(self) -> list[Cells]:
        state = self._state
        return [
            (
                "1",
                str(pid),
                user,
                "127.0.0.1",
                state.database,
                cursor.name,
                cursor.subscription.name,
                cursor.reading.value,
                str(state.data.now_ms() - cursor.fetched_ms),
            )
            for cursor, (pid, user) in state.cursors.items()
        ]

    # -- cursors --------------------------------------------------------------------------------------------------

    def _declare(self, reader: Reader) -> Plan:
        name = reader.name()
        if reader.words("subscription", "cursor", "for"):
            text = parse_declare(reader)
            return self._tagged("DECLARE_CURSOR", lambda: self._declare_subscription(name, text))
        reader.expect("cursor", "for")
        first = reader.peek()
        if first is None:
            raise sql_text.syntax_error("the end")
        fields, rows = self._selection(reader.sql[first.start :])

        def action() -> None:
            self._check_free(name)
            self._cursors[name] = _QueryCursor(fields, rows())

        return self._tagged("DECLARE_CURSOR", action)

    def _check_free(self, name: str) -> None:
        if name in self._cursors:
            raise catalog(f"cursor `{name}` already exists")

    def _declare_subscription(self, name: str, text: DeclareText) -> None:
        state, data = self._state, self._state.data
        subscription = state.subscription(text.subscription)
        if not (subscription.granted and subscription.relation.granted):
            raise permission()
        now = data.now_ms()
        oldest = max(now - subscription.retention_s * 1000, subscription.relation.floor_ms)
        since: int | None = None
        if text.since is Since.FULL:
            self._check_snapshot()
        elif text.since is Since.BEGIN:
            since = max(oldest, subscription.created_ms)
        elif text.since is Since.NOW:
            since = now
        else:
            assert isinstance(text.since, int)
            since = text.since
            if since > now:
                raise catalog(_TOO_LARGE)
            if since < oldest:
                raise catalog(_TOO_SMALL)
        for known, cursor in list(self._cursors.items()):
            if isinstance(cursor, SubscriptionCursor) and cursor.invalid:
                self._forget(known)
        self._check_free(name)
        made = SubscriptionCursor(name, subscription, since, data, state.trouble)
        self._cursors[name] = made
        state.cursors[made] = (self._pid, self._user)
        state.changed()

    def _check_snapshot(self) -> None:
        """A snapshot is of the newest checkpoint, and nothing else."""
        if (trouble := self._state.trouble()) is not None:
            raise trouble
        if self._settings["query_epoch"] != "0":
            raise internal(
                "Fetch Cursor can't start from specified query epoch. May run `set query_epoch = 0;`"
            )
        if self._settings["visibility_mode"] == "all":
            raise internal("Fetch Cursor don't support read uncommitted")

    def _close_cursor(self, reader: Reader) -> Plan:
        name = reader.name()
        reader.end()

        def action() -> None:
            if name != "all" and name not in self._cursors:
                raise catalog(f"cursor `{name}` don't exists")
            for known in list(self._cursors) if name == "all" else [name]:
                self._forget(known)

        return self._tagged("CLOSE_CURSOR", action)

    def _fetch(self, reader: Reader) -> Plan:
        text = parse_fetch(reader)
        cursor = self._cursors.get(text.cursor)
        if cursor is None:
            raise internal(f"Cannot find cursor `{text.cursor}`")

        async def run(out: Output) -> str:
            if isinstance(cursor, _QueryCursor):
                taken, cursor.rows = cursor.rows[: text.count], cursor.rows[text.count :]
            else:
                taken = await cursor.fetch(text.count, text.wait_s * self._state.second_s)
                if cursor.cut:
                    whole = data_row(taken[0] if taken else [None] * len(cursor.fields))
                    await out.cut(whole[: len(whole) // 2])
            await out.rows(taken)
            return f"FETCH_CURSOR {len(taken)}"

        return Plan(list(cursor.fields), run)

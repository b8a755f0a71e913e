"""One client's session with a fake Materialize: statements, transactions, cursors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tycostream.testing import sql_text
from tycostream.testing.materialize_catalog import CATALOG_WORDS
from tycostream.testing.materialize_pump import fetch_rows, pump
from tycostream.testing.materialize_settings import MATERIALIZE
from tycostream.testing.materialize_sql import SubscribeText, parse_subscribe, timeout_seconds
from tycostream.testing.materialize_state import State
from tycostream.testing.materialize_subscribe import Options, Query, Subscription, subscribe_fields
from tycostream.testing.materialize_types import sql_type
from tycostream.testing.pgwire_connection import Connection, Output
from tycostream.testing.pgwire_messages import Cells, Field, WireError
from tycostream.testing.sql_catalog import Asker
from tycostream.testing.sql_session import Plan, SqlSession
from tycostream.testing.sql_settings import Settings, size_bytes
from tycostream.testing.sql_text import Reader, parse_select

_DIRECT_NOTICE: Final = "streaming SUBSCRIBE rows directly requires a client that does not buffer output"


@dataclass(slots=True)
class _Cursor:
    """DECLAREd: what it will do, and once it was FETCHed from, what it does."""

    fields: Sequence[Field]
    text: SubscribeText | None
    query: Query | None
    options: Options | None
    select: Callable[[], list[Cells]] | None = None
    rows: list[Cells] | None = None
    number: int = 0
    running: Subscription | None = None


class Session(SqlSession):
    """See Backend."""

    def __init__(self, state: State) -> None:
        super().__init__(Settings(MATERIALIZE, {}), state.statements, state.changed)
        self._state = state
        self._user = "materialize"
        self._database = state.database
        self._subscribed = False  # this transaction has a SUBSCRIBE, which must be its only read
        self._selected = False
        self._cursors: dict[str, _Cursor] = {}
        self._numbers: set[int] = set()

    # -- Backend --------------------------------------------------------------------------------------------------

    @property
    def idle_timeout_s(self) -> float | None:
        """See Backend."""
        return self._settings.idle_timeout_s

    def start(self, parameters: Mapping[str, str], connection: Connection) -> Mapping[str, str]:
        """See Backend."""
        self._connection = connection
        self._user = parameters.get("user", self._user)
        self._database = parameters.get("database") or self._user
        version = self._state.version
        self._settings = Settings(
            MATERIALIZE, {**self._state.settings, "mz_version": version, "database": self._database}
        )
        complaints = self._settings.start({k: v for k, v in parameters.items() if k != "database"})
        if self._database != self._state.database:
            complaints.append(f'session database "{self._database}" does not exist')
        for complaint in complaints:
            Output(connection, None, False).notice(complaint)
        return {**self._settings.report(), "mz_version": version, "server_encoding": "UTF8"}

    def cursor(self, name: str) -> Plan | None:
        """See Backend."""
        return self._plan(f'FETCH ALL "{name}"') if name in self._cursors else None

    def _end(self) -> None:
        super()._end()
        self._subscribed = self._selected = False
        self._cursors.clear()
        for number in self._numbers:
            self._state.unsubscribe(number)
        self._numbers.clear()

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
        readers: dict[str, Callable[[Reader], Plan]] = {
            "set": self._set,
            "reset": self._reset,
            "show": self._show,
            "discard": lambda _: self._tagged("DISCARD ALL", self._settings.reset_all),
            "deallocate": lambda _: self._tagged("DEALLOCATE", lambda: None),
            "subscribe": self._subscribe,
            "copy": self._copy,
            "declare": self._declare,
            "fetch": self._fetch,
            "close": self._close_cursor,
            "explain": self._explain,
            "select": self._select,
            "with": self._select,
            "values": self._select,
        }
        if word not in readers:
            raise sql_text.syntax_error(sql.strip()[:40])
        if word not in ("select", "with", "values"):
            reader.next()
        return readers[word](reader)

    def _select(self, reader: Reader) -> Plan:
        fields, rows = self._selection(reader.sql)
        return self._answer(fields, rows)

    def _selection(self, sql: str) -> tuple[Sequence[Field], Callable[[], list[Cells]]]:
        """A SELECT: of the catalogue if it names one of its tables or no table at all, else of a relation."""
        words = {token.text for token in sql_text.tokens(sql) if token.kind in ("word", "quoted")}
        if "from" not in words or words & CATALOG_WORDS:
            connection = self._connection
            asker = Asker(self._database, self._user, connection.pid if connection is not None else 0)
            fields, found = self._state.catalog.run(sql, asker)
            return fields, lambda: found
        if (grouped := sql_text.GROUPED.fullmatch(sql.strip())) is not None:
            inner = f'SELECT {grouped[1]} FROM {grouped[2]} AS "source"'  # noqa: S608 - no database reads it
            columns, all_rows = self._selection(inner)
            return [*columns, sql_type("bigint").field("count")], lambda: sql_text.repeated(
                all_rows(), int(grouped[3])
            )
        registered = self._state.data.queries.get(sql_text.normal(sql))
        select = None if registered else parse_select(sql)
        query = self._state.whole(registered) if registered else self._state.select(parse_select(sql))

        def rows() -> list[Cells]:
            limit = select.limit if select is not None else None
            if limit == 0:
                return []
            if self._subscribed:
                raise WireError("25000", "SUBSCRIBE in transactions must be the only read statement")
            self._selected = self._status == b"T"
            self._state.check_cluster(self._settings["cluster"])
            if (poison := self._state.poison(query.relation)) is not None:
                raise poison
            ordered = query.ordered(query.at(self._state.data.upper - 1))
            found: list[Cells] = [row for row, diff in ordered for _ in range(diff)]
            return found[:limit]

        return [column.type.field(column.name) for column in query.columns], rows

    def _explain(self, reader: Reader) -> Plan:
        while not reader.words("for"):
            reader.next()
        start = reader.next().start
        query = self._state.select(parse_select(reader.sql[start:]))
        relation = query.relation
        found = []
        for key in relation.keys:
            names = [column.name for column in relation.columns]
            places = [query.places.index(i) for i in map(names.index, key) if i in query.places]
            if len(places) == len(key):
                found.append("[" + ", ".join(str(place) for place in sorted(places)) + "]")
        keys = f' // {{ keys: "({", ".join(found)})" }}' if found else ""
        text = f"Explained Query:\n  ReadStorage {relation.title}{keys}\n"
        return self._answer([Field("Optimized Plan")], lambda: [(text,)], "EXPLAIN")

    # -- SUBSCRIBE ------------------------------------------------------------------------------------------------

    def _target(self, text: SubscribeText) -> tuple[Query, Options]:
        state = self._state
        query = (
            state.whole(state.resolve(text.path)) if text.path is not None else state.query(text.query or "")
        )
        names = [column.name for column in query.columns]
        for name in text.key or ():
            if name not in names:
                raise WireError("42703", f'column "{name}" does not exist')
        key = None if text.key is None else tuple(names.index(name) for name in text.key)
        return query, Options(text.progress, text.snapshot, key, text.up_to)

    def _begin_subscribe(
        self, text: SubscribeText, query: Query, options: Options, out: Output
    ) -> tuple[int, Subscription]:
        if self._status == b"T" and text.as_of is None:
            if self._subscribed or self._selected:
                raise WireError("25000", "SUBSCRIBE in transactions must be the only read statement")
            self._subscribed = True
        self._state.check_cluster(self._settings["cluster"])
        as_of = self._state.as_of(query, text.as_of, text.at_least, text.up_to)
        if as_of == text.up_to:
            out.notice(
                f"subscribe as of {as_of} (inclusive) up to the same bound {as_of} (exclusive) is guaranteed to be empty"
            )
        number, made = self._state.subscribe(
            query,
            options,
            as_of,
            result_bytes=size_bytes(self._settings["max_result_size"]),
            pid=self._connection.pid if self._connection is not None else 0,
        )
        self._numbers.add(number)
        return number, made

    def _stop(self, number: int) -> None:
        self._numbers.discard(number)
        self._state.unsubscribe(number)

    def _subscribe(self, reader: Reader) -> Plan:
        text = parse_subscribe(reader)
        query, options = self._target(text)

        async def run(out: Output) -> str:
            number, running = self._begin_subscribe(text, query, options, out)
            try:
                out.notice(_DIRECT_NOTICE, "01000")
                await out.rows(())
                await pump(running, out, out.rows, copies=False)
            finally:
                self._stop(number)
            return "SUBSCRIBE"

        return Plan(subscribe_fields(query, options), run)

    def _copy(self, reader: Reader) -> Plan:
        inner = reader.inside()
        reader.expect("to", "stdout")
        if reader.words("with") or reader.peek() is not None:
            bare = [token.text for token in reader.rest if token.text not in ("(", ")", "=", "format")]
            if bare != ["text"]:
                raise WireError("0A000", "the fake's COPY has the text format only")
        inside = Reader(inner)
        if not inside.words("subscribe"):
            fields, rows = self._selection(inner)

            async def run_select(out: Output) -> str:
                found = rows()
                await out.copy_start(len(fields))
                await out.copy_rows(found)
                out.copy_end()
                return f"COPY {len(found)}"

            return Plan(None, run_select)
        text = parse_subscribe(inside)
        query, options = self._target(text)

        async def run(out: Output) -> str:
            number, running = self._begin_subscribe(text, query, options, out)
            try:
                await out.copy_start(len(subscribe_fields(query, options)))
                count = await pump(running, out, out.copy_rows, copies=True)
            finally:
                self._stop(number)
            out.copy_end()
            return f"COPY {count}"

        return Plan(None, run)

    # -- cursors --------------------------------------------------------------------------------------------------

    def _declare(self, reader: Reader) -> Plan:
        name = reader.name()
        while not reader.words("for"):
            reader.next()
        first = reader.peek()
        if first is None:
            raise sql_text.syntax_error("the end")
        if reader.words("subscribe"):
            text = parse_subscribe(reader)
            query, options = self._target(text)
            made = _Cursor(subscribe_fields(query, options), text, query, options)
        else:
            fields, select = self._selection(reader.sql[first.start :])
            made = _Cursor(fields, None, None, None, select)

        def action() -> None:
            if name in self._cursors:
                raise WireError("42P03", f'cursor "{name}" already exists')
            self._cursors[name] = made

        return self._tagged("DECLARE CURSOR", action)

    def _close_cursor(self, reader: Reader) -> Plan:
        name = reader.name()

        def action() -> None:
            for known in [*self._cursors] if name == "all" else [name]:
                cursor = self._cursors.pop(known, None)
                if cursor is None:
                    raise WireError("34000", f'cursor "{known}" does not exist')
                self._stop(cursor.number)

        return self._tagged("CLOSE CURSOR", action)

    def _fetch(self, reader: Reader) -> Plan:
        reader.words("forward")
        limit: int | None = 1
        token, after = reader.peek(), reader.peek(1)
        if token is not None and token.kind == "number":
            limit = int(reader.next().text)
        elif token is not None and token.text == "all" and after is not None and after.kind != "op":
            reader.next()
            limit = None
        reader.words("from")
        name = reader.name()
        timeout_s: float | None = None
        if reader.words("with"):
            reader.expect("(", "timeout")
            reader.words("=")
            timeout_s = timeout_seconds(reader.next().text)
            reader.expect(")")
        reader.end()
        cursor = self._cursors.get(name)
        if cursor is None:
            raise WireError("34000", f'cursor "{name}" does not exist')

        async def run(out: Output) -> str:
            if cursor.select is not None:
                cursor.rows = cursor.select() if cursor.rows is None else cursor.rows
                taken = cursor.rows[:limit]
                del cursor.rows[: len(taken)]
                await out.rows(taken)
                return f"FETCH {len(taken)}"
            if cursor.running is None:  # only now its time is fixed
                assert cursor.text is not None
                assert cursor.query is not None
                assert cursor.options is not None
                cursor.number, cursor.running = self._begin_subscribe(
                    cursor.text, cursor.query, cursor.options, out
                )
            return f"FETCH {await fetch_rows(cursor.running, out, limit, timeout_s)}"

        return Plan(cursor.fields, run)

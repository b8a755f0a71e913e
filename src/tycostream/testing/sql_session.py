"""What one client's session with any fake does alike: statements, transactions, parameters."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tycostream.testing.pgwire_connection import Connection, Output
from tycostream.testing.pgwire_messages import Cells, Field, WireError
from tycostream.testing.sql_settings import Settings
from tycostream.testing.sql_text import Reader, parameter_count, split, tokens, with_arguments


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement with its names resolved. See Prepared."""

    fields: Sequence[Field] | None
    work: Callable[[Output], Coroutine[Any, Any, str]]

    def run(self, out: Output) -> Coroutine[Any, Any, str]:
        """See Prepared."""
        return self.work(out)


class SqlSession:
    """See Backend. ``statements`` takes the text of each that is run or refused; ``changed`` is called after it."""

    text_oid = 25  # the type of what SHOW tells
    described_at_parse = False

    def __init__(self, settings: Settings, statements: list[str], changed: Callable[[], None]) -> None:
        self._settings = settings
        self._statements = statements
        self._changed = changed
        self._connection: Connection | None = None
        self._status = b"I"

    # -- Backend --------------------------------------------------------------------------------------------------

    @property
    def status(self) -> bytes:
        """See Backend."""
        return self._status

    @property
    def idle_timeout_s(self) -> float | None:
        """See Backend."""
        return None

    def start(self, parameters: Mapping[str, str], connection: Connection) -> Mapping[str, str]:
        """See Backend."""
        raise NotImplementedError

    def split(self, sql: str) -> Sequence[str]:
        """See Backend."""
        return split(sql)

    def parameter_count(self, sql: str) -> int:
        """See Backend."""
        return parameter_count(sql)

    def prepare(self, sql: str, arguments: Cells | None) -> Plan | None:
        """See Backend."""
        if not tokens(sql):
            return None
        shown = sql.strip()
        try:
            made = self._plan(with_arguments(sql, arguments))
        except WireError:
            self._statements.append(shown)
            raise

        def run(out: Output) -> Coroutine[Any, Any, str]:
            self._statements.append(shown)
            self._changed()
            return made.work(out)

        return Plan(made.fields, run)

    def cursor(self, name: str) -> Plan | None:
        """See Backend."""
        return None

    def failed(self, error: WireError, kind: bytes) -> WireError:
        """See Backend."""
        if self._status == b"T":
            self._status = b"E"
        return error

    def synced(self) -> None:
        """See Backend."""
        if self._status == b"I":
            self._end()

    def close(self) -> None:
        """See Backend."""
        self._end()

    # -- for the products -----------------------------------------------------------------------------------------

    def _plan(self, sql: str) -> Plan:
        """A statement with its names resolved; WireError if there is none like it."""
        raise NotImplementedError

    def _end(self) -> None:
        """The transaction is over."""
        self._status = b"I"

    def _check_status(self, ends: bool) -> None:
        """25P02 for anything but the end of an aborted transaction."""
        if self._status == b"E" and not ends:
            raise WireError(
                "25P02", "current transaction is aborted, commands ignored until end of transaction block"
            )

    async def _begin(self, out: Output) -> str:
        if self._status == b"I":
            self._status = b"T"
        else:
            out.notice("there is already a transaction in progress", "25001", "WARNING")
        return "BEGIN"

    async def _finish(self, out: Output, commit: bool) -> str:
        if self._status == b"I":
            out.notice("there is no transaction in progress", "25P01", "WARNING")
        tag = "COMMIT" if commit and self._status != b"E" else "ROLLBACK"
        self._end()
        return tag

    @staticmethod
    def _tagged(tag: str, action: Callable[[], None]) -> Plan:
        async def run(out: Output) -> str:
            action()
            return tag

        return Plan(None, run)

    def _set(self, reader: Reader) -> Plan:
        if reader.words("transaction") or reader.words("session", "characteristics"):
            return self._tagged("SET", lambda: None)
        if not reader.words("session"):
            reader.words("local")
        if reader.words("time", "zone"):
            name = "timezone"
        else:
            name = reader.name()
            if not reader.words("to"):
                reader.expect("=")
        values = [token.text for token in reader.rest if token.text != ","]

        def action() -> None:
            if values[:1] == ["default"]:
                self._settings.reset(name)
                return
            known = self._settings.set(name, ", ".join(values))
            if self._settings.reported(known) and self._connection is not None:
                self._connection.report(known, self._settings[known])

        return self._tagged("SET", action)

    def _reset(self, reader: Reader) -> Plan:
        name = reader.name()
        return self._tagged(
            "RESET", self._settings.reset_all if name == "all" else lambda: self._settings.reset(name)
        )

    def _show(self, reader: Reader) -> Plan:
        if reader.words("transaction", "isolation", "level"):
            name = "transaction_isolation"
        else:
            name = "timezone" if reader.words("time", "zone") else reader.name()
        known, value = self._settings.get(name)
        return self._answer([Field(known, self.text_oid)], lambda: [(value,)], "SHOW")

    @staticmethod
    def _answer(fields: Sequence[Field], rows: Callable[[], list[Cells]], tag: str | None = None) -> Plan:
        async def run(out: Output) -> str:
            found = rows()
            await out.rows(found)
            return tag or f"SELECT {len(found)}"

        return Plan(fields, run)

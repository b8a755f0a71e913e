"""A fake's system catalogue: an SQLite in memory that runs the client's own SQL.

What differs between the dialects is translated token by token: casts are dropped, and LIKE respects case. Booleans are
stored as 0 and 1 in columns declared bool; functions that give booleans give floats, which nothing else here does.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tycostream.testing.pgwire_messages import Cells, Field, WireError
from tycostream.testing.sql_text import tokens

Contents = dict[str, list[tuple[object, ...]]]  # by table, ``schema.name``
Function = Callable[..., str | int | float | None]

_BOOL: Final = 16
_COMMON_OIDS: Final = {"count": 20, "sum": 20}
_BARE: Final = ("current_user", "session_user")  # functions without parentheses
_EXPRESSION: Final = re.compile(r"^\s*([a-z_]\w*)\s*\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who runs a query: what its functions without arguments answer."""

    database: str
    user: str
    pid: int


class SqlCatalog:
    """The catalogue of some data; ``stale`` makes the next query see the present.

    ``tables``: the columns of each table by ``schema.name``; ``types``: OIDs by the names that they are declared with;
    ``functions``: how many arguments (-1: any number) and what they do; ``function_oids``: the types they give.
    """

    def __init__(
        self,
        tables: Mapping[str, str],
        types: Mapping[str, int],
        functions: Mapping[str, tuple[int, Function]],
        function_oids: Mapping[str, int],
        asker: Asker,
        text_oid: int = 25,
    ) -> None:
        self._tables = tables
        self._types = types
        self._function_oids = _COMMON_OIDS | dict(function_oids)
        self._asker = asker
        self._text_oid = text_oid
        self._sqlite = sqlite3.connect(":memory:", isolation_level=None)
        self.stale = True
        for schema in dict.fromkeys(name.split(".")[0] for name in tables):
            self._sqlite.execute(f"ATTACH ':memory:' AS {schema}")
        for table, columns in tables.items():
            self._sqlite.execute(f"CREATE TABLE {table} ({columns})")
        self._sqlite.execute("PRAGMA case_sensitive_like = true")
        common: dict[str, tuple[int, Function]] = {
            "current_database": (0, lambda: self._asker.database),
            "current_schema": (0, lambda: "public"),
            "current_user": (0, lambda: self._asker.user),
            "session_user": (0, lambda: self._asker.user),
            "pg_backend_pid": (0, lambda: self._asker.pid),
        }
        for name, (count, function) in (common | dict(functions)).items():
            self._sqlite.create_function(name, count, function)

    def close(self) -> None:
        """Free the SQLite."""
        self._sqlite.close()

    def _fill(self, rows: Contents) -> None:
        """Add the rows of each table."""
        raise NotImplementedError

    def _missing(self, name: str) -> WireError:
        """What naming a table that does not exist gives."""
        raise NotImplementedError

    def _refill(self) -> None:
        rows: Contents = {name: [] for name in self._tables}
        self._fill(rows)
        for name, contents in rows.items():
            self._sqlite.execute(f"DELETE FROM {name}")  # noqa: S608 - our own names
            if contents:
                marks = ", ".join("?" * len(contents[0]))
                self._sqlite.executemany(f"INSERT INTO {name} VALUES ({marks})", contents)  # noqa: S608

    def run(self, sql: str, asker: Asker) -> tuple[list[Field], list[Cells]]:
        """The result of a SELECT; 42703, 42883, 42601 or XX000 as SQLite sees it, or what ``_missing`` gives."""
        self._asker = asker
        if self.stale:
            self.stale = False
            self._refill()
        text = _translate(sql)
        try:
            cursor = self._sqlite.execute(text)
            described = [entry[0] for entry in cursor.description or ()]
            found = cursor.fetchall()
            declared = self._declared(text, len(described))
        except sqlite3.Error as error:
            raise self._error(str(error)) from None
        fields, oids = [], []
        for place, name in enumerate(described):
            values = [row[place] for row in found]
            oid = (
                self._function_oids.get(_function(name)) or declared[place] or _oid_of(values, self._text_oid)
            )
            oids.append(oid)
            fields.append(Field(_shown_name(name), oid))
        return fields, [tuple(_cell(v, oid) for v, oid in zip(row, oids, strict=True)) for row in found]

    def _declared(self, text: str, width: int) -> list[int | None]:
        """The declared types of result columns that are columns of tables: SQLite tells them of a view's."""
        view = "tycostream_result"
        with contextlib.suppress(sqlite3.Error):
            self._sqlite.execute(f"CREATE TEMP VIEW {view} AS {text}")
            try:
                types = [row[2] for row in self._sqlite.execute(f"PRAGMA temp.table_info({view})")]
            finally:
                self._sqlite.execute(f"DROP VIEW temp.{view}")
            return [self._types.get(str(kind).lower()) for kind in types]
        return [None] * width

    def _error(self, text: str) -> WireError:
        if found := re.match(r"no such table: (\S+)", text):
            return self._missing(found[1])
        if found := re.match(r"no such column: (\S+)", text):
            return WireError("42703", f'column "{found[1]}" does not exist')
        if found := re.match(r"no such function: (\S+)", text):
            return WireError("42883", f'function "{found[1]}" does not exist')
        return WireError("42601" if "syntax" in text else "XX000", text)


def _translate(sql: str) -> str:
    """PostgreSQL's text as SQLite's: casts go, and functions without parentheses get them."""
    made, start, skip = [], 0, False
    for token in tokens(sql):
        if skip:
            made.append(sql[start : token.start])
            start, skip = token.end, False
        elif token.kind == "op" and token.text == "::":
            made.append(sql[start : token.start])
            start, skip = token.end, True
        elif token.kind == "word" and token.text in _BARE and not sql[token.end :].lstrip().startswith("("):
            made += [sql[start : token.end], "()"]
            start = token.end
    return "".join([*made, sql[start:]])


def _function(name: str) -> str:
    found = _EXPRESSION.match(name)
    return found[1].lower() if found else ""


def _shown_name(name: str) -> str:
    """What PostgreSQL calls a column that SQLite names by its text."""
    return _function(name) or (name if re.fullmatch(r"[\w ]+", name) and not name.isdigit() else "?column?")


def _oid_of(values: list[Any], text_oid: int) -> int:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {float}:
        return 16
    if kinds == {int}:
        return 23 if all(-(2**31) <= value < 2**31 for value in values if value is not None) else 20
    return text_oid


def _cell(value: object, oid: int) -> str | None:
    if value is None:
        return None
    if oid == _BOOL:
        return "t" if value else "f"
    return str(value)

"""Clients of the real App, in process: live queries, rows by key and change feeds, and what the database says instead."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tests.oracle.shapes import (
    Order,
    Table,
    Where,
    distinct_sql,
    graphql_value,
    literal,
    order_sql,
    where_sql,
)
from tycostream.auth.session import Session
from tycostream.live.operations import Operations
from tycostream.live.subscriber import uncounted
from tycostream.testing.scripted import LineFraming, RecordingSink


def exact(text: str | bytes) -> Any:
    """JSON with its numbers as they are written."""
    return json.loads(text, parse_float=str, parse_int=str)


class Asking(Protocol):
    """What a client asks."""

    @property
    def session(self) -> Session:
        """Who asks."""

    @property
    def feed(self) -> bool:
        """Whether it is answered by changes, which the client folds."""

    def graphql(self, operation: str, after: str | None = None) -> tuple[str, dict[str, Any]]:
        """The document and its variables."""

    def value(self, data: Any) -> Any:
        """What of a result's ``data`` is the answer."""

    def sql(self, schema: str) -> str:
        """The same as the database's own SELECT, of JSON texts."""

    def expected(self, texts: Sequence[str]) -> Any:
        """What a client shows if the SELECT gave these."""


Asked = TypeVar("Asked", bound=Asking)


async def query(app: Operations, question: Asking) -> Any:
    """The answer to a one-shot query."""
    document, variables = question.graphql("query")
    session = question.session
    answer = await app.query(app.prepare(document, None, variables, session), session, uncounted)
    return question.value(exact(answer)["data"])


@dataclass(frozen=True)
class Question:
    """What a client asks of one table. ``key`` asks for one row, ``feed`` for changes; else it is a window in an order."""

    table: Table
    selection: tuple[str, ...]
    where: Where
    order: Order = ()
    limit: int | None = None
    offset: int = 0
    feed: bool = False
    key: tuple[str, ...] | None = None
    coalesce_ms: int | None = None
    distinct: int = 0  # of the order's first so many columns each combination once
    step: str | None = None  # of documents only this member

    @property
    def session(self) -> Session:
        """See Asking."""
        return Session()

    def value(self, data: Any) -> Any:
        """See Asking."""
        return data["root"]

    def graphql(self, operation: str, after: str | None = None) -> tuple[str, dict[str, Any]]:
        """See Asking."""
        name, columns = self.table.name, " ".join(map(self._field, self.selection))
        coalesce = (
            "" if self.coalesce_ms is None or operation == "query" else f" @coalesce(ms: {self.coalesce_ms})"
        )
        if self.feed:
            document = (
                f"subscription($w: {name}_bool_exp, $a: String){coalesce} {{ root: {name}_changes(where: $w, after: $a) "
                f"{{ phase complete cursor changes {{ operation changed row {{ {columns} }} old {{ {columns} }} }} }} }}"
            )
            return document, {"w": self.where, "a": after}
        if self.key is not None:
            types = self.table.columns
            pairs = zip(self.table.key, self.key, strict=True)
            given = ", ".join(f"{c}: {json.dumps(graphql_value(v, types[c]))}" for c, v in pairs)
            return f"{operation}{coalesce} {{ root: {name}_by_pk({given}) {{ {columns} }} }}", {}
        document = (
            f"{operation}($w: {name}_bool_exp, $o: [{name}_order_by!], $l: Int, $f: Int, "
            f"$d: [{name}_select_column!]){coalesce} {{ root: {name}(distinct_on: $d, where: $w, order_by: $o, limit: $l, offset: $f) {{ {columns} }} }}"
        )
        order = [{column: direction} for column, direction in self.order]
        distinct = [column for column, _ in self.order[: self.distinct]]
        return document, {"w": self.where, "o": order, "l": self.limit, "f": self.offset, "d": distinct}

    def _field(self, column: str) -> str:
        return f'{column}(path: "$.{self.step}")' if self._partial(column) else column

    def _cell(self, column: str) -> str:
        return f"{column} #> '{{{self.step}}}'" if self._partial(column) else column

    def _partial(self, column: str) -> bool:
        return self.step is not None and self.table.columns[column] == "jsonb"

    def sql(self, schema: str) -> str:
        """The database's own SELECT, one JSON object a row."""
        pairs = ", ".join(f"'{column}', {self._cell(column)}" for column in self.selection)
        distinct = distinct_sql(self.order[: self.distinct], self.table)
        select = f"SELECT {distinct}json_build_object({pairs})::text FROM {schema}.{self.table.name}"
        if self.key is not None:
            types = self.table.columns
            same = [f"{c} = {literal(v, types[c])}" for c, v in zip(self.table.key, self.key, strict=True)]
            return f"{select} WHERE {' AND '.join([*same, self.condition_sql()])}"
        select += f" WHERE {self.condition_sql()}"
        if self.feed:
            return select
        limit = "ALL" if self.limit is None else self.limit
        return f"{select} {order_sql(self.order, self.ordered)} LIMIT {limit} OFFSET {self.offset}"

    @property
    def ordered(self) -> Table:
        """What rows that are equal in the order are sorted by: its key, or else its columns."""
        return self.table

    def condition_sql(self) -> str:
        """Which rows it is about."""
        return where_sql(self.where, self.table)

    def expected(self, texts: Sequence[str]) -> Any:
        """What a client shows if the SELECT gave these."""
        if self.feed:
            return Counter(json.dumps(exact(text), sort_keys=True) for text in texts)
        shown = [exact(text) for text in texts]
        if self.key is None:
            return shown
        return shown[0] if shown else None


class Past:
    """The database's answers to one question, one for each moment at which they may have changed."""

    def __init__(self, now: Any, level: bool) -> None:
        self._answers = [now]
        self._at = 0
        self._known = level  # else what is shown first may be older than all of them

    @property
    def latest(self) -> Any:
        """The database's last answer."""
        return self._answers[-1]

    def add(self, answer: Any) -> None:
        """A transaction was committed."""
        self._answers.append(answer)

    def shown(self, state: Any, question: Asking) -> None:
        """AssertionError unless it is one of them, and none before the last that was shown."""
        for at in range(self._at, len(self._answers)):
            if self._answers[at] == state:
                self._at, self._known = at, True
                return
        assert not self._known, (question, "shows what never was, or went back", state, self._answers)


class Socket(RecordingSink):
    """A socket whose owner may wait for the next write."""

    def __init__(self, room: int | None) -> None:
        super().__init__(room)
        self.written = asyncio.Event()

    def write(self, data: bytes) -> None:
        super().write(data)
        self.written.set()


class Client(Generic[Asked]):
    """One connection with one operation. ``shown`` is what its user sees: a result, or the fold of a feed.

    ``past``: what the database has said so far, one answer a transaction, where each state that is shown must be one of
    them, in this order. ``doomed``: the operation is to end with an error.
    """

    def __init__(
        self,
        app: Operations,
        question: Asked,
        room: int | None = None,
        back: Client[Asked] | None = None,
        past: Past | None = None,
    ) -> None:
        self.app, self.question, self.room = app, question, room
        self.sink = Socket(room)
        outbox = app.outbox(LineFraming(), self.sink)
        self.sink.outbox = outbox
        self.outbox = outbox
        self.shown: Any = back.shown if back else Counter() if question.feed else None
        self.cursor: str | None = back.cursor if back else None
        self.past: Past | None = back.past if back else past
        self.doomed = False
        self.errors: list[dict[str, Any]] = []
        self._pending: Counter[str] | None = None
        self._read = 0
        document, variables = question.graphql("subscription", self.cursor)
        plan = app.prepare(document, None, variables, question.session)
        self.subscription = app.subscribe(plan, outbox, b"1", self._ended, question.session)
        self.ended = False

    def _ended(self) -> None:
        self.ended = True
        self.sink.written.set()

    def leave(self) -> None:
        """The connection is gone; what had arrived was read."""
        self.read()
        self.subscription.cancel()
        self.outbox.close()

    def read(self) -> None:
        """Take what has arrived."""
        data = bytes(self.sink.data)
        end = data.rfind(b"\n") + 1
        for line in data[self._read : end].splitlines():
            message = exact(line)
            if "error" in message:
                assert self.doomed, message
                self.errors += message["error"]
                continue
            value = self.question.value(message["next"]["data"])
            if self.question.feed:
                self._fold(value)
            else:
                self.shown = value
            whole = not self.question.feed or value["complete"]
            if self.past is not None and whole and self._pending is None:
                self.past.shown(self.shown, self.question)
        self._read = end

    def _fold(self, value: dict[str, Any]) -> None:
        phase = value["phase"]
        self.cursor = value["cursor"] or self.cursor
        if phase in ("snapshot", "reset"):
            if self._pending is None or phase == "reset":
                self._pending = Counter()
            for change in value["changes"]:
                assert (change["operation"], change["old"]) == ("insert", None)
                self._pending[json.dumps(change["row"], sort_keys=True)] += 1
            return
        if phase == "ready" and self._pending is not None:
            self.shown, self._pending = self._pending, None
        for change in value["changes"]:
            self._apply(change)
        self.shown = +self.shown

    def _apply(self, change: dict[str, Any]) -> None:
        old, row = change["old"], change["row"]
        kind = {(True, False): "insert", (False, True): "delete", (False, False): "update"}
        assert change["operation"] == kind[old is None, row is None]
        if old is not None:
            text = json.dumps(old, sort_keys=True)
            self.shown[text] -= 1  # below zero for a moment if its row comes later in the set
        if row is not None:
            self.shown[json.dumps(row, sort_keys=True)] += 1
        if change["operation"] == "update":
            differs = {column for column in row if row[column] != old[column]}
            assert differs
            assert differs <= set(change["changed"])

    async def ends(self, timeout_s: float) -> list[dict[str, Any]]:
        """Wait until the server ends the operation; the errors it ends with."""
        async with asyncio.timeout(timeout_s):
            while not self.errors:
                self.sink.written.clear()
                self.sink.drain()
                self.read()
                if not self.errors:
                    await self.sink.written.wait()
        return self.errors

    async def shows(self, expected: Any, timeout_s: float) -> None:
        """Wait until the user sees what the database says; AssertionError with both if that never comes."""

        async def reached(done: Callable[[], bool]) -> None:
            while True:
                self.sink.written.clear()
                self.sink.drain()
                self.read()
                if done():
                    return
                assert not self.ended, "the server ended the operation"
                await self.sink.written.wait()

        try:
            async with asyncio.timeout(timeout_s):
                await reached(lambda: self._pending is None and self.shown == expected)
        except TimeoutError:
            assert self._pending is None, "the snapshot never became ready"
            assert self.shown == expected, self.question

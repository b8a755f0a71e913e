"""Plans with plain encoders, a client that folds what it receives, and brute-force answers."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any

from tycostream.config.model import LiveConfig, LogConfig
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import TRUE, IsNull, Predicate, conjunction, evaluate
from tycostream.errors import RequestError
from tycostream.graphql.plan import (
    ChangeEncoder,
    Coalesce,
    Condition,
    Mode,
    Nested,
    Phase,
    Plan,
    RootPlan,
    RowEncoder,
    Stream,
)
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.live.log_subscriber import LogSubscriber
from tycostream.live.outbox import Outbox
from tycostream.live.query_subscriber import QuerySubscriber
from tycostream.observe.events import silent
from tycostream.rows import Cell, Column, Row, RowType
from tycostream.scalars import Scalar
from tycostream.testing.clock import FakeClock
from tycostream.testing.scripted import LineFraming, RecordingSink

INT = Scalar("int8", "bigint", int, str, str, lambda value: value, frozenset({"_eq"}))
TEXT = Scalar("text", "String", str, str, json.dumps, lambda value: value, frozenset({"_eq"}))
ITEMS = RowType("items", (Column("id", INT, nullable=False), Column("n", INT), Column("tag", TEXT)), key=(0,))
COPIES = RowType("copies", (Column("n", INT), Column("tag", TEXT)))


class PlainRows:
    """Rows as JSON lists."""

    key: Hashable = "plain rows"
    nested: tuple[Nested | Condition, ...] = ()

    def __init__(self, single: bool = False) -> None:
        self.single = single

    def row(self, row: Row, *related: bytes) -> bytes:
        return json.dumps(row).encode()

    def result(self, fragments: Sequence[bytes]) -> bytes:
        if self.single:
            return fragments[0] if fragments else b"null"
        return b"[" + b",".join(fragments) + b"]"


class PlainChanges:
    """Changes as [old, new]."""

    key: Hashable = "plain changes"
    wants_cursor = True

    def differs(self, old: Row, new: Row) -> bool:
        return old != new

    def same(self, row: Row) -> Hashable:
        return row

    def change(self, old: Row | None, new: Row | None) -> bytes:
        return json.dumps([old, new]).encode()

    def result(
        self, phase: Phase, changes: Sequence[bytes], *, complete: bool, resync: bool, cursor: str | None
    ) -> bytes:
        head = json.dumps({"phase": phase.value, "complete": complete, "resync": resync, "cursor": cursor})
        return head[:-1].encode() + b', "changes": [' + b",".join(changes) + b"]}"


def plan(
    row_type: RowType,
    mode: Mode,
    predicate: Predicate = TRUE,
    order: tuple[OrderBy, ...] = (),
    limit: int | None = None,
    offset: int = 0,
    *,
    after: str | None = None,
    snapshot: bool = True,
    coalesce: Coalesce | None = None,
    distinct_on: tuple[int, ...] = (),
) -> Plan:
    encoder: ChangeEncoder | RowEncoder
    encoder = PlainChanges() if mode is Mode.CHANGES else PlainRows(mode is Mode.BY_PK)
    key = (row_type.source, mode, predicate, order, limit, offset, distinct_on)
    root = RootPlan(
        "root",
        row_type.source,
        mode,
        predicate,
        encoder,
        order,
        limit,
        offset,
        after,
        snapshot,
        key,
        distinct_on=distinct_on,
    )
    return Plan(True, (root,), key, coalesce)


def stream_plan(
    row_type: RowType,
    column: int,
    predicate: Predicate = TRUE,
    *,
    descending: bool = False,
    batch_size: int = 10,
    initial: Cell = None,
    now: bool = False,
    coalesce: Coalesce | None = None,
) -> Plan:
    """As the compiler makes it: rows without a value have no place in a stream."""
    order = OrderBy(column, descending, nulls_first=descending)
    if row_type.columns[column].nullable:
        predicate = conjunction([predicate, IsNull(column, negated=True)])
    key = (row_type.source, Mode.STREAM, predicate, order, batch_size)
    root = RootPlan(
        "root",
        row_type.source,
        Mode.STREAM,
        predicate,
        PlainRows(),
        (order,),
        key=key,
        stream=Stream(batch_size, initial, now),
    )
    return Plan(True, (root,), key, coalesce)


def make_hub(clock: FakeClock, *, keep_bytes: int = 1 << 20, cursors: CursorBox | None = None) -> Hub:
    hub = Hub(clock, silent, cursors or CursorBox(["test"]), outbox_bytes_max=1 << 20)
    live = LiveConfig(log=LogConfig(bytes=keep_bytes))
    hub.add_source(ITEMS, live)
    hub.add_source(COPIES, live)
    return hub


class Client:
    """One connection with one operation; ``rows`` is what a user of the API would show."""

    def __init__(
        self, hub: Hub, operation: Plan, room: int | None = None, operation_id: bytes = b"1"
    ) -> None:
        self.hub, self.operation = hub, operation
        self.sink = RecordingSink(room)
        self.outbox: Outbox = hub.outbox(LineFraming(), self.sink)
        self.sink.outbox = self.outbox
        self.ended = False
        self.subscription: LogSubscriber | QuerySubscriber = hub.subscribe(
            operation, self.outbox, operation_id, self._end
        )
        self.seen = 0
        self.stale = False
        self.cursor: str | None = None
        self.rows: list[Any] = []
        self.shown: Any = None
        self.errors: list[Any] = []
        self.phases: list[str] = []
        self._pending: list[Any] | None = None
        self._parts: list[
            Any
        ] = []  # of a set that is not complete: applied as a whole, or a cursor would lie
        self._ready = False

    def _end(self) -> None:
        self.ended = True

    def read(self) -> None:
        for message in self.sink.messages()[self.seen :]:
            self.seen += 1
            if "error" in message:
                self.errors.append(message["error"])
                continue
            value = message["next"]["data"]["root"]  # type: ignore[index]
            self.stale = message["next"].get("extensions", {}).get("stale", self.stale)  # type: ignore[attr-defined]
            root = next(r for r in self.operation.roots if isinstance(r, RootPlan))
            if root.mode is Mode.CHANGES:
                self._fold(value)
            else:
                self.shown = value

    def _fold(self, value: dict[str, Any]) -> None:
        phase = value["phase"]
        self.phases.append(phase)
        if value["cursor"] is not None:
            self.cursor = value["cursor"]
        if phase in ("snapshot", "reset"):
            if self._pending is None or phase == "reset":
                self._pending = []
                self._parts = []
            self._pending += [new for _, new in value["changes"]]
            return
        if phase == "ready" and self._pending is not None:
            self.rows, self._pending = self._pending, None
        self._parts += value["changes"]
        if not value["complete"]:
            return
        parts, self._parts = self._parts, []
        for old, new in parts:
            if old is not None:
                self.rows.remove(old)  # raises if it was never shown: a gap or a duplicate
            if new is not None:
                assert old is not None or new not in self.rows or "copies" in str(self.operation.key)
                self.rows.append(new)


def answer(hub: Hub, operation: Plan) -> Any:
    """The value of a one-shot query over so few rows that it needs no event loop: it never awaits."""
    query = hub.query(operation)
    try:
        query.send(None)
    except StopIteration as stop:
        return json.loads(stop.value)
    raise AssertionError("the query awaits")


def brute(rows: Sequence[Row], predicate: Predicate) -> list[list[Any]]:
    return sorted((list(row) for row in rows if evaluate(predicate, row)), key=repr)


__all__ = ["COPIES", "ITEMS", "Client", "RequestError", "answer", "brute", "make_hub", "plan", "stream_plan"]

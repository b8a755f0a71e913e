"""Clients of the App that judge every message: a change feed, live queries of one table and of both."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tests.resilience.ledger import COLUMNS, TABLES, Broken, check_both, check_table
from tycostream.auth.session import Session
from tycostream.errors import RequestError
from tycostream.graphql.execute import InvalidRequest
from tycostream.live.operations import Subscription
from tycostream.live.outbox import Outbox
from tycostream.testing.scripted import LineFraming, RecordingSink

if TYPE_CHECKING:
    from tests.resilience.world import World

Shown = dict[str, dict[int, dict[str, Any]]]  # table → id → row
_SELECTION = " ".join(COLUMNS)
_LIST = "{0}(order_by: {{id: asc}}) {{ " + _SELECTION + " }}"
_QUEUED_BYTES_MAX = (
    256 * 1024
)  # far more than two tables of a few rows need, far less than an outage could pile up


class Socket(RecordingSink):
    """Hands over whole lines as they come; keeps nothing."""

    def __init__(self, room: int | None, received: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(room)
        self._received = received

    def write(self, data: bytes) -> None:
        super().write(data)
        *lines, rest = bytes(self.data).split(b"\n")
        self.data[:] = rest
        for line in lines:
            self._received(json.loads(line))


class Client:
    """One connection with one operation. What it must not see goes to the world's troubles.

    ``room``: bytes that its socket takes until it is drained. An operation that the server ends is opened again as
    soon as that is possible, as a user's client would; ``codes`` says why each ended.
    """

    document = ""
    tables: tuple[str, ...] = TABLES

    def __init__(self, world: World, name: str, room: int | None = None) -> None:
        self.world, self.name = world, name
        self.room = room
        self.codes: list[str] = []
        self.stale: list[bool] = []  # what it was told, in order
        self.shown: Shown = {}
        self.newest: dict[str, int] = {}
        self.opened = 0
        self.messages = 0
        self.socket: Socket | None = None
        self._outbox: Outbox | None = None
        self._subscription: Subscription | None = None

    @property
    def open(self) -> bool:
        """Whether its operation runs."""
        return self._subscription is not None

    def try_open(self) -> None:
        """Subscribe, unless the source is not there just now."""
        app = self.world.app
        try:
            plan = app.prepare(self.document, None, {}, Session())
            socket = Socket(self.room, self._received)
            self._outbox = socket.outbox = app.outbox(LineFraming(), socket)
            self.shown, self.newest = {}, {}
            if self.stale[-1:] == [True]:
                self.stale.append(False)  # a new operation believes the best until it is told
            self.begin()
            self._subscription = app.subscribe(plan, self._outbox, b"1", self._ended)
        except (InvalidRequest, RequestError) as error:
            self.world.refused(error)
            return
        self.socket = socket
        self.opened += 1

    def leave(self) -> None:
        """Close the connection."""
        if self._subscription is not None and self._outbox is not None:
            self._subscription.cancel()
            self._outbox.close()
            self._subscription = None

    def drain(self) -> None:
        """A slow reader reads."""
        if self.socket is not None:
            self.socket.drain()

    def queued_bytes(self) -> int:
        """What its outbox holds in memory."""
        return 0 if self._outbox is None else sum(map(len, self._outbox._buffer))

    def _ended(self) -> None:
        self._subscription = None
        self.world.wake()

    def _received(self, message: dict[str, Any]) -> None:
        self.messages += 1
        try:
            if "error" in message:
                self.codes += [error["extensions"]["code"] for error in message["error"]]
            elif "next" in message:
                stale = message["next"].get("extensions", {}).get("stale")
                if stale is not None:
                    self.stale.append(stale)
                self.take(message["next"]["data"])
            if self.queued_bytes() > _QUEUED_BYTES_MAX:
                raise Broken(f"the outbox holds {self.queued_bytes()} bytes")
        except Exception as error:
            self.world.trouble(f"{self.name}: {error!r} in {str(message)[:800]}")
        self.world.wake()

    def begin(self) -> None:
        """A new operation starts from nothing."""

    def take(self, data: dict[str, Any]) -> None:
        """A result."""
        raise NotImplementedError

    def whole(self, shown: Shown) -> None:
        """These rows were shown as one moment."""
        may_be_empty = self.world.may_be_empty
        for name, rows in shown.items():
            number = check_table(name, rows.values(), may_be_empty=may_be_empty)
            if number < self.newest.get(name, -1) and not (may_be_empty and number == -1):
                raise Broken(f"{name} went back from {self.newest[name]} to {number}")
            self.newest[name] = number
        believes_stale = self.stale[-1:] == [True]  # then one of the tables may be older than the other
        if len(shown) > 1 and self.world.upstream.together and not believes_stale:
            check_both({name: rows.values() for name, rows in shown.items()}, may_be_empty=may_be_empty)
        self.shown = shown


class LiveQuery(Client):
    """The rows of some tables, pushed whole."""

    def __init__(self, world: World, name: str, tables: tuple[str, ...], room: int | None = None) -> None:
        super().__init__(world, name, room)
        self.tables = tables
        self.document = "subscription { " + " ".join(_LIST.format(table) for table in tables) + " }"

    def take(self, data: dict[str, Any]) -> None:
        self.whole(results(data))


class ChangeFeed(Client):
    """The changes of a table, folded: any gap and any duplicate shows as an image that does not fit."""

    def __init__(
        self, world: World, name: str, table: str, room: int | None = None, coalesce_ms: int | None = None
    ) -> None:
        super().__init__(world, name, room)
        self.table = table
        self.tables = (table,)
        paced = "" if coalesce_ms is None else f" @coalesce(ms: {coalesce_ms})"
        self.document = (
            f"subscription{paced} {{ root: {table}_changes {{ phase complete resync cursor changes {{ operation "
            f"changed row {{ {_SELECTION} }} old {{ {_SELECTION} }} }} }} }}"
        )
        self.resyncs = 0
        self.resets = 0
        self._phase = ""
        self._rows: dict[int, dict[str, Any]] = {}
        self._pending: dict[int, dict[str, Any]] | None = {}

    def begin(self) -> None:
        self._phase, self._rows, self._pending = "", {}, {}

    def take(self, data: dict[str, Any]) -> None:
        part = data["root"]
        phase = part["phase"]
        lawful = {
            "": ("snapshot", "ready"),
            "snapshot": ("snapshot", "ready", "reset"),
            "ready": ("live", "reset"),
            "live": ("live", "reset"),
            "reset": ("snapshot", "ready"),
        }
        if phase not in lawful[self._phase]:
            raise Broken(f"phase {phase} after {self._phase or 'nothing'}")
        self._phase = phase
        self.resyncs += part["resync"]
        if phase == "reset":
            self.resets += 1
            if self.room is None:
                raise Broken("a client that reads is never off the log: no reset is lawful")
            self._pending = {}
        elif phase == "snapshot":
            self._snapshot(part["changes"])
            return
        elif phase == "ready" and self._pending is not None:
            self._rows, self._pending = self._pending, None
        for change in part["changes"]:
            self._change(change)
        if part["complete"] and self._pending is None:
            if part["cursor"] is None:
                raise Broken("a complete view has no cursor")
            self.whole({self.table: dict(self._rows)})

    def _snapshot(self, changes: list[dict[str, Any]]) -> None:
        assert self._pending is not None, "a snapshot without reset"
        for change in changes:
            row = change["row"]
            if change["operation"] != "insert" or row["id"] in self._pending:
                raise Broken(f"a snapshot with {change}")
            self._pending[row["id"]] = row

    def _change(self, change: dict[str, Any]) -> None:
        old, row = change["old"], change["row"]
        kind = {(True, False): "insert", (False, True): "delete", (False, False): "update"}
        if change["operation"] != kind[old is None, row is None]:
            raise Broken(f"a change that is none: {change}")
        if old is not None:
            if (known := self._rows.get(old["id"])) != old:
                raise Broken(f"a gap or a duplicate: {change}, but the client has {known}")
            del self._rows[old["id"]]
        if row is not None:
            if row["id"] in self._rows:
                raise Broken(f"a duplicate: {change}")
            self._rows[row["id"]] = row
        if old is not None and row is not None:
            differs = {column for column in COLUMNS if old[column] != row[column]}
            if not differs or differs != set(change["changed"]):
                raise Broken(f"changed is wrong: {change}")


def results(data: Mapping[str, Any]) -> Shown:
    """A query's data by table and id; the server's order must be ours."""
    shown = {name: {row["id"]: row for row in rows} for name, rows in data.items()}
    for name, rows in data.items():
        if [row["id"] for row in rows] != sorted(shown[name]):
            raise Broken(f"{name}: rows twice, or out of order")
    return shown


QUERY = "query { " + " ".join(_LIST.format(table) for table in TABLES) + " }"


async def ask(world: World) -> Shown | None:
    """A one-shot query of both tables, judged; None while the server says that it cannot answer."""
    try:
        answer: Any = world.app.query(world.app.prepare(QUERY, None, {}, Session()))
        if inspect.isawaitable(answer):
            answer = await answer
    except (InvalidRequest, RequestError) as error:
        world.refused(error)
        return None
    result = json.loads(answer)
    shown = results(result["data"])
    if world.upstream.together and not result.get("extensions", {}).get("stale"):
        check_both({name: rows.values() for name, rows in shown.items()}, may_be_empty=world.may_be_empty)
    for name, rows in shown.items():
        check_table(name, rows.values(), may_be_empty=world.may_be_empty)
    return shown


async def poll(world: World) -> None:
    """Ask again and again, as a page without subscriptions does."""
    while True:
        try:
            if await ask(world) is not None:
                world.answers += 1
        except Broken as error:
            world.trouble(f"one-shot query: {error}")
        await asyncio.sleep(0.02)


def everybody(world: World) -> Iterator[Client]:
    """One client of each kind, a slow one and a paced one."""
    for table in TABLES:
        yield ChangeFeed(world, f"feed of {table}", table)
        yield LiveQuery(world, f"query of {table}", (table,))
    yield LiveQuery(world, "query of both", TABLES)
    yield ChangeFeed(world, "slow feed of cash", TABLES[0], room=2000)
    yield LiveQuery(world, "slow query of both", TABLES, room=2000)
    yield ChangeFeed(world, "paced feed of bonds", TABLES[1], coalesce_ms=40)

"""A fake RisingWave with the ledger's tables, and everything that may happen to one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from tests.resilience.faults import CASH, DETECTION_S, FAILED
from tests.resilience.ledger import TABLES, Account, Ledger, Write
from tests.resilience.upstreams import TYPES
from tests.resilience.world import STALL_S, Fault, World
from tycostream.testing.proxy import FaultProxy
from tycostream.testing.risingwave import FakeRisingWave, WireError
from tycostream.testing.risingwave_session import Session

SECOND_S = 0.2  # of a FETCH's timeout


class RisingWaveUpstream:
    """See Upstream. We may make what we need; a transaction over both tables is told table by table."""

    together = False
    resumes = True

    def __init__(self, *, proxied: bool = False, **options: Any) -> None:
        self.fake = FakeRisingWave(**{"checkpoint_s": 0.02, "second_s": SECOND_S, **options})
        self.proxy: FaultProxy | None = None
        self._proxied = proxied
        self.added: dict[str, tuple[str, ...]] = dict.fromkeys(TABLES, ())  # cells of columns added later

    @property
    def url(self) -> str:
        url = self.fake.url
        return url if self.proxy is None else url.replace(f":{self.fake.port}/", f":{self.proxy.port}/")

    def database_yaml(self) -> str:
        return "engine: risingwave, manage: true"

    def source_yaml(self, table: str) -> str:
        return "{}"

    async def start(self, ledger: Ledger) -> None:
        await self.fake.start()
        if self._proxied:
            self.proxy = FaultProxy("127.0.0.1", self.fake.port)
            await self.proxy.start()
        for table in TABLES:
            self.make(table, list(ledger.tables[table].values()))

    def make(self, table: str, rows: Sequence[Account]) -> None:
        """The table with its rows, which are there from its beginning."""
        self.fake.create_table(table, TYPES, key=("id",))
        self.fake.insert(table, *(self.cells(table, row) for row in rows))
        self.fake.checkpoint()

    def cells(self, table: str, row: Account) -> tuple[str, ...]:
        return (*map(str, row), *self.added[table])

    async def commit(self, writes: Sequence[Write]) -> bool:
        made = [
            (table, self.cells(table, row), diff)
            for table, old, new in writes
            for row, diff in ((old, -1), (new, 1))
            if row is not None
        ]
        self.fake.transaction(made)
        return True

    async def rows(self, table: str) -> list[Account]:
        rows = self.fake.rows(table)
        return [(int(row[0] or 0), int(row[1] or 0), int(row[2] or 0), int(row[3] or 0)) for row in rows]

    async def left(self) -> None:
        await self.fake.until(lambda: self.fake.connections == self.fake.cursors() == 0)
        if self.proxy is not None:
            async with asyncio.timeout(10):
                while self.proxy.connections:
                    await asyncio.sleep(0.01)

    async def stop(self) -> None:
        if self.proxy is not None:
            await self.proxy.stop()
        await self.fake.stop()


def fake(world: World) -> FakeRisingWave:
    assert isinstance(world.upstream, RisingWaveUpstream)
    return world.upstream.fake


async def _epoch_told(world: World) -> None:
    """Wait until changes were told: a snapshot's own moment nobody knows, so from it no cursor goes on."""
    number = world.ledger.number
    await world.until(
        lambda: all(
            client.room is not None or all(client.newest.get(table, -1) > number for table in client.tables)
            for client in world.clients
        ),
        10,
        "changes were told",
    )


def _hurt(act: Callable[[FakeRisingWave], Any]) -> Any:
    async def do(world: World) -> None:
        await _epoch_told(world)
        act(fake(world))

    return do


def _heal(act: Callable[[FakeRisingWave], Any]) -> Any:
    async def do(world: World) -> None:
        act(fake(world))

    return do


def _go_away(it: FakeRisingWave) -> None:
    it.refuse()
    it.restart()


def _come_back(it: FakeRisingWave) -> None:
    it.refuse(False)


def _come_back_without_history(it: FakeRisingWave) -> None:
    for table in TABLES:
        it.trim(table)
    it.refuse(False)


def _come_back_unsubscribed(it: FakeRisingWave) -> None:
    """What was written while we were away is in no log: a new subscription begins with nothing, and says so to nobody."""
    for subscription in list(it._state.data.subscriptions):
        it.drop_subscription(subscription)
    it.refuse(False)


async def _cancel(world: World) -> None:
    """Whatever runs, until both sources were hit: between two of their statements nothing is."""
    await _epoch_told(world)
    while not all(world.reasons[table] for table in TABLES):
        fake(world).cancel_all()
        await asyncio.sleep(0.005)


async def _begin_recovery(world: World) -> None:
    """What was written is durable first: the ledger does not know of writes that are lost."""
    await _epoch_told(world)
    async with world.writing:
        fake(world).checkpoint()
        fake(world).begin_recovery()


async def _recover(world: World) -> None:
    await _epoch_told(world)
    async with world.writing:
        fake(world).checkpoint()
        fake(world).recover()


def _create(world: World) -> None:
    assert isinstance(world.upstream, RisingWaveUpstream)
    world.upstream.make(CASH, world.ledger.other_content(CASH))


async def _make_again(world: World) -> None:
    """The same name, another object, other rows: in one step."""
    async with world.writing:
        fake(world).drop(CASH)
        _create(world)


async def _drop(world: World) -> None:
    await world.writing.acquire()
    fake(world).drop(CASH)


async def _create_later(world: World) -> None:
    _create(world)
    world.writing.release()


async def _drop_subscriptions(world: World) -> None:
    async with await psycopg.AsyncConnection.connect(fake(world).url, autocommit=True) as connection:
        cursor = await connection.execute(b"SELECT name FROM rw_catalog.rw_subscriptions")
        for (name,) in await cursor.fetchall():
            await connection.execute(f'DROP SUBSCRIPTION "{name}"'.encode())


async def _add_column(world: World) -> None:
    assert isinstance(world.upstream, RisingWaveUpstream)
    async with world.writing:
        fake(world).alter_add_column(CASH, "note", "text", default="none")
        world.upstream.added[CASH] = ("none",)


def _revoke(it: FakeRisingWave) -> None:
    it.revoke(CASH)
    it.restart()


def _too_many(it: FakeRisingWave) -> None:
    def refuse() -> Session:
        raise WireError("53300", "Too many connections", fatal=True)

    it._server.gate.backend = refuse
    it.restart()


def _enough(it: FakeRisingWave) -> None:
    it._server.gate.backend = lambda: Session(it._state)


def _rotate(it: FakeRisingWave) -> None:
    it._server.gate.password = "second"
    it.restart()


RISINGWAVE = [
    Fault("restart", _hurt(lambda it: it.restart()), resync=False),
    Fault("away for a while", _hurt(_go_away), _heal(_come_back), resync=False),
    Fault("cut inside a message", _hurt(lambda it: it.cut_mid_row()), resync=False),
    Fault("one source cut", _hurt(lambda it: it.cut_mid_row(CASH)), tables=(CASH,), resync=False),
    Fault(
        "silent frontend",
        _hurt(lambda it: it.stall(silent=True)),
        _heal(lambda it: it.resume()),
        resync=False,
        extra_s=DETECTION_S,
    ),
    Fault(
        "barriers stalled",
        _hurt(lambda it: it.stall()),
        _heal(lambda it: it.resume()),
        away=False,
        resync=False,
    ),
    Fault("log recycled", _hurt(_go_away), _heal(_come_back_without_history), resync=True),
    Fault("subscribed anew meanwhile", _hurt(_go_away), _heal(_come_back_unsubscribed), resync=True),
    Fault("cursors expired", _hurt(lambda it: it.expire_cursors()), resync=False),
    Fault("cancelled by an administrator", _cancel, resync=False),
    Fault("cluster recovers", _begin_recovery, _heal(lambda it: it.end_recovery()), resync=False),
    Fault("cluster has recovered", _recover, away=False, resync=False),
    Fault("unreadable", _hurt(lambda it: it.fail(CASH)), _heal(lambda it: it.heal(CASH)), tables=(CASH,)),
    Fault("dropped", _drop, _create_later, ends=FAILED, tables=(CASH,), writes=False),
    Fault("made again at once", _make_again, tables=(CASH,), ends=FAILED),
    Fault("subscriptions dropped", _drop_subscriptions, ends=FAILED),
    Fault("column added", _add_column, ends=frozenset({"source-changed"}), tables=(CASH,)),
    Fault(
        "rights revoked",
        _hurt(_revoke),
        _heal(lambda it: it.grant(CASH)),
        ends=FAILED,
        tables=(CASH,),
        extra_s=STALL_S,
    ),
    Fault("too many connections", _hurt(_too_many), _heal(_enough), resync=False),
]
ROTATED = Fault("password rotated", _hurt(_rotate), resync=False)

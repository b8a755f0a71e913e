"""What may happen to a database. Each fault is a wound, its healing, and what clients may see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.resilience.ledger import TABLES
from tests.resilience.upstreams import TYPES, MaterializeUpstream, PostgresUpstream
from tests.resilience.world import CONNECT_S, STALL_S, Fault, World
from tycostream.testing.materialize import FakeMaterialize, WireError
from tycostream.testing.materialize_session import Session
from tycostream.testing.pgwire import Cells, Output
from tycostream.testing.proxy import BOTH, Direction, FaultProxy

CASH = TABLES[0]
FAILED = frozenset({"source-failed"})
DETECTION_S = 3 * STALL_S + CONNECT_S  # silence, a probe that answers, silence again


def fake(world: World) -> FakeMaterialize:
    assert isinstance(world.upstream, MaterializeUpstream)
    return world.upstream.fake


def proxy(world: World) -> FaultProxy:
    assert world.upstream.proxy is not None
    return world.upstream.proxy


def _on_fake(act: Callable[[FakeMaterialize], Any]) -> Any:
    async def do(world: World) -> None:
        act(fake(world))

    return do


def _on_proxy(act: Callable[[FaultProxy], Any]) -> Any:
    async def do(world: World) -> None:
        act(proxy(world))

    return do


# -- Materialize itself -----------------------------------------------------------------------------------------------


def _go_away(it: FakeMaterialize) -> None:
    it.refuse()
    it.restart()


def _come_back(it: FakeMaterialize) -> None:
    it.refuse(False)


def _come_back_without_history(it: FakeMaterialize) -> None:
    for table in TABLES:
        it.compact(table)
    it.refuse(False)


async def _make_again(world: World) -> None:
    """The same name, another object, other rows: in one step."""
    it = fake(world)
    async with world.writing:
        it.drop(CASH)
        _create(world)


def _create(world: World) -> None:
    it, upstream = fake(world), world.upstream
    assert isinstance(upstream, MaterializeUpstream)
    it.create_table(CASH, TYPES)
    it.transaction((CASH, upstream.cells(CASH, row), 1) for row in world.ledger.other_content(CASH))


async def _drop(world: World) -> None:
    await world.writing.acquire()
    fake(world).drop(CASH)


async def _create_later(world: World) -> None:
    _create(world)
    world.writing.release()


async def _uneven(world: World) -> None:
    """One source is behind the other, again and again, for less than anybody's patience."""
    for table in (*TABLES, *TABLES):
        fake(world).stall(table)
        await world.written(5)
        fake(world).resume(table)
        await world.written(3)


async def _add_column(world: World) -> None:
    assert isinstance(world.upstream, MaterializeUpstream)
    async with world.writing:
        fake(world).alter_add_column(CASH, "note", "text", default="none")
        world.upstream.added[CASH] = ("none",)


async def _add_column_and_restart(world: World) -> None:
    await _add_column(world)
    fake(world).restart()


def _revoke(it: FakeMaterialize) -> None:
    it.revoke(CASH)
    it.fell_behind(CASH)


def _without_replicas(it: FakeMaterialize) -> None:
    it.create_cluster("quickstart", 0)
    it.restart()


def _too_many(it: FakeMaterialize) -> None:
    def refuse() -> Session:
        raise WireError("53300", "creating connection would violate max_connections limit", fatal=True)

    it._server.gate.backend = refuse
    it.restart()


class _Busy:
    """A statement that is never done."""

    fields = None

    async def run(self, out: Output) -> str:
        await asyncio.Event().wait()
        return ""


class _BusyCatalogue(Session):
    """Answers what a new connection asks, and nothing that needs the catalogue."""

    def prepare(self, sql: str, arguments: Cells | None) -> Any:
        return _Busy() if "mz_" in sql else super().prepare(sql, arguments)


def _busy(it: FakeMaterialize) -> None:
    it._server.gate.backend = lambda: _BusyCatalogue(it._state)
    it.restart()


def _enough(it: FakeMaterialize) -> None:
    it._server.gate.backend = lambda: Session(it._state)


async def _duplicate(world: World) -> None:
    fake(world).insert(CASH, ("0", "1", "1", "1"))


async def _unique(world: World) -> None:
    fake(world).delete(CASH, ("0", "1", "1", "1"))


def _rotate(it: FakeMaterialize) -> None:
    it._server.gate.password = "second"
    it.restart()


MATERIALIZE = [
    Fault("restart", _on_fake(lambda it: it.restart()), resync=False),
    Fault("away for a while", _on_fake(_go_away), _on_fake(_come_back), resync=False),
    Fault("cut inside a message", _on_fake(lambda it: it.cut_mid_row()), resync=False),
    Fault("cut inside a row", _on_fake(lambda it: it.cut_mid_row(framed=True))),  # garbled: it is read again
    Fault("one source cut", _on_fake(lambda it: it.cut_mid_row(CASH)), tables=(CASH,), resync=False),
    Fault(
        "silent replica",
        _on_fake(lambda it: it.stall(notice=True)),
        _on_fake(lambda it: it.resume(notice=True)),
        resync=False,
        extra_s=DETECTION_S,
    ),
    Fault(
        "silent replica of one source",
        _on_fake(lambda it: it.stall(CASH)),
        _on_fake(lambda it: it.resume(CASH)),
        tables=(CASH,),
        resync=False,
        extra_s=DETECTION_S,
    ),
    Fault("uneven progress", _uneven, away=False, resync=False),
    Fault("history compacted", _on_fake(_go_away), _on_fake(_come_back_without_history), resync=True),
    Fault("fell behind", _on_fake(lambda it: it.fell_behind()), resync=False),
    Fault("cancelled by an administrator", _on_fake(lambda it: it.cancel_all()), resync=False),
    Fault(
        "larger than max_result_size",
        _on_fake(lambda it: it.fail(CASH, "XX000", "result exceeds max size of 1.0 GB")),
        _on_fake(lambda it: it.heal(CASH)),
        ends=FAILED,
        tables=(CASH,),
    ),
    Fault(
        "poisoned",
        _on_fake(lambda it: it.fail(CASH)),
        _on_fake(lambda it: it.heal(CASH)),
        ends=FAILED,
        tables=(CASH,),
    ),
    Fault("dropped", _drop, _create_later, ends=FAILED, tables=(CASH,), writes=False),
    Fault("made again at once", _make_again, ends=FAILED, tables=(CASH,)),
    Fault("column added", _add_column, away=False, resync=False),
    Fault(
        "column added, restart",
        _add_column_and_restart,
        ends=frozenset({"source-changed"}),
        tables=(CASH,),
    ),
    Fault(
        "rights revoked",
        _on_fake(_revoke),
        _on_fake(lambda it: it.grant(CASH)),
        ends=FAILED,
        tables=(CASH,),
        extra_s=STALL_S,
    ),
    Fault(
        "cluster dropped",
        _on_fake(lambda it: it.drop_cluster()),
        _on_fake(lambda it: it.create_cluster("quickstart")),
        ends=FAILED,
    ),
    Fault(
        "cluster without replicas",
        _on_fake(_without_replicas),
        _on_fake(lambda it: it.create_cluster("quickstart", 1)),
        ends=FAILED,
        extra_s=STALL_S,
    ),
    Fault("notices", _on_fake(lambda it: it.notice("something to know")), away=False, resync=False),
    Fault("a key twice", _duplicate, _unique, ends=FAILED, tables=(CASH,)),
    Fault("too many connections", _on_fake(_too_many), _on_fake(_enough), resync=False),
]
STATEMENT_S = 1.0
TIMED_OUT = Fault(
    "statement timeout", _on_fake(_busy), _on_fake(_enough), resync=False, extra_s=STATEMENT_S + CONNECT_S
)
ROTATED = Fault("password rotated", _on_fake(_rotate), resync=False)

# -- the network, whatever is behind it -------------------------------------------------------------------------------


def _black_hole(it: FaultProxy) -> None:
    it.black_hole()
    it.reset()


def _refuse(it: FaultProxy) -> None:
    it.refuse()
    it.cut()


_heal = _on_proxy(lambda it: it.heal())
NETWORK = [
    Fault("FIN", _on_proxy(lambda it: it.cut())),
    Fault("RST", _on_proxy(lambda it: it.reset())),
    Fault("refused", _on_proxy(_refuse), _heal),
    Fault("RST at once", _on_proxy(lambda it: it.reset(new=True)), _heal),
    Fault("half-open", _on_proxy(lambda it: it.half_open()), extra_s=DETECTION_S),
    Fault("black hole", _on_proxy(_black_hole), _heal, extra_s=CONNECT_S),
    Fault("silence", _on_proxy(lambda it: it.stall(BOTH)), _heal, extra_s=DETECTION_S),
    Fault(
        "silence one way",
        _on_proxy(lambda it: it.stall(frozenset({Direction.DOWN}))),
        _heal,
        extra_s=DETECTION_S,
    ),
    Fault(
        "present connections stall",
        _on_proxy(lambda it: it.stall(BOTH, new=False)),
        _heal,
        extra_s=DETECTION_S,
    ),
    Fault("slow", _on_proxy(lambda it: it.slow(3000)), _heal, away=False, extra_s=DETECTION_S),
    Fault("cut inside a message", _on_proxy(lambda it: it.cut_after(1 + 700, new=False))),
]

# -- PostgreSQL itself ------------------------------------------------------------------------------------------------


def postgres(world: World) -> PostgresUpstream:
    assert isinstance(world.upstream, PostgresUpstream)
    return world.upstream


async def _terminate(world: World) -> None:
    async with world.writing:  # the connection is the writer's
        await postgres(world).terminate()


async def _pg_make_again(world: World) -> None:
    it = postgres(world)
    async with world.writing, it.admin.transaction():
        await it.execute(f"DROP TABLE {CASH}")
        await it.make(CASH, world.ledger.other_content(CASH))


async def _pg_drop(world: World) -> None:
    await world.writing.acquire()
    await postgres(world).execute(f"DROP TABLE {CASH}")
    await postgres(world).terminate()


async def _pg_create(world: World) -> None:
    it = postgres(world)
    async with it.admin.transaction():
        await it.make(CASH, world.ledger.other_content(CASH))
    world.writing.release()


async def _pg_revoke(world: World) -> None:
    async with world.writing:
        it = postgres(world)
        await it.execute(f"REVOKE SELECT ON {CASH} FROM {it.role}")
        await it.terminate()


async def _pg_grant(world: World) -> None:
    async with world.writing:
        it = postgres(world)
        await it.execute(f"GRANT SELECT ON {CASH} TO {it.role}")


async def _pg_limit(world: World) -> None:
    async with world.writing:
        it = postgres(world)
        await it.execute(f"ALTER ROLE {it.role} CONNECTION LIMIT 0")
        await it.terminate()


async def _pg_no_limit(world: World) -> None:
    async with world.writing:
        it = postgres(world)
        await it.execute(f"ALTER ROLE {it.role} CONNECTION LIMIT -1")


async def _pg_add_column(world: World) -> None:
    async with world.writing:
        await postgres(world).execute(f"ALTER TABLE {CASH} ADD COLUMN note text DEFAULT 'none'")


async def _pg_add_column_and_terminate(world: World) -> None:
    await _pg_add_column(world)
    async with world.writing:
        await postgres(world).terminate()


async def _pg_rotate(world: World) -> None:
    async with world.writing:
        it = postgres(world)
        it.password = "second"
        await it.execute(f"ALTER ROLE {it.role} PASSWORD 'second'")
        await it.terminate()


async def _pg_lock(world: World) -> None:
    """Somebody holds the table: it cannot be read again. The lock is in a transaction that we keep open."""
    await world.writing.acquire()
    it = postgres(world)
    await it.terminate()
    await it.execute("BEGIN")
    await it.execute(f"LOCK TABLE {CASH} IN ACCESS EXCLUSIVE MODE")


async def _pg_unlock(world: World) -> None:
    await postgres(world).execute("COMMIT")
    world.writing.release()


POSTGRES = [
    Fault("backends terminated", _terminate, resync=True),
    Fault("too many connections", _pg_limit, _pg_no_limit, resync=True),
    Fault("dropped", _pg_drop, _pg_create, ends=FAILED, tables=(CASH,), writes=False, extra_s=STALL_S),
    Fault("rights revoked", _pg_revoke, _pg_grant, ends=FAILED, tables=(CASH,), extra_s=STALL_S),
    Fault("password rotated", _pg_rotate, resync=True),
    Fault("locked by somebody", _pg_lock, _pg_unlock, writes=False, extra_s=DETECTION_S),
]
MADE_AGAIN = Fault("made again at once", _pg_make_again, tables=(CASH,), resync=True)
COLUMN_ADDED = Fault("column added", _pg_add_column, away=False, resync=False)
COLUMN_ADDED_TERMINATED = Fault(
    "column added, backends terminated",
    _pg_add_column_and_terminate,
    ends=frozenset({"source-changed"}),
    tables=(CASH,),
)

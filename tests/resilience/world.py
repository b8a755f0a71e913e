"""The App over a database that fails, a writer that goes on writing, clients that judge, and one fault at a time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.resilience.clients import ChangeFeed, Client, ask, everybody, poll
from tests.resilience.ledger import TABLES, Ledger
from tests.resilience.upstreams import Upstream
from tycostream.app import App
from tycostream.clock import SystemClock
from tycostream.config.load import loads
from tycostream.errors import RequestError
from tycostream.graphql.execute import InvalidRequest
from tycostream.observe.events import CohortQuarantined, Event, OperationFailed

STEP_S = 1.0  # the longest wait between two attempts to reconnect
STALL_S = 1.0
CONNECT_S = 2.0  # libpq's least
MARGIN_S = 5.0  # two cores, shared: what connecting, reading and being scheduled may take
_TELLING = frozenset({"source-not-ready", "source-failed", "source-removed"})  # why an operation cannot start


@dataclass(frozen=True)
class Fault:
    """What happens to a database, how it is undone, and what may be seen of it.

    ``hurt`` and ``heal`` get the world. ``ends``: the codes with which operations on ``tables`` must end; empty: none
    may. ``away``: the source must be reported as not ready until it is healed, or for a moment. ``writes``: whether
    transactions can be committed meanwhile. ``resync``: whether clients must (or must not) be told of a net
    difference; None: either. ``extra_s``: what it takes to notice, beyond one backoff step.
    """

    name: str
    hurt: Callable[[Any], Awaitable[None]]
    heal: Callable[[Any], Awaitable[None]] | None = None
    ends: frozenset[str] = frozenset()
    tables: tuple[str, ...] = TABLES
    away: bool = True
    writes: bool = True
    resync: bool | None = None
    extra_s: float = 0.0


class SeededClock(SystemClock):
    """The machine's time; chance from the test's seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def random(self) -> float:
        return self._chance.random()


class World:
    """See the module. ``changed`` is set by whatever happens; ``until`` waits for a condition."""

    def __init__(self, upstream: Upstream, *, database: str = "", may_be_empty: bool = False) -> None:
        self.upstream = upstream
        self.seed = int(os.environ.get("RESILIENCE_SEED") or secrets.randbits(32))
        self.chance = random.Random(self.seed)
        self.ledger = Ledger(random.Random(self.chance.random()))
        self.may_be_empty = may_be_empty
        self.writing = asyncio.Lock()  # hold it to change the tables by other means
        self.changed = asyncio.Event()
        self.troubles: list[str] = []
        self.events: list[Event] = []
        self.reasons: dict[str, list[str]] = {table: [] for table in TABLES}  # of not being ready
        self.clients: list[Client] = []
        self.answers = 0
        self.recovered_s = 0.0
        self._database = database
        self.app: App

    # the stage

    @contextlib.asynccontextmanager
    async def running(self, *, down: Callable[[World], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        """Everything up; ``down`` hurts the database before the App starts. Afterwards nothing of it may be left."""
        await self.upstream.start(self.ledger)
        before, open_files = asyncio.all_tasks(), _open_files()
        try:
            if down is not None:
                await down(self)
            self.app = App(loads(self._yaml(), environ={}), SeededClock(self.chance), self._emit, self._urls)
            async with self.app.running(), asyncio.timeout(50), asyncio.TaskGroup() as group:
                await self.app.settled()
                if down is None:
                    await self.until(lambda: self.app.ready()[0], 10, "ready at the start")
                self.clients = list(everybody(self))
                tasks = [group.create_task(work) for work in (self._write(), self._reopen(), poll(self))]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
                    for client in self.clients:
                        client.leave()
                await self.until(lambda: not self.app.hub._cohorts.known, 5, "no cohort without clients")
            gc.collect()  # the sockets of failed attempts hang on the tracebacks of their errors
            await self.upstream.left()
            await self._ended(before, open_files)
        except BaseException as error:
            error.add_note(f"repeat with RESILIENCE_SEED={self.seed}; {self._state()}")
            raise
        finally:
            await self.upstream.stop()

    def _yaml(self) -> str:
        bounds = f"stall_after: {STALL_S}s, reconnect_delay_max: {STEP_S}s, connect_timeout: {CONNECT_S}s"
        sources = "".join(f"  {table}: {self.upstream.source_yaml(table)}\n" for table in TABLES)
        return (
            f"databases: {{main: {{{self.upstream.database_yaml()}, url: '{self.upstream.url}', {bounds}{self._database}}}}}\n"
            f"live: {{linger: 50ms}}\nserver: {{multi_root_subscriptions: true}}\nsources:\n{sources}"
        )

    def _urls(self) -> dict[str, str]:
        return {"main": self.upstream.url}

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, CohortQuarantined | OperationFailed):
            self.trouble(str(event))
        if hasattr(self, "app"):
            self._look()
        self.wake()

    def _look(self) -> None:
        """What /readyz would say at this moment; who is not ready must say why."""
        ready, entries = self.app.ready()
        for entry in entries:
            if entry["state"] != "live":
                if ready:
                    self.trouble(f"ready, although {entry}")
                if not entry.get("reason") and entry["state"] != "starting":
                    self.trouble(f"not ready, and no reason: {entry}")
                self.reasons[str(entry["source"])].append(str(entry.get("reason", "")))

    async def _write(self) -> None:
        while True:
            async with self.writing:
                writes = self.ledger.transaction()
                if await self.upstream.commit(writes):
                    self.ledger.apply(writes)
                else:
                    self.ledger.load({table: await self.upstream.rows(table) for table in TABLES})
            self.wake()
            await asyncio.sleep(0.004)

    async def _reopen(self) -> None:
        """Clients come, and come back whenever the server ended their operation."""
        while True:
            self.changed.clear()
            for client in self.clients:
                if not client.open:
                    client.try_open()
            await self._happened()

    async def _happened(self) -> None:
        with contextlib.suppress(TimeoutError):  # not everything that a condition asks for rings the bell
            async with asyncio.timeout(0.05):  # not wait_for: Python 3.11's may swallow a cancellation
                await self.changed.wait()

    async def _ended(self, before: set[asyncio.Task[Any]], open_files: int) -> None:
        """No task, no socket stays."""
        async with asyncio.timeout(5):
            while left := asyncio.all_tasks() - before:
                # the fakes' own connections end a turn later than ours
                await asyncio.sleep(0.01)
                if all(task.done() for task in left):
                    break
        deadline = time.monotonic() + 5
        while _open_files() > open_files and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert _open_files() <= open_files, "sockets are left open"

    # what happens

    def wake(self) -> None:
        """Somebody may wait for this."""
        self.changed.set()

    def trouble(self, text: str) -> None:
        """Something that must not be."""
        self.troubles.append(text)
        self.wake()

    def refused(self, error: InvalidRequest | RequestError) -> None:
        """An operation could not start: lawful only while a source is not there."""
        errors = error.errors if isinstance(error, InvalidRequest) else [error]
        if foreign := [str(each) for each in errors if each.code not in _TELLING]:
            self.trouble(f"refused: {foreign}")

    async def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for a condition; AssertionError at the first trouble, or when it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert not self.troubles, self.troubles[:2]
            assert time.monotonic() < deadline, f"{timeout_s:g} s passed: {what}"
            self.changed.clear()
            await self._happened()
        assert not self.troubles, self.troubles[:2]

    async def written(self, count: int) -> None:
        """Wait for so many more transactions."""
        goal = self.ledger.number + count
        await self.until(lambda: self.ledger.number >= goal, 15, f"{count} transactions")

    def drain(self) -> None:
        """The slow read what they have."""
        for client in self.clients:
            client.drain()

    def _state(self) -> str:
        if not hasattr(self, "app"):
            return "not started"
        clients = {
            c.name: {"open": c.open, "newest": c.newest, "codes": c.codes[-3:], "stale": c.stale[-3:]}
            for c in self.clients
        }
        last = [str(event)[:300] for event in self.events if "BatchApplied" not in str(event)][-12:]
        return (
            f"transaction {self.ledger.number}; ready {self.app.ready()}; {clients};\n"
            f"{len(self.troubles)} troubles;\nlast events:\n" + "\n".join(last)
        )

    # one fault, from the first wound to the last assertion

    async def suffer(self, fault: Fault) -> None:
        """The fault at a random moment, healed at another, and everything that must hold."""
        await self.until(lambda: all(client.shown for client in self.clients), 10, "all clients see rows")
        await self.written(self.chance.randint(2, 12))
        self._forget()
        await fault.hurt(self)
        if fault.heal is not None:
            if fault.away:
                await self.until(
                    lambda: all(self.reasons[table] for table in fault.tables) and self._told(fault),
                    2 * STALL_S + CONNECT_S + MARGIN_S,
                    "not ready, with a reason, and operations ended that must",
                )
            if fault.writes:
                await self.written(self.chance.randint(3, 12))
            self.drain()
            await fault.heal(self)
        await self._recovers(fault)
        await self.settles()
        self._judge(fault)

    def _told(self, fault: Fault) -> bool:
        """Whether operations that the fault must end have ended."""
        return not fault.ends or all(
            client.codes for client in self.clients if set(client.tables) & set(fault.tables)
        )

    def _forget(self) -> None:
        for client in self.clients:
            client.codes.clear()
            client.stale.clear()
            client.opened = 0
            if isinstance(client, ChangeFeed):
                client.resyncs = 0
        for reasons in self.reasons.values():
            reasons.clear()

    async def _recovers(self, fault: Fault) -> None:
        """Ready again, and every client has seen a transaction that was committed after the healing."""
        started = time.monotonic()
        bound_s = STEP_S + fault.extra_s + MARGIN_S
        if fault.heal is None and fault.away:
            await self.until(
                lambda: all(self.reasons[table] for table in fault.tables),
                bound_s,
                "not ready, with a reason",
            )
        healed_at = self.ledger.number
        await self.until(
            lambda: (
                self.app.ready()[0]
                and all(
                    client.room is not None
                    or (client.open and all(client.newest.get(t, -1) > healed_at for t in client.tables))
                    for client in self.clients
                )
            ),
            bound_s - (time.monotonic() - started),
            "recovery",
        )
        self.recovered_s = time.monotonic() - started
        answered = self.answers
        await self.until(lambda: self.answers > answered, 5, "queries are answered again")

    async def settles(self) -> None:
        """The writer pauses: everybody, the slow too, must come to show what the database holds."""
        async with self.writing:
            truth = {table: {row[0]: row for row in await self.upstream.rows(table)} for table in TABLES}
            assert truth == self.ledger.tables

            def level() -> bool:
                self.drain()
                return all(
                    client.open and _plain(client.shown) == {t: truth[t] for t in client.tables}
                    for client in self.clients
                )

            await self.until(level, 10, "all clients show what the database holds")
            assert _plain(await ask(self) or {}) == truth

    def _judge(self, fault: Fault) -> None:
        assert self.app.ready()[0]
        for client in self.clients:
            touched = bool(set(client.tables) & set(fault.tables))
            codes = set(client.codes)
            if touched and fault.ends:
                assert codes, f"{client.name} was not told why it cannot go on"
                assert codes <= fault.ends
            else:
                assert (client.codes, client.opened) == ([], 0), f"{client.name} did not stay connected"
            assert client.stale[-1:] != [True], f"{client.name} still believes that it is stale"
            assert all(a != b for a, b in zip(client.stale, client.stale[1:], strict=False))
            if fault.away and touched and not fault.ends and client.room is None:
                assert True in client.stale, f"{client.name} was never told that the upstream is away"
            assert client.queued_bytes() == 0
        feeds = [c for c in self.clients if isinstance(c, ChangeFeed) and set(c.tables) & set(fault.tables)]
        if fault.resync is False:
            assert not any(feed.resyncs for feed in feeds), "history was there: nothing to resync"
        elif fault.resync and not fault.ends:
            assert all(feed.resyncs for feed in feeds), "the net of a gap must be flagged"
        sources = self.app.hub.sources.values()
        assert all(source.log.bytes <= source.config.log.bytes for source in sources)
        assert sum(len(cohort.members) for cohort in self.app.hub._cohorts.known.values()) == len(
            self.clients
        )
        assert not any(source.waiting for source in sources)


def _plain(shown: dict[str, dict[int, dict[str, Any]]]) -> dict[str, dict[int, tuple[int, ...]]]:
    return {name: {i: tuple(row.values()) for i, row in rows.items()} for name, rows in shown.items()}


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))

"""Materialize's stream beyond the contract: resumption, compaction, faults of single sources, speeds, groups, leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.engines.fake_upstream import TYPES
from tests.engines.materialize_upstream import make_engine, materialize
from tests.engines.stream_contract import Follower
from tycostream.config.model import Consistency, SourceConfig
from tycostream.engines.base import SnapshotPart
from tycostream.engines.materialize import MaterializeEngine
from tycostream.errors import Action, UpstreamError
from tycostream.observe.events import UpstreamNotice
from tycostream.rows import Position, RowType
from tycostream.testing.materialize import FakeMaterialize

A, B = SourceConfig(name="a"), SourceConfig(name="b")


class World:
    """A fake with tables a (keyed) and b (not), an engine, and a follower of its stream."""

    def __init__(self, fake: FakeMaterialize, engine: MaterializeEngine) -> None:
        self.fake, self.engine = fake, engine
        self.types: dict[str, RowType] = {}
        self.f: Follower

    async def follow(self, *sources: SourceConfig) -> Follower:
        for source in sources:
            self.types[source.name] = await self.engine.describe(source)
        self.f = Follower(await self.engine.open(), *(self.types[source.name] for source in sources))
        for source in sources:
            await self.f.stream.add(self.types[source.name], source)
        await self.f.until(lambda: len(self.f.snapshots) == len(sources))
        return self.f

    async def resume(self, *sources: SourceConfig) -> Follower:
        """A new stream that goes on where the last one stood."""
        old = self.f
        self.f = Follower(await self.engine.open())
        for source in sources:
            name = source.name
            self.f.expect_resumed(self.types[name], old.rows[name], old.positions[name])
            await self.f.stream.add(self.types[name], source, after=old.positions[name])
        return self.f

    def held(self, name: str) -> Counter[Any]:
        rows = self.fake.rows(name).items()
        return Counter({(int(i or 0), int(n or 0), tag): count for (i, n, tag), count in rows})

    async def agrees(self, *names: str) -> None:
        for name in names:
            rows = self.held(name)
            with contextlib.suppress(TimeoutError):
                await self.f.until(lambda name=name, rows=rows: self.f.multiset(name) == rows, 10)  # type: ignore[misc]
            assert self.f.multiset(name) == rows

    async def passes(self, name: str) -> None:
        """Until a source's position is beyond what is now."""
        upper = self.fake.upper
        await self.f.until(lambda: self.f.positions[name].offset >= upper)


@contextlib.asynccontextmanager
async def world(fake_options: dict[str, Any] | None = None, **config: Any) -> AsyncIterator[World]:
    async with materialize(**(fake_options or {})) as fake:
        fake.create_table("a", TYPES, key=("id",))
        fake.create_table("b", TYPES)
        engine = make_engine(fake.url, **config)
        made = World(fake, engine)
        before = _descriptors()
        try:
            yield made
        finally:
            await made.f.stream.close()
            await engine.close()
            await fake.until(lambda: fake.connections == 0)
            await asyncio.sleep(0)
        assert len(_descriptors()) <= len(before), "no socket is left"


def _descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


def lines(prefix: str, fake: FakeMaterialize) -> list[str]:
    return [statement for statement in fake.statements if statement.startswith(prefix)]


# resumption


async def test_a_resumed_source_gets_what_it_missed_and_no_snapshot() -> None:
    async with world({"retain_ms": 600_000}) as w:
        w.fake.insert("a", ("1", "1", "x"), ("2", "2", None))
        w.fake.insert("b", ("1", "1", "x"), ("1", "1", "x"))
        f = await w.follow(A, B)
        w.fake.update("a", ("1", "1", "x"), ("1", "5", "x"))
        await w.agrees("a", "b")
        positions = dict(f.positions)
        w.fake.restart()
        await f.until(lambda: len(f.failed) == 2)
        f.positions = positions
        for i in range(10, 20):
            w.fake.transaction([("a", (str(i), "0", "y"), 1), ("b", (str(i), "0", "y"), 2)])
        w.fake.delete("a", ("2", "2", None))
        f = await w.resume(A, B)
        await w.agrees("a", "b")
        assert not f.snapshots
        assert len([batch for batch in f.batches if "b" in batch.changes]) == 10
        offsets = [batch.position.offset for batch in f.batches if "a" in batch.changes]
        assert offsets == sorted(set(offsets)), "each once"
        copied = lines("COPY", w.fake)
        assert all("SNAPSHOT = false" in text and "AS OF AT LEAST" not in text for text in copied[2:])


@pytest.mark.parametrize("old_text", [False, True])
async def test_where_history_is_gone_the_same_connection_asks_for_a_snapshot(old_text: bool) -> None:
    async with world({"old_compaction_text": old_text}) as w:
        w.fake.insert("a", ("1", "1", "x"))
        f = await w.follow(A)
        await w.passes("a")
        w.fake.restart()
        await f.until(lambda: bool(f.failed))
        f.positions["a"] = f.snapshots["a"]
        w.fake.insert("a", ("2", "2", "y"))
        w.fake.compact("a")
        await w.fake.until(lambda: w.fake.connections == 0)
        f = await w.resume(A)
        await f.until(lambda: bool(f.snapshots))
        await w.agrees("a")
        assert w.fake.connections == 2, "one for the source, one for the catalogue"
        assert not f.failed


async def test_another_object_of_the_same_name_is_not_resumed() -> None:
    async with world({"retain_ms": 600_000}) as w:
        w.fake.insert("a", ("1", "1", "x"))
        f = await w.follow(A)
        position = f.snapshots["a"]
        w.fake.recreate("a")
        await f.until(lambda: bool(f.failed))
        assert (f.failed["a"].error.code, f.failed["a"].error.action) == ("source-dropped", Action.FAIL)
        w.fake.insert("a", ("7", "7", "z"))
        f.expect_resumed(w.types["a"], {}, position)
        f.positions["a"] = Position("", 0, 0)
        await f.stream.add(await w.engine.describe(A), A, after=position)
        await f.until(lambda: bool(f.snapshots))
        await w.agrees("a")
        assert f.snapshots["a"].incarnation != position.incarnation


async def test_a_new_stream_fills_the_log_as_far_back_as_both_reach() -> None:
    async with world({"retain_ms": 600_000}) as w:
        for i in range(5):
            w.fake.insert("a", (str(i), "0", "x"))
        f = await w.follow(A)
        await w.agrees("a")
        assert len(f.batches) == 5, "history came as changes, after an older snapshot"
        assert "AS OF AT LEAST" in lines("COPY", w.fake)[0]
    async with world({"retain_ms": 0}) as w:
        w.fake.insert("a", ("1", "0", "x"))
        w.fake.advance()
        f = await w.follow(A)
        assert w.f.multiset("a") == w.held("a")
        assert not f.batches


# faults of one source


@pytest.mark.parametrize(
    ("fault", "code", "action"),
    [
        ("drop", "source-dropped", Action.FAIL),
        ("poison", "source-poisoned", Action.FAIL),
        ("behind", "fell-behind", Action.RETRY),
        ("cut", "connection-lost", Action.RETRY),
        ("half a row", None, None),
    ],
)
async def test_a_fault_of_one_source_leaves_the_others(
    fault: str, code: str | None, action: Action | None
) -> None:
    async with world() as w:
        w.fake.insert("a", ("1", "1", "x"))
        w.fake.insert("b", ("1", "1", "x"))
        f = await w.follow(A, B)
        match fault:
            case "drop":
                w.fake.drop("b")
            case "poison":
                w.fake.fail("b")
            case "behind":
                w.fake.fell_behind("b")
            case "cut":
                w.fake.cut_mid_row("b")
            case _:
                w.fake.cut_mid_row("b", framed=True)
        await f.until(lambda: "b" in f.failed)
        error = f.failed["b"].error
        if code is not None:
            assert (error.code, error.action) == (code, action)
        assert error.action is not Action.FAIL or error.hint
        w.fake.insert("a", ("2", "2", "y"))
        await w.agrees("a")
        assert w.fake.subscriptions("a") == 1
        if fault != "drop":
            w.fake.heal("b")
            f.expect(w.types["b"])
            await f.stream.add(w.types["b"], B)
            await w.agrees("a", "b")


async def test_a_cluster_without_replicas_or_gone() -> None:
    async with world() as w:
        w.fake.create_cluster("quickstart", replicas=0)
        w.types["a"] = await w.engine.describe(A)
        f = w.f = Follower(await w.engine.open(), w.types["a"])
        await f.stream.add(w.types["a"], A)
        await f.until(lambda: bool(f.failed))
        assert f.failed["a"].error.code == "no-replicas"
        assert "REPLICATION FACTOR" in f.failed["a"].error.hint
        w.fake.create_cluster("quickstart", replicas=1)
        f.expect(w.types["a"])
        await f.stream.add(w.types["a"], A)
        await f.until(lambda: bool(f.snapshots))
        w.fake.drop_cluster()
        await f.until(lambda: bool(f.failed))
        error = f.failed["a"].error
        assert (error.code, error.action) == ("cluster-dropped", Action.FAIL)
        assert "`cluster:`" in error.hint
        f.expect(w.types["a"])
        await f.stream.add(w.types["a"], A)
        await f.until(lambda: bool(f.failed))
        assert f.failed["a"].error.code == "cluster-dropped", "nor is it there"


async def test_a_snapshot_beyond_max_result_size() -> None:
    async with world(options={"max_result_size": "1kB"}) as w:
        w.fake.insert("a", *((str(i), "0", "x" * 100) for i in range(50)))
        w.types["a"] = await w.engine.describe(A)
        f = w.f = Follower(await w.engine.open(), w.types["a"])
        await f.stream.add(w.types["a"], A)
        await f.until(lambda: bool(f.failed))
        assert (f.failed["a"].error.code, f.failed["a"].error.action) == ("max-result-size", Action.FAIL)


async def test_a_value_that_does_not_read_fails_its_source_alone() -> None:
    async with world() as w:
        w.fake.create_table("odd", {"id": "bigint", "on": "boolean"})
        f = await w.follow(A, SourceConfig(name="odd"))
        w.fake.insert("odd", ("1", "maybe"))
        await f.until(lambda: "odd" in f.failed)
        assert (f.failed["odd"].error.code, f.failed["odd"].error.action) == ("value", Action.FAIL)
        assert "column on holds a value that is not a bool" in f.failed["odd"].error.message
        assert "'maybe'" in f.failed["odd"].error.detail
        w.fake.insert("a", ("1", "1", "x"))
        await w.agrees("a")


async def test_a_constant_view_is_finished_and_keeps_nobody_waiting() -> None:
    for consistency in Consistency:
        async with world(consistency=consistency, stall_after=timedelta(seconds=3600)) as w:
            w.fake.create_constant_view("c", TYPES, [("1", "1", "x"), ("2", "2", None)])
            f = await w.follow(A, SourceConfig(name="c"))
            while f.finished != {"c"}:
                await f.step()
            assert f.multiset("c") == Counter([(1, 1, "x"), (2, 2, None)])
            w.fake.insert("a", ("1", "1", "x"))
            await w.agrees("a")


# life of a connection


async def test_notices_in_the_middle_of_a_stream_are_told() -> None:
    told: list[Any] = []
    async with materialize() as fake:
        fake.create_table("a", TYPES, key=("id",))
        engine = make_engine(fake.url, emit=told.append)
        w = World(fake, engine)
        f = await w.follow(A)
        fake.stall("a", notice=True)
        fake.insert("a", ("1", "1", "x"))
        fake.resume("a", notice=True)
        await w.agrees("a")
        assert [e.text for e in told if isinstance(e, UpstreamNotice)][-2:] == [
            'cluster replica quickstart.r1 changed status to "offline"',
            'cluster replica quickstart.r1 changed status to "online"',
        ]
        await f.stream.close()
        await engine.close()


async def test_a_snapshot_larger_than_all_buffers_while_another_source_is_quick() -> None:
    async with world() as w:
        w.fake.insert("a", *((str(i), str(i), "x" * 400) for i in range(20_000)))
        f = w.f = Follower(await w.engine.open())
        order: list[str] = []
        for source in (A, B):
            row_type = w.types[source.name] = await w.engine.describe(source)
            f.expect(row_type)
            await f.stream.add(row_type, source)
        while "a" not in f.snapshots:
            events = await f.stream.read()
            for event in events:
                f.take(event)
            order += [part.source for part in events if isinstance(part, SnapshotPart)]
            if "b" in f.snapshots and not f.multiset("b"):
                w.fake.insert("b", ("1", "1", "x"))
        assert order.count("a") > 10, "in parts"
        assert order.index("b") < len(order) - 2, "b did not wait for a"
        await w.agrees("a", "b")


async def test_two_sources_at_different_speeds_lose_nothing() -> None:
    async with world() as w:
        f = await w.follow(A, B)
        for i in range(600):
            w.fake.insert("a", (str(i), "0", "x"))
            if i % 100 == 0:
                w.fake.insert("b", (str(i), "0", "x"))
                await f.step()
        await w.agrees("a", "b")
        assert len([batch for batch in f.batches if "a" in batch.changes]) == 600


async def test_a_catalogue_that_hangs_silences_no_source() -> None:
    async with world() as w:
        f = await w.follow(A)
        hung = asyncio.Event()

        async def hang(statement: str) -> list[tuple[Any, ...]]:
            hung.set()
            await asyncio.Event().wait()
            raise AssertionError

        w.types["b"] = await w.engine.describe(B)
        w.engine.control.run = hang  # type: ignore[method-assign]
        describing = asyncio.create_task(w.engine.describe(B))
        await hung.wait()
        f.expect(w.types["b"])
        await f.stream.add(w.types["b"], B)
        w.fake.transaction([("a", ("1", "1", "x"), 1), ("b", ("1", "1", "x"), 1)])
        await w.agrees("a", "b")
        describing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await describing


# database: all sources at one moment


async def test_a_transaction_over_two_tables_is_one_batch_of_a_database() -> None:
    async with world(consistency=Consistency.DATABASE) as w:
        f = await w.follow(A, B)
        assert f.snapshots["a"] == f.snapshots["b"], "one moment"
        for i in range(20):
            w.fake.transaction([("a", (str(i), "0", "x"), 1), ("b", (str(i), "0", "x"), 1)])
        await w.agrees("a", "b")
        assert [set(batch.changes) for batch in f.batches] == [{"a", "b"}] * 20
        assert len({position.incarnation for position in f.positions.values()}) == 1


async def test_a_member_that_lags_fails_is_added_again_and_is_together_with_the_others() -> None:
    async with world(consistency=Consistency.DATABASE, stall_after=timedelta(seconds=0.4)) as w:
        f = await w.follow(A, B)
        w.fake.stall("b")
        w.fake.transaction([("a", ("1", "0", "x"), 1), ("b", ("1", "0", "x"), 1)])
        position, upper = f.positions["b"], w.fake.upper
        while not f.failed:
            assert f.positions["a"].offset < upper, "a waits for b as long as nothing is said of b"
            await f.step()
        error = f.failed["b"].error
        assert (error.code, error.action) == ("lagging", Action.RETRY)
        assert f.multiset("b") == Counter()
        await w.agrees("a")
        assert set(f.batches[-1].changes) == {"a"}
        w.fake.resume("b")
        f.expect_resumed(w.types["b"], Counter(), position)
        await f.stream.add(w.types["b"], B, after=position)
        await w.agrees("b")
        await w.passes("a")
        await w.passes("b")
        w.fake.transaction([("a", ("2", "0", "x"), 1), ("b", ("2", "0", "x"), 1)])
        await w.agrees("a", "b")
        assert set(f.batches[-1].changes) == {"a", "b"}, "together again"


async def test_a_member_made_anew_does_not_change_the_positions_of_the_others() -> None:
    async with world({"retain_ms": 600_000}, consistency=Consistency.DATABASE) as w:
        f = await w.follow(A, B)
        w.fake.insert("b", ("1", "0", "x"))
        await w.agrees("b")
        incarnation, position = f.positions["a"].incarnation, f.positions["b"]
        w.fake.recreate("b")
        w.fake.insert("b", ("9", "0", "x"))
        await f.until(lambda: "b" in f.failed)
        f.expect_resumed(w.types["b"], Counter(), position)
        await f.stream.add(await w.engine.describe(B), B, after=position)
        await w.agrees("b")
        assert f.snapshots["b"], "another object is read anew"
        w.fake.transaction([("a", ("3", "0", "x"), 1), ("b", ("3", "0", "x"), 1)])
        await w.agrees("a", "b")
        await w.passes("b")
        assert {p.incarnation for p in f.positions.values()} == {incarnation}


async def test_a_group_that_lost_its_history_ends_and_a_lone_member_is_read_anew() -> None:
    async with world(consistency=Consistency.DATABASE) as w:
        f = await w.follow(A, B)
        await w.passes("a")
        w.fake.fell_behind("b")
        await f.until(lambda: "b" in f.failed)
        position = f.snapshots["b"]
        w.fake.compact("b")
        f.expect_resumed(w.types["b"], Counter(), position)
        await f.stream.add(await w.engine.describe(B), B, after=position)
        await f.until(lambda: "b" in f.snapshots)
        w.fake.transaction([("a", ("3", "0", "x"), 1), ("b", ("3", "0", "x"), 1)])
        await w.agrees("a", "b")
        old = f
        await old.stream.close()
        w.fake.compact("a")
        w.fake.compact("b")
        old.positions = dict.fromkeys(("a", "b"), position)
        f = await w.resume(A, B)
        with pytest.raises(UpstreamError) as caught:
            await f.until(lambda: bool(f.snapshots))
        assert (caught.value.code, caught.value.action) == ("history-gone", Action.RESYNC)
        assert "RETAIN HISTORY" in caught.value.hint

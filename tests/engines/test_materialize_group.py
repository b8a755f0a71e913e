"""``consistency: database``: who is waited for, how long, and what of a group survives that one of it is another object."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from tests.engines.fake_upstream import TYPES
from tests.engines.stream_contract import Follower
from tests.engines.test_materialize_stream import A, B, World, lines, world
from tycostream.config.model import Consistency, SourceConfig
from tycostream.errors import Action
from tycostream.rows import Position

C = SourceConfig(name="c")


async def test_a_snapshot_is_not_complete_before_the_others_are_there() -> None:
    async with world(consistency=Consistency.DATABASE) as w:
        w.fake.create_table("c", TYPES, key=("id",))
        w.fake.insert("c", ("0", "0", "x"))
        f = await w.follow(A, B)
        w.fake.stall("a")
        w.fake.transaction([("a", ("1", "0", "x"), 1), ("c", ("1", "0", "x"), 1)])
        row_type = w.types["c"] = await w.engine.describe(C)
        f.expect(row_type)
        await f.stream.add(row_type, C)
        while f.multiset("c").total() < 2:  # its rows have come
            await f.step()
        assert "c" not in f.snapshots, "its group is not where it is"
        assert f.multiset("a") == Counter()
        w.fake.resume("a")
        await f.until(lambda: "c" in f.snapshots)
        assert f.multiset("a") == Counter([(1, 0, "x")]), "and now it is"
        assert f.positions["a"].offset >= f.snapshots["c"].offset
        w.fake.transaction([("a", ("2", "0", "x"), 1), ("c", ("2", "0", "x"), 1)])
        await w.agrees("a", "c")
        assert set(f.batches[-1].changes) == {"a", "c"}


async def add_all(w: World) -> Follower:
    for source in (A, B):
        w.types[source.name] = await w.engine.describe(source)
    w.f = Follower(await w.engine.open(), *w.types.values())
    for source in (A, B):
        await w.f.stream.add(w.types[source.name], source)
    return w.f


async def test_a_first_snapshot_that_takes_long_is_neither_waited_for_nor_thrown_away() -> None:
    async with world(consistency=Consistency.DATABASE, stall_after=timedelta(seconds=0.4)) as w:
        w.fake.insert("b", ("1", "0", "x"))
        w.fake.stall("b")
        f = await add_all(w)
        await f.until(lambda: "a" in f.snapshots)
        w.fake.insert("a", ("1", "0", "x"))
        await w.agrees("a")
        assert not f.failed
        w.fake.resume("b")
        await w.agrees("b")
        assert len(lines("COPY", w.fake)) == 2, "nothing was asked twice"
        await w.passes("b")
        w.fake.transaction([("a", ("2", "0", "x"), 1), ("b", ("2", "0", "x"), 1)])
        await w.agrees("a", "b")
        assert set(f.batches[-1].changes) == {"a", "b"}, "a member now"


async def test_however_much_waits_a_member_a_moment_behind_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tycostream.engines.materialize.frontier._WAITING_BYTES_MAX", 0)
    async with world(consistency=Consistency.DATABASE, stall_after=timedelta(seconds=3600)) as w:
        f = await w.follow(A, B)
        for i in range(20):
            w.fake.transaction([("a", (str(i), "0", "x"), 1), ("b", (str(i), "0", "x"), 1)])
        await w.agrees("a", "b")
        assert not f.failed
        monkeypatch.setattr("tycostream.engines.materialize.stream._OVERFULL_LAG_S", 0.2)
        w.fake.stall("b")
        w.fake.insert("a", ("99", "0", "x"))
        await f.until(lambda: bool(f.failed))
        assert (f.failed["b"].error.code, f.failed["b"].error.action) == ("lagging", Action.RETRY)
        await w.agrees("a")


async def test_what_waited_for_a_source_comes_when_that_is_removed_or_fails() -> None:
    async with world({"progress_s": None}, consistency=Consistency.DATABASE) as w:
        w.fake.create_table("c", TYPES, key=("id",))
        adding = asyncio.ensure_future(w.follow(A, B, C))
        await w.fake.subscribed(count=3)
        while not adding.done():
            w.fake.advance()
            await asyncio.sleep(0)
        f = await adding
        w.fake.stall("b")
        w.fake.stall("c")
        timestamp = w.fake.insert("a", ("1", "0", "x"))
        w.fake.advance()  # and nothing more is ever said of a
        reading = asyncio.create_task(f.until(lambda: bool(f.batches)))
        await f.stream.remove("b")
        f.removed.add("b")
        w.fake.cut_mid_row("c")
        await reading
        assert f.failed["c"].error.code == "connection-lost"
        assert f.batches[0].position.offset == timestamp


async def test_one_that_is_another_object_costs_the_others_no_snapshot() -> None:
    async with world({"retain_ms": 600_000}, consistency=Consistency.DATABASE) as w:
        w.fake.insert("a", ("1", "0", "x"))
        f = await w.follow(A, B)
        await w.passes("a")
        before = dict(f.positions)
        w.fake.recreate("b")
        await f.until(lambda: "b" in f.failed)
        await f.stream.close()
        w.fake.insert("a", ("2", "0", "x"))
        w.fake.insert("b", ("7", "0", "x"))
        new = w.f = Follower(await w.engine.open())
        for source in (A, B):
            name = source.name
            w.types[name] = await w.engine.describe(source)
        for source in (A, B):
            name = source.name
            new.expect_resumed(w.types[name], f.rows[name], Position("", 0, 0))
            await new.stream.add(w.types[name], source, after=before[name])
        await w.agrees("a", "b")
        assert set(new.snapshots) == {"b"}, "a goes on from where it was"
        assert new.positions["a"].incarnation != before["a"].incarnation, "a cursor may be of the other b"


async def test_a_snapshot_that_was_cut_off_is_no_place_to_resume_at() -> None:
    async with world({"retain_ms": 600_000}, consistency=Consistency.DATABASE) as w:
        f = await w.follow(A, B)
        await w.passes("b")
        position = f.positions["b"]
        w.fake.recreate("b")
        await f.until(lambda: "b" in f.failed)
        w.fake.insert("b", ("9", "0", "x"))
        w.types["b"] = await w.engine.describe(B)
        w.fake.stall("b")
        for last in (False, True):
            f.expect_resumed(w.types["b"], Counter(), position)
            copies = len(lines("COPY", w.fake))
            await f.stream.add(w.types["b"], B, after=position)
            if not last:  # it is lost before its snapshot has come
                reading = asyncio.create_task(f.until(lambda: "b" in f.failed))
                await w.fake.until(lambda copies=copies: len(lines("COPY", w.fake)) > copies)  # type: ignore[misc]
                w.fake.restart()
                await reading
                w.fake.resume("b")
        await w.agrees("b")
        assert "b" in f.snapshots, "the position is of the other object still"


async def test_one_that_is_away_changes_no_position() -> None:
    async with world({"retain_ms": 600_000}, consistency=Consistency.DATABASE) as w:
        f = await w.follow(A, B)
        await w.passes("a")
        w.fake.drop("b")
        await f.until(lambda: "b" in f.failed)
        await f.stream.close()
        f = await w.resume(A)
        await w.passes("a")
        assert f.progress
        assert {told.position.incarnation for told in f.progress} == {f.positions["a"].incarnation}
        assert not f.snapshots

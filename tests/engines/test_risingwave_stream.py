"""What happens to cursors: renewed, expired, recycled, recovered, their tables altered and made anew; nothing missed or told twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from psycopg import pq

from tests.engines.fake_upstream import TYPES
from tests.engines.risingwave_upstream import make_engine, risingwave
from tests.engines.stream_contract import Follower
from tycostream.config.model import FieldConfig, SourceConfig
from tycostream.engines.risingwave import RisingWaveEngine
from tycostream.engines.risingwave.following import Following
from tycostream.errors import Action
from tycostream.rows import Position, Row
from tycostream.testing.clock import FakeClock
from tycostream.testing.risingwave import FakeRisingWave

RETENTION_S = 100
T = SourceConfig(name="t", subscription="s")


@dataclass
class World:
    """A table ``t`` with a subscription ``s``, an engine, and one time for both."""

    fake: FakeRisingWave
    engine: RisingWaveEngine
    clock: FakeClock
    made: list[Follower] = field(default_factory=list)

    async def follow(self, source: SourceConfig = T) -> Follower:
        """A stream, its snapshot read."""
        row_type = await self.engine.describe(source)
        follower = Follower(await self.engine.open(), row_type)
        self.made.append(follower)
        await follower.stream.add(row_type, source)
        await follower.until(lambda: bool(follower.snapshots))
        return follower

    async def resume(self, former: Follower, source: SourceConfig = T) -> Follower:
        """Another stream that goes on where one stood, which is closed."""
        name = source.name
        if not former.stream.closed:  # type: ignore[attr-defined]
            await former.stream.close()
        follower = Follower(await self.engine.open())
        self.made.append(follower)
        row_type = await self.engine.describe(source)
        follower.expect_resumed(row_type, former.rows[name], self.engine_position(former, name))
        await follower.stream.add(row_type, source, after=follower.positions[name])
        return follower

    @staticmethod
    def engine_position(follower: Follower, name: str) -> Position:
        return follower.positions.get(name) or follower.snapshots[name]

    def rows(self, name: str = "t") -> Counter[Row]:
        """What is there."""
        held = self.fake.rows(name).items()
        return Counter({(int(r[0] or 0), int(r[1] or 0), *r[2:]): count for r, count in held})

    def write(self, *rows: tuple[str, ...]) -> int:
        """Insert, in an epoch of its own; gives the epoch."""
        self.fake.insert("t", *rows)
        return self.fake.checkpoint()

    async def agrees(self, follower: Follower, name: str = "t") -> None:
        wanted = self.rows(name)
        await follower.until(lambda: follower.multiset(name) == wanted)

    async def quiet(self, follower: Follower, seconds: float) -> None:
        """Let time pass without a change, in steps that a server's life has; signs of life go on."""
        for _ in range(int(seconds // 5)):
            self.clock.advance(5)
            self.fake.checkpoint()
            follower.progress.clear()
            await follower.until(lambda: len(follower.progress) >= 2)

    def declared(self) -> list[str]:
        """How the cursors began, in order."""
        return [s.rpartition(" FOR ")[2] for s in self.fake.statements if s.startswith("DECLARE")]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = FakeClock()

    def now_ms() -> int:
        return 1_700_000_000_000 + int(clock.now_s * 1000)

    async with risingwave(now_ms=now_ms, checkpoint_s=None, second_s=0.01) as fake:
        fake.create_table("t", TYPES, key=("id",))
        fake.create_subscription("s", "t", retention_s=RETENTION_S)
        fake.checkpoint()
        engine = make_engine(fake.url, clock=clock)
        made = World(fake, engine, clock)
        yield made
        await made.engine.close()
        await fake.until(lambda: fake.connections == fake.cursors() == 0)


async def test_a_quiet_cursor_is_renewed_before_it_expires_and_goes_on_without_a_gap(world: World) -> None:
    epoch = world.write(("1", "1", "a"))
    f = await world.follow()
    await world.quiet(f, 4 * RETENTION_S)
    began = world.declared()
    assert began[0] == '"public"."s" FULL'
    assert len(began) >= 5
    assert all("SINCE" in each for each in began[1:])
    assert world.fake.cursors() == 1, "the former ones are closed"
    clock_ms = 1_700_000_000_000 + int(world.clock.now_s * 1000)
    assert all(epoch < int(each.split()[-1]) < clock_ms for each in began[1:])
    world.write(("2", "2", "b"))
    await world.agrees(f)
    await world.quiet(f, 4 * RETENTION_S)
    world.write(("3", "3", "c"))
    await world.agrees(f)
    assert len(f.batches) == 2


async def test_what_comes_while_a_cursor_is_renewed_comes_once(world: World) -> None:
    f = await world.follow()
    written = 0
    seen = len(world.declared())
    for _ in range(400):
        world.clock.advance(1)
        world.fake.checkpoint()
        f.progress.clear()
        await f.until(lambda: bool(f.progress))
        if len(world.declared()) > seen:  # the new cursor is there, the old one is not closed yet
            seen = len(world.declared())
            written += 1
            world.write((str(written), "0", "x"))
    assert written >= 3
    await world.agrees(f)
    assert len(f.batches) == written


async def test_a_table_that_was_quiet_longer_than_the_retention_resumes(world: World) -> None:
    f = await world.follow()
    world.write(("1", "1", "a"))
    await world.agrees(f)
    await world.quiet(f, 3 * RETENTION_S)
    again = await world.resume(f)
    world.write(("2", "2", "b"))
    await world.agrees(again)
    assert not again.snapshots
    await world.quiet(again, 3 * RETENTION_S)
    third = await world.resume(again)
    world.write(("3", "3", "c"))
    await world.agrees(third)
    assert not third.snapshots


async def test_after_a_snapshot_without_a_change_only_time_makes_a_place_to_resume(world: World) -> None:
    world.write(("1", "1", "a"))
    f = await world.follow()
    again = await world.resume(f)
    await again.until(lambda: bool(again.snapshots))
    assert again.snapshots["t"] > f.snapshots["t"], "another snapshot is a later position"
    await world.quiet(again, 0.9 * RETENTION_S)
    third = await world.resume(again)
    world.write(("2", "2", "b"))
    await world.agrees(third)
    assert not third.snapshots


async def test_resuming_repeats_nothing_and_misses_nothing(world: World) -> None:
    f = await world.follow()
    world.write(("1", "1", "a"))
    await world.agrees(f)
    world.fake.update("t", ("1", "1", "a"), ("1", "1", "b"))
    world.fake.checkpoint()
    await world.agrees(f)
    await f.stream.close()
    world.fake.update("t", ("1", "1", "b"), ("1", "1", "c"))
    world.fake.checkpoint()
    world.write(("2", "2", "x"))
    again = await world.resume(f)
    await world.agrees(again)
    assert not again.snapshots
    assert [len(batch.changes["t"]) for batch in again.batches] == [1, 1]
    assert again.batches[0].position > f.positions["t"]


async def test_a_reader_that_has_less_than_was_told_gets_the_rest(world: World) -> None:
    f = await world.follow()
    world.write(("1", "1", "a"))
    await world.agrees(f)
    stood, rows = f.positions["t"], f.rows["t"].copy()
    world.write(("2", "2", "b"))
    world.write(("3", "3", "c"))
    await world.agrees(f)
    await world.quiet(f, 20)
    f.positions["t"], f.rows["t"] = stood, rows
    again = await world.resume(f)
    await world.agrees(again)
    assert not again.snapshots


@pytest.mark.parametrize("how", ["recycled", "subscription", "shorter retention"])
async def test_without_the_history_a_snapshot_comes_on_the_same_connection(world: World, how: str) -> None:
    f = await world.follow()
    world.write(("1", "1", "a"))
    await world.agrees(f)
    await f.stream.close()
    if how == "recycled":
        world.write(("2", "2", "b"))
        world.clock.advance(1)
        world.fake.checkpoint()
        world.fake.trim("s")
    elif how == "subscription":
        world.fake.drop_subscription("s")
        world.write(("2", "2", "b"))  # in no log: SINCE would not tell, and not complain
        world.fake.create_subscription("s", "t", retention_s=RETENTION_S)
    else:
        world.write(("2", "2", "b"))
        world.clock.advance(2 * RETENTION_S)
        world.fake.checkpoint()
    again = await world.resume(f)
    await again.until(lambda: bool(again.snapshots))
    await world.agrees(again)
    assert again.snapshots["t"] != f.positions["t"]
    world.write(("3", "3", "c"))
    await world.agrees(again)


async def test_a_log_recycled_under_a_cursor_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    f = await world.follow()
    take = Following._take

    async def recycled(following: Following, result: pq.abc.PGresult) -> None:
        if result.ntuples:
            world.fake.trim("s")
        await take(following, result)

    monkeypatch.setattr(Following, "_take", recycled)
    for i in range(3):  # the second is half read when it comes
        world.write(*((f"{i}{j}", "0", "x") for j in range(600)))
        world.clock.advance(1)
    await f.until(lambda: "t" in f.failed)
    error = f.failed["t"].error
    assert (error.code, error.action) == ("history-gone", Action.RESYNC)
    assert "RETENTION" in error.hint
    assert len(f.batches) == 1, "only what was whole was told"


@pytest.mark.parametrize(
    ("fault", "code"),
    [("restart", "connection-lost"), ("recover", "connection-lost"), ("expire", "cursor-expired")],
)
async def test_a_lost_cursor_is_declared_again_where_it_stood(world: World, fault: str, code: str) -> None:
    f = await world.follow()
    world.write(("1", "1", "a"))
    await world.agrees(f)
    if fault == "restart":
        world.fake.restart()
    elif fault == "recover":
        world.fake.insert("t", ("9", "9", "never was"))
        await world.fake.until(lambda: any(c._waiting for c in world.fake._state.cursors))
        world.fake.recover()
    else:
        world.fake.expire_cursors()
    await f.until(lambda: "t" in f.failed)
    assert (f.failed["t"].error.code, f.failed["t"].error.action) == (code, Action.RETRY)
    f.positions["t"] = f.batches[-1].position
    again = await world.resume(f)
    world.write(("2", "2", "b"))
    await world.agrees(again)
    assert not again.snapshots


async def test_an_epoch_over_many_fetches_is_one_batch(world: World) -> None:
    f = await world.follow()
    old = [(str(i), "1", "a") for i in range(1700)]
    world.write(*old)
    await world.agrees(f)
    world.fake.transaction([("t", row, -1) for row in old] + [("t", (row[0], "2", None), 1) for row in old])
    world.fake.checkpoint()
    await world.agrees(f)
    assert [len(batch.changes["t"]) for batch in f.batches] == [1700, 1700]
    assert all(c.old and c.new for c in f.batches[1].changes["t"])


async def test_a_change_is_told_at_once_and_waiting_asks_seldom() -> None:
    async with risingwave(checkpoint_s=None, second_s=30) as fake:
        fake.create_table("t", TYPES, key=("id",))
        fake.create_subscription("s", "t")
        world = World(fake, make_engine(fake.url), FakeClock())
        try:
            f = await world.follow()
            await fake.until(lambda: "timeout" in fake.statements[-1])
            asked = len(fake.statements)
            async with asyncio.timeout(20):  # a FETCH waits for 60 s here
                world.write(("1", "1", "a"))
                await world.agrees(f)
                await fake.until(lambda: "timeout" in fake.statements[-1])
            assert [s.partition(" FROM")[0] for s in fake.statements[asked:]] == ["FETCH 1000", "FETCH 1000"]
        finally:
            await world.engine.close()


# tables that change


async def test_a_column_more_is_taken_where_the_file_names_none(world: World) -> None:
    world.write(("1", "1", "a"))
    f = await world.follow()
    world.fake.alter_add_column("t", "more", "int", "7")
    world.fake.insert("t", ("2", "2", "b", "8"))
    world.fake.checkpoint()
    await f.until(lambda: "t" in f.failed)
    error = f.failed["t"].error
    assert (error.code, error.action) == ("schema-changed", Action.RESYNC)
    assert [c.name for c in (await world.engine.describe(T)).columns] == ["id", "n", "tag", "more"]
    again = await world.follow()
    assert again.multiset("t") == Counter([(1, 1, "a", 7), (2, 2, "b", 8)])


async def test_a_column_more_is_no_matter_where_the_file_names_its_own(world: World) -> None:
    named = T.model_copy(update={"columns": dict.fromkeys(("tag", "id"))})
    world.write(("1", "1", "a"))
    f = await world.follow(named)
    world.fake.alter_add_column("t", "more", "int", "7")
    world.fake.insert("t", ("2", "2", "b", "8"))
    world.fake.checkpoint()
    await f.until(lambda: f.multiset("t") == Counter([("a", 1), ("b", 2)]))
    world.fake.alter_drop_column("t", "n")
    world.fake.insert("t", ("3", "c", "8"))
    world.fake.checkpoint()
    await f.until(lambda: f.multiset("t") == Counter([("a", 1), ("b", 2), ("c", 3)]))
    assert not f.failed


async def test_a_column_less_fails_the_source_with_its_name(world: World) -> None:
    named = T.model_copy(update={"columns": dict.fromkeys(("tag", "id"))})
    f = await world.follow(named)
    world.fake.alter_drop_column("t", "tag")
    world.fake.insert("t", ("3", "3"))
    world.fake.checkpoint()
    await f.until(lambda: "t" in f.failed)
    assert "tag" in f.failed["t"].error.detail
    f.expect(f.row_types["t"])
    await f.stream.add(f.row_types["t"], named)
    await f.until(lambda: "t" in f.failed)
    assert (f.failed["t"].error.code, f.failed["t"].error.action) == ("column-missing", Action.FAIL)


async def test_one_short_fetch_does_not_end_a_snapshot(world: World) -> None:
    world.write(*((str(i), "0", "x") for i in range(5)))
    f = await world.follow()
    assert len(f.rows["t"]) == 5
    fetches = [s for s in world.fake.statements if s.startswith("FETCH") and "timeout" not in s]
    assert len(fetches) >= 2, "one short fetch proves nothing"


async def test_a_table_made_anew_is_another_history(world: World) -> None:
    f = await world.follow()
    world.write(("1", "1", "a"))
    await world.agrees(f)
    stood = f.positions["t"]
    world.fake.recreate("t")
    await f.until(lambda: "t" in f.failed)
    assert (f.failed["t"].error.code, f.failed["t"].error.action) == ("source-dropped", Action.FAIL)
    world.fake.create_subscription("s", "t", retention_s=RETENTION_S)
    world.write(("5", "5", "new"))
    f.positions["t"] = stood
    again = await world.resume(f)
    await again.until(lambda: bool(again.snapshots))
    assert again.multiset("t") == Counter([(5, 5, "new")])
    assert not again.snapshots["t"].comparable(stood)


async def test_hidden_keys_make_multisets_and_named_ones_are_watched(world: World) -> None:
    world.fake.create_table("loose", TYPES)
    world.fake.create_subscription("loose_s", "loose", retention_s=RETENTION_S)
    world.fake.insert("loose", ("1", "1", "x"), ("1", "1", "x"))
    world.fake.checkpoint()
    source = SourceConfig(name="loose", subscription="loose_s")
    f = await world.follow(source)
    assert f.row_types["loose"].key == ()
    assert f.multiset("loose") == Counter({(1, 1, "x"): 2})
    world.fake.delete("loose", ("1", "1", "x"))
    world.fake.checkpoint()
    await f.until(lambda: f.multiset("loose") == Counter({(1, 1, "x"): 1}))
    named = await world.engine.describe(source.model_copy(update={"primary_key": ("id",)}))
    assert (named.key, named.watched) == ((0,), True)
    enforced = await world.engine.describe(T)
    assert (enforced.key, enforced.watched) == ((0,), False)


# what we make


async def test_queries_and_fields_become_views_of_ours_and_cleanup_removes_them(world: World) -> None:
    world.write(("1", "1", "a"), ("2", "5", "a"))

    def totals(tables: Any) -> list[Row]:
        sums: Counter[str] = Counter()
        for row in tables["public.t"]:
            sums[row[2]] += int(row[1])
        return [(tag, str(total)) for tag, total in sums.items()]

    text = "SELECT tag, sum(n) AS total FROM t GROUP BY tag"
    world.fake.register_query(text, {"tag": "text", "total": "bigint"}, totals, key=("tag",))
    world.fake.register_expression("n * 2", "bigint", lambda row: str(2 * int(row["n"] or 0)))
    engine = make_engine(
        world.fake.url, manage=True, clock=world.clock, name="shop", retention=timedelta(hours=2)
    )
    world.engine, former = engine, world.engine
    await former.close()
    query = SourceConfig(name="totals", query=f"{text};", primary_key=("tag",))
    doubled = SourceConfig(name="doubled", table="t", fields={"twice": FieldConfig(sql="n * 2")})
    before = list(world.fake.statements)
    assert [c.name for c in (await engine.describe(doubled)).columns] == ["id", "n", "tag", "twice"]
    assert all(finding.ok for finding in await engine.check([query, doubled]))
    assert not [s for s in world.fake.statements[len(before) :] if s.startswith(("CREATE", "ALTER"))]
    f = await world.follow(query)
    row_type = await engine.describe(doubled)
    f.expect(row_type)
    await f.stream.add(row_type, doubled)
    await f.until(lambda: "doubled" in f.snapshots)
    assert f.multiset("totals") == Counter([("a", 6)])
    assert f.multiset("doubled") == Counter([(1, 1, "a", 2), (2, 5, "a", 10)])
    assert (f.row_types["doubled"].key, f.row_types["doubled"].watched) == ((0,), False)
    world.write(("3", "4", "b"))
    await f.until(lambda: f.multiset("totals") == Counter([("a", 6), ("b", 4)]))
    await f.until(lambda: len(f.multiset("doubled")) == 3)
    left = list(await engine.leftovers())
    assert [one.kind for one in left] == ["subscription"] * 2 + ["materialized view"] * 2
    assert all(one.in_use for one in left)
    assert all("tycostream_shop$" in one.name for one in left)
    assert await engine.remove(left) == []
    other = make_engine(world.fake.url, manage=True, name="shop_2")
    assert list(await other.leftovers()) == []
    await other.close()
    await f.stream.close()
    await world.fake.until(lambda: world.fake.cursors() == 0)
    left = list(await engine.leftovers())
    assert not any(one.in_use for one in left)
    assert await engine.remove(left) == left
    assert list(await engine.leftovers()) == []
    assert world.fake.subscriptions() == 1, "what is not ours stays"


async def test_another_retention_is_given_to_what_we_made(world: World) -> None:
    source = SourceConfig(name="t")
    for minutes in (1, 3):
        await world.engine.close()
        world.engine = make_engine(
            world.fake.url, manage=True, clock=world.clock, retention=timedelta(minutes=minutes)
        )
        f = await world.follow(source)
        await f.stream.close()
    made = [s for s in world.fake.statements if s.startswith(("CREATE", "ALTER"))]
    name = '"public"."tycostream_test$t$'
    assert made[0].startswith(f"CREATE SUBSCRIPTION {name}")
    assert made[0].endswith('FROM "public"."t" WITH (retention = \'60 seconds\')')
    assert made[1].startswith(f"ALTER SUBSCRIPTION {name}")
    assert made[1].endswith("SET RETENTION TO '180 seconds'")
    assert len(made) == 2

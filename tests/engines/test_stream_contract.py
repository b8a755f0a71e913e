"""The promises of engines/base.py, one suite over every engine and every fake; the Follower asserts the rest."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from tests.engines.materialize_upstream import MaterializeUpstream
from tests.engines.materialize_upstream import materialize as fake_materialize
from tests.engines.risingwave_upstream import RisingWaveUpstream
from tests.engines.risingwave_upstream import risingwave as fake_risingwave
from tests.engines.stream_contract import Follower
from tests.engines.upstreams import (
    COLUMNS,
    PostgresUpstream,
    PostgresViewUpstream,
    ScriptedUpstream,
    Upstream,
    Write,
)
from tycostream.config.model import Consistency, SourceConfig
from tycostream.engines.base import Progress
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Batch

Make = Callable[[pytest.FixtureRequest], contextlib.AbstractAsyncContextManager[Upstream]]


def postgres(*, permanent: bool, kind: type[PostgresUpstream] = PostgresUpstream) -> Make:
    @contextlib.asynccontextmanager
    async def make(url: str) -> AsyncIterator[Upstream]:
        slot = f"contract_{secrets.token_hex(4)}" if permanent else None
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            upstream = kind(url, connection, slot)
            try:
                yield upstream
            finally:
                await upstream.engine.close()
                await upstream.drop_slot()

    return lambda request: make(request.getfixturevalue("database"))


def scripted(*, share_positions: bool, history: int | None) -> Make:
    @contextlib.asynccontextmanager
    async def make(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
        yield ScriptedUpstream(share_positions=share_positions, history=history)

    return make


def materialize(consistency: Consistency) -> Make:
    @contextlib.asynccontextmanager
    async def make(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
        async with fake_materialize(retain_ms=600_000) as fake:
            yield MaterializeUpstream(fake, consistency)

    return make


@contextlib.asynccontextmanager
async def risingwave(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    async with fake_risingwave() as fake:
        yield RisingWaveUpstream(fake)


UPSTREAMS: dict[str, Make] = {
    "scripted": scripted(share_positions=True, history=None),
    "scripted-resuming": scripted(share_positions=True, history=1000),
    "scripted-single": scripted(share_positions=False, history=1000),
    "postgres": postgres(permanent=False),
    "postgres-slot": postgres(permanent=True),
    "postgres-views": postgres(permanent=False, kind=PostgresViewUpstream),
    "postgres-views-slot": postgres(permanent=True, kind=PostgresViewUpstream),
    "materialize": materialize(Consistency.SOURCE),
    "materialize-database": materialize(Consistency.DATABASE),
    "risingwave": risingwave,
}


@pytest.fixture(params=list(UPSTREAMS))
def made(request: pytest.FixtureRequest) -> contextlib.AbstractAsyncContextManager[Upstream]:
    """Not yet entered: the fixtures that it needs may not be asked for inside a running loop."""
    return UPSTREAMS[request.param](request)


@pytest.fixture
async def upstream(made: contextlib.AbstractAsyncContextManager[Upstream]) -> AsyncIterator[Upstream]:
    async with made as upstream:
        yield upstream
        await upstream.engine.close()


async def follow(upstream: Upstream, *sources: SourceConfig) -> Follower:
    """A stream of the sources, its snapshots read."""
    row_types = [await upstream.engine.describe(source) for source in sources]
    follower = Follower(await upstream.engine.open(), *row_types)
    for row_type, source in zip(row_types, sources, strict=True):
        await follower.stream.add(row_type, source)
    await follower.until(lambda: len(follower.snapshots) == len(sources))
    return follower


async def agrees(upstream: Upstream, follower: Follower, *tables: str) -> None:
    """Wait until the follower holds what the tables hold, and see that it does."""
    for table in tables:
        rows = await upstream.rows(table)
        with contextlib.suppress(TimeoutError):
            await follower.until(lambda table=table, rows=rows: follower.multiset(table) == rows, 10)  # type: ignore[misc]
        assert follower.multiset(table) == rows


def tasks() -> set[asyncio.Task[object]]:
    """What runs, but for the servers of fakes."""
    found = set()
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is None or "/tycostream/testing/" not in code.co_filename:
            found.add(task)
    return found


async def nothing_stays(upstream: Upstream) -> None:
    left: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):  # a server notices a closed socket a moment later
            while left := await upstream.left_behind():
                await asyncio.sleep(0.01)
    assert left == []


# 1


async def test_describe_gives_the_shape_or_names_what_exists(upstream: Upstream) -> None:
    keyed = await upstream.engine.describe(await upstream.create("trades"))
    loose = await upstream.engine.describe(await upstream.create("loose", keyed=False))
    for row_type in (keyed, loose):
        assert [column.name for column in row_type.columns] == list(COLUMNS)
        assert [column.scalar.name for column in row_type.columns[:2]] == ["int8", "int8"]
        assert row_type.columns[2].scalar.name in ("text", "varchar")  # RisingWave has one type of texts
    assert (keyed.key, loose.key) == ((0,), ())
    with pytest.raises(UpstreamError) as caught:
        await upstream.engine.describe(SourceConfig(name="trade"))
    assert caught.value.action is Action.FAIL
    assert "trade" in caught.value.message
    assert "trades" in caught.value.detail
    assert caught.value.hint


# 2


async def test_an_unreachable_database_raises_and_leaves_nothing(upstream: Upstream) -> None:
    engine = upstream.unreachable()
    before = tasks()
    for ask in (engine.open, engine.probe):
        with pytest.raises(UpstreamError) as caught:
            await ask()
        assert caught.value.action is Action.RETRY
    await engine.close()
    assert tasks() == before


async def test_a_probe_is_a_sign_of_life_and_leaves_nothing(upstream: Upstream) -> None:
    await upstream.engine.probe()
    await nothing_stays(upstream)


# 3


async def test_snapshot_then_every_change_once(upstream: Upstream) -> None:
    a, b = await upstream.create("a"), await upstream.create("b", keyed=False)
    rows = [(i, i * i, None if i % 3 else f"t\t{i}") for i in range(300)]
    twins = [(1, 1, "x"), (1, 1, "x"), (2, 2, "y")]
    await upstream.write(*(Write("a", None, row) for row in rows))
    await upstream.write(*(Write("b", None, row) for row in twins))
    f = await follow(upstream, a, b)
    assert f.multiset("a") == Counter(rows)
    assert f.multiset("b") == Counter(twins)
    if upstream.engine.share_positions:
        assert f.snapshots["a"] == f.snapshots["b"]
    await upstream.write(
        Write("a", rows[0], (0, -1, "new")),  # an update
        Write("a", (0, -1, "new"), (0, -2, "newer")),  # and another in the same transaction
        Write("a", rows[6], (1000, 36, rows[6][2])),  # a key change
        Write("a", rows[9], None),
        Write("a", None, rows[9]),  # deleted and inserted
        Write("a", rows[12], None),
        Write("b", twins[0], None),  # one of two equal rows
        Write("b", twins[2], (2, 3, "z")),
        Write("b", None, (2, 3, "z")),
    )
    await agrees(upstream, f, "a", "b")
    await upstream.write(Write("b", None, None), Write("b", None, (7, 7, "only")))
    await agrees(upstream, f, "b")
    assert f.multiset("b") == Counter([(7, 7, "only")])
    await f.stream.close()


async def test_sources_added_together_while_others_write(upstream: Upstream) -> None:
    names = ["a", "b", "c", "d"]
    sources = {name: await upstream.create(name, keyed=name != "d") for name in names}
    f = await follow(upstream, sources["a"])
    done, written = asyncio.Event(), 0

    async def write() -> None:
        nonlocal written
        while not done.is_set():
            i = written = written + 1
            await upstream.write(*(Write(name, None, (i, i, "w")) for name in names))
            if i > 1:
                await upstream.write(*(Write(name, (i - 1, i - 1, "w"), (i - 1, 0, "w")) for name in names))
            await asyncio.sleep(0)

    writer = asyncio.create_task(write())
    late = [await upstream.engine.describe(sources[name]) for name in names[1:]]
    for row_type in late:
        f.expect(row_type)
    await asyncio.gather(*(f.stream.add(row_type, sources[row_type.source]) for row_type in late))
    await f.until(lambda: len(f.snapshots) == len(names))
    target = written + 20
    await f.until(lambda: len(f.multiset("a")) >= target)
    done.set()
    await writer
    await agrees(upstream, f, *names)
    await f.stream.close()


async def test_a_removed_source_is_left_out_and_can_come_back(upstream: Upstream) -> None:
    a, b = await upstream.create("a"), await upstream.create("b")
    f = await follow(upstream, a, b)
    await upstream.write(Write("b", None, (9, 9, "unread")))
    f.removed.add("b")  # from the call on
    await f.stream.remove("b")
    await upstream.write(Write("a", None, (1, 1, "x")), Write("b", None, (1, 1, "x")))
    await agrees(upstream, f, "a")
    count = len(f.batches)
    await upstream.write(Write("b", None, (2, 2, "y")))  # alone: a batch left with no change is not yielded
    await upstream.write(Write("a", None, (2, 2, "y")))
    await agrees(upstream, f, "a")
    assert len(f.batches) == count + 1
    assert all("b" not in batch.changes for batch in f.batches)
    f.expect(f.row_types["b"])
    await f.stream.add(f.row_types["b"], b)
    await f.until(lambda: "b" in f.snapshots)
    await agrees(upstream, f, "a", "b")
    await f.stream.close()


async def test_a_source_resumes_where_its_follower_stood(upstream: Upstream) -> None:
    a, b = await upstream.create("a"), await upstream.create("b", keyed=False)
    await upstream.write(Write("a", None, (1, 1, "x")))
    await upstream.write(Write("b", None, (1, 1, "x")))
    f = await follow(upstream, a, b)
    await upstream.write(Write("a", None, (2, 2, "y")), Write("b", None, (2, 2, "y")))
    await agrees(upstream, f, "a", "b")
    await f.stream.close()
    await upstream.write(Write("a", (1, 1, "x"), (3, 3, "z")), Write("b", (1, 1, "x"), None))
    again = Follower(await upstream.engine.open())
    for name, source in (("a", a), ("b", b)):
        again.expect_resumed(f.row_types[name], f.rows[name], f.positions[name])
        await again.stream.add(f.row_types[name], source, after=f.positions[name])
    await agrees(upstream, again, "a", "b")
    await upstream.write(Write("a", (2, 2, "y"), None))
    await agrees(upstream, again, "a", "b")
    assert (not again.snapshots) == upstream.resumes
    await again.stream.close()


# 4


async def test_a_transaction_is_seen_whole(upstream: Upstream) -> None:
    a, b = await upstream.create("a"), await upstream.create("b")
    # what is computed is whole by itself, and a later moment than its tables
    together = upstream.engine.share_positions and not upstream.merges
    f = await follow(upstream, a, b)

    def balanced(batch: Batch) -> None:
        totals = {name: sum(row[1] for row in f.rows[name].values()) for name in ("a", "b")}
        assert (totals["a"] + totals["b"] if together else totals) in (0, {"a": 0, "b": 0})

    f.check = balanced
    held: dict[str, list[tuple[int, int, str]]] = {"a": [], "b": []}
    for i in range(40):
        # across both tables the sum of n is 0, and where tables are told apart, within each
        amounts = {"a": [i, 5], "b": [-i, -5]} if together else {"a": [i, -i], "b": [3, -3]}
        writes = []
        for name, values in amounts.items():
            if held[name] and i % 3 == 0:
                writes += [Write(name, row, None) for row in held[name]]
                held[name] = []
            for j, n in enumerate(values):
                row = (i * 10 + j, n, "x" * i)
                held[name].append(row)
                writes.append(Write(name, None, row))
        await upstream.write(*writes)
    await agrees(upstream, f, "a", "b")
    assert len(f.batches) >= (1 if upstream.merges else 40)
    await f.stream.close()


# 5


async def test_an_idle_database_shows_that_it_lives(upstream: Upstream) -> None:
    a = await upstream.create("a")
    f = await follow(upstream, a)
    if isinstance(upstream, ScriptedUpstream):
        asyncio.get_running_loop().call_soon(upstream.engine.progress)
    f.progress.clear()
    await f.until(lambda: bool(f.progress), 8)
    await f.stream.close()


async def test_a_silent_database_makes_no_progress(upstream: Upstream) -> None:
    if not upstream.stalls:
        pytest.skip("this upstream cannot be silenced")
    f = await follow(upstream, await upstream.create("a"))
    await upstream.write(Write("a", None, (0, 0, "x")))
    await agrees(upstream, f, "a")
    async with upstream.stalled():
        quiet = False
        for _ in range(4):  # what was on its way may still arrive
            try:
                async with asyncio.timeout(2):
                    await f.step()
            except TimeoutError:
                quiet = True
                break
        assert quiet, "promise 5: progress without a sign of life"
    await upstream.write(Write("a", None, (1, 1, "x")))
    await agrees(upstream, f, "a")
    await f.stream.close()


async def test_progress_comes_after_the_batches_it_tells_of(upstream: Upstream) -> None:
    a, b = await upstream.create("a"), await upstream.create("b")
    f = await follow(upstream, a)  # b is written and not followed: its positions are progress only
    for i in range(30):
        await upstream.write(Write("b", None, (i, i, "x")))
        await upstream.write(Write("a", None, (i, i, "x")))
    await agrees(upstream, f, "a")  # the Follower refuses a batch at or before a progress
    assert all(isinstance(event, Progress) for event in f.progress)
    assert await upstream.engine.describe(b)
    await f.stream.close()


# 6


async def test_a_failed_source_fails_alone_and_comes_back(upstream: Upstream) -> None:
    a, b = await upstream.create("a"), await upstream.create("b")
    f = await follow(upstream, a, b)
    await upstream.spoil("b")
    await f.until(lambda: "b" in f.failed)
    error = f.failed["b"].error
    assert error.action is Action.FAIL
    assert error.message
    assert error.hint
    await upstream.write(Write("a", None, (1, 1, "x")))
    await agrees(upstream, f, "a")
    f.expect(f.row_types["b"])
    await f.stream.add(f.row_types["b"], b)  # too early: it fails again, and again only once
    await f.until(lambda: "b" in f.failed)
    await upstream.mend("b")
    f.expect(f.row_types["b"])
    await f.stream.add(f.row_types["b"], b)
    await f.until(lambda: "b" in f.snapshots)
    await upstream.write(Write("b", None, (5, 5, "x")))
    await agrees(upstream, f, "a", "b")
    await f.stream.close()


# 7


async def test_a_lost_connection_ends_the_stream_or_every_source_with_an_error(upstream: Upstream) -> None:
    f = await follow(upstream, await upstream.create("a"), await upstream.create("b"))
    await upstream.cut()
    errors = []
    try:
        await f.until(lambda: len(f.failed) == 2)
        errors = [failed.error for failed in f.failed.values()]  # a stream of several connections
    except UpstreamError as error:
        errors = [error]
        with pytest.raises(UpstreamError):  # and stays ended
            await f.stream.read()
    assert {error.action for error in errors} == {Action.RETRY}
    await f.stream.close()
    await nothing_stays(upstream)


# 8


async def test_close_at_any_time_twice_and_from_another_task(upstream: Upstream) -> None:
    a, b = await upstream.create("a"), await upstream.create("b")
    await upstream.write(*(Write("a", None, (i, i, "x" * 500)) for i in range(200)))
    row_type, late = await upstream.engine.describe(a), await upstream.engine.describe(b)
    before = tasks()
    for moment in range(4):
        stream = await upstream.engine.open()
        await stream.add(row_type, a)
        f = Follower(stream, row_type)
        if moment >= 1:
            await f.step()  # in the snapshot
        if moment >= 2:
            await f.until(lambda f=f: bool(f.snapshots))  # type: ignore[misc]
        if moment >= 3:
            f.expect(late)
            await stream.add(late, b)  # a late source is being read
        reader = asyncio.create_task(f.until(lambda: False))
        await asyncio.sleep(0)
        await asyncio.gather(stream.close(), stream.close())
        with pytest.raises(UpstreamError):
            await reader
        await stream.close()
        with pytest.raises(UpstreamError):
            await stream.read()
        with pytest.raises(UpstreamError):
            await stream.add(row_type, a)
        assert tasks() == before
        await nothing_stays(upstream)


async def test_a_cancelled_read_loses_nothing(upstream: Upstream) -> None:
    a = await upstream.create("a")
    rows = [(i, i, "x") for i in range(6000)]
    await upstream.write(*(Write("a", None, row) for row in rows))
    row_type = await upstream.engine.describe(a)
    f = Follower(await upstream.engine.open(), row_type)
    await f.stream.add(row_type, a)
    for turns in range(40):  # cancelled at every stage: connecting, copying, starting, waiting
        reading = asyncio.create_task(f.step())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    await agrees(upstream, f, "a")
    await upstream.write(Write("a", rows[0], None))
    await agrees(upstream, f, "a")
    await f.stream.close()


async def test_close_between_two_reads_of_a_snapshot(upstream: Upstream) -> None:
    a = await upstream.create("a")
    await upstream.write(*(Write("a", None, (i, i, "x")) for i in range(6000)))
    row_type = await upstream.engine.describe(a)
    stream = await upstream.engine.open()
    await stream.add(row_type, a)
    await stream.read()
    await stream.close()  # nobody is reading, and the snapshot's connection goes all the same
    await nothing_stays(upstream)

"""Feeds under supervision: silence, sources that fail and heal alone, breakers, changed shapes, bugs, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import Callable

import pytest

from tests.live.live_harness import COPIES, INT, ITEMS, Client, plan
from tests.live.supervision_harness import DENIED, LOST, STALL_S, World, made
from tycostream.config.model import SourceConfig
from tycostream.errors import Action, UpstreamError
from tycostream.graphql.plan import Mode
from tycostream.live.feed import FeedState
from tycostream.live.live_source import SourceState
from tycostream.observe.events import BreakerChanged, FeedStateChanged
from tycostream.rows import Column, Position

__all__ = ["made"]  # a fixture

# silence


async def test_silence_is_stale_then_asked_after_then_connected_anew_with_growing_patience(
    made: Callable[..., World],
) -> None:
    world = made()
    await world.live()
    started, first = world.clock.now_s, len(world.engine.added)
    world.engine.muted.add("items")
    await world.passes(STALL_S + 3, living=("copies",))
    assert (world.state("items"), world.state("copies")) == (SourceState.STALE, SourceState.LIVE)
    error = world.hub.sources["items"].error
    assert error is not None
    assert error.code == "stalled"
    assert "`stall_after`" in error.hint
    assert world.engine.probed == 1, "it was asked after once"
    assert len(world.engine.added) == first, "a database that answers may only be slow"
    await world.passes(400, living=("copies",))
    times = [at - started for at, after in world.engine.adds("items")[1:] if after is not None]
    gaps = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    assert len(gaps) == 4
    for gap, patience in zip(gaps, (20, 40, 80, 160), strict=True):
        assert patience <= gap < patience + 8
    assert world.engine.opened == 1, "the others keep theirs"
    world.engine.muted.clear()
    world.engine.commit({"items": [(None, (3, 3, "c"))]})
    await world.live(step_s=0)
    assert 3 in world.hub.sources["items"].store.rows
    again = world.clock.now_s
    world.engine.muted.add("items")
    await world.passes(30, living=("copies",))
    assert world.engine.adds("items")[-1][0] - again < 28, "life resets the patience"


async def test_a_silent_source_that_speaks_is_live_again_and_its_connection_kept(
    made: Callable[..., World],
) -> None:
    world = made()
    await world.live()
    adds = len(world.engine.added)
    await world.passes(STALL_S + 3, living=("copies",))
    assert (world.state("items"), world.state("copies")) == (SourceState.STALE, SourceState.LIVE)
    world.engine.progress("items")
    await world.live("items", step_s=0)
    assert len(world.engine.added) == adds


async def test_one_that_speaks_while_it_is_asked_after_is_not_connected_anew(
    made: Callable[..., World],
) -> None:
    world = made()
    await world.live()
    await world.passes(STALL_S + 3, living=("copies",))
    assert world.engine.probed == 1
    gate, adds = world.engine.hold("probe"), len(world.engine.added)
    await world.passes(STALL_S + 3, living=("copies",))  # the second probe is under way
    world.engine.progress("items")
    await world.live("items", step_s=0)
    gate.set()
    await world.passes(3, living=("items", "copies"))
    assert world.engine.probed == 2
    assert world.state("items") is SourceState.LIVE
    assert len(world.engine.added) == adds


async def test_a_database_that_answers_no_probe_is_lost(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    world.engine.stall()
    world.engine.refuse = LOST
    await world.until(lambda: "nobody there" in world.feed.reason, 0.5)
    assert world.state("items") is SourceState.STALE
    world.engine.refuse = None
    await world.live()
    assert world.engine.opened >= 2


async def test_with_shared_positions_silence_of_all_costs_the_connection(made: Callable[..., World]) -> None:
    world = made(shared=True)
    await world.live()
    world.engine.stall()
    await world.until(lambda: world.engine.opened == 2, 0.5)
    await world.live()


async def test_finished_sources_are_never_stale(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    world.engine.finish("items")
    await world.passes(60, living=("copies",))
    assert world.state("items") is SourceState.LIVE
    assert world.engine.probed == 0


async def test_a_finished_source_that_is_read_otherwise_may_be_silent_like_any_other(
    made: Callable[..., World],
) -> None:
    world = made()
    await world.live()
    world.engine.finish("items")
    await world.passes(60, living=("copies",))
    world.feed.put(SourceConfig(name="items", table="elsewhere"))
    await world.until(lambda: len(world.engine.adds("items")) == 2)
    await world.live()
    world.engine.muted.add("items")
    await world.passes(STALL_S + 3, living=("copies",))
    assert world.state("items") is SourceState.STALE
    assert world.engine.probed == 1


# one source


async def test_a_failed_source_is_tried_ever_more_slowly_and_heals_alone(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    client = Client(world.hub, plan(COPIES, Mode.CHANGES))
    world.engine.unreadable["items"] = DENIED
    world.engine.fail("items", DENIED)
    before = len(world.engine.described)
    await world.passes(300, living=("copies",))
    assert world.state("items") is SourceState.FAILED
    assert world.state("copies") is SourceState.LIVE
    assert world.engine.opened == 1, "the stream goes on"
    tries = [at for at, name in world.engine.described[before:] if name == "items"]
    assert 10 <= len(tries) <= 60
    assert max(b - a for a, b in itertools.pairwise(tries)) <= 31
    world.engine.commit({"copies": [(None, (9, "x"))]})
    await world.until(lambda: len(world.hub.sources["copies"].store.rows) == 1)
    world.clock.run()
    client.read()
    assert not client.errors
    del world.engine.unreadable["items"]
    await world.passes(32, living=("items", "copies"))
    assert world.state("items") is SourceState.LIVE
    events = [e for e in world.events if isinstance(e, FeedStateChanged) and e.source == "items"]
    assert [e.state for e in events] == ["live", *["failed"] * (len(events) - 2), "live"], (
        "its healing is told"
    )
    assert "GRANT SELECT" in events[1].hint
    # what lived for a while is tried again at once
    await world.passes(15, living=("items", "copies"))
    world.engine.fail("items", LOST)
    await world.until(lambda: world.state("items") is SourceState.STALE)
    assert world.feed.sources["items"].breaker.failures == 1


async def test_a_source_that_fails_for_a_moment_resumes_and_after_resync_starts_anew(
    made: Callable[..., World],
) -> None:
    world = made()
    await world.live()
    world.engine.commit({"items": [(None, (3, 3, "c"))]})
    await world.until(lambda: 3 in world.hub.sources["items"].store.rows)
    world.engine.fail("items", LOST)
    await world.until(lambda: world.state("items") is SourceState.STALE)
    world.engine.commit({"items": [(None, (4, 4, "d"))]})
    await world.live()
    assert 4 in world.hub.sources["items"].store.rows
    assert world.engine.adds("items")[-1][1] == Position("scripted", 0, 1)
    world.engine.fail("items", UpstreamError("gone", "its history is gone", action=Action.RESYNC))
    await world.until(lambda: len(world.engine.adds("items")) == 3, 0.1)
    await world.live()
    assert world.engine.adds("items")[-1][1] is None
    assert set(world.hub.sources["items"].store.rows) == {1, 2, 3, 4}


async def test_credentials_are_read_anew_where_one_source_alone_is_refused(
    made: Callable[..., World],
) -> None:
    world = made()
    await world.live()
    world.engine.unreadable["items"] = UpstreamError("auth", "login refused", action=Action.FAIL)
    world.engine.fail("items", LOST)
    await world.until(lambda: len(world.renewed) >= 2, 0.5)
    assert world.engine.opened == 1
    del world.engine.unreadable["items"]
    await world.live("items", step_s=0.5)


async def test_a_source_that_appears_later(made: Callable[..., World]) -> None:
    world = made(start=False)
    del world.engine.row_types["items"]
    world.start()
    await world.live("copies")
    assert "items" not in world.hub.sources
    feed = world.feed.sources["items"]
    assert feed.state is SourceState.FAILED
    assert feed.error is not None
    assert feed.error.code == "source-missing"
    assert world.feed.settled
    world.engine.row_types["items"] = ITEMS
    await world.passes(31, living=("copies",))
    assert world.state("items") is SourceState.LIVE
    assert [r.source for r in world.described] == ["copies", "items"]


async def test_a_row_type_that_changes_ends_operations_and_is_told(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    client, other = (
        Client(world.hub, plan(ITEMS, Mode.CHANGES)),
        Client(world.hub, plan(COPIES, Mode.CHANGES)),
    )
    world.clock.run()
    wider = dataclasses.replace(ITEMS, columns=(*ITEMS.columns, Column("more", INT)))
    world.engine.row_types["items"] = wider
    world.engine.tables["items"] = [(1, 1, "a", 7)]
    world.engine.fail("items", DENIED)
    await world.until(lambda: len(world.described) == 3, 0.1)
    await world.live()
    world.clock.run()
    client.read()
    other.read()
    assert "failed" in str(client.errors) or "source-changed" in str(client.errors)
    assert not other.errors
    assert list(world.hub.sources["items"].store.rows.values()) == [(1, 1, "a", 7)]
    again = Client(world.hub, plan(wider, Mode.CHANGES))
    world.engine.fail("items", LOST)
    world.engine.row_types["items"] = ITEMS
    world.engine.tables["items"] = [(1, 1, "a")]
    await world.until(lambda: len(world.described) == 4, 0.1)
    await world.live()
    world.clock.run()
    again.read()
    assert "source-changed" in str(again.errors)


async def test_a_description_that_hangs_disturbs_nobody_and_adds_once(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    gate, adds = world.engine.hold("describe", "items"), len(world.engine.adds("items"))
    world.engine.fail("items", LOST)
    await world.passes(90, living=("copies",))
    assert world.state("copies") is SourceState.LIVE
    assert world.state("items") is SourceState.STALE
    assert world.engine.probed == 0, "what is not on the stream is not silent"
    gate.set()
    await world.live()
    await world.passes(5, living=("items", "copies"))
    assert len(world.engine.adds("items")) == adds + 1


async def test_an_addition_that_hangs_disturbs_nobody_and_is_made_once(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    gate, adds = world.engine.hold("add", "items"), len(world.engine.adds("items"))
    world.engine.fail("items", LOST)
    await world.passes(90, living=("copies",))
    assert (world.state("items"), world.state("copies")) == (SourceState.STALE, SourceState.LIVE)
    gate.set()
    await world.live()
    assert len(world.engine.adds("items")) == adds + 1
    assert world.state("items") is SourceState.LIVE


# the database


async def test_the_breaker_of_a_database_opens_tries_and_closes(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    world.engine.refuse = LOST
    world.engine.cut()
    await world.until(lambda: world.breaker() == ["open"], 0.1)
    assert world.engine.probed == 0
    described = len(world.engine.described)
    await world.until(lambda: world.engine.probed >= 4, 0.5)
    assert len(world.engine.described) == described, "one probe by one caller, nothing else"
    states = world.breaker()
    assert states[:5] == ["open", "half_open", "open", "half_open", "open"]
    failures = [e.failures for e in world.events if isinstance(e, BreakerChanged) and e.state == "open"]
    assert failures == list(range(5, 5 + len(failures)))
    world.engine.refuse = None
    await world.live(step_s=0.5)
    assert world.breaker()[-2:] == ["half_open", "closed"]
    await world.passes(15, living=("items", "copies"))
    world.engine.cut()
    await world.until(lambda: world.feed.state is FeedState.STALE)
    assert world.feed.breaker.failures == 1, "a healthy life forgets the past"
    assert world.renewed, "credentials are asked for anew after each failure"


async def test_a_source_that_never_starts_does_not_make_the_others_lives_unhealthy(
    made: Callable[..., World],
) -> None:
    world = made(start=False)
    world.engine.muted.add("items")  # its snapshot never comes
    world.start()
    await world.live("copies")
    for _ in range(8):
        await world.passes(15, living=("copies",))
        world.engine.cut()
        await world.until(lambda: world.feed.state is FeedState.STALE)
        await world.live("copies")
    assert world.breaker() == []
    assert world.feed.breaker.failures == 1


async def test_resync_of_the_stream_reads_everything_again(made: Callable[..., World]) -> None:
    world = made()
    await world.live()
    assert world.engine.stream is not None
    world.engine.cut()
    await world.until(lambda: world.engine.opened == 2, 0.1)
    world.engine.progress()
    await world.live()
    assert all(after is not None for _, _, after in world.engine.added[-2:])
    world.engine.stream.end(UpstreamError("protocol", "it does not read", action=Action.RESYNC))
    await world.until(lambda: world.engine.opened == 3, 0.1)
    await world.live()
    assert [after for _, _, after in world.engine.added[-2:]] == [None, None]


async def test_starting_with_the_database_down(made: Callable[..., World]) -> None:
    world = made(start=False)
    world.engine.refuse = LOST
    assert not world.feed.settled
    world.start()
    await world.until(lambda: world.feed.settled)
    assert world.feed.state is FeedState.STALE
    assert world.feed.sources["items"].state is SourceState.STARTING
    assert "nobody there" in str(world.feed.sources["items"].error)
    await world.passes(40)
    client = Client(world.hub, plan(ITEMS, Mode.CHANGES))
    assert not client.ended
    world.engine.refuse = None
    await world.live(step_s=0.5)
    world.clock.run()
    client.read()
    assert len(client.rows) == 2, "who asked before the database was there has it now"


async def test_what_only_a_person_can_mend_at_the_database_waits_long(made: Callable[..., World]) -> None:
    world = made(start=False)
    world.engine.refuse = UpstreamError(
        "auth", "login refused", action=Action.FAIL, hint="correct the password"
    )
    world.start()
    await world.until(lambda: world.feed.state is FeedState.FAILED)
    assert world.state("items") is SourceState.FAILED
    tries = len(world.engine.described)
    await world.passes(29)
    assert len(world.engine.described) == tries
    await world.passes(2)
    assert len(world.engine.described) > tries
    world.engine.refuse = None
    await world.passes(31)
    assert world.state("items") is SourceState.LIVE


async def test_a_stream_that_ends_while_a_source_is_added(made: Callable[..., World]) -> None:
    world = made(start=False)
    gate = world.engine.hold("add", "items")
    world.start()
    await world.until(lambda: bool(world.engine.adds("copies")))
    world.engine.cut()
    gate.set()
    await world.live()
    world.engine.hold("add", "items")  # and while it is added again
    world.engine.fail("items", LOST)
    await world.passes(5, living=("copies",))
    world.engine.cut()
    world.engine.holds.clear()
    await world.until(lambda: world.engine.opened >= 3, 0.1)
    world.engine.progress()
    await world.live()


async def test_two_sources_at_a_distance_come_back_as_one_set(made: Callable[..., World]) -> None:
    world = made(shared=True)
    await world.live()
    assert world.engine.stream is not None
    world.engine.stream.end(UpstreamError("gone", "history is gone", action=Action.RESYNC))
    await world.until(lambda: world.feed.state is FeedState.STALE)
    world.engine.commit({"items": [(None, (8, 8, "h"))], "copies": [(None, (8, "h"))]})
    await world.live()
    assert 8 in world.hub.sources["items"].store.rows
    assert len(world.hub.sources["copies"].store.rows) == 1
    assert not any(isinstance(e, FeedStateChanged) and e.state == "failed" for e in world.events)


# bugs and ends


@pytest.mark.parametrize("where", ["describe", "renew", "described"])
async def test_a_bug_in_one_feed_does_not_stop_another(
    made: Callable[..., World], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = made(start=False, databases=2)
    bug = RuntimeError("a bug")
    if where == "describe":
        world.engine.bug = bug
    elif where == "renew":
        world.renew_bug = bug
        world.engine.refuse = LOST
    else:
        monkeypatch.setattr(world.feed, "_described", lambda row_type: 1 / 0)
    world.start()
    await world.live("copies")
    await world.passes(20, living=("copies",))
    world.engines[1].commit({"copies": [(None, (1, "x"))]})
    await world.until(lambda: len(world.hub.sources["copies"].store.rows) == 1)
    if where == "renew":
        assert world.feed.state is FeedState.STALE
        told = [event.reason for event in world.events if isinstance(event, FeedStateChanged)]
        assert any("a bug" in reason for reason in told)
    else:
        assert "internal error" in str(world.feed.sources["items"].error)
    world.engine.bug = world.renew_bug = world.engine.refuse = None
    if where == "described":
        monkeypatch.setattr(world.feed, "_described", world._described)
    await world.live("items", step_s=0.5)


@pytest.mark.parametrize("turns", range(0, 60, 4))
async def test_no_task_is_left_whenever_a_feed_is_cancelled(turns: int) -> None:
    world = World()
    world.start()
    for turn in range(turns):
        await asyncio.sleep(0)
        if turn % 16 == 9:
            world.engine.fail("items", LOST)
        if turn % 32 == 20:
            world.engine.cut()
        world.clock.advance(0.3)
    await world.stop()  # asserts it


async def test_no_task_is_left_when_everything_hangs() -> None:
    world = World()
    world.engine.hold("describe", "items")
    world.start()
    await world.passes(1)
    await world.stop()
    world = World()
    world.start()
    await world.live()
    world.engine.hold("add", "items")
    world.engine.hold("probe")
    world.engine.fail("items", LOST)
    with contextlib.suppress(AssertionError):
        await world.until(lambda: False, 0.5, limit=100)  # copies is silent: a probe hangs too
    await world.stop()

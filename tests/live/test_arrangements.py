"""Who shares an arrangement, what that costs, when it goes, and what breaks with it. Work is counted, not timed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.live.live_harness import COPIES, ITEMS, Client, answer, make_hub, plan
from tests.live.test_slices import Counting
from tycostream.dataflow.hydration import Hydration
from tycostream.dataflow.order import OrderBy
from tycostream.dataflow.predicate import Compare, conjunction, disjunction
from tycostream.graphql.plan import Mode, Plan
from tycostream.live import arrangements as arrangements_module
from tycostream.live.hub import Hub
from tycostream.live.live_source import SourceState
from tycostream.live.query_cohort import QueryCohort
from tycostream.rows import Batch, Change, Position, Row

ROWS = 10_000
DOWN = (OrderBy(1, True, True),)  # n desc, id


@pytest.fixture
def clock() -> Counting:
    return Counting()


@pytest.fixture
def hub(clock: Counting) -> Hub:
    hub = make_hub(clock)
    hub.load("items", [(n, n // 2, "x") for n in range(ROWS)], Position("life", 0, 1))
    return hub


@pytest.fixture
def sorted_anew(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    plain = Hydration.__init__

    def counting(self: Hydration, keys: Sequence[Any], *rest: Any, **more: Any) -> None:
        counted.append(len(keys))
        plain(self, keys, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Hydration, "__init__", counting)
    return counted


def put(hub: Hub, offset: int, *rows: Row) -> None:
    changes = [Change(row[0], None, row) for row in rows]
    hub.apply(Batch(Position("life", 0, offset), {"items": changes}))


def behind(n: int, key: int) -> Plan:
    """The page behind a row."""
    tie = conjunction([Compare(1, "eq", n), Compare(0, "gt", key)])
    return plan(ITEMS, Mode.LIST, disjunction([Compare(1, "lt", n), tie]), DOWN, 3)


def at(offset: int) -> Plan:
    return plan(ITEMS, Mode.LIST, order=DOWN, limit=3, offset=offset)


def shown(clients: Sequence[Client]) -> list[list[int]]:
    for client in clients:
        client.read()
    return [[row[0] for row in client.shown] for client in clients]


def test_pages_by_offset_and_by_key_share_one(hub: Hub, clock: Counting, sorted_anew: list[int]) -> None:
    pages = [at(0), at(5000), at(ROWS - 2), behind(2500, 5000), behind(1, 2)]
    clients = [Client(hub, page) for page in pages]
    clock.run()
    assert shown(clients) == [
        [9998, 9999, 9996],
        [4998, 4999, 4996],
        [0, 1],
        [5001, 4998, 4999],
        [3, 0, 1],
    ]
    assert sorted_anew == [ROWS]
    messages = [client.seen for client in clients]
    put(hub, 2, (4000, 2498, "x"))  # below 4998 and 4999 now
    clock.run()
    assert shown(clients)[1:4] == [[4998, 4999, 4000], [0, 1], [5001, 4998, 4999]]
    assert [client.seen - before for client, before in zip(clients, messages, strict=True)] == [0, 1, 0, 0, 0]


def test_who_is_not_touched_is_not_made_again(
    hub: Hub, clock: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(10):
        Client(hub, at(1000 * n))
    clock.run()
    made: list[int] = []
    monkeypatch.setattr(QueryCohort, "touch", lambda self: made.append(self.plan.roots[0].offset))
    put(hub, 2, (6998, 3499, "other cells"))
    assert made == [3000]
    made.clear()
    put(hub, 3, (100, 60, "down by some places"), (200, 110, "and up"))
    assert made == []
    put(hub, 4, (100, 4000, "up past half of the windows"))
    assert made == [2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000]


def test_a_page_alone_is_filtered_and_the_next_one_shares(
    hub: Hub, clock: Counting, sorted_anew: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrangements = hub.sources["items"].arrangements
    few = Client(hub, behind(10, 21))
    clock.run()
    alone = Client(hub, behind(20, 41))
    clock.run()
    assert [each.arrangement.kept for each in arrangements._names] == [20, 40]
    monkeypatch.setattr(arrangements_module, "_ALONE_ROWS_MAX", 30)
    third = Client(hub, behind(30, 61))
    clock.run()
    fourth = Client(hub, behind(40, 81))
    clock.run()
    assert [each.arrangement.kept for each in arrangements._names] == [20, 40, ROWS]
    assert sorted_anew == [ROWS, ROWS, ROWS]
    put(hub, 2, (0, 8, "x"), (1, 18, "x"), (2, 28, "x"), (3, 38, "x"))
    clock.run()
    assert shown([few, alone, third, fourth]) == [[18, 19, 0], [38, 39, 1], [58, 59, 2], [78, 79, 3]]


async def test_queries_use_what_is_there_and_it_stays_for_the_next(
    hub: Hub, clock: Counting, sorted_anew: list[int]
) -> None:
    async def ask(operation: Plan) -> list[int]:
        task = asyncio.ensure_future(hub.query(operation))
        while not task.done():
            clock.run()
            await asyncio.sleep(0)
        return [row[0] for row in json.loads(task.result())["data"]["root"]]

    assert await ask(at(5000)) == [4998, 4999, 4996]
    assert sorted_anew == [ROWS]
    put(hub, 2, (4996, 0, "x"))
    for operation, expected in ((at(5001), [4999, 4997, 4994]), (behind(2499, 4998), [4999, 4997, 4994])):
        assert [row[0] for row in answer(hub, operation)["data"]["root"]] == expected
    assert sorted_anew == [ROWS]
    clock.advance(61)
    assert not hub.sources["items"].arrangements._names
    assert not hub.sources["items"].router._all


def test_it_goes_some_time_after_the_last_and_a_small_one_at_once(hub: Hub, clock: Counting) -> None:
    names = hub.sources["items"].arrangements._names
    first, second = Client(hub, at(0)), Client(hub, at(10))
    small = Client(hub, plan(ITEMS, Mode.BY_PK, Compare(0, "eq", 5)))
    clock.run()
    assert len(names) == 2
    small.subscription.cancel()
    clock.advance(61)  # its cohort lingers
    assert len(names) == 1
    first.subscription.cancel()
    clock.advance(500)
    assert len(names) == 1
    second.subscription.cancel()
    clock.advance(61)
    assert len(names) == 1, "nobody reads it now, but it would be long work to make it again"
    put(hub, 2, (1, 9999, "x"))
    third = Client(hub, at(0))
    clock.run()
    assert shown([third]) == [[1, 9998, 9999]]
    third.subscription.cancel()
    clock.advance(122)
    assert not names


def test_what_nobody_reads_is_bounded(hub: Hub, clock: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrangements_module, "_IDLE_ROWS_MAX", 2 * ROWS)
    arrangements = hub.sources["items"].arrangements
    orders = [(OrderBy(1),), (OrderBy(1, True),), (OrderBy(2),)]
    for order in orders:
        client = Client(hub, plan(ITEMS, Mode.LIST, order=order, limit=1))
        clock.run()
        client.subscription.cancel()
        clock.advance(1)
    clock.advance(60)
    assert [name[1] for name in arrangements._known] == orders[1:]


def test_what_breaks_ends_all_who_read_it_and_the_next_finds_a_new_one(
    hub: Hub, clock: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [Client(hub, at(0)), Client(hub, at(10))]
    other = Client(hub, plan(ITEMS, Mode.LIST, order=(OrderBy(1),), limit=1))
    clock.run()
    broken: Any = clients[0].subscription.cohort.roots[0].arranged.arrangement  # type: ignore[union-attr]

    def bad(changes: Sequence[Change]) -> list[Any]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(broken, "push", bad)
    put(hub, 2, (1, -1, "x"))
    clock.run()
    assert shown([other]) == [[1]]
    again = Client(hub, at(0))
    clock.run()
    assert [client.ended for client in (*clients, other, again)] == [True, True, False, False]
    put(hub, 3, (2, 70_000, "x"))
    clock.run()
    assert shown([again]) == [[2, 9998, 9999]]


def test_what_breaks_while_nobody_reads_it_is_made_anew_for_the_next(
    hub: Hub, clock: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(hub, at(0))
    clock.run()
    idle: Any = client.subscription.cohort.roots[0].arranged.arrangement  # type: ignore[union-attr]
    client.subscription.cancel()
    clock.advance(61)

    def bad(changes: Sequence[Change]) -> list[Any]:
        raise RuntimeError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(idle, "push", bad)
        put(hub, 2, *((n, 70_000 + n, "x") for n in range(2000)))  # so many that it follows in slices
        clock.run()
    again = Client(hub, at(0))
    clock.run()
    assert shown([again]) == [[1999, 1998, 1997]]


def test_a_failed_source_leaves_none_behind(hub: Hub, clock: Counting) -> None:
    client = Client(hub, at(0))
    clock.run()
    client.subscription.cancel()
    clock.advance(61)
    assert hub.sources["items"].arrangements._names
    hub.mark("items", SourceState.FAILED)
    assert not hub.sources["items"].arrangements._names


def test_a_projection_is_cached_while_a_cohort_uses_it(hub: Hub, clock: Counting) -> None:
    fragments = hub.sources["items"].fragments
    answer(hub, plan(ITEMS, Mode.BY_PK, Compare(0, "eq", 5)))
    assert not len(fragments)
    first, second = Client(hub, at(0)), Client(hub, at(10))
    clock.run()
    assert len(fragments) == 1
    first.subscription.cancel()
    clock.advance(61)
    assert len(fragments) == 1
    second.subscription.cancel()
    clock.advance(61)
    assert not len(fragments)


def test_distinct_windows_follow_their_groups_in_slices(hub: Hub, clock: Counting) -> None:
    operation = plan(ITEMS, Mode.LIST, order=(OrderBy(1),), limit=3, offset=2000, distinct_on=(1,))
    client = Client(hub, operation)
    while not client.sink.writes:
        clock.one()
        put(hub, 1 + clock.turns, (4000 + 2 * (clock.turns % 3), 0, "moved"))
    clock.run()
    rows = sorted(hub.sources["items"].store.rows.values(), key=lambda row: (row[1], row[0]))
    firsts = [row for n, row in enumerate(rows) if n == 0 or rows[n - 1][1] != row[1]]
    assert clock.turns > ROWS // 1000
    client.read()
    assert client.shown == [list(row) for row in firsts[2000:2003]]


def test_multiset_rows_are_one_group(clock: Counting) -> None:
    hub = make_hub(clock)
    hub.load("copies", [(None, "a"), (None, "b"), (1, "a"), (1, "a")], Position("life", 0, 1))
    operation = plan(COPIES, Mode.LIST, order=(OrderBy(0, False, True), OrderBy(1, True)), distinct_on=(0,))
    assert answer(hub, operation)["data"]["root"] == [[None, "b"], [1, "a"]]

"""How many connections there are: in all, of an address, of a user; whatever order they come and go in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.auth.test_limiter import World, user
from tycostream.auth.connections import TURNED_AWAY_MAX, Slot
from tycostream.errors import TooMany
from tycostream.observe.events import LimitReached


def refused(slot: Slot) -> TooMany:
    assert slot.refusal is not None
    return slot.refusal


def test_in_all() -> None:
    world = World(connections=2)
    connections = world.limiter.connections
    first, second, third = (connections.enter() for _ in range(3))
    assert (first.refusal, second.refusal) == (None, None)
    error = refused(third)
    assert (error.code, error.message, error.busy) == ("limit-exceeded", "the server has 2 connections", True)
    assert world.events == [LimitReached("connections")]
    assert (connections.open, connections.turned_away) == (2, 1)
    third.leave()
    first.leave()
    first.leave()
    assert connections.enter().refusal is None
    assert connections.enter().refusal is not None


def test_of_an_address_and_of_a_user() -> None:
    world = World(connections_per_ip=1, connections_per_user=1, per_role={"ops": {"connections_per_user": 2}})
    enter = world.limiter.connections.enter
    slots = [enter() for _ in range(5)]
    slots[0].comes_from("10.0.0.1")
    slots[0].comes_from("10.0.0.1")
    slots[1].comes_from("10.0.0.1")
    error = refused(slots[1])
    assert (error.message, error.hint) == (
        "an address may have 1 connections",
        "close some; limits.connections_per_ip is the limit",
    )
    slots[2].comes_from("10.0.0.2")
    slots[0].belongs_to(user("a"))
    slots[2].belongs_to(user("a", "ops"))
    slots[3].belongs_to(user("a"))  # as another role the user is the same
    error = refused(slots[3])
    assert (error.message, error.limit) == ("a user may have 1 connections", "connections_per_user")
    assert world.events == [
        LimitReached("connections_per_ip"),
        LimitReached("connections_per_user", "user"),
    ]
    slots[4].belongs_to(user("b"))
    slots[0].belongs_to(user("c"))  # another token on the same connection
    slots[2].leave()
    last = enter()
    last.belongs_to(user("a"))
    assert last.refusal is None


def test_a_few_are_told_that_they_are_too_many_and_no_more() -> None:
    connections = World(connections=1).limiter.connections
    slots = [connections.enter() for _ in range(TURNED_AWAY_MAX + 1)]
    seen = [connections.crowded]
    slots.append(connections.enter())
    seen.append(connections.crowded)
    slots.pop().leave()
    seen.append(connections.crowded)
    assert seen == [False, True, False]


SLOTS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), SLOTS, st.none()),
        st.tuples(st.just("leave"), SLOTS, st.none()),
        st.tuples(st.just("from"), SLOTS, st.sampled_from(["x", "y"])),
        st.tuples(st.just("of"), SLOTS, st.sampled_from(["a", "b"])),
    ),
    max_size=60,
)


@given(STEPS)
def test_counts_are_those_of_what_is_open(steps: list[Any]) -> None:
    world = World(connections=3, connections_per_ip=2, connections_per_user=2)
    connections = world.limiter.connections
    slots: dict[int, Slot] = {}
    known: dict[int, list[str | None]] = {}  # the address and the user of each that is not refused
    for step, n, name in steps:
        if step == "enter" and n not in slots:
            full = len(known) >= 3
            slots[n] = connections.enter()
            if not full:
                known[n] = [None, None]
            assert (slots[n].refusal is not None) is full
        elif n in slots and step == "leave":
            slots.pop(n).leave()
            known.pop(n, None)
        elif n in slots and name is not None:
            place = 0 if step == "from" else 1
            full = sum(each[place] == name for m, each in known.items() if m != n) >= 2
            if step == "from":
                slots[n].comes_from(name)
            else:
                slots[n].belongs_to(user(name))
            if n in known and full:
                del known[n]
            elif n in known:
                known[n][place] = name
            assert (slots[n].refusal is None) is (n in known)
        assert connections.open == len(known)
        assert connections.turned_away == len(slots) - len(known)
        for place, counts in ((0, connections.addresses), (1, connections.users)):
            assert counts.total == sum(each[place] is not None for each in known.values())
            assert len(counts) == len({each[place] for each in known.values()} - {None})
    for slot in slots.values():
        slot.leave()
    assert len(connections.addresses) == len(connections.users) == 0
    assert connections.open == connections.turned_away == 0


def test_a_slot_that_was_left_counts_nothing_any_more() -> None:
    world = World(connections_per_user=1)
    slot = world.limiter.connections.enter()
    slot.leave()
    slot.comes_from("x")
    slot.belongs_to(user("a"))
    assert len(world.limiter.connections.users) == len(world.limiter.connections.addresses) == 0
    with pytest.raises(KeyError):
        world.limiter.connections.users.remove("nobody")


def test_a_socket_keeps_its_place_when_another_protocol_takes_it_over() -> None:
    connections = World(connections=1).limiter.connections
    slot = connections.enter()
    connections.hand_over("socket", slot)
    assert connections.take("socket") is slot
    assert connections.take("socket") is not slot, "it was taken: this is another"

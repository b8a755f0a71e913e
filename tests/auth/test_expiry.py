"""The end of sessions: at their second, in order, whatever the clock does; and nothing left of those that were called off."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tycostream.auth.expiry import Expiries, Expiry
from tycostream.testing.clock import FakeClock


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.expiries = Expiries(self.clock)
        self.told: list[object] = []

    def at(self, seconds: float, name: object = "x") -> Expiry:
        return self.expiries.at(self.clock.time() + seconds, lambda: self.told.append(name))

    @property
    def timers(self) -> int:
        return sum(timer.callback is not None for _, _, timer in self.clock._timers)


def test_at_its_second_and_not_before() -> None:
    rig = Rig()
    rig.at(100)
    rig.clock.advance(99.999)
    assert rig.told == []
    rig.clock.advance(0.001)
    assert rig.told == ["x"]
    assert len(rig.expiries) == rig.timers == 0


def test_what_is_over_already_is_told_after_it_was_asked_for() -> None:
    rig = Rig()
    rig.at(-5)
    assert rig.told == []
    rig.clock.advance(0)
    assert rig.told == ["x"]


def test_a_clock_that_is_set_forward_costs_a_second_at_most() -> None:
    rig = Rig()
    rig.at(3600)
    rig.clock.ahead_s = 3600
    rig.clock.advance(1)
    assert rig.told == ["x"]


def test_a_clock_that_is_set_back_gives_that_time_again() -> None:
    rig = Rig()
    rig.at(10)
    rig.clock.advance(9)
    rig.clock.ahead_s = -100
    rig.clock.advance(100.5)
    assert rig.told == []
    rig.clock.advance(0.5)
    assert rig.told == ["x"]


def test_far_away_is_no_longer_a_timer_than_near() -> None:
    rig = Rig()
    for seconds in (1e9, 1e12, 1e300, math.inf):
        rig.at(seconds)
    assert rig.timers == 1
    rig.clock.advance(1000)
    assert rig.told == []
    assert rig.timers == 1
    assert len(rig.expiries) == 4


def test_one_timer_however_many_there_are() -> None:
    rig = Rig()
    many = [rig.at(n / 1000 + 0.5, n) for n in range(1000)]
    assert rig.timers == 1
    rig.clock.advance(0.75)
    assert rig.told == list(range(251))
    for each in many:
        each.cancel()
        each.cancel()
    assert len(rig.expiries) == rig.timers == 0
    rig.clock.advance(10)
    assert rig.told == list(range(251))


def test_what_was_called_off_takes_no_room() -> None:
    rig = Rig()
    rig.at(1e6)
    for _ in range(10_000):  # a client that refreshes its token without end
        rig.at(1e5).cancel()
    assert len(rig.expiries) == 1
    assert len(rig.expiries._heap) < 200


def test_one_that_is_told_may_ask_again_and_call_others_off() -> None:
    rig = Rig()

    def again() -> None:
        rig.at(5, "again")

    other = rig.at(5, "called off")
    rig.expiries.at(rig.clock.time() + 5, again)
    rig.at(4, "first")
    rig.expiries.at(rig.clock.time() + 4, other.cancel)
    rig.clock.advance(5)
    assert rig.told == ["first"]
    rig.clock.advance(5)
    assert rig.told == ["first", "again"]
    assert len(rig.expiries) == rig.timers == 0


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["at", "cancel", "advance"])), max_size=60))
def test_as_a_list_of_all_would(steps: list[tuple[float, str]]) -> None:
    rig = Rig()
    due: dict[int, tuple[float, Expiry]] = {}
    for n, (number, step) in enumerate(steps):
        if step == "at":
            due[n] = rig.clock.time() + number, rig.at(number, n)
        elif step == "cancel" and due:
            _, expiry = due.pop(min(due))
            expiry.cancel()
        elif step == "advance":
            rig.clock.advance(number)
            over = sorted((at_s, n) for n, (at_s, _) in due.items() if at_s <= rig.clock.time())
            assert rig.told == [n for _, n in over]
            rig.told.clear()
            for _, n in over:
                del due[n]
        assert len(rig.expiries) == len(due) + len(rig.told)

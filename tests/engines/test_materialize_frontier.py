"""The common frontier against a model: random members, advances, leaves, returns and removals."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tycostream.engines.materialize.frontier import CommonFrontier, Release
from tycostream.rows import Change

NAMES = ["a", "b", "c"]


def change(name: str, timestamp: int) -> list[Change]:
    return [Change(None, None, (name, timestamp))]


class Group(RuleBasedStateMachine):
    """Every source has a snapshot at some timestamp, then changes; the group's releases are watched."""

    def __init__(self) -> None:
        super().__init__()
        self.group = CommonFrontier()
        self.frontier: dict[str, int] = {}  # what each source has told; -1: its snapshot is still to come
        self.given: dict[str, int] = {}  # what was released of it
        self.due: dict[str, list[int]] = {}  # its timestamps with changes that were not released
        self.left: set[str] = set()  # told to leave, and not caught up since
        self.held: dict[str, int] = {}  # whose snapshot is complete, and was not told to be
        self.late: set[str] = set()  # came after something was released, and has not caught up
        self.highest = -1  # of what the group has released

    def names(self) -> list[str]:
        return sorted(self.frontier)

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        for name in NAMES[:count]:
            self.join(name, -1)

    def join(self, name: str, timestamp: int) -> None:
        self.group.join(name, timestamp)
        self.frontier[name] = self.given[name] = timestamp
        self.due[name] = []
        self.held.pop(name, None)
        self.left.discard(name)
        self.late.discard(name)
        if timestamp < self.highest:
            self.late.add(name)

    @rule(name=st.sampled_from(NAMES), ahead=st.integers(-3, 3), resumed=st.booleans())
    def rejoin(self, name: str, ahead: int, resumed: bool) -> None:
        self.join(name, max(0, self.highest + ahead) if resumed else -1)
        self.take()

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        self.group.remove(name)
        for known in (self.frontier, self.given, self.due, self.held):
            known.pop(name, None)
        self.left.discard(name)
        self.late.discard(name)
        self.take()

    @precondition(lambda self: any(f == -1 for f in self.frontier.values()))
    @rule(data=st.data(), ahead=st.integers(0, 4))
    def snapshot_ends(self, data: st.DataObject, ahead: int) -> None:
        name = data.draw(st.sampled_from([n for n in self.names() if self.frontier[n] == -1]))
        timestamp = max(0, self.highest + ahead - 2)
        self.group.start(name, timestamp)
        self.frontier[name] = self.held[name] = timestamp
        self.take()

    @precondition(lambda self: any(f >= 0 for f in self.frontier.values()))
    @rule(data=st.data(), steps=st.lists(st.integers(1, 3), max_size=3), more=st.integers(0, 2))
    def moves(self, data: st.DataObject, steps: list[int], more: int) -> None:
        name = data.draw(st.sampled_from([n for n in self.names() if self.frontier[n] >= 0]))
        timestamp = self.frontier[name]
        for step in steps:
            timestamp += step
            self.group.closed(name, timestamp, change(name, timestamp))
            self.due[name].append(timestamp)
        timestamp += more
        self.group.advance(name, timestamp)
        self.frontier[name] = timestamp
        self.take()

    @precondition(lambda self: bool(self.group.laggards()))
    @rule(data=st.data())
    def lets_go(self, data: st.DataObject) -> None:
        laggards = self.group.laggards()
        assert set(laggards) < set(self.frontier), "somebody waits for them"
        name = data.draw(st.sampled_from(laggards))
        self.group.leave(name)
        self.left.add(name)
        self.take()

    def waited_for(self) -> list[str]:
        return [name for name in self.frontier if name not in self.left | self.late]

    def take(self) -> None:
        members = self.waited_for()
        common = min((self.frontier[name] for name in members), default=None)
        for release in self.group.release():
            self.released(release, common)
        if common is not None:
            self.highest = max(self.highest, common)
        for name in [*self.left, *self.late]:
            if self.frontier[name] >= max(self.highest, 0):
                self.left.discard(name)
                self.late.discard(name)
        if not members and (back := self.waited_for()):
            self.highest = max(self.highest, min(self.frontier[name] for name in back))

    def released(self, release: Release, common: int | None) -> None:
        if common is not None:
            assert release.timestamp <= max(common, self.highest), "nobody is ahead of the group"
        for name in release.started:
            assert self.held.pop(name) == release.timestamp, "the snapshot of that timestamp"
            self.given[name] = release.timestamp
        for name in release.sources:
            assert name not in self.held, "nothing is told of it before its snapshot"
        for name, changes in release.changes.items():
            assert changes == change(name, release.timestamp), "the change of that timestamp"
            assert self.due[name][0] == release.timestamp, "in order, each once"
            self.due[name].pop(0)
            assert release.timestamp > self.given[name]
            self.given[name] = release.timestamp
        if release.changes:
            together = [n for n in self.waited_for() if self.due[n][:1] == [release.timestamp]]
            whole = set(release.changes) & set(self.waited_for())
            assert not (whole and together), "members' changes of one timestamp are one release"
            return
        for name in release.sources:
            assert release.timestamp >= self.given[name], "forwards only"
            assert release.timestamp <= self.frontier[name], "progress never hides a silent source"
            assert not [t for t in self.due[name] if t <= release.timestamp], "after what it tells of"
            self.given[name] = release.timestamp

    @invariant()
    def what_all_have_told_is_given(self) -> None:
        members = self.waited_for()
        if not members:
            return
        common = min(self.frontier[name] for name in members)
        if common < 0:
            assert all(self.given[name] <= self.frontier[name] for name in members)
            return
        for name in members:
            assert self.held.get(name, common + 1) > common, "nor is a snapshot kept back"
            assert not [t for t in self.due[name] if t <= common], "what is due was given"
            assert name in self.held or self.given[name] >= min(common, self.frontier[name]), (
                "and said to be all"
            )


TestGroup = Group.TestCase
TestGroup.settings = settings(max_examples=60, stateful_step_count=25)


def gives(group: CommonFrontier) -> list[tuple[int, list[str], list[str]]]:
    """Timestamps with what changed and what got so far, or with "started" and the snapshots."""
    return [
        (r.timestamp, ["started"], sorted(r.started))
        if r.started
        else (r.timestamp, sorted(r.changes), sorted(r.sources))
        for r in group.release()
    ]


def test_members_whose_snapshot_is_to_come_hold_the_group() -> None:
    group = CommonFrontier()
    group.join("a")
    group.join("b")
    group.start("a", 10)
    group.closed("a", 11, change("a", 11))
    group.advance("a", 12)
    assert gives(group) == []
    assert group.laggards() == ["b"]
    group.start("b", 10)
    assert gives(group) == [(10, ["started"], ["a", "b"])]
    group.closed("b", 11, change("b", 11))
    group.advance("b", 11)
    assert gives(group) == [(11, ["a", "b"], ["a", "b"])], "what it changed tells how far it is"


def test_a_laggard_leaves_comes_after_and_is_a_member_again() -> None:
    group = CommonFrontier()
    for name in ("a", "b"):
        group.join(name)
        group.start(name, 10)
    assert gives(group) == [(10, ["started"], ["a", "b"])]
    group.closed("a", 15, change("a", 15))
    group.advance("a", 20)
    assert gives(group) == []
    group.leave("b")
    assert gives(group) == [(15, ["a"], ["a"]), (20, [], ["a"])]
    group.closed("b", 12, change("b", 12))
    group.advance("b", 14)
    assert gives(group) == [(12, ["b"], ["b"]), (14, [], ["b"])]
    group.closed("b", 25, change("b", 25))
    group.advance("b", 30)
    assert gives(group) == [(20, [], ["b"])], "what is beyond the group waits: it is a member again"
    group.closed("a", 25, change("a", 25))
    group.advance("a", 30)
    assert gives(group) == [(25, ["a", "b"], ["a", "b"]), (30, [], ["a", "b"])]


def test_a_snapshot_ahead_of_the_group_waits_for_it() -> None:
    group = CommonFrontier()
    group.join("a")
    group.start("a", 10)
    group.advance("a", 50)
    assert gives(group) == [(10, ["started"], ["a"]), (50, [], ["a"])]
    group.join("b")
    assert group.starting("b")
    group.start("b", 60)
    group.closed("a", 55, change("a", 55))
    group.advance("a", 55)
    assert gives(group) == [(55, ["a"], ["a"])], "b's snapshot is of 60 already"
    group.closed("a", 60, change("a", 60))
    group.closed("a", 65, change("a", 65))
    group.closed("b", 65, change("b", 65))
    group.advance("a", 70)
    group.advance("b", 71)
    assert gives(group) == [
        (60, ["a"], ["a"]),
        (60, ["started"], ["b"]),
        (65, ["a", "b"], ["a", "b"]),
        (70, [], ["a", "b"]),
    ]


def test_one_that_left_before_its_snapshot_came_holds_nobody() -> None:
    group = CommonFrontier()
    group.join("a")
    group.join("b")
    group.start("a", 10)
    assert gives(group) == []
    assert group.laggards() == ["b"]
    group.leave("b")
    assert gives(group) == [(10, ["started"], ["a"])]
    group.advance("a", 20)
    assert gives(group) == [(20, [], ["a"])]
    group.start("b", 10)
    group.closed("b", 15, change("b", 15))
    group.advance("b", 20)
    assert gives(group) == [(10, ["started"], ["b"]), (15, ["b"], ["b"]), (20, [], ["b"])]
    group.advance("a", 30)
    assert gives(group) == [], "a member again"


def test_nobody_waits_for_what_is_finished() -> None:
    group = CommonFrontier()
    for name in ("a", "b"):
        group.join(name)
        group.start(name, 10)
    assert [group.begun] == [False]
    assert gives(group) == [(10, ["started"], ["a", "b"])]
    group.closed("b", 12, change("b", 12))
    group.advance("b", 12)
    group.finish("b")
    assert gives(group) == []
    assert group.laggards() == []
    assert group.ended() == [], "not before all of it was released"
    group.advance("a", 20)
    assert gives(group) == [(20, [], ["a"]), (12, ["b"], ["b"])]
    assert [group.begun] == [True]
    assert group.ended() == [("b", 12)]
    assert group.ended() == [], "once"
    group.advance("a", 30)
    assert gives(group) == [(30, [], ["a"])]


def test_too_many_bytes_that_wait_are_told() -> None:
    group = CommonFrontier()

    def waits(*timestamps: int) -> bool:
        for timestamp in timestamps:
            group.closed("a", timestamp, change("a", timestamp), 150 * 2**20)
        return group.overfull

    for name in ("a", "b"):
        group.join(name)
        group.start(name, 1)
    assert not waits(2)
    assert waits(3)
    group.advance("a", 3)
    group.leave("b")
    assert [release.timestamp for release in group.release()] == [1, 2, 3, 1]
    assert not waits(4)
    assert waits(5)
    group.remove("a")
    assert not waits(), "what goes with its source waits no more"

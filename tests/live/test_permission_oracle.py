"""What a role may see, against a world in which nothing else exists.

Two hubs: one with all rows, asked by a role with random permissions, its own or inherited; one that holds only the rows
that these permissions show (found by brute force, with three-valued logic of its own), without the cells that they hide,
asked by a role without conditions. Whatever is asked of both, over whatever history, both must say the same: so nothing
that is sent depends on anything hidden. And where nothing happened in the second world, nothing is sent in the first.
Where the key is hidden, the second world's rows have none.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.live.live_harness import Client, answer
from tycostream.auth.session import Session
from tycostream.config.model import LiveConfig, SourceConfig
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import Plan
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import CohortQuarantined, Event
from tycostream.rows import Batch, Change, Column, Position, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.clock import FakeClock


def _table(source: str, **columns: str) -> RowType:
    made = [Column(name, SCALARS[kind], nullable=name != "id") for name, kind in columns.items()]
    return RowType(source, tuple(made), key=(0,))


TYPES = {
    "desks": _table("desks", id="int4", owner="int4", name="text", secret="text"),
    "trades": _table("trades", id="int4", desk="int4", n="int4", note="text", hidden="text"),
}
LINKS: dict[str, dict[str, Any]] = {
    "desks": {"trades": {"array": "trades", "on": {"id": "desk"}}},
    "trades": {"of": {"object": "desks", "on": {"desk": "id"}, "required": True}},
}
JOINED = {"desks": ("id",), "trades": ("id", "desk")}  # cells that both worlds need, seen or not
ASKED = [
    "desks {id name trades {id note of {name}}}",
    "desks(order_by: {name: desc}) {name trades(order_by: {n: desc}, limit: 2) {id n}}",
    "desks(where: {trades: {n: {_gt: 2}}}) {id name}",
    "trades {note n of {secret}}",
    "trades(where: {_not: {note: {_gt: \"4\"}}}, order_by: [{note: desc}, {hidden: asc}]) {note hidden}",
    "trades(where: {note: {_is_null: true}}) {n}",
    "trades(order_by: {note: asc}, limit: 3) {note}",
    "desks(order_by: {name: asc}, where: {secret: {_nin: [\"1\", \"2\"]}}) {name trades(order_by: {note: asc}) {note n}}",
    "trades_aggregate(order_by: {n: asc}, limit: 4) {aggregate {count(columns: [note, n]) max {note} avg {n}}}",
    "desks {name trades_aggregate(where: {n: {_gt: 0}}) {aggregate {count(columns: note, distinct: true) sum {n}}}}",
    "desks(where: {_not: {trades: {note: {_is_null: false}}}}) {name}",
    "desks(where: {trades_aggregate: {count: {predicate: {_gte: 2}}}}) {name}",
    "desks(order_by: [{trades_aggregate: {count: desc}}, {name: asc}]) {name}",
    "desks(order_by: {trades_aggregate: {max: {note: asc}}}) {name trades_aggregate {aggregate {count max {note}}}}",
    "trades(order_by: {of: {name: asc}}) {id note of {id name}}",
    "trades(where: {of: {name: {_gt: \"5\"}}}) {id note hidden}",
    "trades(distinct_on: desk, order_by: [{desk: asc}, {n: desc}]) {desk note}",
    "trades(limit: 3, offset: 1, order_by: {n: asc}) {n of {name secret}}",
    "trades_by_pk(id: 2) {id note of {name}}",
    "desks_by_pk(id: 1) {name secret trades {note}}",
    "trades_aggregate {aggregate {count max {note n} sum {n}} nodes {note}}",
    "trades_aggregate(where: {of: {owner: {_eq: 1}}}) {aggregate {count}}",
    "desks_aggregate {aggregate {count min {name secret}} nodes {name trades_aggregate {nodes {note}}}}",
]  # fmt: skip
STREAMS = [
    "trades_stream(batch_size: 2, cursor: {initial_value: {n: 0}}) {n note}",
    "trades_stream(batch_size: 10, cursor: {initial_value: {note: null}, ordering: DESC}) {note n of {name}}",
    'desks_stream(batch_size: 2, cursor: {initial_value: {name: "3"}}, where: {trades: {}}) {name secret}',
]
FEEDS = [
    "trades_changes {phase cursor complete resync changes {operation changed row {id note} old {id note}}}",
    "trades_changes {phase cursor complete resync changes {operation changed row {id} old {id}}}",
    "trades_changes {phase cursor complete resync changes {operation changed row {note n} old {note n}}}",
    "trades_changes(where: {note: {_gt: \"4\"}}) {phase complete changes {operation row {note}}}",
    "desks_changes {phase cursor complete resync changes {operation changed row {name} old {name}}}",
    "desks_changes(where: {trades: {n: {_gt: 1}}}) {phase cursor complete resync changes {operation row {id} old {id}}}",
]  # fmt: skip
CONDITIONS: dict[str, list[dict[str, Any]]] = {
    "desks": [
        {},
        {"owner": {"_eq": "X-Hasura-User-Id"}},
        {"id": {"_in": "x-hasura-desks"}},
        {"_not": {"owner": {"_eq": "X-Hasura-User-Id"}}},
        {"trades": {"n": {"_gt": 2}}},
        {"_or": [{"owner": {"_is_null": True}}, {"trades": {"hidden": {"_gt": "5"}}}]},
        {"_not": {"trades": {"of": {"secret": {"_gt": "5"}}}}},
    ],
    "trades": [
        {},
        {"of": {"owner": {"_eq": "X-Hasura-User-Id"}}},
        {"desk": {"_in": "X-Hasura-Desks"}, "n": {"_gt": 0}},
        {"hidden": {"_gt": "5"}},
        {"_not": {"of": {"secret": {"_gt": "5"}}}},
        {"_or": [{"n": {"_gt": 3}}, {"of": {"trades": {"n": {"_eq": 4}}}}]},
    ],
}
SESSION = Session("user", {"user-id": "1", "desks": "{1,2}"})
VARIABLES: dict[str, Any] = {"x-hasura-user-id": 1, "x-hasura-desks": [1, 2]}


class Brute:
    """Conditions of permissions by three-valued logic over rows as mappings."""

    def __init__(self, tables: dict[str, dict[int, Row]]) -> None:
        self._tables = tables

    def rows(self, source: str) -> list[dict[str, Any]]:
        names = [column.name for column in TYPES[source].columns]
        return [dict(zip(names, row, strict=True)) for row in self._tables[source].values()]

    def holds(self, source: str, where: dict[str, Any], row: dict[str, Any]) -> bool | None:
        return _all([self._part(source, name, inner, row) for name, inner in where.items()])

    def _part(self, source: str, name: str, inner: Any, row: dict[str, Any]) -> bool | None:
        if name == "_not":
            found = self.holds(source, inner, row)
            return None if found is None else not found
        if name == "_or":
            any_of = [self.holds(source, each, row) for each in inner]
            return True if True in any_of else None if None in any_of else False
        if name in LINKS[source]:
            link = LINKS[source][name]
            ((ours, theirs),) = link["on"].items()
            target = link.get("array") or link["object"]
            return any(
                self.holds(target, inner, each) is True
                for each in self.rows(target)
                if row[ours] is not None and each[theirs] == row[ours]
            )
        return _all([_compared(operator, row[name], value) for operator, value in inner.items()])


def _all(parts: list[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def _compared(operator: str, cell: Any, value: Any) -> bool | None:
    if isinstance(value, str):
        value = VARIABLES.get(value.lower(), value)
    if operator == "_is_null":
        return (cell is None) is value
    if cell is None:
        return None
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "_eq": lambda a, b: a == b,
        "_gt": lambda a, b: a > b,
        "_in": lambda a, b: a in b,
    }
    return compare[operator](cell, value)


def _failing(event: Event) -> None:
    assert not isinstance(event, CohortQuarantined), event


Granted = dict[
    str, list[dict[str, Any]]
]  # by source: what the role's own permission says, or those that it inherits


def _planner(granted: Granted, types: dict[str, RowType]) -> Planner:
    """Of the role ``user``, who has its own permission, or inherits that of others."""
    sources = {
        name: SourceConfig.model_validate(
            {"name": name, "relationships": LINKS[name]}
            | {"permissions": {f"role {n}": each for n, each in enumerate(granted.get(name, ()))}}
        )
        for name in types
    }
    inherited = {"user": ("role 0", "others"), "others": ("role 1", "role 2")}
    planner = Planner(list(types.values()), sources=sources, role="user", inherited=inherited)
    assert not planner.misfits
    return planner


class Side:
    """One of the two worlds."""

    def __init__(
        self, granted: Granted, types: dict[str, RowType], tables: dict[str, dict[int, Row]]
    ) -> None:
        self.planner = _planner(granted, types)
        self.clock = FakeClock()
        self.hub = Hub(self.clock, _failing, CursorBox(["test"]), outbox_bytes_max=1 << 20)
        self.offset = 1
        for name, row_type in types.items():
            self.hub.add_source(row_type, LiveConfig())
            self.hub.load(name, list(tables[name].values()), Position("life", 0, 1))
        self.clients: dict[str, Client] = {}
        self.sent: dict[str, int] = {}

    def plan(self, text: str) -> Plan | list[dict[str, object]]:
        try:
            return self.planner.plan(text, None, None, SESSION)
        except InvalidRequest as invalid:
            return [error.to_graphql() for error in invalid.errors]

    def permit(self, granted: Granted, types: dict[str, RowType]) -> None:
        """Have every client go on by other permissions."""
        self.planner = _planner(granted, types)
        for text, client in list(self.clients.items()):
            plan = self.plan(f"subscription {{root: {text}}}")
            if isinstance(plan, Plan):
                self.hub.move(client.subscription, plan)
            else:
                client.subscription.cancel()
                del self.clients[text]

    def apply(self, changes: dict[str, list[Change]]) -> None:
        self.offset += 1
        self.hub.apply(Batch(Position("life", 0, self.offset), changes))

    def settle(self) -> None:
        for _ in range(4):
            self.clock.advance(1)

    def news(self) -> dict[str, list[Any]]:
        """What each client was sent since the last time, without cursors."""
        found = {}
        for text, client in self.clients.items():
            messages = client.sink.messages()
            fresh = messages[self.sent.get(text, 0) :]
            self.sent[text] = len(messages)
            told = [_comparable(message) for message in fresh]
            if "_stream" in text:  # where rows have no key, those of one value come in any order
                rows = [row for batch in told for row in batch]
                told = sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
            found[text] = told
        return found


def _comparable(message: Any) -> Any:
    assert "error" not in message, message
    (value,) = message["next"]["data"].values()
    if isinstance(value, dict) and "changes" in value:
        changes = sorted(value["changes"], key=lambda change: json.dumps(change, sort_keys=True))
        return value | {"cursor": value.get("cursor") is not None, "changes": changes}
    return value


class World:
    """Tables, and the two sides that follow them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tables: dict[str, dict[int, Row]] = {"desks": {}, "trades": {}}
        for _ in range(8):
            self._change(self.random.choice(list(TYPES)))
        self.keyless = self.random.random() < 0.3
        self.shown = list(TYPES) if self.random.random() < 0.85 else ["trades"]
        self.granted = {name: self._permissions(name) for name in self.shown}
        self.types = dict(TYPES)
        if self.keyless:
            first, *rest = TYPES["trades"].columns
            self.types["trades"] = RowType("trades", (replace(first, nullable=True), *rest))
        self.left = Side(self.granted, TYPES, self.tables)
        self.seen = self._seen()
        plain = {name: [self._together(name)] for name in self.granted}
        self.right = Side(plain, self.types, self.seen)

    def _permissions(self, name: str) -> list[dict[str, Any]]:
        """One, or several; all or none of them show what joins need, for that is in the second world as it is."""
        columns = [column.name for column in TYPES[name].columns]
        always = [each for each in JOINED[name] if (name, each) != ("trades", "id") or not self.keyless]
        rest = [each for each in columns if each not in JOINED[name]]
        return [self._permission(name, always, rest) for _ in range(self.random.choice((1, 2, 2, 3)))]

    def _together(self, name: str) -> dict[str, Any]:
        """What the role sees, without conditions, in the second world."""
        each, limits = self.granted[name], [one["limit"] for one in self.granted[name] if "limit" in one]
        found: dict[str, Any] = {
            "columns": sorted({column for one in each for column in one["columns"]}),
            "aggregate": any(one["aggregate"] for one in each),
        }
        return found | ({"limit": max(limits)} if limits else {})

    def _permission(self, name: str, always: list[str], rest: list[str]) -> dict[str, Any]:
        visible = [*always, *(each for each in rest if self.random.random() < 0.7)]
        found: dict[str, Any] = {
            "columns": visible,
            "where": self.random.choice(CONDITIONS[name]),
            "aggregate": self.random.random() < 0.7,
        }
        if self.random.random() < 0.3:
            found["limit"] = self.random.randint(1, 3)
        return found

    def _seen(self) -> dict[str, dict[int, Row]]:
        """The rows in sight, without hidden cells but for those that joins need."""
        brute, found = Brute(self.tables), {}
        for name, row_type in TYPES.items():
            rows: dict[int, Row] = {}
            for row in brute.rows(name):
                seen = [
                    each
                    for each in self.granted.get(name, ())
                    if brute.holds(name, each["where"], row) is True
                ]
                kept = {*JOINED[name]}.union(*(each["columns"] for each in seen))
                if name == "trades" and self.keyless:
                    kept.discard("id")
                if seen:
                    rows[row["id"]] = tuple(
                        row[column.name] if column.name in kept else None for column in row_type.columns
                    )
            found[name] = rows
        return found

    def _change(self, name: str) -> Change:
        key, draw = self.random.randint(0, 5), self.random.randint
        old, row = self.tables[name].get(key), cast(Row, ())
        free = {0, 1, 2, 3, 4, 5, 6} - self.tables[name].keys()
        if old is not None and name == "trades" and draw(0, 5) == 0:  # another key, all else as it was
            del self.tables[name][key]
            row = (min(free), *old[1:])
            self.tables[name][row[0]] = row
            return Change(key, None, row)
        if old is not None and draw(0, 3) == 0:
            del self.tables[name][key]
            return Change(key, None, None)
        texts = [str(draw(0, 9)) for _ in range(2)]
        maybe = [None if draw(0, 5) == 0 else draw(0, 5) for _ in range(2)]
        row = (key, maybe[0], *texts) if name == "desks" else (key, *maybe, *texts)
        if old is not None and draw(0, 1):  # one cell only: often one that is hidden
            place = draw(1, len(row) - 1)
            row = (*old[:place], row[place], *old[place + 1 :])
        self.tables[name][key] = row
        return Change(key, None, row)

    def transaction(self) -> bool:
        """Gives whether anything in sight has changed."""
        changes: dict[str, list[Change]] = {}
        for _ in range(self.random.randint(1, 3)):
            name = self.random.choice(list(TYPES))
            changes.setdefault(name, []).append(self._change(name))
        before, self.seen = self.seen, self._seen()
        self.left.apply(changes)
        net = {name: self._net(name, before[name], self.seen[name]) for name in TYPES}
        net = {name: each for name, each in net.items() if each}
        if net:
            self.right.apply(net)
        return bool(net)

    def _net(self, name: str, before: dict[int, Row], after: dict[int, Row]) -> list[Change]:
        """What has happened in the second world."""
        if self.types[name].keyed:
            return [
                Change(key, None, after.get(key))
                for key in {*before, *after}
                if before.get(key) != after.get(key)
            ]
        gone, come = Counter(before.values()), Counter(after.values())
        return [
            *(Change(None, row, None) for row in (gone - come).elements()),
            *(Change(None, None, row) for row in (come - gone).elements()),
        ]

    def permit(self) -> None:
        """Other permissions; what is not permitted any more ends on both sides."""
        self.granted = {name: self._permissions(name) for name in self.shown}
        before, self.seen = self.seen, self._seen()
        net = {name: each for name in TYPES if (each := self._net(name, before[name], self.seen[name]))}
        if net:
            self.right.apply(net)
        self.left.permit(self.granted, TYPES)
        self.right.permit({name: [self._together(name)] for name in self.granted}, self.types)
        assert self.left.clients.keys() == self.right.clients.keys()

    def subscribe(self, text: str) -> None:
        plans = [side.plan(f"subscription {{root: {text}}}") for side in (self.left, self.right)]
        for side, plan in zip((self.left, self.right), plans, strict=True):
            if isinstance(plan, Plan) and text not in side.clients:
                side.clients[text] = Client(side.hub, plan)

    def compare(self) -> dict[str, list[Any]]:
        self.left.settle()
        self.right.settle()
        told = self.left.news()
        assert told == self.right.news()
        for text in ASKED:
            plans = [side.plan(f"{{root: {text}}}") for side in (self.left, self.right)]
            if isinstance(plans[0], Plan) and isinstance(plans[1], Plan):
                assert answer(self.left.hub, plans[0]) == answer(self.right.hub, plans[1]), text
            else:
                assert plans[0] == plans[1]
        return told


@pytest.mark.parametrize("seed", range(24))
def test_what_is_sent_depends_on_nothing_hidden(seed: int) -> None:
    world = World(seed)
    for text in (*world.random.sample(ASKED, 8), *FEEDS, *STREAMS):
        world.subscribe(text)
    world.compare()
    for _ in range(6):
        moved = world.transaction()
        told = world.compare()
        assert moved or not any(told.values()), "hidden changes cause no message"


def _state(text: str, messages: list[Any]) -> Any:
    """What a client has, of all that it was sent."""
    values = [next(iter(message["next"]["data"].values())) for message in messages]
    if "_changes" not in text:
        return values[-1]
    rows: Counter[str] = Counter()
    coming: Counter[str] | None = Counter()
    for value in values:
        if value["phase"] == "reset":
            coming = Counter()
        for change in value["changes"]:
            into = coming if value["phase"] == "snapshot" and coming is not None else rows
            into.update([json.dumps(change["row"])] if change["row"] else [])
            into.subtract([json.dumps(change["old"])] if change.get("old") else [])
        if value["phase"] == "ready" and coming is not None:
            rows, coming = coming, None
    assert not any(count < 0 for count in rows.values()), "nothing is taken away that was not given"
    return +rows


RELOADED = [text.replace("row {note}}", "row {note} old {note}}") for text in FEEDS]


@pytest.mark.parametrize("seed", range(24))
def test_other_permissions_tell_the_difference(seed: int) -> None:
    world = World(1000 + seed)
    for text in (*world.random.sample(ASKED, 8), *RELOADED, *STREAMS):
        world.subscribe(text)
    world.compare()
    for _ in range(6):
        world.transaction()
        world.compare()
        told = {text: len(client.sink.messages()) for text, client in world.left.clients.items()}
        world.permit()
        for side in (world.left, world.right):
            side.settle()
        streams = [
            {text: new for text, new in side.news().items() if "_stream" in text}
            for side in (world.left, world.right)
        ]
        assert streams[0] == streams[1]
        for text, client in world.left.clients.items():
            messages = client.sink.messages()
            fresh = Client(world.left.hub, world.left.plan(f"subscription {{root: {text}}}"))  # type: ignore[arg-type]
            for side in (world.left, world.right):  # their clocks go together: so do the heartbeats
                side.settle()
            if "_stream" not in text:
                assert _state(text, messages) == _state(text, fresh.sink.messages()), text
            if "_changes" in text:
                later: list[Any] = messages[told[text] :]
                phases = [message["next"]["data"]["root"]["phase"] for message in later]
                assert set(phases) <= {"live"}, "a difference, and no new snapshot"
            fresh.subscription.cancel()
        world.compare()


def test_most_of_what_is_asked_is_answered() -> None:
    answered = 0
    for seed in range(24):
        world = World(seed)
        answered += sum(isinstance(world.left.plan(f"{{root: {text}}}"), Plan) for text in ASKED)
    assert answered > 100

"""What permissions cost a fan-out: CPU per delivered change, by ratios of one run. JSON, never a test.

    python bench/entitlements.py [--users 10000] [--desks 100] [--changes 2000] [--rounds 5]

In one process, without sockets or a database. ``users`` users, each with a session of his own, of ``desks`` different
entitlements (``where: {desk: {_eq: X-Hasura-Desk}}``), follow the changes of one table; each change concerns one desk.
``plain`` is the same fan-out without a predicate: a table for each desk, and as many clients of admin, each of whom sees
all of one. ``filtered`` asks for a desk by ``where``, as admin. ``inherited`` is a role of two, of which the second sees one more column in its rows: a masked cell. ``related``
sees the rows of desks that it owns, through a relationship. ``plan_us`` is what it takes to plan one user's subscription.

Rounds take turns, and a ratio is the median of those of each round.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from decimal import Decimal
from statistics import median
from typing import Any

from run import FRAMING, Nothing

from tycostream.auth.session import Session
from tycostream.config.model import LiveConfig, SourceConfig
from tycostream.graphql.execute import Planner
from tycostream.live.cursor import CursorBox
from tycostream.live.hub import Hub
from tycostream.observe.events import silent
from tycostream.rows import Batch, Change, Column, Position, Row, RowType
from tycostream.scalars import SCALARS
from tycostream.testing.clock import FakeClock

ROW = "operation row { id desk symbol price qty note }"
QUERY = f"subscription {{ trades_changes(snapshot: false) {{ phase cursor changes {{ {ROW} }} }} }}"
SEEN = ["id", "desk", "symbol", "price", "qty"]
MINE = {"desk": {"_eq": "X-Hasura-Desk"}}
ROLES: dict[str, dict[str, Any]] = {
    "trader": {"columns": [*SEEN, "note"], "where": MINE},
    "part": {"columns": SEEN, "where": MINE},
    "noted": {"columns": [*SEEN, "note"], "where": {"symbol": {"_eq": "S1"}} | MINE},
    "owner": {"columns": [*SEEN, "note"], "where": {"of": {"owner": {"_eq": "X-Hasura-Owner"}}}},
}
KINDS = {"filtered": "admin", "trader": "trader", "inherited": "both", "related": "owner"}


def table(source: str, **columns: str) -> RowType:
    """A source whose key is ``id``."""
    made = [Column(name, SCALARS[kind], nullable=name != "id") for name, kind in columns.items()]
    return RowType(source, tuple(made), key=(0,))


TRADES = table("trades", id="int8", desk="int4", symbol="text", price="numeric", qty="int4", note="text")
DESKS = table("desks", id="int4", owner="int4")
SOURCES = {
    "trades": SourceConfig.model_validate(
        {
            "name": "trades",
            "permissions": ROLES,
            "relationships": {"of": {"object": "desks", "on": {"desk": "id"}}},
        }
    ),
    "desks": SourceConfig.model_validate({"name": "desks"}),
}


def planner(role: str) -> Planner:
    """Of one role."""
    return Planner((TRADES, DESKS), sources=SOURCES, role=role, inherited={"both": ("part", "noted")})


def table_of(desk: int) -> str:
    """Where each desk has a table of its own."""
    return f"trades_{desk}"


class World:
    """A hub with its clients. ``apart``: each desk has a table of its own."""

    def __init__(self, desks: int, rows: int, *, apart: bool = False) -> None:
        self.apart = apart
        self.clock = FakeClock()
        self.hub = Hub(self.clock, silent, CursorBox(), outbox_bytes_max=1 << 24)
        for row_type in (TRADES, DESKS):
            self.hub.add_source(row_type, LiveConfig())
        self.rows: list[Row] = [
            (n, n % desks, f"S{n % 7}", Decimal("101.25"), n % 900, "a note") for n in range(rows)
        ]
        for n in range(desks) if apart else ():
            self.hub.add_source(RowType(table_of(n), TRADES.columns, key=(0,)), LiveConfig())
            self.hub.load(table_of(n), self.rows[n::desks], Position("bench", 0, 0))
        self.hub.load("trades", [] if apart else self.rows, Position("bench", 0, 0))
        self.hub.load("desks", [(n, n) for n in range(desks)], Position("bench", 0, 0))
        self.offset = 0
        self.chance = random.Random(1)

    def follow(self, made: Planner, session: Session, query: str = QUERY) -> float:
        """One more client; gives the seconds of CPU that its plan took."""
        started = time.process_time()
        plan = made.plan(query, None, {}, session)
        spent = time.process_time() - started
        self.hub.subscribe(plan, self.hub.outbox(FRAMING, Nothing()), b"1", lambda: None)
        return spent

    def run(self, changes: int) -> float:
        """Microseconds of CPU a change, everything included until the frames are written."""
        started = time.process_time()
        for _ in range(changes):
            self.offset += 1
            key = self.chance.randrange(len(self.rows))
            row = (*self.rows[key][:4], self.offset % 901, "a note")
            name = table_of(row[1]) if self.apart else "trades"
            batch = Batch(Position("bench", 0, self.offset), {name: [Change(key, None, row)]})
            self.hub.apply(batch)
            self.clock.run()
        return 1e6 * (time.process_time() - started) / changes


def peopled(kind: str, users: int, desks: int) -> tuple[World, float]:
    """A world of users of a kind, and the median of what their plans took."""
    apart = kind == "plain"
    world, role = World(desks, 20_000, apart=apart), KINDS.get(kind, "admin")
    made = planner(role)
    if apart:
        made = Planner([RowType(table_of(n), TRADES.columns, key=(0,)) for n in range(desks)])
    spent = []
    for n in range(users):
        variables = {"desk": str(n % desks), "owner": str(n % desks), "user-id": str(n)}
        query = QUERY.replace("trades_changes", f"{table_of(n % desks)}_changes") if apart else QUERY
        if kind == "filtered":
            query = query.replace("(", f"(where: {{desk: {{_eq: {n % desks}}}}}, ")
        spent.append(world.follow(made, Session(role, variables), query))
    world.clock.advance(1)
    world.run(200)
    return world, 1e6 * median(spent)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--desks", type=int, default=100)
    parser.add_argument("--changes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    plain, _ = peopled("plain", given.users, given.desks)
    worlds = {kind: peopled(kind, given.users, given.desks) for kind in KINDS}
    gc.collect()
    gc.freeze()
    spent: dict[str, list[float]] = {name: [] for name in ("plain", *worlds)}
    for _ in range(given.rounds):
        spent["plain"].append(plain.run(given.changes))
        for name, (world, _) in worlds.items():
            spent[name].append(world.run(given.changes))
    result: dict[str, Any] = {
        "users": given.users,
        "entitlements": given.desks,
        "plain": {"cohorts": len(plain.hub._cohorts.known), "change_us": round(median(spent["plain"]), 1)},
    }
    for name, (world, plan_us) in worlds.items():
        ratios = [of / plain_us for of, plain_us in zip(spent[name], spent["plain"], strict=True)]
        result[name] = {
            "cohorts": len(world.hub._cohorts.known),
            "change_us": round(median(spent[name]), 1),
            "against_plain": round(median(ratios), 3),
            "plan_us": round(plan_us),
        }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

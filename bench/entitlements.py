"""What permissions cost a fan-out: CPU per delivered change, by ratios of one run. JSON, never a test.

    python bench/entitlements.py [--users 10000] [--desks 100] [--changes 2000] [--rounds 5]

In one process, without sockets or a database. ``users`` users, each with a session of his own, of ``desks`` different
entitlements (``where: {desk: {_eq: X-Hasura-Desk}}``), follow the changes of one table; each change concerns one desk.
``plain`` is the same fan-out without a predicate: as many clients as a desk has users, of admin, who all see every
change. ``inherited`` is a role of two, of which the second sees one more column in its rows: a masked cell. ``related``
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

QUERY = "subscription { trades_changes(snapshot: false) { phase cursor changes { operation row { id desk symbol price qty note } } } }"
SEEN = ["id", "desk", "symbol", "price", "qty"]
MINE = {"desk": {"_eq": "X-Hasura-Desk"}}
ROLES: dict[str, dict[str, Any]] = {
    "trader": {"columns": [*SEEN, "note"], "where": MINE},
    "part": {"columns": SEEN, "where": MINE},
    "noted": {"columns": [*SEEN, "note"], "where": {"symbol": {"_eq": "S1"}} | MINE},
    "owner": {"columns": [*SEEN, "note"], "where": {"of": {"owner": {"_eq": "X-Hasura-Owner"}}}},
}
KINDS = {"trader": "trader", "inherited": "both", "related": "owner"}


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


class World:
    """A hub with its clients."""

    def __init__(self, desks: int, rows: int) -> None:
        self.clock = FakeClock()
        self.hub = Hub(self.clock, silent, CursorBox(), outbox_bytes_max=1 << 24)
        for row_type in (TRADES, DESKS):
            self.hub.add_source(row_type, LiveConfig())
        self.rows: list[Row] = [
            (n, n % desks, f"S{n % 7}", Decimal("101.25"), n % 900, "a note") for n in range(rows)
        ]
        self.hub.load("trades", self.rows, Position("bench", 0, 0))
        self.hub.load("desks", [(n, n) for n in range(desks)], Position("bench", 0, 0))
        self.offset = 0
        self.chance = random.Random(1)

    def follow(self, made: Planner, session: Session) -> float:
        """One more client; gives the seconds of CPU that its plan took."""
        started = time.process_time()
        plan = made.plan(QUERY.replace("changes {", "changes  {"), None, {}, session)
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
            batch = Batch(Position("bench", 0, self.offset), {"trades": [Change(key, None, row)]})
            self.hub.apply(batch)
            self.clock.run()
        return 1e6 * (time.process_time() - started) / changes


def peopled(role: str, users: int, desks: int) -> tuple[World, float]:
    """A world of users of a role, and the median of what their plans took."""
    world, made = World(desks, 20_000), planner(role)
    spent = []
    for n in range(users):
        variables = {"desk": str(n % desks), "owner": str(n % desks), "user-id": str(n)}
        spent.append(world.follow(made, Session(role, variables)))
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
    each = given.users // given.desks
    plain, _ = peopled("admin", each, given.desks)
    worlds = {name: peopled(role, given.users, given.desks) for name, role in KINDS.items()}
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
        "plain": {"change_us": round(median(spent["plain"]), 1), "clients": each},
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

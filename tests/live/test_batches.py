"""A batch over several sources is applied to all of them or to none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.live_harness import COPIES, Client, make_hub, plan
from tycostream.errors import UpstreamError
from tycostream.graphql.plan import Mode
from tycostream.rows import UNCHANGED, Batch, Change, Position
from tycostream.testing.clock import FakeClock


def test_what_one_store_refuses_no_client_of_another_sees() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    hub.load("items", [(1, 1, "a")], Position("x", 0, 1))
    hub.load("copies", [(5, "n"), (5, "n")], Position("x", 0, 1))
    feed, query = Client(hub, plan(COPIES, Mode.CHANGES)), Client(hub, plan(COPIES, Mode.LIST))
    clock.run()
    changes: dict[str, Any] = {
        "copies": [Change(None, None, (6, "new")), Change(None, (5, "n"), None)],
        "items": [Change(9, None, (9, 1, UNCHANGED))],
    }
    with pytest.raises(UpstreamError, match="never received"):
        hub.apply(Batch(Position("x", 0, 2), changes))
    clock.run()
    feed.read()
    query.read()
    assert feed.rows == query.shown == [[5, "n"], [5, "n"]]
    assert sorted(hub.sources["copies"].store.rows.values()) == [(5, "n"), (5, "n")]
    hub.apply(Batch(Position("x", 0, 2), {"copies": changes["copies"]}))
    clock.run()
    feed.read()
    assert sorted(feed.rows) == [[5, "n"], [6, "new"]], "and what comes later fits"

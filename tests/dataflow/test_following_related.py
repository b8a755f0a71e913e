"""What follows a condition on other sources while it is made in slices: as what is made anew from the stores."""

from __future__ import annotations

import pytest

from tycostream.dataflow.aggregation import Aggregation
from tycostream.dataflow.arrangement import Arrangement
from tycostream.dataflow.hydration import Backlog
from tycostream.dataflow.predicate import Compare, Exists
from tycostream.dataflow.related import Related
from tycostream.dataflow.relation import Aggregate, Join
from tycostream.dataflow.store import Store
from tycostream.rows import Change, Column, RowType
from tycostream.scalars import SCALARS

INT = SCALARS["int4"]
DESKS = RowType("desks", (Column("id", INT, nullable=False), Column("n", INT)), key=(0,))
TRADES = RowType("trades", (Column("id", INT, nullable=False), Column("desk", INT)), key=(0,))
BUSY = Exists(Join("desks", (1,), (0,)), Compare(1, "gt", 0))


@pytest.mark.parametrize("kind", [Arrangement, Aggregation])
def test_a_row_that_is_looked_at_again_and_then_goes_is_gone(kind: type) -> None:
    stores = {"desks": Store(DESKS), "trades": Store(TRADES)}
    stores["desks"].fill([(1, 5)])
    stores["trades"].fill([(10, 1), (11, 1)])
    related = Related(stores.__getitem__)
    made: Arrangement | Aggregation
    if kind is Arrangement:
        made = Arrangement(stores["trades"], BUSY, related=related)
    else:
        made = Aggregation(stores["trades"], BUSY, (Aggregate("count"),), related)
    hydration, backlog = made.hydration(), Backlog(1 << 20)
    while not hydration.step():
        pass
    stores["desks"].apply([Change(1, None, (1, 6))])
    backlog.add(made.review([10, 11]))
    backlog.add(stores["trades"].apply([Change(10, None, None)]))
    made.adopt(hydration)  # type: ignore[arg-type]
    while len(backlog):
        made.push(backlog.taken(1))
    if isinstance(made, Arrangement):
        assert made.members.window(0, None)[0] == [11]
    else:
        assert made.cells() == (1,)

"""What is kept level with a store, batch by batch: an ``Arrangement`` of rows, or an ``Aggregation`` over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from tycostream.dataflow.aggregation import Totals
from tycostream.dataflow.predicate import Predicate
from tycostream.dataflow.related import Reach
from tycostream.dataflow.view import View
from tycostream.live.slices import Container
from tycostream.rows import Change, Key

RootView = View | Totals  # what one root field sees of it


class Filling(Protocol):
    """The making of one, in steps."""

    def step(self) -> bool:
        """Do the next piece; True when it is complete."""

    def released(self) -> Sequence[Container]:
        """Give up; gives what it held."""


class Followed(Protocol):
    """See Arrangement."""

    predicate: Predicate
    reaches: tuple[Reach, ...]

    @property
    def candidates(self) -> int:
        """How many rows ``hydrate`` must look at."""

    @property
    def work(self) -> int:
        """What ``hydrate`` costs, in rows of which little is asked."""

    @property
    def kept(self) -> int:
        """How many rows it holds on to."""

    def hydrate(self) -> None:
        """Make it from the store as it is, in one go."""

    def hydration(self, effort: int = 1) -> Any:
        """Begin to make it (``Filling``) from the store as it is now; ``adopt`` ends it."""

    def adopt(self, found: Any, /) -> None:
        """Take over what a hydration found; what happened since it began must be pushed next."""

    def push(self, changes: Sequence[Change]) -> Sequence[RootView]:
        """Follow changes as the predicate sees them; gives the views that may show something else now."""

    def review(self, keys: Iterable[Key]) -> list[Change]:
        """What to ``push`` because something that rows with these keys lead to has changed."""

    def released(self) -> Sequence[Container]:
        """Empty it; gives what it held."""

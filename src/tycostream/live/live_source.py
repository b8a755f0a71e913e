"""A source as the hub holds it: its rows, its history, who is routed to, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from tycostream.config.model import LiveConfig
from tycostream.dataflow.log import Entry, Log
from tycostream.dataflow.router import Router
from tycostream.dataflow.store import Store
from tycostream.errors import TycoError
from tycostream.live.feed_subscriber import FeedSubscriber
from tycostream.live.indexes import Indexes
from tycostream.live.query_subscriber import QuerySubscriber
from tycostream.live.rendering import Fragments
from tycostream.rows import Change, RowType

WAITING_MIN: Final = 64  # so many may wait before those that have ended are looked for
Subscriber = FeedSubscriber | QuerySubscriber


class SourceState(Enum):
    """Where a source stands for those who read it."""

    STARTING = "starting"  # no snapshot yet: operations wait
    LIVE = "live"
    STALE = "stale"  # the upstream is away: readable, as it was
    FAILED = "failed"  # only a person can mend it: operations end with the reason


@dataclass(eq=False)
class LiveSource:
    """A source in the hub."""

    row_type: RowType
    config: LiveConfig
    store: Store
    log: Log
    indexes: Indexes
    router: Router[Callable[[Sequence[Change], Entry], None]] = field(default_factory=Router)
    fragments: dict[object, Fragments] = field(default_factory=dict)
    state: SourceState = SourceState.STARTING
    error: TycoError | None = None
    crowded: bool = False  # FAILED because a watched key is not unique
    waiting: dict[Subscriber, Callable[[], None]] = field(default_factory=dict)
    waiting_max: int = WAITING_MIN

    def wait(self, subscriber: Subscriber, start: Callable[[], None]) -> None:
        """Start ``subscriber`` when the source is loaded; those that ended meanwhile are dropped now and then."""
        if len(self.waiting) >= self.waiting_max:
            self.waiting = {waiting: then for waiting, then in self.waiting.items() if not waiting.ended}
            self.waiting_max = max(WAITING_MIN, 2 * len(self.waiting))
        self.waiting[subscriber] = start

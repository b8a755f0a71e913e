"""Where one source stands in its feed: what it has, what it waits for, and when it is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from tycostream.config.model import SourceConfig
from tycostream.dataflow.difference import Difference
from tycostream.errors import TycoError
from tycostream.live.live_source import SourceState
from tycostream.resilience.breaker import Breaker
from tycostream.rows import Position, RowType


@dataclass(eq=False)
class SourceFeed:
    """A source of a feed. Times are the clock's monotonic seconds."""

    config: SourceConfig  # what is wanted of it now
    breaker: Breaker  # of this source alone: a failed one is tried again, ever more slowly
    state: SourceState = SourceState.STARTING
    error: TycoError | None = None
    row_type: RowType | None = None
    read: SourceConfig | None = None  # what ``row_type`` was made by, and what is asked of the stream
    revised: bool = False  # ``config`` was changed since it was last described
    refused: bool = False  # what it is by now cannot be shown: it is told again, though it be as it once was
    gone: bool = False  # it was dropped: what is still under way for it is void
    loaded: bool = False  # the store holds a snapshot, if an old one
    position: Position | None = None  # everything up to here is in the store: where to resume
    added: bool = False  # it is on the stream, or on its way there
    trying: bool = False  # it is being described or added, which has bounds of its own: no silence
    awaiting: bool = True  # nothing of its own has come since it was off the stream: what all are told does not hold for it
    skipping: bool = (
        False  # what comes of it does not fit its store: it is on its way off the stream, or back
    )
    filling: bool = False  # its first snapshot is arriving
    difference: Difference | None = None  # a later snapshot is arriving
    finished: bool = False  # it will never change
    heard_s: float = 0.0
    live_since_s: float | None = None
    retry_at_s: float | None = None
    asking: bool = False  # a probe is under way because it is silent
    ask_after_s: float = 0.0  # the silence that makes us ask

    @property
    def name(self) -> str:
        """The source's name."""
        return self.config.name

    @property
    def wanted(self) -> bool:
        """Whether it is to be added now: it is described and has not just failed."""
        return self.row_type is not None and self.retry_at_s is None

    @property
    def arriving(self) -> bool:
        """Whether it is on its way to its first live moment, and nothing is known to keep it from that."""
        if self.error is not None:
            return self.error.code in ("catching-up", "reconfigured")
        return self.state is SourceState.STARTING

    @property
    def following(self) -> bool:
        """Whether its store stands at the positions that the stream tells."""
        return self.state is SourceState.LIVE and not self.awaiting

    def silent_s(self, now: float) -> float:
        """How long nothing has come of a source that should speak; 0 for others."""
        return now - self.heard_s if self.added and not (self.trying or self.finished) else 0.0

    def succeed(self, other: SourceFeed) -> None:
        """Go on with the store of ``other``, which was dropped: what it holds will be compared with what comes."""
        self.row_type, self.read, self.state, self.error = (
            other.row_type,
            other.read,
            other.state,
            other.error,
        )
        self.loaded, self.position = other.loaded, other.position

    def begin(self, now: float, stall_s: float) -> None:
        """A new stream."""
        self.added = self.trying = self.finished = self.asking = False
        self.awaiting = True
        self.retry_at_s = self.live_since_s = None
        self.heard_s = now
        self.ask_after_s = max(self.ask_after_s, stall_s)
